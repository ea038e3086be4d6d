//! Who may queue while something is recorded, and what memory recordings use.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    thread::{self, ThreadId},
};

use super::backend::Allocation;

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

    /// The number of a recording, which may use all memory that there is.
    fn keep(&mut self) -> u64 {
        let number = self.number();
        self.recordings.insert(number);
        number
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

    /// Runs `work` while nobody else queues anything.
    pub(super) fn alone<T>(&self, work: impl FnOnce() -> T) -> T {
        let _alone = self.queue.write().unwrap_or_else(PoisonError::into_inner);
        *lock(&self.recorder) = Some(thread::current().id());
        let done = work();
        *lock(&self.recorder) = None;
        done
    }

    /// Takes note of a recording that is made now, and numbers it.
    pub(super) fn keep(&self) -> u64 {
        lock(&self.kept).keep()
    }

    /// Gives back what only this recording may have used.
    pub(super) fn forget(&self, recording: u64) {
        lock(&self.kept).forget(recording);
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
        let (number, of_step) = allocate(&mut kept);
        let step = kept.keep();
        for _ in 0..3 {
            let (number, of_validation) = allocate(&mut kept);
            let validation = kept.keep();
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
