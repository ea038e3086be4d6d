//! `Run`.

use std::path::{Path, PathBuf};

use pyo3::{
    prelude::*,
    types::{PyDict, PyTuple},
};

use crate::{
    errors::Result,
    threads::compute,
    told::{losses, set},
};

/// A training run in a folder. It is a path, too: ``riad.Detector(run)`` opens its best weights.
///
/// >>> run = riad.Run(RUN)
/// >>> [epoch["epoch"] for epoch in run.history()]
/// [1]
#[pyclass(frozen, module = "riad")]
pub(crate) struct Run {
    folder: PathBuf,
    finished: Option<bool>,
}

impl Run {
    pub(crate) fn new(folder: &Path, finished: bool) -> Self {
        Self {
            folder: folder.to_owned(),
            finished: Some(finished),
        }
    }
}

#[pymethods]
impl Run {
    #[new]
    fn open(py: Python<'_>, folder: PathBuf) -> Result<Self> {
        compute(py, || riad::Run::open(&folder))??;
        Ok(Self { folder, finished: None })
    }

    /// The run's folder.
    #[getter]
    fn path(&self) -> String {
        self.folder.to_string_lossy().into_owned()
    }

    /// Whether training ended by itself; ``False`` if it was stopped and can go on, ``None`` if this object was not there then.
    #[getter]
    fn finished(&self) -> Option<bool> {
        self.finished
    }

    /// The losses of each epoch: a list of dictionaries, which ``pandas.DataFrame`` takes.
    fn history<'py>(&self, py: Python<'py>) -> Result<Vec<Bound<'py, PyDict>>> {
        let records = compute(py, || riad::Run::open(&self.folder)?.history(&()))??;
        let row = |record| {
            let row = PyDict::new(py);
            set(&row, &losses(record))?;
            Ok(row)
        };
        records.iter().map(row).collect()
    }

    fn __fspath__(&self) -> String {
        self.path()
    }

    fn __repr__(&self) -> String {
        format!("riad.Run({:?})", self.path())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> Result<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let class = py.get_type::<Self>().into_any();
        Ok((class, (self.path(),).into_pyobject(py)?))
    }
}
