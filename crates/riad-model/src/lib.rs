#![doc = include_str!("../README.md")]

mod backend;
#[cfg(feature = "candle")]
pub mod candle;
mod error;
pub mod export;
mod method;
pub mod network;
mod onnx;
mod scorer;
mod seed;
pub mod store;
mod train;

pub use backend::{Device, Precision, device, gpu};
pub use error::{Cause, ModelError, NeededSize, Result};
pub use method::{
    Alignment, Examples, InputFilter, Keep, LossTerms, LossWeights, Method, Normal, NormalSums, Normalisation, Roi,
    Scored, ScoringSettings, Similarity, Tiling,
};
pub use network::{Architecture, Preset, Weights};
pub use scorer::Scorer;
pub use store::{Checkpoint, EpochRecord, Header, Progress, TrainConfig, lock_run};
pub use train::{EndWeights, Event, ImageSource, Outcome, Trainer};
