//! Networks on the CPU, over `riad-conv`'s kernels, channels-last, in memory that lives as long as the run: a tape of tensors
//! spends as much time on new pages, copies and sums of gradients as on the layers themselves.

mod activation;
mod norm;
mod parameters;
mod score;
mod train;

pub(crate) use score::CpuScorer;
pub(crate) use train::CpuTrainer;
