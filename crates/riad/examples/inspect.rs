//! Scores and verdicts of a folder of pictures.
//!
//! ```console
//! $ cargo run -p riad --example inspect -- runs/lid photos/today
//! ```
//!
//! Without arguments it looks at demo pictures.

mod support;

use std::{error::Error, path::PathBuf};

use riad::{Detector, image_files};
use support::Demo;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(Into::into).collect();
    let demo;
    let (model, folder) = match arguments.as_slice() {
        [model, folder] => (model.clone(), folder.clone()),
        _ => {
            demo = Demo::new("inspect")?;
            (demo.model()?, demo.test())
        }
    };
    let detector = Detector::open(model)?;
    // Looked up once: it is the same for all pictures.
    let threshold = detector.threshold(0.1)?;
    for (path, found) in detector.inspect_many(image_files(&folder, None).images) {
        match found {
            Ok(found) => {
                let judged = found.judged(&threshold);
                println!(
                    "{}: {} at {:.4}, {} regions",
                    path.display(),
                    judged.verdict,
                    found.score(),
                    judged.regions.len()
                );
            }
            // One that cannot be read keeps no other from being looked at.
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(())
}
