#![doc = include_str!("../README.md")]

mod adam;
pub mod architecture;
pub mod checkpoint;
mod cuda;
mod device;
mod engine;
mod error;
pub mod export;
mod graph;
mod import;
mod learner;
mod loss;
mod masking;
mod plan;
mod precision;
mod roi;
mod scorer;
mod tiling;
mod trainer;
mod training;
mod values;
mod weights;

#[cfg(test)]
mod tests;

pub use architecture::{Architecture, Preset};
pub use checkpoint::{Checkpoint, Header, ScoringSettings, Similarity};
pub use device::{Device, device, gpu};
pub use error::{ModelError, Result};
pub use loss::{LossTerms, LossWeights};
pub use masking::Normalisation;
pub use precision::Precision;
pub use roi::Roi;
pub use scorer::{Keep, Scored, Scorer};
pub use tiling::Tiling;
pub use trainer::{EndWeights, Event, ImageSource, Outcome, Trainer, lock_run};
pub use training::{EpochRecord, Progress, TrainConfig};
pub use weights::Weights;
