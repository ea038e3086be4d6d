//! The inner loops, written once over [`Lanes`]; `simd` compiles them for every instruction set.
#![allow(unsafe_code)] // Raw pointers: bounds checks in these loops cost a third of their speed.

use crate::simd::{LANES, Lanes};

// Accumulators in arrays stay in registers only where the optimiser sees no loop over them, not even that of `[x; N]`.
// And no closures here: they do not inherit `#[target_feature]`, and then every intrinsic in them may become a call.

/// Sixteen copies, as straight code.
macro_rules! sixteen {
    ($value:expr) => {{
        let v = $value;
        [v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v]
    }};
}

/// The body for every index below the count, which the second bound limits, as straight code.
macro_rules! unrolled {
    ($index:ident < $count:ident <= 2, $body:block) => {
        unrolled!(@ $index $count $body 0 1)
    };
    ($index:ident < $count:ident <= 4, $body:block) => {
        unrolled!(@ $index $count $body 0 1 2 3)
    };
    ($index:ident < $count:ident <= 6, $body:block) => {
        unrolled!(@ $index $count $body 0 1 2 3 4 5)
    };
    ($index:ident < $count:ident <= 16, $body:block) => {
        unrolled!(@ $index $count $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $index:ident $count:ident $body:block $($i:literal)*) => {
        $(if $i < $count {
            let $index = $i;
            $body
        })*
    };
}

mod bf16;
mod correlate;
mod deal;
mod grad_weight;
mod narrow;
mod winograd;

#[cfg(target_arch = "x86_64")]
pub(crate) use bf16::finish;
#[cfg(test)]
pub(crate) use bf16::portable as portable_bf16;
pub(crate) use bf16::{Bf16Kernel, Bf16Panel, PAIRED, SEGMENT, Segment, pair};
pub(crate) use correlate::{Correlate, CorrelateTile, correlate_tile, tile_widths};
pub(crate) use deal::{Deal, DealRow, deal_row};
pub(crate) use grad_weight::{GradWeight, GradWeightTile, grad_weight_tile};
pub(crate) use narrow::{NarrowKernel, NarrowRow, narrow_row};
pub(crate) use winograd::{
    InputTile, OutputTile, WeightGradTile, WeightTile, WinogradInput, WinogradOutput, WinogradWeightGrad,
    WinogradWeights, grad_tile, input_tile, output_tile, weight_grad_tile, weight_tile,
};

/// What an output value goes through last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// max(0, x); NaN stays NaN.
    Relu,
    /// Hyperbolic tangent, to about 4 units in the last place.
    Tanh,
}

/// # Safety
/// `L`'s instruction set is available, and `out` is valid for writing `lanes` values, or `L::COUNT` where they are more.
#[inline(always)]
unsafe fn store<L: Lanes>(value: L, out: *mut f32, lanes: usize) {
    // SAFETY: by this function's own contract.
    unsafe {
        if lanes >= L::COUNT {
            value.store(out);
        } else {
            let mut all = [0.0; LANES];
            value.store(all.as_mut_ptr());
            out.copy_from_nonoverlapping(all.as_ptr(), lanes);
        }
    }
}

/// The rational approximation x·P(x²) / Q(x²) that Eigen and XLA use, beyond whose bound tanh rounds to ±1.
///
/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn tanh<L: Lanes>(value: L) -> L {
    const BOUND: f32 = 7.905_311;
    const P: [f32; 7] = [
        -2.760_768_5e-16,
        2.000_188e-13,
        -8.604_672e-11,
        5.122_297_1e-8,
        1.485_722_4e-5,
        6.372_619_3e-4,
        4.893_525e-3,
    ];
    const Q: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
    // SAFETY: by this function's own contract.
    unsafe {
        let x = value.at_most(L::splat(BOUND)).at_least(L::splat(-BOUND));
        let square = x.mul(x);
        x.mul(polynomial(&P, square)).div(polynomial(&Q, square))
    }
}

/// Horner's rule, the highest power first.
///
/// # Safety
/// `L`'s instruction set is available.
#[inline(always)]
unsafe fn polynomial<L: Lanes>(coefficients: &[f32], x: L) -> L {
    // SAFETY: by this function's own contract.
    unsafe {
        let mut sum = L::splat(coefficients[0]);
        for &coefficient in &coefficients[1..] {
            sum = L::splat(coefficient).add_product(sum, x);
        }
        sum
    }
}
