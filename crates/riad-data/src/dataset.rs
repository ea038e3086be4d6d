//! Images in batches, loaded before the network asks for them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use riad_core::Size;

use crate::ahead::Ahead;
use crate::cache::Cache;
use crate::dice::Dice;
use crate::{Corruptions, DataError, Fit, Image, LoadedImage, Reader};

/// Images of one size. Each is loaded when it is needed, and kept in memory if there is room.
///
/// Clones share the images in memory.
#[derive(Clone, Debug)]
pub struct Dataset {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    paths: Vec<PathBuf>,
    reader: Reader,
    size: Size,
    kept: Cache<Image>,
}

/// Some images of a [`Dataset`], or tiles of a [`Crops`](crate::Crops), stacked.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Which images these are.
    pub indices: Vec<usize>,
    /// One image's [`values`](Image::values) after the other: batch × channels × height × width values in [0, 1].
    pub images: Vec<f32>,
    /// The damaged copies of [`Dataset::corrupted_batches`], with the same number of values. `None` without damage.
    pub corrupted: Option<Vec<f32>>,
}

impl Dataset {
    /// Images that `reader` reads and resizes to `size`. At most `cache_bytes` of resized images are kept (4 bytes for
    /// each channel of each pixel), so that they are decoded only once. With 0 none is kept. This call reads no file.
    pub fn new(paths: Vec<PathBuf>, reader: Reader, size: Size, cache_bytes: usize) -> Self {
        let kept = Cache::new(paths.len(), cache_bytes);
        Self {
            inner: Arc::new(Inner {
                paths,
                reader,
                size,
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
    /// As [`Reader::load`]; [`DataError::Parameter`] if the index does not exist.
    pub fn get(&self, index: usize) -> Result<Arc<Image>, DataError> {
        self.inner.get(index)
    }

    /// The images of `order` in batches of `batch_size`; the last one may be smaller. An index may occur repeatedly.
    ///
    /// While the consumer works on one batch, the next two are loaded on the rayon pool that it belongs to (the global
    /// one outside of any). Batches are the same for any number of threads. If the consumer occupies the pool's only
    /// thread, it loads the batches itself. Dropping the iterator stops the loading. If an image of a batch cannot be
    /// loaded, the batch is an error (that of its first such image), and the next batches still come.
    ///
    /// # Errors
    /// The items' errors are those of [`Dataset::get`].
    pub fn batches(&self, order: Vec<usize>, batch_size: NonZeroUsize) -> Batches {
        let inner = Arc::clone(&self.inner);
        let count = order.len();
        let work = move |position: usize| {
            let index = order[position];
            (index, inner.get(index).map(Example::from))
        };
        Batches::new(count, batch_size, work)
    }

    /// The same images, shifted a little, each with a copy that [`Corruptions`] has damaged. `seed` and the image's
    /// index decide the damage. Its content comes from images of this data set.
    ///
    /// # Errors
    /// As with [`Self::batches`].
    pub fn corrupted_batches(
        &self,
        order: Vec<usize>,
        batch_size: NonZeroUsize,
        corruptions: Corruptions,
        seed: u64,
    ) -> Batches {
        let inner = Arc::clone(&self.inner);
        let count = order.len();
        let work = move |position: usize| {
            let index = order[position];
            let example = inner.get(index).and_then(|image| {
                let image = corruptions.moved(image, &mut Dice::new(seed, index as u64));
                let other = |dice: &mut Dice| inner.get(dice.index(inner.paths.len()));
                Example::corrupted(image, &corruptions, seed, index, other)
            });
            (index, example)
        };
        Batches::new(count, batch_size, work)
    }
}

impl Inner {
    fn get(&self, index: usize) -> Result<Arc<Image>, DataError> {
        let load = || Ok(self.reader.load(&self.paths[index], Fit::Resized(self.size))?.image);
        self.kept.get(index, |image| size_of_val(image.values()), load)
    }
}

/// An image, and its damaged copy if there is one.
pub(crate) struct Example {
    image: Arc<Image>,
    corrupted: Option<Image>,
}

impl From<Arc<Image>> for Example {
    fn from(image: Arc<Image>) -> Self {
        Self { image, corrupted: None }
    }
}

impl Example {
    /// An image with the damage that `seed` and its index decide.
    pub(crate) fn corrupted(
        image: Arc<Image>,
        corruptions: &Corruptions,
        seed: u64,
        index: usize,
        other: impl FnMut(&mut Dice) -> Result<Arc<Image>, DataError>,
    ) -> Result<Self, DataError> {
        // These streams count from the end. Streams from the beginning decide the position of tiles.
        let mut dice = Dice::new(seed, !(index as u64));
        let corrupted = corruptions.apply(&image, &mut dice, other)?;
        Ok(Self {
            image,
            corrupted: Some(corrupted),
        })
    }
}

/// The iterator of [`Dataset::batches`] and [`Crops::batches`](crate::Crops::batches).
pub struct Batches {
    images: Ahead<(usize, Result<Example, DataError>)>,
    batch_size: usize,
}

impl Batches {
    /// Batches of `work(0)`, `work(1)`, … up to `count`. The next two batches are loaded ahead.
    pub(crate) fn new(
        count: usize,
        batch_size: NonZeroUsize,
        work: impl Fn(usize) -> (usize, Result<Example, DataError>) + Send + Sync + 'static,
    ) -> Self {
        let batch_size = batch_size.get();
        Self {
            images: Ahead::new(count, batch_size.saturating_mul(2), work),
            batch_size,
        }
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
            corrupted: None,
        };
        for (index, example) in loaded {
            match example {
                Ok(Example { image, corrupted }) => {
                    batch.indices.push(index);
                    batch.images.extend_from_slice(image.values());
                    if let Some(corrupted) = corrupted {
                        let all = batch.corrupted.get_or_insert_default();
                        all.extend_from_slice(corrupted.values());
                    }
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

/// Loads files in their order, before the consumer needs them. It is for scoring: a file that cannot be read does not
/// stop the others.
///
/// The number of images loaded ahead is a little larger than the number of threads of the rayon pool. Everything else
/// is as with [`Dataset::batches`]. Images that keep their own size may be large, and scoring one takes long, so they
/// are not loaded ahead.
pub fn load_ahead(
    paths: Vec<PathBuf>,
    reader: Reader,
    fit: Fit,
) -> impl Iterator<Item = (PathBuf, Result<LoadedImage, DataError>)> + Send {
    let window = match fit {
        Fit::Resized(_) => rayon::current_num_threads() + 2,
        Fit::Own | Fit::AtLeast(_) | Fit::Exactly(_) => 0,
    };
    Ahead::new(paths.len(), window, move |index: usize| {
        let path = paths[index].clone();
        let loaded = reader.load(&path, fit);
        (path, loaded)
    })
}
