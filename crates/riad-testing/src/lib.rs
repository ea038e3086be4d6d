//! What tests of several crates share: what they need of a machine that not every machine has.
//!
//! A test that lacks something says so and passes. Where the environment variable `RIAD_REQUIRE` names it, as in
//! `RIAD_REQUIRE=python,data,gpu`, the test fails: so CI cannot pass over what it has.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

/// What a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Python with numpy, SciPy, Pillow, onnx, onnxruntime, tensorboard and pymodbus; `RIAD_PYTHON` names another than python3.
    Python,
    /// The real images beside the checkout.
    Data,
    /// A GPU that the build drives.
    Gpu,
    /// A CPU that multiplies in bf16.
    Bf16,
    /// The MQTT broker mosquitto, its clients and openssl.
    Mosquitto,
}

impl Needs {
    fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Data => "data",
            Self::Gpu => "gpu",
            Self::Bf16 => "bf16",
            Self::Mosquitto => "mosquitto",
        }
    }
}

/// Says that a test is passed over.
///
/// # Panics
/// If `RIAD_REQUIRE` names what is missing.
pub fn skip(needs: Needs, reason: impl fmt::Display) {
    let required = std::env::var("RIAD_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == needs.name()),
        "RIAD_REQUIRE names {}, and it is not there: {reason}",
        needs.name()
    );
    eprintln!("skipped: {reason}");
}

/// A file or folder of the real images beside the checkout, `../shared/data`, if it is there.
///
/// # Panics
/// As [`skip`].
pub fn data(path: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = root.join(path);
    if !path.exists() {
        skip(Needs::Data, format_args!("{} is not there", path.display()));
        return None;
    }
    Some(path)
}

/// What Python prints for these arguments, run in `folder`; `None` if it or a module that it imports is not there.
///
/// # Panics
/// As [`skip`], and if Python fails.
pub fn python<S: AsRef<std::ffi::OsStr>>(folder: &Path, arguments: &[S]) -> Option<String> {
    let program = std::env::var_os("RIAD_PYTHON").unwrap_or("python3".into());
    let Ok(output) = Command::new(&program).args(arguments).current_dir(folder).output() else {
        skip(
            Needs::Python,
            format_args!("{} cannot be started", Path::new(&program).display()),
        );
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("ModuleNotFoundError") {
        skip(Needs::Python, said);
        return None;
    }
    assert!(output.status.success(), "{said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
