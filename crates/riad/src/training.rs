//! From a folder of good images to a trained and calibrated model, in one expression.

use std::path::{Path, PathBuf};

use riad_core::Size;
use riad_data::{Category, Layout, Pattern};
use riad_model::{Device, Method, Preset};

use crate::{Cancel, Compute, Observer, Result, Run, TrainingOptions};

/// A training that is to be started.
///
/// ```no_run
/// use riad::{Preset, Training};
///
/// let run = Training::new("photos/good").preset(Preset::Tiny).size(128).out("runs/lid").start(&())?;
/// let detector = riad::Detector::open(run.folder())?;
/// # Ok::<(), riad::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Training {
    data: PathBuf,
    layout: Option<Layout>,
    out: Option<PathBuf>,
    device: Option<Device>,
    cancel: Cancel,
    options: TrainingOptions,
}

impl Training {
    /// Learns from the good images below a folder, or from a category of a data set whose layout is told by what is there.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            layout: None,
            out: None,
            device: None,
            cancel: Cancel::new(),
            options: TrainingOptions::default(),
        }
    }

    /// Where the run goes: `runs/<name of the folder>` by default.
    pub fn out(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out = Some(folder.into());
        self
    }

    /// The size of the network: [`Preset::Tiny`] by default.
    pub fn preset(mut self, preset: Preset) -> Self {
        self.options.preset = Some(preset);
        self
    }

    /// Images are resized to a square of this side in pixels: 256 by default.
    pub fn size(mut self, side: usize) -> Self {
        self.options.size = Some(Size::new(side, side));
        self
    }

    /// The method: by default the one that suits the images.
    pub fn method(mut self, method: Method) -> Self {
        self.options.method = Some(method);
        self
    }

    /// Starts with the weights of another run or checkpoint instead of random ones. What is not set here of method, preset, size and
    /// channels is as there. The model must be of the same method, preset and channels, or [`start`](Self::start) refuses it.
    pub fn starting_from(mut self, model: impl Into<PathBuf>) -> Self {
        self.options.from = Some(model.into());
        self
    }

    /// Decides initial weights, split, order and masks: 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Passes over the images, at most.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.options.epochs = Some(epochs);
        self
    }

    /// Share of the images held out from all training to calibrate thresholds with, from 0 for none to less than 1. By default it is a
    /// tenth from 185 images on, which is enough for a false-positive rate of 0.05, and none of fewer: such a model has scores, but no
    /// [verdict](crate::Found::verdict) until a [`Recalibration`](crate::Recalibration) gives it other good images.
    pub fn calibration(mut self, share: f64) -> Self {
        self.options.calibration = Some(share);
        self
    }

    /// Share of the images held out to watch the loss with, and for some methods to choose the best epoch: by default 0.2, less what
    /// calibration takes, but at least 0.1.
    pub fn validation(mut self, share: f64) -> Self {
        self.options.validation = Some(share);
        self
    }

    /// Which files make one image together.
    pub fn bands(mut self, bands: Pattern) -> Self {
        self.options.bands = Some(bands);
        self
    }

    /// How the data set is laid out, instead of telling it by what is there.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// What computes: by default the GPU that this build drives, or else the CPU.
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// What can stop the training. A later [`start`](Self::start) with the same folder goes on.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// All options at once, in place of those set before.
    pub fn options(mut self, options: TrainingOptions) -> Self {
        self.options = options;
        self
    }

    /// Trains from where the run in the folder is, until training ends or is cancelled. [`Run::trained`] tells which. At the end it
    /// finds what is normal, calibrates if enough images were held out, and tells the observer of unusual images. To stop from an
    /// observer, keep a clone of the [`Cancel`].
    ///
    /// # Errors
    /// If an image cannot be used, the run in the folder was started with other options or images, or training fails.
    pub fn start(self, observer: &dyn Observer) -> Result<Run> {
        let existing = self
            .out
            .as_ref()
            .filter(|out| Run::exists(out))
            .map(Run::open)
            .transpose()?;
        let bands = self.options.bands.as_ref().or(existing.as_ref().and_then(Run::bands));
        let mut category = match self.layout.or(existing.as_ref().map(Run::layout)) {
            Some(layout) => Category::open_as(&self.data, layout, bands)?,
            None => Category::open(&self.data, bands)?,
        };
        let folder = self
            .out
            .clone()
            .unwrap_or_else(|| Path::new("runs").join(&category.name));
        crate::files::check_outside(&folder, &self.data)?;
        let device = self.device.clone().unwrap_or_else(|| Compute::default().device);
        let mut run = if Run::exists(&folder) {
            let run = Run::open(&folder)?;
            run.agree(&self.options, self.layout)?;
            run
        } else {
            Run::create(&folder, &mut category, &self.options, &device, observer)?
        };
        run.train(Some(&category), &device, &self.cancel, observer)?;
        Ok(run)
    }
}
