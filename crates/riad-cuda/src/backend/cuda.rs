//! A GPU, by CUDA's driver; [`cudnn`](super::cudnn) adds the convolutions.
//!
//! One stream carries everything, so that all happens in the order of the calls. Statuses are checked at every step: a
//! program may be linked against archives that stand in for the libraries and answer with an error where one is missing.

#![allow(unsafe_code, reason = "the driver is C; each block says why it may be called so")]

mod staging;

use std::{
    collections::HashMap,
    env,
    ffi::{CString, c_void},
    num::NonZeroUsize,
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cudarc::driver::{
    CudaContext, CudaGraph, CudaStream, DriverError,
    sys::{self, CUmemPool_attribute, CUresult},
};

use self::staging::Staging;
use super::{Allocation, Backend, Plan, Recorded, cudnn::Cudnn};
use crate::{ConvolutionSpec, CudaError, Epilogue, Kind, Precision};

/// All kernels, in the assembly that the driver compiles for the GPU at hand.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));

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
        let tune = tune()?;
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
            plan.run(&self, x.pointer, w.pointer, y.pointer, 0)?;
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
        let (free, all) = self
            .queue
            .context
            .mem_get_info()
            .map_err(failed("asking for free memory"))?;
        Ok((free + self.queue.kept()?, all))
    }

    fn peak_memory(&self) -> Result<usize, CudaError> {
        match &self.queue.pool {
            Some(pool) => pool.bytes(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH),
            None => self.memory().map(|(free, all)| all - free),
        }
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
        // Nothing to do, which the driver takes for a mistake.
        if grid.contains(&0) {
            return Ok(());
        }
        self.queue.bind()?;
        let function = lock(&self.kernels).function(name)?;
        let mut parameters = [arguments.cast_mut()];
        // SAFETY: the caller vouches for the arguments, which the driver copies before it returns; the function is of a
        // module that outlives it, since `drop` waits for the queue; and the context is this thread's.
        let status = unsafe {
            sys::cuLaunchKernel(
                function.0,
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

/// What carries everything to the GPU, in order.
pub(super) struct Queue {
    pub(super) stream: Arc<CudaStream>,
    pub(super) context: Arc<CudaContext>,
    /// Where memory comes from and goes to in the order of the stream; none where the GPU does not know that.
    pool: Option<Pool>,
}

/// CUDA's pool of the GPU's memory, which is never destroyed.
struct Pool(sys::CUmemoryPool);

// SAFETY: the driver's functions may be called with it from any thread, at once as well; it is valid while the process runs.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Pool {
    /// One of the pool's attributes that count bytes.
    fn bytes(&self, name: CUmemPool_attribute) -> Result<usize, CudaError> {
        let mut bytes = 0u64;
        // SAFETY: the pool is valid, and attributes that count bytes are of 64 bits.
        let status = unsafe { sys::cuMemPoolGetAttribute(self.0, name, (&raw mut bytes).cast()) };
        check("asking the memory pool", status).map(|()| bytes as usize)
    }
}

impl Queue {
    fn open(index: usize) -> Result<Self, CudaError> {
        // cudarc cuts the number to 32 bits; no machine has as many GPUs.
        let index = index.min(i32::MAX as usize);
        let context = CudaContext::new(index).map_err(failed("opening the GPU"))?;
        // cudarc tracks events of its own slices only, of which there are none here.
        let stream = context.new_stream().map_err(failed("making a stream"))?;
        let pool = if context.has_async_alloc() {
            let mut pool = ptr::null_mut();
            // What is given back is kept for the next: the driver takes long to map memory.
            let mut kept = u64::MAX;
            // SAFETY: both pointers are to variables of the types that the driver writes and reads for these calls.
            unsafe {
                let status = sys::cuDeviceGetDefaultMemPool(&mut pool, context.cu_device());
                check("asking for the memory pool", status)?;
                let name = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
                let status = sys::cuMemPoolSetAttribute(pool, name, (&raw mut kept).cast());
                check("setting up the memory pool", status)?;
            }
            Some(Pool(pool))
        } else {
            None
        };
        Ok(Self { stream, context, pool })
    }

    /// Makes the GPU's context this thread's, which nearly every call into the driver and cuDNN goes by.
    pub(super) fn bind(&self) -> Result<(), CudaError> {
        self.context.bind_to_thread().map_err(failed("using the GPU"))
    }

    /// Waits until everything in the queue is done.
    pub(super) fn synchronize(&self) -> Result<(), CudaError> {
        self.stream.synchronize().map_err(failed("what was queued"))
    }

    /// Memory, zeroed.
    pub(super) fn allocate(self: &Arc<Self>, bytes: usize) -> Result<Memory, CudaError> {
        self.bind()?;
        let mut pointer = 0;
        // The driver refuses to allocate nothing.
        let size = bytes.max(1);
        let stream = self.stream.cu_stream();
        // SAFETY: the pointer is to a variable of the type that the driver writes; the stream is of the bound context.
        let status = unsafe {
            match self.pool {
                Some(_) => sys::cuMemAllocAsync(&mut pointer, size, stream),
                None => sys::cuMemAlloc_v2(&mut pointer, size),
            }
        };
        if status == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return Err(CudaError::Memory { bytes });
        }
        check("allocating memory", status)?;
        let memory = Memory {
            pointer,
            bytes,
            queue: Arc::clone(self),
        };
        memory.fill(0)?;
        Ok(memory)
    }

    /// Bytes that have been given back, but are kept for later allocations.
    fn kept(&self) -> Result<usize, CudaError> {
        let Some(pool) = &self.pool else { return Ok(0) };
        let reserved = pool.bytes(CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
        let used = pool.bytes(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?;
        Ok(reserved.saturating_sub(used))
    }
}

/// Memory on the GPU, given back in the order of the queue: what has been queued before still finds it.
pub(super) struct Memory {
    pub(super) pointer: u64,
    pub(super) bytes: usize,
    queue: Arc<Queue>,
}

impl Memory {
    /// Sets every byte.
    pub(super) fn fill(&self, byte: u8) -> Result<(), CudaError> {
        self.queue.bind()?;
        let stream = self.queue.stream.cu_stream();
        if self.bytes == 0 {
            return Ok(());
        }
        // SAFETY: the memory is as long, and the stream is of the bound context.
        let status = unsafe { sys::cuMemsetD8Async(self.pointer, byte, self.bytes, stream) };
        check("filling memory", status)
    }
}

impl Drop for Memory {
    /// Nobody can be told of errors here; those that matter come back from the next call.
    fn drop(&mut self) {
        let _ = self.queue.bind();
        // SAFETY: the memory came from the counterpart of the function called, and nobody else gives it back. What has been
        // queued and uses it is done first: by the stream's order, or since this waits for it.
        unsafe {
            if self.queue.pool.is_some() {
                let _ = sys::cuMemFreeAsync(self.pointer, self.queue.stream.cu_stream());
            } else {
                let _ = self.queue.synchronize();
                let _ = sys::cuMemFree_v2(self.pointer);
            }
        }
    }
}

/// The compiled kernels, and those that have been called by name.
struct Kernels {
    functions: HashMap<&'static str, Function>,
    module: sys::CUmodule,
    queue: Arc<Queue>,
}

// SAFETY: the module is valid until it is dropped, and the driver takes it from any thread that has bound its context.
unsafe impl Send for Kernels {}

/// A kernel of a module that is loaded.
#[derive(Clone, Copy)]
struct Function(sys::CUfunction);

// SAFETY: a name for the driver, which takes it from any thread that has bound its context.
unsafe impl Send for Function {}

impl Kernels {
    fn load(queue: &Arc<Queue>) -> Result<Self, CudaError> {
        const WHAT: &str = "loading the kernels";
        queue.bind()?;
        let text = CString::new(PTX.trim_end_matches('\0')).map_err(|error| CudaError::Failed {
            what: WHAT.into(),
            status: error.to_string(),
        })?;
        let mut module = ptr::null_mut();
        // SAFETY: the pointer is to a variable of the type that the driver writes; the text ends with a zero.
        let status = unsafe { sys::cuModuleLoadData(&mut module, text.as_ptr().cast()) };
        check(WHAT, status)?;
        Ok(Self {
            functions: HashMap::new(),
            module,
            queue: Arc::clone(queue),
        })
    }

    fn function(&mut self, name: &'static str) -> Result<Function, CudaError> {
        if let Some(&function) = self.functions.get(name) {
            return Ok(function);
        }
        let what = || format!("finding the kernel {name}");
        let text = CString::new(name).map_err(|error| CudaError::Failed {
            what: what(),
            status: error.to_string(),
        })?;
        let mut function = ptr::null_mut();
        // SAFETY: the module is loaded, the text ends with a zero, and the pointer is to what the driver writes.
        let status = unsafe { sys::cuModuleGetFunction(&mut function, self.module, text.as_ptr()) };
        check(&what(), status)?;
        self.functions.insert(name, Function(function));
        Ok(Function(function))
    }
}

impl Drop for Kernels {
    /// Comes when the queue has run empty, or before anything was in it.
    fn drop(&mut self) {
        let _ = self.queue.bind();
        // SAFETY: it is loaded, none of its kernels runs, and nobody can call one any more.
        let _ = unsafe { sys::cuModuleUnload(self.module) };
    }
}

/// Locks, also where a thread has panicked: what the locks here guard is whole after each statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(what: &str, status: CUresult) -> Result<(), CudaError> {
    status.result().map_err(failed(what))
}

/// Makes the driver's error one of ours.
pub(super) fn failed(what: &str) -> impl FnOnce(DriverError) -> CudaError {
    move |error| CudaError::Failed {
        what: what.into(),
        status: format!("{:?}", error.0),
    }
}

/// How many engines are timed for each convolution; none where the first is taken as it comes.
fn tune() -> Result<Option<NonZeroUsize>, CudaError> {
    let Some(text) = env::var_os("RIAD_CUDNN_TUNE") else {
        return Ok(None);
    };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        CudaError::Device("RIAD_CUDNN_TUNE must be a number of engines to time, from 1 on, or not be set".into())
    })
}

/// What an error means for whoever runs the program. Errors carry the libraries' status by name, and behind it in brackets
/// what cuDNN has to say, if it is there.
fn reason(error: &str) -> &str {
    const REASONS: [(&str, &str); 11] = [
        (
            "CUDA_ERROR_SHARED_OBJECT_INIT_FAILED",
            "there is no NVIDIA driver (libcuda.so.1); install it",
        ),
        (
            "CUDA_ERROR_NO_DEVICE",
            "there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it",
        ),
        (
            "CUDA_ERROR_INVALID_DEVICE",
            "there are not as many; `nvidia-smi -L` numbers them",
        ),
        (
            "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
            "its driver was updated and not yet loaded; restart the machine",
        ),
        (
            "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            "its driver is older than the CUDA that this riad was built with; update the driver",
        ),
        (
            "CUDA_ERROR_INVALID_PTX",
            "this riad was built for newer GPUs; build it with CUDA_COMPUTE_CAP set to this one's",
        ),
        (
            "CUDA_ERROR_NO_BINARY_FOR_GPU",
            "this riad was built for newer GPUs; build it with CUDA_COMPUTE_CAP set to this one's",
        ),
        (
            "CUDA_ERROR_JIT_COMPILER_NOT_FOUND",
            "its driver is incomplete; libnvidia-ptxjitcompiler.so.1 must lie where the loader looks",
        ),
        (
            "CUDA_ERROR_OUT_OF_MEMORY",
            "it has no memory left; stop what else uses it",
        ),
        (
            "CUDNN_STATUS_NOT_INITIALIZED",
            "cuDNN does not start; libcudnn.so.9 must lie where the loader looks (LD_LIBRARY_PATH)",
        ),
        (
            "CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED",
            "cuDNN is incomplete; all its libraries must lie beside libcudnn.so.9",
        ),
    ];
    let started = error.contains("CUDNN_STATUS_NOT_INITIALIZED (");
    let known = REASONS.iter().find(|(status, _)| error.contains(status) && !started);
    known.map_or_else(|| error.lines().next().unwrap_or_default(), |(_, reason)| reason)
}

#[cfg(test)]
mod tests;
