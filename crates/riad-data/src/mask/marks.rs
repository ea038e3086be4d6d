//! Finds the marked pixels of a file.
//!
//! There are these kinds of masks: two values; labels, one value for each kind of defect, often so small that they look
//! black; and both of these after compression or a soft brush has blurred their edges. The pixels show which kind a
//! mask is. Another file, such as a photograph, is refused, because nobody drew its pixels as ground truth.

use std::collections::BTreeSet;
use std::path::Path;

use image::DynamicImage;
use riad_core::{Map, Size};

use crate::decode::{self, Mask, Source};
use crate::pixels::{Pixels, Plane};
use crate::{DataError, Limits};

/// A mask with more values than this has no labels.
const MOST_LABELS: usize = 32;

/// Values below this are labels, because nobody draws a mask of two values in a gray that looks black.
const DARK: u16 = 64;

/// The values of a mask's pixels. If a pixel has several channels, it is the brightest.
struct Values {
    size: Size,
    values: Vec<u16>,
    /// The greatest that a value can be.
    full: u16,
    /// Whether compression may have changed values.
    is_lossy: bool,
    /// How many different colours there are, as far as that matters.
    colours: usize,
}

/// Which pixels of a file are marked.
pub(super) fn marked(source: Source<'_>, limits: &Limits) -> Result<Map<bool>, DataError> {
    let path = source.path();
    decode::stored(source, limits, |mask| marks(path, mask))
}

fn marks(path: &Path, mask: Mask) -> Result<Map<bool>, DataError> {
    let (values, is_in_alpha) = match mask {
        Mask::Planes(pixels) => (Values::of_planes(pixels), false),
        Mask::Picture(stored) => {
            let is_lossy = stored.is_lossy;
            let (_, is_opaque) = stored.alpha();
            let (image, full) = stored.opaque(path)?;
            (Values::of_picture(image, full, is_lossy), !is_opaque)
        }
    };
    let size = values.size;
    let marks = values.marks().ok_or_else(|| {
        let reason = "is not a mask: a mask has two values, such as 0 and 255, or a few labels; save it as PNG, with \
            0 for good and 255 for defective pixels";
        DataError::mask(path, reason)
    })?;
    if is_in_alpha && !marks.contains(&true) {
        let reason = "the mask marks something only in its alpha channel; save it in grey without alpha, with 0 for \
            good and 255 for defective pixels";
        return Err(DataError::mask(path, reason));
    }
    Map::new(size, marks).map_err(|e| DataError::decode(path, e.to_string()))
}

impl Values {
    fn of_picture(image: DynamicImage, full: u16, is_lossy: bool) -> Self {
        let size = Size::new(image.height() as usize, image.width() as usize);
        let (values, colours) = match image {
            DynamicImage::ImageLuma8(gray) => (gray.into_raw().into_iter().map(u16::from).collect(), 0),
            DynamicImage::ImageLuma16(gray) => (gray.into_raw(), 0),
            DynamicImage::ImageRgb8(rgb) => brightest(rgb.as_raw()),
            other => brightest(other.into_rgb16().as_raw()),
        };
        Self {
            size,
            values,
            full,
            is_lossy,
            colours,
        }
    }

    fn of_planes(pixels: Pixels) -> Self {
        let size = pixels.size();
        let planes = pixels.into_planes(1);
        let is_8_bit = planes
            .iter()
            .all(|plane| matches!(plane, Plane::Integers(DynamicImage::ImageLuma8(_))));
        let mut values = vec![0; size.pixels()];
        for plane in planes {
            let of_plane: Vec<u16> = match plane {
                Plane::Integers(DynamicImage::ImageLuma8(gray)) if is_8_bit => {
                    gray.into_raw().into_iter().map(u16::from).collect()
                }
                Plane::Integers(image) => image.into_luma16().into_raw(),
                Plane::Floats(map) => map
                    .values()
                    .iter()
                    .map(|&value| (value * 65_535.0).ceil() as u16)
                    .collect(),
            };
            for (value, also) in values.iter_mut().zip(of_plane) {
                *value = also.max(*value);
            }
        }
        Self {
            size,
            values,
            full: if is_8_bit { u8::MAX.into() } else { u16::MAX },
            is_lossy: false,
            colours: 0,
        }
    }

    /// Which pixels are marked; `None` if this is no mask.
    fn marks(&self) -> Option<Vec<bool>> {
        let most = self.values.iter().copied().max().unwrap_or(0);
        let cut_at = if self.is_lossy {
            self.cut(most)?
        } else {
            let mut different = BTreeSet::new();
            for &value in &self.values {
                different.insert(value);
                if different.len() > MOST_LABELS {
                    break;
                }
            }
            if different.len() > MOST_LABELS || self.colours > MOST_LABELS {
                self.cut(most)?
            } else if most < DARK || (different.len() <= 2 && (most == 0 || different.first() == Some(&0))) {
                1
            } else {
                self.cut_between_labels(&different, most)?
            }
        };
        Some(self.values.iter().map(|&value| value >= cut_at).collect())
    }

    /// The smallest value that marks a defect. A few values are labels, or two values with edges that a soft brush has
    /// blurred.
    fn cut_between_labels(&self, different: &BTreeSet<u16>, most: u16) -> Option<u16> {
        let is_faint = |value: u16| value <= most / 8;
        let mut between = different
            .iter()
            .copied()
            .filter(|&value| value > 0 && value < most - most / 8);
        if !between.clone().any(|value| self.fills_area(value)) {
            return Some(most.div_ceil(2));
        }
        // Beside bright ones, a faint value can be a label as well as what compression left.
        if between.any(is_faint) { None } else { Some(1) }
    }

    /// Whether a value fills a square of 3 by 3 pixels anywhere, as an edge does not.
    fn fills_area(&self, value: u16) -> bool {
        let Size { height, width } = self.size;
        let is = |x: usize, y: usize| self.values[y * width + x] == value;
        let filled = |x: usize, y: usize| (0..3).all(|dy| (0..3).all(|dx| is(x + dx, y + dy)));
        (0..height.saturating_sub(2)).any(|y| (0..width.saturating_sub(2)).any(|x| filled(x, y)))
    }

    /// Mid grey, if there are two values but for what compression has left of them: few pixels lie between, and nearly all of those
    /// at an edge.
    fn cut(&self, most: u16) -> Option<u16> {
        /// How far from an edge compression blurs, in pixels.
        const REACH: usize = 3;
        if most <= self.full / 8 {
            // Nothing is marked.
            return Some(most.saturating_add(1));
        }
        if most < self.full / 2 {
            return None;
        }
        let (low, high) = (most / 4, most - most / 4);
        let Size { height, width } = self.size;
        let marked = self.values.iter().filter(|&&value| value > high).count();
        let mut allowed = 8 + marked / 20;
        for (index, &value) in self.values.iter().enumerate() {
            if value < low || value > high {
                continue;
            }
            let (x, y) = (index % width, index / width);
            let around = || {
                let rows = y.saturating_sub(REACH)..(y + REACH + 1).min(height);
                let columns = x.saturating_sub(REACH)..(x + REACH + 1).min(width);
                rows.flat_map(move |y| columns.clone().map(move |x| self.values[y * width + x]))
            };
            let is_edge = around().any(|value| value < low) && around().any(|value| value > high);
            if !is_edge {
                allowed = allowed.checked_sub(1)?;
            }
        }
        Some(most.div_ceil(2))
    }
}

/// The brightest channel of each pixel, and how many colours there are, counted up to one more than labels can be.
fn brightest<T: Copy + Ord + Into<u16>>(samples: &[T]) -> (Vec<u16>, usize) {
    let (pixels, _) = samples.as_chunks::<3>();
    let mut colours = BTreeSet::new();
    for pixel in pixels {
        colours.insert(pixel);
        if colours.len() > MOST_LABELS {
            break;
        }
    }
    let brightest = |&[r, g, b]: &[T; 3]| r.max(g).max(b).into();
    (pixels.iter().map(brightest).collect(), colours.len())
}
