//! What completes a run, and what breaks work off.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
    time::Duration,
};

use riad::{
    Cancel, Category, Checkpoint, Compute, Detector, Device, Error, Event, Method, Observer, Purpose, Recalibration,
    Run, Sets, Stop, Training, TrainingOptions, TrainingOutcome, Work,
    evaluation::{self, Measurement, TestSet},
};
use riad_data::demo;
use tempfile::TempDir;

/// A folder with a category, `badge`, of so few images that all is quick.
fn data() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let _ = demo::generate(&whole, 0).unwrap();
    for (kind, count) in [("train/good", 16), ("test/good", 6)] {
        let to = folder.path().join("badge").join(kind);
        fs::create_dir_all(&to).unwrap();
        for file in sorted(&whole.join("badge").join(kind)).into_iter().take(count) {
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
    folder
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// A quarter of the images is for calibration, the others are trained on.
fn training(root: &Path, out: &str) -> Training {
    Training::new(root.join("badge"))
        .method(Method::RIAD)
        .size(32)
        .epochs(1)
        .validation(0.0)
        .calibration(0.25)
        .device(Device::CPU)
        .out(root.join(out))
}

/// A finished run, for tests that only measure with it.
static RUN: LazyLock<(TempDir, Run)> = LazyLock::new(|| {
    let folder = data();
    let run = training(folder.path(), "run").start(&()).unwrap();
    (folder, run)
});

/// Cancels when a piece of work has got so far, and remembers whether that work ended.
struct Until<'a> {
    work: Work<'a>,
    cancel: Cancel,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_at_it: bool,
    has_ended: bool,
    /// Images of it that were done.
    done: usize,
}

impl<'a> Until<'a> {
    fn one_image_of(work: Work<'a>) -> Self {
        Self {
            work,
            cancel: Cancel::new(),
            state: Mutex::default(),
        }
    }
}

impl Observer for Until<'_> {
    fn event(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap();
        match event {
            Event::Began { work, .. } => state.is_at_it = *work == self.work,
            Event::Progress { done, .. } if state.is_at_it => {
                state.done = *done;
                self.cancel.cancel();
            }
            Event::Ended if state.is_at_it => (state.is_at_it, state.has_ended) = (false, true),
            _ => {}
        }
    }
}

/// Keeps how many images a session trains, validates and calibrates with.
#[derive(Default)]
struct Parts(Mutex<[usize; 3]>);

impl Observer for Parts {
    fn event(&self, event: &Event<'_>) {
        if let Event::Training(session) = event {
            *self.0.lock().unwrap() = session.images;
        }
    }
}

#[test]
fn a_run_ends_with_what_is_normal_and_with_a_calibration() {
    let folder = data();
    let run = training(folder.path(), "run").start(&()).unwrap();
    assert_eq!(run.outcome(), Some(TrainingOutcome::Finished));
    let held_out = run.held_out(&run.category().unwrap()).unwrap();
    assert_eq!((held_out.images.len(), held_out.purpose), (4, Purpose::Calibration));

    // What is normal is the mean of the maps that the network alone makes of the images it was trained with.
    let whole = Checkpoint::open(run.folder()).unwrap();
    let mut bare = Checkpoint::open(run.folder()).unwrap();
    bare.normal = None;
    let options = Detector::options().compute(Compute::on(Device::CPU));
    let bare = options.open_checkpoint(&bare).unwrap();
    let held: BTreeSet<_> = held_out.images.iter().collect();
    let learned = sorted(&folder.path().join("badge/train/good"));
    let learned: Vec<_> = learned.into_iter().filter(|image| !held.contains(image)).collect();
    assert_eq!(learned.len(), 12);
    let mut mean = vec![0.0f64; 32 * 32];
    for image in &learned {
        let found = bare.inspect_file(image).unwrap();
        let values = found.map().values().iter();
        mean.iter_mut()
            .zip(values)
            .for_each(|(mean, &value)| *mean += f64::from(value) / 12.0);
    }
    let normal = whole.normal.as_ref().unwrap();
    for (found, expected) in normal.mean().values().iter().zip(mean) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
    }

    // The calibration has the scores of the images held out, beyond what is normal.
    let detector = options.open_checkpoint(&whole).unwrap();
    let score = |image| detector.inspect_file(image).unwrap().score();
    let mut expected: Vec<f32> = held_out.images.iter().map(score).collect();
    expected.sort_unstable_by(f32::total_cmp);
    let mut scores = whole.header.calibration.as_ref().unwrap().scores().to_vec();
    scores.sort_unstable_by(f32::total_cmp);
    assert_eq!(scores, expected);
}

/// Training by restoration chooses nothing by the validation loss. So the images for validation are as new to the model as those for
/// calibration.
#[test]
fn thresholds_of_restoration_also_come_from_the_images_for_validation() {
    let folder = data();
    let root = folder.path();
    for (method, share, [learned, validated], calibrated) in [
        (Method::RESTORE, 0.125, [10, 4], 6),
        (Method::RESTORE, 0.0, [12, 4], 0),
        (Method::RIAD, 0.125, [10, 4], 2),
    ] {
        let out = format!("{method}-{share}");
        let told = Parts::default();
        let training = training(root, &out).method(method).validation(0.25).calibration(share);
        let run = training.start(&told).unwrap();
        assert_eq!(*told.0.lock().unwrap(), [learned, validated, calibrated], "{out}");
        let model = Checkpoint::open(run.folder()).unwrap();
        let scores = model.header.calibration.map_or(0, |of| of.scores().len());
        assert_eq!(scores, calibrated, "{out}");
        assert_eq!(run.seen().len(), 16 - calibrated, "{out}");
    }
}

#[test]
fn a_run_that_is_cancelled_while_it_is_completed_is_completed_later() {
    let folder = data();
    let whole = training(folder.path(), "whole").start(&()).unwrap();
    let best = |run: &Run| fs::read(run.folder().join("best.safetensors")).unwrap();
    for (work, out) in [(Work::Normal, "normal"), (Work::Calibrating, "calibrating")] {
        let until = Until::one_image_of(work);
        let training = training(folder.path(), out);
        let run = training.clone().cancel(until.cancel.clone()).start(&until).unwrap();
        assert_eq!(run.outcome(), Some(TrainingOutcome::Stopped(Stop::Asked)), "{work}");
        let state = until.state.lock().unwrap();
        assert!(state.has_ended && state.done == 1, "{work}: {} images", state.done);
        let left = Checkpoint::open(run.folder()).unwrap();
        assert!(left.normal.is_none() && left.header.calibration.is_none(), "{work}");
        // It goes on where it was, to the same bytes.
        let run = training.start(&()).unwrap();
        assert_eq!(run.outcome(), Some(TrainingOutcome::Finished), "{work}");
        assert!(best(&run) == best(&whole), "{work}");
    }
}

/// Cancels at the events that are chosen.
struct CancelAt<F>(Cancel, F);

impl<F: Fn(&Event<'_>) -> bool + Sync> Observer for CancelAt<F> {
    fn event(&self, event: &Event<'_>) {
        if (self.1)(event) {
            self.0.cancel();
        }
    }
}

#[test]
fn a_calibration_of_a_stopped_run_stays_while_its_best_weights_do() {
    let folder = data();
    let training = training(folder.path(), "run").epochs(3);
    let stopped_at = |at: fn(&Event<'_>) -> bool| {
        let stop = CancelAt(Cancel::new(), at);
        let run = training.clone().cancel(stop.0.clone()).start(&stop).unwrap();
        assert_eq!(run.outcome(), Some(TrainingOutcome::Stopped(Stop::Asked)));
        Checkpoint::open(run.folder()).unwrap().header.calibration
    };
    assert_eq!(stopped_at(|event| matches!(event, Event::Epoch { .. })), None);
    let run = folder.path().join("run");
    let calibrated = Recalibration::of(&run).pictures(folder.path().join("badge/test/good"));
    let calibrated = calibrated.start(&()).unwrap().calibration;
    assert_eq!(
        stopped_at(|event| matches!(event, Event::Step { .. })),
        Some(calibrated)
    );
}

/// The scores of good images change by what is normal, so earlier ones are no longer those of the model.
#[test]
fn a_calibration_without_what_is_normal_ends_when_that_is_found() {
    let folder = data();
    let training = training(folder.path(), "run").calibration(0.0);
    let until = Until::one_image_of(Work::Normal);
    let run = training.clone().cancel(until.cancel.clone()).start(&until).unwrap();
    let calibrated = Recalibration::of(run.folder()).pictures(folder.path().join("badge/test/good"));
    calibrated.start(&()).unwrap();
    let run = training.start(&()).unwrap();
    let whole = Checkpoint::open(run.folder()).unwrap();
    assert!(whole.normal.is_some() && whole.header.calibration.is_none());
    assert_eq!(whole.header.calibration_precision, None);
    assert!(whole.header.calibration_images.is_empty());
}

#[test]
fn a_time_that_is_up_ends_a_calibration_but_not_the_completion_of_a_run() {
    let folder = data();
    let training = training(folder.path(), "run").epochs(3);
    let stop = CancelAt(Cancel::new(), |event: &Event<'_>| matches!(event, Event::Epoch { .. }));
    training.clone().cancel(stop.0.clone()).start(&stop).unwrap();
    let time = Cancel::new().after(Duration::ZERO);
    let run = training.cancel(time.clone()).start(&()).unwrap();
    assert_eq!(run.outcome(), Some(TrainingOutcome::Stopped(Stop::Time)));
    assert!(Checkpoint::open(run.folder()).unwrap().header.calibration.is_some());

    let best = run.folder().join("best.safetensors");
    let before = fs::read(&best).unwrap();
    let calibration = Recalibration::of(run.folder()).pictures(folder.path().join("badge/test/good"));
    let error = calibration.cancel(time).start(&()).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(fs::read(&best).unwrap() == before);
}

/// A mask whose left part of `width` is marked, of the proportions of the pictures.
fn mask(file: &Path, width: u32) {
    let pixel = |x, _| image::Luma([if x < width { 255 } else { 0 }]);
    image::GrayImage::from_fn(64, 64, pixel).save(file).unwrap();
}

#[test]
fn a_run_that_is_there_or_is_just_begun_stays_as_it_is() {
    let folder = data();
    let at = |path: &str| folder.path().join(path);
    let [one, other] = [at("one.png"), at("other.png")];
    mask(&one, 32);
    mask(&other, 16);
    let category = Category::open(&at("badge"), None).unwrap();
    let create = |out: &str, roi: &Path, seed| {
        let options = TrainingOptions {
            roi: Some(roi.to_owned()),
            seed: Some(seed),
            method: Some(Method::RIAD),
            ..TrainingOptions::default()
        };
        Run::create(at(out), &category, &options, &Device::CPU, &())
    };
    // A kill before the first step leaves no more than this.
    create("run", &one, 1).unwrap();
    let files = || ["settings.json", "roi"].map(|name| fs::read(at("run").join(name)).unwrap());
    let before = files();
    let error = create("run", &other, 2).unwrap_err();
    assert!(matches!(error, Error::RunExists { .. }), "{error}");
    assert!(files() == before);

    // Another process is just beginning one.
    fs::create_dir(at("begun")).unwrap();
    fs::copy(&one, at("begun/roi")).unwrap();
    let lock = riad_model::lock_run(&at("begun")).unwrap();
    let error = create("begun", &other, 2).unwrap_err();
    assert!(error.to_string().contains("another process is training"), "{error}");
    assert!(fs::read(at("begun/roi")).unwrap() == fs::read(&one).unwrap());
    // Once that one is gone, what it left unfinished is made anew.
    drop(lock);
    create("begun", &other, 2).unwrap();
    assert!(fs::read(at("begun/roi")).unwrap() == fs::read(&other).unwrap());
}

/// Who removes the state of a finished run, three times as large as its weights, still has these.
#[test]
fn weights_without_the_state_of_their_training_are_not_replaced() {
    let folder = data();
    let training = training(folder.path(), "run");
    let run = training.clone().start(&()).unwrap();
    let best = run.folder().join("best.safetensors");
    let before = fs::read(&best).unwrap();
    fs::remove_file(run.folder().join("last.safetensors")).unwrap();
    let error = training.clone().start(&()).unwrap_err().to_string();
    assert!(
        error.contains("last.safetensors") && error.contains("bring that back"),
        "{error}"
    );
    // Nor by a run of another start.
    fs::remove_file(run.folder().join("settings.json")).unwrap();
    let error = training.start(&()).unwrap_err().to_string();
    assert!(error.contains("would replace"), "{error}");
    assert!(fs::read(&best).unwrap() == before && !run.folder().join("settings.json").exists());
}

/// A caller that reports the faults and calls again must not train without the images that have them.
#[cfg(unix)]
#[test]
fn faults_of_training_images_are_reported_each_time() {
    let folder = data();
    let root = folder.path().join("badge");
    std::os::unix::fs::symlink("nowhere.png", root.join("train/good/more.png")).unwrap();
    let category = Category::open(&root, None).unwrap();
    assert_eq!(category.train_faults.len(), 1);
    let options = TrainingOptions {
        method: Some(Method::RIAD),
        ..TrainingOptions::default()
    };
    let out = folder.path().join("run");
    let create = || Run::create(&out, &category, &options, &Device::CPU, &()).map(drop);
    let [first, second] = [create(), create()].map(|created| created.unwrap_err().to_string());
    assert_eq!(first, second);
    assert!(first.contains("more.png"), "{first}");
}

#[test]
fn another_mask_in_the_place_of_a_runs_own_is_refused() {
    let folder = data();
    let at = |path: &str| folder.path().join(path);
    mask(&at("own.png"), 32);
    mask(&at("other.png"), 16);
    let category = Category::open(&at("badge"), None).unwrap();
    let options = TrainingOptions {
        roi: Some(at("own.png")),
        method: Some(Method::RIAD),
        size: Some(riad::Size::new(32, 32)),
        epochs: Some(1),
        ..TrainingOptions::default()
    };
    let mut run = Run::create(at("run"), &category, &options, &Device::CPU, &()).unwrap();
    let mut train = || run.train(None, &Device::CPU, &Cancel::new(), &());
    fs::copy(at("other.png"), at("run/roi")).unwrap();
    let error = train().unwrap_err();
    let is_named = error.path() == Some(at("run/roi").as_path());
    assert!(matches!(error, Error::Damaged { .. }) && is_named, "{error}");
    // With its own mask back it is completed.
    fs::copy(at("own.png"), at("run/roi")).unwrap();
    train().unwrap();
    let roi = Checkpoint::open(&at("run")).unwrap().roi.unwrap();
    assert_eq!(roi.share(), 0.5);
}

#[test]
fn an_evaluation_that_is_cancelled_gives_no_result_and_ends_its_work() {
    let folder = data();
    let run = training(folder.path(), "run").start(&()).unwrap();
    let test = TestSet::of_run(&run, &()).unwrap();
    let until = Until::one_image_of(Work::Measuring("badge"));
    let measurement = Measurement::of(run.folder()).compute(Compute::on(Device::CPU));
    let measured = measurement.clone().cancel(until.cancel.clone()).measure(&test, &until);
    assert!(matches!(measured, Err(Error::Cancelled)), "it was measured");
    let state = until.state.lock().unwrap();
    // A batch of four, of six.
    assert!(state.has_ended && state.done == 4, "{} images", state.done);
    drop(state);
    // Who is not asked to stop goes through.
    assert_eq!(measurement.measure(&test, &()).unwrap().findings.images.len(), 6);
}

#[test]
fn the_mean_image_of_no_images_is_not_measured() {
    let (folder, run) = &*RUN;
    let compute = Compute::on(Device::CPU);
    let measurement = Measurement::of(run.folder()).compute(compute.clone()).baseline(true);
    let sets = Sets::new().good(folder.path().join("badge/test/good"));
    let pictures = TestSet::of_sets(run.folder(), &sets, None, &compute, &()).unwrap();
    for (test, has_mean) in [(pictures, false), (TestSet::of_run(run, &()).unwrap(), true)] {
        let findings = measurement.measure(&test, &()).unwrap().findings;
        assert_eq!((findings.images.len(), findings.baseline.is_some()), (6, has_mean));
    }
}

#[test]
fn results_of_one_name_do_not_replace_each_other() {
    let (folder, run) = &*RUN;
    let test = TestSet::of_run(run, &()).unwrap();
    let measure = || {
        let measurement = Measurement::of(run.folder()).compute(Compute::on(Device::CPU));
        measurement.pictures(false).measure(&test, &()).unwrap()
    };
    let results = [measure(), measure()];
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let error = evaluation::write(&out, &results, &[]).unwrap_err().to_string();
    assert!(error.contains("badge is in the results twice"), "{error}");
    assert!(sorted(&out).is_empty());
    evaluation::write(&out, &results[..1], &[]).unwrap();
}

#[test]
fn a_test_set_is_called_as_the_category() {
    let folder = data();
    let root = folder.path().join("lid.v2");
    fs::rename(folder.path().join("badge"), &root).unwrap();
    let good = root.join("train/good");
    let run = Training::new(&good).method(Method::RIAD).size(32).epochs(1);
    let run = run
        .device(Device::CPU)
        .out(folder.path().join("run"))
        .start(&())
        .unwrap();
    let held_out = TestSet::of_run_or_held_out(&run, &()).unwrap();
    let sets = Sets::new().good(root.join("test/good"));
    let pictures = TestSet::of_sets(run.folder(), &sets, None, &Compute::on(Device::CPU), &()).unwrap();
    assert_eq!([held_out.name, pictures.name], ["lid.v2"; 2]);
}

/// What is listed can still fail to be read.
#[cfg(unix)]
#[test]
fn pictures_none_of_which_can_be_read_are_no_test_set() {
    let (folder, run) = &*RUN;
    let good = folder.path().join("badge/test/good");
    let of_sets = |sets| TestSet::of_sets(run.folder(), &sets, None, &Compute::on(Device::CPU), &());
    let error = of_sets(Sets::new().good(&good).bad("/dev/null"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no bad picture can be read"), "{error}");
    assert_eq!(of_sets(Sets::new().good(&good)).unwrap().category.test.len(), 6);
}
