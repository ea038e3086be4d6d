//! Training from the weights of another model, and what good images look like as a whole.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
};

use riad::{
    Cancel, Category, Checkpoint, Compute, Detector, Device, Difference, Event, Image, Method, Observer, Preset,
    Recalibration, RgbImage, Run, Size, Training, TrainingOptions, TrainingOutcome,
};
use tempfile::TempDir;

const SIDE: usize = 32;

/// A stripe whose place and brightness differ a little from picture to picture.
fn good(number: u32) -> RgbImage {
    RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
        let noise = ((x | y << 8 | number << 16).wrapping_mul(0x9e37_79b1) >> 24) % 6;
        let is_inside = (12 + number % 3..20 + number % 3).contains(&x);
        let level = if is_inside { 180 } else { 60 };
        [level + noise as u8, level, 40 + noise as u8].into()
    })
}

/// A folder of good pictures, and a run that learned from them.
struct Made {
    folder: TempDir,
    photos: PathBuf,
    run: PathBuf,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let [photos, run] = ["photos", "run"].map(|name| folder.path().join(name));
    fs::create_dir(&photos).unwrap();
    for number in 0..12 {
        good(number).save(photos.join(format!("{number:03}.png"))).unwrap();
    }
    let training = Training::new(&photos).preset(Preset::Tiny).size(SIDE).epochs(30);
    training.device(Device::CPU).out(&run).start(&()).unwrap();
    Made { folder, photos, run }
});

fn further(out: &Path) -> Training {
    let training = Training::new(&MADE.photos).starting_from(&MADE.run);
    training.epochs(2).device(Device::CPU).out(out)
}

fn bytes(run: &Path) -> [Vec<u8>; 3] {
    ["best.safetensors", "last.safetensors", "history.csv"].map(|name| fs::read(run.join(name)).unwrap())
}

/// Keeps the training losses of epochs, and asks for a stop after some steps.
#[derive(Default)]
struct Losses {
    of: Mutex<Vec<f64>>,
    cancel: Cancel,
    after: Option<usize>,
}

impl Observer for Losses {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Epoch { record, .. } => self.of.lock().unwrap().push(record.train.total),
            Event::Step { done, .. } if Some(*done) == self.after => self.cancel.cancel(),
            _ => {}
        }
    }
}

#[test]
fn it_begins_with_what_the_other_model_knows_and_looks_at_images_as_that_does() {
    let out = MADE.folder.path().join("further");
    let losses = Losses::default();
    let run = further(&out).start(&losses).unwrap();
    assert_eq!(run.outcome(), Some(TrainingOutcome::Finished));
    let anew = Losses::default();
    let options = TrainingOptions {
        preset: Some(Preset::Tiny),
        size: Some(Size::new(SIDE, SIDE)),
        method: Some(Detector::open(&MADE.run).unwrap().header().method()),
        epochs: Some(2),
        ..TrainingOptions::default()
    };
    let training = Training::new(&MADE.photos).options(options).device(Device::CPU);
    training.out(MADE.folder.path().join("anew")).start(&anew).unwrap();
    let [further, anew] = [losses, anew].map(|losses| losses.of.into_inner().unwrap()[0]);
    assert!(further < 0.7 * anew, "{further} from there, {anew} from nothing");
    let [before, after] = [&MADE.run, &out].map(|run| Detector::open(run).unwrap().header().clone());
    assert_eq!(before.scoring, after.scoring);
    assert_eq!(before.architecture, after.architecture);
    let settings = fs::read_to_string(out.join("settings.json")).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap();
    assert_eq!(
        settings["from"].as_str().map(str::len),
        Some(64),
        "the SHA-256 of the weights"
    );
    assert!(!out.join("start.safetensors").exists());
}

#[test]
fn a_run_that_is_broken_off_at_any_place_ends_in_the_same_bytes() {
    let whole = MADE.folder.path().join("whole");
    further(&whole).start(&()).unwrap();
    let broken = MADE.folder.path().join("broken");
    let losses = Losses {
        after: Some(1),
        ..Losses::default()
    };
    let run = further(&broken).cancel(losses.cancel.clone()).start(&losses).unwrap();
    assert!(matches!(run.outcome(), Some(TrainingOutcome::Stopped(_))));
    further(&broken).start(&()).unwrap();
    assert!(bytes(&broken) == bytes(&whole));

    // A kill before the first step, and the other model is gone since.
    let unborn = MADE.folder.path().join("unborn");
    let copy = MADE.folder.path().join("copy.safetensors");
    fs::copy(MADE.run.join("best.safetensors"), &copy).unwrap();
    let options = TrainingOptions {
        from: Some(copy.clone()),
        epochs: Some(2),
        ..TrainingOptions::default()
    };
    let category = Category::open(&MADE.photos, None).unwrap();
    drop(Run::create(&unborn, &category, &options, &Device::CPU, &()).unwrap());
    fs::remove_file(copy).unwrap();
    let mut run = Run::open(&unborn).unwrap();
    run.train(None, &Device::CPU, &Cancel::new(), &()).unwrap();
    assert!(bytes(&unborn) == bytes(&whole));

    // Other weights are another run.
    let error = further(&whole)
        .starting_from(whole.join("last.safetensors"))
        .start(&())
        .unwrap_err();
    assert!(matches!(error, riad::Error::Differs { setting: "from", .. }), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let out = MADE.folder.path().join("refused");
    let own = Detector::open(&MADE.run).unwrap().header().method();
    let other = *Method::ALL.iter().find(|method| **method != own).unwrap();
    let grey = TrainingOptions {
        from: Some(MADE.run.clone()),
        channels: Some(1),
        ..TrainingOptions::default()
    };
    for (training, what) in [
        (further(&out).method(other), "method"),
        (further(&out).preset(Preset::Small), "preset is tiny, not small"),
        (further(&out).options(grey), "channels is 3, not 1"),
        (further(&out).starting_from(MADE.folder.path().join("none")), "none"),
    ] {
        let error = training.start(&()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        assert!(!Run::exists(&out), "nothing is begun");
    }
}

fn image(change: impl Fn(f32) -> f32) -> Image {
    let picture = good(77);
    let planes = (0..3).flat_map(|channel| {
        let values: Vec<_> = picture
            .pixels()
            .map(|pixel| f32::from(pixel.0[channel]) / 255.0)
            .collect();
        values
    });
    Image::new(3, Size::new(SIDE, SIDE), planes.map(change).collect()).unwrap()
}

#[test]
fn a_model_tells_pictures_of_something_else() {
    let detector = Detector::open(&MADE.run).unwrap();
    assert_eq!(detector.appearance().unwrap().images(), 12);
    let likeness = |image| detector.inspect(image).unwrap().likeness().unwrap();
    assert!(likeness(image(|value| value)).resembles());
    let black = likeness(image(|_| 0.0));
    assert!(
        !black.resembles() && black.difference() == Some(Difference::Darker),
        "{black:?}"
    );
    assert!(black.distance() > black.limit());
    // From a file it is the same.
    let file = MADE.folder.path().join("black.png");
    RgbImage::new(2 * SIDE as u32, SIDE as u32).save(&file).unwrap();
    assert_eq!(detector.inspect_file(file).unwrap().likeness(), Some(black));
}

#[test]
fn calibrating_teaches_what_good_pictures_look_like_where_that_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let [old, file] = ["old.safetensors", "new.safetensors"].map(|name| folder.path().join(name));
    let mut checkpoint = Checkpoint::open(&MADE.run).unwrap();
    let known = checkpoint.header.appearance.take().unwrap();
    checkpoint.save(&old).unwrap();
    let inspect = |file: &Path| Detector::open(file).unwrap().inspect(image(|value| value)).unwrap();
    assert_eq!(inspect(&old).likeness(), None, "an older program's checkpoint");

    let [photos, dim] = ["photos", "dim"].map(|name| folder.path().join(name));
    fs::create_dir(&photos).unwrap();
    fs::create_dir(&dim).unwrap();
    for number in 100..110 {
        let name = format!("{number}.png");
        good(number).save(photos.join(&name)).unwrap();
        let mut darker = good(number);
        darker.iter_mut().for_each(|value| *value /= 3);
        darker.save(dim.join(name)).unwrap();
    }
    let calibrated = |model: &Path, pictures: &Path| {
        let recalibration = Recalibration::of(model).pictures(pictures).out(&file);
        recalibration.compute(Compute::on(Device::CPU)).start(&()).unwrap();
        Detector::open(&file).unwrap()
    };
    let fresh = calibrated(&old, &photos);
    assert_eq!(fresh.appearance().unwrap().images(), 10);
    // Pictures that are resembled teach nothing new, so calibrating again changes nothing.
    assert_eq!(calibrated(&MADE.run, &photos).appearance(), Some(&known));
    // After a change of the light they do, and the old ones are not forgotten.
    let wider = calibrated(&MADE.run, &dim);
    assert_eq!(wider.appearance().unwrap().images(), 22);
    for share in [1.0, 0.33] {
        let found = wider.inspect(image(|value| value * share)).unwrap();
        assert!(found.likeness().unwrap().resembles(), "{share}: {:?}", found.likeness());
    }
}

#[test]
fn each_picture_that_somebody_chose_is_looked_at_whatever_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let (photos, file) = (folder.path().join("photos"), folder.path().join("new.safetensors"));
    fs::create_dir(&photos).unwrap();
    // More than are looked at, so some of them are passed over.
    for number in 100..231 {
        good(number).save(photos.join(format!("{number}.png"))).unwrap();
    }
    let mut darker = good(77);
    darker.iter_mut().for_each(|value| *value /= 3);
    let chosen = folder.path().join("chosen.png");
    darker.save(&chosen).unwrap();
    let likeness = |model: &Path| {
        let detector = Detector::open(model).unwrap();
        detector.inspect_file(&chosen).unwrap().likeness().unwrap()
    };
    assert!(!likeness(&MADE.run).resembles());
    let recalibration = Recalibration::of(&MADE.run).pictures(&photos).alike(&chosen).out(&file);
    recalibration.compute(Compute::on(Device::CPU)).start(&()).unwrap();
    assert!(likeness(&file).resembles());
}
