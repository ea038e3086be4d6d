//! Instruction sets: one vector trait, its implementations, and the choice between them at run time.
#![allow(unsafe_code)] // Intrinsics.

/// Compiles the kernels over one implementation of [`Lanes`], under its `#[target_feature]` if it needs one.
///
/// `transforms` go over narrower vectors where a whole tile of wide ones would not fit into registers.
/// `tiles` lists, for one block of output channels and more, the widths of tiles whose accumulators fit into registers;
/// `channels` is how many input channels a weight gradient holds, a divisor of sixteen.
macro_rules! kernels {
    (
        $(#[$documentation:meta])*
        $name:ident = $text:literal over $lanes:ty, transforms over $part:ident $(with $feature:literal)?,
        tiles $([$($cells:literal)*] by $blocks:literal),*,
        channels $channels:literal
    ) => {
        $(#[$documentation])*
        pub(super) static $name: $crate::simd::Kernels = {
            use $crate::kernel::*;
            use $crate::simd::WinogradKernels;

            kernels!(@ $($feature)?, correlate<P, B>(Correlate) = correlate_tile::<$lanes, P, B>);
            kernels!(@ $($feature)?, grad_weight<>(GradWeight) = grad_weight_tile::<$lanes, $channels>);
            kernels!(@ $($feature)?, narrow<>(NarrowRow) = narrow_row::<$lanes>);
            kernels!(@ $($feature)?, deal<>(DealRow) = deal_row::<$lanes>);
            kernels!(@ $($feature)?, input<N>(WinogradInput) = input_tile::<$part, N>);
            kernels!(@ $($feature)?, output<N>(WinogradOutput) = output_tile::<$part, N>);
            kernels!(@ $($feature)?, weights<N>(WinogradWeights) = weight_tile::<$part, N>);
            kernels!(@ $($feature)?, grad<N>(WinogradInput) = grad_tile::<$part, N>);
            kernels!(@ $($feature)?, weight_grad<N>(WinogradWeightGrad) = weight_grad_tile::<$part, N>);

            const fn winograd<const N: usize>() -> WinogradKernels {
                WinogradKernels {
                    input: input::<N>,
                    output: output::<N>,
                    weights: weights::<N>,
                    grad: grad::<N>,
                    weight_grad: weight_grad::<N>,
                }
            }

            $crate::simd::Kernels {
                name: $text,
                correlate: &[$(&[$(correlate::<$cells, $blocks>),*]),*],
                grad_weight,
                narrow,
                deal: Deal {
                    row: deal,
                    channels: $crate::simd::LANES,
                },
                winograd: [winograd::<5>(), winograd::<6>()],
            }
        };
    };
    (@ $($feature:literal)?, $entry:ident<$($parameter:ident),*>($call:ident) = $kernel:expr) => {
        $(#[target_feature(enable = $feature)])?
        unsafe fn $entry<$(const $parameter: usize),*>(call: &$call) {
            // SAFETY: the instruction set, if it needs one, is enabled here; the rest is the caller's contract, which is the
            // kernel's.
            unsafe { $kernel(call) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod twice;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ffi::OsStr;
use std::sync::OnceLock;

use crate::ConvError;
use crate::kernel::{
    Bf16Kernel, CorrelateTile, Deal, GradWeightTile, InputTile, NarrowKernel, OutputTile, WeightGradTile, WeightTile,
};

/// Values in a vector of [`Lanes`], and channels in a block of the packed layouts.
pub(crate) const LANES: usize = 16;

/// Some `f32`, in as many registers as the instruction set needs: sixteen, or, where a kernel allows it, a divisor of
/// sixteen. All kernels are written over it.
///
/// # Safety
/// Every function may only be called where the implementing instruction set is available. Pointers must be valid for
/// `COUNT` values; they need no alignment.
pub(crate) trait Lanes: Copy {
    /// Values in the vector.
    const COUNT: usize;

    /// Asks for the cache line at `from`, any address at all, to be brought near, where the instruction set can ask.
    unsafe fn prefetch(_from: *const f32) {}
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self + a·b`, with one rounding where the instruction set has it.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// The larger of `self` and `bound`; NaN stays NaN.
    unsafe fn at_least(self, bound: Self) -> Self;
    /// The smaller of `self` and `bound`; NaN stays NaN.
    unsafe fn at_most(self, bound: Self) -> Self;
}

/// The kernels of one instruction set.
pub(crate) struct Kernels {
    pub(crate) name: &'static str,
    /// Entry `[b][p]` computes a tile of `p + 1` cells by `b + 1` blocks of output channels.
    pub(crate) correlate: &'static [&'static [CorrelateTile]],
    pub(crate) grad_weight: GradWeightTile,
    pub(crate) narrow: NarrowKernel,
    pub(crate) deal: Deal,
    /// With five points per direction, and with six.
    winograd: [WinogradKernels; 2],
}

/// What layers with bf16 products run.
pub(crate) struct Bf16Kernels {
    #[cfg(test)]
    pub(crate) name: &'static str,
    pub(crate) panel: Bf16Kernel,
    /// Rounds to bf16.
    pub(crate) deal: Deal,
}

impl Bf16Kernels {
    /// The kernels of this machine.
    ///
    /// # Errors
    /// [`ConvError::NoBf16`] if it has none that are worth it, or `RIAD_CONV_SIMD` asks for less than all it has.
    pub(crate) fn active() -> Result<&'static Self, ConvError> {
        #[cfg(test)]
        if let Some(forced) = FORCED_BF16.get() {
            return Ok(forced);
        }
        let wants_all = Kernels::active()?.name == Kernels::available()[0].name;
        let best = Self::available().first().copied();
        best.filter(|_| wants_all).ok_or(ConvError::NoBf16)
    }

    /// The kernels that this machine can run, fastest first.
    pub(crate) fn available() -> Vec<&'static Self> {
        #[cfg(target_arch = "x86_64")]
        let levels = amx::available();
        #[cfg(not(target_arch = "x86_64"))]
        let levels = None;
        #[cfg(test)]
        let levels = levels.into_iter().chain([&PORTABLE_BF16]);
        levels.into_iter().collect()
    }
}

/// The transforms of one number of points.
pub(crate) struct WinogradKernels {
    pub(crate) input: InputTile,
    pub(crate) output: OutputTile,
    pub(crate) weights: WeightTile,
    pub(crate) grad: InputTile,
    pub(crate) weight_grad: WeightGradTile,
}

impl Kernels {
    /// The kernels to use in this process: the best that the machine has, or what `RIAD_CONV_SIMD` asks for.
    ///
    /// # Errors
    /// [`ConvError::Simd`] if the variable names nothing that the machine has.
    pub(crate) fn active() -> Result<&'static Self, ConvError> {
        #[cfg(test)]
        if let Some(forced) = FORCED.get() {
            return Ok(forced);
        }
        static ACTIVE: OnceLock<Result<&Kernels, ConvError>> = OnceLock::new();
        ACTIVE
            .get_or_init(|| Self::named(std::env::var_os("RIAD_CONV_SIMD").as_deref()))
            .clone()
    }

    fn named(name: Option<&OsStr>) -> Result<&'static Self, ConvError> {
        let available = Self::available();
        let Some(name) = name else { return Ok(available[0]) };
        available
            .iter()
            .find(|level| name == level.name)
            .copied()
            .ok_or_else(|| ConvError::Simd {
                value: name.to_string_lossy().into_owned(),
                available: available.iter().map(|level| level.name).collect(),
            })
    }

    /// The transforms for five or six points per direction.
    pub(crate) fn winograd(&self, points: usize) -> &WinogradKernels {
        &self.winograd[points - 5]
    }

    /// The kernels that this machine can run, fastest first.
    pub(crate) fn available() -> Vec<&'static Self> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                levels.push(&x86::AVX512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                levels.push(&x86::AVX2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            levels.push(&neon::NEON);
        }
        levels.push(&portable::PORTABLE);
        levels
    }
}

#[cfg(test)]
thread_local! {
    /// What [`Kernels::active`] answers on this thread, so that tests reach every level of the machine.
    pub(crate) static FORCED: std::cell::Cell<Option<&'static Kernels>> = const { std::cell::Cell::new(None) };
    /// The same for [`Bf16Kernels::active`].
    pub(crate) static FORCED_BF16: std::cell::Cell<Option<&'static Bf16Kernels>> = const { std::cell::Cell::new(None) };
}

/// bf16 kernels for any machine, too slow for anything but tests.
#[cfg(test)]
static PORTABLE_BF16: Bf16Kernels = Bf16Kernels {
    name: "portable bf16",
    panel: crate::kernel::portable_bf16::panel,
    deal: Deal {
        row: crate::kernel::portable_bf16::deal,
        channels: crate::kernel::PAIRED,
    },
};
#[cfg(test)]
pub(crate) use portable::Portable;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_an_instruction_set_of_the_machine() {
        let found = |name: &str| Kernels::named(Some(name.as_ref())).map(|level| level.name);
        assert_eq!(found("portable"), Ok("portable"));
        for value in ["sse9", "", "AVX2"] {
            let error = found(value).unwrap_err().to_string();
            assert!(
                error.contains(&format!("RIAD_CONV_SIMD={value} ")) && error.contains("portable"),
                "{error}"
            );
        }
        assert_eq!(
            Kernels::named(None).map(|level| level.name),
            Ok(Kernels::available()[0].name)
        );
    }
}
