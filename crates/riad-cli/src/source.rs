//! The images of a run as its trainer takes them.

use std::{error::Error, num::NonZeroUsize, path::PathBuf};

use anyhow::Result;
use rayon::prelude::*;
use riad_data::{Batch, Crops, DataError, Dataset, Fit, Reader};
use riad_model::{ImageSource, ScoringSettings};

/// What decoded images may take in memory; those beyond it are decoded again in every epoch.
const CACHE_BYTES: usize = 1 << 30;

/// Images to train or validate with.
pub(crate) enum Source {
    /// Resized to the network's size.
    Whole(Dataset),
    /// A tile of each, elsewhere in every epoch.
    Tiles(Crops),
}

impl Source {
    pub(crate) fn new(images: Vec<PathBuf>, reader: Reader, scoring: &ScoringSettings) -> Self {
        match scoring.tiling {
            None => Self::Whole(Dataset::new(images, reader, scoring.size(), CACHE_BYTES)),
            Some(_) => Self::Tiles(Crops::new(images, reader, scoring.size(), CACHE_BYTES)),
        }
    }
}

impl ImageSource for Source {
    fn len(&self) -> usize {
        match self {
            Self::Whole(images) => images.len(),
            Self::Tiles(crops) => crops.len(),
        }
    }

    fn batches(
        &self,
        order: Vec<usize>,
        batch_size: usize,
        seed: u64,
    ) -> Box<dyn Iterator<Item = Result<Vec<f32>, Box<dyn Error + Send + Sync>>> + '_> {
        let batch_size = NonZeroUsize::new(batch_size).unwrap_or(NonZeroUsize::MIN);
        let batches = match self {
            Self::Whole(images) => images.batches(order, batch_size),
            Self::Tiles(crops) => crops.batches(order, batch_size, seed),
        };
        let images = |batch: Result<Batch, DataError>| Ok(batch?.images);
        Box::new(batches.map(images))
    }
}

/// Checks, as far as the files' headers tell, that every image can be read, has the channels that are asked for, and that
/// tiles can be cut from it.
///
/// # Errors
/// Names the first of which that is not so.
pub(crate) fn check_headers(images: &[PathBuf], reader: &Reader, scoring: &ScoringSettings) -> Result<()> {
    let fit = match scoring.tiling {
        None => Fit::Own,
        Some(_) => Fit::AtLeast(scoring.size()),
    };
    let check = |path: &PathBuf| fit.check(path, reader.size(path)?);
    let checked: Vec<_> = images.par_iter().map(check).collect();
    Ok(checked.into_iter().collect::<Result<(), _>>()?)
}
