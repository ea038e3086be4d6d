//! AVX-512F, and AVX2 with FMA.

use core::arch::x86_64::*;

use super::Lanes;
use super::twice::Twice;

kernels! {
    /// 32 registers: 14 × 2 accumulators, two of weights, two for broadcasts.
    AVX512 = "avx512" over Avx512, transforms over Avx512 with "avx512f",
    tiles [1 2 3 4 5 6 7 8 9 10 11 12 13 14] by 1, [1 2 3 4 5 6 7 8 9 10 11 12 13 14] by 2,
    channels 16
}

kernels! {
    /// 16 registers: 6 × (2 halves) accumulators, two of weights, two for broadcasts.
    AVX2 = "avx2" over Twice<Avx2>, transforms over Avx2 with "avx2,fma",
    tiles [1 2 3 4 5 6] by 1,
    channels 4
}

#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

impl Lanes for Avx512 {
    const COUNT: usize = 16;

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        // SAFETY: a prefetch of any address has no effect but on caches. T1: into the second level, as a block's weights would
        // crowd the first.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: AVX-512F is there by the trait's contract.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: AVX-512F and sixteen values are there by the trait's contract.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: AVX-512F is there by the trait's contract.
        Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: AVX-512F is there by the trait's contract.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: AVX-512F is there by the trait's contract.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: AVX-512F is there by the trait's contract.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: AVX-512F is there by the trait's contract.
        Self(unsafe { _mm512_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn at_least(self, bound: Self) -> Self {
        // SAFETY: AVX-512F is there by the trait's contract. With a NaN, the instruction returns its second operand.
        Self(unsafe { _mm512_max_ps(bound.0, self.0) })
    }

    #[inline(always)]
    unsafe fn at_most(self, bound: Self) -> Self {
        // SAFETY: as for `at_least`.
        Self(unsafe { _mm512_min_ps(bound.0, self.0) })
    }
}

#[derive(Clone, Copy)]
struct Avx2(__m256);

impl Lanes for Avx2 {
    const COUNT: usize = 8;

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: AVX is there by the trait's contract.
        Self(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: AVX and eight values are there by the trait's contract.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: FMA is there by the trait's contract.
        Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: AVX is there by the trait's contract.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: AVX is there by the trait's contract.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: AVX is there by the trait's contract.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: AVX is there by the trait's contract.
        Self(unsafe { _mm256_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn at_least(self, bound: Self) -> Self {
        // SAFETY: AVX is there by the trait's contract. With a NaN, the instruction returns its second operand.
        Self(unsafe { _mm256_max_ps(bound.0, self.0) })
    }

    #[inline(always)]
    unsafe fn at_most(self, bound: Self) -> Self {
        // SAFETY: as for `at_least`.
        Self(unsafe { _mm256_min_ps(bound.0, self.0) })
    }
}
