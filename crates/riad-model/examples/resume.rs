//! Trains a small network on made-up images for three epochs, breaks off after the first, and resumes.
//!
//! ```console
//! $ cargo run -p riad-model --example resume
//! ```
//!
//! A program of its own takes its images from files: `riad-data` decodes, resizes and prefetches them.

use std::{error::Error, ops::ControlFlow};

use riad_model::{Device, Event, Examples, ImageSource, Method, Outcome, TrainConfig, Trainer};

const SIDE: usize = 32;

/// Waves of a phase of their own each, in three colours.
struct Waves {
    count: usize,
}

impl ImageSource for Waves {
    fn len(&self) -> usize {
        self.count
    }

    fn batches(
        &self,
        order: Vec<usize>,
        batch_size: usize,
        _seed: u64,
    ) -> Box<dyn Iterator<Item = Result<Examples, Box<dyn Error + Send + Sync>>> + '_> {
        let value = |image: usize, place: usize| {
            let (x, y) = ((place % SIDE) as f32, (place / SIDE % SIDE) as f32);
            0.5 + 0.4 * (0.4 * x + image as f32).sin() * (0.3 * y).cos()
        };
        let image = move |index: usize| (0..3 * SIDE * SIDE).map(move |place| value(index, place));
        let batches: Vec<Vec<usize>> = order.chunks(batch_size).map(<[usize]>::to_vec).collect();
        Box::new(
            batches
                .into_iter()
                .map(move |batch| Ok(batch.into_iter().flat_map(image).collect::<Vec<_>>().into())),
        )
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("riad-example-{}", std::process::id()));
    let (train, validation) = (Waves { count: 16 }, Waves { count: 4 });

    let method = Method::RIAD;
    let mut config = TrainConfig::published(method.architecture(4), method.settings(SIDE, SIDE));
    (config.epochs, config.learning_rate) = (3, 1e-3);

    // Every event may break the run off: here the end of the first epoch does.
    let mut trainer = Trainer::start(config, &folder, &Device::CPU)?;
    let outcome = trainer.run(&train, &validation, &mut |event| match event {
        Event::Epoch { record, .. } => {
            println!("epoch {}: training loss {:.4}", record.epoch, record.train.total);
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })?;
    println!("{outcome:?} in {}", folder.display());
    drop(trainer);

    // The run goes on to the bytes that it would have had undisturbed.
    let mut trainer = Trainer::resume(&folder, &Device::CPU)?;
    let outcome = trainer.run(&train, &validation, &mut |event| {
        if let Event::Epoch { record, best, .. } = event {
            let mark = if best { ", the best so far" } else { "" };
            println!("epoch {}: training loss {:.4}{mark}", record.epoch, record.train.total);
        }
        ControlFlow::Continue(())
    })?;
    println!("{outcome:?}");
    drop(trainer);
    std::fs::remove_dir_all(&folder)?;
    match outcome {
        Outcome::Completed => Ok(()),
        other => Err(format!("three epochs were to be run, and the run is {other:?}").into()),
    }
}
