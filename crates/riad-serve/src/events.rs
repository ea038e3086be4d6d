//! Events for all subscribers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::Serialize;
use tokio::sync::{broadcast, watch};

/// How many events somebody who listens may be behind. Who is further behind misses the oldest, and sees so by their numbers.
const BEHIND: usize = 256;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A picture was judged and stored. Its data is the inspection.
    Inspection,
    /// An inspection got a label, or lost it. Its data is the inspection.
    Label,
    /// The state of a line has changed. Its data is the line.
    Line,
    /// A version of a line's model was added, made progress, or was put to use. Its data is the version with its line.
    Version,
    /// A line that is being made is in another state: what is known of it.
    Making,
    /// Which lines there are has changed: nothing more.
    Lines,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::Inspection => "inspection",
            Self::Label => "label",
            Self::Line => "line",
            Self::Version => "version",
            Self::Making => "making",
            Self::Lines => "lines",
        }
    }
}

/// An event as it goes over the wire.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) name: &'static str,
    /// JSON.
    pub(crate) data: String,
}

/// Tells events to all who listen.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Arc<Sent>>,
    next: Arc<AtomicU64>,
    /// The number of the newest inspection.
    newest: Arc<watch::Sender<i64>>,
}

impl Events {
    /// For a store whose newest inspection has this number.
    pub(crate) fn new(newest: i64) -> Self {
        Self {
            sender: broadcast::channel(BEHIND).0,
            next: Arc::new(AtomicU64::new(1)),
            newest: Arc::new(watch::Sender::new(newest)),
        }
    }

    /// The newest inspection has this number.
    pub(crate) fn stored(&self, id: i64) {
        self.newest.send_replace(id);
    }

    /// Tells of an event, with the object that it is about.
    pub(crate) fn send(&self, event: Event, about: &impl Serialize) {
        // Nobody may listen, and then nothing is written down.
        if self.sender.receiver_count() == 0 {
            return;
        }
        if let Ok(data) = serde_json::to_string(about) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let name = event.name();
            let _ = self.sender.send(Arc::new(Sent { number, name, data }));
        }
    }

    /// The number of the newest inspection, for those that read the store when there is something new.
    pub(crate) fn newest(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Sent>> {
        self.sender.subscribe()
    }
}
