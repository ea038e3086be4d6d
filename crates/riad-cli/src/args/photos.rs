//! The user's own good and bad pictures, to measure on without masks and without a layout.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use riad::Sets;

/// Pictures that are known to be good or bad.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PhotosArgs {
    /// Good pictures to measure on, and folders of good pictures with their subfolders. They need no masks and no layout
    #[arg(long, value_name = "PATH", num_args = 1.., value_hint = ValueHint::AnyPath)]
    pub(crate) good: Vec<PathBuf>,
    /// Pictures with a defect, and folders of such pictures. The name of a subfolder is a kind of defect
    #[arg(long, value_name = "PATH", num_args = 1.., value_hint = ValueHint::AnyPath)]
    pub(crate) bad: Vec<PathBuf>,
}

impl PhotosArgs {
    pub(crate) fn is_empty(&self) -> bool {
        self.good.is_empty() && self.bad.is_empty()
    }

    /// The pictures. `synthetic` draws defects on the good ones.
    pub(crate) fn sets(&self, synthetic: Option<u64>) -> Sets {
        let Self { good, bad } = self.clone();
        Sets { good, bad, synthetic }
    }
}
