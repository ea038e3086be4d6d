//! The status of sinks.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::store::Cursor;

/// How a sink goes, for whoever asks.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) is_up: AtomicBool,
    pub(crate) delivered: AtomicI64,
    pub(crate) dropped: AtomicU64,
}

impl Status {
    pub(crate) fn new(name: &str, cursor: Cursor) -> Self {
        Self {
            name: name.to_owned(),
            is_up: AtomicBool::new(false),
            delivered: AtomicI64::new(cursor.delivered),
            dropped: AtomicU64::new(cursor.dropped),
        }
    }

    /// What it is called, without any secret.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether its peer is there and took what it was given last.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// How many inspections it is behind the newest one.
    pub(crate) fn behind(&self, newest: i64) -> u64 {
        u64::try_from(newest - self.delivered.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// How many it gave up since it was new.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
