//! A training with its progress, stopped by a time limit and gone on with.
//!
//! ```console
//! $ cargo run -p riad --example train
//! ```

mod support;

use std::{error::Error, time::Duration};

use riad::{Cancel, Event, Method, Observer, Preset, Training};
use support::Demo;

/// Prints what happens.
struct Lines;

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Epoch { record, .. } => println!("epoch {}: loss {:.4}", record.epoch, record.train.total),
            Event::Suspects { names, .. } => println!("to be looked at: {}", names.join(", ")),
            event => event.in_words().iter().for_each(|words| println!("{words}")),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let demo = Demo::new("train")?;
    let training = Training::new(demo.good())
        .method(Method::RIAD)
        .preset(Preset::Tiny)
        .size(32)
        .epochs(2)
        .out(demo.path("run"));
    // A moment, so that there is something to go on with. `Cancel::cancel` does the same from another thread.
    let soon = Cancel::new().after(Duration::from_millis(200));
    training.clone().cancel(soon).start(&Lines)?;
    // The same expression goes on to the bytes that a training without a stop ends with.
    let run = training.start(&Lines)?;
    println!("the model is in {}", run.folder().display());
    Ok(())
}
