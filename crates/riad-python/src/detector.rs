//! `Detector`.

use std::{collections::BTreeMap, path::PathBuf};

use numpy::PyArray1;
use pyo3::{
    prelude::*,
    types::{PyAny, PyTuple},
};
use riad::{Checkpoint, Compute, FalsePositiveRate, Pattern, Precision, facts};

use crate::{
    errors::{Failure, Result, exception},
    image::{Given, is_path},
    inspection::Inspection,
    inspections::Inspections,
    rate::{given, in_same_digits, rate},
    threads::compute,
};

/// A trained model that looks at images.
///
/// ``model`` is a run's folder, a checkpoint (``.safetensors``), or a PyTorch state dict with the public names (``.pth``, ``.pt``).
/// ``bands`` says which files make one image together, such as ``"*_light{0,1,2}.png"``; a run knows its own. ``precision`` is
/// ``"f32"`` or ``"bf16"``.
///
/// One detector serves any number of threads at once, which compute while others run Python. It can be pickled: the other process
/// opens the same file, and refuses one that has changed.
///
/// >>> detector = riad.Detector(RUN)
/// >>> found = detector.inspect(PHOTO)
/// >>> found.verdict(fpr=0.1) in ("good", "defective")
/// True
#[pyclass(frozen, module = "riad")]
pub(crate) struct Detector {
    pub(crate) inner: riad::Detector,
    bands: Option<String>,
}

fn open(py: Python<'_>, model: PathBuf, bands: Option<&str>, precision: Option<&str>) -> Result<riad::Detector> {
    let bands = bands.map(str::parse::<Pattern>).transpose()?;
    let mut how = Compute::default();
    if let Some(precision) = precision {
        how.precision = precision.parse::<Precision>()?;
    }
    let options = riad::Detector::options().compute(how).bands(bands).identified(true);
    Ok(compute(py, || options.open(model))??)
}

#[pymethods]
impl Detector {
    #[new]
    #[pyo3(signature = (model, *, bands=None, precision=None))]
    fn new(py: Python<'_>, model: PathBuf, bands: Option<String>, precision: Option<&str>) -> Result<Self> {
        let inner = open(py, model, bands.as_deref(), precision)?;
        Ok(Self { inner, bands })
    }

    /// Looks at one image.
    ///
    /// ``image`` is a path, the bytes of an image file, a numpy array, or an image of Pillow. An array has the shape ``(height, width,
    /// channels)`` or ``(height, width)``, and holds uint8, uint16, floats in [0, 1], or bool.
    ///
    /// ``fpr`` and ``confidence`` are what :meth:`Inspection.verdict` and the like take where they are given nothing.
    ///
    /// >>> import numpy
    /// >>> found = riad.Detector(RUN).inspect(numpy.zeros((48, 64, 3), numpy.uint8))
    /// >>> found.original_size
    /// (48, 64)
    #[pyo3(signature = (image, *, fpr=None, confidence=None))]
    fn inspect(
        &self,
        py: Python<'_>,
        image: &Bound<'_, PyAny>,
        fpr: Option<f64>,
        confidence: Option<f64>,
    ) -> Result<Inspection> {
        let usual = self.checked(fpr, confidence)?;
        let image = Given::of(image)?;
        let found = compute(py, || match image {
            Given::File(path) => self.inner.inspect_file(path),
            Given::Bytes(bytes) => self.inner.inspect_bytes(bytes),
        })?;
        Ok(Inspection::new(found?, usual))
    }

    /// Looks at many files, one after the other, and decodes ahead on all cores. More threads of a caller's own make it no faster.
    ///
    /// ``paths`` is an iterable of paths, of which a few hundred are taken at a time, or one folder, which is searched with its
    /// subfolders. What is found comes in the order of the paths. An image that cannot be read or scored gives a :class:`Inspection` whose
    /// :attr:`~Inspection.error` says why, and stops nothing. A rate that the model has no threshold for is refused at once.
    ///
    /// >>> for found in riad.Detector(RUN).inspect_many([PHOTO, "no-such-file.png"], fpr=0.1):
    /// ...     print(found.error is None)
    /// True
    /// False
    #[pyo3(signature = (paths, *, fpr=None, confidence=None))]
    fn inspect_many(&self, paths: &Bound<'_, PyAny>, fpr: Option<f64>, confidence: Option<f64>) -> Result<Inspections> {
        let usual = self.checked(fpr, confidence)?;
        if is_path(paths) {
            let folder: PathBuf = paths.extract()?;
            let bands = self.inner.reader().pattern.clone();
            let found = compute(paths.py(), || riad::image_files(&folder, bands.as_ref()))?;
            return Ok(Inspections::of_folder(self.inner.clone(), found, usual));
        }
        Ok(Inspections::of_paths(
            self.inner.clone(),
            paths.try_iter()?.unbind(),
            usual,
        ))
    }

    /// The highest score that is called good at a false-positive rate, 0.05 where none is given.
    ///
    /// The rate is kept on average over calibrations, or with ``confidence`` with that probability by this one.
    ///
    /// >>> detector = riad.Detector(RUN)
    /// >>> detector.threshold(fpr=0.2) <= detector.threshold(fpr=0.1)
    /// True
    #[pyo3(signature = (fpr=None, confidence=None))]
    fn threshold(&self, fpr: Option<f64>, confidence: Option<f64>) -> Result<f64> {
        let threshold = self.inner.threshold(rate(fpr, confidence, None))?;
        Ok(in_same_digits(threshold.value()))
    }

    /// Where the model lies, as it was given.
    #[getter]
    fn path(&self) -> String {
        self.inner.name().to_string_lossy().into_owned()
    }

    /// The first 12 hexadecimal digits of the SHA-256 of the model's file. Results of one id compare.
    #[getter]
    fn id(&self) -> &str {
        self.inner.id().unwrap_or_default()
    }

    /// Channels of the images that it looks at.
    #[getter]
    fn channels(&self) -> usize {
        self.inner.reader().channels
    }

    /// Height and width in pixels at which images are looked at, or of the tiles in which they are.
    #[getter]
    fn size(&self) -> (usize, usize) {
        let size = self.inner.header().scoring.size();
        (size.height, size.width)
    }

    /// Whether images are looked at in tiles, at their own size.
    #[getter]
    fn tiled(&self) -> bool {
        self.inner.header().scoring.tiling.is_some()
    }

    /// The scores of the good images that thresholds come from, in ascending order, as an array; ``None`` if it is not calibrated.
    #[getter]
    fn calibration<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f32>>> {
        let calibration = self.inner.calibration()?;
        Some(PyArray1::from_slice(py, calibration.scores()))
    }

    /// What there is to know of the model, in words, as ``riad info`` tells it.
    ///
    /// >>> riad.Detector(RUN).facts()["channels"]
    /// '3, RGB'
    fn facts(&self, py: Python<'_>) -> Result<BTreeMap<&'static str, String>> {
        let model = self.inner.name();
        let facts = compute(py, || facts::facts(&Checkpoint::open(model)?, model))?;
        Ok(facts?.into_iter().collect())
    }

    fn __repr__(&self) -> String {
        format!("riad.Detector({:?})", self.path())
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> Result<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let path = std::path::absolute(self.inner.name()).map_err(PyErr::from)?;
        let precision = self.inner.precision().to_string();
        let arguments = (path.into_os_string(), self.id(), self.bands.as_deref(), precision);
        let opener = py.import("riad._riad")?.getattr("_reopened")?;
        Ok((opener, arguments.into_pyobject(py)?))
    }
}

impl Detector {
    /// What is asked of the model in advance, if anything; refused where it has no threshold for it.
    fn checked(&self, fpr: Option<f64>, confidence: Option<f64>) -> Result<Option<FalsePositiveRate>> {
        let rate = given(fpr, confidence);
        if let Some(rate) = rate {
            self.inner.threshold(rate)?;
        }
        Ok(rate)
    }
}

/// Opens a model again that was pickled.
#[pyfunction]
#[pyo3(name = "_reopened")]
pub(crate) fn reopened(
    py: Python<'_>,
    model: PathBuf,
    id: &str,
    bands: Option<String>,
    precision: &str,
) -> Result<Detector> {
    let inner = open(py, model, bands.as_deref(), Some(precision))?;
    let now = inner.id().unwrap_or_default();
    if now != id {
        let message = format!(
            "{} is not the model that was pickled: its id is {now}, and the pickled model's id is {id}; restore the \
             old file, or open this one as a new detector",
            inner.name().display()
        );
        return Err(Failure::Python(exception(
            py,
            "ModelError",
            &message,
            Some(inner.name()),
        )));
    }
    Ok(Detector { inner, bands })
}
