//! `cargo xtask make-defects`: test sets from good images alone, to choose settings on without a look at real defects.
//!
//! A fifth of each category's training images is held out; copies of these get a defect each, of kinds that know nothing of
//! what is wrong with real products. What is found better here need not be found better there: these sets tell settings
//! apart, and estimate no accuracy.

use std::f64::consts::TAU;
use std::fs;
use std::path::{self, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageDecoder, ImageReader, Luma, Rgb, RgbImage};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::sweep::categories;

/// Makes a data set in MVTec AD's layout whose defects are made up on held-out good images: patches moved, stains, blur,
/// light, noise, scratches.
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
}

/// Defective images of each kind.
const COPIES: usize = 12;

/// One in so many images is held out.
const HELD_OUT: usize = 5;

/// A pixel belongs to a defect if a channel has changed by more than this; less can hardly be seen.
const VISIBLE: u8 = 8;

/// Share of the image that a defect covers at least.
const SMALLEST: f64 = 0.0006;

/// How often a defect is drawn anew where it cannot be seen, as a blur on plain ground cannot.
const ATTEMPTS: usize = 100;

/// What is done to the pixels of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// They come from elsewhere in another image.
    Patch,
    /// Mostly one colour, with some of what was there.
    Stain,
    Blur,
    /// Darker or brighter.
    Light,
    /// Specks of all colours.
    Noise,
    /// A line, dark or bright.
    Scratch,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Patch,
        Self::Stain,
        Self::Blur,
        Self::Light,
        Self::Noise,
        Self::Scratch,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Stain => "stain",
            Self::Blur => "blur",
            Self::Light => "light",
            Self::Noise => "noise",
            Self::Scratch => "scratch",
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
            for kind in Kind::ALL {
                let images = make_folder(&out, &["test", kind.name()])?;
                let masks = make_folder(&out, &["ground_truth", kind.name()])?;
                for number in 0..COPIES {
                    let [image, other] = [(); 2].map(|()| &held_out[dice.below(held_out.len())]);
                    let defective = defect(kind, &read(image)?, &read(other)?, &mut dice);
                    let (image, mask) = defective.with_context(|| {
                        format!(
                            "no {} can be seen on {}: is the image plain?",
                            kind.name(),
                            image.display()
                        )
                    })?;
                    save(image.save(images.join(format!("{number:03}.png"))), &images)?;
                    save(mask.save(masks.join(format!("{number:03}_mask.png"))), &masks)?;
                }
            }
            eprintln!(
                "{name}: {} images to train on, {} good and {} with a defect to test with",
                trained_on.len(),
                held_out.len(),
                Kind::ALL.len() * COPIES
            );
        }
        Ok(())
    }
}

/// The images of a folder, shuffled, without and with those held out.
fn split(folder: &Path, dice: &mut Dice) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let list = || format!("cannot list {}", folder.display());
    let mut images = Vec::new();
    for entry in fs::read_dir(folder).with_context(list)? {
        let path = entry.with_context(list)?.path();
        if image::ImageFormat::from_path(&path).is_ok() {
            images.push(path);
        }
    }
    // The order of a folder is the file system's.
    images.sort();
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

fn make_folder(out: &Path, names: &[&str]) -> Result<PathBuf> {
    let folder = out.join(names.iter().collect::<PathBuf>());
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
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

/// An image upright, in 8 bits a channel.
fn read(path: &Path) -> Result<RgbImage> {
    let decode = || {
        let mut decoder = ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        image::ImageResult::Ok(image.into_rgb8())
    };
    decode().with_context(|| format!("cannot read {}", path.display()))
}

fn save(saved: image::ImageResult<()>, folder: &Path) -> Result<()> {
    saved.with_context(|| format!("cannot write to {}", folder.display()))
}

/// `image` with a defect that can be seen, and its mask; `None` where none of many attempts can be.
fn defect(kind: Kind, image: &RgbImage, other: &RgbImage, dice: &mut Dice) -> Option<(RgbImage, GrayImage)> {
    let pixels = f64::from(image.width()) * f64::from(image.height());
    (0..ATTEMPTS).find_map(|_| {
        let shape = match kind {
            Kind::Scratch => scratch(image.dimensions(), dice),
            _ => blob(image.dimensions(), dice),
        };
        let changed = change(kind, image, other, dice);
        let mut defective = image.clone();
        let mut mask = GrayImage::new(image.width(), image.height());
        let mut area = 0.0;
        for (x, y, pixel) in defective.enumerate_pixels_mut() {
            let (before, share) = (*pixel, shape.get_pixel(x, y)[0]);
            for (value, new) in pixel.0.iter_mut().zip(changed.get_pixel(x, y).0) {
                *value = (f32::from(*value) * (1.0 - share) + new.clamp(0.0, 255.0) * share).round() as u8;
            }
            if (0..3).any(|channel| before[channel].abs_diff(pixel[channel]) > VISIBLE) {
                mask.put_pixel(x, y, Luma([255]));
                area += 1.0;
            }
        }
        (area >= (SMALLEST * pixels).max(1.0)).then_some((defective, mask))
    })
}

/// What the whole image would be if all of it were defective.
fn change(kind: Kind, image: &RgbImage, other: &RgbImage, dice: &mut Dice) -> ImageBuffer<Rgb<f32>, Vec<f32>> {
    let (width, height) = image.dimensions();
    let mut changed = ImageBuffer::from_fn(width, height, |x, y| Rgb(image.get_pixel(x, y).0.map(f32::from)));
    let mut each = |change: &mut dyn FnMut(&mut [f32; 3])| changed.pixels_mut().for_each(|pixel| change(&mut pixel.0));
    match kind {
        Kind::Patch => {
            let (right, down) = (dice.below(width as usize) as u32, dice.below(height as usize) as u32);
            return ImageBuffer::from_fn(width, height, |x, y| {
                Rgb(other
                    .get_pixel((x + right) % other.width(), (y + down) % other.height())
                    .0
                    .map(f32::from))
            });
        }
        Kind::Stain => {
            let colour = [(); 3].map(|()| dice.between(0.0, 255.0) as f32);
            each(&mut |pixel| (0..3).for_each(|i| pixel[i] = 0.4 * pixel[i] + 0.6 * colour[i]));
        }
        Kind::Blur => return imageops::blur(&changed, width.max(height) as f32 * 0.02),
        Kind::Light => {
            let factor = [0.6, 1.5][dice.below(2)];
            each(&mut |pixel| *pixel = pixel.map(|value| value * factor));
        }
        Kind::Noise => each(&mut |pixel| *pixel = pixel.map(|value| value + 35.0 * dice.bell() as f32)),
        Kind::Scratch => {
            let line = [20.0, 235.0][dice.below(2)];
            each(&mut |pixel| *pixel = pixel.map(|value| 0.3 * value + 0.7 * line));
        }
    }
    changed
}

/// How much of each pixel is the defect, in [0, 1].
type Shape = ImageBuffer<Luma<f32>, Vec<f32>>;

/// An ellipse somewhere, of a twentieth to a fifth of the image across, with an uneven edge.
fn blob((width, height): (u32, u32), dice: &mut Dice) -> Shape {
    let side = f64::from(width.max(height));
    let centre = [f64::from(width), f64::from(height)].map(|length| length * dice.between(0.2, 0.8));
    let (radius, stretch) = (side * dice.between(0.02, 0.1), dice.between(0.7, 1.4));
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
    imageops::blur(&hard, soft_edge(side))
}

/// A line that wanders over a tenth to four tenths of the image.
fn scratch((width, height): (u32, u32), dice: &mut Dice) -> Shape {
    let side = f64::from(width.max(height));
    let radius = side * dice.between(0.004, 0.015);
    let mut point = [f64::from(width), f64::from(height)].map(|length| length * dice.between(0.2, 0.8));
    let mut direction = dice.between(0.0, TAU);
    let mut hard = Shape::new(width, height);
    // Steps of a two-hundredth of the image, or the number of its pixels would be felt.
    let step = side / 200.0;
    for _ in 0..(200.0 * dice.between(0.1, 0.4)) as usize {
        let near = |centre: f64, length: u32| {
            let at = |value: f64| value.clamp(0.0, f64::from(length)) as u32;
            at((centre - radius).floor())..at((centre + radius).ceil() + 1.0)
        };
        for y in near(point[1], height) {
            for x in near(point[0], width) {
                if (f64::from(x) - point[0]).hypot(f64::from(y) - point[1]) <= radius.max(0.5) {
                    hard.put_pixel(x, y, Luma([1.0]));
                }
            }
        }
        direction += 0.15 * dice.bell();
        point = [point[0] + step * direction.cos(), point[1] + step * direction.sin()];
    }
    imageops::blur(&hard, soft_edge(side))
}

/// Deviation in pixels of the Gaussian that no edge of a defect is sharper than: as a lens would show it.
fn soft_edge(side: f64) -> f32 {
    (side / 200.0) as f32
}

/// A source of chance.
struct Dice(ChaCha8Rng);

impl Dice {
    /// Different streams of one seed are independent of each other.
    fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number in [low, high).
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * f64::from(self.0.next_u32()) / 2f64.powi(32)
    }

    /// A whole number below `bound`, which is far below 2³².
    fn below(&mut self, bound: usize) -> usize {
        self.between(0.0, bound as f64) as usize
    }

    /// A nearly normal number of mean 0 and variance 1: the sum of twelve uniform ones.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.between(-0.5, 0.5)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
        category(folder.path(), 2);
        let good = folder.path().join("train").join("good");
        let [image, other] = ["00.png", "01.png"].map(|name| read(&good.join(name)).unwrap());
        for kind in Kind::ALL {
            for seed in 0..20 {
                let (defective, mask) = defect(kind, &image, &other, &mut Dice::new(seed, 0)).unwrap();
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
                assert!((4..90 * 60 / 3).contains(&area), "{kind:?}, seed {seed}: {area} pixels");
            }
        }
        let plain = RgbImage::from_pixel(90, 60, Rgb([100; 3]));
        assert_eq!(defect(Kind::Blur, &plain, &plain, &mut Dice::new(0, 0)), None);
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
        let patch = Path::new("test").join("patch").join("000.png");
        assert_ne!(
            fs::read(first.join(&patch)).unwrap(),
            fs::read(another.join(&patch)).unwrap()
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
