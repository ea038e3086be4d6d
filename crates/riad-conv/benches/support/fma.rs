//! The most floating-point operations that a thread can do: a loop of nothing else, as wide as the machine allows.
#![allow(unsafe_code)] // The loop is of intrinsics.

/// Runs independent FMAs for some milliseconds and gives the number of floating-point operations.
#[cfg(target_arch = "x86_64")]
pub(crate) fn run() -> f64 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    const ROUNDS: usize = 300_000;

    #[target_feature(enable = "avx512f")]
    fn avx512() -> f64 {
        let (a, b) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(0.25)));
        let mut sums = [_mm512_set1_ps(1.0); 16];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
        (ROUNDS * 16 * 16 * 2) as f64
    }

    #[target_feature(enable = "avx2,fma")]
    fn avx2() -> f64 {
        let (a, b) = (_mm256_set1_ps(black_box(0.5)), _mm256_set1_ps(black_box(0.25)));
        let mut sums = [_mm256_set1_ps(1.0); 12];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
        (ROUNDS * 12 * 8 * 2) as f64
    }

    let narrow = std::env::var("RIAD_CONV_SIMD").is_ok_and(|level| level != "avx512");
    if is_x86_feature_detected!("avx512f") && !narrow {
        // SAFETY: the instruction set was just found.
        unsafe { avx512() }
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the instruction sets were just found.
        unsafe { avx2() }
    } else {
        f64::NAN
    }
}

/// Not measured on this architecture.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn run() -> f64 {
    f64::NAN
}
