use proptest::prelude::*;
use riad_core::{LengthError, MaskError, Masks, Size};

/// How often each set occurs among the cells.
fn set_sizes(masks: &Masks) -> Vec<usize> {
    let mut sizes = vec![0; masks.sets()];
    let Size { height, width } = masks.size();
    for y in (0..height).step_by(masks.region_size()) {
        for x in (0..width).step_by(masks.region_size()) {
            sizes[masks.set_of(y, x).unwrap()] += 1;
        }
    }
    sizes
}

fn visible(masks: &Masks, set: usize) -> Vec<f32> {
    let mut plane = vec![f32::NAN; masks.size().pixels()];
    masks.write_visible(set, &mut plane).unwrap();
    plane
}

proptest! {
    #[test]
    fn sets_partition_the_grid_evenly(
        region_size in 1usize..40, sets in 1usize..6, height in 1usize..70, width in 1usize..70, seed: u64,
    ) {
        let cells = height.div_ceil(region_size) * width.div_ceil(region_size);
        prop_assume!(cells >= sets);
        let masks = Masks::sample(region_size, sets, Size::new(height, width), seed).unwrap();
        prop_assert_eq!(Masks::check(region_size, sets, Size::new(height, width)), Ok(()));

        let sizes = set_sizes(&masks);
        prop_assert_eq!(sizes.iter().sum::<usize>(), cells);
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);

        // Every pixel is hidden in exactly one pass, and so are all pixels of its cell.
        let planes: Vec<_> = (0..sets).map(|set| visible(&masks, set)).collect();
        for y in 0..height {
            let rows: Vec<Vec<bool>> = (0..sets).map(|set| masks.hidden_row(set, y).unwrap().collect()).collect();
            for x in 0..width {
                let hidden: Vec<usize> = (0..sets).filter(|&set| planes[set][y * width + x] == 0.0).collect();
                let cell = masks.set_of(y / region_size * region_size, x / region_size * region_size).unwrap();
                prop_assert_eq!(&hidden, &[cell]);
                prop_assert_eq!(masks.set_of(y, x), Some(cell));
                let visible_elsewhere = planes.iter().map(|plane| plane[y * width + x]).sum::<f32>();
                prop_assert_eq!(visible_elsewhere, (sets - 1) as f32);
                prop_assert!((0..sets).all(|set| rows[set][x] == (set == cell)));
            }
            prop_assert!(rows.iter().all(|row| row.len() == width));
        }
    }

    #[test]
    fn a_seed_is_all_that_decides(seed: u64) {
        let sample = |seed| Masks::sample(4, 3, Size::new(64, 48), seed).unwrap();
        prop_assert_eq!(sample(seed), sample(seed));
        prop_assert_ne!(sample(seed), sample(seed.wrapping_add(1)));
    }
}

/// Expected by tests/reference/masks.py, which has ChaCha8 and the shuffle from their definitions. A stored checkpoint's
/// scores rest on this.
#[test]
fn masks_of_a_seed_never_change() {
    let masks = Masks::sample(3, 3, Size::new(11, 14), 7).unwrap();
    let sets: Vec<Vec<usize>> = (0..11)
        .step_by(3)
        .map(|y| (0..14).step_by(3).filter_map(|x| masks.set_of(y, x)).collect())
        .collect();
    assert_eq!(
        sets,
        [[1, 2, 0, 2, 0], [1, 2, 1, 2, 2], [0, 1, 0, 0, 1], [1, 0, 0, 1, 2]]
    );
}

/// So many cells that some draws fall where they would favour low numbers, and are drawn again.
#[test]
fn rejected_draws_are_drawn_again() {
    let masks = Masks::sample(1, 3, Size::new(512, 512), 1).unwrap();
    let cells = (0..512).flat_map(|y| (0..512).map(move |x| (y, x)));
    let checksum = cells.fold(0u32, |sum, (y, x)| {
        sum.wrapping_mul(31).wrapping_add(masks.set_of(y, x).unwrap() as u32)
    });
    // By tests/reference/masks.py.
    assert_eq!(checksum, 36_883_891);
}

/// Each cell is in each set equally often over many seeds: a biased shuffle would show here.
#[test]
fn every_cell_falls_into_every_set_equally_often() {
    const DRAWS: usize = 6000;
    let mut counts = vec![[0usize; 3]; 12];
    for seed in 0..DRAWS {
        let masks = Masks::sample(8, 3, Size::new(24, 32), seed as u64).unwrap();
        for (cell, counts) in counts.iter_mut().enumerate() {
            counts[masks.set_of(cell / 4 * 8, cell % 4 * 8).unwrap()] += 1;
        }
    }
    // Binomial with p = 1/3: five standard deviations are 183.
    for count in counts.iter().flatten() {
        assert!(count.abs_diff(DRAWS / 3) < 183, "{counts:?}");
    }
}

#[test]
fn impossible_masks_are_refused() {
    let error = |region_size, sets, height, width| {
        let size = Size::new(height, width);
        let error = Masks::sample(region_size, sets, size, 0).unwrap_err();
        assert_eq!(Masks::check(region_size, sets, size), Err(error));
        error
    };
    assert_eq!(error(0, 3, 8, 8), MaskError::ZeroRegionSize);
    for size in [Size::new(0, 8), Size::new(8, 0)] {
        assert_eq!(error(2, 3, size.height, size.width), MaskError::EmptyImage { size });
    }
    assert_eq!(error(2, 0, 8, 8), MaskError::SetCount { sets: 0 });
    assert_eq!(error(2, 256, 64, 64), MaskError::SetCount { sets: 256 });
    assert_eq!(error(8, 3, 16, 8), MaskError::TooFewCells { sets: 3, cells: 2 });
    assert_eq!(
        error(1, 3, 1 << 16, 1 << 16),
        MaskError::TooManyCells {
            region_size: 1,
            size: Size::new(1 << 16, 1 << 16)
        }
    );
}

proptest! {
    /// Sizes as a file may say them: no sum of them overflows, and no memory is asked for that is not there.
    #[test]
    fn sizes_without_measure_are_refused(
        region_size in any::<usize>().prop_map(|size| size >> (size % 64)),
        height in (1usize << 32)..,
        width in (1usize << 32)..,
    ) {
        let size = Size::new(height, width);
        prop_assume!(region_size > 0);
        prop_assert_eq!(Masks::sample(region_size, 1, size, 0), Err(MaskError::TooLarge { size }));
    }
}

#[test]
fn what_lies_outside_has_no_mask() {
    let masks = Masks::sample(4, 3, Size::new(6, 9), 1).unwrap();
    for (y, x) in [
        (6, 0),
        (7, 0),
        (8, 0),
        (0, 9),
        (0, 11),
        (0, 12),
        (usize::MAX, usize::MAX),
    ] {
        assert_eq!(masks.set_of(y, x), None, "({y}, {x})");
    }
    for (set, y) in [(0, 6), (0, usize::MAX), (3, 0), (usize::MAX, 0)] {
        assert!(masks.hidden_row(set, y).is_none(), "set {set}, row {y}");
    }
    let mut plane = vec![7.0; 54];
    assert_eq!(
        masks.write_visible(3, &mut plane),
        Err(MaskError::NoSuchSet { set: 3, sets: 3 })
    );
    let wrong = masks.write_visible(0, &mut plane[1..]).unwrap_err();
    assert_eq!(
        wrong,
        MaskError::Length(LengthError {
            what: "a mask",
            got: 53,
            expected: 54
        })
    );
    assert_eq!(wrong.to_string(), "a mask has 53 values, and needs 54");
    assert_eq!(plane, [7.0; 54], "what is refused is not begun");
}

#[test]
fn the_largest_number_of_sets_is_usable() {
    let masks = Masks::sample(1, Masks::MAX_SETS, Size::new(16, 16), 1).unwrap();
    let sizes = set_sizes(&masks);
    assert_eq!(sizes.iter().filter(|&&size| size == 1).count(), 254);
    assert_eq!(sizes.iter().filter(|&&size| size == 2).count(), 1);
}

#[test]
fn a_region_larger_than_the_image_hides_all_of_it() {
    let masks = Masks::sample(usize::MAX, 1, Size::new(5, 7), 0).unwrap();
    assert_eq!(visible(&masks, 0), [0.0; 35]);
}
