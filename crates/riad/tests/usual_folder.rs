//! A run in the folder that it has if none is named. The test changes the working folder of its process, so it is alone in it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{env, fs};

use image::{GrayImage, Luma};
use riad::{Device, Method, Training, TrainingOutcome};

/// Without the run's own bands the folder has twice as many images.
#[test]
fn a_run_in_the_usual_folder_goes_on_with_its_own_bands() {
    let folder = tempfile::tempdir().unwrap();
    env::set_current_dir(folder.path()).unwrap();
    fs::create_dir("lid").unwrap();
    for image in 0..8_u8 {
        for light in 0..2_u8 {
            let pixel = |x: u32, y: u32| Luma([(x * 3 + y * 5) as u8 ^ (image * 7 + light)]);
            GrayImage::from_fn(32, 32, pixel)
                .save(format!("lid/{image}_{light}.png"))
                .unwrap();
        }
    }
    let training = || {
        let training = Training::new("lid").method(Method::RIAD).size(32).epochs(1);
        training.calibration(0.0).device(Device::CPU)
    };
    let bands = || "*_{0,1}.png".parse().unwrap();
    let run = training().bands(bands()).start(&()).unwrap();
    assert_eq!(run.folder().to_str().unwrap().replace('\\', "/"), "runs/lid");
    let again = training().start(&()).unwrap();
    assert_eq!(
        (again.outcome(), again.bands()),
        (Some(TrainingOutcome::Finished), Some(&bands()))
    );
}
