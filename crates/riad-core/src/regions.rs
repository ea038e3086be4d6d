//! The parts of an anomaly map above a threshold.

use crate::{Map, Size, components};

/// An anomalous part of an image: pixels of the map that are above the threshold and touch, also at corners.
///
/// Lengths are in pixels of the original image, whatever the map's size.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Region {
    /// The first column of the box around it.
    pub x: usize,
    /// The first row of the box around it.
    pub y: usize,
    /// Columns of the box, at least 1.
    pub width: usize,
    /// Rows of the box, at least 1.
    pub height: usize,
    /// Number of its pixels, at least 1.
    pub area: usize,
    /// The largest value of the map in it.
    pub peak: f32,
}

/// The parts of `map` above `threshold`, the highest peak first, in pixels of an image of this `size`. A value equal to
/// the threshold is not above it. NaN is not above it.
pub fn regions(map: &Map, threshold: f32, size: Size) -> Vec<Region> {
    let Size { height, width } = map.size();
    if map.size().is_empty() || size.is_empty() {
        return Vec::new();
    }
    let mut above = Map::filled(map.size(), false);
    let pixels = above.values_mut().iter_mut().zip(map.values());
    pixels.for_each(|(above, value)| *above = *value > threshold);
    let Some(found) = components(&above) else {
        return Vec::new();
    };
    // Of each part: the first and last column and row, the pixels, the peak.
    let mut parts = vec![([usize::MAX; 2], [0; 2], 0, f32::NEG_INFINITY); found.count as usize];
    for (at, (&label, &value)) in found.labels.iter().zip(map.values()).enumerate() {
        let Some(part) = (label as usize).checked_sub(1) else {
            continue;
        };
        let (x, y) = (at % width, at / width);
        let (first, last, pixels, peak): &mut ([usize; 2], [usize; 2], usize, f32) = &mut parts[part];
        *first = [first[0].min(x), first[1].min(y)];
        *last = [last[0].max(x), last[1].max(y)];
        *pixels += 1;
        *peak = peak.max(value);
    }
    // Widened to whole pixels of the image, so that the box has all of the part.
    // A `usize` may be too small for the products, which the quotients are not: they are at most `to`.
    let begin = |place: usize, of: usize, to: usize| (place as u128 * to as u128 / of as u128) as usize;
    let end = |place: usize, of: usize, to: usize| ((place + 1) as u128 * to as u128).div_ceil(of as u128) as usize;
    let pixel = size.pixels() as f64 / map.size().pixels() as f64;
    let mut regions: Vec<Region> = parts
        .into_iter()
        .map(|(first, last, pixels, peak)| {
            let (x, y) = (begin(first[0], width, size.width), begin(first[1], height, size.height));
            Region {
                x,
                y,
                width: end(last[0], width, size.width) - x,
                height: end(last[1], height, size.height) - y,
                area: ((pixels as f64 * pixel).round() as usize).max(1),
                peak,
            }
        })
        .collect();
    regions.sort_by(|a, b| b.peak.total_cmp(&a.peak).then((a.y, a.x).cmp(&(b.y, b.x))));
    regions
}
