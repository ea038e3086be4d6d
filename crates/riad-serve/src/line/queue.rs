//! Pictures that wait to be scored.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// One row of jobs for each line, from which workers take in turn: a line that sends many pictures does not keep another one's waiting.
#[derive(Debug)]
pub(crate) struct Queue<Job> {
    state: Mutex<State<Job>>,
    /// Something came, or the queue was closed.
    came: Condvar,
    /// There is room again.
    left: Condvar,
    /// How many jobs of one line may wait.
    most: usize,
}

#[derive(Debug)]
struct State<Job> {
    rows: Vec<VecDeque<Job>>,
    /// The rows that no line has any more.
    free: Vec<usize>,
    /// The line whose turn it is.
    turn: usize,
    /// How many wait for room.
    patient: usize,
    is_closed: bool,
}

impl<Job> Queue<Job> {
    /// For lines of each of which `most` jobs may wait. There are none yet.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            state: Mutex::new(State {
                rows: Vec::new(),
                free: Vec::new(),
                turn: 0,
                patient: 0,
                is_closed: false,
            }),
            came: Condvar::new(),
            left: Condvar::new(),
            most,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<Job>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for one more line, and gives its place.
    pub(crate) fn add_row(&self) -> usize {
        let mut state = self.state();
        if let Some(row) = state.free.pop() {
            return row;
        }
        state.rows.push(VecDeque::new());
        state.rows.len() - 1
    }

    /// Gives a line's place back, for the next line. Jobs that still wait there are given out: each knows its line.
    pub(crate) fn remove_row(&self, line: usize) {
        self.state().free.push(line);
    }

    /// Has a job wait, unless too many wait or the queue was closed: then it comes back.
    pub(crate) fn push(&self, line: usize, job: Job) -> Result<(), Job> {
        let mut state = self.state();
        let is_closed = state.is_closed;
        match state.rows.get_mut(line) {
            Some(row) if !is_closed && row.len() < self.most => row.push_back(job),
            _ => return Err(job),
        }
        self.came.notify_one();
        Ok(())
    }

    /// The same, but waits for room. A job comes back only if the queue was closed.
    pub(crate) fn push_patiently(&self, line: usize, mut job: Job) -> Result<(), Job> {
        loop {
            job = match self.push(line, job) {
                Ok(()) => return Ok(()),
                Err(job) => job,
            };
            let mut state = self.state();
            if state.is_closed || line >= state.rows.len() {
                return Err(job);
            }
            if state.rows[line].len() >= self.most {
                state.patient += 1;
                let mut state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.patient -= 1;
            }
        }
    }

    /// The next job, for which it waits; `None` when the queue was closed and is empty.
    pub(crate) fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            let lines = state.rows.len();
            let found = (0..lines)
                .map(|step| (state.turn + step) % lines)
                .find(|&line| !state.rows[line].is_empty());
            if let Some(line) = found {
                state.turn = (line + 1) % lines;
                let job = state.rows[line].pop_front();
                self.left.notify_all();
                return job;
            }
            if state.is_closed {
                return None;
            }
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many jobs of a line wait.
    pub(crate) fn waiting(&self, line: usize) -> usize {
        self.state().rows.get(line).map_or(0, VecDeque::len)
    }

    /// Takes no more jobs. Those that wait are still given out.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.came.notify_all();
        self.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn lines_take_turns_however_much_one_of_them_sends() {
        let queue = Queue::new(4);
        assert_eq!([queue.add_row(), queue.add_row(), queue.add_row()], [0, 1, 2]);
        for job in ["a1", "a2", "a3", "a4"] {
            queue.push(0, job).unwrap();
        }
        queue.push(2, "c1").unwrap();
        queue.push(2, "c2").unwrap();
        assert_eq!(queue.push(0, "a5"), Err("a5"), "its row is full");
        assert_eq!(queue.push(3, "d"), Err("d"), "there is no such line");
        assert_eq!(queue.waiting(0), 4);
        let order: Vec<_> = (0..6).map_while(|_| queue.next()).collect();
        assert_eq!(order, ["a1", "c1", "a2", "c2", "a3", "a4"]);
    }

    #[test]
    fn the_place_of_a_line_that_went_is_the_next_ones() {
        let queue = Queue::new(2);
        assert_eq!([queue.add_row(), queue.add_row()], [0, 1]);
        queue.push(0, "a1").unwrap();
        queue.remove_row(0);
        assert_eq!([queue.add_row(), queue.add_row()], [0, 2]);
        assert_eq!(queue.next(), Some("a1"), "what waited is not lost");
    }

    #[test]
    fn what_waits_is_still_given_out_when_it_is_closed() {
        let queue = Arc::new(Queue::new(1));
        queue.add_row();
        queue.push(0, 1).unwrap();
        let patient = thread::spawn({
            let queue = queue.clone();
            move || queue.push_patiently(0, 2)
        });
        while queue.state().patient == 0 {
            assert!(!patient.is_finished(), "its row is full, and it did not wait");
            thread::yield_now();
        }
        assert_eq!(queue.next(), Some(1));
        assert_eq!(patient.join().unwrap(), Ok(()));
        queue.close();
        assert_eq!(queue.push(0, 3), Err(3));
        assert_eq!(queue.push_patiently(0, 3), Err(3));
        assert_eq!((queue.next(), queue.next()), (Some(2), None));
    }
}
