//! One body for every device: candle's ops and NVIDIA's kernels on the CPU, and each kind of GPU if there is one. What is
//! expected is what the CPU makes.

use super::*;
use crate::{
    Checkpoint, Examples, InputFilter, Keep, Method, ModelError, Normal, Scorer, ScoringSettings, Similarity,
    method::values,
};
use riad_core::Map;

/// Runs `test` on each device, with what its rounding is worth: a factor to the bounds that hold for candle's ops.
pub(super) fn on_every_device(test: impl Fn(&Device, f32)) {
    test(&candle_on_cpu(), 1.0);
    if let Some(emulated) = emulated_gpu() {
        test(&emulated, 1.0);
    }
    for name in ["cuda", "candle-cuda", "metal"] {
        match crate::device(name) {
            Ok(device) => test(&device, 2.0),
            Err(ModelError::NotBuilt { .. }) => {}
            Err(reason) => riad_testing::skip(riad_testing::Needs::Gpu, reason),
        }
    }
}

pub(super) fn wavy_images(count: usize, channels: usize, (height, width): (usize, usize)) -> Vec<f32> {
    sines(count * channels * height * width, 0.2)
        .map(|v| 0.5 + 0.4 * v as f32)
        .collect()
}

pub(super) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, v| largest.max(v.abs()))
}

#[track_caller]
pub(super) fn assert_within(what: &str, found: &[f32], expected: &[f32], bound: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!(
            (a - b).abs() <= bound,
            "{what}: {a} where the CPU has {b}, bound {bound}"
        );
    }
}

#[test]
fn reconstructions_are_the_cpus_for_every_network() {
    let presets = crate::Preset::ALL.iter().map(|preset| (preset.architecture(), Some(4)));
    on_every_device(|device, slack| {
        let autoencoders = [(Architecture::autoencoder(16), None)];
        let gray = Architecture::u_net(8).with_channels(1);
        let bands = Architecture::u_net(4).with_channels(9);
        let others = [(gray, Some(4)), (bands, Some(2))];
        for (architecture, region_size) in presets.clone().chain(autoencoders).chain(others) {
            let weights = Weights::initial(architecture, 3).unwrap();
            let size = (37, 50);
            let images = wavy_images(2, architecture.channels(), size);
            let frame = frame(architecture.channels(), size, Normalisation::default());
            let maskings = [5, 6].map(|seed| masking(region_size, frame, &[seed]));
            let [expected, found] =
                [&Device::CPU, device].map(|device| reconstruct(&weights, device, &images, &maskings));
            assert_within(
                &format!("{architecture:?} on {device:?}"),
                &found,
                &expected,
                1e-4 * slack,
            );
        }
    });
}

#[test]
fn maps_and_scores_are_the_cpus() {
    on_every_device(|device, slack| {
        for similarity in [
            Similarity::GmsGrey,
            Similarity::GmsColour,
            Similarity::Ssim,
            Similarity::L2,
        ] {
            let scoring = ScoringSettings {
                height: 32,
                width: 48,
                smoothing: 5,
                similarity,
                ..ScoringSettings::default()
            };
            let mut checkpoint = Checkpoint::new(filled_weights(4), scoring, None, None);
            let map = |value| Map::filled(Size::new(32, 48), value);
            checkpoint.normal = Some(Normal::new(map(0.1), map(0.02)).unwrap());
            let images = wavy_images(2, 3, (32, 48));
            let expected = Scorer::new(&checkpoint, &Device::CPU, Precision::F32)
                .unwrap()
                .score(&images, Keep::All)
                .unwrap();
            let scorer = Scorer::new(&checkpoint, device, Precision::F32).unwrap();
            let found = scorer.score(&images, Keep::All).unwrap();
            assert_eq!(found.len(), expected.len());
            let what = format!("{similarity:?} on {device:?}");
            for (found, expected) in found.iter().zip(&expected) {
                assert_within(&what, found.map.values(), expected.map.values(), 1e-4 * slack);
                assert_within(&what, &[found.score], &[expected.score], 1e-4 * slack);
            }
            assert_eq!(scorer.score(&[], Keep::All).unwrap(), [], "{what}");
            // A map that is no number would call every image good.
            let mut broken = images.clone();
            broken[3 * 32 * 48 - 700] = f32::NAN;
            assert!(
                matches!(scorer.score(&broken, Keep::Map), Err(ModelError::Overflow)),
                "{what}"
            );
        }
    });
}

/// Whatever the network, the size, the weights of the loss and the normalisation.
#[test]
fn gradients_are_the_cpus() {
    let brighter = Normalisation {
        mean: 0.4,
        deviation: 0.3,
    };
    let other_loss = LossWeights {
        l2: 10.0,
        l1: 0.0,
        ssim: 0.5,
        msgms: 0.0,
    };
    let (usual, published) = (Normalisation::default(), LossWeights::default());
    let l1_and_ssim: LossWeights = "l1+ssim".parse().unwrap();
    on_every_device(|device, slack| {
        for (architecture, size, region_size, normalisation, loss) in [
            (Architecture::u_net(3), (32, 48), Some(4), usual, published),
            (Architecture::u_net(3), (37, 50), Some(4), usual, published),
            (Architecture::autoencoder(4), (34, 48), None, usual, l1_and_ssim),
            (Architecture::u_net(16), (48, 32), Some(16), brighter, other_loss),
            (
                Architecture::u_net(4).with_channels(1),
                (32, 32),
                Some(4),
                usual,
                published,
            ),
            (
                Architecture::u_net(3).with_channels(5),
                (32, 48),
                Some(8),
                usual,
                published,
            ),
        ] {
            let images = wavy_images(2, architecture.channels(), size);
            let weights = Weights::initial(architecture, 9).unwrap();
            let masking = masking(
                region_size,
                frame(architecture.channels(), size, normalisation),
                &[3, 4],
            );
            assert_gradients(device, slack, &weights, &images.into(), &masking, loss);
        }
    });
}

/// Holds the gradients on a device to those on the CPU.
pub(super) fn assert_gradients(
    device: &Device,
    slack: f32,
    weights: &Weights,
    examples: &Examples,
    masking: &Masking,
    loss: LossWeights,
) {
    let [(expected_loss, expected), (found_loss, found)] = [&Device::CPU, device].map(|device| {
        let mut trainer = trainer_on(device, weights, 0.0);
        trainer.gradients(examples.clone(), masking.clone(), loss).unwrap()
    });
    assert!((expected_loss.total - found_loss.total).abs() < 2e-5 * f64::from(slack) * expected_loss.total);
    assert!(expected.keys().eq(found.keys()));
    let overall = found.values().map(|values| largest(values)).fold(0.0, f32::max);
    let before_norm: Vec<String> = (weights.network().layers().iter())
        .filter(|layer| layer.norm().is_some())
        .map(|layer| format!("{}.bias", layer.name))
        .collect();
    for (name, found) in &found {
        let expected = &expected[name];
        if before_norm.contains(name) {
            // Before a batch norm a bias changes nothing: what candle has here is rounding.
            assert!(
                expected.iter().all(|v| *v == 0.0) && largest(found) < 1e-4 * slack * overall,
                "{name}"
            );
            continue;
        }
        // Rounding grows on the way down through batch norms over few pixels.
        let what = format!("{name} on {device:?}");
        let bound = 1e-3 * slack * largest(found).max(1e-2 * overall);
        assert_within(&what, found, expected, bound);
    }
}

/// A network that sees what a filter leaves of images, and of others than it has to give back.
#[test]
fn restoring_corrupted_images_is_the_same_as_on_the_cpu() {
    on_every_device(|device, slack| {
        for (input, channels) in [
            (InputFilter::EdgesGrey, 3),
            (InputFilter::EdgesColour, 4),
            (InputFilter::HighPass, 3),
            (InputFilter::None, 1),
        ] {
            let what = format!("{input} of {channels} channels on {device:?}");
            let architecture = Method::RESTORE.architecture(4).with_channels(channels);
            let weights = Weights::initial(architecture.with_inputs(input.channels(channels)), 6).unwrap();
            let size = (37, 50);
            let frame = Frame {
                input,
                ..frame(channels, size, Normalisation::default())
            };
            // Of edges as different as can be: a batch norm over what is nearly the same makes much of rounding.
            let both = masking(None, frame, &[1, 2]);
            let images = values(both.image_len(), 4);
            let examples = Examples {
                corrupted: Some(images.iter().rev().map(|v| v * v).collect()),
                images,
            };
            let loss: LossWeights = "l2+ssim".parse().unwrap();
            assert_gradients(device, slack, &weights, &examples, &both, loss);

            let passes = Passes::new(vec![masking(None, frame, &[1])]);
            let [expected, found] = [&Device::CPU, device].map(|device| {
                let scorer = backend::scorer(&weights, passes.clone(), device, Precision::F32).unwrap();
                let loss = scorer.loss(&examples, loss).unwrap().total as f32;
                (scorer.reconstruct(examples.shown(), 0).unwrap(), loss)
            });
            assert_within(&what, &found.0, &expected.0, 1e-4 * slack);
            assert_within(&what, &[found.1], &[expected.1], 1e-4 * slack);

            let mut scoring = Method::RESTORE.settings(size.0, size.1);
            (scoring.input, scoring.chroma) = (input, 3.0);
            let checkpoint = Checkpoint::new(weights, scoring, None, None);
            let [expected, found] = [&Device::CPU, device].map(|device| {
                let scorer = Scorer::new(&checkpoint, device, Precision::F32).unwrap();
                assert_eq!(scorer.score(&[], Keep::All).unwrap(), [], "{what}");
                scorer.score(&examples.images, Keep::All).unwrap()
            });
            for (found, expected) in found.iter().zip(&expected) {
                assert_within(&what, found.map.values(), expected.map.values(), 1e-4 * slack);
                assert_within(&what, &found.reconstruction, &expected.reconstruction, 1e-4 * slack);
            }
        }
    });
}

/// Steps as the CPU's, and a run that was stopped in between goes on as if it had not been.
#[test]
fn training_steps_are_the_cpus_and_go_on_after_a_stop() {
    on_every_device(|device, slack| {
        let (weights, images, masking) = (filled_weights(4), parity_images(), parity_masking());
        let train = |trainer: &mut dyn Train, steps: usize| -> Vec<f64> {
            (0..steps).map(|_| step(trainer, &images, &masking, 1e-3)).collect()
        };
        let expected = train(&mut *trainer_on(&Device::CPU, &weights, 1e-2), 4);
        let mut whole = trainer_on(device, &weights, 1e-2);
        let losses = train(&mut *whole, 4);
        for (found, expected) in losses.iter().zip(&expected) {
            assert!(
                (found - expected).abs() <= 2e-4 * f64::from(slack) * expected,
                "{losses:?} on {device:?} where the CPU has {expected:?}"
            );
        }

        let mut first = trainer_on(device, &weights, 1e-2);
        let mut resumed_losses = train(&mut *first, 2);
        let (steps, moments) = first.optimiser().unwrap();
        let adam = Adam {
            weight_decay: 1e-2,
            steps,
        };
        let weights = first.weights().unwrap();
        let mut second = backend::trainer(&weights, adam, &moments, device, Precision::F32).unwrap();
        resumed_losses.extend(train(&mut *second, 2));
        if device.kind() == "candle-cpu" {
            assert_eq!(resumed_losses, losses);
            assert_eq!(second.weights().unwrap(), whole.weights().unwrap());
        } else {
            // A GPU may sum in another order each time.
            for (resumed, whole) in resumed_losses.iter().zip(&losses) {
                assert!((resumed - whole).abs() <= 2e-4 * f64::from(slack) * whole);
            }
        }
    });
}

/// What validation looks at is what a checkpoint of the same moment gives.
#[test]
fn a_network_under_training_reconstructs_as_its_weights_do() {
    on_every_device(|device, slack| {
        let images = parity_images();
        let one = &images[..images.len() / 2];
        for architecture in [Architecture::u_net(4), Architecture::autoencoder(3)] {
            let mut trainer = trainer_on(device, &Weights::initial(architecture, 5).unwrap(), 0.0);
            step(&mut *trainer, &images, &parity_masking(), 1e-3);
            let pass = masking(Some(8), parity_masking().frame(), &[7]);
            let passes = Passes::new(vec![pass]);
            let running = trainer.scorer(passes.clone()).unwrap();
            let saved = backend::scorer(&trainer.weights().unwrap(), passes, device, Precision::F32).unwrap();
            let [expected, found] = [saved, running].map(|scorer| scorer.reconstruct(one, 0).unwrap());
            assert_within(
                &format!("{architecture:?} on {device:?}"),
                &found,
                &expected,
                1e-5 * slack,
            );
        }
    });
}

/// The loss that validation watches, and none of it where nothing is.
#[test]
fn losses_over_all_passes_are_the_cpus() {
    on_every_device(|device, slack| {
        let images = parity_images();
        let frame = parity_masking().frame();
        let passes = Passes::new(vec![masking(Some(4), frame, &[1]), masking(Some(8), frame, &[2])]);
        let [expected, found] = [&Device::CPU, device].map(|device| {
            let scorer = backend::scorer(&filled_weights(4), passes.clone(), device, Precision::F32).unwrap();
            scorer
                .loss(&images.clone().into(), LossWeights::default())
                .unwrap()
                .total
        });
        assert!(
            (expected - found).abs() <= 1e-4 * f64::from(slack) * expected,
            "{found} on {device:?}"
        );
    });
}

/// A step that nothing was staged for is refused, and not a loss of 0.
#[test]
fn a_step_without_images_is_refused() {
    on_every_device(|device, _| {
        let mut trainer = trainer_on(device, &filled_weights(1), 0.0);
        assert!(trainer.begin(LossWeights::default(), 1e-3).is_err(), "{device:?}");
        assert!(trainer.finish().is_err(), "{device:?}");
    });
}

/// f32 on a GPU would be many times as slow, and whoever has one would not know why.
#[test]
fn a_gpu_trains_in_tf32_unless_asked_otherwise() {
    if let Some(emulated) = emulated_gpu() {
        assert_eq!(Precision::of_training(&emulated), Precision::Tf32);
    }
    assert_eq!(Precision::of_training(&Device::CPU), Precision::F32);
}

/// With as many digits, a product that is off by 2⁻⁹ of itself on either side is noise, and a wrong channel is not.
#[test]
fn bf16_and_tf32_train_and_score_near_f32() {
    on_every_device(|device, _| {
        if device.kind() != "cuda" {
            return;
        }
        let (weights, images, masking) = (filled_weights(8), parity_images(), parity_masking());
        let adam = Adam {
            weight_decay: 0.0,
            steps: 0,
        };
        let [exact, tf32, bf16] = [Precision::F32, Precision::Tf32, Precision::Bf16].map(|precision| {
            let mut trainer = backend::trainer(&weights, adam, &Moments::new(), device, precision).unwrap();
            let losses: Vec<f32> = (0..3)
                .map(|_| step(&mut *trainer, &images, &masking, 1e-3) as f32)
                .collect();
            let passes = Passes::new(vec![super::masking(Some(8), masking.frame(), &[7])]);
            let scorer = backend::scorer(&weights, passes, device, precision).unwrap();
            (losses, scorer.reconstruct(&images, 0).unwrap())
        });
        for (precision, found, bound) in [("tf32", tf32, 5e-3), ("bf16", bf16, 5e-2)] {
            // Adam's first steps go by the gradients' signs, so that what is near zero parts the later losses.
            let (losses, first) = (&found.0, exact.0[0]);
            assert_within(&format!("loss in {precision}"), &losses[..1], &[first], bound * first);
            assert!(
                losses[1] < losses[0] && losses[2] < losses[1],
                "{precision}: {losses:?}"
            );
            assert_within(&format!("reconstructions in {precision}"), &found.1, &exact.1, bound);
            assert_ne!(found.1, exact.1, "{precision}");
        }
    });
}
