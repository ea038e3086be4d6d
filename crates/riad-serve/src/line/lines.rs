//! The lines of a service, which may come and go while it runs.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use riad::{Compute, FalsePositiveRate};

use super::{Job, Line, LineOptions, Queue};
use crate::{Result, store::Store};

/// The lines of a service.
#[derive(Debug)]
pub(crate) struct Lines {
    all: RwLock<Vec<Arc<Line>>>,
    queue: Arc<Queue<Job>>,
    rate: FalsePositiveRate,
    audit: Option<u32>,
    compute: Compute,
}

impl Lines {
    pub(crate) fn new(queue: Arc<Queue<Job>>, rate: FalsePositiveRate, audit: Option<u32>, compute: Compute) -> Self {
        Self {
            all: RwLock::default(),
            queue,
            rate,
            audit,
            compute,
        }
    }

    /// Those that are there now.
    pub(crate) fn all(&self) -> Vec<Arc<Line>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The line of a name.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Line>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|line| line.name == name).cloned()
    }

    /// Opens one more, which is served from now on. Pictures may come into a folder.
    pub(crate) fn open(&self, options: &LineOptions, watch: Option<&Path>, store: &Store) -> Result<Arc<Line>> {
        let mut opened = Line::open(options, watch, store, self.rate, self.audit, &self.compute)?;
        // One that cannot be opened takes no place.
        opened.index = self.queue.add_row();
        let line = Arc::new(opened);
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.push(line.clone());
        Ok(line)
    }

    /// Serves one no longer.
    pub(crate) fn remove(&self, name: &str) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = all.iter().position(|line| line.name == name) {
            self.queue.remove_row(all.remove(place).index);
        }
    }

    /// Where and how to compute.
    pub(crate) fn compute(&self) -> &Compute {
        &self.compute
    }
}
