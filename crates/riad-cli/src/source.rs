//! The images of a run as its trainer takes them.

use std::{error::Error, path::PathBuf};

use anyhow::Result;
use rayon::prelude::*;
use riad_data::{Batch, Crops, DataError, Dataset, Fit, Limits, image_size};
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
    pub(crate) fn new(paths: Vec<PathBuf>, scoring: &ScoringSettings) -> Self {
        let &ScoringSettings {
            height, width, tiling, ..
        } = scoring;
        match tiling {
            None => Self::Whole(Dataset::new(paths, height, width, Limits::default(), CACHE_BYTES)),
            Some(_) => Self::Tiles(Crops::new(paths, height, width, Limits::default(), CACHE_BYTES)),
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
        let batches = match self {
            Self::Whole(images) => images.batches(order, batch_size),
            Self::Tiles(crops) => crops.batches(order, batch_size, seed),
        };
        let images = |batch: Result<Batch, DataError>| Ok(batch?.images);
        Box::new(batches.map(images))
    }
}

/// Checks that tiles can be cut from every image.
///
/// # Errors
/// Names the first that is smaller than a tile, or cannot be read.
pub(crate) fn check_sizes(paths: &[PathBuf], scoring: &ScoringSettings) -> Result<()> {
    let &ScoringSettings {
        height, width, tiling, ..
    } = scoring;
    if tiling.is_none() {
        return Ok(());
    }
    let fit = Fit::AtLeast { height, width };
    let check = |path: &PathBuf| fit.check(path, image_size(path, &Limits::default())?);
    let checked: Vec<_> = paths.par_iter().map(check).collect();
    Ok(checked.into_iter().collect::<Result<(), _>>()?)
}
