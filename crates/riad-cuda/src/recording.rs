//! Work that is asked for again and again, recorded.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    thread::{self, ThreadId},
};

use crate::{
    CudaError,
    backend::{Allocation, Recorded},
    gpu::Gpu,
};

/// Keeps threads apart while one of them records, and memory alive that recordings use.
#[derive(Default)]
pub(crate) struct Recordings {
    /// Held to record; shared by whoever queues something meanwhile, which would be recorded instead of done.
    queue: RwLock<()>,
    recorder: Mutex<Option<ThreadId>>,
    kept: Mutex<Kept>,
}

/// Allocations and recordings are numbered in the order in which they were made: a recording can use none that is younger.
#[derive(Default)]
struct Kept {
    next: u64,
    recordings: BTreeSet<u64>,
    /// What was dropped while there was a recording that may use it.
    memory: Vec<(u64, Allocation)>,
}

impl Kept {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn may_be_used(recordings: &BTreeSet<u64>, allocation: u64) -> bool {
        recordings.last().is_some_and(|&recording| recording > allocation)
    }

    /// Gives memory back, at once or with the last recording that may use it.
    fn free(&mut self, number: u64, memory: Allocation) {
        if Self::may_be_used(&self.recordings, number) {
            self.memory.push((number, memory));
        }
    }

    fn forget(&mut self, recording: u64) {
        self.recordings.remove(&recording);
        let recordings = &self.recordings;
        self.memory.retain(|&(number, _)| Self::may_be_used(recordings, number));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recordings {
    /// To be held while something is queued.
    pub(crate) fn turn(&self) -> Option<RwLockReadGuard<'_, ()>> {
        if *lock(&self.recorder) == Some(thread::current().id()) {
            return None;
        }
        Some(self.queue.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of an allocation that is made now.
    pub(crate) fn number(&self) -> u64 {
        lock(&self.kept).number()
    }

    /// Gives an allocation back, at once or as soon as no recording may use it.
    pub(crate) fn free(&self, number: u64, memory: Allocation) {
        lock(&self.kept).free(number, memory);
    }
}

/// Work that is the same each time: the first time it is queued piece by piece, then recorded, where the GPU can, and queued
/// whole from then on, at a fraction of the cost.
#[derive(Default)]
pub struct Repeated {
    was_done: bool,
    /// Not every device can, and not everything that cuDNN does.
    cannot_be_recorded: bool,
    recording: Option<Recording>,
}

struct Recording {
    gpu: Gpu,
    number: u64,
    /// There until it is dropped.
    recorded: Option<Box<dyn Recorded>>,
}

impl Repeated {
    /// Queues `work`. All calls must be with the same: the same functions of this crate on the same buffers with the same
    /// arguments. It allocates, writes and reads nothing.
    ///
    /// # Errors
    /// What `work` fails with, or the device.
    pub fn run<E: From<CudaError>>(&mut self, gpu: &Gpu, work: impl Fn() -> Result<(), E>) -> Result<(), E> {
        if let Some(Recording {
            recorded: Some(recorded),
            ..
        }) = &self.recording
        {
            let _turn = gpu.recordings().turn();
            return Ok(recorded.run()?);
        }
        // Kernels are loaded when they are first called, which cannot be recorded.
        if mem::replace(&mut self.was_done, true) && !self.cannot_be_recorded {
            match gpu.record(&work) {
                Ok(Some(recording)) => {
                    self.recording = Some(recording);
                    return self.run(gpu, work);
                }
                // If it was not the recording that failed, the work fails again below.
                Ok(None) | Err(_) => self.cannot_be_recorded = true,
            }
        }
        work()
    }
}

impl Gpu {
    fn record<E: From<CudaError>>(&self, work: impl Fn() -> Result<(), E>) -> Result<Option<Recording>, E> {
        let recordings = self.recordings();
        let _alone = recordings.queue.write().unwrap_or_else(PoisonError::into_inner);
        if !self.backend().begin_recording()? {
            return Ok(None);
        }
        *lock(&recordings.recorder) = Some(thread::current().id());
        let done = work();
        *lock(&recordings.recorder) = None;
        let recorded = self.backend().end_recording();
        done?;
        let recorded = Some(recorded?);
        let mut kept = lock(&recordings.kept);
        let number = kept.number();
        kept.recordings.insert(number);
        Ok(Some(Recording {
            gpu: self.clone(),
            number,
            recorded,
        }))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.recorded = None;
        lock(&self.gpu.recordings().kept).forget(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A run of training records its step once and validates with new memory and recordings again and again.
    #[test]
    fn memory_stays_as_long_as_a_recording_may_use_it_and_no_longer() {
        let (live, mut kept) = (Arc::new(AtomicUsize::new(0)), Kept::default());
        let allocate = |kept: &mut Kept| {
            live.fetch_add(1, Ordering::Relaxed);
            let memory = Allocation {
                pointer: 0,
                _memory: Box::new(Counted(Arc::clone(&live))),
            };
            (kept.number(), memory)
        };
        let record = |kept: &mut Kept| {
            let number = kept.number();
            kept.recordings.insert(number);
            number
        };
        let (number, of_step) = allocate(&mut kept);
        let step = record(&mut kept);
        for _ in 0..3 {
            let (number, of_validation) = allocate(&mut kept);
            let validation = record(&mut kept);
            kept.free(number, of_validation);
            assert_eq!(live.load(Ordering::Relaxed), 2);
            kept.forget(validation);
            assert_eq!(live.load(Ordering::Relaxed), 1);
        }
        kept.free(number, of_step);
        assert_eq!(live.load(Ordering::Relaxed), 1);
        kept.forget(step);
        assert_eq!(live.load(Ordering::Relaxed), 0);
    }
}
