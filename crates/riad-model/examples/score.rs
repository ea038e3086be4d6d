//! Scores a made-up image with a stain, by a checkpoint if one is given, else by a network that was never trained.
//!
//! ```console
//! $ cargo run -p riad-model --example score [CHECKPOINT]
//! ```
//!
//! A program of its own reads images from files: `riad-data` decodes and resizes them.

use std::error::Error;

use riad_model::{Checkpoint, Keep, Method, Precision, Scorer, Weights, device};

fn main() -> Result<(), Box<dyn Error>> {
    let checkpoint = match std::env::args_os().nth(1) {
        Some(path) => Checkpoint::open(path.as_ref())?,
        None => {
            let method = Method::RIAD;
            let weights = Weights::initial(method.architecture(4), 0)?;
            Checkpoint::new(weights, method.settings(64, 64), None, None)
        }
    };
    let scorer = Scorer::new(&checkpoint, &device("auto")?, Precision::F32)?;
    let (size, channels) = (checkpoint.header.scoring.size(), scorer.channels());

    // An even image, [C, H, W] in [0, 1], and the same with a dark square in its middle.
    let even = vec![0.7; channels * size.pixels()];
    let mut stained = even.clone();
    let is_inside = |place: usize, side: usize| (side * 2 / 5..side * 3 / 5).contains(&place);
    for (place, value) in stained.iter_mut().enumerate() {
        let (y, x) = (place % size.pixels() / size.width, place % size.width);
        if is_inside(y, size.height) && is_inside(x, size.width) {
            *value = 0.2;
        }
    }

    let scored = scorer.score(&[even, stained].concat(), Keep::All)?;
    let names = checkpoint.header.method().pass_names(&checkpoint.header.scoring);
    for (name, scored) in ["even", "stained"].into_iter().zip(&scored) {
        println!("{name}: score {:.4}, map of {}", scored.score, scored.map.size());
        for (name, map) in names.iter().zip(&scored.region_maps) {
            println!("  {name}: at most {:.4}", map.max().unwrap_or(0.0));
        }
    }
    Ok(())
}
