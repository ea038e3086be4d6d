//! What lies beyond the end of an axis.

/// The position on an axis of `size` positions that `place` shows, if the axis continues as its mirror image on both
/// sides, with the value at the end repeated: `d c b a | a b c d | d c b a`. It is below `size`. If `size` is 0, it is 0.
///
/// ```
/// use riad_core::mirrored;
///
/// let shown: Vec<usize> = (-4..8).map(|place| mirrored(place, 4)).collect();
/// assert_eq!(shown, [3, 2, 1, 0, 0, 1, 2, 3, 3, 2, 1, 0]);
/// ```
#[doc(alias = "reflect")]
pub fn mirrored(place: isize, size: usize) -> usize {
    match usize::try_from(place) {
        Ok(inside) if inside < size => inside,
        _ if size == 0 => 0,
        // A period may be longer than an `isize` is.
        _ => {
            let place = (place as i128).rem_euclid(2 * size as i128) as u128;
            place.min(2 * size as u128 - 1 - place) as usize
        }
    }
}
