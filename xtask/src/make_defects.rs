//! `cargo xtask make-defects`: test sets from good images alone, to choose settings on without a look at real defects.
//!
//! A fifth of each category's training images is held out; copies of these get a defect each, of kinds that know nothing of
//! what is wrong with real products. What is found better here need not be found better there: these sets tell settings
//! apart, and estimate no accuracy.
//!
//! Nor do the kinds know of the damage that a network is trained to undo (`riad_data::Corruption`). That covers what is there
//! with something else: a piece of an image, a colour, its own mean. Here what is there stays, and is changed: bent, swollen,
//! lit, tinted, grained, doubled.

use std::f64::consts::TAU;
use std::path::{self, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use image::imageops::{self, FilterType};
use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage};

use crate::dice::Dice;
use crate::pictures::{list, make_folder, read, save};
use crate::sweep::categories;

/// Makes a data set in MVTec AD's layout whose defects are made up on held-out good images: parts bent, swollen, lit, tinted,
/// grained, doubled.
///
/// `cargo xtask ablate --data OUT` then compares settings on it, for which no real defect was looked at.
#[derive(Debug, Args)]
pub(crate) struct MakeDefects {
    /// Folder of a category, or of several, in MVTec AD's layout; only train/good is read
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder for the data set; it must not be there yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Decides what is held out, and the defects
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Make defects that are two to six pixels across where the image's longer side has 256, instead of ten to fifty
    #[arg(long)]
    small: bool,
}

/// Defective images of each kind.
const COPIES: usize = 12;

/// One in so many images is held out.
const HELD_OUT: usize = 5;

/// A pixel belongs to a defect if a channel has changed by more than this; less can hardly be seen.
const VISIBLE: u8 = 8;

/// How often a defect is drawn anew on an image where it cannot be seen.
const ATTEMPTS: usize = 50;

/// On how many images.
const IMAGES: usize = 4;

/// What is done to what lies in a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is wrung about the middle.
    Bent,
    /// What is bright grows, or what is dark.
    Swollen,
    /// It is darker or brighter.
    Lit,
    /// It has other colours, and the same brightness.
    Tinted,
    /// There are specks of all colours.
    Grained,
    /// It is seen twice, a little apart.
    Doubled,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Bent,
        Self::Swollen,
        Self::Lit,
        Self::Tinted,
        Self::Grained,
        Self::Doubled,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Bent => "bent",
            Self::Swollen => "swollen",
            Self::Lit => "lit",
            Self::Tinted => "tinted",
            Self::Grained => "grained",
            Self::Doubled => "doubled",
        }
    }
}

impl MakeDefects {
    pub(crate) fn run(self) -> Result<()> {
        let data = path::absolute(&self.data).with_context(|| format!("cannot resolve {}", self.data.display()))?;
        ensure!(
            !self.out.exists(),
            "{} is there already: remove it, or give another --out",
            self.out.display()
        );
        for (stream, (name, folder)) in (0..).zip(categories(&data)?) {
            let mut dice = Dice::new(self.seed, stream);
            let (trained_on, held_out) = split(&folder.join("train").join("good"), &mut dice)?;
            let out = self.out.join(&name);
            let train = make_folder(&out, &["train", "good"])?;
            for path in &trained_on {
                convert(path, &train)?;
            }
            let good = make_folder(&out, &["test", "good"])?;
            for path in &held_out {
                convert(path, &good)?;
            }
            let mut kinds = 0;
            for kind in Kind::ALL {
                let Some(defects) = self.defects(kind, &held_out, &mut dice)? else {
                    eprintln!(
                        "{name}: none of the kind {} can be seen on its images, so there is none",
                        kind.name()
                    );
                    continue;
                };
                kinds += 1;
                let images = make_folder(&out, &["test", kind.name()])?;
                let masks = make_folder(&out, &["ground_truth", kind.name()])?;
                for (number, (image, mask)) in defects.iter().enumerate() {
                    save(image.save(images.join(format!("{number:03}.png"))), &images)?;
                    save(mask.save(masks.join(format!("{number:03}_mask.png"))), &masks)?;
                }
            }
            ensure!(
                kinds > 0,
                "{name}: no defect can be seen on its images: are they plain?"
            );
            eprintln!(
                "{name}: {} images to train on, {} good and {} with a defect to test with",
                trained_on.len(),
                held_out.len(),
                kinds * COPIES
            );
        }
        Ok(())
    }

    /// Defects of a kind, each on one of the images; `None` if it can be seen on none of several, as what is doubled on plain
    /// ground cannot.
    fn defects(&self, kind: Kind, images: &[PathBuf], dice: &mut Dice) -> Result<Option<Vec<(RgbImage, GrayImage)>>> {
        let mut defects = Vec::new();
        for _ in 0..COPIES {
            let mut found = None;
            for _ in 0..IMAGES {
                let image = read(&images[dice.below(images.len())])?;
                found = defect(kind, self.small, &image, dice);
                if found.is_some() {
                    break;
                }
            }
            match found {
                Some(found) => defects.push(found),
                None => return Ok(None),
            }
        }
        Ok(Some(defects))
    }
}

/// The images of a folder, shuffled, without and with those held out.
fn split(folder: &Path, dice: &mut Dice) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut images = list(folder)?;
    for last in (1..images.len()).rev() {
        images.swap(last, dice.below(last + 1));
    }
    let held_out = images.split_off(images.len() - images.len() / HELD_OUT);
    ensure!(
        held_out.len() >= 2,
        "{} holds fewer than {} images, too few to hold some out",
        folder.display(),
        2 * HELD_OUT
    );
    Ok((images, held_out))
}

/// Writes a good image as those with defects are written: nothing but the defect may tell them apart, such as the depth of
/// their colours, transparency, or a rotation that only EXIF knows of.
fn convert(path: &Path, folder: &Path) -> Result<()> {
    let to = folder
        .join(path.file_stem().unwrap_or_default())
        .with_added_extension("png");
    ensure!(
        !to.exists(),
        "{} has the name of another image beside it but for the ending: rename it",
        path.display()
    );
    save(read(path)?.save(&to), folder)
}

/// `image` with a defect that can be seen, and its mask; `None` where none of many attempts can be.
fn defect(kind: Kind, small: bool, image: &RgbImage, dice: &mut Dice) -> Option<(RgbImage, GrayImage)> {
    (0..ATTEMPTS).find_map(|_| {
        let blob = Blob::somewhere(image.dimensions(), small, dice);
        let changed = change(kind, image, &blob, dice);
        let mut defective = image.clone();
        let mut mask = GrayImage::new(image.width(), image.height());
        let mut area = 0.0;
        for (x, y, pixel) in defective.enumerate_pixels_mut() {
            let (before, share) = (*pixel, blob.shape.get_pixel(x, y)[0]);
            for (value, new) in pixel.0.iter_mut().zip(changed.get_pixel(x, y).0) {
                *value = (f32::from(*value) * (1.0 - share) + new.clamp(0.0, 255.0) * share).round() as u8;
            }
            if (0..3).any(|channel| before[channel].abs_diff(pixel[channel]) > VISIBLE) {
                mask.put_pixel(x, y, Luma([255]));
                area += 1.0;
            }
        }
        // A good part of the shape: not a few pixels of its edge.
        (area >= (0.3 * blob.radius * blob.radius).max(1.0)).then_some((defective, mask))
    })
}

/// What the whole image would be if all of it were defective.
fn change(kind: Kind, image: &RgbImage, blob: &Blob, dice: &mut Dice) -> ImageBuffer<Rgb<f32>, Vec<f32>> {
    let (width, height) = image.dimensions();
    let seen_from = |place: &dyn Fn(f64, f64) -> [f64; 2]| {
        ImageBuffer::from_fn(width, height, |x, y| {
            let [x, y] = place(f64::from(x), f64::from(y));
            let nearest = |value: f64, length: u32| value.round().clamp(0.0, f64::from(length - 1)) as u32;
            Rgb(image.get_pixel(nearest(x, width), nearest(y, height)).0.map(f32::from))
        })
    };
    let mut changed = seen_from(&|x, y| [x, y]);
    let mut each = |change: &mut dyn FnMut(&mut [f32; 3])| changed.pixels_mut().for_each(|pixel| change(&mut pixel.0));
    match kind {
        Kind::Bent => {
            let turn = dice.between(0.4, 1.0) * TAU * [0.5, -0.5][dice.below(2)];
            return seen_from(&|x, y| {
                let (right, down) = (x - blob.centre[0], y - blob.centre[1]);
                // Most in the middle, and nothing at the edge.
                let (sin, cos) = (turn * (1.0 - right.hypot(down) / (1.5 * blob.radius)).max(0.0)).sin_cos();
                [
                    blob.centre[0] + right * cos - down * sin,
                    blob.centre[1] + right * sin + down * cos,
                ]
            });
        }
        Kind::Swollen => {
            let (reach, grows_bright) = (
                (blob.radius * dice.between(0.15, 0.4)).max(1.0) as i64,
                dice.below(2) == 0,
            );
            return ImageBuffer::from_fn(width, height, |x, y| {
                let at =
                    |value: u32, by: i64, length: u32| (i64::from(value) + by).clamp(0, i64::from(length) - 1) as u32;
                let around = (-reach..=reach).flat_map(|down| (-reach..=reach).map(move |right| (right, down)));
                let around = around.map(|(right, down)| image.get_pixel(at(x, right, width), at(y, down, height)).0);
                let extreme = |one: [u8; 3], two: [u8; 3]| {
                    [0, 1, 2].map(|i| {
                        if grows_bright {
                            one[i].max(two[i])
                        } else {
                            one[i].min(two[i])
                        }
                    })
                };
                // Outside of the shape nobody looks.
                let is_seen = blob.shape.get_pixel(x, y)[0] > 0.0;
                let own = image.get_pixel(x, y).0;
                let found = if is_seen { around.fold(own, extreme) } else { own };
                Rgb(found.map(f32::from))
            });
        }
        Kind::Lit => {
            let factor = [0.65, 1.4][dice.below(2)];
            each(&mut |pixel| *pixel = pixel.map(|value| value * factor));
        }
        Kind::Tinted => {
            let tint = [(); 3].map(|()| dice.between(-50.0, 50.0) as f32);
            let luma = |[r, g, b]: [f32; 3]| 0.299 * r + 0.587 * g + 0.114 * b;
            let own = luma(tint);
            each(&mut |pixel| (0..3).for_each(|i| pixel[i] += tint[i] - own));
        }
        Kind::Grained => each(&mut |pixel| *pixel = pixel.map(|value| value + 35.0 * dice.bell() as f32)),
        Kind::Doubled => {
            let (sin, cos) = dice.between(0.0, TAU).sin_cos();
            let apart = blob.radius * dice.between(0.5, 1.5) + 1.0;
            let moved = seen_from(&|x, y| [x + apart * cos, y + apart * sin]);
            let mut moved = moved.pixels();
            each(&mut |pixel| {
                if let Some(other) = moved.next() {
                    (0..3).for_each(|i| pixel[i] = 0.5 * (pixel[i] + other[i]));
                }
            });
        }
    }
    changed
}

/// How much of each pixel is the defect, in [0, 1].
type Shape = ImageBuffer<Luma<f32>, Vec<f32>>;

/// Where a defect is.
struct Blob {
    /// As x and y in pixels.
    centre: [f64; 2],
    /// Half of its length, about.
    radius: f64,
    shape: Shape,
}

impl Blob {
    /// An ellipse somewhere, of a twentieth to a fifth of the image across, or of two to six of its 256 parts, with an uneven edge.
    fn somewhere((width, height): (u32, u32), small: bool, dice: &mut Dice) -> Self {
        let side = f64::from(width.max(height));
        let centre = [f64::from(width), f64::from(height)].map(|length| length * dice.between(0.2, 0.8));
        let radius = match small {
            true => side * dice.between(1.0, 3.0) / 256.0,
            false => side * dice.between(0.02, 0.1),
        };
        let stretch = dice.between(0.7, 1.4);
        let (sin, cos) = dice.between(0.0, TAU).sin_cos();
        // Features of a sixteenth of the image, smooth in between.
        let coarse = ImageBuffer::from_fn(16, 16, |_, _| Luma([dice.bell() as f32]));
        let uneven: Shape = imageops::resize(&coarse, width, height, FilterType::CatmullRom);
        let hard = ImageBuffer::from_fn(width, height, |x, y| {
            let (right, down) = (f64::from(x) - centre[0], f64::from(y) - centre[1]);
            let along = (right * cos + down * sin) / (radius * stretch);
            let across = (down * cos - right * sin) / (radius / stretch);
            let distance = along.hypot(across) + 0.3 * f64::from(uneven.get_pixel(x, y)[0]);
            Luma([if distance < 1.0 { 1.0 } else { 0.0 }])
        });
        Self {
            centre,
            radius,
            shape: imageops::blur(&hard, soft_edge(side, small)),
        }
    }
}

/// Deviation in pixels of the Gaussian that no edge of a defect is sharper than: as a lens would show it.
fn soft_edge(side: f64, small: bool) -> f32 {
    (side / if small { 500.0 } else { 200.0 }) as f32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    /// A category of noisy images, no two alike, wider than high.
    fn category(folder: &Path, images: usize) {
        let good = make_folder(folder, &["train", "good"]).unwrap();
        for number in 0..images {
            let mut dice = Dice::new(number as u64, 7);
            let image = RgbImage::from_fn(90, 60, |x, y| {
                let checks = if (x / 9 + y / 9) % 2 == 0 { 60.0 } else { 180.0 };
                Rgb([0, 1, 2].map(|_| (checks + 10.0 * dice.bell()).clamp(0.0, 255.0) as u8))
            });
            image.save(good.join(format!("{number:02}.png"))).unwrap();
        }
    }

    fn files(folder: &Path) -> BTreeSet<PathBuf> {
        let walk = ignore::WalkBuilder::new(folder).build();
        let files = walk.map(Result::unwrap).filter(|entry| entry.path().is_file());
        files
            .map(|entry| entry.path().strip_prefix(folder).unwrap().to_owned())
            .collect()
    }

    /// Whatever the kind: the mask is where the image was changed visibly, and nowhere else.
    #[test]
    fn masks_are_where_something_changed() {
        let folder = tempfile::tempdir().unwrap();
        category(folder.path(), 1);
        let image = read(&folder.path().join("train").join("good").join("00.png")).unwrap();
        for (kind, small) in Kind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            for seed in 0..20 {
                let (defective, mask) = defect(kind, small, &image, &mut Dice::new(seed, 0)).unwrap();
                let mut area = 0;
                for (x, y, pixel) in defective.enumerate_pixels() {
                    let change = (0..3).map(|i| pixel[i].abs_diff(image.get_pixel(x, y)[i])).max();
                    assert_eq!(
                        mask.get_pixel(x, y)[0] == 255,
                        change > Some(VISIBLE),
                        "{kind:?} {x} {y}"
                    );
                    area += usize::from(mask.get_pixel(x, y)[0] == 255);
                }
                let most = if small { 30 } else { 90 * 60 / 3 };
                assert!(
                    (1..most).contains(&area),
                    "{kind:?}, {small}, seed {seed}: {area} pixels"
                );
            }
        }
        let plain = RgbImage::from_pixel(90, 60, Rgb([100; 3]));
        assert_eq!(defect(Kind::Bent, false, &plain, &mut Dice::new(0, 0)), None);
    }

    /// No image is both trained on and tested with, every defect has its mask, and the same seed makes the same files.
    #[test]
    fn data_sets_are_whole_and_reproducible() {
        let folder = tempfile::tempdir().unwrap();
        category(&folder.path().join("data").join("checks"), 11);
        let make = |name: &str, seed| {
            let out = folder.path().join(name);
            let data = folder.path().join("data");
            MakeDefects {
                data,
                out: out.clone(),
                seed,
                small: false,
            }
            .run()
            .unwrap();
            out.join("checks")
        };
        let [first, again, another] = [("first", 0), ("again", 0), ("another", 1)].map(|(name, seed)| make(name, seed));
        let made = files(&first);
        assert_eq!(made, files(&again));
        for file in &made {
            let [one, two] = [&first, &again].map(|folder| fs::read(folder.join(file)).unwrap());
            assert!(one == two, "{} differs", file.display());
        }
        let bent = Path::new("test").join("bent").join("000.png");
        assert_ne!(
            fs::read(first.join(&bent)).unwrap(),
            fs::read(another.join(&bent)).unwrap()
        );

        let [train, good] = ["train/good", "test/good"].map(|name| files(&first.join(name)));
        assert_eq!((train.len(), good.len()), (9, 2));
        assert!(train.is_disjoint(&good));
        for kind in Kind::ALL {
            let images = files(&first.join("test").join(kind.name()));
            let masks = files(&first.join("ground_truth").join(kind.name()));
            assert_eq!(images.len(), COPIES);
            let masked = masks
                .iter()
                .map(|mask| mask.to_string_lossy().replace("_mask", "").into());
            assert_eq!(images, masked.collect());
        }
    }
}
