//! Tests of the crate's parts against each other and against PyTorch.

use std::{collections::BTreeMap, convert::Infallible, fs, path::Path, sync::Arc};

use candle_core::{Device, Tensor, Var};
use serde::Deserialize;

use crate::{
    Architecture, Checkpoint, LossWeights, ModelError, Normalisation, ScoringSettings, Weights,
    adam::Adam,
    architecture::{RESIZE_4X4, Role, SAME_3X3},
    loss::{self, inpainting_loss},
    masking::Masking,
    network::{Network, gradient},
    ops::{Layout, batch_norm_relu, conv_transpose2d, conv2d},
    plan::{GraphPlan, Plan},
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
fn filled_weights(width: usize) -> Weights {
    let architecture = Architecture { width };
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

fn parity_images() -> Arc<[f32]> {
    sines(2 * 3 * SIZE * SIZE, 0.5)
        .map(|sine| (0.5 + 0.4 * sine) as f32)
        .collect()
}

fn parity_masking(layout: Layout) -> Arc<Masking> {
    let normalisation = Normalisation::default();
    Arc::new(Masking::sample(8, 3, (SIZE, SIZE), &[7, 8], normalisation, layout).unwrap())
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

fn layouts() -> [Layout; 2] {
    [Layout::ChannelsLast, Layout::ChannelsFirst]
}

#[test]
fn masks_are_those_that_pytorch_was_given() {
    for (seed, cells) in [7, 8].into_iter().zip(parity().cells) {
        let masks = riad_core::Masks::sample(8, 3, SIZE, SIZE, seed).unwrap();
        let ours: Vec<usize> = (0..16).map(|cell| masks.set_of(cell / 4 * 8, cell % 4 * 8)).collect();
        assert_eq!(ours, cells);
    }
}

#[test]
fn scoring_pass_reconstruction_and_loss_are_pytorchs() {
    let (expected, weights, images) = (parity(), filled_weights(4), parity_images());
    let plans = [
        Plan::new(&weights, &Device::Cpu).unwrap(),
        Plan::Graph(GraphPlan::new(&weights, &Device::Cpu).unwrap()),
    ];
    for plan in plans {
        let masking = parity_masking(plan.layout());
        let output = plan.run(&masking.hide(&images).unwrap(), 6, SIZE, SIZE).unwrap();
        let planar: Vec<f64> = match plan.layout() {
            Layout::ChannelsFirst => output.iter().map(|&v| f64::from(v)).collect(),
            Layout::ChannelsLast => {
                let pixels = SIZE * SIZE;
                let index = |i: usize| (i / (3 * pixels) * pixels + i % pixels) * 3 + i / pixels % 3;
                (0..output.len()).map(|i| f64::from(output[index(i)])).collect()
            }
        };
        assert_close("output", planar.into_iter().step_by(997), &expected.eval_output, 1e-5);
        let reconstruction = masking.compose(&output).unwrap();
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

#[test]
fn training_steps_gradients_and_running_statistics_are_pytorchs() {
    let (expected, images) = (parity(), parity_images());
    for layout in layouts() {
        let mut network = Network::new(&filled_weights(4), &Device::Cpu, layout).unwrap();
        let mut adam = Adam::new(network.variables(), 1e-2).unwrap();
        let masking = parity_masking(layout);
        let input = Tensor::from_vec(masking.hide(&images).unwrap(), masking.shape(), &Device::Cpu).unwrap();
        let mut totals = Vec::new();
        for step in 0..expected.train_totals.len() {
            let output = network.forward(&input).unwrap();
            let (loss, terms) = inpainting_loss(&output, &images, &masking, LossWeights::default(), layout).unwrap();
            totals.push(terms.total);
            let gradients = loss.backward().unwrap();
            if step == 0 {
                for (name, variable) in network.variables() {
                    let values = gradient(&gradients, name, variable).unwrap().flatten_all().unwrap();
                    let values = values.to_vec1::<f32>().unwrap();
                    let norm = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
                    assert_close(name, [norm], &[expected.gradients[name]], 1e-4);
                    if let Some(samples) = expected.gradient_samples.get(name) {
                        assert_close(
                            name,
                            values[..samples.len()].iter().map(|&v| f64::from(v)),
                            samples,
                            1e-4,
                        );
                    }
                }
            }
            adam.step(network.variables(), &gradients, 1e-3).unwrap();
        }
        // Adam divides by gradients near zero, which amplifies rounding from step to step.
        assert_close("losses", totals, &expected.train_totals, 2e-4);
        let weights = network.weights().unwrap();
        for (name, values) in &expected.running {
            assert_close(name, weights.get(name)[..3].iter().map(|&v| f64::from(v)), values, 1e-3);
        }
    }
}

/// Brings an activation to channels-first, for comparison.
fn planar(tensor: &Tensor, layout: Layout) -> Vec<f32> {
    let tensor = match layout {
        Layout::ChannelsFirst => tensor.clone(),
        Layout::ChannelsLast => tensor.permute((0, 3, 1, 2)).unwrap(),
    };
    tensor.contiguous().unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The value and all gradients of `layer` on a varied input, weighed by a varied cotangent, in one layout.
fn value_and_gradients(
    layout: Layout,
    input: (usize, usize, usize, usize),
    shapes: [&[usize]; 2],
    layer: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor,
) -> Vec<Vec<f32>> {
    let varied = |shape: &[usize], phase: f64| {
        let values: Vec<f32> = sines(shape.iter().product(), phase).map(|v| v as f32).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let (n, c, h, w) = input;
    let x = varied(&[n, c, h, w], 0.1);
    let x = match layout {
        Layout::ChannelsFirst => x,
        Layout::ChannelsLast => x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap(),
    };
    let x = Var::from_tensor(&x).unwrap();
    let [a, b] = [(shapes[0], 0.2), (shapes[1], 0.3)].map(|(s, p)| Var::from_tensor(&varied(s, p)).unwrap());
    let y = layer(x.as_tensor(), a.as_tensor(), b.as_tensor());
    let values = planar(&y, layout);
    let cotangent = varied(&[values.len()], 0.4);
    let cotangent = match layout {
        Layout::ChannelsFirst => cotangent.reshape(y.shape()).unwrap(),
        Layout::ChannelsLast => {
            let (n, h, w, c) = y.dims4().unwrap();
            cotangent
                .reshape((n, c, h, w))
                .unwrap()
                .permute((0, 2, 3, 1))
                .unwrap()
                .contiguous()
                .unwrap()
        }
    };
    let gradients = (y * cotangent).unwrap().sum_all().unwrap().backward().unwrap();
    let flat = |v: &Var| gradients.get(v).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    vec![values, planar(gradients.get(&x).unwrap(), layout), flat(&a), flat(&b)]
}

/// Our CPU layers and candle's composed ones, which other devices run, are the same functions with the same gradients.
#[test]
fn cpu_layers_equal_candles() {
    let compare = |what: &str, ours: Vec<Vec<f32>>, candles: Vec<Vec<f32>>| {
        for (part, (a, b)) in ours.iter().zip(&candles).enumerate() {
            assert_eq!(a.len(), b.len(), "{what}");
            let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let error = a.iter().zip(b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(
                error <= 2e-5 * largest.max(1.0),
                "{what}, part {part}: {error} of {largest}"
            );
        }
    };
    let [last, first] = layouts();
    let both = |f: &dyn Fn(Layout) -> Vec<Vec<f32>>| (f(last), f(first));
    for (geometry, input) in [(SAME_3X3, (2, 5, 7, 6)), (RESIZE_4X4, (3, 4, 8, 10))] {
        let kernel = geometry.kernel;
        let (ours, candles) = both(&|layout| {
            value_and_gradients(layout, input, [&[6, input.1, kernel, kernel], &[6]], |x, w, b| {
                conv2d(x, w, b, geometry, layout).unwrap()
            })
        });
        compare("conv2d", ours, candles);
    }
    let (ours, candles) = both(&|layout| {
        value_and_gradients(layout, (2, 6, 5, 4), [&[6, 3, 4, 4], &[3]], |x, w, b| {
            conv_transpose2d(x, w, b, RESIZE_4X4, layout).unwrap()
        })
    });
    compare("conv_transpose2d", ours, candles);
    let (ours, candles) = both(&|layout| {
        value_and_gradients(layout, (2, 6, 5, 4), [&[6], &[6]], |x, s, b| {
            batch_norm_relu(x, s, b, layout).unwrap().0
        })
    });
    compare("batch_norm_relu", ours, candles);
}

/// The fused CPU plan and the candle graph agree for every preset, on images that fill the range.
#[test]
fn plans_agree_for_every_preset() {
    for preset in crate::Preset::ALL {
        let weights = Weights::initial(preset.architecture(), 3);
        let (height, width) = (32, 48);
        let input: Vec<f32> = sines(2 * 3 * height * width, 0.9).map(|v| v as f32).collect();
        let graph = GraphPlan::new(&weights, &Device::Cpu)
            .unwrap()
            .run(&input, (2, 3, height, width))
            .unwrap();
        let pixels = height * width;
        let channels_last: Vec<f32> = (0..input.len())
            .map(|i| input[i / (3 * pixels) * 3 * pixels + i % 3 * pixels + i / 3 % pixels])
            .collect();
        let fused = Plan::new(&weights, &Device::Cpu)
            .unwrap()
            .run(&channels_last, 2, height, width)
            .unwrap();
        let largest = graph.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (i, &value) in fused.iter().enumerate() {
            let other = graph[i / (3 * pixels) * 3 * pixels + i % 3 * pixels + i / 3 % pixels];
            assert!((value - other).abs() <= 1e-4 * largest, "{preset}: {value} {other}");
        }
    }
}

#[test]
fn the_mean_filter_keeps_its_share_of_the_image() {
    assert_eq!(ScoringSettings::for_size(256), ScoringSettings::default());
    let smoothing = [64, 128, 512, 1024].map(|size| ScoringSettings::for_size(size).smoothing);
    assert_eq!(smoothing, [5, 11, 43, 85]);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let default = ScoringSettings::default();
    assert!(default.check().is_ok());
    for broken in [
        ScoringSettings {
            height: 100,
            ..default.clone()
        },
        ScoringSettings {
            width: 0,
            ..default.clone()
        },
        ScoringSettings {
            region_sizes: vec![],
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
    let checkpoint = Checkpoint::new(filled_weights(2), scoring, None, None);
    checkpoint.save(&path).unwrap();
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
