//! Steps of a training run.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use riad_model::{Device, Event, Examples, ImageSource, Outcome, Preset, ScoringSettings, TrainConfig, Trainer};

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
        let macs = passes as u64 * preset.architecture().macs(size, size)?;
        let mut scoring = ScoringSettings::for_size(size, size);
        scoring.region_sizes = vec![REGION_SIZE];
        let mut config = TrainConfig::published(preset.architecture(), scoring);
        config.batch_size = batch;
        // A run saves itself when it starts, and later every 20 s at most, which would fall into a step's time now and then.
        // So this one is left where it starts, and the one that is timed is its rehearsal: the same steps, never saved.
        drop(Trainer::start(config.clone(), &folder, &Device::CPU)?);
        let initial = directory.join(format!("initial-{name}.safetensors"));
        fs::copy(folder.join(riad_model::store::LAST), &initial)
            .with_context(|| format!("cannot write {}", initial.display()))?;
        let mut trainer = Trainer::rehearse(config, &Device::CPU)?;

        let images = Repeated {
            images: read_floats(&directory.join(format!("images-{size}.f32")), batch * 3 * size * size)?,
            batch,
        };
        let ((go, told), (tell, steps)) = (channel(), channel());
        thread::spawn(move || {
            let start = Instant::now();
            let now = || start.elapsed().as_secs_f64();
            if let Err(error) = take_steps(|observe| trainer.run(&images, &Empty, observe), now, &told, &tell) {
                // Nobody listens any more only where the program ends anyway.
                let _ = tell.send(Err(error.into()));
            }
        });
        Ok(Self { go, steps, macs })
    }
}

/// Lets `run`, which is [`Trainer::run`] with all but its observer, take a step whenever `told` says so, and tells the step's
/// loss and its seconds by the clock `now`; until nobody says so or listens any more.
///
/// A step lasts from the event of the one before to its own event. Where in that time its work is done is the trainer's own
/// affair: it asks for the next batch and draws its masks before it tells of a step, so a batch that is asked for says
/// nothing of where a step begins. Between two events lie the whole of one step and the making ready of one batch, which is
/// the next step's; in the first step's time its own as well.
///
/// The run waits within the event, where the CPU has nothing left to do for it, so it takes no time from whoever is measured
/// meanwhile.
fn take_steps(
    run: impl FnOnce(&mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> riad_model::Result<Outcome>,
    now: impl Fn() -> f64,
    told: &Receiver<()>,
    tell: &Sender<Step>,
) -> riad_model::Result<()> {
    if told.recv().is_err() {
        return Ok(());
    }
    let mut began = now();
    run(&mut |event| {
        let Event::Step { loss, .. } = event else {
            return ControlFlow::Continue(());
        };
        let seconds = now() - began;
        if tell.send(Ok((seconds, loss.total))).is_err() || told.recv().is_err() {
            return ControlFlow::Break(());
        }
        began = now();
        ControlFlow::Continue(())
    })?;
    Ok(())
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
    ) -> Box<dyn Iterator<Item = Result<Examples, Box<dyn std::error::Error + Send + Sync>>> + '_> {
        let steps = order.len() / self.batch;
        Box::new((0..steps).map(|_| Ok(self.images.clone().into())))
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
    ) -> Box<dyn Iterator<Item = Result<Examples, Box<dyn std::error::Error + Send + Sync>>> + '_> {
        Box::new(std::iter::empty())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const SIDE: usize = 32;

    /// A clock that goes on only when it is told to.
    #[derive(Default)]
    struct Clock(AtomicU32);

    impl Clock {
        fn pass(&self, seconds: u32) {
            self.0.fetch_add(seconds, Ordering::SeqCst);
        }

        fn now(&self) -> f64 {
            f64::from(self.0.load(Ordering::SeqCst))
        }
    }

    /// Images for which a trainer works a second before it asks for them.
    struct AskedFor<'a>(Repeated, &'a Clock);

    impl ImageSource for AskedFor<'_> {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn batches(
            &self,
            order: Vec<usize>,
            batch_size: usize,
            seed: u64,
        ) -> Box<dyn Iterator<Item = Result<Examples, Box<dyn std::error::Error + Send + Sync>>> + '_> {
            let batches = self.0.batches(order, batch_size, seed);
            Box::new(batches.inspect(|_| self.1.pass(1)))
        }
    }

    /// All that a trainer does, it does between two of its calls, for images or with an event, and a step's work may be in any
    /// such stretch; so only a stopwatch that leaves none of them out encloses it. Here each takes a second. A stopwatch that
    /// is started where a batch is asked for leaves out the stretch before, in which a CPU takes the step. What others do
    /// while the run waits is not in the time of a step.
    #[test]
    fn the_times_of_steps_hold_all_that_the_trainer_does_and_no_more() {
        let scoring = ScoringSettings::for_size(SIDE, SIDE);
        let mut config = TrainConfig::published(Preset::Tiny.architecture(), scoring);
        config.batch_size = 1;
        let mut trainer = Trainer::rehearse(config, &Device::CPU).unwrap();
        let clock = Clock::default();
        let images = Repeated {
            images: vec![0.5; 3 * SIDE * SIDE],
            batch: 1,
        };
        let images = AskedFor(images, &clock);
        let ((go, told), (tell, steps)) = (channel(), channel());
        let (mut of_others, mut of_steps, mut losses) = (0.0, 0.0, Vec::new());
        thread::scope(|scope| {
            let (clock, images) = (&clock, &images);
            scope.spawn(move || {
                let run = |observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>| {
                    trainer.run(images, &Empty, &mut |event| {
                        clock.pass(1);
                        observe(event)
                    })
                };
                take_steps(run, || clock.now(), &told, &tell).unwrap();
            });
            for _ in 0..4 {
                clock.pass(1_000);
                of_others += 1_000.0;
                go.send(()).unwrap();
                let (seconds, loss) = steps.recv().unwrap().unwrap();
                of_steps += seconds;
                losses.push(loss);
            }
            assert_eq!(of_steps, clock.now() - of_others);
            drop(go);
        });
        // They were steps indeed.
        assert!(losses.windows(2).all(|pair| pair[0] != pair[1]), "{losses:?}");
    }
}
