//! Errors by whose fault they are.

use std::path::{Path, PathBuf};

/// What can go wrong in this crate.
///
/// The cause is part of every message, and not its source as well, so that nothing is repeated when a caller prints a chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A setting is out of its range, or settings contradict each other: the caller's to mend.
    #[error("{0}")]
    Setting(String),

    /// A file cannot be read or written: the machine's fault.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },

    /// A file is not a checkpoint, or not one that this version can use: the file's fault.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the way out.
        reason: String,
    },

    /// The images that the caller supplied could not be had.
    #[error("{0}")]
    Images(Cause),

    /// Images do not fit the network or each other.
    #[error("{what} has {got} values where {expected} were expected")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length that the other arguments imply.
        expected: usize,
    },

    /// The loss became NaN or infinite. The last good checkpoint is kept.
    #[error(
        "the loss became {loss} in epoch {epoch}, step {step}; the last good checkpoint is kept. Try a lower learning \
         rate, and look for broken training images"
    )]
    Diverged {
        /// The loss.
        loss: f64,
        /// Epoch, from 1.
        epoch: usize,
        /// Step within the epoch, from 1.
        step: usize,
    },

    /// The network gave NaN: its weights are out of any useful range, or the image's values are.
    #[error(
        "the network's values overflow on this image; the checkpoint is damaged, or the image has values outside [0, 1]"
    )]
    Overflow,

    /// An exported file's archive cannot be made.
    #[error("the archive cannot be written: {0}")]
    Archive(Cause),

    /// The device asked for is not there, or cannot be used.
    #[error("{0}")]
    Device(String),

    /// The device asked for takes a cargo feature that this build is without.
    #[error("this build is without {device}, which takes the feature {feature}")]
    NotBuilt {
        /// What it is without.
        device: &'static str,
        /// The feature of this crate.
        feature: &'static str,
    },

    /// A run is to be started where there is one.
    #[error("{} already holds a run; resume it, or choose another folder", folder.display())]
    RunExists {
        /// The folder.
        folder: PathBuf,
    },

    /// A run is to be resumed where there is none.
    #[error("{}: there is no run to resume here", folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
    },

    /// A run has trained for less than an epoch, so that it has no weights to score with.
    #[error("{}: the run has no best.safetensors yet; let it train for an epoch first", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },

    /// Another process trains in the folder.
    #[error("another process is training in {}; wait for it, or choose another folder", folder.display())]
    RunBusy {
        /// The folder.
        folder: PathBuf,
    },

    /// The device does not compute in this precision.
    #[error("{reason}")]
    Precision {
        /// What it does compute in.
        reason: String,
    },

    /// candle failed: out of memory, a driver's error, or a bug of ours.
    #[error("the tensor library failed: {0}")]
    Tensor(Cause),

    /// The GPU failed: out of memory, a driver's error, or a bug of ours.
    #[error("{0}")]
    Gpu(Cause),

    /// A convolution kernel refused its arguments: a bug of ours.
    #[error("a convolution failed: {0}")]
    Convolution(Cause),

    /// Masks cannot be made for this size.
    #[error(transparent)]
    Mask(#[from] riad_core::mask::MaskError),

    /// Two images cannot be compared.
    #[error(transparent)]
    Similarity(#[from] riad_core::similarity::SimilarityError),

    /// Values are not as many as their size says.
    #[error(transparent)]
    Shape(#[from] riad_core::LengthError),

    /// The smoothing window does not fit.
    #[error(transparent)]
    Smooth(#[from] riad_core::smooth::SmoothError),
}

/// What a library below said, whatever its type: only its words are meant for anyone.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// This crate's results.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

impl ModelError {
    /// Whether the caller's settings are to blame, rather than a file or the machine.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Setting(_)
                | Self::Device(_)
                | Self::NotBuilt { .. }
                | Self::RunExists { .. }
                | Self::RunBusy { .. }
                | Self::Precision { .. }
                | Self::Mask(_)
        )
    }

    /// The file or folder that is at fault, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Io { path, .. } | Self::Checkpoint { path, .. } => Some(path),
            Self::RunExists { folder }
            | Self::NoRun { folder }
            | Self::NoWeights { folder }
            | Self::RunBusy { folder } => Some(folder),
            _ => None,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |cause| Self::Io {
            path: path.to_owned(),
            cause,
        }
    }

    pub(crate) fn length(what: &'static str, got: usize, expected: usize) -> Result<()> {
        if got == expected {
            Ok(())
        } else {
            Err(Self::Length { what, got, expected })
        }
    }
}

#[cfg(feature = "candle")]
impl From<candle_core::Error> for ModelError {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(error.into())
    }
}

impl From<riad_cuda::CudaError> for ModelError {
    fn from(error: riad_cuda::CudaError) -> Self {
        match error {
            riad_cuda::CudaError::Device(reason) => Self::Device(reason),
            error => Self::Gpu(error.into()),
        }
    }
}

impl From<riad_conv::ConvError> for ModelError {
    fn from(error: riad_conv::ConvError) -> Self {
        match error {
            // What the caller chose, and not a bug.
            riad_conv::ConvError::NoBf16 | riad_conv::ConvError::Simd { .. } => Self::Setting(error.to_string()),
            error => Self::Convolution(error.into()),
        }
    }
}
