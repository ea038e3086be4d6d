//! `cargo xtask make-defects`: test sets from good images alone, to choose settings on without a look at real defects.
//!
//! A fifth of each category's training images is held out; copies of these get a defect each, of kinds that know nothing of
//! what is wrong with real products. What is found better here need not be found better there: these sets tell settings
//! apart, and estimate no accuracy.
//!
//! The kinds and how they are drawn are those of [`riad_data::MadeUp`], which also tells why they are others than the damage
//! that a network is trained to undo.

use std::path::{self, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use image::{GrayImage, Luma, Rgb, RgbImage};
use riad_core::{Map, Size};
use riad_data::{Fit, Flaw, Image, MadeUp, Reader};

use crate::dice::Dice;
use crate::pictures::{list, make_folder, save};
use crate::sweep::categories;

/// Makes a data set in MVTec AD's layout whose defects are made up on held-out good images: scratches, spots, dents,
/// missing, rough and doubled parts.
///
/// `cargo xtask ablate --data OUT` then compares settings on it, without any real defect.
#[derive(Debug, Args)]
pub(crate) struct MakeDefects {
    /// Folder of one or several categories in MVTec AD's layout. Only train/good is read
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder for the data set. It must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number that decides the held-out images and the defects
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Make defects of two to six pixels instead of ten to fifty, if the image's longer side has 256
    #[arg(long)]
    small: bool,
}

/// Defective images of each kind.
const COPIES: usize = 12;

/// One in so many images is held out.
const HELD_OUT: usize = 5;

/// On how many images a defect is tried until it can be seen.
const IMAGES: usize = 4;

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
            for flaw in Flaw::ALL {
                let Some(defects) = self.defects(flaw, &held_out, &mut dice)? else {
                    eprintln!(
                        "{name}: no {} can be seen on its images, so there are none",
                        flaw.plural()
                    );
                    continue;
                };
                kinds += 1;
                let images = make_folder(&out, &["test", flaw.name()])?;
                let masks = make_folder(&out, &["ground_truth", flaw.name()])?;
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
    fn defects(&self, flaw: Flaw, images: &[PathBuf], dice: &mut Dice) -> Result<Option<Vec<(RgbImage, GrayImage)>>> {
        let mut defects = Vec::new();
        for _ in 0..COPIES {
            let mut found = None;
            for _ in 0..IMAGES {
                let image = read(&images[dice.below(images.len())])?;
                found = self.made_up(flaw, image.size(), dice).on(&image, |_, _| true);
                if found.is_some() {
                    break;
                }
            }
            match found {
                Some((image, mask)) => defects.push((picture(&image), picture_of_mask(&mask))),
                None => return Ok(None),
            }
        }
        Ok(Some(defects))
    }

    /// A defect of any length for an image of this size.
    fn made_up(&self, flaw: Flaw, size: Size, dice: &mut Dice) -> MadeUp {
        let side = size.height.max(size.width) as f64;
        let length = side
            * match self.small {
                true => dice.between(2.0, 6.0) / 256.0,
                false => dice.between(0.04, 0.2),
            };
        let seed = dice.below(1 << 30) as u64;
        MadeUp { flaw, length, seed }
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
    save(picture(&read(path)?).save(&to), folder)
}

/// An image as `riad` reads it, at its own size.
fn read(path: &Path) -> Result<Image> {
    Ok(Reader::default().load(path, Fit::Own)?.image)
}

fn picture(image: &Image) -> RgbImage {
    let Size { height, width } = image.size();
    let planes: Vec<&[f32]> = image.planes().collect();
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let at = y as usize * width + x as usize;
        Rgb([0, 1, 2].map(|channel| (planes[channel][at] * 255.0).round() as u8))
    })
}

fn picture_of_mask(mask: &Map<bool>) -> GrayImage {
    let Size { height, width } = mask.size();
    GrayImage::from_fn(width as u32, height as u32, |x, y| {
        let is_marked = mask.values()[y as usize * width + x as usize];
        Luma([if is_marked { 255 } else { 0 }])
    })
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

    /// Small defects are small, and what is written down is the image that was read but for the defect.
    #[test]
    fn defects_are_of_the_size_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        category(folder.path(), 1);
        let path = folder.path().join("train").join("good").join("00.png");
        let before = image::open(&path).unwrap().into_rgb8();
        for small in [false, true] {
            let made = MakeDefects {
                data: PathBuf::new(),
                out: PathBuf::new(),
                seed: 0,
                small,
            };
            for flaw in Flaw::ALL {
                let defects = made
                    .defects(flaw, std::slice::from_ref(&path), &mut Dice::new(1, 0))
                    .unwrap()
                    .unwrap();
                for (defective, mask) in defects {
                    let mut area = 0;
                    for (x, y, pixel) in defective.enumerate_pixels() {
                        let change = (0..3).map(|i| pixel[i].abs_diff(before.get_pixel(x, y)[i])).max();
                        let is_marked = mask.get_pixel(x, y)[0] == 255;
                        // The mask is of values before they were rounded to bytes.
                        assert!(is_marked == (change > Some(8)) || change == Some(8), "{flaw} {x} {y}");
                        area += usize::from(is_marked);
                    }
                    let most = if small { 30 } else { 90 * 60 / 3 };
                    assert!((1..most).contains(&area), "{flaw}, {small}: {area} pixels");
                }
            }
        }
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
        let dent = Path::new("test").join("dent").join("000.png");
        assert_ne!(
            fs::read(first.join(&dent)).unwrap(),
            fs::read(another.join(&dent)).unwrap()
        );

        let [train, good] = ["train/good", "test/good"].map(|name| files(&first.join(name)));
        assert_eq!((train.len(), good.len()), (9, 2));
        assert!(train.is_disjoint(&good));
        for flaw in Flaw::ALL {
            let images = files(&first.join("test").join(flaw.name()));
            let masks = files(&first.join("ground_truth").join(flaw.name()));
            assert_eq!(images.len(), COPIES);
            let masked = masks
                .iter()
                .map(|mask| mask.to_string_lossy().replace("_mask", "").into());
            assert_eq!(images, masked.collect());
        }
    }
}
