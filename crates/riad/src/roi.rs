//! The region of interest, from a mask image.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use riad_data::{DataError, Reader, load_mask};
use riad_model::{Roi, ScoringSettings};

use crate::{Error, Result};

/// Reads the mask in `file`, looked at where it is not black, and brings it to the size that is scored; with tiles it keeps
/// its own.
///
/// # Errors
/// If it cannot be read, marks nothing, or does not fit one of the `images` that it is for, which `reader` reads.
pub(crate) fn load_roi(file: &Path, scoring: &ScoringSettings, images: &[PathBuf], reader: &Reader) -> Result<Roi> {
    let of_masks = Reader::default();
    let own = of_masks.size(file)?;
    let is_tiled = scoring.tiling.is_some();
    let sizes: Vec<_> = images.par_iter().map(|path| reader.size(path)).collect();
    for (path, size) in images.iter().zip(sizes) {
        let size = size?;
        let (fits, needed) = if is_tiled {
            (size == own, "size, because images in tiles keep their size")
        } else {
            (own.has_proportions_of(size), "proportions")
        };
        if !fits {
            return Err(Error::request(format!(
                "the region of interest in {} has {own} pixels (height x width), but {} has {size}; draw it on one \
                 of the images, because it must have their {needed}",
                file.display(),
                path.display(),
            )));
        }
    }
    let inside = load_mask(
        &[file],
        None,
        if is_tiled { own } else { scoring.size() },
        &of_masks.limits,
    );
    // A mask that is none, or marks nothing, is not what the option asks for.
    let inside = inside.map_err(|error| match error {
        DataError::Layout { .. } => Error::request(error),
        error => error.into(),
    })?;
    Roi::new(inside).map_err(|error| Error::request(format!("{}: {error}", file.display())))
}
