//! The region of interest, as a mask image marks it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rayon::prelude::*;
use riad_data::{Limits, image_size, load_mask};
use riad_model::{Roi, ScoringSettings};

use crate::usage;

/// Reads the mask in `file`, looked at where it is not black, and brings it to the size that is scored; with tiles it keeps
/// its own.
///
/// # Errors
/// If it cannot be read, marks nothing, or does not fit one of the `images` that it is for.
pub(crate) fn load_roi(file: &Path, scoring: &ScoringSettings, images: &[PathBuf]) -> Result<Roi> {
    let limits = Limits::default();
    let own = image_size(file, &limits)?;
    let is_tiled = scoring.tiling.is_some();
    let sizes: Vec<_> = images.par_iter().map(|path| image_size(path, &limits)).collect();
    for (path, size) in images.iter().zip(sizes) {
        let size = size?;
        let (fits, needed) = if is_tiled {
            (
                size == own,
                "size, since images that are looked at in tiles keep theirs",
            )
        } else {
            (has_proportions_of(own, size), "proportions")
        };
        if !fits {
            return Err(usage(format!(
                "the region of interest in {} has {}x{} pixels (height x width), but {} has {}x{}; draw it on one of the \
                 images: it must have their {needed}",
                file.display(),
                own.0,
                own.1,
                path.display(),
                size.0,
                size.1
            )));
        }
    }
    let (height, width) = if is_tiled { own } else { (scoring.height, scoring.width) };
    let inside = load_mask(&[file], None, height, width, &limits)?;
    Roi::new(height, width, inside).map_err(|error| usage(format!("{}: {error}", file.display())))
}

/// Whether one is the other at another scale, but for a pixel of the smaller one.
fn has_proportions_of((height, width): (usize, usize), other: (usize, usize)) -> bool {
    (height * other.1).abs_diff(width * other.0) <= width.max(other.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportions_are_the_same_at_every_scale() {
        for (a, b) in [
            ((900, 900), (256, 256)),
            ((67, 100), (1000, 1500)),
            ((150, 400), (75, 200)),
        ] {
            assert!(has_proportions_of(a, b) && has_proportions_of(b, a), "{a:?} {b:?}");
        }
        for (a, b) in [
            ((400, 150), (150, 400)),
            ((100, 103), (1000, 1000)),
            ((480, 640), (720, 1280)),
        ] {
            assert!(!has_proportions_of(a, b) && !has_proportions_of(b, a), "{a:?} {b:?}");
        }
    }
}
