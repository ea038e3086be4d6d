//! A folder of demo pictures and a small model of them, for examples that are run without arguments.

use std::path::{Path, PathBuf};

use riad::{Method, Training};
use riad_data::demo;

/// A folder that is removed in the end.
pub(crate) struct Demo(PathBuf);

impl Demo {
    /// Makes the pictures.
    pub(crate) fn new(name: &str) -> Result<Self, riad::Error> {
        let folder = std::env::temp_dir().join(format!("riad-{name}-{}", std::process::id()));
        let _ = demo::generate(&folder, 0)?;
        Ok(Self(folder))
    }

    /// Good pictures to learn from.
    pub(crate) fn good(&self) -> PathBuf {
        self.0.join("badge/train/good")
    }

    /// Pictures to look at, good ones and others, in folders by kind.
    #[allow(dead_code, reason = "not every example looks at them")]
    pub(crate) fn test(&self) -> PathBuf {
        self.0.join("badge/test")
    }

    /// Another place in the folder.
    #[allow(dead_code, reason = "not every example needs one")]
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A model that was hardly trained: enough to show how it is used.
    #[allow(dead_code, reason = "not every example needs one")]
    pub(crate) fn model(&self) -> Result<PathBuf, riad::Error> {
        let training = Training::new(self.good())
            .method(Method::RIAD)
            .size(32)
            .epochs(1)
            .calibration(0.3);
        let run = training.out(self.0.with_extension("run")).start(&())?;
        Ok(run.folder().to_owned())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let remove = |folder: &Path| std::fs::remove_dir_all(folder);
        let _ = remove(&self.0);
        let _ = remove(&self.0.with_extension("run"));
    }
}
