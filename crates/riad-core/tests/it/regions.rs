use proptest::prelude::*;
use riad_core::{Map, Region, Size, regions};

/// scipy 1.17; boxes and areas are doubled and quadrupled by hand for an image of twice the map's size:
///
/// ```python
/// import numpy as np
/// from scipy import ndimage
/// m = np.array([[0.1, 0.9, 0.1, 0.1, 0.1], [0.1, 0.1, 0.6, 0.1, 0.7], [0.1, 0.1, 0.1, 0.1, 0.8], [0.55, 0.1, 0.5, 0.1, 0.1]])
/// labels, count = ndimage.label(m > 0.5, np.ones((3, 3)))
/// for n, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
///     print(columns, rows, (labels == n).sum(), m[labels == n].max())
/// ```
#[test]
fn parts_equal_scipys() {
    let values = vec![
        0.1, 0.9, 0.1, 0.1, 0.1, //
        0.1, 0.1, 0.6, 0.1, 0.7, //
        0.1, 0.1, 0.1, 0.1, 0.8, //
        0.55, 0.1, 0.5, 0.1, 0.1,
    ];
    let map = Map::new(Size::new(4, 5), values).unwrap();
    let region = |x, y, width, height, area, peak| Region {
        x,
        y,
        width,
        height,
        area,
        peak,
    };
    assert_eq!(
        regions(&map, 0.5, map.size()),
        [
            region(1, 0, 2, 2, 2, 0.9),
            region(4, 1, 1, 2, 2, 0.8),
            region(0, 3, 1, 1, 1, 0.55)
        ]
    );
    assert_eq!(
        regions(&map, 0.5, Size::new(8, 10)),
        [
            region(2, 0, 4, 4, 8, 0.9),
            region(8, 2, 2, 4, 8, 0.8),
            region(0, 6, 2, 2, 4, 0.55)
        ]
    );
    assert!(regions(&map, 0.9, map.size()).is_empty());
    assert!(regions(&map, f32::NAN, map.size()).is_empty());
    assert!(regions(&map, 0.5, Size::new(0, 7)).is_empty());
}

#[test]
fn a_size_that_no_memory_holds_has_boxes_within_it() {
    let map = Map::new(Size::new(2, 2), vec![0.0, 0.0, 0.0, 1.0]).unwrap();
    let most = usize::MAX;
    let [region] = regions(&map, 0.5, Size::new(1, most))[..] else {
        panic!("there is one pixel above");
    };
    assert_eq!((region.x, region.width), (most / 2, most - most / 2));
    assert_eq!((region.y, region.height), (0, 1));
}

proptest! {
    #[test]
    fn boxes_are_in_the_image_and_hold_every_pixel_above(
        (height, width) in (1usize..12, 1usize..12),
        (tall, wide) in (1usize..40, 1usize..40),
        seed in prop::collection::vec(0u8..4, 144),
    ) {
        let map = Map::new(Size::new(height, width), seed[..height * width].iter().map(|&v| f32::from(v)).collect()).unwrap();
        let size = Size::new(tall, wide);
        let found = regions(&map, 1.5, size);
        for region in &found {
            prop_assert!(region.width > 0 && region.height > 0 && region.area > 0);
            prop_assert!(region.x + region.width <= wide && region.y + region.height <= tall);
            prop_assert!(region.peak > 1.5);
        }
        prop_assert!(found.is_sorted_by(|a, b| a.peak >= b.peak));
        for row in 0..height {
            for column in 0..width {
                if map.values()[row * width + column] > 1.5 {
                    let (x, y) = (column * wide / width, row * tall / height);
                    let holds = |r: &Region| (r.x..r.x + r.width).contains(&x) && (r.y..r.y + r.height).contains(&y);
                    prop_assert!(found.iter().any(holds));
                }
            }
        }
    }
}
