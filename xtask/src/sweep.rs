//! What sweeps over many runs of the `riad` program share: they run it as users do, in a process of its own, and go on
//! where they were broken off.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use riad_data::Layout;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// What `riad eval` measures, as fractions of 1; `None` where a metric is undefined, as with test images of one class.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Metrics {
    pub(crate) image_auroc: Option<f64>,
    pub(crate) pixel_auroc: Option<f64>,
    pub(crate) pixel_ap: Option<f64>,
    pub(crate) aupro: Option<f64>,
    pub(crate) f1_max: Option<f64>,
}

/// What is read of the `results.json` of `riad eval`.
#[derive(Debug, Deserialize)]
struct Results {
    categories: BTreeMap<String, Measured>,
    settings: Value,
    versions: Value,
}

#[derive(Debug, Deserialize)]
struct Measured {
    #[serde(flatten)]
    metrics: Metrics,
    /// Why images are not in the metrics.
    #[serde(default)]
    faults: Vec<String>,
}

/// A category's metrics, with what `riad` recorded beside them.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) metrics: Metrics,
    pub(crate) settings: Value,
    pub(crate) versions: Value,
}

/// The categories in `data`, or `data` itself, by name, in any layout that `riad` reads.
pub(crate) fn categories(data: &Path) -> Result<Vec<(String, PathBuf)>> {
    let folders = Layout::of(data)?.categories(data)?;
    let named = folders.into_iter().map(|folder| {
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        (name.into_owned(), folder)
    });
    Ok(named.collect())
}

/// Writes what a sweep was asked for to `sweep.json`, or compares with what is there: results of another request do not
/// belong in the same table.
pub(crate) fn record(request: &(impl Serialize + DeserializeOwned + PartialEq), out: &Path) -> Result<()> {
    let path = out.join("sweep.json");
    match fs::read(&path) {
        Ok(json) => {
            let earlier = serde_json::from_slice(&json).with_context(|| format!("{} is damaged", path.display()))?;
            ensure!(
                *request == earlier,
                "{} was begun with other settings: choose another --out, or repeat these:\n  {}",
                out.display(),
                String::from_utf8_lossy(&json)
            );
            Ok(())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => write_json(&path, request),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// What `riad eval` has left of `category` in `folder`.
///
/// # Errors
/// If it has left nothing, or results of only some of the images.
pub(crate) fn read_results(folder: &Path, category: &str) -> Result<Outcome> {
    let path = folder.join("results.json");
    let json = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let Results {
        categories,
        settings,
        versions,
    } = serde_json::from_slice(&json).with_context(|| format!("{} is damaged", path.display()))?;
    // Its name is written as `riad eval` writes names, and it is the only one.
    let mut all = categories.into_values();
    let (Some(Measured { metrics, faults }), None) = (all.next(), all.next()) else {
        bail!("{} holds not one category, but {category} was measured", path.display());
    };
    ensure!(
        faults.is_empty(),
        "{} has faults: {}",
        path.display(),
        faults.join("; ")
    );
    Ok(Outcome {
        metrics,
        settings,
        versions,
    })
}

/// Writes `value` as JSON that people can read.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(value).with_context(|| format!("cannot write {}", path.display()))?;
    json.push(b'\n');
    write(path, &json)
}

/// Writes beside and renames, so that a killed sweep leaves the old file or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_added_extension("tmp");
    fs::write(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The method that a sweep is about, as options: RIAD, whatever suits the images, unless `options` name another.
pub(crate) fn method<'a>(options: impl IntoIterator<Item = &'a str>) -> &'static [&'static str] {
    let names = |option: &str| option == "--method" || option.starts_with("--method=");
    if options.into_iter().any(names) {
        &[]
    } else {
        &["--method", "riad"]
    }
}

/// Runs a command to its end, which must be a good one.
pub(crate) fn finish(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let task = command.get_args().next().unwrap_or_default().to_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(status.success(), "riad {} ended with {status}", task.display());
    Ok(())
}

/// Lets the `riad` under way end by itself on Ctrl-C, which the terminal sends to it as well; it then leaves a run that
/// can be resumed. A second Ctrl-C ends the sweep at once. SIGHUP stays as it is, so that a sweep under `nohup` goes on after a
/// logout.
pub(crate) fn watch_interrupts() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })
    .context("cannot watch for Ctrl-C")?;
    Ok(interrupted)
}
