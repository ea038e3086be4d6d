//! The queue that carries everything to the GPU, and memory that comes and goes in its order.

#![allow(unsafe_code, reason = "the driver is C; each block says why it may be called so")]

use std::{
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cudarc::driver::{
    CudaContext, CudaStream, DriverError,
    sys::{self, CUmemPool_attribute, CUresult},
};

use crate::CudaError;

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
    pub(super) fn open(index: usize) -> Result<Self, CudaError> {
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

    /// Bytes of the GPU's memory: free, and all.
    pub(super) fn free_memory(&self) -> Result<(usize, usize), CudaError> {
        let (free, all) = self.context.mem_get_info().map_err(failed("asking for free memory"))?;
        Ok((free + self.kept()?, all))
    }

    /// Bytes that were allocated at once, at most; where the GPU does not tell, those that are now.
    pub(super) fn peak_memory(&self) -> Result<usize, CudaError> {
        match &self.pool {
            Some(pool) => pool.bytes(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH),
            None => self.free_memory().map(|(free, all)| all - free),
        }
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

/// Locks, also where a thread has panicked: what the locks here guard is whole after each statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn check(what: &str, status: CUresult) -> Result<(), CudaError> {
    status.result().map_err(failed(what))
}

/// Makes the driver's error one of ours.
pub(super) fn failed(what: &str) -> impl FnOnce(DriverError) -> CudaError {
    move |error| CudaError::Failed {
        what: what.into(),
        status: format!("{:?}", error.0),
    }
}
