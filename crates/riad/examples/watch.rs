//! Pictures as they come into a folder: each gets a line, and defects are set aside.
//!
//! ```console
//! $ cargo run -p riad --example watch
//! ```

mod support;

use std::error::Error;

use riad::{
    Detector, Event, Observer,
    watch::{Options, Station, Transfer},
};
use support::Demo;

/// Prints what is found.
struct Lines;

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Rejected {
                image,
                score,
                judgement,
            } => println!("{image} is {}: {score:.4}", judgement.verdict),
            Event::Fault(error) | Event::Waiting(error) => println!("{error}"),
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let demo = Demo::new("watch")?;
    // Lines name the model by its id, so that those of two models can be told apart.
    let detector = Detector::options().identified(true).open(demo.model()?)?;
    let options = Options {
        rate: Some(0.1.into()),
        defects: Some((demo.path("rejects"), Transfer::Copy)),
        // A line PC watches until it is cancelled.
        once: true,
        ..Options::new(demo.test(), demo.path("results.csv"))
    };
    let mut station = Station::open(detector, options, &Lines)?;
    let ended = station.run(&riad::Cancel::new(), &Lines)?;
    println!("{ended:?}: {:?}", station.counts());
    Ok(())
}
