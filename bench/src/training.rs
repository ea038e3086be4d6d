//! Steps of a training run.

use std::cell::Cell;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use riad_model::{Device, Event, ImageSource, Preset, ScoringSettings, TrainConfig, Trainer};

use crate::{Workload, read_floats};

/// The same for every step, so that losses of first steps can be compared; it does not change the work.
const REGION_SIZE: usize = 8;

/// More steps than anyone takes, so that no epoch ends and nothing is validated.
const STEPS: usize = 100_000;

/// A run on a thread of its own, which takes a step whenever it is told to.
pub(crate) struct Training {
    go: Sender<()>,
    steps: Receiver<Step>,
    macs: u64,
}

/// Seconds and loss of a step, or why there is none.
type Step = Result<(f64, f64)>;

impl Training {
    /// Starts a run, and leaves its initial weights as `initial-PRESET-SIZE-BATCH.safetensors` for the peers.
    pub(crate) fn start(directory: &Path, preset: Preset, size: usize, batch: usize) -> Result<Self> {
        let name = format!("{preset}-{size}-{batch}");
        let folder = directory.join(format!("run-{name}"));
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        // Backward is two passes, by the input and by the weights, for each forward one.
        let passes = 3 * batch * ScoringSettings::default().sets;
        let macs = passes as u64 * preset.architecture().macs(size, size);
        let scoring = ScoringSettings {
            region_sizes: vec![REGION_SIZE],
            ..ScoringSettings::for_size(size, size)
        };
        let config = TrainConfig {
            batch_size: batch,
            ..TrainConfig::published(preset.architecture(), scoring)
        };
        let mut trainer = Trainer::start(config, &folder, &Device::Cpu)?;
        let initial = directory.join(format!("initial-{name}.safetensors"));
        fs::copy(folder.join(riad_model::checkpoint::LAST), &initial)
            .with_context(|| format!("cannot write {}", initial.display()))?;

        let images = read_floats(&directory.join(format!("images-{size}.f32")), batch * 3 * size * size)?;
        let ((go, told), (tell, steps)) = (channel(), channel());
        thread::spawn(move || {
            if told.recv().is_err() {
                return;
            }
            let source = Repeated {
                images,
                batch,
                handed_out: Cell::new(Instant::now()),
            };
            // A step ends with its event. The run saves itself now and then between that and the next batch: before the
            // batch is handed out, so neither in our time nor, as nobody has told it to go on, in a peer's.
            let outcome = trainer.run(&source, &Empty, &mut |event| {
                let Event::Step { loss, .. } = event else {
                    return ControlFlow::Continue(());
                };
                let seconds = source.handed_out.get().elapsed().as_secs_f64();
                match tell.send(Ok((seconds, loss.total))).is_ok() && told.recv().is_ok() {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            });
            if let Err(error) = outcome {
                // Nobody listens any more only where the program ends anyway.
                let _ = tell.send(Err(error.into()));
            }
        });
        Ok(Self { go, steps, macs })
    }
}

impl Workload for Training {
    fn run(&mut self) -> Result<(f64, Vec<f64>)> {
        self.go.send(()).context("training has ended")?;
        let (seconds, loss) = self.steps.recv().context("training has ended")??;
        Ok((seconds, vec![loss]))
    }

    fn macs(&self) -> u64 {
        self.macs
    }
}

/// One batch in memory, over and over.
struct Repeated {
    images: Vec<f32>,
    batch: usize,
    /// When the latest batch was asked for, which is when a step begins.
    handed_out: Cell<Instant>,
}

impl ImageSource for Repeated {
    fn len(&self) -> usize {
        STEPS * self.batch
    }

    fn batches(
        &self,
        order: Vec<usize>,
        _batch_size: usize,
        _seed: u64,
    ) -> Box<dyn Iterator<Item = Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>>> + '_> {
        let steps = order.len() / self.batch;
        Box::new((0..steps).map(|_| {
            self.handed_out.set(Instant::now());
            Ok(self.images.clone())
        }))
    }
}

struct Empty;

impl ImageSource for Empty {
    fn len(&self) -> usize {
        0
    }

    fn batches(
        &self,
        _order: Vec<usize>,
        _batch_size: usize,
        _seed: u64,
    ) -> Box<dyn Iterator<Item = Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>>> + '_> {
        Box::new(std::iter::empty())
    }
}
