//! Memory of a GPU that is none: between guards, and known by address.
#![allow(unsafe_code)] // Memory is addresses, as on a GPU.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::CudaError;

/// Bytes on both sides of an allocation that nothing may write, which also keep its start aligned.
const GUARD: usize = 256;

/// What they repeat: a NaN as f32 and as bf16, and a signalling one, which comes out changed from any calculation.
const PATTERN: [u8; 2] = [0xa5, 0xff];

/// Bytes that the device says it has.
pub(super) const MEMORY: usize = 4_000_000_000;

/// The device's one queue: kernels keep their state in static variables, and what callers on other threads ask for must
/// not meet halfway.
pub(super) static QUEUE: Mutex<()> = Mutex::new(());

pub(super) fn failed(what: &str, status: impl ToString) -> CudaError {
    CudaError::Failed {
        what: what.to_owned(),
        status: status.to_string(),
    }
}

/// A lock that outlives a panic: what it guards is whole at all times.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn pointer(address: u64) -> *mut u8 {
    ptr::with_exposed_provenance_mut(address as usize)
}

/// Where allocations begin that have not been given back, and how long they are.
#[derive(Default)]
pub(super) struct Live(Mutex<BTreeMap<u64, usize>>);

impl Live {
    /// Whether the bytes are of one allocation.
    pub(super) fn check(&self, what: &str, address: u64, bytes: usize) -> Result<(), CudaError> {
        let live = lock(&self.0);
        let holds = |(&start, &length): (&u64, &usize)| {
            let from = address - start;
            from.checked_add(bytes as u64).is_some_and(|end| end <= length as u64)
        };
        if bytes == 0 || live.range(..=address).next_back().is_some_and(holds) {
            Ok(())
        } else {
            Err(failed(
                what,
                format!("no allocation holds the {bytes} bytes at {address:#x}"),
            ))
        }
    }
}

/// Zeros between guards.
pub(super) struct Memory {
    /// Of the first guard.
    base: u64,
    bytes: usize,
    live: Arc<Live>,
}

impl Memory {
    pub(super) fn new(bytes: usize, live: &Arc<Live>) -> Result<Self, CudaError> {
        let no_memory = CudaError::Memory { bytes };
        if bytes > MEMORY {
            return Err(no_memory);
        }
        let layout = Self::layout(bytes).ok_or(no_memory.clone())?;
        // SAFETY: the layout has the guards' bytes at least.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return Err(no_memory);
        }
        let memory = Self {
            base: base.expose_provenance() as u64,
            bytes,
            live: Arc::clone(live),
        };
        for guard in memory.guards() {
            for (i, address) in guard.enumerate() {
                // SAFETY: the address is in the memory that was just allocated.
                unsafe { pointer(address).write(PATTERN[i % PATTERN.len()]) };
            }
        }
        lock(&live.0).insert(memory.address(), bytes);
        Ok(memory)
    }

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes.checked_add(2 * GUARD)?, GUARD).ok()
    }

    pub(super) fn address(&self) -> u64 {
        self.base + GUARD as u64
    }

    fn guards(&self) -> [std::ops::Range<u64>; 2] {
        let guard = |start: u64| start..start + GUARD as u64;
        [guard(self.base), guard(self.address() + self.bytes as u64)]
    }

    /// The first byte of the guards that has been written, counted from the allocation's start.
    fn damage(&self) -> Option<i64> {
        let damaged = |(i, address): &(usize, u64)| {
            // SAFETY: the address is in this memory, which is initialised.
            let value = unsafe { pointer(*address).read() };
            value != PATTERN[i % PATTERN.len()]
        };
        let mut addresses = self.guards().into_iter().flat_map(|guard| guard.enumerate());
        let (_, address) = addresses.find(damaged)?;
        Some(address.wrapping_sub(self.address()) as i64)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _turn = lock(&QUEUE);
        lock(&self.live.0).remove(&self.address());
        let damage = self.damage();
        if let Some(layout) = Self::layout(self.bytes) {
            // SAFETY: it was allocated with the layout of as many bytes, and is not used after this.
            unsafe { dealloc(pointer(self.base), layout) };
        }
        if let Some(at) = damage {
            let message = format!(
                "byte {at} of an allocation of {} bytes has been written: a kernel writes beyond what it was given",
                self.bytes
            );
            if std::thread::panicking() {
                eprintln!("{message}");
            } else {
                panic!("{message}");
            }
        }
    }
}
