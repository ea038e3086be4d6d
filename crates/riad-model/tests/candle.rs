//! The public candle module against this crate's CPU backend, riad-core, and PyTorch.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use riad_core::{
    Map, Masks, Size,
    similarity::{self, Shape, gms, gray, ssim},
    smooth,
};
use riad_model::{
    Architecture, Checkpoint, Device, Keep, LossWeights, Method, Normal, Normalisation, Precision, Scorer,
    ScoringSettings, Weights,
    candle::{
        UNet, anomaly_map,
        candle_core::{self, DType, Device as CandleDevice, Tensor, Var},
        candle_nn::{ModuleT, VarBuilder, VarMap},
        compose, continued, denormalised, gms_map, hidden_pixels, hide, l1_loss, l2_loss, loss, mean_filter,
        msgms_loss, normalised, passes, ssim_loss, tensors,
    },
};
use serde::Deserialize;

type Tested = Result<(), Box<dyn Error>>;

const CPU: CandleDevice = CandleDevice::Cpu;

/// What `tests/reference/parity.py` wrote.
#[derive(Deserialize)]
struct Parity {
    eval_output: Vec<f64>,
    eval_reconstruction: Vec<f64>,
    eval_terms: [f64; 3],
    train_totals: Vec<f64>,
    gradients: BTreeMap<String, f64>,
    gradient_samples: BTreeMap<String, Vec<f64>>,
    running: BTreeMap<String, Vec<f64>>,
}

fn parity() -> Parity {
    serde_json::from_str(include_str!("reference/parity.json")).unwrap()
}

fn sines(count: usize, phase: f64) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| (0.37 * i as f64 + phase).sin())
}

/// A network to be trained with the weights that parity.py fills its model with.
fn filled(architecture: Architecture) -> Result<(UNet, VarMap), Box<dyn Error>> {
    let mut variables = VarMap::new();
    let net = UNet::new(
        &architecture.network()?,
        VarBuilder::from_varmap(&variables, DType::F32, &CPU),
    )?;
    let shapes: BTreeMap<String, Vec<usize>> = {
        let variables = variables.data().lock().unwrap();
        let shapes = variables
            .iter()
            .map(|(name, variable)| (name.clone(), variable.dims().to_vec()));
        shapes.collect()
    };
    let values = shapes.iter().enumerate().map(|(phase, (name, shape))| {
        let fan_in = if shape.len() == 4 {
            shape[1..].iter().product()
        } else {
            16
        };
        let value = |sine: f64| match name.rsplit_once('.') {
            Some((layer, "weight" | "running_var")) if layer.contains(".bn") => 1.0 + 0.25 * sine,
            Some((layer, _)) if layer.contains(".bn") => 0.1 * sine,
            _ => sine * (3.0 / fan_in as f64).sqrt(),
        };
        let values = sines(shape.iter().product(), phase as f64).map(|sine| value(sine) as f32);
        (name, Tensor::from_vec(values.collect(), shape.clone(), &CPU).unwrap())
    });
    variables.set(values)?;
    Ok((net, variables))
}

fn parity_images() -> candle_core::Result<Tensor> {
    images((2, 3, 32, 32), 0.5)
}

/// Images with values in 0.1 to 0.9.
fn images(shape: (usize, usize, usize, usize), phase: f64) -> candle_core::Result<Tensor> {
    let (count, channels, height, width) = shape;
    let values = sines(count * channels * height * width, phase).map(|sine| (0.5 + 0.4 * sine) as f32);
    Tensor::from_vec(values.collect(), shape, &CPU)
}

/// The masks that parity.py has.
fn parity_masks() -> candle_core::Result<Tensor> {
    let masks = [7, 8].map(|seed| Masks::sample(8, 3, Size::new(32, 32), seed).unwrap());
    hidden_pixels(&masks, &CPU)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_close(what: &str, got: impl IntoIterator<Item = f64>, expected: &[f64], tolerance: f64) {
    let got: Vec<f64> = got.into_iter().collect();
    assert_eq!(got.len(), expected.len(), "{what}");
    for (index, (a, b)) in got.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * b.abs().max(1.0),
            "{what}[{index}]: {a} where {b} is expected"
        );
    }
}

#[track_caller]
fn assert_within(what: &str, got: &Tensor, expected: &[f32], bound: f32) {
    let got = values(got);
    assert_eq!(got.len(), expected.len(), "{what}");
    for (index, (a, b)) in got.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= bound, "{what}[{index}]: {a} where {b} is expected");
    }
}

fn every(tensor: &Tensor, step: usize) -> Vec<f64> {
    values(tensor).into_iter().step_by(step).map(f64::from).collect()
}

#[test]
fn scoring_pass_reconstruction_and_loss_are_pytorchs() -> Tested {
    let (expected, images, hidden) = (parity(), parity_images()?, parity_masks()?);
    let (net, _) = filled(Architecture::u_net(4))?;
    let range = Normalisation::default();
    let copies = hide(&normalised(&images, range)?, &hidden)?;
    for net in [&net, &net.folded()?] {
        let output = net.forward_t(&copies, false)?;
        assert_close("output", every(&output, 997), &expected.eval_output, 1e-5);
        let reconstructions = denormalised(&compose(&output, &hidden)?, range)?;
        assert_close(
            "reconstruction",
            every(&reconstructions, 101),
            &expected.eval_reconstruction,
            1e-5,
        );
        let terms = loss(&images, &reconstructions, LossWeights::default())?.read()?;
        let terms = [terms.l2, terms.ssim, terms.msgms];
        assert_close("loss terms", terms, &expected.eval_terms, 1e-5);
    }
    Ok(())
}

/// Four steps of PyTorch's Adam, whose weight decay candle-nn's does not have.
#[test]
fn training_steps_gradients_and_running_statistics_are_pytorchs() -> Tested {
    let (expected, images, hidden) = (parity(), parity_images()?, parity_masks()?);
    let (net, variables) = filled(Architecture::u_net(4))?;
    let range = Normalisation::default();
    let copies = hide(&normalised(&images, range)?, &hidden)?;
    let variables = variables.data().lock().unwrap();
    let mut moments: BTreeMap<&String, [Tensor; 2]> = BTreeMap::new();
    for (step, &expected_total) in (1..).zip(&expected.train_totals) {
        let output = net.forward_t(&copies, true)?;
        let reconstructions = denormalised(&compose(&output, &hidden)?, range)?;
        let total = loss(&images, &reconstructions, LossWeights::default())?.total;
        let found = f64::from(total.to_scalar::<f32>()?);
        // Adam divides by gradients near zero, which amplifies rounding from step to step.
        assert_close(&format!("loss of step {step}"), [found], &[expected_total], 2e-4);
        let gradients = total.backward()?;
        for name in expected.gradients.keys() {
            let variable = &variables[name];
            let gradient = gradients.get(variable).unwrap();
            if step == 1 {
                let found = values(gradient);
                let norm = found.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
                assert_close(name, [norm], &[expected.gradients[name]], 1e-4);
                if let Some(samples) = expected.gradient_samples.get(name) {
                    let found = found.into_iter().take(samples.len()).map(f64::from);
                    assert_close(name, found, samples, 1e-4);
                }
            }
            let gradient = (gradient + (variable.as_detached_tensor() * 1e-2)?)?;
            let [first, second] = match moments.remove(name) {
                Some([first, second]) => [
                    ((first * 0.9)? + (&gradient * 0.1)?)?,
                    ((second * 0.999)? + (gradient.sqr()? * 0.001)?)?,
                ],
                None => [(&gradient * 0.1)?, (gradient.sqr()? * 0.001)?],
            };
            let deviation = ((&second / (1.0 - 0.999f64.powi(step)))?.sqrt()? + 1e-8)?;
            let change = ((&first * (1e-3 / (1.0 - 0.9f64.powi(step))))? / deviation)?;
            let value = (variable.as_detached_tensor() - change)?;
            variable.set(&value)?;
            moments.insert(name, [first, second]);
        }
    }
    for (name, expected) in &expected.running {
        let found = values(variables[name].as_tensor());
        assert_close(name, found[..3].iter().map(|&v| f64::from(v)), expected, 1e-3);
    }
    Ok(())
}

/// A checkpoint with these weights, through the file that candle writes of them.
fn checkpoint(architecture: Architecture, folder: &Path, size: Size) -> Result<Checkpoint, Box<dyn Error>> {
    let path = folder.join("variables.safetensors");
    let (_, variables) = filled(architecture)?;
    variables.save(&path)?;
    let weights = Checkpoint::open(&path)?.weights;
    assert_eq!(weights.architecture(), architecture);
    let method = match architecture.skip_connections {
        true => Method::RIAD,
        false => Method::AUTOENCODER,
    };
    let mut scoring = method.settings(size.height, size.width);
    (scoring.smoothing, scoring.scales) = (5, 3);
    let mut checkpoint = Checkpoint::new(weights, scoring, None, None);
    // One more tensor than the network has.
    // What differs nowhere counts everywhere alike.
    checkpoint.normal = Some(Normal::new(Map::filled(size, 0.0), Map::filled(size, 0.0))?);
    Ok(checkpoint)
}

#[test]
fn a_checkpoint_scores_as_on_the_cpu() -> Tested {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    for architecture in [
        Architecture::u_net(4),
        Architecture::autoencoder(3),
        Architecture::u_net(3).with_channels(1),
        Architecture::u_net(3).with_channels(5),
    ] {
        // The network sees more than such images have.
        let (what, size, channels) = (format!("{architecture:?}"), Size::new(37, 50), architecture.channels());
        checkpoint(architecture, folder.path(), size)?.save(&path)?;
        let images = images((2, channels, size.height, size.width), 0.2)?;

        let scorer = Scorer::open(&path, &Device::CPU, Precision::F32)?;
        let expected = scorer.score(&values(&images), Keep::All)?;

        let vb = VarBuilder::from_buffered_safetensors(fs::read(&path)?, DType::F32, &CPU)?;
        let net = UNet::new(&architecture.network()?, vb)?;
        let scoring: ScoringSettings = Checkpoint::open(&path)?.header.scoring;
        let (mut maps, mut reconstructions) = (Vec::new(), Vec::new());
        for pass in passes(&scoring, channels, &CPU)? {
            let outputs = net.forward_t(&pass.copies(&images)?, false)?;
            let reconstruction = pass.reconstructions(&outputs)?;
            maps.push(anomaly_map(
                &images,
                &reconstruction,
                scoring.scales,
                scoring.smoothing,
            )?);
            reconstructions.push(reconstruction);
        }
        let mean = |of: &[Tensor]| Tensor::stack(of, 0)?.mean(0);
        let (map, reconstruction) = (mean(&maps)?, mean(&reconstructions)?);
        let scores = map.flatten_from(1)?.max(1)?;
        for (image, expected) in expected.iter().enumerate() {
            assert_eq!(expected.region_maps.len(), maps.len());
            assert_within(&what, &reconstruction.get(image)?, &expected.reconstruction, 1e-4);
            for (map, expected) in maps.iter().zip(&expected.region_maps) {
                assert_within(&what, &map.get(image)?, expected.values(), 1e-4);
            }
            assert_within(&what, &map.get(image)?, expected.map.values(), 1e-4);
            assert_within(&what, &scores.get(image)?, &[expected.score], 1e-4);
        }
    }
    Ok(())
}

/// Reconstructions of images that have all there is: noise, equal pixels, flat regions.
fn reconstructions(of: &Tensor) -> candle_core::Result<Tensor> {
    let noise = sines(of.elem_count(), 2.0).map(|sine| (0.08 * sine) as f32);
    let noise = Tensor::from_vec(noise.collect(), of.shape(), &CPU)?;
    let (_, _, height, width) = of.dims4()?;
    let equal = of.narrow(2, 0, height / 2)?;
    let noisy = (of + noise)?.narrow(2, height / 2, height - height / 2)?;
    let flat = noisy.narrow(3, 0, 12)?.affine(0.0, 0.25)?;
    let noisy = Tensor::cat(&[&flat, &noisy.narrow(3, 12, width - 12)?], 3)?;
    Tensor::cat(&[&equal, &noisy], 2)
}

type Loss = fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>;
type CoreLoss = fn(&[f32], &[f32], Shape, f32, Option<&mut [f32]>) -> Result<f64, similarity::SimilarityError>;

/// riad-core's gradients are tested against differences of its losses.
#[test]
fn losses_and_their_gradients_are_riad_cores() -> Tested {
    let losses: [(&str, Loss, CoreLoss); 4] = [
        ("l2", l2_loss, similarity::l2_loss),
        ("l1", l1_loss, similarity::l1_loss),
        ("ssim", ssim_loss, ssim::loss),
        ("msgms", msgms_loss, gms::multiscale_loss),
    ];
    for (channels, size) in [(3, Size::new(32, 48)), (1, Size::new(37, 50)), (5, Size::new(19, 31))] {
        let images = images((2, channels, size.height, size.width), 0.3)?;
        let reconstructions = Var::from_tensor(&reconstructions(&images)?)?;
        let (x, y) = (values(&images), values(&reconstructions));
        let shape = Shape {
            images: 2,
            channels,
            size,
        };
        for (name, loss, core) in losses {
            let found = loss(&images, &reconstructions)?;
            let mut expected_gradient = vec![0.0; x.len()];
            let expected = core(&x, &y, shape, 1.0, Some(&mut expected_gradient))?;
            let what = format!("{name} of {channels} channels");
            assert_close(&what, [f64::from(found.to_scalar::<f32>()?)], &[expected], 1e-6);
            let gradient = found.backward()?.remove(&reconstructions).unwrap();
            let largest = expected_gradient.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
            assert_within(&what, &gradient, &expected_gradient, 1e-4 * largest);
            let of_equals = loss(&images, &images)?.to_scalar::<f32>()?;
            assert_close(&what, [f64::from(of_equals)], &[0.0], 1e-6);
        }
    }
    Ok(())
}

#[test]
fn a_loss_is_the_sum_of_its_weighted_terms() -> Tested {
    let images = images((2, 3, 32, 48), 0.3)?;
    let reconstructions = Var::from_tensor(&reconstructions(&images)?)?;
    let mut weights = LossWeights::default();
    (weights.l2, weights.l1, weights.ssim, weights.msgms) = (10.0, 0.5, 0.0, 3.0);
    let losses = loss(&images, &reconstructions, weights)?;
    let terms = losses.read()?;
    let alone: [Loss; 4] = [l2_loss, l1_loss, ssim_loss, msgms_loss];
    let alone = alone.map(|of| f64::from(of(&images, &reconstructions).unwrap().to_scalar::<f32>().unwrap()));
    assert_eq!([terms.l2, terms.l1, terms.ssim, terms.msgms], alone);
    assert_close(
        "total",
        [terms.total],
        &[10.0 * alone[0] + 0.5 * alone[1] + 3.0 * alone[3]],
        1e-6,
    );

    let gradient = |of: &Tensor| of.backward().unwrap().remove(&reconstructions).unwrap();
    let expected = ((gradient(&losses.l2) * 10.0)? + (gradient(&losses.l1) * 0.5)?)?;
    let expected = (expected + (gradient(&losses.msgms) * 3.0)?)?;
    assert_within("gradient", &gradient(&losses.total), &values(&expected), 1e-7);
    Ok(())
}

#[test]
fn maps_are_riad_cores() -> Tested {
    for (channels, size) in [(3, Size::new(37, 50)), (1, Size::new(32, 48)), (4, Size::new(17, 64))] {
        let images = images((2, channels, size.height, size.width), 0.3)?;
        let reconstructions = reconstructions(&images)?;
        let shape = Shape {
            images: 1,
            channels,
            size,
        };
        let grey = |of: &Tensor, image: usize| -> Result<Map, Box<dyn Error>> {
            Ok(Map::new(size, gray(&values(&of.get(image)?), shape)?)?)
        };
        for scales in 1..=4 {
            let found = gms_map(&images, &reconstructions, scales)?;
            assert_eq!(found.dims(), [2, size.height, size.width]);
            // The last windows are wider than the map, and than twice the map.
            for window in [1, 5, 21, 71, 301] {
                let smooth = mean_filter(&found, window)?;
                let anomalies = anomaly_map(&images, &reconstructions, scales, window)?;
                for image in 0..2 {
                    let expected = gms::map(grey(&images, image)?, grey(&reconstructions, image)?, scales)?;
                    assert_within("map", &found.get(image)?, expected.values(), 1e-5);
                    let expected = smooth::mean_filter(&expected, window)?;
                    assert_within("smooth map", &smooth.get(image)?, expected.values(), 1e-5);
                    let expected: Vec<f32> = expected.values().iter().map(|v| (1.0 - v).clamp(0.0, 1.0)).collect();
                    assert_within("anomaly map", &anomalies.get(image)?, &expected, 1e-5);
                }
            }
        }
    }
    Ok(())
}

/// Every pixel is hidden in one copy, in which nothing of it is seen.
#[test]
fn what_is_hidden_comes_from_the_copy_that_does_not_see_it() -> Tested {
    let size = Size::new(18, 21);
    let images = images((3, 2, 18, 21), 0.1)?;
    let of_each = [1, 2, 3].map(|seed| Masks::sample(4, 3, size, seed).unwrap());
    for masks in [&of_each[..], &of_each[..1]] {
        let hidden = hidden_pixels(masks, &CPU)?;
        assert_eq!(hidden.dims(), [3, masks.len(), 1, 18, 21]);
        assert!(values(&hidden.sum(0)?).iter().all(|&v| v == 1.0));
        let copies = hide(&images, &hidden)?;
        assert_eq!(copies.dims(), [9, 2, 18, 21]);
        // What is seen of an image is dropped, and what is not seen is 0.
        assert!(values(&compose(&copies, &hidden)?).iter().all(|&v| v == 0.0));
        // A network that gives back whole images gives back these, from wider copies too.
        let whole = continued(&images.repeat((3, 1, 1, 1))?)?;
        assert_eq!(whole.dims(), [9, 2, 32, 32]);
        assert_eq!(values(&compose(&whole, &hidden)?), values(&images));
        for set in 0..3 {
            for image in 0..3 {
                let masks = &masks[image.min(masks.len() - 1)];
                let copy = values(&copies.get(set * 3 + image)?.get(1)?);
                let seen = values(&images.get(image)?.get(1)?);
                for (place, (copy, seen)) in copy.into_iter().zip(seen).enumerate() {
                    let is_hidden = masks.set_of(place / 21, place % 21) == Some(set);
                    assert_eq!(copy, if is_hidden { 0.0 } else { seen });
                }
            }
        }
    }
    Ok(())
}

#[test]
fn images_continue_mirrored() -> Tested {
    let row = Tensor::arange(0.0f32, 5.0, &CPU)?.reshape((1, 1, 1, 5))?;
    let continued = continued(&row)?;
    assert_eq!(continued.dims(), [1, 1, 16, 16]);
    let expected = [0, 1, 2, 3, 4, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 4].map(|v| v as f32);
    assert_eq!(values(&continued.get(0)?.get(0)?.get(15)?), expected);
    Ok(())
}

/// As PyTorch initialises them; candle-nn's own functions do not.
#[test]
fn new_networks_are_initialised_as_pytorchs() -> Tested {
    let variables = VarMap::new();
    let architecture = Architecture::u_net(8);
    UNet::new(
        &architecture.network()?,
        VarBuilder::from_varmap(&variables, DType::F32, &CPU),
    )?;
    let variables = variables.data().lock().unwrap();
    let expected = tensors(&Weights::initial(architecture, 1)?, &CPU)?;
    assert_eq!(variables.len(), expected.len());
    let spread = |values: &[f32]| {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        let largest = values.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
        (mean, variance, largest)
    };
    for (name, expected) in expected {
        let found = &variables[&name];
        assert_eq!(found.dims(), expected.dims(), "{name}");
        if name.contains(".bn") {
            assert_eq!(values(found), values(&expected), "{name}");
            continue;
        }
        let layer = name.rsplit_once('.').unwrap().0;
        let fan_in: usize = variables[&format!("{layer}.weight")].dims()[1..].iter().product();
        let bound = 1.0 / (fan_in as f32).sqrt();
        let (mean, variance, largest) = spread(&values(found));
        assert!(largest <= bound, "{name}: {largest} beyond {bound}");
        // Five deviations of the mean and of the variance of so many uniform values.
        let count = found.elem_count() as f32;
        if count >= 500.0 {
            assert!(mean.abs() < 5.0 * bound / (3.0 * count).sqrt(), "{name}: mean {mean}");
            let error = (variance / (bound * bound / 3.0) - 1.0).abs();
            assert!(error < 5.0 * (0.8 / count).sqrt(), "{name}: variance {variance}");
        }
    }
    Ok(())
}

/// A network to score with stays what it was, and remembers nothing.
#[test]
fn a_folded_network_is_a_copy() -> Tested {
    let (net, variables) = filled(Architecture::u_net(2))?;
    let folded = net.folded()?;
    let images = images((1, 3, 16, 32), 0.4)?;
    let before = net.forward_t(&images, false)?;
    assert!(before.track_op());
    let found = folded.forward_t(&images, true)?;
    assert!(!found.track_op());
    assert_within("folded", &found, &values(&before), 1e-5);
    for variable in variables.all_vars() {
        variable.set(&variable.zeros_like()?)?;
    }
    assert_eq!(values(&folded.forward_t(&images, false)?), values(&found));
    Ok(())
}

/// The deepest layers of such an image have one value a channel, of which PyTorch knows no variance.
#[test]
fn one_value_a_channel_does_not_break_batch_norm() -> Tested {
    let architecture = Architecture::autoencoder(3);
    let mut variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &CPU);
    let net = UNet::new(&architecture.network()?, vb)?;
    variables.set(tensors(&Weights::initial(architecture, 2)?, &CPU)?.into_iter())?;
    let images = images((1, 3, 16, 16), 0.4)?;
    let gradients = net.forward_t(&images, true)?.sqr()?.mean_all()?.backward()?;
    let variables = variables.data().lock().unwrap();
    for (name, variable) in variables.iter() {
        assert!(values(variable).iter().all(|v| v.is_finite()), "{name}");
        if let Some(gradient) = gradients.get(variable) {
            assert!(values(gradient).iter().all(|v| v.is_finite()), "{name}");
        }
    }
    // A tenth of it is the batch's, which is 0.
    assert_within("variance", &variables["down5.bn1.running_var"], &[0.9; 24], 1e-6);
    // Whatever goes in, the norm gives its shift, 0, and there PyTorch's ReLU has no slope.
    assert_eq!(values(gradients.get(&variables["down5.bn2.bias"]).unwrap()), [0.0; 24]);
    Ok(())
}

#[test]
fn what_cannot_be_is_refused_in_words() -> Tested {
    fn refused<T>(result: candle_core::Result<T>, reason: &str) {
        let error = result.err().unwrap().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let image = |channels: usize, height: usize, width: usize| images((1, channels, height, width), 0.0);
    let (net, _) = filled(Architecture::u_net(1))?;
    for wrong in [
        image(5, 16, 16)?,
        image(3, 20, 16)?,
        image(3, 16, 0)?,
        image(3, 16, 16)?.narrow(0, 0, 0)?,
    ] {
        refused(net.forward_t(&wrong, false), "the network takes images [N, 3, H, W]");
        refused(net.forward_t(&wrong, true), "sides that are multiples of 16");
    }
    let network = Architecture::u_net(1).network()?;
    let vb = VarBuilder::from_tensors(Default::default(), DType::F32, &CPU);
    refused(UNet::new(&network, vb), "down1.conv1.weight");
    let wider = tensors(&Weights::initial(Architecture::u_net(2), 1)?, &CPU)?;
    refused(
        UNet::new(&network, VarBuilder::from_tensors(wider, DType::F32, &CPU)),
        "down1.conv1.weight",
    );

    let (one, other, small) = (image(3, 16, 16)?, image(3, 16, 32)?, image(3, 8, 16)?);
    for loss in [l2_loss, l1_loss, ssim_loss, msgms_loss] as [Loss; 4] {
        refused(loss(&one, &other), "shape mismatch");
        refused(loss(&image(3, 0, 16)?, &image(3, 0, 16)?), "no values to compare");
    }
    refused(ssim_loss(&small, &small), "needs 11x11 pixels");
    refused(gms_map(&one, &one, 0), "1 to 4 scales");
    refused(gms_map(&one, &one, 5), "1 to 4 scales");
    refused(anomaly_map(&one, &one, 1, 4), "odd window");
    refused(mean_filter(&one.squeeze(0)?, 0), "odd window");

    refused(hidden_pixels(&[], &CPU), "no mask");
    let masks = [16, 32].map(|width| Masks::sample(4, 3, Size::new(16, width), 1).unwrap());
    refused(hidden_pixels(&masks, &CPU), "the same size");
    let mut scoring = ScoringSettings::default();
    scoring.sets = 0;
    refused(passes(&scoring, 3, &CPU), "sets");
    Ok(())
}
