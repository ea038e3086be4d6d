//! A cache of loaded images.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use crate::DataError;

/// Keeps loaded items by their index, while there is room for them.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    /// Bytes that are still free.
    left: AtomicUsize,
    kept: Vec<OnceLock<Arc<T>>>,
}

impl<T> Cache<T> {
    /// A cache of at most `bytes` for items with an index below `count`.
    pub(crate) fn new(count: usize, bytes: usize) -> Self {
        Self {
            left: AtomicUsize::new(bytes),
            kept: std::iter::repeat_with(OnceLock::new).take(count).collect(),
        }
    }

    /// The item at `index`, from the cache or by `load`. `bytes` is a function that returns its size in bytes.
    ///
    /// # Errors
    /// Those of `load`; [`DataError::Parameter`] if there is no such index.
    pub(crate) fn get(
        &self,
        index: usize,
        bytes: impl Fn(&T) -> usize,
        load: impl FnOnce() -> Result<T, DataError>,
    ) -> Result<Arc<T>, DataError> {
        let Some(kept) = self.kept.get(index) else {
            let reason = format!("there is no image {index}: the data set has {}", self.kept.len());
            return Err(DataError::Parameter(reason));
        };
        if let Some(item) = kept.get() {
            return Ok(Arc::clone(item));
        }
        let item = Arc::new(load()?);
        let bytes = bytes(&item);
        let reserve = |left: usize| left.checked_sub(bytes);
        // Two threads may load the same item at the same time; the later one gives its reservation back.
        if self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve)
            .is_ok()
            && kept.set(Arc::clone(&item)).is_err()
        {
            self.left.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(item)
    }
}
