//! Any bytes as the file that `riad::watch` adds its lines to: continued, or refused and left as it is, within the memory that there
//! is, and without a panic. One that is continued loses its torn last line and nothing else, says the same when it is opened again,
//! and takes in the line of an image more.
//!
//! The first byte of an input tells the format: even for lines of JSON, odd for CSV.

#![no_main]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use riad::watch::{Options, Station};
use riad::{Cancel, Compute, Detector, Device, Error};
use riad_fuzz::{folder, seed};
use riad_model::{Architecture, Checkpoint, ScoringSettings, Weights};

struct Place {
    detector: Detector,
    /// Has one image, which is none.
    inbox: PathBuf,
    /// The files of lines.
    jsonl: PathBuf,
    csv: PathBuf,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let folder = folder("journal");
    let inbox = folder.join("inbox");
    fs::create_dir_all(&inbox).expect("a folder for images");
    let image = inbox.join("1.png");
    fs::write(&image, "no image").expect("a file");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    File::options()
        .write(true)
        .open(image)
        .and_then(|file| file.set_modified(time))
        .expect("a time");
    let weights = Weights::initial(Architecture::u_net(1), 0).expect("a network");
    let checkpoint = Checkpoint::new(weights, ScoringSettings::for_size(32, 32), None, None);
    let detector = Detector::options()
.compute(Compute::on(Device::CPU))
.open_checkpoint(&checkpoint)
.expect("a detector");
    Place {
        detector,
        inbox,
        jsonl: folder.join("lines.jsonl"),
        csv: folder.join("lines.csv"),
    }
});

fn open(out: &Path) -> Result<Station, Error> {
    let mut options = Options::new(&PLACE.inbox, out);
    (options.once, options.settle, options.interval) = (true, Duration::ZERO, Duration::ZERO);
    Station::open(PLACE.detector.clone(), options, &())
}

/// A file of lines as it is begun.
fn begun(out: &Path) -> Vec<u8> {
    fs::write(out, "").expect("an empty file");
    open(out)
        .and_then(|mut station| station.run(&Cancel::new(), &()))
        .expect("a line");
    fs::read(out).expect("the line")
}

fuzz_target!(
    init: {
        let mut seeds = Vec::new();
        for (choice, out) in [(b"j", &PLACE.jsonl), (b"c", &PLACE.csv)] {
            let lines = String::from_utf8(begun(out)).expect("text");
            let other = lines.replace("1.png", "2.png");
            let last = lines.lines().last().unwrap_or_default();
            let torn = &last[..last.len() - 1];
            let two = format!("{lines}{}\n", other.lines().last().unwrap_or_default());
            seeds.extend([&lines, &other, &two, &format!("{lines}{torn}"), torn].map(|text| [choice, text.as_bytes()].concat()));
        }
        seed(&seeds);
    },
    |bytes: &[u8]| {
        let Some((choice, bytes)) = bytes.split_first() else { return };
        let out = if choice % 2 == 0 { &PLACE.jsonl } else { &PLACE.csv };
        fs::write(out, bytes).expect("a file that can be written");
        let read = || fs::read(out).expect("the file");
        let station = match open(out) {
            Ok(station) => station,
            Err(error) => {
                assert!(read() == bytes, "a file is refused ({error}) and changed");
                let blames_it = matches!(&error, Error::NotOurs { path } | Error::Damaged { path, .. } if path == out);
                assert!(blames_it, "{error}");
                return;
            }
        };
        let counts = station.counts();
        drop(station);
        let kept = read();
        if !bytes.is_empty() {
            let torn = bytes.strip_prefix(&kept[..]).expect("what is whole is kept");
            assert!(kept.last().is_none_or(|byte| *byte == b'\n') && !torn.contains(&b'\n'), "a whole line is cut off");
        }
        let mut station = open(out).expect("a file that was continued is continued again");
        assert_eq!(station.counts(), counts);
        assert!(read() == kept, "opening it again changes the file");
        station.run(&Cancel::new(), &()).expect("a line for the image");
        let after = station.counts();
        assert!(read().starts_with(&kept) && [0, 1].contains(&(after.images - counts.images)), "{counts:?}, {after:?}");
        drop(station);
        let again = open(out).expect("a file with a line more is continued").counts();
        assert_eq!((again.images, again.rejects), (after.images, after.rejects));
    }
);
