//! A connection to cuDNN.

#![allow(unsafe_code, reason = "cuDNN is C; each block says why it may be called so")]

use std::{ptr, sync::Arc};

use cudarc::cudnn::sys;

use super::{super::queue::Queue, descriptor::check};
use crate::CudaError;

/// cuDNN's state for one thread at a time.
pub(super) struct Handle {
    raw: sys::cudnnHandle_t,
    queue: Arc<Queue>,
}

// SAFETY: cuDNN takes a handle from any thread, if not from two at once: it is behind a mutex.
unsafe impl Send for Handle {}

impl Handle {
    /// Starts cuDNN on the queue.
    pub(super) fn open(queue: &Arc<Queue>) -> Result<Self, CudaError> {
        queue.bind()?;
        let mut raw = ptr::null_mut();
        // SAFETY: the pointer is to a variable of the type that cuDNN writes.
        check("starting cuDNN", unsafe { sys::cudnnCreate(&mut raw) })?;
        let handle = Self {
            raw,
            queue: Arc::clone(queue),
        };
        // SAFETY: both are valid; the handle keeps the queue, and so the stream, while it lives.
        let status = unsafe { sys::cudnnSetStream(handle.raw, queue.stream.cu_stream().cast()) };
        check("giving cuDNN a stream", status)?;
        Ok(handle)
    }

    pub(super) fn raw(&self) -> sys::cudnnHandle_t {
        self.raw
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _ = self.queue.bind();
        // SAFETY: it was created, and nobody has it any more.
        let _ = unsafe { sys::cudnnDestroy(self.raw) };
    }
}
