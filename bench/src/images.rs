//! From image files to the network's input.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use riad_core::Size;
use riad_data::{Dataset, Reader};

use crate::{Workload, timed};

const SIZE: Size = Size::new(256, 256);
const BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// Files to decode and resize, none of which is kept.
pub(crate) struct Decoding {
    files: Dataset,
}

impl Decoding {
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            files: Dataset::new(paths, Reader::default(), SIZE, 0),
        }
    }
}

impl Workload for Decoding {
    fn run(&mut self) -> Result<(f64, Vec<f64>)> {
        let (seconds, pixels) = timed(|| {
            let mut pixels = Vec::new();
            for batch in self.files.batches((0..self.files.len()).collect(), BATCH) {
                pixels.extend(batch?.images);
            }
            Ok(pixels)
        })?;
        Ok((seconds, pixels.into_iter().map(f64::from).collect()))
    }
}
