//! Connected parts of a mask.

use crate::Map;

/// The connected parts of a mask. True pixels that touch, also at corners, belong to the same part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Components {
    /// The number of each pixel's part. Parts are numbered from 1, in the order of their first rows. 0 means no part.
    pub labels: Vec<u32>,
    /// The number of parts.
    pub count: u32,
}

/// Finds the connected parts of a mask; `None` if it has more pixels than a `u32` counts.
///
/// Each row is compared with the row above it (Rosenfeld, Pfaltz, *Sequential operations in digital picture
/// processing*, 1966). If several labels belong to one part, they point to the smallest of them.
pub fn components(mask: &Map<bool>) -> Option<Components> {
    let width = mask.size().width;
    let mask = mask.values();
    u32::try_from(mask.len()).ok()?;
    let mut smaller: Vec<u32> = vec![0];
    let mut labels = vec![0; mask.len()];
    for at in (0..mask.len()).filter(|&at| mask[at]) {
        let (column, last) = (at % width, width - 1);
        // Left, and above: left, straight, right.
        let beside = [
            (column > 0).then(|| at - 1),
            (column > 0).then(|| at.checked_sub(width + 1)).flatten(),
            at.checked_sub(width),
            (column < last).then(|| (at + 1).checked_sub(width)).flatten(),
        ];
        let mut label = 0;
        for other in beside
            .into_iter()
            .flatten()
            .map(|at| labels[at])
            .filter(|&other| other != 0)
        {
            let other = smallest(&mut smaller, other);
            if label == 0 {
                label = other;
            } else {
                let (low, high) = (label.min(other), label.max(other));
                smaller[high as usize] = low;
                label = low;
            }
        }
        if label == 0 {
            label = smaller.len() as u32;
            smaller.push(label);
        }
        labels[at] = label;
    }
    let mut numbers = vec![0; smaller.len()];
    let mut count = 0;
    for label in labels.iter_mut().filter(|label| **label != 0) {
        let first = smallest(&mut smaller, *label) as usize;
        if numbers[first] == 0 {
            count += 1;
            numbers[first] = count;
        }
        *label = numbers[first];
    }
    Some(Components { labels, count })
}

/// The smallest label of the same part, to which the label points from now on.
fn smallest(smaller: &mut [u32], label: u32) -> u32 {
    let mut found = label;
    while smaller[found as usize] != found {
        found = smaller[found as usize];
    }
    smaller[label as usize] = found;
    found
}
