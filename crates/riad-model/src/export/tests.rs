//! What is exported, run by tract, onnxruntime and PyTorch, gives what this crate gives.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use candle_core::{DType, Tensor};
use candle_nn::ModuleT;
use prost::Message;
use riad_core::{Calibration, Map, Size};

use super::{onnx_network, onnx_scorer, torch_state_dict};
use crate::{
    Architecture, Checkpoint, Device, InputFilter, Keep, Method, ModelError, Normal, Normalisation, Precision, Roi,
    Scorer, ScoringSettings, Similarity, Weights, backend::tests::filled_weights, candle::UNet,
    onnx::proto::ModelProto,
};

/// Scorers that differ in everything that the graph depends on: edges, scales, size, regions that do not divide it, sets, a mean
/// filter smaller and larger than the image, normalisation, what is normal, region of interest; a plain autoencoder, which sees all; one and five
/// channels; and each input filter, with differences in colour.
fn checkpoints() -> [Checkpoint; 9] {
    let grey = ScoringSettings {
        height: 32,
        width: 48,
        region_sizes: vec![2, 5, 16],
        smoothing: 5,
        mask_seed: u64::MAX,
        ..ScoringSettings::default()
    };
    let colour = ScoringSettings {
        height: 48,
        width: 32,
        region_sizes: vec![4],
        sets: 4,
        smoothing: 101,
        similarity: Similarity::GmsColour,
        scales: 3,
        normalisation: Normalisation {
            mean: 0.4,
            deviation: 0.3,
        },
        ..ScoringSettings::default()
    };
    let [grey, mut colour] = [grey, colour].map(|scoring| Checkpoint::new(filled_weights(4), scoring, None, None));
    let size = Size::new(48, 32);
    let [mean, deviation] = [0.0, 1.0].map(|phase| {
        let values = (0..48 * 32).map(|i| 0.1 + 0.1 * (i as f32 + phase).sin());
        Map::new(size, values.collect()).unwrap()
    });
    colour.normal = Some(Normal::new(mean, deviation).unwrap());
    let inside = (0..48 * 32).map(|i| i % 32 > 9).collect();
    colour.roi = Some(Roi::new(Map::new(size, inside).unwrap()).unwrap());
    let scores = (0..19).map(|i| 0.1 + 0.01 * i as f32).collect();
    colour.header.calibration = Some(Calibration::new(scores).unwrap());
    let autoencoder = ScoringSettings {
        height: 32,
        width: 32,
        similarity: Similarity::L2,
        ..Method::AUTOENCODER.settings(32, 32)
    };
    let initial = |architecture| Weights::initial(architecture, 1).unwrap();
    let autoencoder = Checkpoint::new(initial(Architecture::autoencoder(4)), autoencoder, None, None);
    let [one, five] = [(1, Similarity::GmsColour), (5, Similarity::GmsGrey)].map(|(channels, similarity)| {
        let scoring = ScoringSettings {
            similarity,
            ..grey.header.scoring.clone()
        };
        let weights = initial(Architecture::u_net(4).with_channels(channels));
        Checkpoint::new(weights, scoring, None, None)
    });
    let filters = [
        (InputFilter::EdgesGrey, 3),
        (InputFilter::EdgesColour, 4),
        (InputFilter::HighPass, 3),
        (InputFilter::None, 1),
    ];
    let restoring = filters.map(|(input, channels)| {
        let scoring = ScoringSettings {
            input,
            chroma: 3.0,
            similarity: Similarity::GmsColour,
            ..Method::RESTORE.settings(48, 32)
        };
        let architecture = Method::RESTORE.architecture(4).with_channels(channels);
        let weights = initial(architecture.with_inputs(input.channels(channels)));
        Checkpoint::new(weights, scoring, None, None)
    });
    let [a, b, c, d] = restoring;
    [grey, colour, autoencoder, one, five, a, b, c, d]
}

/// Two images `[C, H, W]` of edges in all directions, of differing colours.
fn images(checkpoint: &Checkpoint) -> Vec<f32> {
    let ScoringSettings { height, width, .. } = checkpoint.header.scoring;
    let value = |image: usize, channel: usize, y: usize, x: usize| {
        let wave = (0.9 * x as f32 + 0.4 * (y * (channel + 1)) as f32 + image as f32).sin();
        let square = f32::from(u8::from((x / 7 + y / 5 + channel).is_multiple_of(2)));
        0.5 + 0.25 * wave + 0.25 * (square - 0.5)
    };
    let (channels, mut images) = (checkpoint.weights.architecture().channels(), Vec::new());
    for (image, channel) in (0..2).flat_map(|image| (0..channels).map(move |channel| (image, channel))) {
        images.extend((0..height).flat_map(|y| (0..width).map(move |x| value(image, channel, y, x))));
    }
    images
}

#[track_caller]
fn assert_close(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let furthest = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(
        furthest <= 1e-4 && got.iter().all(|v| v.is_finite()),
        "{what}: {furthest}"
    );
}

/// What candle makes of images `[N, C, H, W]`.
fn fill_in(weights: &Weights, input: &[f32], shape: (usize, usize, usize, usize)) -> Vec<f32> {
    let device = candle_core::Device::Cpu;
    let tensors = weights.network().tensors().into_iter();
    let tensors = tensors.map(|spec| {
        let tensor = Tensor::from_slice(weights.get(&spec.name), spec.shape, &device).unwrap();
        (spec.name, tensor)
    });
    let vb = candle_nn::VarBuilder::from_tensors(tensors.collect(), DType::F32, &device);
    let network = UNet::new(weights.network(), vb).unwrap();
    let output = network.forward_t(&Tensor::from_slice(input, shape, &device).unwrap(), false);
    output.unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Checks what a runtime made of a scorer.
#[track_caller]
fn assert_scores(checkpoint: &Checkpoint, maps: &[f32], scores: &[f32]) {
    let scorer = Scorer::new(checkpoint, &Device::CPU, Precision::F32).unwrap();
    let expected = scorer.score(&images(checkpoint), Keep::All).unwrap();
    let expected_maps: Vec<f32> = expected
        .iter()
        .flat_map(|scored| scored.map.values().to_vec())
        .collect();
    assert_close("map", maps, &expected_maps);
    let expected_scores: Vec<f32> = expected.iter().map(|scored| scored.score).collect();
    assert_close("score", scores, &expected_scores);
}

#[test]
fn maps_of_ssim_are_refused() {
    let [mut checkpoint, ..] = checkpoints();
    checkpoint.header.scoring.similarity = Similarity::Ssim;
    assert!(matches!(onnx_scorer(&checkpoint), Err(ModelError::Setting(_))));
}

#[test]
fn metadata_tell_how_to_use_a_scorer() {
    let metadata = |model: &[u8]| -> BTreeMap<String, String> {
        let entries = ModelProto::decode(model).unwrap().metadata_props.into_iter();
        entries
            .map(|entry| (entry.key.unwrap(), entry.value.unwrap()))
            .collect()
    };
    let [uncalibrated, calibrated, ..] = checkpoints();
    let said = metadata(&onnx_scorer(&calibrated).unwrap());
    assert_eq!(said["riad.version"], env!("CARGO_PKG_VERSION"));
    assert!(said["riad.preprocessing"].contains("32x48 (width x height)"));
    // 19 scores allow 0.05, whose threshold is their maximum, 0.1, whose is the one before, and 0.2, whose is the fourth from above; no
    // lower rate.
    let json = |key: &str| serde_json::from_str::<serde_json::Value>(&said[key]).unwrap();
    let scores = calibrated.header.calibration.as_ref().unwrap().scores();
    let thresholds = json("riad.thresholds");
    assert_eq!(thresholds.as_object().unwrap().len(), 3);
    assert_eq!(thresholds["0.05"].as_f64().unwrap() as f32, scores[18]);
    assert_eq!(thresholds["0.1"].as_f64().unwrap() as f32, scores[17]);
    assert_eq!(thresholds["0.2"].as_f64().unwrap() as f32, scores[15]);
    assert_eq!(json("riad.calibration_scores").as_array().unwrap().len(), 19);
    let scoring = json("riad.scoring");
    assert_eq!(
        (&scoring["similarity"], &scoring["sets"]),
        (&"gms-colour".into(), &4.into())
    );

    let said = metadata(&onnx_scorer(&uncalibrated).unwrap());
    assert!(!said.contains_key("riad.thresholds"));
    let scoring: serde_json::Value = serde_json::from_str(&said["riad.scoring"]).unwrap();
    assert_eq!(scoring["mask_seed"], u64::MAX);
}

#[test]
fn a_state_dict_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    let weights = filled_weights(4);
    let bytes = torch_state_dict(&weights).unwrap();
    fs::write(&path, &bytes).unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap().weights, weights);
    assert!(
        torch_state_dict(&weights).unwrap() == bytes,
        "equal weights are equal files"
    );
}

/// Runs `tests/reference/{script}` in `folder`; false if Python or what it imports is not there.
fn python(script: &str, folder: &Path) -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(script);
    riad_testing::python(folder, &[script]).is_some()
}

/// Runs model.onnx in `folder` on `input` of a shape in tract, which is built where it is not yet.
fn tract(folder: &Path, input: &[f32], shape: [usize; 4]) -> Vec<Vec<f32>> {
    write(&folder.join("input"), input);
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--manifest-path"])
        .arg(ours.join("tests/tract/Cargo.toml"))
        .arg("--target-dir")
        .arg(ours.join("../../target/tract"))
        .args(shape.map(|side| side.to_string()))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let outputs = (0..).map(|index| folder.join(format!("output.{index}")));
    outputs
        .take_while(|path| path.exists())
        .map(|path| read(&path))
        .collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn write(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(path, bytes).unwrap();
}

fn read(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect()
}

#[test]
#[ignore = "builds tract, which takes minutes"]
fn tract_scores_as_we_do() {
    for checkpoint in checkpoints() {
        let folder = tempfile::tempdir().unwrap();
        let ScoringSettings { height, width, .. } = checkpoint.header.scoring;
        fs::write(folder.path().join("model.onnx"), onnx_scorer(&checkpoint).unwrap()).unwrap();
        let channels = checkpoint.weights.architecture().channels();
        let outputs = tract(folder.path(), &images(&checkpoint), [2, channels, height, width]);
        assert_scores(&checkpoint, &outputs[0], &outputs[1]);
    }
}

#[test]
#[ignore = "builds tract, which takes minutes"]
fn tract_fills_in_as_we_do_at_any_size() {
    for checkpoint in checkpoints() {
        let folder = tempfile::tempdir().unwrap();
        let channels = checkpoint.weights.architecture().inputs();
        let input: Vec<f32> = (0..3 * channels * 16 * 64).map(|i| (i as f32 * 0.37).sin()).collect();
        let expected = fill_in(&checkpoint.weights, &input, (3, channels, 16, 64));
        fs::write(folder.path().join("model.onnx"), onnx_network(&checkpoint)).unwrap();
        let outputs = tract(folder.path(), &input, [3, channels, 16, 64]);
        assert_close("output", &outputs[0], &expected);
    }
}

#[test]
fn onnxruntime_scores_as_we_do() {
    for checkpoint in checkpoints() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("model.onnx"), onnx_scorer(&checkpoint).unwrap()).unwrap();
        write(&at("input"), &images(&checkpoint));
        if python("onnx_run.py", folder.path()) {
            assert_scores(&checkpoint, &read(&at("map")), &read(&at("score")));
        }
    }
}

#[test]
#[ignore = "needs Python with torch; RIAD_PYTHON names another than python3"]
fn pytorch_loads_what_we_export_and_fills_in_as_we_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let weights = filled_weights(4);
    fs::write(at("model.pt"), torch_state_dict(&weights).unwrap()).unwrap();
    let input: Vec<f32> = (0..2 * 3 * 32 * 32).map(|i| (i as f32 * 0.37).sin()).collect();
    write(&at("input"), &input);
    if python("torch_load.py", folder.path()) {
        let expected = fill_in(&weights, &input, (2, 3, 32, 32));
        assert_close("output", &read(&at("output")), &expected);
    }
}
