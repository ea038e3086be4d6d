//! A GPU, by CUDA's driver; [`cudnn`] adds the convolutions.
//!
//! One stream carries everything, so that all happens in the order of the calls. Statuses are checked at every step: a
//! program may be linked against archives that stand in for the libraries and answer with an error where one is missing.

#![allow(unsafe_code, reason = "the driver is C; each block says why it may be called so")]

mod cudnn;
mod kernels;
mod queue;
mod reason;
mod staging;

use std::{
    ffi::c_void,
    ptr,
    sync::{Arc, Mutex},
};

use cudarc::driver::{CudaGraph, sys};

use self::{
    cudnn::Cudnn,
    kernels::Kernels,
    queue::{Memory, Queue, check, failed, lock},
    reason::reason,
    staging::Staging,
};
use super::backend::{Allocation, Backend, Plan, Recorded};
use crate::{ConvolutionSpec, CudaError, Epilogue, Kind, Precision};

/// A GPU.
pub(crate) struct Cuda {
    // Fields are dropped in this order, after the queue has run empty: see `drop`.
    cudnn: Arc<Cudnn>,
    staging: Mutex<Staging>,
    kernels: Mutex<Kernels>,
    queue: Arc<Queue>,
    name: String,
}

impl Cuda {
    /// The GPU with this number, after a small convolution on it: libraries are missing and kernels do not fit only when
    /// they are first called.
    ///
    /// # Errors
    /// [`CudaError::Device`] in one line, with the way out, if it cannot be used.
    pub(crate) fn open(index: usize) -> Result<Self, CudaError> {
        Self::opened(index).and_then(Self::tried).map_err(|error| {
            let reason = reason(&error.to_string()).to_owned();
            CudaError::Device(format!("CUDA device {index} cannot be used: {reason}"))
        })
    }

    fn opened(index: usize) -> Result<Self, CudaError> {
        let tune = cudnn::tune()?;
        let queue = Arc::new(Queue::open(index)?);
        let name = queue.context.name().map_err(failed("asking for the GPU's name"))?;
        // Before cuDNN, which would call an outdated driver by a vaguer name.
        let kernels = Kernels::load(&queue)?;
        let staging = Staging::new(&queue)?;
        let cudnn = Cudnn::open(&queue, tune)?;
        Ok(Self {
            cudnn: Arc::new(cudnn),
            staging: Mutex::new(staging),
            kernels: Mutex::new(kernels),
            queue,
            name,
        })
    }

    /// Convolves ones with ones, and looks at the sum in a corner.
    fn tried(self) -> Result<Self, CudaError> {
        const SIDE: usize = 8;
        const CHANNELS: usize = 8;
        let spec = ConvolutionSpec {
            kind: Kind::Forward,
            // What the most engines take; ones are exact in it.
            precision: Precision::Tf32,
            images: 1,
            height: SIDE,
            width: SIDE,
            inputs: CHANNELS,
            outputs: CHANNELS,
            kernel: 3,
            stride: 1,
            padding: 1,
            x_pixel: CHANNELS,
            y_pixel: CHANNELS,
            epilogue: Epilogue::None,
        };
        let one = 1f32.to_ne_bytes();
        let (ones, weights) = (one.repeat(SIDE * SIDE * CHANNELS), one.repeat(CHANNELS * 9 * CHANNELS));
        let x = self.allocate(ones.len())?;
        let w = self.allocate(weights.len())?;
        let y = self.allocate(ones.len())?;
        let plan = Cudnn::plan(&self.cudnn, &spec, false)?;
        let mut corner = [0; 4];
        // SAFETY: the three are as long as what is copied and what `spec` says, and of this backend, as is the plan.
        unsafe {
            self.write(x.pointer, &ones)?;
            self.write(w.pointer, &weights)?;
            plan.run(x.pointer, w.pointer, y.pointer, 0)?;
            self.read(y.pointer, &mut corner)?;
        }
        let found = f32::from_ne_bytes(corner);
        if found != (4 * CHANNELS) as f32 {
            return Err(CudaError::Failed {
                what: "a trial convolution".into(),
                status: format!("{found} instead of {}", 4 * CHANNELS),
            });
        }
        Ok(self)
    }
}

impl Drop for Cuda {
    /// Waits for what is in the queue, which uses what goes now. An error has been told to those who read its results.
    fn drop(&mut self) {
        let _ = self.queue.synchronize();
    }
}

impl Backend for Cuda {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn memory(&self) -> Result<(usize, usize), CudaError> {
        self.queue.free_memory()
    }

    fn peak_memory(&self) -> Result<usize, CudaError> {
        self.queue.peak_memory()
    }

    fn allocate(&self, bytes: usize) -> Result<Allocation, CudaError> {
        let memory = self.queue.allocate(bytes)?;
        Ok(Allocation {
            pointer: memory.pointer,
            _memory: Box::new(memory),
        })
    }

    unsafe fn write(&self, to: u64, from: &[u8]) -> Result<(), CudaError> {
        let mut staging = lock(&self.staging);
        self.queue.bind()?;
        // SAFETY: the caller vouches for `to`, and the context has been bound.
        unsafe { staging.copy(&self.queue, to, from) }
    }

    unsafe fn read(&self, from: u64, to: &mut [u8]) -> Result<(), CudaError> {
        if to.is_empty() {
            return Ok(());
        }
        self.queue.bind()?;
        // SAFETY: the caller vouches for `from`, and `to` is borrowed until the copy has come to its end below.
        let status =
            unsafe { sys::cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), from, to.len(), self.queue.stream.cu_stream()) };
        // Even after an error: nothing may write to `to` once this returns.
        let finished = self.queue.synchronize();
        check("a copy from the GPU", status).and(finished)
    }

    unsafe fn launch(
        &self,
        name: &'static str,
        grid: [u32; 3],
        block: u32,
        arguments: *const c_void,
    ) -> Result<(), CudaError> {
        self.queue.bind()?;
        let function = lock(&self.kernels).function(name)?;
        let mut parameters = [arguments.cast_mut()];
        // SAFETY: the caller vouches for the arguments, which the driver copies before it returns; the function is of a
        // module that outlives it, since `drop` waits for the queue; and the context is this thread's.
        let status = unsafe {
            sys::cuLaunchKernel(
                function.raw(),
                grid[0],
                grid[1],
                grid[2],
                block,
                1,
                1,
                0,
                self.queue.stream.cu_stream(),
                parameters.as_mut_ptr(),
                ptr::null_mut(),
            )
        };
        status
            .result()
            .map_err(|error| failed(&format!("the kernel {name}"))(error))
    }

    fn begin_recording(&self) -> Result<bool, CudaError> {
        // Relaxed: what other threads ask of the driver, of other streams, is none of this one's business.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        self.queue.stream.begin_capture(mode).map_err(failed("recording"))?;
        Ok(true)
    }

    fn end_recording(&self) -> Result<Box<dyn Recorded>, CudaError> {
        let graph = self.queue.stream.end_capture(sys::CUgraphInstantiate_flags(0));
        let graph = graph.map_err(failed("recording"))?.ok_or_else(|| CudaError::Failed {
            what: "recording".into(),
            status: "nothing was recorded".into(),
        })?;
        Ok(Box::new(Recording {
            graph: Mutex::new(Graph(graph)),
            _workspace: self.cudnn.workspace(),
        }))
    }

    fn plan(&self, spec: &ConvolutionSpec) -> Result<Box<dyn Plan>, CudaError> {
        Ok(Box::new(Cudnn::plan(&self.cudnn, spec, true)?))
    }
}

/// A recording, with the workspace of the convolutions in it.
struct Recording {
    graph: Mutex<Graph>,
    _workspace: Option<Arc<Memory>>,
}

struct Graph(CudaGraph);

// SAFETY: the driver's functions may be called with a graph from any thread, one at a time, which the mutex around it sees to.
unsafe impl Send for Graph {}

impl Recorded for Recording {
    fn run(&self) -> Result<(), CudaError> {
        lock(&self.graph).0.launch().map_err(failed("what was recorded"))
    }
}

#[cfg(test)]
mod tests;
