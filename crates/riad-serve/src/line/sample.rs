//! A model for tests of this crate.

use std::{
    fs,
    path::{Path, PathBuf},
};

use riad::{Device, Method, Recalibration, RgbImage, Training};

/// Draws a picture into a file.
pub(crate) fn picture(path: PathBuf, number: u8) {
    let pixel = |x: u32, y: u32| image::Rgb([(x * 7 + y * 3) as u8 ^ number; 3]);
    RgbImage::from_fn(32, 32, pixel).save(path).unwrap();
}

/// A run in a folder that was hardly trained, and calibrated with four pictures.
pub(crate) fn calibrated_run(folder: &Path) -> PathBuf {
    let at = |path: &str| folder.join(path);
    for (place, numbers) in [("photos", 0..8), ("fresh", 8..12)] {
        fs::create_dir(at(place)).unwrap();
        numbers.for_each(|number| picture(at(place).join(format!("{number}.png")), number));
    }
    let training = Training::new(at("photos")).method(Method::RIAD).size(32).epochs(1);
    training.device(Device::CPU).out(at("run")).start(&()).unwrap();
    Recalibration::of(at("run")).pictures(at("fresh")).start(&()).unwrap();
    at("run")
}
