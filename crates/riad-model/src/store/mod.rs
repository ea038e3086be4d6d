//! Files: checkpoints, their headers with a run's settings and progress, the files of a run, and weights from PyTorch.

mod checkpoint;
mod config;
mod files;
mod header;
mod pickle;
mod progress;
mod pytorch;

pub use checkpoint::Checkpoint;
pub use config::TrainConfig;
pub use files::{BEST, LAST, RunLock, file_of, lock_run, open_file, remove_part, replace, write_whole};
pub use header::{FORMAT, Header};
pub use progress::{EpochRecord, Progress};
