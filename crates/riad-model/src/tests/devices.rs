//! One body for every device: the path of Apple's GPUs by candle's ops on the CPU, that of NVIDIA's by their kernels on the
//! CPU, and each kind of GPU where there is one. What is expected is what the engine and the packed layers make on the CPU.

use super::*;
use crate::{Keep, Scorer, Similarity};

/// Runs `test` on each device, with what its rounding is worth: a factor to the bounds that hold for candle's ops.
fn on_every_device(test: impl Fn(&Device, f32)) {
    test(&tape(), 1.0);
    test(&emulated_gpu(), 1.0);
    for name in ["cuda", "metal"] {
        match crate::device(name) {
            Ok(device) => test(&device, 2.0),
            Err(reason) => eprintln!("skipped, no GPU: {reason}"),
        }
    }
}

fn wavy_images(count: usize, (height, width): (usize, usize)) -> Vec<f32> {
    sines(count * 3 * height * width, 0.2)
        .map(|v| 0.5 + 0.4 * v as f32)
        .collect()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, v| largest.max(v.abs()))
}

#[track_caller]
fn assert_within(what: &str, found: &[f32], expected: &[f32], bound: f32) {
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
    let presets = crate::Preset::ALL.map(|preset| (preset.architecture(), Some(4)));
    on_every_device(|device, slack| {
        for (architecture, region_size) in presets.into_iter().chain([(Architecture::autoencoder(16), None)]) {
            let weights = Weights::initial(architecture, 3);
            let size = (37, 50);
            let images = wavy_images(2, size);
            let masking = Masking::sample(region_size, 3, size, &[5, 6], Normalisation::default()).unwrap();
            let on_cpu = Plan::new(&weights, &Device::Cpu, Precision::F32).unwrap();
            let on_device = Plan::new(&weights, device, Precision::F32).unwrap();
            let [expected, found] = [on_cpu, on_device].map(|plan| plan.reconstruct(&images, &masking).unwrap());
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
            checkpoint.normal_map = Some(vec![0.1; 32 * 48]);
            let images = wavy_images(2, (32, 48));
            let expected = Scorer::new(&checkpoint, &Device::Cpu, Precision::F32)
                .unwrap()
                .score(&images, Keep::All)
                .unwrap();
            let scorer = Scorer::new(&checkpoint, device, Precision::F32).unwrap();
            let found = scorer.score(&images, Keep::All).unwrap();
            assert_eq!(found.len(), expected.len());
            let what = format!("{similarity:?} on {device:?}");
            for (found, expected) in found.iter().zip(&expected) {
                assert_within(&what, &found.map, &expected.map, 1e-4 * slack);
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
fn gradients_are_the_engines() {
    on_every_device(|device, slack| {
        for (architecture, size, region_size, normalisation, loss) in [
            (
                Architecture::u_net(3),
                (32, 48),
                Some(4),
                Normalisation::default(),
                LossWeights::default(),
            ),
            (
                Architecture::u_net(3),
                (37, 50),
                Some(4),
                Normalisation::default(),
                LossWeights::default(),
            ),
            (
                Architecture::autoencoder(4),
                (34, 48),
                None,
                Normalisation::default(),
                "l1+ssim".parse().unwrap(),
            ),
            (
                Architecture::u_net(16),
                (48, 32),
                Some(16),
                Normalisation {
                    mean: 0.4,
                    deviation: 0.3,
                },
                LossWeights {
                    l2: 10.0,
                    l1: 0.0,
                    ssim: 0.5,
                    msgms: 0.0,
                },
            ),
        ] {
            let images = wavy_images(2, size);
            let weights = Weights::initial(architecture, 9);
            let masking = Masking::sample(region_size, 3, size, &[3, 4], normalisation).unwrap();
            let [engine, graph] = [engine(&weights, 0.0), learner_on(device, &weights, 0.0)]
                .map(|mut learner| differentiate(&mut learner, &images, &masking, loss));
            assert!((engine.0.total - graph.0.total).abs() < 2e-5 * f64::from(slack) * graph.0.total);
            assert!(engine.1.keys().eq(graph.1.keys()));
            let overall = graph.1.values().map(|values| largest(values)).fold(0.0, f32::max);
            for (name, expected) in &graph.1 {
                let found = &engine.1[name];
                if name.ends_with("conv1.bias") || name.ends_with("conv2.bias") {
                    // Before a batch norm a bias changes nothing: what the graph has here is rounding.
                    assert!(
                        found.iter().all(|v| *v == 0.0) && largest(expected) < 1e-4 * slack * overall,
                        "{name}"
                    );
                    continue;
                }
                // Rounding grows on the way down through batch norms over few pixels.
                let what = format!("{name} on {device:?}");
                assert_within(&what, expected, found, 1e-3 * slack * largest(expected));
            }
        }
    });
}

/// Steps as the engine's, and a run that was stopped in between goes on as if it had not been.
#[test]
fn training_steps_are_the_engines_and_go_on_after_a_stop() {
    on_every_device(|device, slack| {
        let (weights, images, masking) = (filled_weights(4), parity_images(), parity_masking());
        let train = |learner: &mut Learner, steps: usize| -> Vec<f64> {
            (0..steps).map(|_| step(learner, &images, &masking, 1e-3)).collect()
        };
        let expected = train(&mut engine(&weights, 1e-2), 4);
        let mut whole = learner_on(device, &weights, 1e-2);
        let losses = train(&mut whole, 4);
        for (found, expected) in losses.iter().zip(&expected) {
            assert!(
                (found - expected).abs() <= 2e-4 * f64::from(slack) * expected,
                "{losses:?} on {device:?} where the CPU has {expected:?}"
            );
        }

        let mut first = learner_on(device, &weights, 1e-2);
        let mut resumed_losses = train(&mut first, 2);
        let (steps, moments) = first.optimiser().unwrap();
        let adam = Adam {
            weight_decay: 1e-2,
            steps,
        };
        let weights = first.weights().unwrap();
        let mut second = Learner::new(&weights, adam, &moments, device, Precision::F32).unwrap();
        resumed_losses.extend(train(&mut second, 2));
        if matches!(device, Device::Metal(candle_core::Device::Cpu)) {
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
        let (images, masking) = (parity_images(), parity_masking());
        for architecture in [Architecture::u_net(4), Architecture::autoencoder(3)] {
            let mut learner = learner_on(device, &Weights::initial(architecture, 5), 0.0);
            step(&mut learner, &images, &masking, 1e-3);
            let weights = learner.weights().unwrap();
            let saved = Plan::new(&weights, device, Precision::F32).unwrap();
            let running = learner.plan(device, Precision::F32).unwrap();
            let [expected, found] = [saved, running].map(|plan| plan.reconstruct(&images, &masking).unwrap());
            assert_within(
                &format!("{architecture:?} on {device:?}"),
                &found,
                &expected,
                1e-5 * slack,
            );
        }
    });
}

/// f32 on a GPU would be many times as slow, and whoever has one would not know why.
#[test]
fn a_gpu_trains_in_tf32_unless_asked_otherwise() {
    assert_eq!(Precision::of_training(&emulated_gpu()), Precision::Tf32);
    assert_eq!(Precision::of_training(&Device::Cpu), Precision::F32);
}

/// With as many digits, a product that is off by 2⁻⁹ of itself on either side is noise, and a wrong channel is not.
#[test]
fn bf16_and_tf32_train_and_score_near_f32() {
    on_every_device(|device, _| {
        if !matches!(device, Device::Cuda(_)) {
            return;
        }
        let (weights, images, masking) = (filled_weights(8), parity_images(), parity_masking());
        let adam = Adam {
            weight_decay: 0.0,
            steps: 0,
        };
        let [exact, tf32, bf16] = Precision::ALL.map(|precision| {
            let mut learner = Learner::new(&weights, adam, &Moments::new(), device, precision).unwrap();
            let losses: Vec<f32> = (0..3)
                .map(|_| step(&mut learner, &images, &masking, 1e-3) as f32)
                .collect();
            let plan = Plan::new(&weights, device, precision).unwrap();
            (losses, plan.reconstruct(&images, &masking).unwrap())
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
