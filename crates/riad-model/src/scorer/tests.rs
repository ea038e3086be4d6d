//! Scores depend on what they should, at any size.

use super::*;
use crate::{Architecture, Tiling, Weights, plan::CpuPlan, tests::filled_weights};

#[test]
fn a_score_depends_on_the_checkpoint_and_the_image_alone() {
    for (height, width) in [(32, 48), (37, 50)] {
        let scoring = ScoringSettings {
            height,
            width,
            region_sizes: vec![2, 5, 16],
            ..Default::default()
        };
        let weights = Weights::initial(Architecture::u_net(4), 1);
        let scorer = Scorer::new(
            &Checkpoint::new(weights, scoring, None, None),
            &Device::Cpu,
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
                (scored.map.len(), scored.reconstruction.len()),
                (height * width, image_len)
            );
            assert_eq!(scored.score, scored.map.iter().copied().fold(f32::MIN, f32::max));
            assert!(scored.map.iter().all(|v| (0.0..=1.0).contains(v)));
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
fn a_normal_map_is_taken_off_every_map() {
    let size = 32;
    let scoring = ScoringSettings {
        height: size,
        width: size,
        smoothing: 3,
        ..Default::default()
    };
    let weights = Weights::initial(Architecture::u_net(2), 1);
    let mut checkpoint = Checkpoint::new(weights, scoring, None, None);
    let image: Vec<f32> = (0..CHANNELS * size * size)
        .map(|i| 0.5 + 0.5 * (i as f32 * 0.7).sin())
        .collect();
    let score = |checkpoint: &Checkpoint| {
        let scorer = Scorer::new(checkpoint, &Device::Cpu, Precision::F32).unwrap();
        scorer.score(&image, Keep::All).unwrap().remove(0)
    };
    let plain = score(&checkpoint);
    checkpoint.normal_map = Some((0..size * size).map(|i| 0.3 + 0.5 * (i % 2) as f32).collect());
    let less = score(&checkpoint);
    assert_eq!(less.region_maps, plain.region_maps);
    let expected: Vec<f32> = (plain.map.iter().enumerate())
        .map(|(i, value)| value - if i % 2 == 0 { 0.3 } else { 0.8 })
        .collect();
    assert_eq!(less.map, expected);
    assert_eq!(less.score, expected.iter().copied().fold(f32::MIN, f32::max));
    // Below what is normal everywhere, and still ranked.
    checkpoint.normal_map = Some(vec![1.0; size * size]);
    assert_eq!(score(&checkpoint).score, plain.score - 1.0);
}

/// A scorer of tiles of 32×48 that overlap by 8, and one of whole images of that size.
fn with_and_without_tiles() -> [Scorer; 2] {
    [Some(Tiling { overlap: 8 }), None].map(|tiling| {
        let scoring = ScoringSettings {
            height: 32,
            width: 48,
            tiling,
            smoothing: 5,
            ..Default::default()
        };
        let weights = Weights::initial(Architecture::u_net(2), 1);
        Scorer::new(
            &Checkpoint::new(weights, scoring, None, None),
            &Device::Cpu,
            Precision::F32,
        )
        .unwrap()
    })
}

#[test]
fn an_image_of_one_tile_is_scored_as_without_tiles() {
    let [tiled, plain] = with_and_without_tiles();
    let image: Vec<f32> = (0..CHANNELS * 32 * 48)
        .map(|i| 0.5 + 0.5 * (i as f32 * 0.013).sin())
        .collect();
    let expected = plain.score(&image, Keep::All).unwrap().remove(0);
    assert_eq!(tiled.score_image(&image, 32, 48, Keep::All).unwrap(), expected);
    assert_eq!(plain.score_image(&image, 32, 48, Keep::All).unwrap(), expected);
    for scorer in [&tiled, &plain] {
        let Scored {
            score,
            map,
            region_maps,
            reconstruction,
        } = scorer.score_image(&image, 32, 48, Keep::Map).unwrap();
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
    let whole = tiled.score_image(&image, height, width, Keep::All).unwrap();
    assert_eq!(whole.score, whole.map.iter().copied().fold(f32::MIN, f32::max));
    assert_eq!(whole.region_maps.len(), 4);
    // The corners belong to one tile each.
    let corner: Vec<f32> = (0..CHANNELS * 32)
        .flat_map(|row| &image[(row / 32 * height + row % 32) * width..][..48])
        .copied()
        .collect();
    let corner = plain.score(&corner, Keep::All).unwrap().remove(0);
    for y in 0..19 {
        assert_eq!(whole.map[y * width..][..20], corner.map[y * 48..][..20]);
        assert_eq!(
            whole.region_maps[2][y * width..][..20],
            corner.region_maps[2][y * 48..][..20]
        );
        assert_eq!(
            whole.reconstruction[y * width..][..20],
            corner.reconstruction[y * 48..][..20]
        );
    }
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let again = single.install(|| tiled.score_image(&image, height, width, Keep::All).unwrap());
    assert_eq!(again, whole);
    let map_only = tiled.score_image(&image, height, width, Keep::Map).unwrap();
    assert_eq!((map_only.map, map_only.score), (whole.map, whole.score));

    assert!(matches!(
        plain.score_image(&image, height, width, Keep::Map),
        Err(ModelError::Length { .. })
    ));
    assert!(matches!(
        tiled.score_image(&image, width, height - 1, Keep::Map),
        Err(ModelError::Length { .. })
    ));
    let low = &image[..CHANNELS * 31 * width];
    assert!(matches!(
        tiled.score_image(low, 31, width, Keep::Map),
        Err(ModelError::Setting(_))
    ));
    let mut broken = image;
    broken[9] = f32::NAN;
    assert!(matches!(
        tiled.score_image(&broken, height, width, Keep::Map),
        Err(ModelError::Overflow)
    ));
}

#[test]
fn what_is_outside_of_the_region_of_interest_does_not_count() {
    let (height, width) = (70, 101);
    let image: Vec<f32> = (0..CHANNELS * height * width)
        .map(|i| 0.5 + 0.5 * (i as f32 * 0.013).sin())
        .collect();
    let inside = (0..height * width).map(|i| i / width >= 40 && i % width < 60);
    let roi = Roi::new(height, width, inside.collect()).unwrap();
    let [mut tiled, mut plain] = with_and_without_tiles();
    let all = tiled.score_image(&image, height, width, Keep::Map).unwrap();
    tiled.roi = Some(roi.clone());
    let part = tiled.score_image(&image, height, width, Keep::Map).unwrap();
    let mut expected = f32::MIN;
    for ((value, of_all), inside) in part.map.iter().zip(&all.map).zip(roi.inside()) {
        assert_eq!(*value, if *inside { *of_all } else { Roi::OUTSIDE });
        expected = if *inside { expected.max(*of_all) } else { expected };
    }
    assert_eq!(part.score, expected);
    assert!(part.score < all.score, "the maximum is to be outside");
    assert!(matches!(
        tiled.score(&image[..CHANNELS * 32 * 48], Keep::All),
        Err(ModelError::Setting(_))
    ));
    let low = &image[..CHANNELS * 69 * width];
    assert!(matches!(
        tiled.score_image(low, 69, width, Keep::Map),
        Err(ModelError::Setting(_))
    ));

    let image = &image[..CHANNELS * 32 * 48];
    let all = plain.score(image, Keep::All).unwrap().remove(0);
    plain.roi = Some(Roi::new(32, 48, (0..32 * 48).map(|i| i % 48 >= 40).collect()).unwrap());
    let part = plain.score(image, Keep::All).unwrap().remove(0);
    assert_eq!(part.region_maps, all.region_maps);
    assert_eq!((part.map[40], part.map[39]), (all.map[40], Roi::OUTSIDE));

    assert!(matches!(Roi::new(2, 2, vec![false; 4]), Err(ModelError::Setting(_))));
    assert!(matches!(Roi::new(2, 2, vec![true; 5]), Err(ModelError::Length { .. })));
    assert_eq!(Roi::new(2, 2, vec![true, false, false, false]).unwrap().share(), 0.25);
}

#[test]
fn tiles_have_no_normal_map_and_an_overlap_within_reach() {
    let scoring = |overlap| ScoringSettings {
        height: 32,
        width: 48,
        tiling: Some(Tiling { overlap }),
        ..Default::default()
    };
    assert!(scoring(16).check().is_ok() && scoring(0).check().is_ok());
    assert!(scoring(17).check().is_err());
    let weights = Weights::initial(Architecture::u_net(2), 1);
    let mut checkpoint = Checkpoint::new(weights, scoring(8), None, None);
    checkpoint.normal_map = Some(vec![0.1; 32 * 48]);
    assert!(matches!(
        Scorer::new(&checkpoint, &Device::Cpu, Precision::F32),
        Err(ModelError::Setting(_))
    ));
}

/// With as many digits, a product that is off by 2⁻⁹ of itself on either side is noise to a map, and a wrong channel is not.
#[test]
fn bf16_maps_are_near_those_in_f32() {
    if Precision::Bf16.check_on_cpu().is_err() {
        eprintln!("skipped: this machine has no bf16");
        return;
    }
    let scoring = ScoringSettings::for_size(48, 64);
    let checkpoint = Checkpoint::new(filled_weights(16), scoring, None, None);
    let image: Vec<f32> = (0..CHANNELS * 48 * 64)
        .map(|i| 0.5 + 0.3 * (i as f32 * 0.011).sin() + 0.2 * (i as f32 * 0.7).sin())
        .collect();
    let [f32, bf16] = [Precision::F32, Precision::Bf16].map(|precision| {
        let scorer = Scorer::new(&checkpoint, &Device::Cpu, precision).unwrap();
        scorer.score(&[&image[..], &image[..]].concat(), Keep::All).unwrap()
    });
    assert_eq!(bf16[0], bf16[1]);
    assert_ne!(bf16[0], f32[0]);
    let furthest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let (reconstruction, map) = (
        furthest(&bf16[0].reconstruction, &f32[0].reconstruction),
        furthest(&bf16[0].map, &f32[0].map),
    );
    assert!(reconstruction < 0.02 && map < 0.02, "{reconstruction}, {map}");
}

/// Its reconstruction is the network's output for the image itself, and every similarity sees that it is not the image.
#[test]
fn an_autoencoder_sees_the_whole_image_once() {
    let size = 32;
    let weights = Weights::initial(Architecture::autoencoder(4), 1);
    let image: Vec<f32> = (0..CHANNELS * size * size)
        .map(|i| 0.5 + 0.5 * (i as f32 * 0.7).sin())
        .collect();
    let normalised: Vec<f32> = (0..image.len())
        .map(|i| 2.0 * image[i % CHANNELS * size * size + i / CHANNELS] - 1.0)
        .collect();
    let output = CpuPlan::new(&weights, riad_conv::Precision::F32)
        .and_then(|plan| plan.run(&normalised, 1, size, size))
        .unwrap();
    for similarity in [
        Similarity::GmsGrey,
        Similarity::GmsColour,
        Similarity::Ssim,
        Similarity::L2,
    ] {
        let scoring = ScoringSettings {
            region_sizes: vec![],
            similarity,
            ..ScoringSettings::for_size(size, size)
        };
        let scorer = Scorer::new(
            &Checkpoint::new(weights.clone(), scoring, None, None),
            &Device::Cpu,
            Precision::F32,
        )
        .unwrap();
        let scored = scorer.score(&image, Keep::All).unwrap().remove(0);
        assert_eq!(scored.region_maps, std::slice::from_ref(&scored.map));
        assert!(scored.map.iter().all(|v| (0.01..=1.0).contains(v)), "{similarity:?}");
        for (i, value) in output.iter().enumerate() {
            let planar = i % CHANNELS * size * size + i / CHANNELS;
            assert!((scored.reconstruction[planar] - (0.5 + 0.5 * value)).abs() < 1e-6);
        }
    }
}

#[test]
fn colour_edges_are_grey_ones_without_colour_and_see_more_with_it() {
    let size = (32, 32);
    let grey: Vec<f32> = (0..size.0 * size.1)
        .map(|i| 0.5 + 0.4 * (i as f32 * 0.3).sin())
        .collect();
    let (image, blurred) = (
        grey.repeat(CHANNELS),
        grey.iter().map(|v| 0.3 + 0.4 * v).collect::<Vec<_>>(),
    );
    let [by_luma, by_channel] = [Similarity::GmsGrey, Similarity::GmsColour]
        .map(|similarity| similarity_map(&image, &blurred.repeat(CHANNELS), size, similarity, 4).unwrap());
    for (a, b) in by_luma.iter().zip(&by_channel) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    // A stain of the same luma: more red for less blue.
    let mut stained = image.clone();
    for y in 10..20 {
        for x in 10..20 {
            stained[y * size.1 + x] += 0.3;
            stained[2 * grey.len() + y * size.1 + x] -= 0.3 * 0.299 / 0.114;
        }
    }
    let sum = |similarity| -> f32 {
        similarity_map(&image, &stained, size, similarity, 4)
            .unwrap()
            .iter()
            .map(|v| 1.0 - v)
            .sum()
    };
    assert!(sum(Similarity::GmsColour) > 20.0 * sum(Similarity::GmsGrey));
}
