//! Masks that mark the pixels of a defect.

mod marks;

use std::collections::BTreeMap;
use std::path::Path;

use riad_core::{Components, Map, Size, components};

use self::marks::marked;
use crate::{DataError, Limits};

/// Loads the mask that one file or several make up and brings it to `size`: true where there is a defect.
///
/// A mask has two values, or a value for each kind of defect: a pixel is a defect where any of its channels is not 0, however dark
/// the label is that some data sets (VisA) store. Where compression or a soft brush has blurred two values, they are cut at mid
/// grey. What is neither, a photograph for instance, is refused. A pixel is a defect where it is one in any of the files, before
/// the mask is resized. How many channels the images have does not matter here.
///
/// A mask may mark nothing, as that of a good image does.
///
/// `image_size` is the size of the image that the mask belongs to, as
/// [`LoadedImage::original_size`](crate::LoadedImage::original_size) or [`Reader::size`](crate::Reader::size) tells it; with
/// `None` the files have to agree with each other only. How the mask is resized: see [`resize_mask`].
///
/// # Errors
/// As [`Reader::load`](crate::Reader::load) with 3 channels; [`DataError::Layout`] if a file is no mask, if its size is not the
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
        let part = marked(file, limits)?;
        let wanted = image_size.map(|size| (size, "its image"));
        let wanted = wanted.or_else(|| whole.as_ref().map(|whole| (whole.size(), "the first of them")));
        if let Some((wanted, whose)) = wanted
            && part.size() != wanted
        {
            let reason = format!(
                "the mask has {}x{} pixels (width x height) but {whose} {}x{}; masks must have their image's size",
                part.size().width,
                part.size().height,
                wanted.width,
                wanted.height
            );
            return Err(DataError::layout(file, reason));
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
        None => Err(DataError::Parameter("a mask takes at least one file".into())),
    }
}

/// Whether any pixel of a mask is a defect.
pub(crate) fn shows_defect(path: &Path, limits: &Limits) -> Result<bool, DataError> {
    Ok(marked(path, limits)?.values().contains(&true))
}

/// Resizes a mask so that no defect vanishes.
///
/// A pixel of the result is a defect if defects cover at least half of it, by exact area. An 8-connected region of the
/// mask that would be left without any pixel keeps those of which it covers at least half as much as of the pixel that
/// it covers most: a scratch finer than a pixel stays a line, a speck stays a pixel. A mask of the wanted size is
/// returned as it is.
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
    // The new pixels that an old one lies in, and with which area.
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
