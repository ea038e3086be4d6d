//! What a detector finds in an image.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use image::RgbImage;
use riad_core::{Likeness, Looks, Map, Region, Size, regions};
use riad_data::{FileFacts, Fit, Image, LoadedImage};
use riad_model::Scored;

use super::{Detector, IN_MEMORY};
use crate::{
    FalsePositiveRate, Judgement, Result, Threshold, Verdict,
    render::{Plane, Scale, drawn, outline_found, size_of},
    threshold::strangeness,
};

/// What a [`Detector`] finds in an image.
pub struct Inspection {
    detector: Detector,
    source: Source,
    /// The image as it was looked at.
    image: Option<Image>,
    original_size: Size,
    score: f32,
    map: Map,
}

/// Where the image comes from.
enum Source {
    File {
        path: PathBuf,
        facts: FileFacts,
    },
    /// The image was given in memory, and is kept.
    Memory(Image),
    /// The content of the image's file was given in memory, and is kept.
    Encoded {
        bytes: Arc<[u8]>,
        facts: FileFacts,
    },
}

impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspection")
            .field("path", &self.path())
            .field("score", &self.score)
            .finish_non_exhaustive()
    }
}

impl Inspection {
    pub(super) fn of_file(detector: Detector, path: PathBuf, loaded: LoadedImage, scored: Scored) -> Self {
        let facts = loaded.found;
        Self {
            detector,
            source: Source::File { path, facts },
            image: Some(loaded.image),
            original_size: loaded.original_size,
            score: scored.score,
            map: scored.map,
        }
    }

    pub(super) fn of_bytes(detector: Detector, bytes: Arc<[u8]>, loaded: LoadedImage, scored: Scored) -> Self {
        let facts = loaded.found;
        Self {
            detector,
            source: Source::Encoded { bytes, facts },
            image: Some(loaded.image),
            original_size: loaded.original_size,
            score: scored.score,
            map: scored.map,
        }
    }

    pub(super) fn of_image(detector: Detector, image: Image, fitted: Option<Image>, scored: Scored) -> Self {
        Self {
            detector,
            original_size: image.size(),
            source: Source::Memory(image),
            image: fitted,
            score: scored.score,
            map: scored.map,
        }
    }

    /// The image's file. If several files make the image, the first of them. `None` if the image was given in memory.
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::File { path, .. } => Some(path),
            Source::Memory(_) | Source::Encoded { .. } => None,
        }
    }

    /// Facts about the file.
    pub fn file_facts(&self) -> Option<FileFacts> {
        match &self.source {
            Source::File { facts, .. } | Source::Encoded { facts, .. } => Some(*facts),
            Source::Memory(_) => None,
        }
    }

    /// How anomalous the image is: the maximum of [`Self::map`]. You can compare scores of the same model, but not of
    /// two models.
    pub fn score(&self) -> f32 {
        self.score
    }

    /// How anomalous each pixel is. The map has the network's size, or with tiles the image's size.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Height and width of the image in its file, upright.
    pub fn original_size(&self) -> Size {
        self.original_size
    }

    /// The probability that a good image scores at least as high, in (0, 1], as [`Threshold::p_value`] tells it. `None` if the
    /// model is not calibrated.
    pub fn p_value(&self) -> Option<f64> {
        let calibration = self.detector.calibration();
        calibration.map(|calibration| calibration.p_value(self.score))
    }

    /// How much the image as a whole resembles the model's good images. A product with a defect resembles them. A dark
    /// picture, another product, or a picture of a camera that was moved does not. `None` if the model does not know
    /// what good images look like; see [`Detector::appearance`].
    pub fn likeness(&self) -> Option<Likeness> {
        let appearance = self.detector.appearance()?;
        let image = match (&self.image, &self.source) {
            (Some(image), _) | (None, Source::Memory(image)) => image,
            (None, _) => return None,
        };
        let looks = Looks::of(image.values(), image.channels(), image.size()).ok()?;
        appearance.judge(&looks).ok()
    }

    /// The verdict for a false-positive rate: whether the image shows this product, and if so, whether its score is above the threshold.
    ///
    /// # Errors
    /// As [`Detector::threshold`].
    pub fn verdict(&self, rate: impl Into<FalsePositiveRate>) -> Result<Verdict> {
        let threshold = self.detector.threshold(rate)?;
        Ok(self.verdict_by(&threshold, self.strange()))
    }

    /// How it differs from the good images, if it does not resemble them.
    fn strange(&self) -> Option<Likeness> {
        self.likeness().filter(|likeness| !likeness.resembles())
    }

    fn verdict_by(&self, threshold: &Threshold, strange: Option<Likeness>) -> Verdict {
        match strange {
            Some(_) => Verdict::NotThisProduct,
            None if threshold.is_exceeded_by(self.score) => Verdict::Defective,
            None => Verdict::Good,
        }
    }

    /// The parts above the threshold for a false-positive rate, in pixels of the upright image file. The highest peak
    /// comes first. Empty if the verdict is good.
    ///
    /// # Errors
    /// As [`Detector::threshold`].
    pub fn regions(&self, rate: impl Into<FalsePositiveRate>) -> Result<Vec<Region>> {
        Ok(self.regions_above(&self.detector.threshold(rate)?))
    }

    /// The same for a threshold that you already have.
    pub fn regions_above(&self, threshold: &Threshold) -> Vec<Region> {
        regions(&self.map, threshold.value(), self.original_size)
    }

    /// All that the model and a threshold say of the image.
    pub fn judged(&self, threshold: &Threshold) -> Judgement {
        let strange = self.strange();
        Judgement {
            p_value: threshold.p_value(self.score),
            verdict: self.verdict_by(threshold, strange),
            reason: strange.map(strangeness),
            regions: self.regions_above(threshold),
        }
    }

    /// The map at the size of the original. Enlarging is bilinear, reducing averages.
    ///
    /// # Errors
    /// If the image is too large to be drawn.
    pub fn map_at_original_size(&self) -> Result<Map> {
        Plane::new(self.map.clone())?.resized(self.original_size)?.into_map()
    }

    /// The image as a picture at its file's size. Three channels are red, green and blue. For any other number of
    /// channels, their mean is grey. If the model looked at another size, the file is decoded again.
    ///
    /// # Errors
    /// If the file can no longer be read, or the image is too large to be drawn.
    pub fn picture(&self) -> Result<RgbImage> {
        match (&self.source, &self.image) {
            (Source::Memory(image), _) => drawn(image.values(), image.size()),
            (_, Some(image)) if image.size() == self.original_size => drawn(image.values(), image.size()),
            (Source::File { path, .. }, _) => {
                let original = self.detector.reader().load(path, Fit::Own)?.image;
                drawn(original.values(), original.size())
            }
            (Source::Encoded { bytes, .. }, _) => {
                let reader = self.detector.reader();
                let original = reader.load_bytes(Path::new(IN_MEMORY), bytes, Fit::Own)?.image;
                drawn(original.values(), original.size())
            }
        }
    }

    /// The map in colours at the size of the original, from blue (0) to red (0.5).
    ///
    /// # Errors
    /// If the image is too large to be drawn.
    pub fn heat_map(&self) -> Result<RgbImage> {
        let map = Plane::new(self.map.clone())?.resized(self.original_size)?;
        Ok(Scale::default().heat(&map))
    }

    /// The map's colours over the grey original. [`render::save`](crate::render::save) writes it whole.
    ///
    /// # Errors
    /// As [`Self::picture`].
    pub fn overlay(&self) -> Result<RgbImage> {
        let picture = self.picture()?;
        let map = Plane::new(self.map.clone())?.resized(size_of(&picture))?;
        Scale::default().overlay(&picture, &map)
    }

    /// The same with a line around the parts above the threshold for a false-positive rate.
    ///
    /// # Errors
    /// As [`Self::picture`] and [`Detector::threshold`].
    pub fn overlay_at(&self, rate: impl Into<FalsePositiveRate>) -> Result<RgbImage> {
        let threshold = self.detector.threshold(rate)?;
        let picture = self.picture()?;
        let map = Plane::new(self.map.clone())?.resized(size_of(&picture))?;
        let mut overlay = Scale::default().overlay(&picture, &map)?;
        outline_found(&mut overlay, |x, y| map.at(x, y) > threshold.value());
        Ok(overlay)
    }
}
