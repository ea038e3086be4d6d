//! What runs kernels and convolutions.
//!
//! There are two: a GPU through CUDA and cuDNN, and the CPU, on which the same kernels, compiled as C++, show what they do
//! on machines without a GPU.
#![allow(unsafe_code)] // Takes addresses on trust: memory.rs and ops/ check lengths.

use std::{any::Any, ffi::c_void};

use crate::{ConvolutionSpec, CudaError};

/// Device memory, zeroed when it is handed out, aligned to 256 bytes; given back when dropped.
pub(crate) struct Allocation {
    /// Its address on the device.
    pub(crate) pointer: u64,
    /// What gives it back.
    pub(crate) _memory: Box<dyn Any + Send + Sync>,
}

/// A device with one queue: everything but [`Self::read`] returns as soon as it can, and takes effect in the order of the
/// calls.
pub(crate) trait Backend: Send + Sync {
    /// The device's name, for people.
    fn name(&self) -> String;

    /// Bytes of memory: free, and all.
    fn memory(&self) -> Result<(usize, usize), CudaError>;

    /// Bytes of memory that were allocated at once, at most; where the device does not tell, those that are now.
    fn peak_memory(&self) -> Result<usize, CudaError>;

    fn allocate(&self, bytes: usize) -> Result<Allocation, CudaError>;

    /// Copies to the device; `from` may change once this returns. Does not wait for what is in the queue, but for a copy
    /// that has been in it since the last call but one.
    ///
    /// # Safety
    /// `to` is the address of at least `from.len()` bytes of an [`Allocation`] of this backend.
    unsafe fn write(&self, to: u64, from: &[u8]) -> Result<(), CudaError>;

    /// Copies from the device, after all that is in the queue.
    ///
    /// # Safety
    /// `from` is the address of at least `to.len()` bytes of an [`Allocation`] of this backend.
    unsafe fn read(&self, from: u64, to: &mut [u8]) -> Result<(), CudaError>;

    /// Runs the kernel `name` on `grid` × `block` threads.
    ///
    /// # Safety
    /// `arguments` points to a struct with the layout of the one that the kernel takes, and what it points to on the
    /// device is as long as the kernel expects.
    unsafe fn launch(
        &self,
        name: &'static str,
        grid: [u32; 3],
        block: u32,
        arguments: *const c_void,
    ) -> Result<(), CudaError>;

    /// From now until [`Self::end_recording`] what is queued is recorded instead of done. False where the device cannot.
    fn begin_recording(&self) -> Result<bool, CudaError>;

    /// What was recorded.
    fn end_recording(&self) -> Result<Box<dyn Recorded>, CudaError>;

    /// Prepares a convolution, whose spec has been checked.
    fn plan(&self, spec: &ConvolutionSpec) -> Result<Box<dyn Plan>, CudaError>;
}

/// What was recorded, on memory that is still there.
pub(crate) trait Recorded: Send + Sync {
    /// Queues it.
    fn run(&self) -> Result<(), CudaError>;
}

/// A convolution that is ready to run.
pub(crate) trait Plan: Send + Sync {
    /// Queues the convolution on the images' side `x`, the weights `w` and the other side `y`, of which its
    /// [`Kind`](crate::Kind) says which is written. `bias` is read where the spec has an epilogue, and may be 0 elsewhere.
    ///
    /// # Safety
    /// The addresses are of tensors as the spec describes them, aligned to 16 bytes, on the device that made the plan.
    unsafe fn run(&self, x: u64, w: u64, y: u64, bias: u64) -> Result<(), CudaError>;

    /// Whether the spec's epilogue is still to be done after [`Self::run`].
    fn leaves_epilogue(&self) -> bool;
}
