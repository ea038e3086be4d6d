use proptest::prelude::*;
use riad_core::{
    Map, Size,
    smooth::{SmoothError, mean_filter},
};
use serde::Deserialize;

use crate::inputs::{assert_close, expected, images};

#[derive(Deserialize)]
struct Smoothed {
    seed: u64,
    height: usize,
    width: usize,
    window: usize,
    values: Vec<f64>,
}

#[test]
fn equals_scipy() {
    for case in expected::<Smoothed>("smoothed") {
        let map = images(case.seed, 1, case.height, case.width);
        assert_close(
            filtered(case.height, case.width, map, case.window).unwrap(),
            &case.values,
            1e-6,
        );
    }
}

fn filtered(height: usize, width: usize, values: Vec<f32>, window: usize) -> Result<Vec<f32>, SmoothError> {
    let map = Map::new(Size::new(height, width), values).unwrap();
    mean_filter(&map, window).map(Map::into_values)
}

/// The definition, value by value.
fn naive(map: &[f32], height: usize, width: usize, window: usize) -> Vec<f64> {
    let mirror = |position: i64, size: usize| {
        let position = position.rem_euclid(2 * size as i64) as usize;
        position.min(2 * size - 1 - position)
    };
    let radius = window as i64 / 2;
    let mut out = Vec::new();
    for y in 0..height as i64 {
        for x in 0..width as i64 {
            let mut sum = 0.0;
            for row in y - radius..=y + radius {
                for column in x - radius..=x + radius {
                    sum += f64::from(map[mirror(row, height) * width + mirror(column, width)]);
                }
            }
            out.push(sum / (window * window) as f64);
        }
    }
    out
}

proptest! {
    #[test]
    fn equals_its_definition(height in 1usize..9, width in 1usize..9, radius in 0usize..20, seed in 0u64..1000) {
        let map = images(seed, 1, height, width);
        let window = 2 * radius + 1;
        let expected = naive(&map, height, width, window);
        assert_close(filtered(height, width, map, window).unwrap(), &expected, 1e-6);
    }
}

#[test]
fn a_window_without_a_centre_is_refused() {
    for window in [0, 2, 20] {
        assert_eq!(
            filtered(2, 2, vec![0.0; 4], window),
            Err(SmoothError::EvenWindow { window })
        );
    }
}

#[test]
fn the_largest_window_gives_the_mean_of_the_map() {
    let smoothed = filtered(2, 3, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], usize::MAX).unwrap();
    assert_close(smoothed, &[2.5; 6], 1e-6);
}

#[test]
fn an_empty_map_stays_empty() {
    assert_eq!(filtered(0, 5, Vec::new(), 3), Ok(Vec::new()));
    assert_eq!(filtered(usize::MAX, 0, Vec::new(), usize::MAX), Ok(Vec::new()));
}
