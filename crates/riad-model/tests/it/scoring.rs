//! Scores depend on what they should, at any size.

use std::{collections::BTreeMap, fs, path::Path};

use riad_core::{Map, Size};
use riad_model::{
    Architecture, Checkpoint, Device, Keep, Method, ModelError, NeededSize, Normal, NormalSums, Precision, Roi, Scored,
    Scorer, ScoringSettings, Similarity, Tiling, Weights,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

const CHANNELS: usize = 3;

/// The published settings, but for what is changed.
fn settings(change: impl FnOnce(&mut ScoringSettings)) -> ScoringSettings {
    let mut settings = ScoringSettings::default();
    change(&mut settings);
    settings
}

fn scorer(checkpoint: &Checkpoint) -> Scorer {
    Scorer::new(checkpoint, &Device::CPU, Precision::F32).unwrap()
}

fn initial(architecture: Architecture) -> Weights {
    Weights::initial(architecture, 1).unwrap()
}

#[test]
fn a_score_depends_on_the_checkpoint_and_the_image_alone() {
    for (height, width) in [(32, 48), (37, 50)] {
        let scoring = settings(|settings| {
            (settings.height, settings.width) = (height, width);
            settings.region_sizes = vec![2, 5, 16];
        });
        let weights = initial(Architecture::u_net(4));
        let scorer = Scorer::new(
            &Checkpoint::new(weights, scoring, None, None),
            &Device::CPU,
            Precision::F32,
        )
        .unwrap();
        let image_len = CHANNELS * height * width;
        let images: Vec<f32> = (0..5 * image_len)
            .map(|i| 0.5 + 0.5 * (i as f32 * 0.013).sin())
            .collect();
        let batch = scorer.score(&images, Keep::All).unwrap();
        assert_eq!(batch.len(), 5);
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        for (image, scored) in images.chunks_exact(image_len).zip(&batch) {
            assert_eq!(
                single.install(|| scorer.score(image, Keep::All)).unwrap(),
                std::slice::from_ref(scored)
            );
            assert_eq!(scored.region_maps.len(), 3);
            assert_eq!(
                (scored.map.size(), scored.reconstruction.len()),
                (Size::new(height, width), image_len)
            );
            assert_eq!(
                scored.score,
                scored.map.values().iter().copied().fold(f32::MIN, f32::max)
            );
            assert!(scored.map.values().iter().all(|v| (0.0..=1.0).contains(v)));
            assert!(scored.reconstruction.iter().all(|v| (0.0..=1.0).contains(v)));
        }
        assert!(scorer.score(&images[1..], Keep::All).is_err());
        let mut broken = images[..image_len].to_vec();
        broken[7] = f32::NAN;
        assert!(matches!(scorer.score(&broken, Keep::All), Err(ModelError::Overflow)));
        assert_eq!(scorer.score(&[], Keep::All).unwrap(), []);
    }
}

#[test]
fn maps_tell_what_is_beyond_normal_where_images_differ_little() {
    let size = 32;
    let scoring = settings(|settings| {
        (settings.height, settings.width) = (size, size);
        settings.smoothing = 3;
    });
    let weights = initial(Architecture::u_net(2));
    let mut checkpoint = Checkpoint::new(weights, scoring, None, None);
    let image: Vec<f32> = (0..CHANNELS * size * size)
        .map(|i| 0.5 + 0.5 * (i as f32 * 0.7).sin())
        .collect();
    let score = |checkpoint: &Checkpoint| {
        let scorer = Scorer::new(checkpoint, &Device::CPU, Precision::F32).unwrap();
        scorer.score(&image, Keep::All).unwrap().remove(0)
    };
    let plain = score(&checkpoint);
    let map = |values| Map::new(Size::new(size, size), values).unwrap();
    let all = |value: f32| map(vec![value; size * size]);
    let by_column = |even: f32, odd: f32| map((0..size * size).map(|i| if i % 2 == 0 { even } else { odd }).collect());
    let of = |mean, deviation| Some(Normal::new(mean, deviation).unwrap());
    let expected = |of_place: &dyn Fn(usize, f32) -> f32| -> Vec<f32> {
        let values = plain.map.values().iter().enumerate();
        values.map(|(i, value)| of_place(i % 2, *value)).collect()
    };
    // Maps that never differ: places explain all of them, and count alike.
    checkpoint.normal = of(by_column(0.3, 0.8), all(0.0));
    let less = score(&checkpoint);
    assert_eq!(less.region_maps, plain.region_maps);
    assert_eq!(less.map.values(), expected(&|odd, value| value - [0.3, 0.8][odd]));
    // Below what is normal everywhere, and still ranked.
    assert_eq!(less.score, less.map.max().unwrap());
    // The same everywhere on average: places explain nothing.
    checkpoint.normal = of(all(0.5), all(0.1));
    assert_eq!(score(&checkpoint).map, plain.map);
    // Of a mean deviation of 0.2: 2·0.2 / (0.2 + 0) and 2·0.2 / (0.2 + 0.4). Of a variance of 0.05² + 0.4²/2 the place explains
    // 0.05².
    checkpoint.normal = of(by_column(0.1, 0.2), by_column(0.0, 0.4));
    let share = 0.0025f32 / (0.0025 + 0.08);
    let expected = expected(&|odd, value| (value - share * share * [0.1, 0.2][odd]) * [2.0, 2.0 / 3.0][odd]);
    for (value, expected) in score(&checkpoint).map.values().iter().zip(expected) {
        assert!((value - expected).abs() < 1e-6, "{value} where {expected} was expected");
    }
}

/// NumPy: np.mean(maps, 0), np.std(maps, 0).
#[test]
fn what_is_normal_is_the_mean_and_the_deviation_of_good_images() {
    let size = Size::new(1, 3);
    let map = |value| Map::filled(size, value);
    let mut sums = NormalSums::new(size);
    let mut few = None;
    for values in [[0.1, 0.5, 0.3], [0.3, 0.5, 0.4], [0.8, 0.5, 0.2]]
        .into_iter()
        .cycle()
        .take(9)
    {
        few = Some(sums.clone());
        sums.add(&Map::new(size, values.to_vec()).unwrap()).unwrap();
    }
    assert!(sums.add(&Map::filled(Size::new(2, 3), 0.0)).is_err());
    let normal = sums.finish().unwrap();
    for (found, expected) in [
        (normal.mean(), [0.4, 0.5, 0.3]),
        (normal.deviation(), [0.294_392_03, 0.0, 0.081_649_66]),
    ] {
        for (found, expected) in found.values().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} where {expected} was expected");
        }
    }
    // Eight maps are enough, fewer tell nothing.
    let few = few.unwrap();
    assert!(few.clone().finish().unwrap().mean().max() > Some(0.0));
    for few in [NormalSums::new(size), {
        let mut seven = NormalSums::new(size);
        (0..7).for_each(|_| seven.add(&map(0.5)).unwrap());
        seven
    }] {
        let normal = few.finish().unwrap();
        assert_eq!([normal.mean(), normal.deviation()], [&map(0.0), &map(0.0)]);
    }
    assert!(Normal::new(map(0.0), map(-1.0)).is_err() && Normal::new(map(f32::NAN), map(1.0)).is_err());
    assert!(Normal::new(map(0.0), Map::filled(Size::new(3, 1), 0.0)).is_err());
}

/// A scorer of tiles of 32×48 that overlap by 8, and one of whole images of that size.
fn with_and_without_tiles() -> [Scorer; 2] {
    checkpoints_with_and_without_tiles().map(|checkpoint| scorer(&checkpoint))
}

fn checkpoints_with_and_without_tiles() -> [Checkpoint; 2] {
    [Some(Tiling { overlap: 8 }), None].map(|tiling| {
        let scoring = settings(|settings| {
            (settings.height, settings.width) = (32, 48);
            settings.tiling = tiling;
            settings.smoothing = 5;
        });
        Checkpoint::new(initial(Architecture::u_net(2)), scoring, None, None)
    })
}

#[test]
fn an_image_of_one_tile_is_scored_as_without_tiles() {
    let [tiled, plain] = with_and_without_tiles();
    let image: Vec<f32> = (0..CHANNELS * 32 * 48)
        .map(|i| 0.5 + 0.5 * (i as f32 * 0.013).sin())
        .collect();
    let expected = plain.score(&image, Keep::All).unwrap().remove(0);
    assert_eq!(
        tiled.score_image(&image, Size::new(32, 48), Keep::All).unwrap(),
        expected
    );
    assert_eq!(
        plain.score_image(&image, Size::new(32, 48), Keep::All).unwrap(),
        expected
    );
    for scorer in [&tiled, &plain] {
        let Scored {
            score,
            map,
            region_maps,
            reconstruction,
            ..
        } = scorer.score_image(&image, Size::new(32, 48), Keep::Map).unwrap();
        assert_eq!((score, map), (expected.score, expected.map.clone()));
        assert!(region_maps.is_empty() && reconstruction.is_empty());
    }
}

#[test]
fn a_large_image_is_a_blend_of_its_tiles_whatever_the_threads() {
    let [tiled, plain] = with_and_without_tiles();
    let (height, width) = (70, 101);
    let image: Vec<f32> = (0..CHANNELS * height * width)
        .map(|i| 0.5 + 0.5 * (i as f32 * 0.013).sin())
        .collect();
    let whole = tiled.score_image(&image, Size::new(height, width), Keep::All).unwrap();
    assert_eq!(whole.score, whole.map.values().iter().copied().fold(f32::MIN, f32::max));
    assert_eq!(whole.region_maps.len(), 4);
    // The corners belong to one tile each.
    let corner: Vec<f32> = (0..CHANNELS * 32)
        .flat_map(|row| &image[(row / 32 * height + row % 32) * width..][..48])
        .copied()
        .collect();
    let corner = plain.score(&corner, Keep::All).unwrap().remove(0);
    for y in 0..19 {
        assert_eq!(
            whole.map.values()[y * width..][..20],
            corner.map.values()[y * 48..][..20]
        );
        assert_eq!(
            whole.region_maps[2].values()[y * width..][..20],
            corner.region_maps[2].values()[y * 48..][..20]
        );
        assert_eq!(
            whole.reconstruction[y * width..][..20],
            corner.reconstruction[y * 48..][..20]
        );
    }
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let again = single.install(|| tiled.score_image(&image, Size::new(height, width), Keep::All).unwrap());
    assert_eq!(again, whole);
    let map_only = tiled.score_image(&image, Size::new(height, width), Keep::Map).unwrap();
    assert_eq!((map_only.map, map_only.score), (whole.map, whole.score));

    // As many pixels in another shape would be read row by row as something else.
    let Size {
        height: rows,
        width: columns,
    } = plain.header().scoring.size();
    let other_shape = Size::new(rows / 2, columns * 2);
    let (other, many) = (Size::new(height, width), CHANNELS * rows * columns);
    for (image, size) in [(&image[..], other), (&image[..many], other_shape)] {
        let refused = plain.score_image(image, size, Keep::Map).unwrap_err();
        assert_refused_alone(&refused, size, NeededSize::Exactly(Size::new(rows, columns)));
    }
    assert!(matches!(
        tiled.score_image(&image, Size::new(width, height - 1), Keep::Map),
        Err(ModelError::Length { .. })
    ));
    let low = &image[..CHANNELS * 31 * width];
    let refused = tiled.score_image(low, Size::new(31, width), Keep::Map).unwrap_err();
    assert_refused_alone(&refused, Size::new(31, width), NeededSize::AtLeast(Size::new(32, 48)));
    let mut broken = image;
    broken[9] = f32::NAN;
    assert!(matches!(
        tiled.score_image(&broken, Size::new(height, width), Keep::Map),
        Err(ModelError::Overflow)
    ));
}

/// The size of one image is refused, and who loops over images may go on with the next.
#[track_caller]
fn assert_refused_alone(error: &ModelError, size: Size, model: NeededSize) {
    assert!(
        matches!(error, ModelError::ImageSize { got, needed } if (*got, *needed) == (size, model)),
        "{error:?}"
    );
    assert!(!error.stops_everything());
    assert!(error.to_string().contains(&size.to_string()), "{error}");
}

#[test]
fn what_is_outside_of_the_region_of_interest_does_not_count() {
    let (height, width) = (70, 101);
    let image: Vec<f32> = (0..CHANNELS * height * width)
        .map(|i| 0.5 + 0.5 * (i as f32 * 0.013).sin())
        .collect();
    let inside = (0..height * width).map(|i| i / width >= 40 && i % width < 60);
    let roi = Roi::new(Map::new(Size::new(height, width), inside.collect()).unwrap()).unwrap();
    let [mut tiled, mut plain] = checkpoints_with_and_without_tiles();
    let all = scorer(&tiled)
        .score_image(&image, Size::new(height, width), Keep::Map)
        .unwrap();
    tiled.roi = Some(roi.clone());
    let tiled = scorer(&tiled);
    let part = tiled.score_image(&image, Size::new(height, width), Keep::Map).unwrap();
    let mut expected = f32::MIN;
    for ((value, of_all), inside) in part.map.values().iter().zip(all.map.values()).zip(roi.inside()) {
        assert_eq!(*value, if *inside { *of_all } else { Roi::OUTSIDE });
        expected = if *inside { expected.max(*of_all) } else { expected };
    }
    assert_eq!(part.score, expected);
    assert!(part.score < all.score, "the maximum is to be outside");
    assert!(matches!(
        tiled.score(&image[..CHANNELS * 32 * 48], Keep::All),
        Err(ModelError::ImageSize { .. })
    ));
    let low = &image[..CHANNELS * 69 * width];
    let refused = tiled.score_image(low, Size::new(69, width), Keep::Map).unwrap_err();
    assert_refused_alone(
        &refused,
        Size::new(69, width),
        NeededSize::Region(Size::new(height, width)),
    );

    let image = &image[..CHANNELS * 32 * 48];
    let all = scorer(&plain).score(image, Keep::All).unwrap().remove(0);
    let right = (0..32 * 48).map(|i| i % 48 >= 40).collect();
    plain.roi = Some(Roi::new(Map::new(Size::new(32, 48), right).unwrap()).unwrap());
    let part = scorer(&plain).score(image, Keep::All).unwrap().remove(0);
    assert_eq!(part.region_maps, all.region_maps);
    let at = |scored: &Scored, place: usize| scored.map.values()[place];
    assert_eq!((at(&part, 40), at(&part, 39)), (at(&all, 40), Roi::OUTSIDE));

    let roi = |inside: [bool; 4]| Roi::new(Map::new(Size::new(2, 2), inside.into()).unwrap());
    assert!(matches!(roi([false; 4]), Err(ModelError::Setting(_))));
    assert_eq!(roi([true, false, false, false]).unwrap().share(), 0.25);
}

#[test]
fn tiles_have_no_normal_places_and_an_overlap_within_reach() {
    let scoring = |overlap| {
        settings(|settings| {
            (settings.height, settings.width) = (32, 48);
            settings.tiling = Some(Tiling { overlap });
        })
    };
    assert!(scoring(16).check().is_ok() && scoring(0).check().is_ok());
    assert!(scoring(17).check().is_err());
    let mut checkpoint = Checkpoint::new(initial(Architecture::u_net(2)), scoring(8), None, None);
    let map = Map::filled(Size::new(32, 48), 0.1);
    checkpoint.normal = Some(Normal::new(map.clone(), map).unwrap());
    assert!(matches!(
        Scorer::new(&checkpoint, &Device::CPU, Precision::F32),
        Err(ModelError::Setting(_))
    ));
}

/// With as many digits, a product that is off by 2⁻⁹ of itself on either side is noise to a map, and a wrong channel is not.
#[test]
fn bf16_maps_are_near_those_in_f32() {
    if let Err(reason) = Precision::Bf16.check_scoring(&Device::CPU) {
        return riad_testing::skip(riad_testing::Needs::Bf16, reason);
    }
    let scoring = ScoringSettings::for_size(48, 64);
    let checkpoint = Checkpoint::new(initial(Architecture::u_net(16)), scoring, None, None);
    let image: Vec<f32> = (0..CHANNELS * 48 * 64)
        .map(|i| 0.5 + 0.3 * (i as f32 * 0.011).sin() + 0.2 * (i as f32 * 0.7).sin())
        .collect();
    let [f32, bf16] = [Precision::F32, Precision::Bf16].map(|precision| {
        let scorer = Scorer::new(&checkpoint, &Device::CPU, precision).unwrap();
        scorer.score(&[&image[..], &image[..]].concat(), Keep::All).unwrap()
    });
    assert_eq!(bf16[0], bf16[1]);
    assert_ne!(bf16[0], f32[0]);
    let furthest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let (reconstruction, map) = (
        furthest(&bf16[0].reconstruction, &f32[0].reconstruction),
        furthest(bf16[0].map.values(), f32[0].map.values()),
    );
    assert!(reconstruction < 0.02 && map < 0.02, "{reconstruction}, {map}");
}

/// Whatever it is given, an autoencoder has one map, and no similarity takes its reconstruction for the image.
#[test]
fn an_autoencoder_has_one_map() {
    let size = 32;
    let image: Vec<f32> = (0..CHANNELS * size * size)
        .map(|i| 0.5 + 0.5 * (i as f32 * 0.7).sin())
        .collect();
    for similarity in [
        Similarity::GmsGrey,
        Similarity::GmsColour,
        Similarity::Ssim,
        Similarity::L2,
    ] {
        let mut scoring = Method::AUTOENCODER.settings(size, size);
        scoring.similarity = similarity;
        let weights = initial(Architecture::autoencoder(4));
        let scored = scorer(&Checkpoint::new(weights, scoring, None, None))
            .score(&image, Keep::All)
            .unwrap()
            .remove(0);
        assert_eq!(scored.region_maps, std::slice::from_ref(&scored.map));
        assert!(
            scored.map.values().iter().all(|v| (0.01..=1.0).contains(v)),
            "{similarity:?}"
        );
    }
}

#[test]
fn any_number_of_channels_is_scored_by_all_similarities() {
    for channels in [1, 2, 5] {
        for similarity in [
            Similarity::GmsGrey,
            Similarity::GmsColour,
            Similarity::Ssim,
            Similarity::L2,
        ] {
            let mut scoring = ScoringSettings::for_size(32, 48);
            scoring.similarity = similarity;
            let weights = initial(Architecture::u_net(2).with_channels(channels));
            let scorer = scorer(&Checkpoint::new(weights, scoring, None, None));
            assert_eq!(scorer.channels(), channels);
            let images: Vec<f32> = (0..2 * channels * 32 * 48)
                .map(|i| 0.5 + 0.5 * (i as f32 * 0.7).sin())
                .collect();
            let scored = scorer.score(&images, Keep::All).unwrap();
            assert_eq!(scored.len(), 2);
            for scored in scored {
                assert_eq!(scored.reconstruction.len(), channels * 32 * 48);
                assert!(scored.map.values().iter().all(|v| (0.0..=1.0).contains(v)));
            }
            let three = vec![0.5; 3 * 32 * 48 + 1];
            assert!(matches!(
                scorer.score(&three, Keep::Map),
                Err(ModelError::Length { .. })
            ));
        }
    }
}

/// Gray images are the same to a network of three channels that adds them up and to one that sees them once.
#[test]
fn three_equal_channels_are_scored_as_one() {
    let (height, width) = (32, 48);
    let folder = tempfile::tempdir().unwrap();
    let [colour_file, gray_file] =
        ["colour", "gray"].map(|name| folder.path().join(name).with_extension("safetensors"));
    let gray: Vec<f32> = (0..2 * height * width)
        .map(|i| 0.5 + 0.5 * (i as f32 * 0.7).sin())
        .collect();
    let images: Vec<f32> = gray
        .chunks_exact(height * width)
        .flat_map(|image| image.repeat(3))
        .collect();
    for similarity in [Similarity::GmsGrey, Similarity::L2] {
        let mut scoring = ScoringSettings::for_size(height, width);
        scoring.similarity = similarity;
        let save = |channels: usize, path: &Path| {
            let weights = initial(Architecture::u_net(2).with_channels(channels));
            Checkpoint::new(weights, scoring.clone(), None, None)
                .save(path)
                .unwrap();
            fs::read(path).unwrap()
        };
        let (colour, _) = (save(3, &colour_file), save(1, &gray_file));
        let colour = SafeTensors::deserialize(&colour).unwrap();
        let read = |name: &str| -> Vec<f32> {
            let bytes = colour.tensor(name).unwrap().data().chunks_exact(4);
            bytes
                .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                .collect()
        };
        // The last layer's outputs become the same three times, the first layer's sum of inputs one.
        let mut of_colour: BTreeMap<String, (Vec<usize>, Vec<f32>)> = (colour.iter())
            .map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), read(name))))
            .collect();
        let mut of_gray = of_colour.clone();
        for name in ["conv_final.0.weight", "conv_final.0.bias"] {
            let (shape, values) = of_gray.get_mut(name).unwrap();
            values.truncate(values.len() / 3);
            shape[0] = 1;
            of_colour.get_mut(name).unwrap().1 = values.repeat(3);
        }
        let (shape, values) = of_gray.get_mut("down1.conv1.weight").unwrap();
        let taps = shape[2] * shape[3];
        let row = |row: &[f32]| {
            (0..taps)
                .map(|tap| row[tap] + row[taps + tap] + row[2 * taps + tap])
                .collect::<Vec<_>>()
        };
        *values = values.chunks_exact(3 * taps).flat_map(row).collect();
        shape[1] = 1;
        // Under the header that the file has.
        let write = |path: &Path, tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>| {
            let (_, header) = SafeTensors::read_metadata(&fs::read(path).unwrap()).unwrap();
            let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = (tensors.into_iter())
                .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
                .collect();
            let views = (bytes.iter())
                .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
            let file = safetensors::serialize(views, header.metadata().clone()).unwrap();
            fs::write(path, file).unwrap();
        };
        write(&colour_file, of_colour);
        write(&gray_file, of_gray);
        let scores = |path: &Path, images: &[f32]| {
            let scorer = Scorer::open(path, &Device::CPU, Precision::F32).unwrap();
            scorer.score(images, Keep::All).unwrap()
        };
        let (by_three, by_one) = (scores(&colour_file, &images), scores(&gray_file, &gray));
        assert_eq!((by_three.len(), by_one.len()), (2, 2));
        for (three, one) in by_three.iter().zip(&by_one) {
            let furthest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let reconstruction = furthest(&three.reconstruction, &one.reconstruction.repeat(3));
            let map = furthest(three.map.values(), one.map.values());
            assert!(
                reconstruction < 1e-5 && map < 1e-5,
                "{similarity:?}: {reconstruction}, {map}"
            );
        }
    }
}
