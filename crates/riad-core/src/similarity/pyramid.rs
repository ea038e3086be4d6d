//! Halving a map and bringing it back to full size without shifting it. No map here is empty.

use crate::{Map, Size};

/// The map and its repeated halvings, finest first: `levels` maps, and at least the map.
pub(super) fn pyramid(map: Map, levels: usize) -> Vec<Map> {
    let mut maps = vec![map];
    while maps.len() < levels {
        maps.extend(maps.last().map(halved));
    }
    maps
}

/// Averages blocks of 2x2. If the last row or column has no partner, it is averaged alone.
///
/// Value *i* stands for the pixels *2i* and *2i + 1* in each direction, at every size. If the last odd row were
/// dropped, or the map stretched, the scales would not be aligned.
fn halved(map: &Map) -> Map {
    let Size { height, width } = map.size();
    let size = Size::new(height.div_ceil(2), width.div_ceil(2));
    let mut halved = Map::filled(size, 0.0);
    let mut sums = vec![0.0; width];
    for (y, out) in halved.values_mut().chunks_exact_mut(size.width).enumerate() {
        // A row without a partner counts twice, so the average is over existing values.
        let (upper, lower) = (map.row(2 * y), map.row((2 * y + 1).min(height - 1)));
        for ((sum, &upper), &lower) in sums.iter_mut().zip(upper).zip(lower) {
            *sum = upper + lower;
        }
        let (pairs, single) = sums.as_chunks::<2>();
        for (out, [left, right]) in out.iter_mut().zip(pairs) {
            *out = 0.25 * (left + right);
        }
        if let ([single], Some(out)) = (single, out.last_mut()) {
            *out = 0.5 * single;
        }
    }
    halved
}

/// The transpose of [`halved`]: adds to the finer map what each of its values gave to the coarser one.
pub(super) fn add_to_finer(coarser: &Map, finer: &mut Map) {
    let Size { height, width } = finer.size();
    for (y, fine) in finer.values_mut().chunks_exact_mut(width).enumerate() {
        let share = if y + 1 == height && y.is_multiple_of(2) {
            0.5
        } else {
            0.25
        };
        let coarse = coarser.row(y / 2);
        let (pairs, single) = fine.as_chunks_mut::<2>();
        for ([left, right], &coarse) in pairs.iter_mut().zip(coarse) {
            *left += share * coarse;
            *right += share * coarse;
        }
        if let ([single], Some(coarse)) = (single, coarse.last()) {
            *single += 2.0 * share * coarse;
        }
    }
}

/// Adds a map to one that is `FACTOR` times as large, interpolated bilinearly between the centres of its values.
///
/// The factor is exactly that of the halvings, even if the finer map's size is not a multiple of it. So every value is
/// added to the pixels that it was averaged from. Beyond the outermost centres the value is constant.
pub(super) fn add_enlarged<const FACTOR: usize>(coarser: &Map, finer: &mut Map) {
    let Size { height, width } = coarser.size();
    // Pixel `FACTOR * j + FACTOR / 2 + step` lies `(step + 0.5) / FACTOR` of the way from centre j to centre j + 1.
    let shares: [f32; FACTOR] = std::array::from_fn(|step| (step as f32 + 0.5) / FACTOR as f32);
    // One value of padding on both sides is the constant continuation.
    let mut centres = vec![0.0; width + 2];
    let mut enlarged = vec![0.0; (width + 1) * FACTOR];
    let finer_width = finer.size().width;
    for (y, out) in finer.values_mut().chunks_exact_mut(finer_width).enumerate() {
        let (below, step) = ((y + FACTOR / 2) / FACTOR, (y + FACTOR / 2) % FACTOR);
        let (upper, lower) = (coarser.row(below.saturating_sub(1)), coarser.row(below.min(height - 1)));
        for ((centre, &upper), &lower) in centres[1..].iter_mut().zip(upper).zip(lower) {
            *centre = upper + (lower - upper) * shares[step];
        }
        centres[0] = centres[1];
        centres[width + 1] = centres[width];

        let (steps, _) = enlarged.as_chunks_mut::<FACTOR>();
        for (steps, pair) in steps.iter_mut().zip(centres.windows(2)) {
            for (value, share) in steps.iter_mut().zip(shares) {
                *value = pair[0] + (pair[1] - pair[0]) * share;
            }
        }
        for (out, value) in out.iter_mut().zip(&enlarged[FACTOR / 2..]) {
            *out += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pyramid_has_the_levels_that_are_asked_for() {
        let map = Map::filled(Size::new(9, 6), 0.5);
        let sizes = |levels| pyramid(map.clone(), levels).iter().map(Map::size).collect::<Vec<_>>();
        assert_eq!(sizes(1), [Size::new(9, 6)]);
        assert_eq!(sizes(3), [Size::new(9, 6), Size::new(5, 3), Size::new(3, 2)]);
    }
}
