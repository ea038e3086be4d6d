//! Errors of this crate. A variant says whose fault it is.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use riad_core::Size;

/// Errors of this crate.
///
/// The cause is part of the message. It is not the source as well, so a caller that prints the chain of sources repeats nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A setting is out of its range, or settings contradict each other. The caller must correct it.
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

    /// The caller's source of images reported an error.
    #[error("{0}")]
    Images(Cause),

    /// An image has a size that the model does not take: the image's fault.
    #[error("an image has {got} pixels (height x width), and {needed}")]
    ImageSize {
        /// Its size.
        got: Size,
        /// What the model takes.
        needed: NeededSize,
    },

    /// Images do not fit the network or each other.
    #[error("{what} has {got} values, and {expected} were expected")]
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

    /// The network gave NaN, because its weights or the image's values are far out of their range.
    #[error(
        "the network's values overflow on this image: the checkpoint is damaged, or the image has values outside of [0, 1]"
    )]
    Overflow,

    /// An exported file's archive cannot be made.
    #[error("the archive cannot be written: {0}")]
    Archive(Cause),

    /// The device asked for is not there, or cannot be used.
    #[error("{0}")]
    Device(String),

    /// The device needs a cargo feature that this build does not have.
    #[error("this build does not have {device}; it needs the feature {feature}")]
    NotBuilt {
        /// The device.
        device: &'static str,
        /// The feature of this crate.
        feature: &'static str,
    },

    /// A run cannot start in a folder that already holds one.
    #[error("{} already holds a run; resume it, or choose another folder", folder.display())]
    RunExists {
        /// The folder.
        folder: PathBuf,
    },

    /// A run goes on only with as many images as it was started with.
    #[error(
        "the run was started with {had} {what} images, and there are {got} now; bring them back, or start another run in another \
         folder"
    )]
    OtherImages {
        /// Which images: `training` or `validation`.
        what: &'static str,
        /// Their number when the run was started.
        had: usize,
        /// Their number now.
        got: usize,
    },

    /// There is no run to resume.
    #[error("{}: there is no run to resume here", folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
    },

    /// A run has trained for less than an epoch, so it has no weights to score with.
    #[error("{}: the run has no best.safetensors yet; train it for an epoch first", folder.display())]
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
        /// The precisions that it has.
        reason: String,
    },

    /// candle failed: out of memory, an error of the driver, or a bug of this crate.
    #[error("the tensor library failed: {0}")]
    Tensor(Cause),

    /// The GPU failed: out of memory, an error of the driver, or a bug of this crate.
    #[error("{0}")]
    Gpu(Cause),

    /// A convolution kernel refused its arguments. This is a bug of this crate.
    #[error("a convolution failed: {0}")]
    Convolution(Cause),

    /// Masks cannot be made for this size.
    #[error(transparent)]
    Mask(#[from] riad_core::mask::MaskError),

    /// Two images cannot be compared.
    #[error(transparent)]
    Similarity(#[from] riad_core::similarity::SimilarityError),

    /// The number of values does not match their size.
    #[error(transparent)]
    Shape(#[from] riad_core::LengthError),

    /// The smoothing window does not fit.
    #[error(transparent)]
    Smooth(#[from] riad_core::smooth::SmoothError),
}

/// The size that a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NeededSize {
    /// This size.
    Exactly(Size),
    /// At least this size of a tile, in both directions.
    AtLeast(Size),
    /// The size of the region of interest.
    Region(Size),
}

impl fmt::Display for NeededSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(size) => write!(f, "the model takes {size}; resize it"),
            Self::AtLeast(size) => write!(
                f,
                "a tile has {size}; leave the image out, or train a model with smaller tiles"
            ),
            Self::Region(size) => write!(
                f,
                "the region of interest has {size}; leave the image out, or use a model without that region"
            ),
        }
    }
}

/// An error of a library below. Its type is not part of the interface. Use only its words.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// This crate's results.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

impl ModelError {
    /// Whether the caller's settings are at fault, and not a file or the machine.
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

    /// Whether the error is no image's and no file's, but of the device, the settings or the program: then no other image can be looked
    /// at either.
    pub fn stops_everything(&self) -> bool {
        match self {
            Self::Setting(_)
            | Self::Length { .. }
            | Self::Diverged { .. }
            | Self::Archive(_)
            | Self::Device(_)
            | Self::NotBuilt { .. }
            | Self::Precision { .. }
            | Self::Tensor(_)
            | Self::Gpu(_)
            | Self::Convolution(_)
            | Self::Mask(_)
            | Self::Similarity(_)
            | Self::Shape(_)
            | Self::Smooth(_) => true,
            Self::Io { .. }
            | Self::Checkpoint { .. }
            | Self::Images(_)
            | Self::ImageSize { .. }
            | Self::OtherImages { .. }
            | Self::Overflow
            | Self::RunExists { .. }
            | Self::NoRun { .. }
            | Self::NoWeights { .. }
            | Self::RunBusy { .. } => false,
        }
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
            riad_conv::ConvError::NoBf16 => Self::Precision {
                reason: error.to_string(),
            },
            riad_conv::ConvError::Simd { .. } => Self::Setting(error.to_string()),
            error => Self::Convolution(error.into()),
        }
    }
}
