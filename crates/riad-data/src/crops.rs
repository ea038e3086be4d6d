//! Tiles cut from images at their own resolution, to learn from.

use std::path::PathBuf;
use std::sync::Arc;

use image::DynamicImage;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::ahead::Ahead;
use crate::cache::Cache;
use crate::dataset::Batches;
use crate::split::below;
use crate::{DataError, Fit, Image, Limits, decode, resize};

/// Images of any sizes, of each of which a tile is cut at random, at its own resolution. The decoded images are kept in
/// memory as far as they fit.
///
/// Clones share what they keep.
#[derive(Clone, Debug)]
pub struct Crops {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    paths: Vec<PathBuf>,
    height: usize,
    width: usize,
    limits: Limits,
    kept: Cache<DynamicImage>,
}

impl Crops {
    /// Images to cut tiles of `height` × `width` from. At most `cache_bytes` of decoded images (as a rule 3 bytes a pixel)
    /// are kept; with 0, none. Nothing is read yet.
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

    /// A tile of one image, where `seed` and the index put it; every place is equally likely.
    ///
    /// # Errors
    /// As [`decode`]; [`DataError::Layout`] if the image is smaller than the tile; [`DataError::Parameter`] if there is no
    /// such index.
    pub fn get(&self, index: usize, seed: u64) -> Result<Image, DataError> {
        self.inner.get(index, seed)
    }

    /// A tile each of the images of `order`, as [`Self::get`] cuts them with `seed`, in batches of `batch_size`; all else
    /// is as with [`Dataset::batches`](crate::Dataset::batches).
    ///
    /// # Errors
    /// The items' errors are those of [`Self::get`].
    ///
    /// # Panics
    /// If `batch_size` is 0.
    pub fn batches(&self, order: Vec<usize>, batch_size: usize, seed: u64) -> Batches {
        assert!(batch_size > 0, "a batch must hold at least one image");
        let inner = Arc::clone(&self.inner);
        let count = order.len();
        let work = move |position: usize| {
            let index = order[position];
            (index, inner.get(index, seed).map(Arc::new))
        };
        Batches::new(Ahead::new(count, batch_size.saturating_mul(2), work), batch_size)
    }
}

impl Inner {
    fn get(&self, index: usize, seed: u64) -> Result<Image, DataError> {
        let &Self { height, width, .. } = self;
        let load = || {
            let path = &self.paths[index];
            let image = decode(path, &self.limits)?;
            Fit::AtLeast { height, width }.check(path, (image.height() as usize, image.width() as usize))?;
            Ok(image)
        };
        let image = self.kept.get(index, |image| image.as_bytes().len(), load)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // A stream each: the place does not depend on the images before.
        rng.set_stream(index as u64);
        let mut place = |size: u32, tile: usize| below(&mut rng, u64::from(size) - tile as u64 + 1) as u32;
        let (top, left) = (place(image.height(), height), place(image.width(), width));
        // The tile fits into the image, so its sides fit 32 bits.
        let tile = image.crop_imm(left, top, width as u32, height as u32);
        resize(&tile, height, width)
    }
}
