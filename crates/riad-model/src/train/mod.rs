//! Training: the loop over epochs and steps, and what it leaves on disk.

mod history;
mod trainer;

pub use trainer::{EndWeights, Event, ImageSource, Outcome, Trainer};
