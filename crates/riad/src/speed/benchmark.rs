//! Presets at sizes on this machine, to choose from before a training.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    thread::available_parallelism,
    time::Duration,
};

use riad_core::Size;
use riad_model::{Method, Precision, Preset};
use serde::Serialize;

use super::{Speed, measure};
use crate::{Cancel, Compute, Result, TrainingOptions};

/// Other work on each core, on average over the last minute, from which on numbers are not those of a quiet machine.
const BUSY: f64 = 0.25;

/// What to measure: each preset at each size, and how long a training takes with it.
///
/// ```no_run
/// use riad::{Cancel, Compute, speed::Benchmark};
///
/// let what = Benchmark { images: 500, ..Benchmark::default() };
/// let found = what.run(&Compute::default(), &Cancel::new(), |preset, size| eprintln!("{preset} at {size}"))?;
/// print!("{found}");
/// # Ok::<(), riad::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Benchmark {
    /// Sizes of the network: all by default.
    pub presets: Vec<Preset>,
    /// Heights and widths of the images in pixels: 128 and 256 by default.
    pub sizes: Vec<usize>,
    /// The method: RIAD by default.
    pub method: Method,
    /// Number of good images of the training: 200 by default.
    pub images: usize,
    /// Epochs of the training, of which the method has a default.
    pub epochs: Option<usize>,
    /// Images per training step: 4 by default.
    pub batch: usize,
    /// The precision of training, which has a default on each device.
    pub training_precision: Option<Precision>,
    /// About how long all measurements take together: 30 seconds by default.
    pub time: Duration,
}

/// How fast presets are on this machine. As text it is a table.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Benchmarked {
    /// The version of this library.
    pub riad_version: &'static str,
    /// The device: `cpu`, `cuda` or `metal`.
    pub device: &'static str,
    /// The precision that was scored in.
    pub scoring_precision: String,
    /// The precision that was trained in.
    pub training_precision: String,
    /// Bytes of GPU memory in use at once, at most. `None` on a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_gpu_memory: Option<usize>,
    /// Number of threads.
    pub threads: usize,
    /// Processes that ran or wanted to on average over the minute before. `None` if the system does not say.
    pub load: Option<f64>,
    /// Number of good images of the training.
    pub images: usize,
    /// The method.
    pub method: Method,
    /// Epochs of the training.
    pub epochs: usize,
    /// Sizes in ascending order, and presets of a size in ascending order.
    pub networks: Vec<BenchmarkedNetwork>,
}

/// How fast a preset is at a size.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct BenchmarkedNetwork {
    /// The size of the network.
    pub preset: Preset,
    /// Height and width of the images in pixels.
    pub size: usize,
    /// The speed of scoring.
    pub scoring: Speed,
    /// The speed of training.
    pub training: Speed,
    /// Seconds that the whole training takes.
    pub training_seconds: f64,
}

impl Default for Benchmark {
    fn default() -> Self {
        Self {
            presets: Preset::ALL.to_vec(),
            sizes: vec![128, 256],
            method: Method::RIAD,
            images: 200,
            epochs: None,
            batch: 4,
            training_precision: None,
            time: Duration::from_secs(30),
        }
    }
}

impl Benchmark {
    /// Measures as [`measure`] does. `told` hears what is measured next.
    ///
    /// # Errors
    /// As [`measure`].
    pub fn run(&self, compute: &Compute, cancel: &Cancel, mut told: impl FnMut(Preset, usize)) -> Result<Benchmarked> {
        let Compute { device, precision } = compute;
        let load = load();
        let parts = TrainingOptions::default().parts(self.images);
        let (mut cells, mut configs) = (Vec::new(), Vec::new());
        for &size in &self.sizes {
            for &preset in &self.presets {
                let options = TrainingOptions {
                    preset: Some(preset),
                    size: Some(Size::new(size, size)),
                    batch: Some(self.batch),
                    epochs: self.epochs,
                    precision: self.training_precision,
                    ..TrainingOptions::default()
                };
                cells.push((preset, size));
                configs.push(options.config(self.method, parts.train.round() as usize, device)?);
            }
        }
        let epochs = configs.last().map_or(0, |config| config.epochs);
        let speeds = measure(&configs, self.time, compute, cancel, |place| {
            let (preset, size) = cells[place];
            told(preset, size);
        })?;
        let found = cells.into_iter().zip(speeds);
        let mut networks: Vec<_> = found
            .map(|((preset, size), speeds)| BenchmarkedNetwork {
                preset,
                size,
                scoring: speeds.scoring,
                training: speeds.training,
                training_seconds: speeds.training_time(parts, epochs).as_secs_f64(),
            })
            .collect();
        networks.sort_by_key(|found| (found.size, found.preset.width()));
        let training = self.training_precision.unwrap_or(Precision::of_training(device));
        Ok(Benchmarked {
            riad_version: env!("CARGO_PKG_VERSION"),
            device: device.kind(),
            scoring_precision: precision.to_string(),
            training_precision: training.to_string(),
            peak_gpu_memory: device.peak_memory(),
            threads: rayon::current_num_threads(),
            load,
            images: self.images,
            method: self.method,
            epochs,
            networks,
        })
    }
}

impl Benchmarked {
    /// Whether other programs kept the machine busy before, so that it may be faster than measured. `false` if the system does not
    /// say.
    pub fn was_busy(&self) -> bool {
        let cores = available_parallelism().map_or(1, usize::from) as f64;
        self.load.is_some_and(|load| load > BUSY * cores)
    }
}

/// The average number of processes at work over the last minute; `None` where there is no `/proc`.
fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

impl Display for Benchmarked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "riad {}, method {}, device {}, {} threads, scoring in {}, training in {}\n\n{:<7} {:>9} {:>15} {:>15} {:>24}",
            self.riad_version,
            self.method,
            self.device,
            self.threads,
            self.scoring_precision,
            self.training_precision,
            "preset",
            "size",
            "scoring",
            "training",
            format!("{} images, {} epochs", self.images, self.epochs)
        )?;
        let mark = |is_estimated: bool| if is_estimated { "~" } else { "" };
        let shown = |speed: Speed| format!("{}{:.2} images/s", mark(speed.estimated), speed.images_per_second);
        for found in &self.networks {
            let time = Duration::try_from_secs_f64(found.training_seconds).unwrap_or(Duration::MAX);
            writeln!(
                f,
                "{:<7} {:>9} {:>15} {:>15} {:>24}",
                found.preset,
                format!("{0}x{0}", found.size),
                shown(found.scoring),
                shown(found.training),
                format!(
                    "{}{}",
                    mark(found.scoring.estimated || found.training.estimated),
                    in_short(time)
                )
            )?;
        }
        Ok(())
    }
}

/// A time in its two largest units: `9s`, `2m 5s`, `30h 0m`.
pub fn in_short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_marks_what_is_estimated() {
        let speed = |images_per_second, estimated| Speed {
            images_per_second,
            estimated,
        };
        let network = |preset, scoring, training, training_seconds| BenchmarkedNetwork {
            preset,
            size: 32,
            scoring,
            training,
            training_seconds,
        };
        let found = Benchmarked {
            riad_version: "1.0.0",
            device: "cpu",
            scoring_precision: "f32".to_owned(),
            training_precision: "f32".to_owned(),
            peak_gpu_memory: None,
            threads: 2,
            load: Some(1e9),
            images: 190,
            method: Method::RIAD,
            epochs: 8,
            networks: vec![
                network(Preset::Tiny, speed(100.0, false), speed(20.5, false), 125.9),
                network(Preset::Small, speed(50.0, false), speed(0.1, true), 108_000.0),
                network(Preset::Paper, speed(9.0, true), speed(1.0, false), 9.0),
            ],
        };
        assert!(found.was_busy());
        assert_eq!(
            found.to_string(),
            "riad 1.0.0, method riad, device cpu, 2 threads, scoring in f32, training in f32\n\n\
             preset       size         scoring        training     190 images, 8 epochs\n\
             tiny        32x32 100.00 images/s  20.50 images/s                    2m 5s\n\
             small       32x32  50.00 images/s  ~0.10 images/s                  ~30h 0m\n\
             paper       32x32  ~9.00 images/s   1.00 images/s                      ~9s\n"
        );
    }
}
