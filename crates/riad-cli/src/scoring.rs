//! From files to scores: where and how to compute, how a model's images are read, and how many it looks at at once.

use std::path::{Path, PathBuf};

use anyhow::Result;
use riad_data::{DataError, Fit, Image, LoadedImage, Pattern, Reader, load_ahead};
use riad_model::{Checkpoint, Device, Header, Keep, ModelError, Precision, Roi, Scored, Scorer};

use crate::{remarks::Remarks, usage};

/// Images of the network's size that are scored at once: enough to keep all cores busy, few enough that scores come
/// steadily.
const BATCH: usize = 4;

/// Where and how to score.
pub(crate) struct Compute {
    pub(crate) device: Device,
    pub(crate) precision: Precision,
    /// What was found in files: one for all models of a command, so that each file is told of once.
    pub(crate) remarks: Remarks,
}

impl Compute {
    /// As runs are completed and reported.
    pub(crate) fn f32(device: &Device) -> Self {
        Self {
            device: device.clone(),
            precision: Precision::F32,
            remarks: Remarks::default(),
        }
    }
}

/// A model ready to score, and how its images are read.
pub(crate) struct Model {
    scorer: Scorer,
    reader: Reader,
    remarks: Remarks,
}

impl Model {
    /// Opens a run's folder or a checkpoint, see [`Self::new`].
    pub(crate) fn open(path: &Path, bands: Option<Pattern>, compute: &Compute) -> Result<Self> {
        Self::new(&Checkpoint::open(path)?, bands, compute)
    }

    /// Puts a checkpoint where it is to score. The files of an image belong together as `bands` says.
    pub(crate) fn new(checkpoint: &Checkpoint, bands: Option<Pattern>, compute: &Compute) -> Result<Self> {
        let scorer = Scorer::new(checkpoint, &compute.device, compute.precision)?;
        let reader = Reader::new(scorer.channels())
            .with_pattern(bands)
            .with_white_level(scorer.header().scoring.white_level);
        // Else every image would be refused for it.
        reader.check().map_err(|error| usage(error.to_string()))?;
        Ok(Self {
            scorer,
            reader,
            remarks: compute.remarks.clone(),
        })
    }

    /// What the checkpoint says of itself.
    pub(crate) fn header(&self) -> &Header {
        self.scorer.header()
    }

    /// The part of images that is looked at, if not all.
    pub(crate) fn roi(&self) -> Option<&Roi> {
        self.scorer.roi()
    }

    /// How images are read.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What was found in the images that were loaded.
    pub(crate) fn remarks(&self) -> &Remarks {
        &self.remarks
    }

    /// How many images to load and score at once: large ones, which are scored by tiles, one by one.
    pub(crate) fn batch_size(&self) -> usize {
        match self.header().scoring.tiling {
            None => BATCH,
            Some(_) => 1,
        }
    }

    /// Images one after the other, of a size that is scored, loaded ahead.
    pub(crate) fn load(
        &self,
        images: Vec<PathBuf>,
    ) -> impl Iterator<Item = (PathBuf, Result<LoadedImage, DataError>)> + Send + use<> {
        let remarks = self.remarks.clone();
        load_ahead(images, self.reader.clone(), self.fit()).inspect(move |(path, loaded)| match loaded {
            Ok(loaded) => remarks.note(path, loaded.found),
            Err(error) => remarks.note_error(error),
        })
    }

    /// What sizes the images are to have.
    pub(crate) fn fit(&self) -> Fit {
        let scoring = &self.header().scoring;
        match (scoring.tiling, self.roi()) {
            (None, _) => Fit::Resized(scoring.size()),
            (Some(_), None) => Fit::AtLeast(scoring.size()),
            (Some(_), Some(roi)) => Fit::Exactly(roi.size()),
        }
    }

    /// Scores images that [`Self::load`] gave. One on which the network's values overflow keeps no other from its score.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn score(&self, images: &[&Image], keep: Keep) -> Result<Vec<Result<Scored, ModelError>>> {
        match self.score_all(images, keep) {
            Ok(scored) => return Ok(scored.into_iter().map(Ok).collect()),
            Err(ModelError::Overflow) => {}
            Err(error) => return Err(error.into()),
        }
        let mut each = Vec::with_capacity(images.len());
        for image in images {
            match self.score_all(&[image], keep) {
                Ok(scored) => each.extend(scored.into_iter().map(Ok)),
                Err(ModelError::Overflow) => each.push(Err(ModelError::Overflow)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(each)
    }

    fn score_all(&self, images: &[&Image], keep: Keep) -> Result<Vec<Scored>, ModelError> {
        if self.header().scoring.tiling.is_none() {
            let values: Vec<f32> = images.iter().flat_map(|image| image.values()).copied().collect();
            return self.scorer.score(&values, keep);
        }
        images
            .iter()
            .map(|image| self.scorer.score_image(image.values(), image.size(), keep))
            .collect()
    }
}
