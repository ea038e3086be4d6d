//! What all parts of a service share.

use std::{
    ops::Deref,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    counters::Counters,
    draft::Drafts,
    events::Events,
    line::{Job, Lines, Queue},
    making::Making,
    status::Status,
    store::Store,
    token::Token,
};

/// What all parts of a service share.
#[derive(Clone, Debug)]
pub(crate) struct Shared(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) lines: Lines,
    /// The lines that PLCs know, in the order of their registers. One that is not served now keeps its place. Empty without a PLC.
    pub(crate) places: Vec<String>,
    pub(crate) drafts: Drafts,
    pub(crate) queue: Arc<Queue<Job>>,
    pub(crate) store: Store,
    pub(crate) events: Events,
    pub(crate) token: Option<Token>,
    pub(crate) has_tls: bool,
    pub(crate) deadline: Duration,
    pub(crate) most_bytes: u64,
    pub(crate) allow: Vec<PathBuf>,
    /// Ends what goes on for ever.
    pub(crate) end: AtomicBool,
    /// How many pictures may be drawn at once.
    pub(crate) drawing: Semaphore,
    /// The turn of those who look at all good pictures of a line that is made.
    pub(crate) looking: Semaphore,
    /// How many calls with a picture as numbers may be read at once: each is in memory twice.
    pub(crate) inferring: Semaphore,
    /// How many pictures may be held in memory at once.
    pub(crate) held: Arc<Semaphore>,
    /// Room for large answers that wait to be read.
    pub(crate) answers: Arc<Semaphore>,
    pub(crate) counters: Counters,
    pub(crate) making: Arc<Making>,
    pub(crate) sinks: Vec<Arc<Status>>,
}

impl Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Shared {
    pub(crate) fn is_ending(&self) -> bool {
        self.end.load(Ordering::SeqCst)
    }
}
