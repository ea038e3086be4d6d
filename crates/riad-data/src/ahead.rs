//! Computes results before they are needed.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// An iterator over `work(0)`, `work(1)`, … in order. The consumer's rayon pool computes the next few items while the
/// consumer does other work.
///
/// If no thread has begun the next item, the consumer computes it itself. So there is always progress, even if the
/// consumer occupies the only thread of the pool. The consumer waits only for work that already runs. `work` must not
/// call rayon: its thread could then run the consumer, which would wait for this thread.
///
/// If the iterator is dropped, items that have not begun are not computed.
pub(crate) struct Ahead<T> {
    work: Arc<dyn Fn(usize) -> T + Send + Sync>,
    /// Number of all items.
    count: usize,
    /// Number of items that may be begun or done before the consumer asks for them.
    window: usize,
    /// The index of the first item that the pool has not got yet.
    next: usize,
    handed_out: VecDeque<(usize, Arc<Slot<T>>)>,
}

/// The place of one item's result.
struct Slot<T> {
    state: Mutex<State<T>>,
    done: Condvar,
}

enum State<T> {
    Waiting,
    /// A thread works on it, or its result is no longer needed.
    Taken,
    /// The result, or what `work` panicked with.
    Done(Result<T, Box<dyn Any + Send>>),
}

impl<T: Send + 'static> Ahead<T> {
    pub(crate) fn new(count: usize, window: usize, work: impl Fn(usize) -> T + Send + Sync + 'static) -> Self {
        Self {
            work: Arc::new(work),
            count,
            window,
            next: 0,
            handed_out: VecDeque::new(),
        }
    }

    /// Number of items that are still to come.
    pub(crate) fn remaining(&self) -> usize {
        self.count - self.next + self.handed_out.len()
    }

    fn hand_out(&mut self) {
        let index = self.next;
        self.next += 1;
        let slot = Arc::new(Slot {
            state: Mutex::new(State::Waiting),
            done: Condvar::new(),
        });
        self.handed_out.push_back((index, Arc::clone(&slot)));
        let work = Arc::clone(&self.work);
        // First in, first out: the item that is needed first is computed first.
        rayon::spawn_fifo(move || {
            if slot.take() {
                let result = catch_unwind(AssertUnwindSafe(|| work(index)));
                *slot.lock() = State::Done(result);
                slot.done.notify_all();
            }
        });
    }
}

impl<T: Send + 'static> Iterator for Ahead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        // The item asked for does not count as ahead.
        while self.next < self.count && self.handed_out.len() <= self.window {
            self.hand_out();
        }
        let (index, slot) = self.handed_out.pop_front()?;
        if slot.take() {
            return Some((self.work)(index));
        }
        match slot.wait() {
            Ok(result) => Some(result),
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        for (_, slot) in &self.handed_out {
            slot.take();
        }
    }
}

impl<T> Slot<T> {
    /// Claims the item; false if it was claimed before.
    fn take(&self) -> bool {
        let mut state = self.lock();
        let is_waiting = matches!(*state, State::Waiting);
        if is_waiting {
            *state = State::Taken;
        }
        is_waiting
    }

    /// Waits until the thread that claimed the item has finished it.
    fn wait(&self) -> Result<T, Box<dyn Any + Send>> {
        let mut state = self.lock();
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Done(result) => return result,
                unfinished => *state = unfinished,
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No code that can panic runs under the lock, so the state is valid even if the lock is poisoned.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn order_is_kept_whatever_the_threads_and_window() {
        for threads in [1, 2, 5] {
            for window in [0, 1, 3, 100] {
                let squares = pool(threads).install(|| Ahead::new(20, window, |i| i * i).collect::<Vec<_>>());
                assert_eq!(squares, (0..20).map(|i| i * i).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_consumer_outside_of_any_pool_is_served() {
        let mut ahead = Ahead::new(20, 4, |i| i);
        assert_eq!(ahead.remaining(), 20);
        assert_eq!(ahead.next(), Some(0));
        assert_eq!(ahead.remaining(), 19);
        assert_eq!(ahead.last(), Some(19));
    }

    #[test]
    fn items_are_done_while_the_consumer_is_busy() {
        let (sender, done) = mpsc::channel();
        let mut ahead = pool(1).install(|| Ahead::new(10, 3, move |i| sender.send(i).unwrap()));
        ahead.next();
        // Without anyone asking for them, the next three are done, and no fourth.
        let mut seen: Vec<_> = (0..4).map(|_| done.recv().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
        drop(ahead);
        assert_eq!(done.iter().count(), 0);
    }

    #[test]
    fn dropping_stops_the_work() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&begun);
        let pool = pool(1);
        pool.install(|| {
            // This thread is the pool's only one: nothing of what is handed out can begin before the drop.
            let mut ahead = Ahead::new(1000, 10, move |_| counter.fetch_add(1, Ordering::SeqCst));
            ahead.next();
        });
        // Whatever was handed out has run when this, handed out later, has.
        pool.scope_fifo(|scope| scope.spawn_fifo(|_| ()));
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panic_reaches_the_consumer() {
        for threads in [1, 2] {
            let mut ahead = Ahead::new(3, 3, |i| assert_ne!(i, 1, "no ones"));
            let result = pool(threads).install(|| {
                ahead.next();
                catch_unwind(AssertUnwindSafe(|| ahead.next()))
            });
            assert!(result.is_err());
            assert_eq!(ahead.next(), Some(()));
        }
    }
}
