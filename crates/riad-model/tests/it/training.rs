//! Runs that are broken off, resumed, diverge or stop; on images so small that it takes seconds.

use std::{error::Error, fs, ops::ControlFlow, path::Path};

use proptest::prelude::*;
use riad_core::Calibration;
use riad_model::{
    Architecture, Checkpoint, Device, Event, Examples, ImageSource, ModelError, Outcome, Result, ScoringSettings,
    TrainConfig, Trainer,
    store::{BEST, LAST},
};

const SIDE: usize = 32;
const CHANNELS: usize = 3;

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
    ) -> Box<dyn Iterator<Item = Result<Examples, Box<dyn Error + Send + Sync>>> + '_> {
        let batches: Vec<Vec<usize>> = order.chunks(batch_size).map(<[usize]>::to_vec).collect();
        Box::new(batches.into_iter().map(move |batch| {
            let images = batch.into_iter().flat_map(|index| Waves::image(index, seed));
            Ok(images.collect::<Vec<_>>().into())
        }))
    }
}

fn config() -> TrainConfig {
    let mut scoring = ScoringSettings::default();
    (scoring.height, scoring.width) = (SIDE, SIDE);
    let mut config = TrainConfig::published(Architecture::u_net(2), scoring);
    config.epochs = 3;
    config.batch_size = 2;
    config.learning_rate = 1e-2;
    config.seed = 5;
    config
}

/// [`config`] but for what is changed.
fn config_with(change: impl FnOnce(&mut TrainConfig)) -> TrainConfig {
    let mut config = config();
    change(&mut config);
    config
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
    let early = config_with(|config| {
        config.epochs = 60;
        config.patience = 1;
        config.learning_rate = 1e-30;
        config.decays_early = true;
    });
    for (config, every) in [(config(), 1), (early, 29)] {
        let folder = tempfile::tempdir().unwrap();
        let undisturbed = folder.path().join("undisturbed");
        let mut trainer = Trainer::start(config.clone(), &undisturbed, &Device::CPU).unwrap();
        train(&mut trainer);
        assert_eq!(trainer.progress().decayed_early.is_some(), config.decays_early);
        // Three steps and the validation.
        let all_events = 4 * trainer.progress().epochs;
        for broken_off_at in (1..=all_events).step_by(every) {
            let run = folder.path().join(format!("run{broken_off_at}"));
            let mut trainer = Trainer::start(config.clone(), &run, &Device::CPU).unwrap();
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
            train(&mut Trainer::resume(&run, &Device::CPU).unwrap());
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
        pool.install(|| train(&mut Trainer::start(config(), &run, &Device::CPU).unwrap()));
        files(&run)
    });
    assert!(results[0] == results[1]);
}

#[test]
fn training_lowers_the_loss_and_keeps_the_best_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_with(|config| config.epochs = 12);
    let mut trainer = Trainer::start(config, folder.path(), &Device::CPU).unwrap();
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
    let config = config_with(|config| {
        config.epochs = 1000;
        config.patience = 3;
        config.learning_rate = 1e-30;
    });
    let mut trainer = Trainer::start(config, folder.path(), &Device::CPU).unwrap();
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
        ) -> Box<dyn Iterator<Item = Result<Examples, Box<dyn Error + Send + Sync>>> + '_> {
            let values = |value: f32| Ok(vec![value; batch_size * CHANNELS * SIDE * SIDE].into());
            Box::new([values(0.5), values(f32::NAN)].into_iter())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::start(config(), folder.path(), &Device::CPU).unwrap();
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

/// What a source gives in an epoch.
type Batches = Vec<Result<Examples, Box<dyn Error + Send + Sync>>>;

/// What becomes of it.
type Change = fn(&mut Batches);

/// [`Waves`], but for what is changed.
struct Changed(usize, Change);

impl ImageSource for Changed {
    fn len(&self) -> usize {
        self.0
    }

    fn batches(
        &self,
        order: Vec<usize>,
        batch_size: usize,
        seed: u64,
    ) -> Box<dyn Iterator<Item = Result<Examples, Box<dyn Error + Send + Sync>>> + '_> {
        let mut batches = Waves(self.0).batches(order, batch_size, seed).collect();
        self.1(&mut batches);
        Box::new(batches.into_iter())
    }
}

/// A source that does not keep its word is told of with both numbers, and whoever mends it goes on as if nothing had been.
#[test]
fn batches_of_another_size_are_refused_and_the_run_is_as_it_was() {
    const IMAGE: usize = CHANNELS * SIDE * SIDE;
    let changes: [(Change, String); 8] = [
        (
            |batches| batches[0].as_mut().unwrap().images.extend([0.5; IMAGE]),
            counts(3 * IMAGE, 2 * IMAGE),
        ),
        (
            |batches| batches[1].as_mut().unwrap().images.truncate(IMAGE),
            counts(IMAGE, 2 * IMAGE),
        ),
        (
            |batches| batches[1].as_mut().unwrap().images.clear(),
            counts(0, 2 * IMAGE),
        ),
        (
            |batches| batches[1].as_mut().unwrap().images.truncate(2 * IMAGE - 1),
            counts(2 * IMAGE - 1, 2 * IMAGE),
        ),
        (
            |batches| batches[2].as_mut().unwrap().images.extend([0.5; IMAGE]),
            counts(2 * IMAGE, IMAGE),
        ),
        (|batches| drop(batches.pop()), counts(4 * IMAGE, 5 * IMAGE)),
        (|batches| batches.push(Ok(vec![0.5; IMAGE].into())), counts(IMAGE, 0)),
        (
            |batches| batches[1] = Err("the disk is gone".into()),
            "the disk is gone".into(),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let run = |trainer: &mut Trainer, train: &dyn ImageSource, validation: &dyn ImageSource| {
        trainer.run(train, validation, &mut |_| ControlFlow::Continue(()))
    };
    let undisturbed = folder.path().join("undisturbed");
    let mut trainer = Trainer::start(config(), &undisturbed, &Device::CPU).unwrap();
    run(&mut trainer, &Waves(5), &Waves(5)).unwrap();
    for (index, (change, expected)) in changes.into_iter().enumerate() {
        for is_training in [true, false] {
            let name = folder.path().join(format!("{index} {is_training}"));
            let mut trainer = Trainer::start(config(), &name, &Device::CPU).unwrap();
            let before = fs::read(name.join(LAST)).unwrap();
            let changed = Changed(5, change);
            let error = if is_training {
                run(&mut trainer, &changed, &Waves(5))
            } else {
                run(&mut trainer, &Waves(5), &changed)
            };
            let error = error.unwrap_err();
            assert!(
                matches!(error, ModelError::Length { .. } | ModelError::Images(_)),
                "{error:?}"
            );
            assert!(
                error.to_string().contains(&expected),
                "{error} where {expected} was expected"
            );
            assert!(fs::read(name.join(LAST)).unwrap() == before, "{error}");
            run(&mut trainer, &Waves(5), &Waves(5)).unwrap();
            assert!(files(&name) == files(&undisturbed), "{error}, training {is_training}");
        }
    }
}

fn counts(got: usize, expected: usize) -> String {
    format!("has {got} values, and {expected} were expected")
}

#[test]
fn a_run_goes_on_only_with_as_many_images_as_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path();
    let mut trainer = Trainer::start(config(), run, &Device::CPU).unwrap();
    let one_step = |trainer: &mut Trainer, train: usize, validation: usize| {
        trainer.run(&Waves(train), &Waves(validation), &mut |_| ControlFlow::Break(()))
    };
    assert_eq!(one_step(&mut trainer, 5, 2).unwrap(), Outcome::Interrupted);
    drop(trainer);
    let before = fs::read(run.join(LAST)).unwrap();
    let mut trainer = Trainer::resume(run, &Device::CPU).unwrap();
    for ((train, validation), said) in [
        ((6, 2), "5 training images, and there are 6"),
        ((4, 2), "5 training images, and there are 4"),
        ((5, 3), "2 validation images, and there are 3"),
        ((5, 0), "2 validation images, and there are 0"),
    ] {
        let refused = one_step(&mut trainer, train, validation).unwrap_err();
        assert!(matches!(refused, ModelError::OtherImages { .. }), "{refused:?}");
        assert!(refused.to_string().contains(said), "{refused}");
        assert!(
            fs::read(run.join(LAST)).unwrap() == before,
            "the run is as it was: {said}"
        );
    }
    assert_eq!(one_step(&mut trainer, 5, 2).unwrap(), Outcome::Interrupted);
}

/// What was refused before the first step does not bind the run.
#[test]
fn a_run_that_has_not_begun_begins_with_any_number_of_images() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::start(config(), folder.path(), &Device::CPU).unwrap();
    let stop = &mut |_: Event<'_>| ControlFlow::Break(());
    assert!(trainer.run(&Waves(0), &Waves(2), stop).is_err());
    assert_eq!(trainer.run(&Waves(3), &Waves(1), stop).unwrap(), Outcome::Interrupted);
    let progress = trainer.progress();
    assert_eq!((progress.train_images, progress.validation_images), (3, 1));
}

#[test]
fn a_folder_is_not_trained_in_twice() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |result: Result<Trainer>| result.err().unwrap().to_string();
    assert!(refused(Trainer::resume(folder.path(), &Device::CPU)).contains("no run to resume"));
    let first = Trainer::start(config(), folder.path(), &Device::CPU).unwrap();
    let second = Trainer::resume(folder.path(), &Device::CPU);
    assert!(refused(second).contains("another process is training"));
    drop(first);
    assert!(refused(Trainer::start(config(), folder.path(), &Device::CPU)).contains("already holds a run"));
}

/// Trains until the end of an epoch.
fn train_until_epoch(trainer: &mut Trainer, epoch: usize) {
    let outcome = trainer.run(&Waves(5), &Waves(2), &mut |event| match event {
        Event::Epoch { record, best, .. } if record.epoch == epoch => {
            assert!(best, "epoch {epoch} is to be the best so far");
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(outcome.unwrap(), Outcome::Interrupted);
}

/// Goes on with a run for a single step.
fn resume_for_a_step(run: &Path) {
    let mut trainer = Trainer::resume(run, &Device::CPU).unwrap();
    let outcome = trainer.run(&Waves(5), &Waves(2), &mut |_| ControlFlow::Break(()));
    assert_eq!(outcome.unwrap(), Outcome::Interrupted);
}

#[test]
fn what_was_found_for_the_best_weights_stays_when_a_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (run, best) = (folder.path(), folder.path().join(BEST));
    train_until_epoch(&mut Trainer::start(config(), run, &Device::CPU).unwrap(), 1);
    let mut found = Checkpoint::open(run).unwrap();
    found.header.calibration = Some(Calibration::new(vec![0.1, 0.2]).unwrap());
    found.save(&best).unwrap();
    let before = fs::read(&best).unwrap();
    resume_for_a_step(run);
    assert!(fs::read(&best).unwrap() == before);
}

/// As a kill leaves them that comes between the two files.
#[test]
fn best_weights_that_are_newer_than_the_state_keep_their_epoch_until_the_run_arrives_there() {
    let folder = tempfile::tempdir().unwrap();
    let [undisturbed, run] = ["undisturbed", "run"].map(|name| folder.path().join(name));
    train(&mut Trainer::start(config(), &undisturbed, &Device::CPU).unwrap());
    let [last, best] = [LAST, BEST].map(|name| run.join(name));
    train_until_epoch(&mut Trainer::start(config(), &run, &Device::CPU).unwrap(), 1);
    let [old_last, old_best] = [&last, &best].map(|file| fs::read(file).unwrap());
    train_until_epoch(&mut Trainer::resume(&run, &Device::CPU).unwrap(), 2);
    let [new_last, new_best] = [&last, &best].map(|file| fs::read(file).unwrap());

    // The other way round no kill leaves them.
    fs::write(&best, &old_best).unwrap();
    let refused = Trainer::resume(&run, &Device::CPU).err().unwrap().to_string();
    assert!(
        refused.contains("has the weights of epoch 1, and the run's best epoch is 2"),
        "{refused}"
    );
    assert!(fs::read(&last).unwrap() == new_last);

    fs::write(&last, &old_last).unwrap();
    fs::write(&best, &new_best).unwrap();
    resume_for_a_step(&run);
    assert!(fs::read(&best).unwrap() == new_best);
    train(&mut Trainer::resume(&run, &Device::CPU).unwrap());
    assert!(files(&run) == files(&undisturbed));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// However often a run is broken off, and wherever: it ends in the bytes of the undisturbed one.
    #[test]
    fn a_run_broken_off_at_random_events_resumes_to_the_same_bytes(
        pauses in prop::collection::vec(1usize..6, 1..5),
        seed in any::<u64>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let config = config_with(|config| {
            config.seed = seed;
            config.epochs = 2;
        });
        let [whole, broken] = ["whole", "broken"].map(|name| folder.path().join(name));
        train(&mut Trainer::start(config.clone(), &whole, &Device::CPU).unwrap());
        drop(Trainer::start(config, &broken, &Device::CPU).unwrap());
        for pause in pauses {
            let mut events = 0;
            let mut trainer = Trainer::resume(&broken, &Device::CPU).unwrap();
            trainer
                .run(&Waves(5), &Waves(2), &mut |_| {
                    events += 1;
                    if events == pause { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
                .unwrap();
        }
        train(&mut Trainer::resume(&broken, &Device::CPU).unwrap());
        prop_assert!(files(&broken) == files(&whole));
    }
}
