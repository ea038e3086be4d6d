//! Networks on any device that candle supports: Apple's GPUs, NVIDIA's GPUs with candle's own kernels, and in tests the
//! CPU. They use the networks and functions of the public module [`crate::candle`].

mod device;
mod score;
mod train;

pub(super) use device::{cuda, kind, metal};
pub(crate) use score::CandleScorer;
pub(crate) use train::CandleTrainer;

#[cfg(test)]
mod tests;
