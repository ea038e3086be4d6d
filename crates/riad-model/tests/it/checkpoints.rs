//! Checkpoints come back as they were saved, and hostile ones are refused.

use std::{collections::HashMap, error::Error, fs, ops::ControlFlow, path::Path};

use proptest::prelude::*;
use riad_core::{Calibration, Map, Size};
use riad_model::{
    Architecture, Checkpoint, Device, Event, Examples, ImageSource, Keep, Method, ModelError, Normal, Normalisation,
    Precision, Progress, Roi, Scorer, ScoringSettings, Tiling, TrainConfig, Trainer, Weights, export::onnx_scorer,
    store::LAST,
};
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

#[test]
fn an_autoencoder_comes_back_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let scoring = Method::AUTOENCODER.settings(32, 32);
    let weights = Weights::initial(Architecture::autoencoder(2), 1).unwrap();
    let checkpoint = Checkpoint::new(weights, scoring, None, None);
    checkpoint.save(&path).unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap(), checkpoint);
    assert_eq!(checkpoint.header.scoring.passes_per_image(), 1);
    assert_eq!(checkpoint.header.method(), Method::AUTOENCODER);
}

/// Its fields are public, so a caller can put together what does not fit.
#[test]
fn parts_that_contradict_each_other_are_neither_saved_nor_exported_nor_scored_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let whole = Checkpoint::new(
        Weights::initial(Architecture::u_net(2), 1).unwrap(),
        ScoringSettings::for_size(32, 32),
        None,
        None,
    );
    let changed = |change: fn(&mut Checkpoint)| {
        let mut checkpoint = whole.clone();
        change(&mut checkpoint);
        checkpoint
    };
    for checkpoint in [
        changed(|checkpoint| checkpoint.header.architecture = Architecture::u_net(3)),
        changed(|checkpoint| checkpoint.header.scoring.sets = 0),
        changed(|checkpoint| {
            let map = Map::filled(Size::new(32, 48), 0.25);
            checkpoint.normal = Some(Normal::new(map.clone(), map).unwrap());
        }),
        changed(|checkpoint| checkpoint.roi = Some(Roi::new(Map::filled(Size::new(48, 32), true)).unwrap())),
    ] {
        let refused = [
            checkpoint.save(&path).unwrap_err(),
            onnx_scorer(&checkpoint).unwrap_err(),
            Scorer::new(&checkpoint, &Device::CPU, Precision::F32).err().unwrap(),
        ];
        assert!(
            refused
                .iter()
                .all(|error| matches!(error, ModelError::Setting(_) | ModelError::Mask(_)))
        );
        assert!(!path.exists());
    }
    whole.save(&path).unwrap();
    onnx_scorer(&whole).unwrap();
}

#[test]
fn a_checkpoint_comes_back_as_it_was_saved_and_a_damaged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut scoring = ScoringSettings::default();
    (scoring.height, scoring.width) = (32, 48);
    scoring.mask_seed = u64::MAX;
    let weights = Weights::initial(Architecture::u_net(2), 1).unwrap();
    let mut checkpoint = Checkpoint::new(weights, scoring, None, None);
    checkpoint.header.calibration = Some(Calibration::new(vec![0.3, 0.123_456_79]).unwrap());
    checkpoint.header.calibration_images = vec!["0123456789abcdef".into(), "fedcba9876543210".into()];
    let size = Size::new(32, 48);
    checkpoint.normal = Some(Normal::new(Map::filled(size, 0.25), Map::filled(size, 0.125)).unwrap());
    let inside = (0..32 * 48).map(|i| i % 5 == 0).collect();
    checkpoint.roi = Some(Roi::new(Map::new(size, inside).unwrap()).unwrap());
    checkpoint.save(&path).unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap(), checkpoint);
    // Checkpoints that nobody calibrated have no such entries.
    checkpoint.header.forget_calibration();
    (checkpoint.normal, checkpoint.roi) = (None, None);
    checkpoint.save(&path).unwrap();
    assert!(!String::from_utf8_lossy(&fs::read(&path).unwrap()).contains("calibration"));
    assert_eq!(Checkpoint::open(&path).unwrap(), checkpoint);
    let whole = fs::read(&path).unwrap();
    checkpoint.save(&path).unwrap();
    assert!(fs::read(&path).unwrap() == whole, "equal checkpoints are equal files");

    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        assert!(matches!(error, ModelError::Checkpoint { .. }), "{error:?}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
        error.to_string()
    };
    for length in (0..whole.len()).step_by(whole.len() / 50) {
        refused(&whole[..length]);
    }
    // A region of interest of another size than the images.
    let mut other = checkpoint.clone();
    other.roi = Some(Roi::new(Map::filled(size, true)).unwrap());
    other.save(&path).unwrap();
    let other = with_header(&path, |header| header["scoring"]["width"] = json!(64));
    assert!(refused(&other).contains("region of interest is 32x48"));
    // A format of the future is named before anything of it is read.
    let mut newer = whole.clone();
    let place = whole
        .windows(13)
        .position(|window| window == br#"\"format\":2,"#)
        .unwrap();
    newer[place + 11] = b'9';
    assert!(refused(&newer).contains("newer than this program's"));

    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/nested.pth");
    let torch = fs::read(reference).unwrap();
    for length in (4..torch.len()).step_by(torch.len() / 20) {
        refused(&torch[..length]);
    }
}

/// A checkpoint as a run leaves it.
fn of_a_run() -> Checkpoint {
    let architecture = Architecture::u_net(1);
    let mut scoring = ScoringSettings::for_size(16, 16);
    scoring.region_sizes = vec![2, 4];
    let training = TrainConfig::published(architecture, scoring.clone());
    let weights = Weights::initial(architecture, 1).unwrap();
    Checkpoint::new(weights, scoring, Some(training), Some(Progress::default()))
}

/// The header of a checkpoint in a file, and the file with another header.
fn with_header(path: &Path, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut header: Value = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["riad"]).unwrap();
    change(&mut header);
    let views = tensors.iter().map(|(name, view)| {
        (
            name.to_owned(),
            TensorView::new(view.dtype(), view.shape().to_vec(), view.data()).unwrap(),
        )
    });
    let metadata = HashMap::from([("riad".to_owned(), header.to_string())]);
    safetensors::serialize(views, Some(metadata)).unwrap()
}

/// Every number in a header, by its path.
fn numbers(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(path.to_owned()),
        Value::Array(values) => {
            (values.iter().enumerate()).for_each(|(i, v)| numbers(v, &format!("{path}/{i}"), found))
        }
        Value::Object(entries) => entries
            .iter()
            .for_each(|(k, v)| numbers(v, &format!("{path}/{k}"), found)),
        _ => {}
    }
}

/// As many images as are asked for, all alike.
struct Gray(usize);

impl ImageSource for Gray {
    fn len(&self) -> usize {
        self.0
    }

    fn batches(
        &self,
        order: Vec<usize>,
        batch_size: usize,
        _: u64,
    ) -> Box<dyn Iterator<Item = Result<Examples, Box<dyn Error + Send + Sync>>> + '_> {
        let sizes: Vec<usize> = order.chunks(batch_size).map(<[usize]>::len).collect();
        Box::new(sizes.into_iter().map(|count| Ok(gray_image().repeat(count).into())))
    }
}

fn gray_image() -> Vec<f32> {
    (0..3 * 16 * 16).map(|i| 0.5 + 0.4 * (i as f32 * 0.7).sin()).collect()
}

/// A run in a folder, broken off after its first epoch, so that every number of its header has been set.
fn begin_run(folder: &Path) {
    let mut scoring = ScoringSettings::for_size(16, 16);
    scoring.region_sizes = vec![2, 4];
    let mut config = TrainConfig::published(Architecture::u_net(1), scoring);
    config.batch_size = 2;
    let mut trainer = Trainer::start(config, folder, &Device::CPU).unwrap();
    let mut until_epoch = |event: Event<'_>| match event {
        Event::Epoch { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    trainer.run(&Gray(3), &Gray(1), &mut until_epoch).unwrap();
}

/// A header with any number in it is refused, or its checkpoint is one that can be saved, scored and trained with, or that says what
/// is wrong with it. It never overflows, and never has anything allocated by it.
#[test]
fn headers_with_extreme_numbers_are_refused_or_hold() {
    let folder = tempfile::tempdir().unwrap();
    begin_run(folder.path());
    let path = folder.path().join(LAST);
    let mut header = Value::Null;
    with_header(&path, |of_run| header = of_run.clone());
    let mut all = Vec::new();
    numbers(&header, "", &mut all);
    assert!(all.len() > 40, "{all:?}");
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut scored, mut trained) = (0, 0, 0);
    for place in &all {
        let numbers = [json!(0), json!(-1), json!(0.5), json!(1e300), json!(-1e300)];
        let counts = [31, 62]
            .map(|power| json!(1u64 << power))
            .into_iter()
            .chain([json!(u64::MAX)]);
        // To what is no count, those are numbers like others.
        let is_count = header.pointer(place).unwrap().is_u64();
        for number in numbers.into_iter().chain(counts.filter(|_| is_count)) {
            fs::write(&path, &whole).unwrap();
            let bytes = with_header(&path, |header| *header.pointer_mut(place).unwrap() = number.clone());
            fs::write(&path, bytes).unwrap();
            let checkpoint = match Checkpoint::open(&path) {
                Ok(checkpoint) => checkpoint,
                Err(error) => {
                    refused += 1;
                    assert!(
                        matches!(error, ModelError::Checkpoint { .. }),
                        "{place} {number}: {error:?}"
                    );
                    assert!(
                        Trainer::resume(folder.path(), &Device::CPU).is_err(),
                        "{place} {number}"
                    );
                    continue;
                }
            };
            checkpoint.header.scoring.check().unwrap();
            checkpoint.header.training.as_ref().unwrap().check().unwrap();
            let copy = folder.path().join("copy.safetensors");
            checkpoint.save(&copy).unwrap();
            assert_eq!(Checkpoint::open(&copy).unwrap(), checkpoint);
            let of_scorer = Scorer::new(&checkpoint, &Device::CPU, Precision::F32)
                .and_then(|scorer| scorer.score(&gray_image(), Keep::All));
            match of_scorer {
                Ok(images) => {
                    scored += 1;
                    assert_eq!(images.len(), 1);
                }
                Err(error) => assert!(
                    matches!(
                        error,
                        ModelError::Length { .. } | ModelError::Mask(_) | ModelError::Overflow
                    ),
                    "{place} {number}: {error:?}"
                ),
            }
            let of_trainer = Trainer::resume(folder.path(), &Device::CPU)
                .and_then(|mut trainer| trainer.run(&Gray(3), &Gray(1), &mut |_| ControlFlow::Break(())));
            match of_trainer {
                Ok(_) => trained += 1,
                Err(error) => assert!(
                    matches!(
                        error,
                        ModelError::Length { .. }
                            | ModelError::Mask(_)
                            | ModelError::Diverged { .. }
                            | ModelError::OtherImages { .. }
                    ),
                    "{place} {number}: {error:?}"
                ),
            }
        }
    }
    assert!(refused > 100, "{refused} refused");
    assert!(scored > 50 && trained > 50, "{scored} scored, {trained} trained");
}

/// The example that overflowed before it was checked.
#[test]
fn a_width_beyond_memory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    of_a_run().save(&path).unwrap();
    let bytes = with_header(&path, |header| {
        header["architecture"]["width"] = json!(1u64 << 62);
        header["training"]["architecture"]["width"] = json!(1u64 << 62);
    });
    fs::write(&path, bytes).unwrap();
    let error = Checkpoint::open(&path).unwrap_err().to_string();
    assert!(error.contains("the width must be within 1 to 4096"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_checkpoint_comes_back_as_it_was_saved(
        (width, channels, skips) in (1usize..4, 1usize..6, any::<bool>()),
        (height, more) in (16usize..40, 0usize..20),
        (sets, mask_seed) in (1usize..5, any::<u64>()),
        (mean, deviation) in (-2.0f32..2.0, 0.01f32..3.0),
        region_sizes in prop::collection::vec(1usize..8, 0..4),
        (has_map, has_roi, overlap) in (any::<bool>(), any::<bool>(), prop::option::of(0usize..8)),
        scores in prop::option::of(prop::collection::vec(0.0f32..1.0, 1..30)),
    ) {
        let architecture = if skips { Architecture::u_net(width) } else { Architecture::autoencoder(width) };
        let architecture = architecture.with_channels(channels);
        let mut scoring = ScoringSettings::for_size(height, height + more);
        scoring.method = if region_sizes.is_empty() { Method::AUTOENCODER } else { Method::RIAD };
        (scoring.sets, scoring.mask_seed, scoring.region_sizes) = (sets, mask_seed, region_sizes);
        scoring.normalisation = Normalisation { mean, deviation };
        scoring.tiling = overlap.map(|overlap| Tiling { overlap });
        let size = scoring.size();
        let weights = Weights::initial(architecture, mask_seed).unwrap();
        let mut checkpoint = Checkpoint::new(weights, scoring, None, None);
        if has_map && overlap.is_none() {
            checkpoint.normal = Some(Normal::new(Map::filled(size, mean.abs() / 2.0), Map::filled(size, deviation / 3.0)).unwrap());
        }
        if has_roi {
            checkpoint.roi = Some(Roi::new(Map::filled(size, true)).unwrap());
        }
        checkpoint.header.calibration = scores.map(|scores| Calibration::new(scores).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        // Settings that cannot be are refused when they are read, and say so.
        let is_possible = checkpoint.header.scoring.check().is_ok();
        checkpoint.save(&path).unwrap();
        match Checkpoint::open(&path) {
            Ok(read) => {
                prop_assert!(is_possible);
                prop_assert_eq!(read, checkpoint);
            }
            Err(error) => prop_assert!(!is_possible, "{}", error),
        }
    }

    /// Whatever bytes a file has, it is a checkpoint or an error that names the file.
    #[test]
    fn any_bytes_are_a_checkpoint_or_an_error(change in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        of_a_run().save(&path).unwrap();
        assert_eq!(Checkpoint::open(&path).unwrap(), of_a_run());
        let mut bytes = fs::read(&path).unwrap();
        // The header is a small part of the file, and what is in it decides the most.
        let head = bytes.len().min(6000);
        for (index, value) in change {
            bytes[index.index(head)] = value;
        }
        fs::write(&path, bytes).unwrap();
        if let Err(error) = Checkpoint::open(&path) {
            prop_assert!(error.to_string().contains("model.safetensors"), "{}", error);
        }
    }
}
