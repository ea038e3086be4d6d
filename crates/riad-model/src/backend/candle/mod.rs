//! Networks on any device that candle drives: Apple's GPUs, NVIDIA's by candle's own kernels, and in tests the CPU. They are those of
//! the public module [`crate::candle`], and what they compute with is its functions.

mod device;
mod score;
mod train;

pub(super) use device::{cuda, kind, metal};
pub(crate) use score::CandleScorer;
pub(crate) use train::CandleTrainer;

#[cfg(test)]
mod tests;
