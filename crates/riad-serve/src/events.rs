//! What happens, told to all who listen.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::Serialize;
use tokio::sync::broadcast;

use crate::{line::LineState, review::Version, store::Inspection};

/// How many events somebody who listens may be behind. Who is further behind misses the oldest, and sees so by their numbers.
const BEHIND: usize = 256;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Event {
    /// A picture was judged, and is stored.
    Inspection(Box<Inspection>),
    /// An inspection got a label, or lost it.
    Label(Box<Inspection>),
    /// A line is in another state.
    Line(Box<LineState>),
    /// A version of a line's model came, went on or was put to use.
    Version {
        /// The line.
        line: String,
        /// The version.
        #[serde(flatten)]
        version: Version,
    },
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Inspection(_) => "inspection",
            Self::Label(_) => "label",
            Self::Line(_) => "line",
            Self::Version { .. } => "version",
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
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::channel(BEHIND).0,
            next: Arc::new(AtomicU64::new(1)),
        }
    }

    pub(crate) fn send(&self, event: Event) {
        // Nobody may listen, and then nothing is written down.
        if self.sender.receiver_count() == 0 {
            return;
        }
        if let Ok(data) = serde_json::to_string(&event) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let name = event.name();
            let _ = self.sender.send(Arc::new(Sent { number, name, data }));
        }
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Sent>> {
        self.sender.subscribe()
    }
}
