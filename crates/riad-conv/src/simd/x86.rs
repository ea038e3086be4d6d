//! AVX-512F, and AVX2 with FMA.

use core::arch::x86_64::*;

use super::{Kernels, Lanes, WinogradKernels};
use crate::kernel::{
    Correlate, CorrelateTile, DealRow, GradWeight, NarrowRow, WinogradInput, WinogradOutput, WinogradWeightGrad,
    WinogradWeights, correlate_tile, deal_row, grad_tile, grad_weight_tile, input_tile, narrow_row, output_tile,
    weight_grad_tile, weight_tile,
};

/// 32 registers: 14 × 2 accumulators, two of weights, two for broadcasts.
pub(super) static AVX512: Kernels = Kernels {
    name: "avx512",
    correlate: &[&avx512::TILES_1, &avx512::TILES_2],
    grad_weight: avx512::grad_weight,
    narrow: avx512::narrow,
    deal: avx512::deal,
    winograd: avx512::WINOGRAD,
};

/// 16 registers: 6 × (2 halves) accumulators, two of weights, two for broadcasts.
pub(super) static AVX2: Kernels = Kernels {
    name: "avx2",
    correlate: &[&avx2::TILES],
    grad_weight: avx2::grad_weight,
    narrow: avx2::narrow,
    deal: avx2::deal,
    winograd: avx2::WINOGRAD,
};

#[derive(Clone, Copy)]
struct Avx512(__m512);

impl Lanes for Avx512 {
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
struct Avx2(__m256, __m256);

impl Lanes for Avx2 {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: AVX is there by the trait's contract.
        let half = unsafe { _mm256_set1_ps(value) };
        Self(half, half)
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: AVX and sixteen values are there by the trait's contract.
        unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: FMA is there by the trait's contract.
        unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: AVX is there by the trait's contract.
        unsafe { Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: AVX is there by the trait's contract.
        unsafe { Self(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: AVX is there by the trait's contract.
        unsafe { Self(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: AVX is there by the trait's contract.
        unsafe { Self(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1)) }
    }

    #[inline(always)]
    unsafe fn at_least(self, bound: Self) -> Self {
        // SAFETY: AVX is there by the trait's contract. With a NaN, the instruction returns its second operand.
        unsafe { Self(_mm256_max_ps(bound.0, self.0), _mm256_max_ps(bound.1, self.1)) }
    }

    #[inline(always)]
    unsafe fn at_most(self, bound: Self) -> Self {
        // SAFETY: as for `at_least`.
        unsafe { Self(_mm256_min_ps(bound.0, self.0), _mm256_min_ps(bound.1, self.1)) }
    }
}

mod avx512 {
    use super::*;

    pub(super) static TILES_1: [CorrelateTile; 14] = [
        correlate::<1, 1>,
        correlate::<2, 1>,
        correlate::<3, 1>,
        correlate::<4, 1>,
        correlate::<5, 1>,
        correlate::<6, 1>,
        correlate::<7, 1>,
        correlate::<8, 1>,
        correlate::<9, 1>,
        correlate::<10, 1>,
        correlate::<11, 1>,
        correlate::<12, 1>,
        correlate::<13, 1>,
        correlate::<14, 1>,
    ];
    pub(super) static TILES_2: [CorrelateTile; 14] = [
        correlate::<1, 2>,
        correlate::<2, 2>,
        correlate::<3, 2>,
        correlate::<4, 2>,
        correlate::<5, 2>,
        correlate::<6, 2>,
        correlate::<7, 2>,
        correlate::<8, 2>,
        correlate::<9, 2>,
        correlate::<10, 2>,
        correlate::<11, 2>,
        correlate::<12, 2>,
        correlate::<13, 2>,
        correlate::<14, 2>,
    ];

    #[target_feature(enable = "avx512f")]
    unsafe fn correlate<const P: usize, const B: usize>(tile: &Correlate) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { correlate_tile::<Avx512, P, B>(tile) }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn grad_weight(tile: &GradWeight) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { grad_weight_tile::<Avx512, 16>(tile) }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn narrow(row: &NarrowRow) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { narrow_row::<Avx512>(row) }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn deal(row: &DealRow) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { deal_row::<Avx512>(row) }
    }

    pub(super) const WINOGRAD: [WinogradKernels; 2] = [
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
    ];

    #[target_feature(enable = "avx512f")]
    unsafe fn input<const N: usize>(tile: &WinogradInput) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { input_tile::<Avx512, N>(tile) }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn output<const N: usize>(tile: &WinogradOutput) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { output_tile::<Avx512, N>(tile) }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn weights<const N: usize>(tile: &WinogradWeights) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { weight_tile::<Avx512, N>(tile) }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn grad<const N: usize>(tile: &WinogradInput) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { grad_tile::<Avx512, N>(tile) }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn weight_grad<const N: usize>(tile: &WinogradWeightGrad) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { weight_grad_tile::<Avx512, N>(tile) }
    }
}

mod avx2 {
    use super::*;

    pub(super) static TILES: [CorrelateTile; 6] = [
        correlate::<1>,
        correlate::<2>,
        correlate::<3>,
        correlate::<4>,
        correlate::<5>,
        correlate::<6>,
    ];

    #[target_feature(enable = "avx2,fma")]
    unsafe fn correlate<const P: usize>(tile: &Correlate) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { correlate_tile::<Avx2, P, 1>(tile) }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn grad_weight(tile: &GradWeight) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { grad_weight_tile::<Avx2, 4>(tile) }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn narrow(row: &NarrowRow) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { narrow_row::<Avx2>(row) }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn deal(row: &DealRow) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { deal_row::<Avx2>(row) }
    }

    pub(super) const WINOGRAD: [WinogradKernels; 2] = [
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
    ];

    #[target_feature(enable = "avx2,fma")]
    unsafe fn input<const N: usize>(tile: &WinogradInput) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { input_tile::<Avx2, N>(tile) }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn output<const N: usize>(tile: &WinogradOutput) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { output_tile::<Avx2, N>(tile) }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn weights<const N: usize>(tile: &WinogradWeights) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { weight_tile::<Avx2, N>(tile) }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn grad<const N: usize>(tile: &WinogradInput) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { grad_tile::<Avx2, N>(tile) }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn weight_grad<const N: usize>(tile: &WinogradWeightGrad) {
        // SAFETY: the instruction set is enabled here; the rest is the caller's contract.
        unsafe { weight_grad_tile::<Avx2, N>(tile) }
    }
}
