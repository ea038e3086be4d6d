//! Training: the loop over epochs and steps, and its files.

mod history;
mod trainer;

pub use trainer::{EndWeights, Event, ImageSource, Outcome, Trainer};
