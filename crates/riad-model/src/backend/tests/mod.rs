//! Backends against each other and against PyTorch: CPU, candle's operations and NVIDIA's kernels, the latter two on the CPU,
//! and each kind of GPU if there is one.

mod devices;
mod networks;

use std::{collections::BTreeMap, convert::Infallible};

use riad_conv::Dims;
use riad_core::{Masks, Size};
use serde::Deserialize;

use super::{cpu::CpuScorer, device::Backend};
use crate::{
    Architecture, Device, InputFilter, LossWeights, Normalisation, Precision, Weights,
    backend::{self, Adam, Train},
    method::{Frame, Masking, Passes, loss},
    network::{Moments, Role},
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
    serde_json::from_str(include_str!("../../../tests/reference/parity.json")).unwrap()
}

fn sines(count: usize, phase: f64) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| (0.37 * i as f64 + phase).sin())
}

/// The weights that parity.py fills its model with.
pub(crate) fn filled_weights(width: usize) -> Weights {
    let initial = Weights::initial(Architecture::u_net(width), 0).unwrap();
    let tensors = initial.network().tensors().into_iter();
    let mut names: Vec<String> = tensors.map(|spec| spec.name).collect();
    names.sort();
    let weights = initial.try_map(|spec| {
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

fn frame(channels: usize, size: (usize, usize), normalisation: Normalisation) -> Frame {
    Frame {
        channels,
        size: Size::new(size.0, size.1),
        normalisation,
        input: InputFilter::None,
    }
}

/// Images of one size with a region size and a seed each; nothing is hidden without a region size.
fn masking(region_size: Option<usize>, frame: Frame, seeds: &[u64]) -> Masking {
    let Some(region_size) = region_size else {
        return Masking::showing(frame, seeds.len());
    };
    let masks = seeds
        .iter()
        .map(|&seed| Masks::sample(region_size, 3, frame.size, seed).unwrap());
    Masking::hiding(frame, 3, masks.collect())
}

fn parity_masking() -> Masking {
    masking(Some(8), frame(3, (SIZE, SIZE), Normalisation::default()), &[7, 8])
}

/// What a network makes of images, each masked in its own way, image by image.
fn reconstruct(weights: &Weights, device: &Device, images: &[f32], maskings: &[Masking]) -> Vec<f32> {
    let image_len = images.len() / maskings.len();
    let each = images.chunks_exact(image_len).zip(maskings);
    each.flat_map(|(image, masking)| {
        let passes = Passes::new(vec![masking.clone()]);
        let scorer = backend::scorer(weights, passes, device, Precision::F32).unwrap();
        scorer.reconstruct(image, 0).unwrap()
    })
    .collect()
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
        let masks = Masks::sample(8, 3, Size::new(SIZE, SIZE), seed).unwrap();
        let ours: Vec<usize> = (0..16)
            .map(|cell| masks.set_of(cell / 4 * 8, cell % 4 * 8).unwrap())
            .collect();
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
    let both = parity_masking();
    let copies = both.hide(&images).unwrap();
    let frame = both.frame();
    let each: Vec<Masking> = [7, 8].map(|seed| masking(Some(8), frame, &[seed])).into();
    let fused = CpuScorer::new(&weights, Passes::new(vec![each[0].clone()]), riad_conv::Precision::F32).unwrap();
    let output = planar(&fused.run(&copies, Dims::new(6, SIZE, SIZE, 3)).unwrap(), SIZE * SIZE);
    let sampled = output.iter().step_by(997).map(|&v| f64::from(v));
    assert_close("output", sampled, &expected.eval_output, 1e-5);
    for device in devices() {
        let reconstruction = reconstruct(&weights, &device, &images, &each);
        let sampled = reconstruction.iter().step_by(101).map(|&v| f64::from(v));
        assert_close("reconstruction", sampled, &expected.eval_reconstruction, 1e-5);
        let terms = loss(&images, &reconstruction, both.shape(), LossWeights::default(), None).unwrap();
        assert_close(
            "loss terms",
            [terms.l2, terms.ssim, terms.msgms],
            &expected.eval_terms,
            1e-5,
        );
    }
}

/// One step, and its loss.
fn step(trainer: &mut dyn Train, images: &[f32], masking: &Masking, learning_rate: f64) -> f64 {
    trainer.stage(images.to_vec().into(), masking.clone()).unwrap();
    trainer.begin(LossWeights::default(), learning_rate).unwrap();
    trainer.finish().unwrap().total
}

/// Every backend, on the CPU.
fn devices() -> Vec<Device> {
    let mut devices = vec![Device::CPU, candle_on_cpu()];
    devices.extend(emulated_gpu());
    devices
}

/// The path of Apple's GPUs.
fn candle_on_cpu() -> Device {
    Device::new(Backend::Candle(candle_core::Device::Cpu))
}

/// The path of NVIDIA's GPUs: their kernels, compiled for the CPU, where there is a compiler for them.
fn emulated_gpu() -> Option<Device> {
    #[cfg(target_os = "linux")]
    return Some(Device::new(Backend::Cuda(riad_cuda::Gpu::emulated())));
    #[cfg(not(target_os = "linux"))]
    None
}

fn trainer_on(device: &Device, weights: &Weights, weight_decay: f64) -> Box<dyn Train> {
    let adam = Adam { weight_decay, steps: 0 };
    backend::trainer(weights, adam, &Moments::new(), device, Precision::F32).unwrap()
}

#[test]
fn training_steps_gradients_and_running_statistics_are_pytorchs() {
    let (expected, images, loss) = (parity(), parity_images(), LossWeights::default());
    let weights = filled_weights(4);
    let masking = parity_masking();
    for device in devices() {
        let mut trainer = trainer_on(&device, &weights, 1e-2);
        let (_, gradients) = trainer.gradients(images.clone().into(), masking.clone(), loss).unwrap();
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
    for device in devices() {
        let mut trainer = trainer_on(&device, &weights, 1e-2);
        let steps = expected.train_totals.iter();
        let totals = steps.map(|_| step(&mut *trainer, &images, &masking, 1e-3));
        // Adam divides by gradients near zero, which amplifies rounding from step to step.
        assert_close("losses", totals.collect::<Vec<_>>(), &expected.train_totals, 2e-4);
        let weights = trainer.weights().unwrap();
        for (name, values) in &expected.running {
            assert_close(name, weights.get(name)[..3].iter().map(|&v| f64::from(v)), values, 1e-3);
        }
    }
}
