//! Masks that mark the pixels of a defect.

mod marks;

use std::collections::BTreeMap;
use std::path::Path;

use riad_core::{Components, Map, Size, components};

use self::marks::marked;
use crate::{DataError, Limits, decode::Source};

/// Loads a mask from one or several files and resizes it to `size`. A pixel is true if it is defective.
///
/// A mask has two values, or one value for each kind of defect. A pixel is defective if any of its channels is not 0,
/// however dark the label is (VisA has very dark labels). If compression or a soft brush has blurred two values, mid
/// grey is the limit. Another file, such as a photograph, is refused. A pixel is defective if it is defective in any of
/// the files, before the mask is resized. The number of channels of the images does not matter.
///
/// A mask may mark nothing, such as the mask of a good image.
///
/// `image_size` is the size of the image that the mask belongs to, as
/// [`LoadedImage::original_size`](crate::LoadedImage::original_size) or [`Reader::size`](crate::Reader::size) returns
/// it. With `None` the files need only have the same size. [`resize_mask`] says how the mask is resized.
///
/// # Errors
/// As [`Reader::load`](crate::Reader::load) with 3 channels; [`DataError::Mask`] if a file is no mask, if its size is not the
/// image's, or the first file's; [`DataError::Parameter`] without any file, and as
/// [`resize_mask`].
pub fn load_mask(
    files: &[impl AsRef<Path>],
    image_size: Option<Size>,
    size: Size,
    limits: &Limits,
) -> Result<Map<bool>, DataError> {
    let mut whole: Option<Map<bool>> = None;
    for file in files.iter().map(AsRef::as_ref) {
        let part = marked(Source::File(file), limits)?;
        let wanted = image_size.map(|size| (size, "its image"));
        let wanted = wanted.or_else(|| whole.as_ref().map(|whole| (whole.size(), "the first of them")));
        if let Some((wanted, whose)) = wanted
            && part.size() != wanted
        {
            let reason = format!(
                "the mask has {}x{} pixels (width x height) but {whose} {}x{}; a mask must have its image's size",
                part.size().width,
                part.size().height,
                wanted.width,
                wanted.height
            );
            return Err(DataError::mask(file, reason));
        }
        match &mut whole {
            None => whole = Some(part),
            Some(whole) => {
                let pairs = whole.values_mut().iter_mut().zip(part.into_values());
                pairs.for_each(|(whole, part)| *whole |= part);
            }
        }
    }
    match whole {
        Some(mask) => resize_mask(mask, size),
        None => Err(DataError::Parameter("a mask needs at least one file".into())),
    }
}

/// Reads a mask from the content of one file, at its own size. Messages call it `name`. Otherwise it is read as by [`load_mask`].
///
/// # Errors
/// As [`load_mask`] for one file without an image.
pub fn mask_of_bytes(name: &Path, bytes: &[u8], limits: &Limits) -> Result<Map<bool>, DataError> {
    marked(Source::Bytes(name, bytes), limits)
}

/// Whether any pixel of a mask is a defect.
pub(crate) fn shows_defect(path: &Path, limits: &Limits) -> Result<bool, DataError> {
    Ok(marked(Source::File(path), limits)?.values().contains(&true))
}

/// Resizes a mask so that no defect vanishes.
///
/// A pixel of the result is a defect if defects cover at least half of it, by exact area. If an 8-connected region
/// would lose all its pixels, it keeps the pixel that it covers most, and all pixels of which it covers at least half
/// as much. So a scratch finer than a pixel stays a line, and a speck stays a pixel. A mask of the right size is
/// returned unchanged.
///
/// # Errors
/// [`DataError::Parameter`] if either size has no pixels, or more than 2³² − 1.
pub fn resize_mask(mask: Map<bool>, size: Size) -> Result<Map<bool>, DataError> {
    for size in [mask.size(), size] {
        if size.is_empty() || u32::try_from(size.pixels()).is_err() {
            return Err(DataError::Parameter(format!(
                "a mask of {size} (height x width) cannot be made or resized: it must have at least one pixel, and no more \
                 than 32 bits can number"
            )));
        }
    }
    if mask.size() == size {
        return Ok(mask);
    }
    let Size { height, width } = mask.size();
    let (rows, columns) = (&overlaps(height, size.height), &overlaps(width, size.width));
    // The new pixels that overlap with an old pixel, and the area of each overlap.
    let parts = |old: usize| {
        let columns = &columns[old % width];
        let in_row = move |&(y, dy): &(usize, u64)| columns.iter().map(move |&(x, dx)| (y * size.width + x, dy * dx));
        rows[old / width].iter().flat_map(in_row)
    };
    let mut covered = vec![0; size.pixels()];
    for (old, _) in mask.values().iter().enumerate().filter(|&(_, &is_defect)| is_defect) {
        parts(old).for_each(|(new, area)| covered[new] += area);
    }
    // In these units a new pixel is `height` by `width` large.
    let pixel_area = height as u64 * width as u64;
    let mut resized = Map::filled(size, false);
    for (new, &area) in resized.values_mut().iter_mut().zip(&covered) {
        *new = 2 * area >= pixel_area;
    }

    let Some(Components { labels, count }) = components(&mask) else {
        return Err(DataError::Parameter("a mask has more pixels than are counted".into()));
    };
    let in_regions = || {
        labels
            .iter()
            .map(|&label| label as usize)
            .enumerate()
            .filter(|&(_, label)| label != 0)
    };
    let mut is_kept = vec![false; 1 + count as usize];
    for (old, label) in in_regions() {
        is_kept[label] |= parts(old).any(|(new, _)| resized.values()[new]);
    }
    let mut lost: BTreeMap<usize, BTreeMap<usize, u64>> = BTreeMap::new();
    for (old, label) in in_regions().filter(|&(_, label)| !is_kept[label]) {
        let areas = lost.entry(label).or_default();
        parts(old).for_each(|(new, area)| *areas.entry(new).or_default() += area);
    }
    for areas in lost.values() {
        let greatest = areas.values().copied().max().unwrap_or(0);
        for (&new, _) in areas.iter().filter(|&(_, &area)| 2 * area >= greatest) {
            resized.values_mut()[new] = true;
        }
    }
    Ok(resized)
}

/// Which new pixels each old pixel of an axis lies in, and with what length, where an old pixel is `new` long and a new
/// one `old`: so all lengths are whole numbers.
fn overlaps(old: usize, new: usize) -> Vec<Vec<(usize, u64)>> {
    (0..old)
        .map(|i| {
            let (start, end) = (i * new, (i + 1) * new);
            let part = |j: usize| (j, (end.min((j + 1) * old) - start.max(j * old)) as u64);
            (start / old..end.div_ceil(old)).map(part).collect()
        })
        .collect()
}
