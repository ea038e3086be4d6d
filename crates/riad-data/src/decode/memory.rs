//! A memory limit for all images that are decoded at the same time.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::DataError;

/// A number of bytes for all images that are being decoded at the same time. Clones share it.
///
/// The header of a file says how much it needs, before memory is allocated: for the file, its decoded pixels, the
/// decoder's own memory, and the copies on the way to values. If too little is left, decoding waits until others are
/// done. So a file is refused only if it needs more than the whole number alone.
///
/// What does not grow with the image is not counted: tables of decoders, less than 256 KiB for each image, and the directories of a
/// TIFF of thousands of pages, a few MiB. Nor is the image that comes back, once it is decoded.
#[derive(Clone)]
pub struct DecodeMemory {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    given_back: Condvar,
}

struct State {
    total: u64,
    taken: u64,
    /// The ticket of the next file to come, and the ticket of the file whose turn it is. So small files cannot overtake
    /// a large one forever.
    next: u64,
    turn: u64,
}

impl DecodeMemory {
    /// The default for the process: 1 GiB.
    pub const DEFAULT: u64 = 1 << 30;

    /// This number of bytes, separate from other limits.
    pub fn new(bytes: u64) -> Self {
        let state = State {
            total: bytes,
            taken: 0,
            next: 0,
            turn: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                given_back: Condvar::new(),
            }),
        }
    }

    /// The limit of the whole process: [`DEFAULT`](Self::DEFAULT) bytes until [`set_bytes`](Self::set_bytes) changes
    /// it. Readers and masks use it if they have no other limit.
    pub fn of_process() -> Self {
        static SHARED: OnceLock<DecodeMemory> = OnceLock::new();
        SHARED.get_or_init(|| Self::new(Self::DEFAULT)).clone()
    }

    /// The number of bytes.
    pub fn bytes(&self) -> u64 {
        self.lock().total
    }

    /// Changes the number of bytes. Images that are being decoded keep their memory.
    pub fn set_bytes(&self, bytes: u64) {
        self.lock().total = bytes;
        self.shared.given_back.notify_all();
    }

    /// Runs `work` with memory that it asks for as it learns what it needs. Where that is more than is left at the moment, `work`
    /// is begun anew once there is enough: nobody waits for memory while holding some, so that no two wait for each other.
    ///
    /// # Errors
    /// Those of `work`.
    pub(crate) fn within<T>(&self, work: impl Fn(&mut Lease<'_>) -> Result<T, Stop>) -> Result<T, DataError> {
        let mut wanted = 0;
        loop {
            let mut lease = self.wait_for(wanted);
            match work(&mut lease) {
                Ok(result) => return Ok(result),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Short(bytes)) => wanted = bytes,
            }
        }
    }

    /// Blocks until so many bytes are left.
    fn wait_for(&self, bytes: u64) -> Lease<'_> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        // The limit may have become lower in the meantime, and nobody must wait forever. So a file that is alone may
        // continue.
        while state.turn != number || (state.taken > 0 && state.left() < bytes) {
            state = self
                .shared
                .given_back
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.turn += 1;
        state.taken += bytes;
        self.shared.given_back.notify_all();
        Lease { memory: self, bytes }
    }

    /// No code that can panic runs under the lock, so the state is valid even if the lock is poisoned.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn left(&self) -> u64 {
        self.total.saturating_sub(self.taken)
    }
}

impl fmt::Debug for DecodeMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecodeMemory({} bytes)", self.bytes())
    }
}

impl PartialEq for DecodeMemory {
    /// Whether both are one limit: a clone is equal, and another limit of as many bytes is not.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for DecodeMemory {}

/// Memory that was taken, and is given back when this is dropped.
pub(crate) struct Lease<'a> {
    memory: &'a DecodeMemory,
    bytes: u64,
}

/// Why work with a [`Lease`] ended early.
pub(crate) enum Stop {
    /// The work must be started again with this number of bytes.
    Short(u64),
    Failed(DataError),
}

impl From<DataError> for Stop {
    fn from(error: DataError) -> Self {
        Self::Failed(error)
    }
}

impl Lease<'_> {
    /// Makes sure that the lease has this number of bytes. If the limit is lower, the error is `too_large` of the
    /// limit.
    ///
    /// # Errors
    /// [`Stop::Short`] if other leases have too many bytes at the moment.
    pub(crate) fn cover(&mut self, bytes: u64, too_large: impl FnOnce(u64) -> DataError) -> Result<(), Stop> {
        let mut state = self.memory.lock();
        if bytes > state.total {
            let total = state.total;
            drop(state);
            return Err(Stop::Failed(too_large(total)));
        }
        let Some(more) = bytes.checked_sub(self.bytes) else {
            return Ok(());
        };
        // The first in the queue goes first.
        if more > 0 && (state.left() < more || state.turn != state.next) {
            return Err(Stop::Short(bytes));
        }
        state.taken += more;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.memory.lock().taken -= self.bytes;
        self.memory.shared.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn too_large(total: u64) -> DataError {
        DataError::limit(Path::new("a"), format!("more than {total}"))
    }

    #[test]
    fn what_is_taken_at_once_never_exceeds_the_number() {
        let memory = DecodeMemory::new(100);
        let (taken, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (memory, taken, most) = (memory.clone(), &taken, &most);
                scope.spawn(move || {
                    for step in 0..200u64 {
                        let bytes = 1 + (thread * 37 + step * 11) % 100;
                        let result = memory.within(|lease| {
                            // As for a file: first its bytes are read, and then its header says what else it needs.
                            lease.cover(bytes / 3, too_large)?;
                            lease.cover(bytes, too_large)?;
                            most.fetch_max(taken.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                            std::thread::yield_now();
                            taken.fetch_sub(bytes, Ordering::SeqCst);
                            Ok(step)
                        });
                        assert_eq!(result.unwrap(), step);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 100);
        assert_eq!(memory.lock().taken, 0);
    }

    #[test]
    fn a_limit_is_equal_to_its_clones_alone() {
        let memory = DecodeMemory::new(100);
        assert_eq!(memory, memory.clone());
        assert_ne!(memory, DecodeMemory::new(100));
        assert_eq!(DecodeMemory::of_process(), DecodeMemory::of_process());
    }

    #[test]
    fn what_exceeds_it_alone_is_refused_and_others_go_on() {
        let memory = DecodeMemory::new(100);
        let ask = |bytes| memory.within(|lease| lease.cover(bytes, too_large));
        assert!(matches!(ask(101), Err(DataError::LimitExceeded { .. })));
        assert!(ask(100).is_ok());
        memory.set_bytes(101);
        assert!(ask(101).is_ok());
    }
}
