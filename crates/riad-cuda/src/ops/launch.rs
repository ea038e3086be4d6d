//! How kernels are launched: with what, and on how many blocks.
#![allow(unsafe_code)] // Hands structs to kernels; callers say why their addresses are good.

use std::ptr;

use super::arguments::{Arguments, THREADS};
use crate::{CudaError, device::Gpu, lengths::count};

impl Gpu {
    /// Runs the kernel `name` on blocks of [`THREADS`] threads.
    ///
    /// # Safety
    /// `A` is what the kernel takes, and what its addresses are of is as long as the kernel expects.
    pub(super) unsafe fn launch<A: Arguments>(
        &self,
        name: &'static str,
        grid: [u32; 3],
        arguments: &A,
    ) -> Result<(), CudaError> {
        if grid.contains(&0) {
            return Err(CudaError::Unsupported {
                what: name,
                reason: "there is nothing to compute".into(),
            });
        }
        let _turn = self.recordings().turn();
        // SAFETY: the struct is laid out as the kernel's, which the build has checked; the rest is the caller's.
        unsafe {
            self.backend()
                .launch(name, grid, THREADS, ptr::from_ref(arguments).cast())
        }
    }
}

/// Blocks of [`THREADS`] that give each of `elements` a thread.
pub(super) fn one_thread_each(what: &'static str, elements: usize) -> Result<[u32; 3], CudaError> {
    Ok([count(what, elements)?.div_ceil(THREADS), 1, 1])
}

/// The name of a kernel that there is for each type of activations.
macro_rules! kernel {
    ($name:literal, $precision:expr) => {
        match $precision.bytes() {
            2 => concat!($name, "_bf16"),
            _ => concat!($name, "_f32"),
        }
    };
}
pub(super) use kernel;
