//! What is counted of requests.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper ends of the histogram's parts, in seconds.
pub(crate) const ENDS: [f64; 12] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// What is counted of requests.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) parts: [AtomicU64; ENDS.len()],
    pub(crate) requests: AtomicU64,
    pub(crate) micros: AtomicU64,
    pub(crate) busy: AtomicU64,
    pub(crate) late: AtomicU64,
}

impl Counters {
    /// A picture was judged, or given up.
    pub(crate) fn took(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(part) = ENDS.iter().position(|end| seconds <= *end) {
            self.parts[part].fetch_add(1, Ordering::Relaxed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// A picture was refused because too many wait.
    pub(crate) fn busy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// A picture was not judged in time.
    pub(crate) fn late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }
}
