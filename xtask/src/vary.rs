//! `cargo xtask vary`: a data set as a factory has it, from one that was taken with care.
//!
//! Products that lie at any angle, light that has changed since the training pictures were taken, a camera that moved, and
//! defective products among the good ones to learn from: what a method gains from the care, it loses here.

use std::f64::consts::TAU;
use std::path::{self, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use image::{GrayImage, ImageReader, Luma, Rgb, RgbImage};

use crate::dice::Dice;
use crate::pictures::{list, make_folder, read, save};
use crate::sweep::categories;

/// Makes a copy of a data set in MVTec AD's layout with changed pictures: turned, in another light, moved, or with
/// defects among the training images.
///
/// Masks change with their pictures. Beyond its border a picture continues as its mirror image.
#[derive(Debug, Args)]
pub(crate) struct Vary {
    /// Folder of one or several categories in MVTec AD's layout
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder for the data set. It must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number that decides all random choices
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Turn every picture by its own angle, also the training images
    #[arg(long)]
    turn: bool,
    /// Multiply the test pictures' values by this
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    light: f64,
    /// Add noise of this deviation to the test pictures, whose values are 0 to 255
    #[arg(long, value_name = "DEVIATION", default_value_t = 0.0)]
    noise: f64,
    /// Move the test pictures to the right and down by this number of pixels. A negative number moves them to the left
    /// and up
    #[arg(long, value_name = "PIXELS", default_value_t = 0, allow_negative_numbers = true)]
    shift: i32,
    /// Put defective test pictures among the training images, until they are this share
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    dirty: f64,
}

impl Vary {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(
            (0.0..0.5).contains(&self.dirty),
            "--dirty must be at least 0 and below 0.5"
        );
        let data = path::absolute(&self.data).with_context(|| format!("cannot resolve {}", self.data.display()))?;
        ensure!(
            !self.out.exists(),
            "{} is there already: remove it, or give another --out",
            self.out.display()
        );
        for (stream, (name, folder)) in (0..).zip(categories(&data)?) {
            let mut dice = Dice::new(self.seed, stream);
            let out = self.out.join(&name);
            let mut defective = Vec::new();
            for kind in folders(&folder.join("test"))?.into_iter().filter(|kind| kind != "good") {
                let images = list(&folder.join("test").join(&kind))?;
                defective.extend(images.into_iter().map(|image| (kind.clone(), image)));
            }
            let good = list(&folder.join("train").join("good"))?;
            // So many of all that are learned from: d / (g + d) is the share.
            let wanted = (self.dirty * good.len() as f64 / (1.0 - self.dirty)).round() as usize;
            ensure!(
                wanted == 0 || wanted < defective.len(),
                "{name} has {} pictures of defects, too few to learn from {wanted} and still test with some",
                defective.len()
            );
            for last in (1..defective.len()).rev() {
                defective.swap(last, dice.below(last + 1));
            }
            let learned = defective.split_off(defective.len() - wanted);

            let train = make_folder(&out, &["train", "good"])?;
            for image in &good {
                self.picture(&mut dice, false).copy(image, None, &train, &stem(image))?;
            }
            for (kind, image) in &learned {
                let name = format!("{kind}_{}", stem(image));
                self.picture(&mut dice, false).copy(image, None, &train, &name)?;
            }
            let to = make_folder(&out, &["test", "good"])?;
            for image in list(&folder.join("test").join("good"))? {
                self.picture(&mut dice, true).copy(&image, None, &to, &stem(&image))?;
            }
            defective.sort();
            for (kind, image) in &defective {
                let to = make_folder(&out, &["test", kind])?;
                let mask = folder
                    .join("ground_truth")
                    .join(kind)
                    .join(format!("{}_mask.png", stem(image)));
                let masks = make_folder(&out, &["ground_truth", kind])?;
                let mask = mask.exists().then_some((mask.as_path(), masks.as_path()));
                self.picture(&mut dice, true).copy(image, mask, &to, &stem(image))?;
            }
            eprintln!(
                "{name}: {} pictures to learn from, {wanted} of them with defects",
                good.len() + wanted
            );
        }
        Ok(())
    }

    /// What becomes of a picture.
    fn picture(&self, dice: &mut Dice, is_test: bool) -> Variation {
        let angle = if self.turn { dice.between(0.0, TAU) } else { 0.0 };
        let noise = Dice::new(self.seed, 1 << 32 | dice.below(1 << 31) as u64);
        match is_test {
            true => Variation {
                angle,
                light: self.light,
                noise: (self.noise, noise),
                shift: f64::from(self.shift),
            },
            false => Variation {
                angle,
                light: 1.0,
                noise: (0.0, noise),
                shift: 0.0,
            },
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The names of the folders in a folder, in order.
fn folders(folder: &Path) -> Result<Vec<String>> {
    let list = || format!("cannot list {}", folder.display());
    let mut names = Vec::new();
    for entry in folder.read_dir().with_context(list)? {
        let entry = entry.with_context(list)?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn read_mask(path: &Path) -> Result<GrayImage> {
    let decode = || image::ImageResult::Ok(ImageReader::open(path)?.with_guessed_format()?.decode()?.into_luma8());
    decode().with_context(|| format!("cannot read {}", path.display()))
}

/// What becomes of a picture.
struct Variation {
    /// It is turned about its middle.
    angle: f64,
    light: f64,
    /// Deviation and source of the noise.
    noise: (f64, Dice),
    shift: f64,
}

impl Variation {
    /// Writes the picture, and its mask where there is one, into folders.
    fn copy(mut self, from: &Path, mask: Option<(&Path, &Path)>, to: &Path, name: &str) -> Result<()> {
        let path = to.join(format!("{name}.png"));
        ensure!(
            !path.exists(),
            "{} has the name of another picture beside it but for the ending: rename it",
            from.display()
        );
        if let Some((mask, to)) = mask {
            save(
                self.mask(&read_mask(mask)?).save(to.join(format!("{name}_mask.png"))),
                to,
            )?;
        }
        save(self.image(&read(from)?).save(&path), to)
    }

    /// The place, as column and row of pixels' centres, that is seen at a pixel.
    fn source(&self, (width, height): (u32, u32), x: u32, y: u32) -> [f64; 2] {
        let (sin, cos) = self.angle.sin_cos();
        let middle = [f64::from(width - 1) / 2.0, f64::from(height - 1) / 2.0];
        let (right, down) = (
            f64::from(x) - self.shift - middle[0],
            f64::from(y) - self.shift - middle[1],
        );
        [
            middle[0] + right * cos + down * sin,
            middle[1] + down * cos - right * sin,
        ]
    }

    /// Bilinearly.
    fn image(&mut self, image: &RgbImage) -> RgbImage {
        let (width, height) = image.dimensions();
        RgbImage::from_fn(width, height, |x, y| {
            let [u, v] = self.source((width, height), x, y);
            let (column, row) = (u.floor(), v.floor());
            let (right, down) = (u - column, v - row);
            let at = |dx: f64, dy: f64| {
                image
                    .get_pixel(mirrored(column + dx, width), mirrored(row + dy, height))
                    .0
            };
            let corners = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)].map(|(dx, dy)| {
                let share = (if dx > 0.0 { right } else { 1.0 - right }) * (if dy > 0.0 { down } else { 1.0 - down });
                at(dx, dy).map(|value| share * f64::from(value))
            });
            Rgb([0, 1, 2].map(|channel| {
                let value = corners.iter().map(|corner| corner[channel]).sum::<f64>() * self.light;
                let (deviation, dice) = &mut self.noise;
                let noise = if *deviation > 0.0 {
                    *deviation * dice.bell()
                } else {
                    0.0
                };
                (value + noise).round() as u8
            }))
        })
    }

    /// The nearest pixel's.
    fn mask(&self, mask: &GrayImage) -> GrayImage {
        let (width, height) = mask.dimensions();
        GrayImage::from_fn(width, height, |x, y| {
            let [u, v] = self.source((width, height), x, y);
            Luma(
                mask.get_pixel(mirrored(u.round(), width), mirrored(v.round(), height))
                    .0,
            )
        })
    }
}

/// The place on an axis that any place shows: `d c b a | a b c d | d c b a`.
fn mirrored(place: f64, length: u32) -> u32 {
    let place = (place as i64).rem_euclid(2 * i64::from(length));
    place.min(2 * i64::from(length) - 1 - place) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variation(angle: f64, light: f64, noise: f64, shift: f64) -> Variation {
        Variation {
            angle,
            light,
            noise: (noise, Dice::new(0, 0)),
            shift,
        }
    }

    /// A picture turned by a quarter is its rows read as columns, and the mask goes with it.
    #[test]
    fn a_quarter_of_a_turn_moves_whole_pixels() {
        let image = RgbImage::from_fn(5, 5, |x, y| Rgb([x as u8 * 40, y as u8 * 40, 7]));
        let mask = GrayImage::from_fn(5, 5, |x, y| Luma([u8::from(x > y) * 255]));
        let mut turn = variation(TAU / 4.0, 1.0, 0.0, 0.0);
        assert_eq!(turn.mask(&mask), image::imageops::rotate90(&mask));
        assert_eq!(turn.image(&image), image::imageops::rotate90(&image));
    }

    #[test]
    fn light_noise_and_shift_are_as_asked_for() {
        let image = RgbImage::from_fn(64, 48, |x, y| Rgb([x as u8 + 60, y as u8 + 60, 100]));
        let moved = variation(0.0, 1.0, 0.0, 2.0).image(&image);
        assert_eq!(moved.get_pixel(12, 22), image.get_pixel(10, 20));
        let darker = variation(0.0, 0.9, 0.0, 0.0).image(&image);
        assert_eq!(darker.get_pixel(3, 3)[2], 90);
        let noisy = variation(0.0, 1.0, 5.0, 0.0).image(&image);
        let errors: Vec<f64> = noisy.pixels().map(|pixel| f64::from(pixel[2]) - 100.0).collect();
        let deviation = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
        assert!((deviation - 5.0).abs() < 0.3, "{deviation}");
    }

    /// A category with pictures named so that each is known, of a wedge.
    fn category(folder: &Path) -> PathBuf {
        let data = folder.join("data");
        for (part, kind, count) in [
            ("train", "good", 9),
            ("test", "good", 2),
            ("test", "cut", 4),
            ("ground_truth", "cut", 4),
        ] {
            let to = make_folder(&data.join("wedge"), &[part, kind]).unwrap();
            for number in 0..count {
                let suffix = if part == "ground_truth" { "_mask" } else { "" };
                let image = RgbImage::from_fn(30, 20, |x, y| Rgb([u8::from(x > y + number) * 200; 3]));
                image.save(to.join(format!("{number}{suffix}.png"))).unwrap();
            }
        }
        data
    }

    fn vary(data: &Path, out: &Path, seed: u64, change: impl FnOnce(&mut Vary)) {
        let mut vary = Vary {
            data: data.to_owned(),
            out: out.to_owned(),
            seed,
            turn: false,
            light: 1.0,
            noise: 0.0,
            shift: 0,
            dirty: 0.0,
        };
        change(&mut vary);
        vary.run().unwrap();
    }

    #[test]
    fn every_picture_is_turned_with_its_mask_and_the_seed_says_how() {
        let folder = tempfile::tempdir().unwrap();
        let data = category(folder.path());
        let turned = |name: &str, seed| {
            let out = folder.path().join(name);
            vary(&data, &out, seed, |vary| vary.turn = true);
            let paths = [
                "train/good/0.png",
                "test/good/0.png",
                "test/cut/0.png",
                "ground_truth/cut/0_mask.png",
            ];
            paths.map(|path| read(&out.join("wedge").join(path)).unwrap())
        };
        let (first, again, another) = (turned("first", 0), turned("again", 0), turned("another", 1));
        assert_eq!(first, again);
        assert_ne!(first, another);
        // Each by an angle of its own, but the mask by that of its image: where the one is bright, so is the other.
        assert_ne!(first[0], first[1]);
        let pairs = first[2].pixels().zip(first[3].pixels());
        assert!(pairs.filter(|(image, mask)| image[0].abs_diff(mask[0]) > 110).count() < 10);
    }

    /// What is learned from is not tested with, and the rest is as it was.
    #[test]
    fn defects_among_the_good_are_taken_from_the_test_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let data = category(folder.path());
        let out = folder.path().join("dirty");
        vary(&data, &out, 3, |vary| vary.dirty = 0.1);
        let names = |path: &str| {
            let list = list(&out.join("wedge").join(path)).unwrap();
            list.iter().map(|path| stem(path)).collect::<Vec<_>>()
        };
        let learned: Vec<String> = names("train/good")
            .into_iter()
            .filter(|name| name.starts_with("cut_"))
            .collect();
        assert_eq!((learned.len(), names("train/good").len()), (1, 10));
        let tested = names("test/cut");
        assert_eq!((tested.len(), names("test/good").len()), (3, 2));
        assert!(!tested.iter().any(|name| format!("cut_{name}") == learned[0]));
        assert_eq!(names("ground_truth/cut").len(), 3);
    }
}
