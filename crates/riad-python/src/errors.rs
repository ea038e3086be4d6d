//! The library's errors as Python's exceptions, in the library's words.

use std::path::Path;

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use riad::{DataError, Error, ModelError};

/// Why a call from Python fails.
pub(crate) enum Failure {
    /// The library refused. Boxed, since most calls do not fail.
    Library(Box<Error>),
    /// Python raised an exception on the way.
    Python(PyErr),
}

/// What calls from Python give.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(Box::new(error))
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Error::from(error).into()
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        Error::from(error).into()
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Python(error) => error,
            Failure::Library(error) => Python::attach(|py| {
                let class = class(&error);
                exception(py, class, &error.to_string(), error.path())
            }),
        }
    }
}

/// A request that has no meaning, in these words.
pub(crate) fn refused(reason: impl ToString) -> Failure {
    Failure::from(Error::Request(reason.to_string()))
}

/// An exception of the package, by its class in `riad._errors`.
pub(crate) fn exception(py: Python<'_>, class: &str, message: &str, path: Option<&Path>) -> PyErr {
    let made = || {
        let class = py.import("riad._errors")?.getattr(class)?;
        class.call1((message, path.map(Path::to_string_lossy)))
    };
    match made() {
        Ok(exception) => PyErr::from_value(exception),
        // The package is not whole.
        Err(_) => PyRuntimeError::new_err(message.to_owned()),
    }
}

/// By whose fault it is.
fn class(error: &Error) -> &'static str {
    match error {
        Error::NotCalibrated { .. } | Error::TooFew { .. } => "NotCalibratedError",
        Error::RunExists { .. }
        | Error::NoRun { .. }
        | Error::Differs { .. }
        | Error::OtherImages { .. }
        | Error::ImagesGone { .. }
        | Error::Damaged { .. }
        | Error::Faults(_)
        | Error::Model(
            ModelError::RunExists { .. }
            | ModelError::NoRun { .. }
            | ModelError::RunBusy { .. }
            | ModelError::OtherImages { .. }
            | ModelError::Diverged { .. },
        ) => "RunError",
        Error::File { .. } | Error::Data(DataError::Io { .. }) | Error::Model(ModelError::Io { .. }) => "FileError",
        Error::Data(DataError::Parameter(_)) => "RequestError",
        // No other image helps.
        Error::Data(DataError::Layout { .. } | DataError::Layouts { .. }) => "Error",
        Error::Data(_)
        | Error::Image { .. }
        | Error::Pixels(_)
        | Error::Mask { .. }
        | Error::Model(ModelError::ImageSize { .. }) => "ImageError",
        Error::Model(ModelError::Checkpoint { .. } | ModelError::NoWeights { .. }) => "ModelError",
        error if error.is_usage() => "RequestError",
        _ => "Error",
    }
}
