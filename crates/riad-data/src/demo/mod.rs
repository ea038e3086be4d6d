//! A demo data set: two made-up products with defects, to try the program without real images.
//!
//! `fabric` is a texture: woven cloth, with the pattern in another position in every image. `badge` is an object, in a
//! slightly different position in every image. Defects change the structure more than the brightness. So a comparison
//! with the mean of the good images shows little.

mod badge;
mod fabric;
mod render;

use std::fs;
use std::path::Path;

use image::{ExtendedColorType, ImageFormat, save_buffer_with_format};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::dice::Dice;
use badge::Badge;
use fabric::Fabric;
use render::{Lighting, Picture, SIDE, Scene, render};

/// Good images to learn from, good images to test on, and images of each kind of defect, per category.
const TRAIN_GOOD: u64 = 64;
const TEST_GOOD: u64 = 16;
const TEST_PER_DEFECT: u64 = 8;

/// The file that describes the folder's content. It is written last.
const MARKER: &str = "demo.json";

/// It must be raised if the pictures change.
const VERSION: u32 = 1;

/// The result of [`generate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Demo {
    /// The set was made.
    Created,
    /// The folder already held the same set. Nothing was changed.
    Reused,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    version: u32,
    seed: u64,
}

struct Product {
    name: &'static str,
    defects: &'static [&'static str],
    draw: fn(&mut Dice, Option<usize>) -> Box<dyn Scene>,
}

const PRODUCTS: [Product; 2] = [
    Product {
        name: "badge",
        defects: &badge::DEFECTS,
        draw: |dice, defect| Box::new(Badge::random(dice, defect)),
    },
    Product {
        name: "fabric",
        defects: &fabric::DEFECTS,
        draw: |dice, defect| Box::new(Fabric::random(dice, defect)),
    },
];

/// One image of the set.
struct Shot {
    product: &'static Product,
    /// The index of the defect in the product's list.
    defect: Option<usize>,
    /// The image's file, from the set's folder.
    path: String,
    /// The mask's file, if there is a defect.
    mask: Option<String>,
}

/// Makes the demo set in `dir`: the categories `badge` and `fabric` in MVTec AD's layout, each with 64 good images for
/// training, 16 good ones for testing and 8 of each of four kinds of defect with their masks, 128×128 pixels.
///
/// The same `seed` gives the same pixels on every platform. The set is either complete or not there: it is made beside
/// `dir` and then renamed. If `dir` already holds the set of this seed, nothing changes.
///
/// # Errors
/// [`DataError::Layout`] if `dir` exists and holds anything else; [`DataError::Io`] if writing fails.
pub fn generate(dir: &Path, seed: u64) -> Result<Demo, DataError> {
    let marker = Marker { version: VERSION, seed };
    let shots = shots();
    if is_occupied(dir)? {
        return holds(dir, &marker, &shots).map(|()| Demo::Reused);
    }
    let parent = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(|e| DataError::io(parent, e))?;
    let beside = tempfile::Builder::new()
        .prefix(".demo-")
        .tempdir_in(parent)
        .map_err(|e| DataError::io(parent, e))?;
    // A folder inside, because the temporary one is closed to other users.
    let set = beside.path().join("set");

    for folder in shots
        .iter()
        .flat_map(|shot| [Some(&shot.path), shot.mask.as_ref()])
        .flatten()
    {
        let file = set.join(folder);
        let folder = file.parent().unwrap_or(&set);
        fs::create_dir_all(folder).map_err(|e| DataError::io(folder, e))?;
    }
    (0u64..).zip(&shots).par_bridge().try_for_each(|(number, shot)| {
        let picture = shoot(shot, seed, number);
        write_png(&set.join(&shot.path), &picture.rgb, ExtendedColorType::Rgb8)?;
        match &shot.mask {
            Some(mask) => write_png(&set.join(mask), &picture.mask, ExtendedColorType::L8),
            None => Ok(()),
        }
    })?;
    let marker_file = set.join(MARKER);
    let text = serde_json::to_string(&marker).map_err(|e| DataError::io(&marker_file, e.into()))?;
    fs::write(&marker_file, text + "\n").map_err(|e| DataError::io(&marker_file, e))?;

    if dir.exists() {
        // The folder is empty. Not every system can rename a folder to an empty one's name.
        fs::remove_dir(dir).map_err(|e| DataError::io(dir, e))?;
    }
    fs::rename(&set, dir).map_err(|e| DataError::io(dir, e))?;
    Ok(Demo::Created)
}

/// Whether there is anything at `dir` but an empty folder.
fn is_occupied(dir: &Path) -> Result<bool, DataError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(DataError::io(dir, e)),
    }
}

/// Checks that `dir` holds the set that `wanted` describes.
fn holds(dir: &Path, wanted: &Marker, shots: &[Shot]) -> Result<(), DataError> {
    let marker_file = dir.join(MARKER);
    let text = match fs::read_to_string(&marker_file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let reason = "the folder is not empty and does not hold a demo set; name another folder";
            return Err(DataError::layout(dir, reason));
        }
        Err(e) => return Err(DataError::io(&marker_file, e)),
    };
    let other = |what: String| DataError::layout(dir, format!("{what}; name another folder, or remove this one"));
    let found: Marker = serde_json::from_str(&text).map_err(|e| other(format!("{MARKER} in it is damaged: {e}")))?;
    if found != *wanted {
        let reason = format!(
            "the folder holds the demo set of seed {} (version {}), not of seed {} (version {})",
            found.seed, found.version, wanted.seed, wanted.version
        );
        return Err(other(reason));
    }
    let mut files = shots
        .iter()
        .flat_map(|shot| [Some(&shot.path), shot.mask.as_ref()])
        .flatten();
    match files.find(|file| !dir.join(file).is_file()) {
        Some(file) => Err(other(format!(
            "the demo set in this folder is incomplete: {file} is missing"
        ))),
        None => Ok(()),
    }
}

/// Every image of the set. Its position in the list is the number of the random stream that draws it.
fn shots() -> Vec<Shot> {
    let mut shots = Vec::new();
    for product in &PRODUCTS {
        let name = product.name;
        let good = |split: &str, i: u64| format!("{name}/{split}/good/{i:03}.png");
        for path in (0..TRAIN_GOOD)
            .map(|i| good("train", i))
            .chain((0..TEST_GOOD).map(|i| good("test", i)))
        {
            shots.push(Shot {
                product,
                defect: None,
                path,
                mask: None,
            });
        }
        for (index, defect) in product.defects.iter().enumerate() {
            shots.extend((0..TEST_PER_DEFECT).map(|i| Shot {
                product,
                defect: Some(index),
                path: format!("{name}/test/{defect}/{i:03}.png"),
                mask: Some(format!("{name}/ground_truth/{defect}/{i:03}_mask.png")),
            }));
        }
    }
    shots
}

fn shoot(shot: &Shot, seed: u64, number: u64) -> Picture {
    let mut dice = Dice::new(seed, number);
    let lighting = Lighting::random(&mut dice);
    let scene = (shot.product.draw)(&mut dice, shot.defect);
    render(scene.as_ref(), &lighting)
}

fn write_png(path: &Path, pixels: &[u8], color: ExtendedColorType) -> Result<(), DataError> {
    let side = SIDE as u32;
    save_buffer_with_format(path, pixels, side, side, color, ImageFormat::Png).map_err(|e| match e {
        image::ImageError::IoError(cause) => DataError::io(path, cause),
        // The encoder accepts the image of any seed, so only writing can fail.
        e => DataError::io(path, std::io::Error::other(e)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Category;

    /// FNV-1a.
    fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
        let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        parts.into_iter().flatten().fold(0xCBF2_9CE4_8422_2325, step)
    }

    #[test]
    fn the_pixels_of_a_seed_are_pinned() {
        // A change of these pictures must raise VERSION: folders made before are then no longer taken for the same.
        let shots = shots();
        let every_19th = (0u64..)
            .zip(&shots)
            .step_by(19)
            .map(|(number, shot)| shoot(shot, 0, number));
        let pictures: Vec<_> = every_19th.collect();
        let digest = digest(
            pictures
                .iter()
                .flat_map(|picture| [&picture.rgb[..], &picture.mask[..]]),
        );
        assert_eq!((VERSION, format!("{digest:016x}").as_str()), (1, "57e6b8cf66c98af2"));
    }

    #[test]
    fn masks_mark_what_the_defect_changed() {
        // The same shots without their defects differ where the mask is, and hardly beside it.
        for (number, shot) in (0u64..)
            .zip(&shots())
            .filter(|(_, shot)| shot.defect.is_some())
            .step_by(3)
        {
            let good = Shot {
                product: shot.product,
                defect: None,
                path: String::new(),
                mask: None,
            };
            let (defective, good) = (shoot(shot, 5, number), shoot(&good, 5, number));
            assert!(good.mask.iter().all(|&marked| marked == 0));
            let change = |i: usize| {
                let channel = |c: usize| defective.rgb[3 * i + c].abs_diff(good.rgb[3 * i + c]);
                channel(0).max(channel(1)).max(channel(2))
            };
            let (inside, outside): (Vec<usize>, _) = (0..SIDE * SIDE).partition(|&i| defective.mask[i] != 0);
            assert!(inside.len() >= 40, "{}: {} pixels", shot.path, inside.len());
            let changed = inside.iter().filter(|&&i| change(i) >= 8).count();
            assert!(
                2 * changed > inside.len(),
                "{}: {changed} of {}",
                shot.path,
                inside.len()
            );
            let stray = outside.iter().filter(|&&i| change(i) >= 24).count();
            assert!(
                4 * stray < inside.len(),
                "{}: {stray} beside {}",
                shot.path,
                inside.len()
            );
        }
    }

    #[test]
    fn made_once_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("some/demo");
        // An empty folder may be there; README.md's example makes one that is not.
        fs::create_dir_all(&dir).unwrap();
        assert_eq!(generate(&dir, 3).unwrap(), Demo::Created);
        for product in &PRODUCTS {
            let category = Category::open(&dir.join(product.name), None).unwrap();
            assert_eq!(category.train.len(), 64);
            assert_eq!(category.test.iter().filter(|item| !item.is_defective()).count(), 16);
            assert_eq!(category.test.iter().filter(|item| !item.masks.is_empty()).count(), 32);
        }
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(folder.path().join("some")).unwrap().count(), 1);

        assert_eq!(generate(&dir, 3).unwrap(), Demo::Reused);
        let text = |seed| generate(&dir, seed).unwrap_err().to_string();
        assert!(text(4).contains("seed 3"), "{}", text(4));
        fs::remove_file(dir.join("badge/train/good/063.png")).unwrap();
        assert!(text(3).contains("badge/train/good/063.png is missing"), "{}", text(3));
        fs::write(dir.join(MARKER), "{").unwrap();
        assert!(text(3).contains("damaged"), "{}", text(3));
        fs::remove_file(dir.join(MARKER)).unwrap();
        assert!(text(3).contains("does not hold a demo set"), "{}", text(3));
        assert!(!dir.join("badge/train/good/063.png").exists());

        let file = folder.path().join("file");
        fs::write(&file, "mine").unwrap();
        assert!(matches!(generate(&file, 3), Err(DataError::Io { .. })));
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }
}
