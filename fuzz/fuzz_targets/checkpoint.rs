//! Any bytes as a checkpoint: opened or refused by its name, within the memory that there is, and without a panic; what is opened
//! comes back equal when it is saved.
//!
//! The first byte of an input says what the others are: a file; the header of one whose tensors are whole; changes of that
//! header; or the text of ours within it, or changes of that.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use riad::facts::facts;
use riad::{Calibration, Compute, Detector, Device, Map, Size};
use riad_fuzz::{changed, folder, seed};
use riad_model::{Architecture, Checkpoint, EpochRecord, Normal, Progress, Roi, ScoringSettings, TrainConfig, Weights};
use serde_json::{Value, json};

/// Sides of the images of the checkpoint that inputs change.
const SIDE: usize = 16;

/// Pixels of an image that a detector is made for; it takes memory in proportion.
const MOST_PIXELS: usize = 64 * 64;

struct Whole {
    file: PathBuf,
    copy: PathBuf,
    /// The header of the file, with ours as a text in it.
    outer: Value,
    /// Our header.
    inner: Value,
    tensors: Vec<u8>,
}

static WHOLE: LazyLock<Whole> = LazyLock::new(|| {
    let folder = folder("checkpoint");
    let file = folder.join("model.safetensors");
    of_a_run().save(&file).expect("a checkpoint that can be written");
    let bytes = fs::read(&file).expect("the checkpoint");
    let (length, rest) = bytes.split_first_chunk().expect("a length");
    let (outer, tensors) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut outer: Value = serde_json::from_slice(outer).expect("a header");
    let mut tensors = tensors.to_vec();
    // The optimiser's state of one tensor.
    for moment in ["first", "second"] {
        let begin = tensors.len();
        tensors.extend([0; 12]);
        outer[format!("adam.{moment}.conv_final.0.bias")] =
            json!({"dtype": "F32", "shape": [3], "data_offsets": [begin, tensors.len()]});
    }
    let inner = outer["__metadata__"]["riad"].as_str().expect("our header");
    let inner = serde_json::from_str(inner).expect("our header");
    let copy = folder.join("copy.safetensors");
    Whole {
        file,
        copy,
        outer,
        inner,
        tensors,
    }
});

/// A checkpoint with all that one can have.
fn of_a_run() -> Checkpoint {
    let architecture = Architecture::u_net(1);
    let mut scoring = ScoringSettings::for_size(SIDE, SIDE);
    scoring.region_sizes = vec![2, 4];
    let training = TrainConfig::published(architecture, scoring.clone());
    let mut record = EpochRecord::default();
    record.epoch = 1;
    record.validation = Some(record.train);
    let mut progress = Progress::default();
    (progress.epochs, progress.best_epoch, progress.history) = (1, 1, vec![record]);
    let weights = Weights::initial(architecture, 0).expect("a network");
    let mut checkpoint = Checkpoint::new(weights, scoring, Some(training), Some(progress));
    let size = Size::new(SIDE, SIDE);
    checkpoint.header.calibration = Some(Calibration::new(vec![0.25, 0.5]).expect("scores"));
    checkpoint.normal = Some(Normal::new(Map::filled(size, 0.25), Map::filled(size, 0.125)).expect("maps"));
    checkpoint.roi = Some(Roi::new(Map::filled(size, true)).expect("a region"));
    checkpoint
}

impl Whole {
    /// A file with this header before the tensors.
    fn with_outer(&self, outer: &[u8]) -> Vec<u8> {
        let length = (outer.len() as u64).to_le_bytes();
        [&length[..], outer, &self.tensors].concat()
    }

    /// A file with this header of ours.
    fn with_inner(&self, inner: String) -> Vec<u8> {
        let mut outer = self.outer.clone();
        outer["__metadata__"]["riad"] = inner.into();
        self.with_outer(outer.to_string().as_bytes())
    }
}

fuzz_target!(
    init: {
        let Whole { outer, inner, .. } = &*WHOLE;
        let outer = outer.to_string();
        let file = WHOLE.with_outer(outer.as_bytes());
        fs::write(&WHOLE.file, &file).expect("a file");
        Checkpoint::open(&WHOLE.file).expect("a checkpoint that is whole");
        seed(&[
            [&[0], &file[..]].concat(),
            [&[1], outer.as_bytes()].concat(),
            vec![2],
            [&[3], inner.to_string().as_bytes()].concat(),
            b"\x04\x03128".to_vec(),
        ]);
    },
    |bytes: &[u8]| {
        let Some((choice, rest)) = bytes.split_first() else { return };
        let file = match choice % 5 {
            0 => rest.to_vec(),
            1 => WHOLE.with_outer(rest),
            2 => WHOLE.with_outer(changed(&WHOLE.outer, rest).to_string().as_bytes()),
            3 => WHOLE.with_inner(String::from_utf8_lossy(rest).into_owned()),
            _ => WHOLE.with_inner(changed(&WHOLE.inner, rest).to_string()),
        };
        fs::write(&WHOLE.file, file).expect("a file that can be written");
        match Checkpoint::open(&WHOLE.file) {
            Ok(checkpoint) => {
                checkpoint.save(&WHOLE.copy).expect("what was opened can be saved");
                let again = Checkpoint::open(&WHOLE.copy).expect("what was saved can be opened");
                assert!(again == checkpoint, "another comes back: {:?} of {:?}", again.header, checkpoint.header);
                facts(&checkpoint, &WHOLE.file).expect("what is known of it");
                if checkpoint.header.scoring.size().pixels() <= MOST_PIXELS {
                    Detector::options()
.compute(Compute::on(Device::CPU))
.open_checkpoint(&checkpoint)
.expect("a detector");
                }
            }
            Err(error) => assert!(error.to_string().contains("model.safetensors"), "{error}"),
        }
    }
);
