//! Images that come from a camera, not from files: in memory, looked at by several threads at once.
//!
//! ```console
//! $ cargo run -p riad --example custom_source
//! ```

mod support;

use std::{error::Error, thread};

use riad::{Detector, Image, Size};
use support::Demo;

/// What a camera would give: rows of pixels of three bytes.
fn frame(number: u8) -> Vec<u8> {
    let (height, width) = (96, 128);
    let pixel = |place: usize| [(place % width) as u8, (place / width) as u8, number.wrapping_mul(40)];
    (0..height * width).flat_map(pixel).collect()
}

/// Bytes of interleaved colours as an image: planes of values in [0, 1].
fn image(bytes: &[u8], size: Size) -> Result<Image, Box<dyn Error + Send + Sync>> {
    let plane = |channel: usize| {
        bytes
            .iter()
            .skip(channel)
            .step_by(3)
            .map(|byte| f32::from(*byte) / 255.0)
    };
    Ok(Image::new(3, size, (0..3).flat_map(plane).collect())?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let demo = Demo::new("camera")?;
    let detector = Detector::open(demo.model()?)?;
    let results: Vec<_> = thread::scope(|scope| {
        let cameras = (0..4).map(|number| {
            let detector = &detector;
            scope.spawn(move || {
                let found = detector.inspect(image(&frame(number), Size::new(96, 128))?)?;
                Ok::<_, Box<dyn Error + Send + Sync>>((number, found.score()))
            })
        });
        let cameras: Vec<_> = cameras.collect();
        cameras.into_iter().map(|camera| camera.join()).collect()
    });
    for result in results {
        let (number, score) = result
            .map_err(|_| "a thread panicked")?
            .map_err(|error| error.to_string())?;
        println!("camera {number}: {score:.4}");
    }
    Ok(())
}
