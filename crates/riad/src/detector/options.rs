//! How a detector is opened.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use riad_data::{Pattern, Reader};
use riad_model::{Checkpoint, Scorer, store::file_of};

use super::{Compute, Detector, Inner};
use crate::{Error, Result, files::sha256, settings::bands_of};

/// Digits of the SHA-256 of a model's file that make its id.
const ID_DIGITS: usize = 12;

/// How to open a [`Detector`]. [`Detector::options`] has the defaults.
///
/// ```no_run
/// use riad::{Compute, Detector, Device};
///
/// let detector = Detector::options()
///     .compute(Compute::on(Device::CPU))
///     .identified(true)
///     .open("runs/lid")?;
/// println!("{}", detector.id().unwrap_or_default());
/// # Ok::<(), riad::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct DetectorOptions {
    compute: Option<Compute>,
    bands: Option<Pattern>,
    is_identified: bool,
}

impl DetectorOptions {
    /// Where and how to compute. By default it is a GPU that this build can use, otherwise the CPU, in f32.
    pub fn compute(mut self, compute: Compute) -> Self {
        self.compute = Some(compute);
        self
    }

    /// Which files make one image together. `None` is the default: as in the model's run, or else each file is an image.
    pub fn bands(mut self, bands: impl Into<Option<Pattern>>) -> Self {
        self.bands = bands.into();
        self
    }

    /// Whether the detector gets an [`id`](Detector::id) that identifies the model in results. Then opening reads the
    /// model's whole file once more. A checkpoint in memory has no file, so it gets no id. The default is `false`.
    pub fn identified(mut self, identified: bool) -> Self {
        self.is_identified = identified;
        self
    }

    /// Opens a run's folder, a checkpoint, or a PyTorch state dict.
    ///
    /// # Errors
    /// If it cannot be read, holds no model, its settings contradict each other, or the device does not have the
    /// precision.
    pub fn open(&self, model: impl AsRef<Path>) -> Result<Detector> {
        let model = model.as_ref();
        if !self.is_identified {
            return self.open_file(model, None);
        }
        let file = file_of(model)?;
        let state = || {
            let metadata = fs::metadata(&file)?;
            Ok((metadata.len(), metadata.modified()?))
        };
        loop {
            let before = state().map_err(Error::file("read", &file))?;
            let mut id = sha256(&[&file])?;
            id.truncate(ID_DIGITS);
            let detector = self.open_file(model, Some(id))?;
            // Else another file may have taken its place between the two.
            if state().map_err(Error::file("read", &file))? == before {
                return Ok(detector);
            }
        }
    }

    /// Makes a detector of a checkpoint that is in memory.
    ///
    /// # Errors
    /// If its settings contradict each other, or the device does not have the precision.
    pub fn open_checkpoint(&self, checkpoint: &Checkpoint) -> Result<Detector> {
        self.detector(checkpoint, self.bands.clone(), Path::new("this model"), None)
    }

    fn open_file(&self, model: &Path, id: Option<String>) -> Result<Detector> {
        let bands = bands_of(model, self.bands.as_ref())?;
        self.detector(&Checkpoint::open(model)?, bands, model, id)
    }

    fn detector(
        &self,
        checkpoint: &Checkpoint,
        bands: Option<Pattern>,
        name: &Path,
        id: Option<String>,
    ) -> Result<Detector> {
        let Compute { device, precision } = self.compute.clone().unwrap_or_default();
        let scorer = Scorer::new(checkpoint, &device, precision)?;
        let reader = Reader::new(scorer.channels())
            .with_pattern(bands)
            .with_white_level(scorer.header().scoring.white_level);
        // Else every image would be refused for it.
        reader.check().map_err(Error::request)?;
        Ok(Detector {
            inner: Arc::new(Inner {
                scorer,
                reader,
                calibration: checkpoint.header.calibration.clone().map(Arc::new),
                precision,
                name: PathBuf::from(name),
                id,
            }),
        })
    }
}
