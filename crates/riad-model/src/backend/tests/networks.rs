//! Networks that no architecture of this crate has: backends know nothing but the list of layers.

use proptest::prelude::*;

use super::{devices::*, *};
use crate::{
    Keep, Similarity,
    backend::Score,
    method::MapSettings,
    network::{After, Geometry, Kind, Layer, Network, Source, tests::lists},
};

/// A U-Net's layers, to be changed.
fn u_net(width: usize) -> Vec<Layer> {
    Architecture::u_net(width).network().unwrap().layers().to_vec()
}

/// Skip connections that are added to what comes up.
fn added_skips(width: usize) -> Network {
    let mut layers = u_net(width);
    for layer in &mut layers {
        if let Source::Concatenated { name, values } = layer.source.clone() {
            layer.source = Source::Added { name, values };
            layer.inputs /= 2;
        }
    }
    Network::new(layers).unwrap()
}

fn plain(name: &str, source: Source, inputs: usize, outputs: usize, kernel: usize, after: After) -> Layer {
    Layer {
        name: name.into(),
        source,
        kind: Kind::Plain,
        geometry: Geometry {
            kernel,
            stride: 1,
            padding: kernel / 2,
        },
        inputs,
        outputs,
        after,
    }
}

/// A head behind the U-Net: a layer without a batch norm, one that reads it beside the image and beside itself, and the last.
fn head(width: usize) -> Network {
    let mut layers = u_net(width);
    let last = layers.pop().unwrap();
    let features = last.source.values()[0];
    let bare = layers.len() + 1;
    layers.push(plain(
        "head.reduce",
        Source::Value(features),
        width,
        5,
        1,
        After::Nothing,
    ));
    let join = Source::Concatenated {
        name: "head.concat".into(),
        values: vec![bare, 0, features],
    };
    let norm = After::NormRelu {
        norm: "head.bn".into(),
        relu: "head.relu".into(),
    };
    layers.push(plain("head.mix", join, 5 + 3 + width, 6, 3, norm));
    let sum = Source::Concatenated {
        name: "head.again".into(),
        values: vec![bare + 1, bare],
    };
    layers.push(plain("head.last", sum, 11, 3, 3, last.after));
    Network::new(layers).unwrap()
}

/// Three layers at one size, of which the second reads what the last reads beside it.
fn dense_block() -> Network {
    let norm = |name: &str| After::NormRelu {
        norm: format!("{name}.bn"),
        relu: format!("{name}.relu"),
    };
    let joined = |name: &str, values: &[usize]| Source::Concatenated {
        name: name.into(),
        values: values.into(),
    };
    let tanh = After::Tanh { name: "tanh".into() };
    Network::new(vec![
        plain("a", Source::Value(0), 3, 4, 3, norm("a")),
        plain("b", Source::Value(1), 4, 4, 3, norm("b")),
        plain("c", joined("c.in", &[1, 2]), 8, 4, 3, norm("c")),
        plain("d", joined("d.in", &[2, 3, 1]), 12, 3, 3, tanh),
    ])
    .unwrap()
}

fn networks() -> [(&'static str, Network); 3] {
    [
        ("added skips", added_skips(3)),
        ("a head", head(4)),
        ("a dense block", dense_block()),
    ]
}

/// Those, and one whose memory is all its own.
fn networks_and_u_net() -> impl Iterator<Item = (&'static str, Network)> {
    let u_net = Architecture::u_net(3).network().unwrap();
    networks().into_iter().chain([("a U-Net", u_net)])
}

/// Memory is kept for the batches to come: whatever it was used for before, each gives what it gives alone.
#[test]
fn batches_after_others_train_as_if_they_were_alone() {
    for device in devices() {
        for (what, network) in networks_and_u_net() {
            let weights = Weights::of_network(network, 5);
            let mut used = trainer_on(&device, &weights, 0.0);
            let batches = [
                ((16, 32), 2),
                ((16, 32), 1),
                ((16, 32), 2),
                ((32, 16), 1),
                ((32, 16), 2),
            ];
            for (index, (size, count)) in batches.into_iter().enumerate() {
                let seeds: Vec<u64> = (0..count).map(|image| 10 * index as u64 + image).collect();
                let masking = masking(Some(8), frame(3, size, Normalisation::default()), &seeds);
                let mut images = wavy_images(count as usize, 3, size);
                images.rotate_left(index);
                // A rate of 0 moves no parameter, so that steps may go before.
                let [used, fresh] = [&mut used, &mut trainer_on(&device, &weights, 0.0)].map(|trainer| {
                    let loss = step(&mut **trainer, &images, &masking, 0.0);
                    let loss_weights = LossWeights::default();
                    (
                        loss,
                        trainer
                            .gradients(images.clone().into(), masking.clone(), loss_weights)
                            .unwrap(),
                    )
                });
                assert!(used == fresh, "{what}, batch {index} on {device:?}");
            }
        }
    }
}

/// The same of a scorer, whatever it was asked before.
#[test]
fn batches_after_others_score_as_if_they_were_alone() {
    let settings = |similarity| MapSettings {
        similarity,
        scales: 2,
        smoothing: 3,
        chroma: 0.0,
    };
    for device in devices() {
        for (what, network) in networks_and_u_net() {
            let weights = Weights::of_network(network, 5);
            let frame = frame(3, (16, 32), Normalisation::default());
            let passes = Passes::new(vec![masking(Some(4), frame, &[1]), masking(Some(8), frame, &[2])]);
            let new = || backend::scorer(&weights, passes.clone(), &device, Precision::F32).unwrap();
            let used = new();
            for (index, count) in [2, 1, 2].into_iter().enumerate() {
                let mut images = wavy_images(count, 3, (16, 32));
                images.rotate_left(index);
                let same = |of: &dyn Fn(&dyn Score) -> Vec<f32>, asked: &str| {
                    assert_eq!(
                        of(&*used),
                        of(&*new()),
                        "{asked} of {what}, batch {index} on {device:?}"
                    );
                };
                let maps = |scorer: &dyn Score, similarity| {
                    let scored = scorer.maps(&images, settings(similarity), Keep::All).unwrap();
                    let all = scored.into_iter().flat_map(|scored| {
                        let maps = scored.region_maps.into_iter().chain([scored.map]);
                        let values = maps.flat_map(|map| map.values().to_vec());
                        values.chain(scored.reconstruction).collect::<Vec<_>>()
                    });
                    all.collect()
                };
                same(&|scorer| scorer.reconstruct(&images, 1).unwrap(), "reconstructions");
                same(&|scorer| maps(scorer, Similarity::GmsGrey), "maps of GMS");
                let loss = |scorer: &dyn Score| scorer.loss(&images.clone().into(), LossWeights::default()).unwrap();
                same(&|scorer| vec![loss(scorer).total as f32], "the loss");
                same(&|scorer| scorer.reconstruct(&images, 0).unwrap(), "reconstructions");
            }
        }
    }
}

/// The CPU's scorer keeps memory from image to image, of whatever size.
#[test]
fn images_after_others_of_another_size_are_as_if_they_were_alone() {
    for (what, network) in networks_and_u_net() {
        let weights = Weights::of_network(network, 5);
        let passes = Passes::new(vec![masking(None, frame(3, (32, 32), Normalisation::default()), &[0])]);
        let new = || CpuScorer::new(&weights, passes.clone(), riad_conv::Precision::F32).unwrap();
        let used = new();
        for (images, height, width) in [(2, 32, 32), (1, 48, 16), (2, 32, 32), (1, 32, 32)] {
            let input = wavy_images(images, 3, (height, width));
            let dims = Dims::new(images, height, width, 3);
            let [used, fresh] = [&used, &new()].map(|scorer| scorer.run(&input, dims).unwrap());
            assert!(used == fresh, "{what}, {images} of {height}x{width}");
        }
    }
}

/// A network that takes two channels in and gives three back: skips, a concatenation with the input, and no batch norm somewhere.
fn of_two_channels_three() -> Network {
    let mut layers = head(4).layers().to_vec();
    layers[0].inputs = 2;
    let mix = layers.len() - 2;
    layers[mix].inputs -= 1;
    Network::new(layers).unwrap()
}

/// No method has such images yet, so that it is the networks alone that are asked.
#[test]
fn a_network_may_take_in_other_channels_than_it_gives_back() {
    let weights = Weights::of_network(of_two_channels_three(), 5);
    let (inputs, outputs) = (weights.network().inputs(), weights.network().outputs());
    assert_eq!((inputs, outputs), (2, 3));
    let (images, height, width) = (2, 32, 48);
    // Channels first, and channels last.
    let planar = wavy_images(images, inputs, (height, width));
    let pixels = height * width;
    let interleaved = |planar: &[f32], channels: usize| -> Vec<f32> {
        let value = |i: usize| {
            let (pixel, channel) = (i / channels, i % channels);
            planar[(pixel / pixels * channels + channel) * pixels + pixel % pixels]
        };
        (0..planar.len()).map(value).collect()
    };
    let passes = Passes::new(vec![masking(
        None,
        frame(3, (height, width), Normalisation::default()),
        &[0],
    )]);
    let scorer = CpuScorer::new(&weights, passes, riad_conv::Precision::F32).unwrap();
    let dims = Dims::new(images, height, width, inputs);
    let found = scorer.run(&interleaved(&planar, inputs), dims).unwrap();
    let device = candle_core::Device::Cpu;
    let tensors = crate::candle::tensors(&weights, &device).unwrap();
    let tensors = candle_nn::VarBuilder::from_tensors(tensors, candle_core::DType::F32, &device);
    let network = crate::candle::UNet::new(weights.network(), tensors).unwrap();
    let input = candle_core::Tensor::from_vec(planar, (images, inputs, height, width), &device).unwrap();
    let expected = candle_nn::ModuleT::forward_t(&network, &input, false).unwrap();
    assert_eq!(expected.dims(), [images, outputs, height, width]);
    let expected = expected.flatten_all().unwrap().to_vec1().unwrap();
    assert_within("outputs", &found, &interleaved(&expected, outputs), 1e-4);
}

#[test]
fn reconstructions_of_any_list_are_the_cpus() {
    on_every_device(|device, slack| {
        for (what, network) in networks() {
            let weights = Weights::of_network(network, 5);
            let (size, frame) = ((33, 48), frame(3, (33, 48), Normalisation::default()));
            let maskings = [3, 4].map(|seed| masking(Some(4), frame, &[seed]));
            let images = wavy_images(2, 3, size);
            let [expected, found] =
                [&Device::CPU, device].map(|device| reconstruct(&weights, device, &images, &maskings));
            assert_within(&format!("{what} on {device:?}"), &found, &expected, 1e-4 * slack);
        }
    });
}

#[test]
fn gradients_of_any_list_are_the_cpus() {
    on_every_device(|device, slack| {
        for (_, network) in networks() {
            let weights = Weights::of_network(network, 5);
            let images = wavy_images(2, 3, (32, 48));
            let masking = masking(Some(4), frame(3, (32, 48), Normalisation::default()), &[3, 4]);
            assert_gradients(
                device,
                slack,
                &weights,
                &images.into(),
                &masking,
                LossWeights::default(),
            );
        }
    });
}

/// One weight that is no number is seen in the loss, though a batch norm and a ReLU come after it, and moves no other.
#[test]
fn a_weight_that_is_no_number_leaves_no_loss() {
    let masking = masking(Some(8), frame(3, (16, 32), Normalisation::default()), &[3]);
    let images = wavy_images(1, 3, (16, 32));
    on_every_device(|device, _| {
        for (what, broken, name) in broken_networks() {
            let mut trainer = trainer_on(device, &broken, 0.0);
            let loss = step(&mut *trainer, &images, &masking, 1e-3);
            assert!(!loss.is_finite(), "{what}, {name}: {loss} on {device:?}");
            let found = trainer.weights().unwrap();
            for spec in broken.network().tensors().iter().filter(|spec| spec.role.is_trained()) {
                let (found, before) = (found.get(&spec.name), broken.get(&spec.name));
                let is_same = found
                    .iter()
                    .zip(before)
                    .all(|(a, b)| a == b || a.is_nan() && b.is_nan());
                assert!(is_same, "{what}, {name}: {} on {device:?}", spec.name);
            }
        }
    });
}

/// And in the reconstruction: a map without it would call every image good.
#[test]
fn a_weight_that_is_no_number_leaves_no_reconstruction() {
    let masking = masking(Some(8), frame(3, (16, 32), Normalisation::default()), &[3]);
    let images = wavy_images(1, 3, (16, 32));
    for device in devices() {
        for (what, broken, name) in broken_networks() {
            let found = reconstruct(&broken, &device, &images, std::slice::from_ref(&masking));
            assert!(found.iter().any(|v| v.is_nan()), "{what}, {name} on {device:?}");
        }
    }
}

/// Every network with one weight before each of its batch norms that is no number, and the name of that tensor.
fn broken_networks() -> impl Iterator<Item = (&'static str, Weights, String)> {
    networks_and_u_net().flat_map(|(what, network)| {
        let weights = Weights::of_network(network, 5);
        let layers = weights.network().layers().to_vec();
        let before_norm = layers.into_iter().filter(|layer| layer.norm().is_some());
        before_norm.map(move |layer| {
            let name = format!("{}.weight", layer.name);
            let broken = weights.try_map(|spec| {
                let mut values = weights.get(&spec.name).to_vec();
                if spec.name == name {
                    let middle = values.len() / 2;
                    values[middle] = f32::NAN;
                }
                Ok::<_, Infallible>(values)
            });
            (what, broken.unwrap(), name)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    /// The backends differ in where values lie, and in what they copy. Gradients are compared as a whole: near 0 rounding decides
    /// what a ReLU lets through.
    #[test]
    fn random_lists_are_the_cpus(network in lists(3, 3), seed in any::<u64>()) {
        let weights = Weights::of_network(network, seed);
        let size = (32, 16);
        let frame = frame(3, size, Normalisation::default());
        let images = wavy_images(2, 3, size);
        let each = [3, 4].map(|seed| masking(Some(4), frame, &[seed]));
        let both = masking(Some(4), frame, &[3, 4]);
        let of = |device: &Device| {
            let (_, gradients) = trainer_on(device, &weights, 0.0)
                .gradients(images.clone().into(), both.clone(), LossWeights::default())
                .unwrap();
            let gradients: Vec<f32> = gradients.into_values().flatten().collect();
            (reconstruct(&weights, device, &images, &each), gradients)
        };
        let (expected, expected_gradients) = of(&Device::CPU);
        let length = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        for device in devices().into_iter().filter(|device| device.kind() != "cpu") {
            let (found, gradients) = of(&device);
            assert_within(&format!("{device:?}"), &found, &expected, 1e-4);
            let pairs = gradients.iter().zip(&expected_gradients);
            let apart = length(&mut pairs.map(|(a, b)| a - b));
            let whole = length(&mut expected_gradients.iter().copied());
            prop_assert!(apart < 0.05 * whole, "{:?}: {} of {} apart", device, apart, whole);
        }
    }
}

/// By differences of the loss, whatever the list: the CPU is what the others are held to.
#[test]
fn gradients_of_any_list_are_the_losss_slopes() {
    for (what, network) in networks() {
        let weights = Weights::of_network(network, 5);
        let images = wavy_images(1, 3, (32, 32));
        let masking = masking(Some(8), frame(3, (32, 32), Normalisation::default()), &[3]);
        let loss = "l2".parse().unwrap();
        let of = |weights: &Weights| {
            let mut trainer = trainer_on(&Device::CPU, weights, 0.0);
            trainer.gradients(images.clone().into(), masking.clone(), loss).unwrap()
        };
        let (_, gradients) = of(&weights);
        // A bias before a batch norm changes nothing, and has no slope.
        let trained = weights.network().layers().iter().flat_map(|layer| {
            [
                format!("{}.weight", layer.name),
                format!("{}.bias", layer.norm().unwrap_or(&layer.name)),
            ]
        });
        for name in trained {
            // Along the gradient the loss rises by its length, and all of it is seen at once.
            let gradient = &gradients[&name];
            let length = gradient.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let moved = |step: f64| {
                let moved = weights.try_map(|spec| {
                    let values = weights.get(&spec.name).iter();
                    let along = |(value, slope): (&f32, &f32)| value + (step * f64::from(*slope)) as f32;
                    Ok::<_, Infallible>(if spec.name == name {
                        values.zip(gradient).map(along).collect()
                    } else {
                        values.copied().collect()
                    })
                });
                of(&moved.unwrap()).0.total
            };
            // Over a long step some ReLU turns, over a short one rounding counts. Nothing but the gradient is near all of them.
            let slopes = [3e-3, 1e-3, 3e-4].map(|step| {
                let step = step / length;
                (moved(step) - moved(-step)) / (2.0 * step)
            });
            let expected = length * length;
            let is_near = |bound: f64| move |slope: &f64| (slope - expected).abs() < bound * expected;
            assert!(
                slopes.iter().any(is_near(0.03)) && slopes.iter().all(is_near(0.1)),
                "{what}, {name}: {slopes:?} where the gradient says {expected}"
            );
        }
    }
}

#[test]
fn lists_that_contradict_themselves_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Vec<Layer>), reason: &str| {
        let mut layers = u_net(2);
        change(&mut layers);
        let error = Network::new(layers).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    };
    refused(&|layers| layers[3].inputs += 1, "down2.conv2: takes 5 channels in");
    refused(
        &|layers| layers[3].source = Source::Value(9),
        "down2.conv2: reads values [9]",
    );
    refused(&|layers| layers[5].source = Source::Value(2), "takes 8 channels in");
    refused(
        &|layers| layers[4].geometry = layers[3].geometry,
        "joins values of different sizes",
    );
    refused(&|layers| layers[4].geometry.stride = 3, "down3.conv1: neither keeps");
    refused(&|layers| layers.truncate(9), "down5.conv1: tanh follows the last layer");
    refused(
        &|layers| {
            layers[10].after = After::NormRelu {
                norm: "up1.bn".into(),
                relu: "up1.relu".into(),
            };
        },
        "up1.upconv: nothing follows",
    );
    refused(&|layers| layers[3].geometry.padding = 0, "down2.conv2: neither keeps");
    refused(&|layers| layers[3].geometry.padding = 2, "down2.conv2: neither keeps");
    refused(&|layers| layers[2].geometry.kernel = 6, "down2.conv1: neither keeps");
    refused(&|layers| layers[10].geometry.kernel = 3, "up1.upconv: neither keeps");
    refused(
        &|layers| layers[9].geometry = layers[8].geometry,
        "down5.conv2: neither keeps the image's size nor doubles it, nor halves it to a 16th at least",
    );
    refused(
        &|layers| join_of(&mut layers[11]).push(8),
        "up1.conv1: reads a value twice, of [11, 8, 8]",
    );
    refused(
        &|layers| join_of(&mut layers[11]).clear(),
        "up1.conv1: reads values [], and the values 0 to 11 are there",
    );
    refused(&|layers| layers[4].outputs = 0, "down3.conv1: has no channels");
    refused(&|layers| layers[4].inputs = 0, "down3.conv1: has no channels");
    refused(&|layers| layers[4].geometry.kernel = 0, "has no channels, or no kernel");
    refused(
        &|layers| layers[4].name = layers[1].name.clone(),
        "down1.conv2: has a name that another layer",
    );
    refused(
        &|layers| layers[4].after = layers[1].after.clone(),
        "down3.conv1: has a name that another layer or batch norm has",
    );
    refused(
        &|layers| {
            layers[11].kind = Kind::Transposed;
            layers[11].after = After::Nothing;
        },
        "up1.conv1: a transposed convolution reads no concatenation",
    );
    refused(
        &|layers| {
            let last = layers.len() - 1;
            layers[last].source = Source::Value(last - 1);
        },
        "up4.conv2: no layer reads what it gives",
    );
    refused(
        &|layers| {
            let last = layers.len() - 1;
            layers[last].geometry = layers[2].geometry;
        },
        "does not end at the image's size",
    );
    assert!(Network::new(vec![]).is_err());
}

/// The values that a layer reads as one.
fn join_of(layer: &mut Layer) -> &mut Vec<usize> {
    match &mut layer.source {
        Source::Concatenated { values, .. } | Source::Added { values, .. } => values,
        Source::Value(value) => panic!("the layer {} reads {value} alone", layer.name),
    }
}
