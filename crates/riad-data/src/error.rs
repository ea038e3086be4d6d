//! Errors of this crate. Each variant is a kind of fault: of a file, of a folder, or of the caller.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why images could not be found, read or made.
///
/// Every message names the file or folder, the cause and the way out. The message contains the cause, and the error has
/// no source. So a caller that prints the chain of sources repeats nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file system reported an error: the path is missing, cannot be read, or is of another kind.
    #[error("cannot access {}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        cause: Arc<io::Error>,
    },
    /// The data set's folders, tables or file names do not have the form of its layout, or of the pattern. The data set needs a
    /// correction; leaving out an image does not help.
    #[error("{}: {reason}", path.display())]
    Layout {
        /// The file or folder that is wrong or missing.
        path: PathBuf,
        /// What is wrong and how to correct it.
        reason: String,
    },
    /// More than one layout fits a folder, and none was named.
    #[error("{}: {reason}", path.display())]
    Layouts {
        /// The folder.
        path: PathBuf,
        /// The layouts that fit, and where.
        reason: String,
    },
    /// The path names something that is no file: a folder, a device or a pipe.
    #[error("{} is a {found}, not an image file; name a file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The image is sound, but its size does not fit the tiles or the region of interest. Other images may.
    #[error("{}: {reason}", path.display())]
    Size {
        /// The image file.
        path: PathBuf,
        /// Both sizes and the way out.
        reason: String,
    },
    /// The files or pages of one image do not fit each other. Other images may be sound.
    #[error("{}: {reason}", path.display())]
    Parts {
        /// The file that does not fit the others.
        path: PathBuf,
        /// In what they differ.
        reason: String,
    },
    /// The file is an image, but no mask, or not the mask of its image.
    #[error("{}: {reason}", path.display())]
    Mask {
        /// The mask's file.
        path: PathBuf,
        /// What a mask is, or both sizes.
        reason: String,
    },
    /// A decoder panicked on the file, which is a fault of the decoder. The file may be sound.
    #[error("{} is not supported: its decoder failed; save it as PNG or as an uncompressed TIFF", path.display())]
    DecoderFailed {
        /// The image file.
        path: PathBuf,
    },
    /// The file's content is damaged, cut off, or no image.
    #[error("cannot decode {}: {reason}; replace the file or remove it", path.display())]
    Decode {
        /// The image file.
        path: PathBuf,
        /// What the decoder found.
        reason: String,
    },
    /// The file is not damaged, but this crate does not read its kind.
    #[error("{} is not supported: {reason}", path.display())]
    Unsupported {
        /// The image file.
        path: PathBuf,
        /// What kind it is and what to convert it to.
        reason: String,
    },
    /// The image and the reader have different numbers of channels.
    #[error(
        "{} has {found} channels, not {wanted}; read all images with {found} channels, or leave this one out. Images in \
         several lights or bands are TIFFs with one page for each, .npy arrays, or several files with a pattern",
        path.display()
    )]
    Channels {
        /// The image file.
        path: PathBuf,
        /// Number of channels of the file.
        found: usize,
        /// Number of channels that the reader has.
        wanted: usize,
    },
    /// A sample contradicts the white level that the images are read with.
    #[error(
        "{} does not fit the white level {white}: {}; read all images with the white level of their camera, or leave this one out",
        path.display(),
        above_white_reason(*found, *white)
    )]
    AboveWhite {
        /// The image file.
        path: PathBuf,
        /// Its brightest sample. If no sample can reach the white level: the largest value that a sample can have.
        found: u16,
        /// The white level that was asked for.
        white: u16,
    },
    /// Decoding the file needs more [memory](crate::Limits::memory) than there is for it.
    #[error("{} is larger than allowed: {reason}", path.display())]
    LimitExceeded {
        /// The image file.
        path: PathBuf,
        /// The size found and the limit to raise.
        reason: String,
    },
    /// The file has more pixels, longer sides, or more around them than is read, whatever memory there is.
    #[error("{} is larger than allowed: {reason}", path.display())]
    TooLarge {
        /// The image file.
        path: PathBuf,
        /// The size found, the limit, and what to do with the file.
        reason: String,
    },
    /// An argument of the caller is out of range, or contradicts another one.
    #[error("{0}")]
    Parameter(String),
}

/// How a sample contradicts a white level.
fn above_white_reason(found: u16, white: u16) -> String {
    if found > white {
        format!("its brightest sample is {found}")
    } else {
        format!("its samples are at most {found}")
    }
}

impl DataError {
    /// The faulty file or folder, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Io { path, .. }
            | Self::Layout { path, .. }
            | Self::Layouts { path, .. }
            | Self::NoFile { path, .. }
            | Self::Size { path, .. }
            | Self::Parts { path, .. }
            | Self::Mask { path, .. }
            | Self::DecoderFailed { path }
            | Self::Decode { path, .. }
            | Self::Unsupported { path, .. }
            | Self::Channels { path, .. }
            | Self::AboveWhite { path, .. }
            | Self::LimitExceeded { path, .. }
            | Self::TooLarge { path, .. } => Some(path),
            Self::Parameter(_) => None,
        }
    }

    /// [`DataError::Io`] of a file or folder.
    pub fn io(path: &Path, cause: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            cause: Arc::new(cause),
        }
    }

    pub(crate) fn layout(path: &Path, reason: impl Into<String>) -> Self {
        Self::Layout {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn size(path: &Path, reason: impl Into<String>) -> Self {
        Self::Size {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn parts(path: &Path, reason: impl Into<String>) -> Self {
        Self::Parts {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn mask(path: &Path, reason: impl Into<String>) -> Self {
        Self::Mask {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn decode(path: &Path, reason: impl Into<String>) -> Self {
        Self::Decode {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn channels(path: &Path, found: usize, wanted: usize) -> Self {
        Self::Channels {
            path: path.to_owned(),
            found,
            wanted,
        }
    }

    pub(crate) fn above_white(path: &Path, found: u16, white: u16) -> Self {
        Self::AboveWhite {
            path: path.to_owned(),
            found,
            white,
        }
    }

    pub(crate) fn too_large(path: &Path, reason: impl Into<String>) -> Self {
        Self::TooLarge {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn limit(path: &Path, reason: impl Into<String>) -> Self {
        Self::LimitExceeded {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
