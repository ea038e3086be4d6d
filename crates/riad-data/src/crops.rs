//! Training tiles from images at their own resolution.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;

use riad_core::{Random, Size};

use crate::cache::Cache;
use crate::dataset::{Batches, Example};
use crate::dice::Dice;
use crate::pixels::Pixels;
use crate::{Corruptions, DataError, Fit, Image, Reader};

/// Images of any size. A random tile is cut from each, at the image's own resolution. Decoded images are kept in memory
/// if there is room.
///
/// Clones share the images in memory.
#[derive(Clone, Debug)]
pub struct Crops {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    paths: Vec<PathBuf>,
    reader: Reader,
    tile: Size,
    kept: Cache<Pixels>,
}

impl Crops {
    /// Images for tiles of the size `tile`. `reader` reads them. At most `cache_bytes` of decoded images are kept
    /// (usually one byte for each channel of each pixel). With 0 none is kept. This call reads no file.
    pub fn new(paths: Vec<PathBuf>, reader: Reader, tile: Size, cache_bytes: usize) -> Self {
        let kept = Cache::new(paths.len(), cache_bytes);
        Self {
            inner: Arc::new(Inner {
                paths,
                reader,
                tile,
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

    /// A tile of one image. `seed` and the index decide its position. Every position is equally likely.
    ///
    /// # Errors
    /// As [`Reader::load`]; [`DataError::Size`] if the image is smaller than the tile; [`DataError::Parameter`] if
    /// the index does not exist.
    pub fn get(&self, index: usize, seed: u64) -> Result<Image, DataError> {
        self.inner.get(index, seed)
    }

    /// One tile of each image of `order`, cut by [`Self::get`] with `seed`, in batches of `batch_size`. Everything else
    /// is as with [`Dataset::batches`](crate::Dataset::batches).
    ///
    /// # Errors
    /// The items' errors are those of [`Self::get`].
    pub fn batches(&self, order: Vec<usize>, batch_size: NonZeroUsize, seed: u64) -> Batches {
        let inner = Arc::clone(&self.inner);
        let count = order.len();
        let work = move |position: usize| {
            let index = order[position];
            (index, inner.get(index, seed).map(Arc::new).map(Example::from))
        };
        Batches::new(count, batch_size, work)
    }

    /// The same tiles, and a damaged copy of each by [`Corruptions`]. Everything else is as with
    /// [`Dataset::corrupted_batches`](crate::Dataset::corrupted_batches).
    ///
    /// # Errors
    /// The items' errors are those of [`Self::get`].
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
            let example = inner.get(index, seed).and_then(|tile| {
                let other = |dice: &mut Dice| {
                    let (index, seed) = (dice.index(inner.paths.len()), dice.seed());
                    inner.get(index, seed).map(Arc::new)
                };
                Example::corrupted(Arc::new(tile), &corruptions, seed, index, other)
            });
            (index, example)
        };
        Batches::new(count, batch_size, work)
    }
}

impl Inner {
    fn get(&self, index: usize, seed: u64) -> Result<Image, DataError> {
        let tile = self.tile;
        let load = || {
            let path = &self.paths[index];
            let image = self.reader.pixels(path)?;
            Fit::AtLeast(tile).check(path, image.size())?;
            Ok(image)
        };
        let image = self.kept.get(index, Pixels::bytes, load)?;
        // Each image has its own stream, so its position does not depend on earlier images.
        let mut random = Random::stream(seed, index as u64);
        let mut place =
            |side: usize, tile: usize| random.below_u64(NonZeroU64::MIN.saturating_add((side - tile) as u64)) as usize;
        let Size { height, width } = image.size();
        let (top, left) = (place(height, tile.height), place(width, tile.width));
        image.crop(top, left, tile).to_image(tile, self.reader.channels)
    }
}
