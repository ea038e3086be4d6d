//! Copies to the GPU that do not keep their caller waiting for it.

#![allow(unsafe_code, reason = "the driver is C; each block says why it may be called so")]

use std::{ptr, sync::Arc};

use cudarc::driver::{CudaEvent, sys};

use super::{Queue, check, failed};
use crate::CudaError;

/// Copies to the device go in pieces of at most as many bytes, each by way of memory that the GPU can read by itself.
pub(super) const PIECE: usize = 16 << 20;

/// Two buffers that copies to the GPU go through in turn, so that callers have their memory back before the GPU gets to it.
pub(super) struct Staging {
    buffers: [Buffer; 2],
    next: usize,
}

struct Buffer {
    memory: Option<Pinned>,
    /// When the last copy out of it is done.
    copied: CudaEvent,
}

impl Staging {
    pub(super) fn new(queue: &Queue) -> Result<Self, CudaError> {
        let buffer = || -> Result<Buffer, CudaError> {
            Ok(Buffer {
                memory: None,
                copied: queue.context.new_event(None).map_err(failed("making an event"))?,
            })
        };
        Ok(Self {
            buffers: [buffer()?, buffer()?],
            next: 0,
        })
    }

    /// Queues a copy.
    ///
    /// # Safety
    /// `to` is the address of as many bytes on the GPU, and the queue's context is bound.
    pub(super) unsafe fn copy(&mut self, queue: &Arc<Queue>, mut to: u64, from: &[u8]) -> Result<(), CudaError> {
        for piece in from.chunks(PIECE) {
            // SAFETY: the caller's; a piece is a part of what `to` has room for.
            unsafe { self.copy_piece(queue, to, piece)? };
            to += piece.len() as u64;
        }
        Ok(())
    }

    /// # Safety
    /// As of [`Self::copy`].
    unsafe fn copy_piece(&mut self, queue: &Arc<Queue>, to: u64, piece: &[u8]) -> Result<(), CudaError> {
        let buffer = &mut self.buffers[self.next];
        buffer.copied.synchronize().map_err(failed("a copy to the GPU"))?;
        let memory = match &mut buffer.memory {
            Some(memory) if memory.bytes >= piece.len() => memory,
            memory => {
                *memory = None;
                memory.insert(Pinned::new(queue, piece.len().next_power_of_two().max(64 << 10))?)
            }
        };
        // SAFETY: the buffer is as long as the piece or longer, apart from it, and no copy reads it any more.
        unsafe { ptr::copy_nonoverlapping(piece.as_ptr(), memory.pointer, piece.len()) };
        let stream = queue.stream.cu_stream();
        // SAFETY: the caller vouches for `to`; the buffer stays, unchanged, until the event below has come.
        let status = unsafe { sys::cuMemcpyHtoDAsync_v2(to, memory.pointer.cast(), piece.len(), stream) };
        check("a copy to the GPU", status)?;
        if let Err(error) = buffer.copied.record(&queue.stream) {
            // There is no event to wait for, so wait for all.
            let _ = queue.synchronize();
            return Err(failed("a copy to the GPU")(error));
        }
        self.next = 1 - self.next;
        Ok(())
    }
}

/// Memory of the host that the GPU reads by itself, while the program goes on.
struct Pinned {
    pointer: *mut u8,
    bytes: usize,
    queue: Arc<Queue>,
}

// SAFETY: it owns what it points to, which may be used and freed in any thread.
unsafe impl Send for Pinned {}

impl Pinned {
    fn new(queue: &Arc<Queue>, bytes: usize) -> Result<Self, CudaError> {
        queue.bind()?;
        let mut pointer = ptr::null_mut();
        // SAFETY: the pointer is to a variable of the type that the driver writes.
        let status = unsafe { sys::cuMemAllocHost_v2(&mut pointer, bytes) };
        check("allocating memory for copies", status)?;
        Ok(Self {
            pointer: pointer.cast(),
            bytes,
            queue: Arc::clone(queue),
        })
    }
}

impl Drop for Pinned {
    /// Comes after the last copy's event, or after the queue has run empty.
    fn drop(&mut self) {
        let _ = self.queue.bind();
        // SAFETY: the driver has allocated it, nobody else frees it, and no copy reads it any more.
        let _ = unsafe { sys::cuMemFreeHost(self.pointer.cast()) };
    }
}
