//! `Inspection`.

use std::{path::PathBuf, sync::Arc};

use numpy::PyArray3;
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};
use riad::{FalsePositiveRate, Region, RgbImage, Size, render};

use crate::{
    arrays::picture,
    errors::{Failure, Result},
    rate::{in_same_digits, rate},
    threads::compute,
};

/// What a :class:`Detector` finds in an image, or why it cannot look at it.
///
/// Where :attr:`error` is not ``None``, all but :attr:`path` raise it.
#[pyclass(frozen, module = "riad")]
pub(crate) struct Inspection {
    content: Content,
    /// What thresholds are for where a call asks for nothing.
    usual: Option<FalsePositiveRate>,
}

enum Content {
    Inspection(Arc<riad::Inspection>),
    Failed { path: PathBuf, error: Py<PyAny> },
}

impl Inspection {
    pub(crate) fn new(found: riad::Inspection, usual: Option<FalsePositiveRate>) -> Self {
        let content = Content::Inspection(Arc::new(found));
        Self { content, usual }
    }

    /// A file that there is nothing to be found in.
    pub(crate) fn failed(py: Python<'_>, path: PathBuf, error: riad::Error) -> Self {
        let error = PyErr::from(Failure::from(error)).into_value(py).into_any();
        let content = Content::Failed { path, error };
        Self { content, usual: None }
    }

    fn found(&self, py: Python<'_>) -> Result<&Arc<riad::Inspection>> {
        match &self.content {
            Content::Inspection(found) => Ok(found),
            Content::Failed { error, .. } => Err(Failure::Python(PyErr::from_value(error.bind(py).clone()))),
        }
    }

    fn rate(&self, fpr: Option<f64>, confidence: Option<f64>) -> FalsePositiveRate {
        rate(fpr, confidence, self.usual)
    }

    /// The overlay, with a line around what is above the threshold if one is asked for now or was before.
    fn drawn(&self, py: Python<'_>, fpr: Option<f64>, confidence: Option<f64>) -> Result<RgbImage> {
        let found = Arc::clone(self.found(py)?);
        let asks = fpr.is_some() || confidence.is_some() || self.usual.is_some();
        let rate = self.rate(fpr, confidence);
        Ok(compute(py, move || {
            if asks { found.overlay_at(rate) } else { found.overlay() }
        })??)
    }
}

#[pymethods]
impl Inspection {
    /// The image's file; ``None`` if it was in memory.
    #[getter]
    fn path(&self) -> Option<String> {
        let path = match &self.content {
            Content::Inspection(found) => found.path(),
            Content::Failed { path, .. } => Some(path.as_path()),
        };
        path.map(|path| path.to_string_lossy().into_owned())
    }

    /// Why :meth:`Detector.inspect_many` could not look at the image, a :class:`riad.Error`; ``None`` if it could.
    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.content {
            Content::Inspection(_) => None,
            Content::Failed { error, .. } => Some(error.clone_ref(py)),
        }
    }

    /// How anomalous the image is: the maximum of :attr:`map`, in the digits that ``riad score`` prints. ``numpy.float32`` makes it
    /// the very value. Scores of one model compare, those of two do not.
    #[getter]
    fn score(&self, py: Python<'_>) -> Result<f64> {
        Ok(in_same_digits(self.found(py)?.score()))
    }

    /// How likely a good image scores at least as high, from above 0 to 1; ``None`` if the model is not calibrated.
    #[getter]
    fn p_value(&self, py: Python<'_>) -> Result<Option<f64>> {
        Ok(self.found(py)?.p_value())
    }

    /// Height and width of the image in its file, upright.
    #[getter]
    fn original_size(&self, py: Python<'_>) -> Result<(usize, usize)> {
        let Size { height, width } = self.found(py)?.original_size();
        Ok((height, width))
    }

    /// How anomalous each pixel is that the network saw, at its size, or with tiles at the image's: float32 ``(height, width)``. The
    /// array shows this object's own memory, cannot be written to, and keeps it as long as it is there.
    ///
    /// >>> map = riad.Detector(RUN).inspect(PHOTO).map
    /// >>> map.dtype, map.ndim
    /// (dtype('float32'), 2)
    #[getter]
    fn map<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let plane = Plane(Arc::clone(self.found(py)?)).into_pyobject(py)?;
        Ok(py.import("numpy")?.call_method1("asarray", (plane,))?)
    }

    /// ``"good"``; ``"defective"`` if the score is above the threshold for a false-positive rate; or ``"not_this_product"`` if the image
    /// as a whole does not resemble the good ones: it is dark, it shows another product, or the camera was moved.
    ///
    /// Without ``fpr`` it is the rate that :meth:`Detector.inspect` was given, or else 0.05.
    ///
    /// >>> riad.Detector(RUN).inspect(PHOTO).verdict(fpr=0.1)
    /// 'good'
    #[pyo3(signature = (fpr=None, confidence=None))]
    fn verdict(&self, py: Python<'_>, fpr: Option<f64>, confidence: Option<f64>) -> Result<&'static str> {
        Ok(self.found(py)?.verdict(self.rate(fpr, confidence))?.name())
    }

    /// What is above the threshold for a false-positive rate, part by part, the highest peak first: a list of :class:`riad.Region`.
    /// Empty if the verdict is good.
    ///
    /// >>> riad.Detector(RUN).inspect(PHOTO).regions(fpr=0.1)
    /// []
    #[pyo3(signature = (fpr=None, confidence=None))]
    fn regions<'py>(
        &self,
        py: Python<'py>,
        fpr: Option<f64>,
        confidence: Option<f64>,
    ) -> Result<Vec<Bound<'py, PyAny>>> {
        let found = Arc::clone(self.found(py)?);
        let rate = self.rate(fpr, confidence);
        let regions = compute(py, move || found.regions(rate))??;
        let class = py.import("riad._types")?.getattr("Region")?;
        let made = regions.into_iter().map(|region| {
            let Region {
                x,
                y,
                width,
                height,
                area,
                peak,
            } = region;
            Ok(class.call1((x, y, width, height, area, in_same_digits(peak)))?)
        });
        made.collect()
    }

    /// The map's colours over the image in grey, as uint8 ``(height, width, 3)`` at the image's own size. With a rate, here or in
    /// :meth:`Detector.inspect`, there is a line around what is above its threshold. A file is decoded once more for it.
    ///
    /// It is an array, which every library takes; ``PIL.Image.fromarray`` makes one of Pillow's images of it.
    ///
    /// >>> riad.Detector(RUN).inspect(PHOTO).overlay().shape
    /// (64, 64, 3)
    #[pyo3(signature = (fpr=None, confidence=None))]
    fn overlay<'py>(
        &self,
        py: Python<'py>,
        fpr: Option<f64>,
        confidence: Option<f64>,
    ) -> Result<Bound<'py, PyArray3<u8>>> {
        picture(py, self.drawn(py, fpr, confidence)?)
    }

    /// The map in colours, from 0, blue, to 0.5, red, as uint8 ``(height, width, 3)`` at the image's own size.
    fn heat_map<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyArray3<u8>>> {
        let found = Arc::clone(self.found(py)?);
        picture(py, compute(py, move || found.heat_map())??)
    }

    /// Writes :meth:`overlay` to a PNG file. Folders on the way are made.
    #[pyo3(signature = (path, fpr=None, confidence=None))]
    fn save_overlay(&self, py: Python<'_>, path: PathBuf, fpr: Option<f64>, confidence: Option<f64>) -> Result<()> {
        let overlay = self.drawn(py, fpr, confidence)?;
        Ok(compute(py, move || render::save(&overlay, &path))??)
    }

    /// The overlay, for notebooks.
    fn _repr_png_<'py>(&self, py: Python<'py>) -> Result<Option<Bound<'py, PyBytes>>> {
        if let Content::Failed { .. } = self.content {
            return Ok(None);
        }
        let overlay = self.drawn(py, None, None)?;
        let png = compute(py, move || render::png(&overlay))??;
        Ok(Some(PyBytes::new(py, &png)))
    }

    /// The overlay with what was found, in words, for notebooks.
    fn _repr_html_(slf: &Bound<'_, Self>) -> Result<String> {
        let words = slf.py().import("riad._notebook")?;
        Ok(words.call_method1("html", (slf,))?.extract()?)
    }

    fn __repr__(&self, py: Python<'_>) -> Result<String> {
        let path = self
            .path()
            .map_or_else(|| "an image in memory".to_owned(), |path| format!("{path:?}"));
        Ok(match &self.content {
            Content::Inspection(found) => format!("<riad.Inspection in {path}: score {}>", found.score()),
            Content::Failed { error, .. } => format!("<riad.Inspection in {path}: {}>", error.bind(py).str()?),
        })
    }
}

/// A map's memory. It is never written to, nor freed before this is.
#[pyclass(frozen, module = "riad._riad", name = "_Plane")]
pub(crate) struct Plane(Arc<riad::Inspection>);

#[pymethods]
impl Plane {
    /// What numpy needs to know of the memory, <https://numpy.org/doc/stable/reference/arrays.interface.html>. Numpy keeps this object
    /// as long as the array.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyDict>> {
        let map = self.0.map();
        let Size { height, width } = map.size();
        let is_read_only = true;
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("shape", (height, width))?;
        interface.set_item("typestr", if cfg!(target_endian = "little") { "<f4" } else { ">f4" })?;
        interface.set_item("data", (map.values().as_ptr().addr(), is_read_only))?;
        Ok(interface)
    }
}
