//! Runs that are broken off, resumed, diverge or stop; on images so small that it takes seconds.

use super::*;
use crate::{Architecture, ScoringSettings};

const SIDE: usize = 32;

/// Smooth images that differ from each other, and from epoch to epoch.
struct Waves(usize);

impl Waves {
    fn image(index: usize, seed: u64) -> impl Iterator<Item = f32> {
        let shift = (seed % 8) as f32 * 0.1;
        (0..CHANNELS * SIDE * SIDE).map(move |i| {
            let (x, y) = (i % SIDE, i / SIDE);
            0.5 + 0.4 * ((x as f32 * 0.4 + index as f32 + shift).sin() * (y as f32 * 0.3).cos())
        })
    }
}

impl ImageSource for Waves {
    fn len(&self) -> usize {
        self.0
    }

    fn batches(
        &self,
        order: Vec<usize>,
        batch_size: usize,
        seed: u64,
    ) -> Box<dyn Iterator<Item = std::result::Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>>> + '_> {
        let batches: Vec<Vec<usize>> = order.chunks(batch_size).map(<[usize]>::to_vec).collect();
        Box::new(
            batches
                .into_iter()
                .map(move |batch| Ok(batch.into_iter().flat_map(|index| Waves::image(index, seed)).collect())),
        )
    }
}

fn config() -> TrainConfig {
    let scoring = ScoringSettings {
        height: SIDE,
        width: SIDE,
        ..ScoringSettings::default()
    };
    let config = TrainConfig::published(Architecture::u_net(2), scoring);
    TrainConfig {
        epochs: 3,
        batch_size: 2,
        learning_rate: 1e-2,
        seed: 5,
        ..config
    }
}

fn train(trainer: &mut Trainer) -> Outcome {
    trainer
        .run(&Waves(5), &Waves(2), &mut |_| ControlFlow::Continue(()))
        .unwrap()
}

fn files(folder: &Path) -> [Vec<u8>; 3] {
    [LAST, BEST, "history.csv"].map(|name| fs::read(folder.join(name)).unwrap())
}

#[test]
fn a_run_broken_off_anywhere_resumes_to_the_same_bytes() {
    // One that runs to its end, and one whose learning rate decays early.
    let early = TrainConfig {
        epochs: 60,
        patience: 1,
        learning_rate: 1e-30,
        decays_early: true,
        ..config()
    };
    for (config, every) in [(config(), 1), (early, 29)] {
        let folder = tempfile::tempdir().unwrap();
        let undisturbed = folder.path().join("undisturbed");
        let mut trainer = Trainer::start(config.clone(), &undisturbed, &Device::Cpu).unwrap();
        train(&mut trainer);
        assert_eq!(trainer.progress().decayed_early.is_some(), config.decays_early);
        // Three steps and the validation.
        let all_events = 4 * trainer.progress().epochs;
        for broken_off_at in (1..=all_events).step_by(every) {
            let run = folder.path().join(format!("run{broken_off_at}"));
            let mut trainer = Trainer::start(config.clone(), &run, &Device::Cpu).unwrap();
            let mut events = 0;
            let outcome = trainer.run(&Waves(5), &Waves(2), &mut |_| {
                events += 1;
                if events == broken_off_at {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            drop(trainer);
            let is_interrupted = outcome.unwrap() == Outcome::Interrupted;
            assert_eq!(is_interrupted, broken_off_at < all_events);
            train(&mut Trainer::resume(&run, &Device::Cpu).unwrap());
            // Not assert_eq: it would print every byte.
            assert!(
                files(&run) == files(&undisturbed),
                "broken off at event {broken_off_at}"
            );
        }
    }
}

#[test]
fn runs_do_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let results = [1, 3].map(|threads| {
        let run = folder.path().join(threads.to_string());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(&mut Trainer::start(config(), &run, &Device::Cpu).unwrap()));
        files(&run)
    });
    assert!(results[0] == results[1]);
}

#[test]
fn training_lowers_the_loss_and_keeps_the_best_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig { epochs: 12, ..config() };
    let mut trainer = Trainer::start(config, folder.path(), &Device::Cpu).unwrap();
    train(&mut trainer);
    let progress = trainer.progress();
    let losses: Vec<f64> = progress
        .history
        .iter()
        .map(|record| record.validation.unwrap().total)
        .collect();
    assert!(losses[11] < 0.7 * losses[0], "{losses:?}");
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(progress.best_loss(), Some(best));
    let header = Checkpoint::open(folder.path()).unwrap().header;
    assert_eq!(header.progress.unwrap().best_epoch, progress.best_epoch);
}

#[test]
fn patience_ends_a_run_that_no_longer_improves() {
    let folder = tempfile::tempdir().unwrap();
    // A learning rate too small to change anything: the first epochs' running statistics settle, then all is equal.
    let config = TrainConfig {
        epochs: 1000,
        patience: 3,
        learning_rate: 1e-30,
        ..config()
    };
    let mut trainer = Trainer::start(config, folder.path(), &Device::Cpu).unwrap();
    assert_eq!(train(&mut trainer), Outcome::Stopped);
    let progress = trainer.progress();
    assert_eq!(progress.epochs, progress.best_epoch + 3);
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_good_state() {
    struct Broken;
    impl ImageSource for Broken {
        fn len(&self) -> usize {
            4
        }

        fn batches(
            &self,
            _: Vec<usize>,
            batch_size: usize,
            _: u64,
        ) -> Box<dyn Iterator<Item = std::result::Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>>> + '_>
        {
            let values = |value: f32| Ok(vec![value; batch_size * CHANNELS * SIDE * SIDE]);
            Box::new([values(0.5), values(f32::NAN)].into_iter())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::start(config(), folder.path(), &Device::Cpu).unwrap();
    let before = fs::read(folder.path().join(LAST)).unwrap();
    let error = trainer
        .run(&Broken, &Waves(2), &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(
        matches!(error, ModelError::Diverged { epoch: 1, step: 2, .. }),
        "{error:?}"
    );
    assert!(fs::read(folder.path().join(LAST)).unwrap() == before);
}

#[test]
fn a_folder_is_not_trained_in_twice() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |result: Result<Trainer>| result.err().unwrap().to_string();
    assert!(refused(Trainer::resume(folder.path(), &Device::Cpu)).contains("no run to resume"));
    let first = Trainer::start(config(), folder.path(), &Device::Cpu).unwrap();
    let second = Trainer::resume(folder.path(), &Device::Cpu);
    assert!(refused(second).contains("another process is training"));
    drop(first);
    assert!(refused(Trainer::start(config(), folder.path(), &Device::Cpu)).contains("already holds a run"));
}
