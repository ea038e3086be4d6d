//! Networks on the CPU, over `riad-conv`'s kernels, channels-last, in memory that lives as long as the run. A tape of
//! tensors would spend as much time on new pages, copies and sums of gradients as on the layers.

mod activation;
mod norm;
mod parameters;
mod score;
mod train;

pub(crate) use score::CpuScorer;
pub(crate) use train::CpuTrainer;
