//! The region of interest, from a mask image.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use riad_data::{DataError, Limits, Reader, mask_of_bytes, resize_mask};
use riad_model::{Roi, ScoringSettings};

use crate::{Error, Result};

/// The region of the mask in `file`, whose content is `bytes`: looked at where the mask is not black, and brought to the size that is
/// scored; with tiles it keeps its own.
///
/// # Errors
/// If it is no mask, marks nothing, or does not fit one of the `images` that it is for, which `reader` reads.
pub(crate) fn roi_of(
    (file, bytes): (&Path, &[u8]),
    scoring: &ScoringSettings,
    images: &[PathBuf],
    reader: &Reader,
) -> Result<Roi> {
    // A mask that is none, or marks nothing, is not what the option asks for.
    let refuse = |error: DataError| match error {
        DataError::Mask { .. } => Error::request(error),
        error => error.into(),
    };
    let mask = mask_of_bytes(file, bytes, &Limits::default()).map_err(refuse)?;
    let own = mask.size();
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
    let inside = resize_mask(mask, if is_tiled { own } else { scoring.size() })?;
    Roi::new(inside).map_err(|error| Error::request(format!("{}: {error}", file.display())))
}
