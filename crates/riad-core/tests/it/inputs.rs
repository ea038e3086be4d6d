//! The inputs of `tests/reference/expected.py`, by the same formulas.

use serde::de::DeserializeOwned;

/// One entry of what the reference script wrote.
pub(crate) fn expected<T: DeserializeOwned>(key: &str) -> Vec<T> {
    let mut file: serde_json::Value = serde_json::from_str(include_str!("../reference/expected.json")).unwrap();
    serde_json::from_value(file[key].take()).unwrap()
}

/// Integers in 0..65536 by multiplicative hashing.
pub(crate) fn noise(seed: u64, count: usize) -> impl Iterator<Item = u64> {
    (0..count as u64).map(move |index| ((index + seed * 1_000_003).wrapping_mul(2_654_435_761) & 0xFFFF_FFFF) >> 16)
}

/// Waves with noise on top and a flat corner.
pub(crate) fn images(seed: u64, planes: usize, height: usize, width: usize) -> Vec<f32> {
    let mut noise = noise(seed, planes * height * width);
    let mut values = Vec::new();
    for plane in 0..planes {
        for y in 0..height {
            for x in 0..width {
                let noise = noise.next().unwrap() as f64 / 65535.0;
                let (seed, plane, x_wave, y_wave) = (seed as f64, plane as f64, x as f64, y as f64);
                let waves = (0.4 * x_wave + 0.1 * seed + plane).sin() * (0.3 * y_wave - 0.2 * seed).cos();
                let value = if y < 4 && x < 6 {
                    0.25
                } else {
                    0.5 + 0.35 * waves + 0.1 * (noise - 0.5)
                };
                values.push(value as f32);
            }
        }
    }
    values
}

/// Asserts that two sequences agree within an absolute tolerance, and names the first place where they do not.
#[track_caller]
pub(crate) fn assert_close(actual: impl IntoIterator<Item = f32>, expected: &[f64], tolerance: f64) {
    let actual: Vec<f32> = actual.into_iter().collect();
    assert_eq!(actual.len(), expected.len());
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(actual) - expected).abs();
        assert!(
            error <= tolerance,
            "value {index}: {actual} is not {expected} within {tolerance:e} but {error:e} off"
        );
    }
}
