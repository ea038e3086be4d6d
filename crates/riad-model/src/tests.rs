//! Tests of the crate's parts against each other and against PyTorch.

mod devices;

use std::{collections::BTreeMap, convert::Infallible, fs, path::Path};

use candle_core::Tensor;
use riad_core::Calibration;
use serde::Deserialize;

use crate::{
    Architecture, Checkpoint, Device, LossTerms, LossWeights, ModelError, Normalisation, Precision, Roi,
    ScoringSettings, Weights,
    adam::Adam,
    architecture::Role,
    checkpoint::Moments,
    learner::Learner,
    loss,
    masking::Masking,
    plan::{CpuPlan, GraphPlan, Plan},
};

/// What `tests/reference/parity.py` wrote.
#[derive(Deserialize)]
struct Parity {
    cells: Vec<Vec<usize>>,
    eval_output: Vec<f64>,
    eval_reconstruction: Vec<f64>,
    eval_terms: [f64; 3],
    train_totals: Vec<f64>,
    gradients: BTreeMap<String, f64>,
    gradient_samples: BTreeMap<String, Vec<f64>>,
    running: BTreeMap<String, Vec<f64>>,
}

const SIZE: usize = 32;

fn parity() -> Parity {
    serde_json::from_str(include_str!("../tests/reference/parity.json")).unwrap()
}

fn sines(count: usize, phase: f64) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| (0.37 * i as f64 + phase).sin())
}

/// The weights that parity.py fills its model with.
pub(crate) fn filled_weights(width: usize) -> Weights {
    let architecture = Architecture::u_net(width);
    let mut names: Vec<String> = architecture.tensors().into_iter().map(|spec| spec.name).collect();
    names.sort();
    let weights = Weights::try_from_fn(architecture, |spec| {
        let phase = names.iter().position(|name| *name == spec.name).unwrap() as f64;
        let count = spec.shape.iter().product();
        let value = |sine: f64| match spec.role {
            Role::Scale | Role::RunningVariance => 1.0 + 0.25 * sine,
            Role::Shift | Role::RunningMean => 0.1 * sine,
            Role::Convolution { .. } => {
                let fan_in = if spec.shape.len() == 4 {
                    spec.shape[1..].iter().product::<usize>()
                } else {
                    16
                };
                sine * (3.0 / fan_in as f64).sqrt()
            }
        };
        Ok::<_, Infallible>(sines(count, phase).map(|sine| value(sine) as f32).collect())
    });
    weights.unwrap()
}

fn parity_images() -> Vec<f32> {
    sines(2 * 3 * SIZE * SIZE, 0.5)
        .map(|sine| (0.5 + 0.4 * sine) as f32)
        .collect()
}

fn parity_masking() -> Masking {
    Masking::sample(Some(8), 3, (SIZE, SIZE), &[7, 8], Normalisation::default()).unwrap()
}

fn assert_close(what: &str, got: impl IntoIterator<Item = f64>, expected: &[f64], tolerance: f64) {
    let got: Vec<f64> = got.into_iter().collect();
    assert_eq!(got.len(), expected.len(), "{what}");
    for (index, (a, b)) in got.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * b.abs().max(1.0),
            "{what}[{index}]: {a} where PyTorch has {b}"
        );
    }
}

#[test]
fn masks_are_those_that_pytorch_was_given() {
    for (seed, cells) in [7, 8].into_iter().zip(parity().cells) {
        let masks = riad_core::Masks::sample(8, 3, SIZE, SIZE, seed).unwrap();
        let ours: Vec<usize> = (0..16).map(|cell| masks.set_of(cell / 4 * 8, cell % 4 * 8)).collect();
        assert_eq!(ours, cells);
    }
}

/// Channels-first values `[N, 3, pixels]` of channels-last ones.
fn planar(values: &[f32], pixels: usize) -> Vec<f32> {
    let index = |i: usize| (i / (3 * pixels) * pixels + i % pixels) * 3 + i / pixels % 3;
    (0..values.len()).map(|i| values[index(i)]).collect()
}

#[test]
fn scoring_pass_reconstruction_and_loss_are_pytorchs() {
    let (expected, weights, images) = (parity(), filled_weights(4), parity_images());
    let masking = parity_masking();
    let copies = masking.hide(&images).unwrap();
    let fused = CpuPlan::new(&weights, riad_conv::Precision::F32).unwrap();
    let graph = GraphPlan::new(&weights, &candle_core::Device::Cpu).unwrap();
    let outputs = [
        planar(&fused.run(&copies, 6, SIZE, SIZE).unwrap(), SIZE * SIZE),
        run_graph(&graph, &planar(&copies, SIZE * SIZE), (6, 3, SIZE, SIZE)),
    ];
    for output in outputs {
        let sampled = output.iter().step_by(997).map(|&v| f64::from(v));
        assert_close("output", sampled, &expected.eval_output, 1e-5);
    }
    let cuda = Plan::new(&weights, &emulated_gpu(), Precision::F32).unwrap();
    for plan in [Plan::Cpu(Box::new(fused)), Plan::Graph(graph), cuda] {
        let reconstruction = plan.reconstruct(&images, &masking).unwrap();
        let sampled = reconstruction.iter().step_by(101).map(|&v| f64::from(v));
        assert_close("reconstruction", sampled, &expected.eval_reconstruction, 1e-5);
        let terms = loss::loss(&images, &reconstruction, (SIZE, SIZE), LossWeights::default(), None).unwrap();
        assert_close(
            "loss terms",
            [terms.l2, terms.ssim, terms.msgms],
            &expected.eval_terms,
            1e-5,
        );
    }
}

/// The output of a graph on the CPU for images `[N, 3, H, W]`.
pub(crate) fn run_graph(plan: &GraphPlan, input: &[f32], shape: (usize, usize, usize, usize)) -> Vec<f32> {
    let output = plan
        .run(&Tensor::from_slice(input, shape, &candle_core::Device::Cpu).unwrap())
        .unwrap();
    output.flatten_all().unwrap().to_vec1().unwrap()
}

/// Loss and gradients of a learner, by the parameters' names.
fn differentiate(
    learner: &mut Learner,
    images: &[f32],
    masking: &Masking,
    weights: LossWeights,
) -> (LossTerms, BTreeMap<String, Vec<f32>>) {
    match learner {
        Learner::Cpu(engine) => {
            let terms = engine.differentiate(images, masking, weights).unwrap();
            let trained = engine.weights().architecture().tensors().into_iter();
            let trained = trained.filter(|spec| spec.role.is_trained());
            let gradients = trained.map(|spec| (spec.name.clone(), engine.gradient(&spec.name).to_vec()));
            (terms, gradients.collect())
        }
        Learner::Cuda(learner) => learner.gradients(images, masking, weights).unwrap(),
        Learner::Tape(graph) => graph.differentiate(images, masking, weights).unwrap(),
    }
}

/// One step, and its loss.
fn step(learner: &mut Learner, images: &[f32], masking: &Masking, learning_rate: f64) -> f64 {
    learner.stage(images, masking).unwrap();
    let begun = learner
        .begin(images, masking, LossWeights::default(), learning_rate)
        .unwrap();
    learner.finish(begun).unwrap().total
}

/// What trains on the CPU, on candle's tape, and on an NVIDIA GPU.
fn learners(weights: &Weights, weight_decay: f64) -> [Learner; 3] {
    [Device::Cpu, tape(), emulated_gpu()].map(|device| learner_on(&device, weights, weight_decay))
}

/// The path of Apple's GPUs, on the CPU.
fn tape() -> Device {
    Device::Metal(candle_core::Device::Cpu)
}

/// The path of NVIDIA's GPUs: their kernels, compiled for the CPU.
fn emulated_gpu() -> Device {
    Device::Cuda(riad_cuda::Gpu::emulated())
}

fn engine(weights: &Weights, weight_decay: f64) -> Learner {
    learner_on(&Device::Cpu, weights, weight_decay)
}

fn learner_on(device: &Device, weights: &Weights, weight_decay: f64) -> Learner {
    let adam = Adam { weight_decay, steps: 0 };
    Learner::new(weights, adam, &Moments::new(), device, Precision::F32).unwrap()
}

#[test]
fn training_steps_gradients_and_running_statistics_are_pytorchs() {
    let (expected, images, loss) = (parity(), parity_images(), LossWeights::default());
    let weights = filled_weights(4);
    let masking = parity_masking();
    for mut learner in learners(&weights, 1e-2) {
        let (_, gradients) = differentiate(&mut learner, &images, &masking, loss);
        for (name, values) in &gradients {
            let norm = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            assert_close(name, [norm], &[expected.gradients[name]], 1e-4);
            if let Some(samples) = expected.gradient_samples.get(name) {
                let values = values[..samples.len()].iter().map(|&v| f64::from(v));
                assert_close(name, values, samples, 1e-4);
            }
        }
    }
    // Anew, since differentiating has moved the running statistics.
    for mut learner in learners(&weights, 1e-2) {
        let steps = expected.train_totals.iter();
        let totals = steps.map(|_| step(&mut learner, &images, &masking, 1e-3));
        // Adam divides by gradients near zero, which amplifies rounding from step to step.
        assert_close("losses", totals.collect::<Vec<_>>(), &expected.train_totals, 2e-4);
        let weights = learner.weights().unwrap();
        for (name, values) in &expected.running {
            assert_close(name, weights.get(name)[..3].iter().map(|&v| f64::from(v)), values, 1e-3);
        }
    }
}

/// A step on fewer images than the one before leaves nothing of it behind.
#[test]
fn a_smaller_batch_is_as_if_it_were_alone() {
    let (size, normalisation) = ((32, 32), Normalisation::default());
    let (weights, loss) = (filled_weights(4), LossWeights::default());
    let images = parity_images();
    let masking = |seeds: &[u64]| Masking::sample(Some(8), 3, size, seeds, normalisation).unwrap();
    let mut used = engine(&weights, 0.0);
    differentiate(&mut used, &images, &masking(&[1, 2]), loss);
    let mut fresh = engine(&weights, 0.0);
    let one = &images[..images.len() / 2];
    let [used, fresh] = [&mut used, &mut fresh].map(|learner| differentiate(learner, one, &masking(&[3]), loss));
    assert_eq!(used, fresh);
}

#[test]
fn what_maps_average_over_keeps_its_share_of_the_image() {
    assert_eq!(ScoringSettings::for_size(256, 256), ScoringSettings::default());
    let sizes = [(64, 64), (128, 128), (512, 512), (1024, 1024), (128, 400), (400, 128)];
    let smoothing = sizes.map(|(height, width)| ScoringSettings::for_size(height, width).smoothing);
    assert_eq!(smoothing, [5, 11, 43, 85, 11, 11]);
    let sizes = [
        (16, 16),
        (63, 64),
        (64, 64),
        (128, 128),
        (255, 300),
        (512, 512),
        (128, 400),
        (400, 128),
    ];
    let scales = sizes.map(|(height, width)| ScoringSettings::for_size(height, width).scales);
    assert_eq!(scales, [1, 1, 2, 3, 3, 4, 3, 3]);
}

#[test]
fn losses_are_read_from_their_terms() {
    let weights = |text: &str| {
        text.parse::<LossWeights>()
            .map(|LossWeights { l2, l1, ssim, msgms }| [l2, l1, ssim, msgms])
    };
    assert_eq!(weights("riad").unwrap(), [1.0, 0.0, 1.0, 1.0]);
    assert_eq!(weights("msgms+ssim+l2").unwrap(), [1.0, 0.0, 1.0, 1.0]);
    assert_eq!(weights("l1").unwrap(), [0.0, 1.0, 0.0, 0.0]);
    for wrong in ["", "l3", "l2+", "l2 + ssim"] {
        assert!(
            weights(wrong).unwrap_err().to_string().contains("no term of the loss"),
            "{wrong}"
        );
    }
}

#[test]
fn an_autoencoder_comes_back_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let scoring = ScoringSettings {
        region_sizes: vec![],
        ..ScoringSettings::for_size(32, 32)
    };
    let weights = Weights::initial(Architecture::autoencoder(2), 1);
    let checkpoint = Checkpoint::new(weights, scoring, None, None);
    checkpoint.save(&path).unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap(), checkpoint);
    assert_eq!(checkpoint.header.scoring.passes_per_image(), 1);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let default = ScoringSettings::default();
    assert!(default.check().is_ok());
    for broken in [
        ScoringSettings {
            height: 15,
            ..default.clone()
        },
        ScoringSettings {
            width: 0,
            ..default.clone()
        },
        ScoringSettings {
            region_sizes: vec![0],
            ..default.clone()
        },
        ScoringSettings {
            sets: 0,
            ..default.clone()
        },
        ScoringSettings {
            smoothing: 4,
            ..default.clone()
        },
        ScoringSettings {
            scales: 0,
            ..default.clone()
        },
        ScoringSettings {
            scales: 5,
            ..default.clone()
        },
        ScoringSettings {
            normalisation: Normalisation {
                mean: 0.5,
                deviation: 0.0,
            },
            ..default
        },
    ] {
        assert!(broken.check().is_err(), "{broken:?}");
    }
}

fn reference(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

#[test]
fn a_checkpoint_of_the_public_code_is_imported_from_where_it_is_nested() {
    let checkpoint = Checkpoint::open(&reference("nested.pth")).unwrap();
    assert_eq!(checkpoint.weights, filled_weights(1));
    assert_eq!(checkpoint.header.scoring, ScoringSettings::default());
    assert_eq!(checkpoint.header.training, None);
}

#[test]
fn a_checkpoint_comes_back_as_it_was_saved_and_a_damaged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let scoring = ScoringSettings {
        height: 32,
        width: 48,
        mask_seed: u64::MAX,
        ..ScoringSettings::default()
    };
    let mut checkpoint = Checkpoint::new(filled_weights(2), scoring, None, None);
    checkpoint.header.calibration = Some(Calibration::new(vec![0.3, 0.123_456_79]).unwrap());
    checkpoint.normal_map = Some(vec![0.25; 32 * 48]);
    checkpoint.roi = Some(Roi::new(32, 48, (0..32 * 48).map(|i| i % 5 == 0).collect()).unwrap());
    checkpoint.save(&path).unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap(), checkpoint);
    // Checkpoints that nobody calibrated have no such entries.
    (checkpoint.header.calibration, checkpoint.normal_map, checkpoint.roi) = (None, None, None);
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
    other.roi = Some(Roi::new(16, 48, vec![true; 16 * 48]).unwrap());
    other.save(&path).unwrap();
    assert!(refused(&fs::read(&path).unwrap()).contains("region of interest is 16x48"));
    // A format of the future is named before anything of it is read.
    let mut newer = whole.clone();
    let place = whole
        .windows(13)
        .position(|window| window == br#"\"format\":1,"#)
        .unwrap();
    newer[place + 11] = b'9';
    assert!(refused(&newer).contains("newer than this program's"));

    let torch = fs::read(reference("nested.pth")).unwrap();
    for length in (4..torch.len()).step_by(torch.len() / 20) {
        refused(&torch[..length]);
    }
}
