//! Images in batches, ready before the network asks for them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, atomic::AtomicUsize, atomic::Ordering};

use crate::ahead::Ahead;
use crate::resize::load_with_size;
use crate::{DataError, Image, Limits, LoadedImage, load};

/// Images of one size, loaded when needed and kept in memory as far as they fit.
///
/// Clones share what they keep.
#[derive(Clone, Debug)]
pub struct Dataset {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    paths: Vec<PathBuf>,
    height: usize,
    width: usize,
    limits: Limits,
    /// Bytes of images that may be kept from now on.
    cache_left: AtomicUsize,
    kept: Vec<OnceLock<Arc<Image>>>,
}

/// Some images of a [`Dataset`], stacked.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Which images these are.
    pub indices: Vec<usize>,
    /// One [`Image::data`] after the other: batch × 3 × height × width values in [0, 1].
    pub images: Vec<f32>,
}

impl Dataset {
    /// Images to be resized to `height` × `width`. At most `cache_bytes` of resized images (12 · height · width bytes
    /// each) are kept, so that they are decoded but once; with 0, none. Nothing is read yet.
    pub fn new(paths: Vec<PathBuf>, height: usize, width: usize, limits: Limits, cache_bytes: usize) -> Self {
        let kept = paths.iter().map(|_| OnceLock::new()).collect();
        let cache_left = AtomicUsize::new(cache_bytes);
        Self {
            inner: Arc::new(Inner {
                paths,
                height,
                width,
                limits,
                cache_left,
                kept,
            }),
        }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.inner.paths.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.inner.paths.is_empty()
    }

    /// The file of each image.
    pub fn paths(&self) -> &[PathBuf] {
        &self.inner.paths
    }

    /// One image, from memory or its file.
    ///
    /// # Errors
    /// As [`load`]; [`DataError::Parameter`] if there is no such index.
    pub fn get(&self, index: usize) -> Result<Arc<Image>, DataError> {
        self.inner.get(index)
    }

    /// The images of `order` in batches of `batch_size`; the last one may be smaller. An index may occur repeatedly.
    ///
    /// While the consumer works on one batch, the next two are loaded on the rayon pool that it belongs to (the global
    /// one outside of any). Batches are the same whatever the number of threads; a consumer that runs on the pool's
    /// only thread loads for itself. Dropping the iterator stops the loading. A batch with an image that cannot be
    /// loaded is an error (that of its first such image), and the batches after it still come.
    ///
    /// # Errors
    /// The items' errors are those of [`Dataset::get`].
    ///
    /// # Panics
    /// If `batch_size` is 0.
    pub fn batches(&self, order: Vec<usize>, batch_size: usize) -> Batches {
        assert!(batch_size > 0, "a batch must hold at least one image");
        let inner = Arc::clone(&self.inner);
        let count = order.len();
        let work = move |position: usize| {
            let index = order[position];
            (index, inner.get(index))
        };
        Batches {
            images: Ahead::new(count, batch_size.saturating_mul(2), work),
            batch_size,
        }
    }
}

impl Inner {
    fn get(&self, index: usize) -> Result<Arc<Image>, DataError> {
        let Some((path, kept)) = self.paths.get(index).zip(self.kept.get(index)) else {
            let reason = format!("there is no image {index}: the data set has {}", self.paths.len());
            return Err(DataError::Parameter(reason));
        };
        if let Some(image) = kept.get() {
            return Ok(Arc::clone(image));
        }
        let image = Arc::new(load(path, self.height, self.width, &self.limits)?);
        let bytes = size_of_val(image.data.as_slice());
        let reserve = |left: usize| left.checked_sub(bytes);
        // Two threads may load the same image at the same time; the later one gives its reservation back.
        if self
            .cache_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve)
            .is_ok()
            && kept.set(Arc::clone(&image)).is_err()
        {
            self.cache_left.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(image)
    }
}

/// The iterator of [`Dataset::batches`].
pub struct Batches {
    images: Ahead<(usize, Result<Arc<Image>, DataError>)>,
    batch_size: usize,
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let loaded: Vec<_> = self.images.by_ref().take(self.batch_size).collect();
        if loaded.is_empty() {
            return None;
        }
        let mut batch = Batch {
            indices: Vec::with_capacity(loaded.len()),
            images: Vec::new(),
        };
        for (index, image) in loaded {
            match image {
                Ok(image) => {
                    batch.indices.push(index);
                    batch.images.extend_from_slice(&image.data);
                }
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(batch))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let batches = self.images.remaining().div_ceil(self.batch_size);
        (batches, Some(batches))
    }
}

impl ExactSizeIterator for Batches {}

/// Loads files one after the other, in their order, ahead of the consumer; for scoring, where a file that cannot be
/// read must not keep the others from being scored.
///
/// A few images more than the rayon pool has threads are loaded ahead; all else is as with [`Dataset::batches`].
pub fn load_ahead(
    paths: Vec<PathBuf>,
    height: usize,
    width: usize,
    limits: Limits,
) -> impl Iterator<Item = (PathBuf, Result<LoadedImage, DataError>)> + Send {
    let window = rayon::current_num_threads() + 2;
    Ahead::new(paths.len(), window, move |index: usize| {
        let path = paths[index].clone();
        let loaded = load_with_size(&path, height, width, &limits);
        (path, loaded)
    })
}
