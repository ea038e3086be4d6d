//! Which false-positive rates a calibration allows, and what they promise.
//!
//! ```console
//! $ cargo run -p riad --example thresholds
//! ```

mod support;

use std::error::Error;

use riad::{Checkpoint, Compute, Detector, FalsePositiveRate, calibrate, image_files, rates_in_words};
use support::Demo;

fn main() -> Result<(), Box<dyn Error>> {
    let demo = Demo::new("thresholds")?;
    let model = demo.model()?;
    let (mut checkpoint, compute) = (Checkpoint::open(&model)?, Compute::default());

    // Good pictures that the model was not trained with.
    let good = image_files(&demo.test().join("good"), None).images;
    let scores = calibrate(&mut checkpoint, good, None, &compute, &())?;
    println!("calibrated with {} pictures", scores.of.len());
    if let Some(calibration) = &checkpoint.header.calibration {
        println!("{}", rates_in_words(calibration));
    }

    let detector = Detector::options().compute(compute).open_checkpoint(&checkpoint)?;
    for rate in [
        FalsePositiveRate::new(0.1),
        FalsePositiveRate::new(0.3).with_confidence(0.95),
        FalsePositiveRate::new(0.001),
    ] {
        match detector.threshold(rate) {
            Ok(threshold) => println!("{rate}: above {:.4}", threshold.value()),
            // Says how many pictures it takes.
            Err(error) => println!("{rate}: {error}"),
        }
    }
    Ok(())
}
