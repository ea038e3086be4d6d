//! The images of a run as a source for its trainer.

use std::{
    error::Error,
    num::NonZeroUsize,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use rayon::prelude::*;
use riad_core::Size;
use riad_data::{Batch, Corruptions, Crops, DataError, Dataset, Fit, Reader};
use riad_model::{Alignment, Examples, ImageSource, ScoringSettings};

use crate::{Event, Observer, Work, observer::Piece};

/// What decoded images may take in memory; those beyond it are decoded again in every epoch.
const CACHE_BYTES: usize = 1 << 30;

/// Images to train or validate with.
pub(crate) struct Source {
    images: Images,
    /// How they are corrupted, for a method that corrupts.
    corruptions: Option<Corruptions>,
}

enum Images {
    /// Resized to the network's size.
    Whole(Dataset),
    /// One tile of each image, at another place in every epoch.
    Tiles(Crops),
}

impl Source {
    /// Images as they are.
    pub(crate) fn of(images: Vec<PathBuf>, reader: Reader, scoring: &ScoringSettings) -> Self {
        let images = match scoring.tiling {
            None => Images::Whole(Dataset::new(images, reader, scoring.size(), CACHE_BYTES)),
            Some(_) => Images::Tiles(Crops::new(images, reader, scoring.size(), CACHE_BYTES)),
        };
        Self {
            images,
            corruptions: None,
        }
    }

    /// Images as the method learns from them.
    pub(crate) fn to_learn_from(images: Vec<PathBuf>, reader: Reader, scoring: &ScoringSettings) -> Self {
        Self {
            corruptions: scoring.method.corrupts().then(Corruptions::default),
            ..Self::of(images, reader, scoring)
        }
    }
}

impl ImageSource for Source {
    fn len(&self) -> usize {
        match &self.images {
            Images::Whole(images) => images.len(),
            Images::Tiles(crops) => crops.len(),
        }
    }

    fn batches(
        &self,
        order: Vec<usize>,
        batch_size: usize,
        seed: u64,
    ) -> Box<dyn Iterator<Item = Result<Examples, Box<dyn Error + Send + Sync>>> + '_> {
        let batch_size = NonZeroUsize::new(batch_size).unwrap_or(NonZeroUsize::MIN);
        let batches = match (&self.images, self.corruptions.clone()) {
            (Images::Whole(images), None) => images.batches(order, batch_size),
            (Images::Whole(images), Some(corruptions)) => {
                images.corrupted_batches(order, batch_size, corruptions, seed)
            }
            (Images::Tiles(crops), None) => crops.batches(order, batch_size, seed),
            (Images::Tiles(crops), Some(corruptions)) => crops.corrupted_batches(order, batch_size, corruptions, seed),
        };
        let examples = |batch: Result<Batch, DataError>| {
            let Batch { images, corrupted, .. } = batch?;
            Ok(Examples { images, corrupted })
        };
        Box::new(batches.map(examples))
    }
}

/// What keeps images from being learned from: that they cannot be read, have other channels, or that no tile can be cut
/// from them. Each is read, which takes about as long as in an epoch.
pub(crate) fn faults(
    images: &[PathBuf],
    reader: &Reader,
    tile: Option<Size>,
    observer: &dyn Observer,
) -> Vec<crate::Error> {
    // Untiled, any size will do: all are brought to one.
    let fit = tile.map_or(Fit::Resized(Alignment::SIZE), Fit::AtLeast);
    let total = images.len();
    let (_piece, done) = (Piece::begin(observer, Work::Reading, 0, total), AtomicUsize::new(0));
    let read = images.par_iter().map(|path| {
        let read = reader.load(path, fit).map(|loaded| loaded.found);
        let done = 1 + done.fetch_add(1, Ordering::Relaxed);
        observer.event(&Event::Progress { done, total });
        read
    });
    let read: Vec<_> = read.collect();
    let mut faults = Vec::new();
    for (path, read) in images.iter().zip(read) {
        match read {
            Ok(found) => observer.event(&Event::Read { path, found }),
            Err(error) => faults.push(error.into()),
        }
    }
    faults
}

/// What keeps images from being read, as far as their files' headers tell, which takes next to no time.
pub(crate) fn header_faults(images: &[PathBuf], reader: &Reader) -> Vec<DataError> {
    images.par_iter().filter_map(|path| reader.size(path).err()).collect()
}
