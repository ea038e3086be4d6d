//! Plain arrays, for machines without a level of their own and as the others' reference.

use super::{Kernels, LANES, Lanes, WinogradKernels};
use crate::kernel::{
    Correlate, DealRow, GradWeight, NarrowRow, WinogradInput, WinogradOutput, WinogradWeightGrad, WinogradWeights,
    correlate_tile, deal_row, grad_tile, grad_weight_tile, input_tile, narrow_row, output_tile, weight_grad_tile,
    weight_tile,
};

pub(super) static PORTABLE: Kernels = Kernels {
    name: "portable",
    correlate: &[&[correlate::<1>, correlate::<2>]],
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
struct Portable([f32; LANES]);

impl Portable {
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| f(self.0[lane], other.0[lane])))
    }
}

impl Lanes for Portable {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: valid for sixteen values by the trait's contract; arrays of f32 read unaligned.
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // Two roundings: `f32::mul_add` is a library call where there is no instruction for it.
        Self(std::array::from_fn(|lane| self.0[lane] + a.0[lane] * b.0[lane]))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    #[inline(always)]
    unsafe fn at_least(self, bound: Self) -> Self {
        self.zip(bound, |a, b| if a < b { b } else { a })
    }

    #[inline(always)]
    unsafe fn at_most(self, bound: Self) -> Self {
        self.zip(bound, |a, b| if a > b { b } else { a })
    }
}

unsafe fn correlate<const P: usize>(tile: &Correlate) {
    // SAFETY: the caller's contract is that of `correlate_tile`; plain arrays need no instruction set.
    unsafe { correlate_tile::<Portable, P, 1>(tile) }
}

unsafe fn grad_weight(tile: &GradWeight) {
    // SAFETY: as in `correlate`.
    unsafe { grad_weight_tile::<Portable, 2>(tile) }
}

unsafe fn narrow(row: &NarrowRow) {
    // SAFETY: as in `correlate`.
    unsafe { narrow_row::<Portable>(row) }
}

unsafe fn deal(row: &DealRow) {
    // SAFETY: as in `correlate`.
    unsafe { deal_row::<Portable>(row) }
}

unsafe fn input<const N: usize>(tile: &WinogradInput) {
    // SAFETY: as in `correlate`.
    unsafe { input_tile::<Portable, N>(tile) }
}

unsafe fn output<const N: usize>(tile: &WinogradOutput) {
    // SAFETY: as in `correlate`.
    unsafe { output_tile::<Portable, N>(tile) }
}

unsafe fn weights<const N: usize>(tile: &WinogradWeights) {
    // SAFETY: as in `correlate`.
    unsafe { weight_tile::<Portable, N>(tile) }
}

unsafe fn grad<const N: usize>(tile: &WinogradInput) {
    // SAFETY: as in `correlate`.
    unsafe { grad_tile::<Portable, N>(tile) }
}

unsafe fn weight_grad<const N: usize>(tile: &WinogradWeightGrad) {
    // SAFETY: as in `correlate`.
    unsafe { weight_grad_tile::<Portable, N>(tile) }
}
