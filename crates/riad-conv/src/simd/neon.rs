//! NEON. Compiled for aarch64 only; its tests were run under emulation (qemu-aarch64), its speed never measured.
#![allow(unused_unsafe)] // Where NEON is part of the target, most of its intrinsics are safe.
#![allow(clippy::undocumented_unsafe_blocks)] // In closures: the function's first line argues for all of them.

use core::arch::aarch64::*;

use super::Lanes;

kernels! {
    /// 32 registers: 6 × (4 quarters) accumulators, four of weights, four for broadcasts.
    NEON = "neon" over Neon with "neon",
    tiles [1 2 3 4 5 6] by 1,
    channels 4
}

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
