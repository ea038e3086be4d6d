//! NEON. Compiled for aarch64 only; its tests were run under emulation (qemu-aarch64), its speed never measured.
#![allow(unused_unsafe)] // Where NEON is part of the target, most of its intrinsics are safe.

use core::arch::aarch64::*;

use super::Lanes;
use super::twice::Twice;

kernels! {
    /// 32 registers: 6 × (4 quarters) accumulators, four of weights, four for broadcasts.
    NEON = "neon" over Twice<Twice<Neon>>, transforms over Neon with "neon",
    tiles [1 2 3 4 5 6] by 1,
    channels 4
}

#[derive(Clone, Copy)]
struct Neon(float32x4_t);

impl Lanes for Neon {
    const COUNT: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        Self(unsafe { vdupq_n_f32(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: NEON and four values are there by the trait's contract.
        Self(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        Self(unsafe { vfmaq_f32(self.0, a.0, b.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        Self(unsafe { vsubq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        Self(unsafe { vmulq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract.
        Self(unsafe { vdivq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn at_least(self, bound: Self) -> Self {
        // SAFETY: NEON is there by the trait's contract. The instruction returns NaN if either operand is.
        Self(unsafe { vmaxq_f32(self.0, bound.0) })
    }

    #[inline(always)]
    unsafe fn at_most(self, bound: Self) -> Self {
        // SAFETY: as for `at_least`.
        Self(unsafe { vminq_f32(self.0, bound.0) })
    }
}
