//! Masks that mark the pixels of a defect.

use std::collections::BTreeMap;
use std::path::Path;

use image::{DynamicImage, GrayImage, Luma};
use imageproc::region_labelling::{Connectivity, connected_components};

use crate::{DataError, Limits, decode};

/// Loads the mask that one file or several make up and brings it to `height` × `width`: row by row, true where there is
/// a defect.
///
/// A pixel of a file is a defect if any of its channels is not 0: some data sets (VisA) store small label values that
/// look black, others (MVTec LOCO) a value for each kind of defect. Keep masks in lossless formats; what JPEG smears
/// around an edge is not 0 either. A pixel is a defect where it is one in any of the files, before the mask is resized.
///
/// `image_size` is the `(height, width)` of the image that the mask belongs to, as
/// [`LoadedImage::original_size`](crate::LoadedImage::original_size) or [`image_size`](crate::image_size) tells it; with
/// `None` the files have to agree with each other only. How the mask is resized: see [`resize_mask`].
///
/// # Errors
/// As [`decode`]; [`DataError::Layout`] if a file's size is not the image's, or the first file's;
/// [`DataError::Parameter`] without any file.
pub fn load_mask(
    files: &[impl AsRef<Path>],
    image_size: Option<(usize, usize)>,
    height: usize,
    width: usize,
    limits: &Limits,
) -> Result<Vec<bool>, DataError> {
    let mut whole: Option<(Vec<bool>, usize, usize)> = None;
    for file in files.iter().map(AsRef::as_ref) {
        let part = decode(file, limits)?;
        let (part_height, part_width) = (part.height() as usize, part.width() as usize);
        let wanted = image_size.map(|size| (size, "its image"));
        let wanted = wanted.or_else(|| {
            whole
                .as_ref()
                .map(|(_, height, width)| ((*height, *width), "the first of them"))
        });
        if let Some(((wanted_height, wanted_width), whose)) = wanted
            && (part_height, part_width) != (wanted_height, wanted_width)
        {
            let reason = format!(
                "the mask has {part_width}x{part_height} pixels (width x height) but {whose} {wanted_width}x{wanted_height}; \
                 masks must have their image's size"
            );
            return Err(DataError::layout(file, reason));
        }
        let part = marked(part);
        match &mut whole {
            None => whole = Some((part, part_height, part_width)),
            Some((whole, ..)) => whole.iter_mut().zip(part).for_each(|(whole, part)| *whole |= part),
        }
    }
    match whole {
        Some((mask, mask_height, mask_width)) => Ok(resize_mask(&mask, mask_height, mask_width, height, width)),
        None => Err(DataError::Parameter("a mask takes at least one file".into())),
    }
}

/// Whether any pixel of a mask is a defect.
pub(crate) fn shows_defect(path: &Path, limits: &Limits) -> Result<bool, DataError> {
    Ok(marked(decode(path, limits)?).contains(&true))
}

/// Which pixels have a channel that is not 0.
fn marked(mask: DynamicImage) -> Vec<bool> {
    match mask {
        DynamicImage::ImageLuma8(gray) => gray.into_raw().into_iter().map(|v| v != 0).collect(),
        DynamicImage::ImageLuma16(gray) => gray.into_raw().into_iter().map(|v| v != 0).collect(),
        // 8-bit samples that are not 0 are not 0 in 16 bits.
        colour => colour.into_rgb16().pixels().map(|p| p.0 != [0; 3]).collect(),
    }
}

/// Resizes a mask of `height` × `width` pixels, row by row, to `new_height` × `new_width` so that no defect vanishes.
///
/// A pixel of the result is a defect if defects cover at least half of it, by exact area. An 8-connected region of the
/// mask that would be left without any pixel keeps those of which it covers at least half as much as of the pixel that
/// it covers most: a scratch finer than a pixel stays a line, a speck stays a pixel. A mask of the wanted size is
/// returned as it is.
///
/// # Panics
/// If `mask` does not have `height` · `width` values, or a side is 0.
pub fn resize_mask(mask: &[bool], height: usize, width: usize, new_height: usize, new_width: usize) -> Vec<bool> {
    assert_eq!(mask.len(), height * width, "mask of {height}x{width} pixels");
    assert!(
        height > 0 && width > 0 && new_height > 0 && new_width > 0,
        "masks have at least one pixel"
    );
    if (height, width) == (new_height, new_width) {
        return mask.to_vec();
    }
    let (rows, columns) = (&overlaps(height, new_height), &overlaps(width, new_width));
    // The new pixels that an old one lies in, and with which area.
    let parts = |old: usize| {
        let columns = &columns[old % width];
        let in_row = move |&(y, dy): &(usize, u64)| columns.iter().map(move |&(x, dx)| (y * new_width + x, dy * dx));
        rows[old / width].iter().flat_map(in_row)
    };
    let mut covered = vec![0; new_height * new_width];
    for (old, _) in mask.iter().enumerate().filter(|&(_, &is_defect)| is_defect) {
        parts(old).for_each(|(new, area)| covered[new] += area);
    }
    // In these units a new pixel is `height` by `width` large.
    let pixel_area = height as u64 * width as u64;
    let mut resized: Vec<bool> = covered.iter().map(|&area| 2 * area >= pixel_area).collect();

    let labels = label_regions(mask, height, width);
    let in_regions = || {
        labels
            .iter()
            .map(|&label| label as usize)
            .enumerate()
            .filter(|&(_, label)| label != 0)
    };
    let mut is_kept = vec![false; 1 + labels.iter().copied().max().unwrap_or(0) as usize];
    for (old, label) in in_regions() {
        is_kept[label] |= parts(old).any(|(new, _)| resized[new]);
    }
    let mut lost: BTreeMap<usize, BTreeMap<usize, u64>> = BTreeMap::new();
    for (old, label) in in_regions().filter(|&(_, label)| !is_kept[label]) {
        let areas = lost.entry(label).or_default();
        parts(old).for_each(|(new, area)| *areas.entry(new).or_default() += area);
    }
    for areas in lost.values() {
        let greatest = areas.values().copied().max().unwrap_or(0);
        for (&new, _) in areas.iter().filter(|&(_, &area)| 2 * area >= greatest) {
            resized[new] = true;
        }
    }
    resized
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

/// The number of the 8-connected region of each pixel, from 1; 0 outside.
fn label_regions(mask: &[bool], height: usize, width: usize) -> Vec<u32> {
    let pixels = mask.iter().map(|&is_defect| u8::from(is_defect)).collect();
    let sides = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    let image = sides.and_then(|(width, height)| GrayImage::from_raw(width, height, pixels));
    let Some(image) = image.filter(|_| mask.len() > 1) else {
        // imageproc 0.27 panics on the region of an image of one pixel, and sides beyond 32 bits come from no file.
        return mask.iter().map(|&is_defect| u32::from(is_defect)).collect();
    };
    connected_components(&image, Connectivity::Eight, Luma([0])).into_raw()
}
