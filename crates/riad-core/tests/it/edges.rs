use riad_core::{
    Map, Size,
    edges::{high_pass, morphological_gradient},
    smooth::SmoothError,
};
use serde::Deserialize;

use crate::inputs::{assert_close, expected, images};

#[derive(Deserialize)]
struct Case {
    seed: u64,
    height: usize,
    width: usize,
    window: usize,
    gradient: Vec<f64>,
    high_pass: Vec<f64>,
}

#[test]
fn edges_equal_scipys() {
    for case in expected::<Case>("edges") {
        let plane = images(case.seed, 1, case.height, case.width);
        let plane = Map::new(Size::new(case.height, case.width), plane).unwrap();
        let gradient = morphological_gradient(&plane);
        assert_close(gradient.into_values(), &case.gradient, 1e-6);
        let high = high_pass(&plane, case.window).unwrap();
        assert_close(high.into_values(), &case.high_pass, 1e-6);
    }
}

#[test]
fn planes_without_pixels_have_no_edges() {
    for size in [Size::new(0, 0), Size::new(0, 3), Size::new(3, 0)] {
        let plane = Map::new(size, vec![]).unwrap();
        assert_eq!(morphological_gradient(&plane), plane);
        assert_eq!(high_pass(&plane, 3).unwrap(), plane);
    }
    let plane = Map::filled(Size::new(2, 2), 0.5);
    assert_eq!(high_pass(&plane, 4), Err(SmoothError::EvenWindow { window: 4 }));
}
