//! From a folder of good images to a trained and calibrated model.

use std::path::{Path, PathBuf};

use riad_core::Size;
use riad_data::{Category, Layout, Pattern};
use riad_model::{Device, Method, Preset};

use crate::{Cancel, Compute, Observer, Result, Run, TrainingOptions};

/// A training to start.
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
    /// Learns from the good images in a folder, or from a category of a data set. The folders and files show the
    /// layout.
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

    /// The folder of the run: `runs/<name of the category>` by default.
    pub fn out(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out = Some(folder.into());
        self
    }

    /// The size of the network: [`Preset::Tiny`] by default.
    pub fn preset(mut self, preset: Preset) -> Self {
        self.options.preset = Some(preset);
        self
    }

    /// Images are resized to a square of this side in pixels: 128 by default.
    pub fn size(mut self, side: usize) -> Self {
        self.options.size = Some(Size::new(side, side));
        self
    }

    /// The method. By default the training images choose it.
    pub fn method(mut self, method: Method) -> Self {
        self.options.method = Some(method);
        self
    }

    /// Starts with the weights of another run or checkpoint instead of random ones. Method, preset, size and channels
    /// have its values by default. Method, preset and channels must be the same, or [`start`](Self::start) reports an
    /// error.
    pub fn starting_from(mut self, model: impl Into<PathBuf>) -> Self {
        self.options.from = Some(model.into());
        self
    }

    /// Number that decides initial weights, split, order and masks: 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Largest number of passes over the images.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.options.epochs = Some(epochs);
        self
    }

    /// Share of the images held out to calibrate thresholds, from 0 (none) to less than 1. The default is a tenth if
    /// there are at least 185 images, which is enough for a false-positive rate of 0.05. With fewer images the default
    /// is 0. With [`Method::RESTORE`] the images for validation calibrate as well, unless the share is 0, so 93 images are
    /// enough. A model without a calibration has scores, but no [verdict](crate::Inspection::verdict) until a
    /// [`Recalibration`](crate::Recalibration) with other good images.
    pub fn calibration(mut self, share: f64) -> Self {
        self.options.calibration = Some(share);
        self
    }

    /// Share of the images held out to compute the validation loss. Some methods choose the best epoch by it. The
    /// default is 0.2 minus the share for calibration, but at least 0.1.
    pub fn validation(mut self, share: f64) -> Self {
        self.options.validation = Some(share);
        self
    }

    /// Which files make one image together.
    pub fn bands(mut self, bands: Pattern) -> Self {
        self.options.bands = Some(bands);
        self
    }

    /// The layout of the data set. By default the folders and files show it.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// The device. The default is a GPU that this build can use, otherwise the CPU.
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Stops the training. A later [`start`](Self::start) with the same folder goes on.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// All options at once. They replace all earlier ones.
    pub fn options(mut self, options: TrainingOptions) -> Self {
        self.options = options;
        self
    }

    /// Starts the run in the folder, or goes on with it, until training ends or is cancelled. [`Run::outcome`] says
    /// which. At the end it finds what is normal, and calibrates if enough images were held out. The observer gets an
    /// event for unusual images. To stop from an observer, keep a clone of the [`Cancel`].
    ///
    /// # Errors
    /// If an image cannot be used, the run in the folder was started with other options or images, or training fails.
    pub fn start(self, observer: &dyn Observer) -> Result<Run> {
        let folder = match (&self.out, self.layout) {
            (Some(out), _) => out.clone(),
            (None, Some(layout)) => self.usual_folder(layout),
            (None, None) => self.usual_folder(Layout::of(&self.data)?),
        };
        crate::files::check_outside(&folder, &self.data)?;
        let existing = Run::exists(&folder).then(|| Run::open(&folder)).transpose()?;
        let bands = self.options.bands.as_ref().or(existing.as_ref().and_then(Run::bands));
        let category = match self.layout.or(existing.as_ref().map(Run::layout)) {
            Some(layout) => Category::open_as(&self.data, layout, bands)?,
            None => Category::open(&self.data, bands)?,
        };
        let device = self.device.clone().unwrap_or_else(|| Compute::default().device);
        let mut run = match existing {
            Some(run) => {
                run.agree(&self.options, self.layout)?;
                run
            }
            None => Run::create(&folder, &category, &self.options, &device, observer)?,
        };
        run.train(Some(&category), &device, &self.cancel, observer)?;
        Ok(run)
    }

    /// The folder of the run of data in a layout, if no other one is asked for.
    fn usual_folder(&self, layout: Layout) -> PathBuf {
        Path::new("runs").join(layout.name_of(&self.data))
    }
}
