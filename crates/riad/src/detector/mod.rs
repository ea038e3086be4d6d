//! From files to what a model finds in them.

mod inspection;
mod options;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use riad_core::{Appearance, Calibration};
use riad_data::{DataError, Fit, Image, LoadedImage, Reader, load_ahead};
use riad_model::{Device, Header, Keep, ModelError, Precision, Roi, Scored, Scorer};

pub use self::{inspection::Inspection, options::DetectorOptions};
use crate::{Error, FalsePositiveRate, Result, Threshold};

/// Images of the network's size that are scored at once: enough to keep all cores busy, few enough that scores come
/// steadily.
pub(crate) const BATCH: usize = 4;

/// What messages call an image that has no file.
const IN_MEMORY: &str = "the image in memory";

/// Where and how to compute. The default is a GPU that this build can use, otherwise the CPU, in f32.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compute {
    /// The device.
    pub device: Device,
    /// What the network multiplies.
    pub precision: Precision,
}

impl Default for Compute {
    fn default() -> Self {
        Self::on(riad_model::gpu().unwrap_or(Device::CPU))
    }
}

impl Compute {
    /// A device, in f32.
    pub fn on(device: Device) -> Self {
        Self {
            device,
            precision: Precision::F32,
        }
    }

    /// The same device, in another precision.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }
}

/// A trained model that is ready to look at images.
///
/// One detector serves any number of threads at once. A clone shares the weights with the first.
///
/// ```no_run
/// let detector = riad::Detector::open("runs/lid")?;
/// let found = detector.inspect_file("photo.jpg")?;
/// println!("{} {} {:?}", found.score(), found.verdict(0.05)?, found.regions(0.05)?);
/// found.overlay()?.save("overlay.png")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Detector {
    inner: Arc<Inner>,
}

struct Inner {
    scorer: Scorer,
    reader: Reader,
    /// The header's, which a [`Threshold`] shares: every verdict takes one.
    calibration: Option<Arc<Calibration>>,
    precision: Precision,
    /// What the model is called in messages: where it lies.
    name: PathBuf,
    /// By what results of it are told from those of others.
    id: Option<String>,
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detector")
            .field("name", &self.inner.name)
            .field("scoring", &self.header().scoring)
            .finish_non_exhaustive()
    }
}

impl Detector {
    /// Opens a run's folder, a checkpoint, or a PyTorch state dict. It scores in f32, on a GPU that this build can use,
    /// otherwise on the CPU. If the model is in a run, the run says which files make one image together.
    ///
    /// # Errors
    /// If it cannot be read, holds no model, or its settings contradict each other.
    pub fn open(model: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(model)
    }

    /// Opens with other [options](DetectorOptions): a device, bands, an id, or a checkpoint that is in memory.
    pub fn options() -> DetectorOptions {
        DetectorOptions::default()
    }

    /// The same by another name in messages.
    pub(crate) fn named(mut self, name: PathBuf) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.name = name;
        }
        self
    }

    /// The scores of good images that thresholds follow from. `None` if the model is not calibrated.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.inner.calibration.as_deref()
    }

    /// The header of the checkpoint.
    pub fn header(&self) -> &Header {
        self.inner.scorer.header()
    }

    /// What good images look like as a whole. It recognises pictures of something else. `None` if there were too few
    /// images, or the weights come from elsewhere. A [`Recalibration`](crate::Recalibration) adds it.
    pub fn appearance(&self) -> Option<&Appearance> {
        self.header().appearance.as_ref()
    }

    /// The region of interest, if there is one.
    pub fn roi(&self) -> Option<&Roi> {
        self.inner.scorer.roi()
    }

    /// How images are read.
    pub fn reader(&self) -> &Reader {
        &self.inner.reader
    }

    /// The threshold for a false-positive rate.
    ///
    /// # Errors
    /// [`Error::NotCalibrated`] and [`Error::TooFew`] say how many good images the rate needs. [`Error::Request`] if
    /// the rate is out of range.
    pub fn threshold(&self, rate: impl Into<FalsePositiveRate>) -> Result<Threshold> {
        Threshold::new(self.inner.calibration.as_ref(), &self.inner.name, rate.into())
    }

    /// The model's file or folder, as messages name it.
    pub fn name(&self) -> &Path {
        &self.inner.name
    }

    /// The first 12 hexadecimal digits of the SHA-256 of the model's file, if it was opened
    /// [identified](DetectorOptions::identified).
    pub fn id(&self) -> Option<&str> {
        self.inner.id.as_deref()
    }

    /// What the network multiplies.
    pub fn precision(&self) -> Precision {
        self.inner.precision
    }

    /// The precision of the model's calibration, if the model scores in another one. Then its false-positive rates
    /// differ from the requested ones.
    pub fn calibrated_otherwise(&self) -> Option<Precision> {
        let calibrated = self.header().calibration_precision;
        calibrated.filter(|calibrated| *calibrated != self.inner.precision)
    }

    /// Looks at the image in a file: PNG, JPEG, BMP, TIFF, WebP, GIF, PNM or a NumPy array. The content says which. If
    /// several files make one image, name the first of them.
    ///
    /// # Errors
    /// If it cannot be read, has other channels than the model, or the device fails.
    pub fn inspect_file(&self, path: impl AsRef<Path>) -> Result<Inspection> {
        let path = path.as_ref();
        let loaded = self.reader().load(path, self.fit())?;
        let scored = self
            .score_one(&loaded.image)?
            .map_err(|error| Error::of_image(path, error))?;
        Ok(Inspection::of_file(self.clone(), path.to_owned(), loaded, scored))
    }

    /// Looks at an image in the content of a file, for example from a camera or a request. If the model's images have
    /// several files, this file must hold all channels.
    ///
    /// # Errors
    /// As [`Self::inspect_file`].
    pub fn inspect_bytes(&self, bytes: impl Into<Arc<[u8]>>) -> Result<Inspection> {
        let (bytes, name) = (bytes.into(), Path::new(IN_MEMORY));
        let loaded = self.reader().load_bytes(name, &bytes, self.fit())?;
        let scored = self.score_one(&loaded.image)?;
        let scored = scored.map_err(|error| Error::of_image(name, error))?;
        Ok(Inspection::of_bytes(self.clone(), bytes, loaded, scored))
    }

    /// Looks at an image in memory, of any size. It is resized to the model's size.
    ///
    /// # Errors
    /// If it has other channels than the model or values outside of [0, 1], is too small for its tiles, or the device
    /// fails. Only the last [stops everything](Error::stops_everything).
    pub fn inspect(&self, image: Image) -> Result<Inspection> {
        let (channels, wanted) = (image.channels(), self.reader().channels);
        if channels != wanted {
            return Err(Error::Pixels(format!(
                "the image has {channels} channels, and the model needs {wanted}"
            )));
        }
        // NaN is in no range.
        let is_outside = |value: &&f32| !(0.0..=1.0).contains(*value);
        if let Some(value) = image.values().iter().find(is_outside) {
            return Err(Error::Pixels(format!(
                "the image has the value {value}, but values must be in [0, 1], where 1 is white; divide them by the value of white"
            )));
        }
        let fitted = self.fitted(&image)?;
        let scored = self.score_one(fitted.as_ref().unwrap_or(&image))??;
        Ok(Inspection::of_image(self.clone(), image, fitted, scored))
    }

    /// Looks at many files, and gives the results in their order. It decodes ahead, and computes on all threads of
    /// rayon's pool, so more threads of the caller make it no faster. It keeps all paths, but only a few images, in
    /// memory. To stop, drop the iterator.
    ///
    /// If an image cannot be read or scored, its item is an error, and the others follow. An error that
    /// [stops everything](Error::stops_everything), such as one of the device, is the last item.
    pub fn inspect_many(&self, files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Inspections {
        Inspections {
            loaded: Box::new(self.load(files.into_iter().map(Into::into).collect())),
            detector: self.clone(),
            ready: Vec::new(),
            has_failed: false,
        }
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
        load_ahead(images, self.reader().clone(), self.fit())
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

    /// The image at the size that is looked at, if it has another one.
    pub(crate) fn fitted(&self, image: &Image) -> Result<Option<Image>> {
        Ok(match self.fit() {
            Fit::Resized(size) if image.size() != size => Some(image.resized(size)?),
            _ => None,
        })
    }

    /// Scores images. One that cannot be scored keeps no other from its score.
    ///
    /// # Errors
    /// Those that [stop everything](ModelError::stops_everything), such as those of the device.
    pub(crate) fn score(&self, images: &[&Image], keep: Keep) -> Result<Vec<Result<Scored, ModelError>>> {
        match self.score_all(images, keep) {
            Ok(scored) => return Ok(scored.into_iter().map(Ok).collect()),
            Err(error) if error.stops_everything() => return Err(error.into()),
            Err(_) => {}
        }
        let mut each = Vec::with_capacity(images.len());
        for image in images {
            match self.score_all(&[image], keep) {
                Ok(scored) => each.extend(scored.into_iter().map(Ok)),
                Err(error) if error.stops_everything() => return Err(error.into()),
                Err(error) => each.push(Err(error)),
            }
        }
        Ok(each)
    }

    fn score_one(&self, image: &Image) -> Result<Result<Scored, ModelError>> {
        let scored = self.score(&[image], Keep::Map)?.pop();
        scored.ok_or_else(|| Error::request("an image has at least one pixel"))
    }

    fn score_all(&self, images: &[&Image], keep: Keep) -> Result<Vec<Scored>, ModelError> {
        let scorer = &self.inner.scorer;
        if self.header().scoring.tiling.is_none() {
            let values: Vec<f32> = images.iter().flat_map(|image| image.values()).copied().collect();
            return scorer.score(&values, keep);
        }
        images
            .iter()
            .map(|image| scorer.score_image(image.values(), image.size(), keep))
            .collect()
    }
}

/// The iterator of [`Detector::inspect_many`]: each file with its result.
pub struct Inspections {
    detector: Detector,
    loaded: Box<dyn Iterator<Item = (PathBuf, Result<LoadedImage, DataError>)> + Send>,
    /// What was found in the last batch, the first image last.
    ready: Vec<(PathBuf, Result<Inspection>)>,
    has_failed: bool,
}

impl fmt::Debug for Inspections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspections")
            .field("detector", &self.detector)
            .finish_non_exhaustive()
    }
}

impl Inspections {
    fn batch(&mut self) {
        let batch = self.loaded.by_ref().take(self.detector.batch_size());
        let batch: Vec<_> = batch.collect();
        let readable = batch.iter().filter_map(|(_, loaded)| loaded.as_ref().ok());
        let images: Vec<_> = readable.map(|loaded| &loaded.image).collect();
        let mut scored = match self.detector.score(&images, Keep::Map) {
            Ok(scored) => scored.into_iter(),
            Err(error) => {
                let first = batch.into_iter().next().map(|(path, _)| path).unwrap_or_default();
                self.ready.push((first, Err(error)));
                self.has_failed = true;
                return;
            }
        };
        for (path, loaded) in batch {
            let found = match loaded {
                Err(error) => Err(Error::of_loading(&path, error)),
                Ok(loaded) => match scored.next() {
                    Some(Ok(scored)) => Ok(Inspection::of_file(self.detector.clone(), path.clone(), loaded, scored)),
                    Some(Err(error)) => Err(Error::of_image(&path, error)),
                    None => Err(Error::of_image(&path, ModelError::Overflow)),
                },
            };
            self.ready.push((path, found));
        }
        self.ready.reverse();
    }
}

impl Iterator for Inspections {
    type Item = (PathBuf, Result<Inspection>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() && !self.has_failed {
            self.batch();
        }
        self.ready.pop()
    }
}

#[cfg(test)]
mod tests {
    use riad_core::Size;
    use riad_model::{Architecture, Checkpoint, ScoringSettings, Tiling, Weights};

    use super::*;

    #[test]
    fn an_image_that_cannot_be_made_keeps_no_other_from_its_score() {
        let weights = Weights::initial(Architecture::u_net(2), 0).unwrap();
        let checkpoint = Checkpoint::new(weights, ScoringSettings::default(), None, None);
        let detector = Detector::options()
            .compute(Compute::on(Device::CPU))
            .open_checkpoint(&checkpoint)
            .unwrap();
        let names = ["a.png", "b.png"].map(PathBuf::from);
        let refused = |path: PathBuf| (path, Err(DataError::Parameter("cannot resize it".into())));
        let found = Inspections {
            detector,
            loaded: Box::new(names.clone().map(refused).into_iter()),
            ready: Vec::new(),
            has_failed: false,
        };
        let found: Vec<_> = found.map(|(path, found)| (path, found.unwrap_err())).collect();
        assert_eq!(found.len(), 2);
        for ((path, error), name) in found.iter().zip(&names) {
            assert!(
                path == name && error.path() == Some(name) && !error.stops_everything(),
                "{error}"
            );
            assert_eq!(error.to_string(), format!("{}: cannot resize it", name.display()));
        }
        assert!(Error::from(ModelError::Gpu("out of memory".into())).stops_everything());
    }

    /// A loop over images takes a threshold for each verdict, and a calibration can have thousands of scores.
    #[test]
    fn a_threshold_shares_the_scores_that_it_comes_from() {
        let weights = Weights::initial(Architecture::u_net(2), 0).unwrap();
        let mut checkpoint = Checkpoint::new(weights, ScoringSettings::for_size(32, 32), None, None);
        checkpoint.header.calibration = Some(Calibration::new(vec![0.5; 20]).unwrap());
        let detector = Detector::options()
            .compute(Compute::on(Device::CPU))
            .open_checkpoint(&checkpoint)
            .unwrap();
        let threshold = detector.threshold(0.05).unwrap();
        assert!(std::ptr::eq(threshold.calibration(), detector.calibration().unwrap()));
    }

    /// At the network's size they would be scored by constants for another range, at others be cut off.
    #[test]
    fn values_out_of_their_range_have_no_verdict() {
        let weights = Weights::initial(Architecture::u_net(2), 0).unwrap();
        let checkpoint = Checkpoint::new(weights, ScoringSettings::for_size(32, 32), None, None);
        let detector = Detector::options()
            .compute(Compute::on(Device::CPU))
            .open_checkpoint(&checkpoint)
            .unwrap();
        for side in [32, 40] {
            let inspect = |value| {
                let mut values = vec![0.5; 3 * side * side];
                values[side] = value;
                detector.inspect(Image::new(3, Size::new(side, side), values).unwrap())
            };
            for value in [-0.01, 1.01, 255.0, f32::NAN, f32::INFINITY] {
                let error = inspect(value).unwrap_err();
                assert!(error.to_string().contains("must be in [0, 1]"), "{error}");
                assert!(!error.stops_everything());
            }
            assert!(inspect(0.0).is_ok() && inspect(1.0).is_ok());
        }
    }

    /// Who looks at one picture of a camera after the other goes on with the next.
    #[test]
    fn an_image_that_the_model_does_not_take_stops_nothing_else() {
        let weights = Weights::initial(Architecture::u_net(2), 0).unwrap();
        let mut scoring = ScoringSettings::for_size(32, 32);
        scoring.tiling = Some(Tiling { overlap: 8 });
        let checkpoint = Checkpoint::new(weights, scoring, None, None);
        let detector = Detector::options()
            .compute(Compute::on(Device::CPU))
            .open_checkpoint(&checkpoint)
            .unwrap();
        let inspect = |channels, side: usize| {
            let values = vec![0.5; channels * side * side];
            detector.inspect(Image::new(channels, Size::new(side, side), values).unwrap())
        };
        for (channels, side, said) in [(1, 40, "has 1 channels"), (3, 31, "a tile has 32x32")] {
            let error = inspect(channels, side).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert!(!error.stops_everything() && !error.is_usage(), "{error:?}");
        }
        assert!(inspect(3, 40).is_ok());
    }
}
