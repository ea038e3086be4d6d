//! What the reader makes of files: their size, and the range of each channel.
//!
//! ```text
//! cargo run -p riad-data --example decode -- CHANNELS [PATTERN] FILE OR FOLDER…
//! cargo run -p riad-data --example decode -- 3 photo.jpg
//! cargo run -p riad-data --example decode -- 4 '*_light{0..3}.png' parts
//! ```

use std::{env, error::Error, path::Path};

use riad_data::{Fit, Pattern, Reader, image_files};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1).peekable();
    let channels = args
        .next()
        .ok_or("say how many channels the images have, then which files")?
        .parse()?;
    let mut reader = Reader::new(channels);
    // With a pattern several files make one image, named by the first of them.
    if let Some(pattern) = args.next_if(|arg| arg.contains('*')) {
        reader.pattern = Some(pattern.parse::<Pattern>()?);
    }
    for path in args {
        let found = image_files(Path::new(&path), reader.pattern.as_ref());
        found.faults.iter().for_each(|fault| println!("{fault}"));
        for file in found.images {
            match reader.load(&file, Fit::Own) {
                Ok(loaded) => {
                    println!("{}: {} pixels (height x width)", file.display(), loaded.image.size());
                    for (channel, values) in loaded.image.planes().enumerate() {
                        let (least, most) = values.iter().fold((1.0f32, 0.0f32), |(a, b), &v| (a.min(v), b.max(v)));
                        println!("  channel {channel}: {least:.4} to {most:.4}");
                    }
                }
                // One bad file is no reason not to look at the others; the message says what to do about it.
                Err(error) => println!("{error}"),
            }
        }
    }
    Ok(())
}
