//! Images in batches, ready before the network asks for them.

use std::path::PathBuf;
use std::sync::Arc;

use crate::ahead::Ahead;
use crate::cache::Cache;
use crate::resize::load_fitted;
use crate::{DataError, Fit, Image, Limits, LoadedImage, load};

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
    kept: Cache<Image>,
}

/// Some images of a [`Dataset`], or tiles of a [`Crops`](crate::Crops), stacked.
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
        let kept = Cache::new(paths.len(), cache_bytes);
        Self {
            inner: Arc::new(Inner {
                paths,
                height,
                width,
                limits,
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
        Batches::new(Ahead::new(count, batch_size.saturating_mul(2), work), batch_size)
    }
}

impl Inner {
    fn get(&self, index: usize) -> Result<Arc<Image>, DataError> {
        let load = || load(&self.paths[index], self.height, self.width, &self.limits);
        self.kept.get(index, |image| size_of_val(image.data.as_slice()), load)
    }
}

/// The iterator of [`Dataset::batches`] and [`Crops::batches`](crate::Crops::batches).
pub struct Batches {
    images: Ahead<(usize, Result<Arc<Image>, DataError>)>,
    batch_size: usize,
}

impl Batches {
    pub(crate) fn new(images: Ahead<(usize, Result<Arc<Image>, DataError>)>, batch_size: usize) -> Self {
        Self { images, batch_size }
    }
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
/// A few images more than the rayon pool has threads are loaded ahead; all else is as with [`Dataset::batches`]. Images
/// that keep their own size may be large, and looking at one takes long, so none of them is loaded before it is asked for.
pub fn load_ahead(
    paths: Vec<PathBuf>,
    fit: Fit,
    limits: Limits,
) -> impl Iterator<Item = (PathBuf, Result<LoadedImage, DataError>)> + Send {
    let window = match fit {
        Fit::Resized { .. } => rayon::current_num_threads() + 2,
        Fit::AtLeast { .. } | Fit::Exactly { .. } => 0,
    };
    Ahead::new(paths.len(), window, move |index: usize| {
        let path = paths[index].clone();
        let loaded = load_fitted(&path, fit, &limits);
        (path, loaded)
    })
}
