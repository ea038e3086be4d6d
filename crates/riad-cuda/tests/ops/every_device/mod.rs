//! Devices, and values on them.

mod convolution;
mod images;
mod loss;
mod maps;
mod norm;
mod pixels;

use half::bf16;
use riad_cuda::{Buffer, Gpu, Precision};

/// The devices that there are; says on standard error which is not.
fn devices() -> Vec<Gpu> {
    [
        #[cfg(all(feature = "emulated", target_os = "linux"))]
        Some(Gpu::emulated()),
        #[cfg(feature = "cuda")]
        Gpu::open(0).inspect_err(|error| eprintln!("not tested: {error}")).ok(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Values in −1..1 that are not short in binary.
fn noise(length: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0) as f32
    };
    (0..length).map(|_| next()).collect()
}

/// Values in 0..1.
fn image(length: usize, seed: u32) -> Vec<f32> {
    noise(length, seed).iter().map(|value| 0.5 + 0.5 * value).collect()
}

/// The values as they are in memory.
fn rounded(values: &[f32], precision: Precision) -> Vec<f32> {
    let round = |&value: &f32| match precision {
        Precision::Bf16 => bf16::from_f32(value).to_f32(),
        Precision::F32 | Precision::Tf32 => value,
    };
    values.iter().map(round).collect()
}

fn upload(gpu: &Gpu, values: &[f32], precision: Precision) -> Buffer {
    match precision {
        Precision::Bf16 => {
            let values: Vec<_> = values.iter().map(|&value| bf16::from_f32(value)).collect();
            gpu.upload(&values)
        }
        Precision::F32 | Precision::Tf32 => gpu.upload(values),
    }
    .unwrap()
}

fn download(buffer: &Buffer, precision: Precision) -> Vec<f32> {
    let values = buffer.bytes() / precision.bytes();
    match precision {
        Precision::Bf16 => {
            let values: Vec<bf16> = buffer.read(0, values).unwrap();
            values.into_iter().map(bf16::to_f32).collect()
        }
        Precision::F32 | Precision::Tf32 => buffer.read(0, values).unwrap(),
    }
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let is_near = (found - expected).abs() <= tolerance;
        assert!(is_near, "{what}: {found} in place of {expected} at {at}");
    }
}
