use proptest::prelude::*;
use riad_core::{Components, Map, Size, components};

/// The parts by their definition: everything that can be reached from a pixel.
fn reached(mask: &Map<bool>) -> Components {
    let Size { height, width } = mask.size();
    let mut found = Components {
        labels: vec![0; height * width],
        count: 0,
    };
    for start in 0..height * width {
        if !mask.values()[start] || found.labels[start] != 0 {
            continue;
        }
        found.count += 1;
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            if mask.values()[at] && found.labels[at] == 0 {
                found.labels[at] = found.count;
                let (row, column) = (at / width, at % width);
                for row in row.saturating_sub(1)..(row + 2).min(height) {
                    for column in column.saturating_sub(1)..(column + 2).min(width) {
                        open.push(row * width + column);
                    }
                }
            }
        }
    }
    found
}

proptest! {
    #[test]
    fn parts_are_what_can_be_reached(
        (height, width) in (0usize..14, 0usize..14),
        density in 0u8..100,
        draws in prop::collection::vec(0u8..100, 196),
    ) {
        let values = draws[..height * width].iter().map(|&draw| draw < density).collect();
        let mask = Map::new(Size::new(height, width), values).unwrap();
        prop_assert_eq!(components(&mask), Some(reached(&mask)));
    }
}

/// scipy 1.17: `ndimage.label(mask, np.ones((3, 3)))`, a spiral, whose ends meet late, and a point.
#[test]
fn parts_equal_scipys() {
    let rows = ["#####.#", "....#..", "###.#..", "#.#.#..", "#...#..", "#####.."];
    let values: Vec<bool> = rows.concat().bytes().map(|c| c == b'#').collect();
    let mask = Map::new(Size::new(6, 7), values.clone()).unwrap();
    let found = components(&mask).unwrap();
    assert_eq!(found.count, 2);
    let expected: Vec<u32> = values.iter().map(|&inside| u32::from(inside)).collect();
    assert_eq!(found.labels[..6], expected[..6]);
    assert_eq!(found.labels[6], 2);
    assert_eq!(found.labels[7..], expected[7..]);
}
