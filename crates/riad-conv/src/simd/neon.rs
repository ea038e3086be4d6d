//! NEON. Compiled for aarch64 only; no machine of that kind has run it yet.

use core::arch::aarch64::*;

use super::{Kernels, Lanes, WinogradKernels};
use crate::kernel::{
    Correlate, DealRow, GradWeight, NarrowRow, WinogradInput, WinogradOutput, WinogradWeightGrad, WinogradWeights,
    correlate_tile, deal_row, grad_tile, grad_weight_tile, input_tile, narrow_row, output_tile, weight_grad_tile,
    weight_tile,
};

/// 32 registers: 6 × (4 quarters) accumulators, four of weights, four for broadcasts.
pub(super) static NEON: Kernels = Kernels {
    name: "neon",
    correlate: &[&[
        correlate::<1>,
        correlate::<2>,
        correlate::<3>,
        correlate::<4>,
        correlate::<5>,
        correlate::<6>,
    ]],
    grad_weight,
    narrow,
    deal,
    winograd: [
        WinogradKernels {
            input: input::<5>,
            output: output::<5>,
            weights: weights::<5>,
            grad: grad::<5>,
            weight_grad: weight_grad::<5>,
        },
        WinogradKernels {
            input: input::<6>,
            output: output::<6>,
            weights: weights::<6>,
            grad: grad::<6>,
            weight_grad: weight_grad::<6>,
        },
    ],
};

#[derive(Clone, Copy)]
struct Neon([float32x4_t; 4]);

impl Neon {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> Self {
        Self(std::array::from_fn(|quarter| f(self.0[quarter], other.0[quarter])))
    }
}

impl Lanes for Neon {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        Self([unsafe { vdupq_n_f32(value) }; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: NEON and sixteen values are there by the trait's contract.
        Self(std::array::from_fn(|quarter| unsafe {
            vld1q_f32(from.add(4 * quarter))
        }))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        for (quarter, &value) in self.0.iter().enumerate() {
            // SAFETY: as for `load`.
            unsafe { vst1q_f32(to.add(4 * quarter), value) }
        }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        Self(std::array::from_fn(|quarter| unsafe {
            vfmaq_f32(self.0[quarter], a.0[quarter], b.0[quarter])
        }))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        self.zip(other, |a, b| unsafe { vaddq_f32(a, b) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        self.zip(other, |a, b| unsafe { vsubq_f32(a, b) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        self.zip(other, |a, b| unsafe { vmulq_f32(a, b) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        self.zip(other, |a, b| unsafe { vdivq_f32(a, b) })
    }

    #[inline(always)]
    unsafe fn at_least(self, bound: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract. The instruction returns NaN if either operand is.
        self.zip(bound, |a, b| unsafe { vmaxq_f32(a, b) })
    }

    #[inline(always)]
    unsafe fn at_most(self, bound: Self) -> Self {
        // SAFETY: as for `at_least`.
        self.zip(bound, |a, b| unsafe { vminq_f32(a, b) })
    }
}

#[target_feature(enable = "neon")]
unsafe fn correlate<const P: usize>(tile: &Correlate) {
    // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
    unsafe { correlate_tile::<Neon, P, 1>(tile) }
}

#[target_feature(enable = "neon")]
unsafe fn grad_weight(tile: &GradWeight) {
    // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
    unsafe { grad_weight_tile::<Neon, 4>(tile) }
}

#[target_feature(enable = "neon")]
unsafe fn narrow(row: &NarrowRow) {
    // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
    unsafe { narrow_row::<Neon>(row) }
}

#[target_feature(enable = "neon")]
unsafe fn deal(row: &DealRow) {
    // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
    unsafe { deal_row::<Neon>(row) }
}

#[target_feature(enable = "neon")]
unsafe fn input<const N: usize>(tile: &WinogradInput) {
    // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
    unsafe { input_tile::<Neon, N>(tile) }
}

#[target_feature(enable = "neon")]
unsafe fn output<const N: usize>(tile: &WinogradOutput) {
    // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
    unsafe { output_tile::<Neon, N>(tile) }
}

#[target_feature(enable = "neon")]
unsafe fn weights<const N: usize>(tile: &WinogradWeights) {
    // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
    unsafe { weight_tile::<Neon, N>(tile) }
}

#[target_feature(enable = "neon")]
unsafe fn grad<const N: usize>(tile: &WinogradInput) {
    // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
    unsafe { grad_tile::<Neon, N>(tile) }
}

#[target_feature(enable = "neon")]
unsafe fn weight_grad<const N: usize>(tile: &WinogradWeightGrad) {
    // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
    unsafe { weight_grad_tile::<Neon, N>(tile) }
}
