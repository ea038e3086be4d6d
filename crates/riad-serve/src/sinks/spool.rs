//! The inspections that a sink has not delivered yet.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{SinkOptions, Status};
use crate::{
    Result,
    store::{Cursor, Inspection, Store},
};

/// How many inspections are read at once.
pub(super) const BATCH: usize = 32;

/// How often it is kept how far a sink is. What was delivered since then is delivered once more after a kill.
const KEEP: Duration = Duration::from_millis(500);

/// How often at most the same trouble is told of.
const TELL: Duration = Duration::from_secs(60);

/// Why inspections are dropped that a sink should have had before.
pub(super) const BEHIND: &str = "it is too far behind";

/// What a sink has still to deliver: the inspections behind its cursor.
#[derive(Debug)]
pub(super) struct Spool {
    store: Store,
    status: Arc<Status>,
    cursor: Cursor,
    /// As it is on the disk, and since when.
    kept: (Cursor, Instant),
    most_behind: i64,
    most_age: Option<Duration>,
    news: watch::Receiver<i64>,
    /// When it was told last that inspections are given up, and how many had been by then.
    told: (Option<Instant>, u64),
    /// When it was told last that the disk does not take how far the sink is.
    failed: Option<Instant>,
}

impl Spool {
    pub(super) fn new(
        store: Store,
        status: Arc<Status>,
        cursor: Cursor,
        options: &SinkOptions,
        news: watch::Receiver<i64>,
    ) -> Self {
        Self {
            store,
            status,
            cursor,
            kept: (cursor, Instant::now()),
            most_behind: i64::try_from(options.most_behind).unwrap_or(i64::MAX),
            most_age: options.most_age,
            news,
            told: (None, cursor.dropped),
            failed: None,
        }
    }

    /// What the sink is called.
    pub(super) fn name(&self) -> &str {
        self.status.name()
    }

    /// Says whether the peer takes what it is given; whether that is new.
    pub(super) fn is_up(&self, is_up: bool) -> bool {
        self.status.is_up.swap(is_up, Ordering::Relaxed) != is_up
    }

    /// Waits for an inspection that was not there at the last call.
    pub(super) async fn news(&mut self) {
        if self.news.changed().await.is_err() {
            // Nobody can bring any more.
            std::future::pending().await
        }
    }

    /// The next inspections, the oldest first. What is beyond the limits is given up.
    pub(super) fn next(&mut self) -> Result<Vec<Inspection>> {
        let newest = self.store.newest()?;
        let oldest = newest.saturating_sub(self.most_behind);
        if self.cursor.delivered < oldest {
            let dropped = self.store.count_between(self.cursor.delivered, oldest)?;
            self.advance(oldest);
            self.dropped(dropped, BEHIND);
        }
        loop {
            let mut batch = self.store.after(self.cursor.delivered, BATCH)?;
            let late = batch.iter().take_while(|inspection| self.is_late(inspection)).count();
            if let Some(last) = batch.drain(..late).next_back() {
                self.advance(last.id);
                self.dropped(late as u64, BEHIND);
                continue;
            }
            if batch.is_empty() {
                // What is left up to the newest was only tried on the page.
                self.advance(newest);
            }
            return Ok(batch);
        }
    }

    fn is_late(&self, inspection: &Inspection) -> bool {
        let age = SystemTime::now()
            .duration_since(inspection.received)
            .unwrap_or_default();
        self.most_age.is_some_and(|most| age > most)
    }

    /// The peer has acknowledged this inspection and all before it.
    pub(super) fn advance(&mut self, id: i64) {
        self.cursor.delivered = self.cursor.delivered.max(id);
        self.status.delivered.store(self.cursor.delivered, Ordering::Relaxed);
    }

    /// So many inspections will never be delivered, for this reason.
    pub(super) fn dropped(&mut self, count: u64, why: &str) {
        self.cursor.dropped += count;
        self.status.dropped.store(self.cursor.dropped, Ordering::Relaxed);
        if self.cursor.dropped > self.told.1 && self.told.0.is_none_or(|at| at.elapsed() >= TELL) {
            tracing::warn!(
                "sink {}: {} inspections were dropped: {why}",
                self.name(),
                self.cursor.dropped - self.told.1
            );
            self.told = (Some(Instant::now()), self.cursor.dropped);
        }
    }

    /// Keeps on the disk how far the sink is, if it has been kept long ago. Where that fails, as on a full disk, it goes on delivering.
    pub(super) fn keep_sometimes(&mut self) {
        if self.kept.1.elapsed() < KEEP {
            return;
        }
        if let Err(error) = self.keep() {
            self.kept.1 = Instant::now();
            if self.failed.is_none_or(|at| at.elapsed() >= TELL) {
                tracing::warn!("sink {}: {error}; what it has delivered may come twice", self.name());
                self.failed = Some(Instant::now());
            }
        }
    }

    /// Keeps on the disk how far the sink is.
    pub(super) fn keep(&mut self) -> Result<()> {
        if self.kept.0 != self.cursor {
            self.store.keep_cursor(self.status.name(), self.cursor)?;
        }
        self.kept = (self.cursor, Instant::now());
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Whatever ended its sink, nothing is delivered any more.
        self.is_up(false);
    }
}
