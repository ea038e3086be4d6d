use proptest::prelude::*;
use riad_core::{
    LengthError, Map, Size,
    similarity::{Shape, SimilarityError, chroma, gms, gray, l1_loss, l2_loss, ssim},
};
use serde::Deserialize;

use crate::inputs::{assert_close, expected, images};

type Loss = fn(&[f32], &[f32], Shape, f32, Option<&mut [f32]>) -> Result<f64, SimilarityError>;

const LOSSES: [Loss; 4] = [l1_loss, l2_loss, gms::multiscale_loss, ssim::loss];

#[derive(Deserialize)]
struct LossCase {
    seed: u64,
    shape: [usize; 4],
    l1: Expected,
    l2: Expected,
    msgms: Expected,
    ssim: Expected,
    ssim_map: Vec<f64>,
}

#[derive(Deserialize)]
struct Expected {
    value: f64,
    /// Every 13th value.
    gradient: Vec<f64>,
    gradient_norm: f64,
}

impl LossCase {
    fn images(&self) -> (Vec<f32>, Vec<f32>, Shape) {
        let [images_count, channels, height, width] = self.shape;
        let recon = images(self.seed + 1, images_count * channels, height, width);
        let target = images(self.seed, images_count * channels, height, width);
        (
            target,
            recon,
            Shape {
                images: images_count,
                channels,
                size: Size::new(height, width),
            },
        )
    }
}

#[derive(Deserialize)]
struct ChromaCase {
    seed: u64,
    channels: usize,
    height: usize,
    width: usize,
    map: Vec<f64>,
}

#[test]
fn differences_in_colour_are_numpys_variance_over_the_channels() {
    for case in expected::<ChromaCase>("chroma_maps") {
        let ChromaCase {
            seed,
            channels,
            height,
            width,
            map,
        } = case;
        let shape = Shape {
            images: 1,
            channels,
            size: Size::new(height, width),
        };
        let [target, recon] = [seed, seed + 1].map(|seed| images(seed, channels, height, width));
        let found = chroma::map(&target, &recon, shape).unwrap();
        assert_close(found.into_values(), &map, 1e-6);
    }
}

proptest! {
    /// Light is no colour.
    #[test]
    fn what_is_brighter_in_every_channel_does_not_differ_in_colour(channels in 1usize..6, by in -0.5f32..0.5) {
        let shape = Shape { images: 1, channels, size: Size::new(3, 4) };
        let image = images(9, channels, 3, 4);
        let brighter: Vec<f32> = image.iter().map(|value| value + by).collect();
        let map = chroma::map(&image, &brighter, shape).unwrap();
        prop_assert!(map.values().iter().all(|&value| value < 1e-6), "{:?}", map);
    }
}

#[test]
fn losses_and_gradients_equal_pytorch() {
    for case in expected::<LossCase>("losses") {
        let (target, recon, shape) = case.images();
        let losses: [(Loss, &Expected); 4] = [
            (l1_loss, &case.l1),
            (l2_loss, &case.l2),
            (gms::multiscale_loss, &case.msgms),
            (ssim::loss, &case.ssim),
        ];
        for (loss, expected) in losses {
            let value = loss(&target, &recon, shape, 1.0, None).unwrap();
            assert!(
                (value - expected.value).abs() < 1e-6,
                "{value} is not {}",
                expected.value
            );

            let mut grad = vec![0.0; target.len()];
            assert_eq!(loss(&target, &recon, shape, 1.0, Some(&mut grad)), Ok(value));
            let largest = grad.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            assert_close(
                grad.iter().copied().step_by(13),
                &expected.gradient,
                1e-4 * f64::from(largest),
            );
            let norm = grad.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            assert!(
                (norm / expected.gradient_norm - 1.0).abs() < 1e-4,
                "{norm} is not {}",
                expected.gradient_norm
            );
        }
    }
}

#[test]
fn ssim_maps_equal_scikit_image() {
    for case in expected::<LossCase>("losses") {
        let (target, recon, shape) = case.images();
        let of_one = Shape { images: 1, ..shape };
        let pairs = target.chunks(of_one.image_len()).zip(recon.chunks(of_one.image_len()));
        let maps = pairs.flat_map(|(target, recon)| ssim::map(target, recon, of_one).unwrap().into_values());
        assert_close(maps.step_by(3), &case.ssim_map, 2e-5);
    }
}

#[test]
fn gms_maps_equal_pytorch() {
    #[derive(Deserialize)]
    struct Maps {
        seed: u64,
        height: usize,
        width: usize,
        /// By the number of scales, from 1.
        maps: Vec<Vec<f64>>,
    }
    for case in expected::<Maps>("gray_maps") {
        let [target, recon] = [0, 1].map(|offset| {
            let values = images(case.seed + offset, 1, case.height, case.width);
            Map::new(Size::new(case.height, case.width), values).unwrap()
        });
        assert_eq!(case.maps.len(), gms::SCALES);
        for (scales, expected) in (1..).zip(&case.maps) {
            let map = gms::map(target.clone(), recon.clone(), scales).unwrap();
            assert_close(map.into_values(), expected, 1e-5);
        }
    }
}

/// Two random images of a shape that SSIM accepts.
fn pairs() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, Shape)> {
    (1usize..3, 1usize..6, 11usize..20, 11usize..20).prop_flat_map(|(images, channels, height, width)| {
        let shape = Shape {
            images,
            channels,
            size: Size::new(height, width),
        };
        let values = || prop::collection::vec(0.0f32..=1.0, shape.batch_len());
        (values(), values(), Just(shape))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Along a random direction, where rounding averages out: f(x + h d) - f(x - h d) against 2 h (gradient . d).
    #[test]
    fn gradients_equal_finite_differences((target, recon, shape) in pairs(), seed in 0u64..1000) {
        let direction: Vec<f32> =
            images(seed, shape.images * shape.channels, shape.size.height, shape.size.width).iter().map(|v| v - 0.5).collect();
        // Where a gradient magnitude is near 0, GMS bends within 1/1000.
        const STEP: f32 = 1.0 / 8192.0;
        let moved = |step: f32| -> Vec<f32> { recon.iter().zip(&direction).map(|(v, d)| v + step * d).collect() };
        // L1 has kinks that a finite step crosses; PyTorch's gradient is its judge.
        for loss in [l2_loss as Loss, gms::multiscale_loss, ssim::loss] {
            let mut grad = vec![0.0; recon.len()];
            loss(&target, &recon, shape, 1.0, Some(&mut grad)).unwrap();
            let slope: f64 = grad.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            let [above, below] = [STEP, -STEP].map(|step| loss(&target, &moved(step), shape, 1.0, None).unwrap());
            let difference = (above - below) / (2.0 * f64::from(STEP));
            let size: f64 = grad.iter().zip(&direction).map(|(g, d)| f64::from((g * d).abs())).sum();
            prop_assert!((slope - difference).abs() < 0.01 * size + 1e-5, "{slope} is not {difference}, of {size}");
        }
    }

    #[test]
    fn a_weight_scales_the_gradient_and_adds_it((target, recon, shape) in pairs()) {
        for loss in LOSSES {
            let mut once = vec![0.0; recon.len()];
            let value = loss(&target, &recon, shape, 1.0, Some(&mut once)).unwrap();
            let mut weighted = vec![1.0; recon.len()];
            prop_assert_eq!(loss(&target, &recon, shape, -2.0, Some(&mut weighted)).unwrap(), value);
            let largest = once.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            for (once, weighted) in once.iter().zip(&weighted) {
                prop_assert!((1.0 - 2.0 * once - weighted).abs() <= 1e-6 * (1.0 + largest));
            }
        }
    }

    #[test]
    fn gms_is_symmetric_and_within_its_range((target, recon, shape) in pairs()) {
        let [target_gray, recon_gray] = [&target, &recon].map(|images| {
            let mut gray = gray(images, shape).unwrap();
            gray.truncate(shape.plane_len());
            Map::new(shape.size, gray).unwrap()
        });
        for scales in 1..=gms::SCALES {
            let map = |left: &Map, right: &Map| gms::map(left.clone(), right.clone(), scales).unwrap();
            let similarity = map(&target_gray, &recon_gray);
            prop_assert!(similarity.values().iter().all(|&value| value > 0.0 && value <= 1.0));
            prop_assert_eq!(similarity, map(&recon_gray, &target_gray));
            prop_assert!(map(&target_gray, &target_gray).values().iter().all(|&value| value == 1.0));
        }
    }

    #[test]
    fn equal_images_have_no_loss_and_no_gradient((target, _, shape) in pairs()) {
        for loss in [l1_loss as Loss, l2_loss, gms::multiscale_loss] {
            let mut grad = vec![0.0; target.len()];
            prop_assert_eq!(loss(&target, &target, shape, 1.0, Some(&mut grad)), Ok(0.0));
            prop_assert!(grad.iter().all(|&value| value == 0.0));
        }
        let mut grad = vec![0.0; target.len()];
        prop_assert!(ssim::loss(&target, &target, shape, 1.0, Some(&mut grad)).unwrap().abs() < 1e-6);
        prop_assert!(grad.iter().all(|&value| value.abs() < 1e-5));
    }

    #[test]
    fn losses_do_not_depend_on_the_number_of_threads((target, recon, shape) in pairs()) {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                LOSSES.map(|loss| {
                    let mut grad = vec![0.0; recon.len()];
                    (loss(&target, &recon, shape, 1.0, Some(&mut grad)), grad)
                })
            })
        };
        prop_assert_eq!(run(1), run(3));
    }
}

/// The public implementations divide by zero here.
#[test]
fn flat_images_have_finite_gradients() {
    let shape = Shape {
        images: 1,
        channels: 3,
        size: Size::new(16, 16),
    };
    let (target, recon) = (images(1, 3, 16, 16), vec![0.5; shape.batch_len()]);
    for (target, recon) in [(&target, &recon), (&recon, &target), (&recon, &recon)] {
        for loss in [gms::multiscale_loss as Loss, ssim::loss] {
            let mut grad = vec![0.0; shape.batch_len()];
            assert!(loss(target, recon, shape, 1.0, Some(&mut grad)).unwrap().is_finite());
            assert!(grad.iter().all(|value| value.is_finite()));
        }
    }
}

/// A step edge is seen where it is, wherever in the image. A coarse scale can only say in which of its cells an edge
/// lies, hence means over eight neighbouring positions.
#[test]
fn scales_lie_on_top_of_each_other() {
    for width in [96, 91] {
        let centre = |edge: usize| {
            let step: Vec<f32> = (0..32 * width)
                .map(|index| if index % width < edge { 0.2 } else { 0.8 })
                .collect();
            let size = Size::new(32, width);
            let step = Map::new(size, step).unwrap();
            let map = gms::map(step.clone(), Map::filled(size, 0.5), gms::SCALES).unwrap();
            let row = &map.values()[16 * width..][..width];
            let weighted = |(x, value): (usize, &f32)| (x as f32 + 0.5) * (1.0 - value);
            let dissimilarity: f32 = row.iter().map(|value| 1.0 - value).sum();
            row.iter().enumerate().map(weighted).sum::<f32>() / dissimilarity
        };
        for first in (16..width - 24).step_by(8) {
            let shift = (first..first + 8).map(|edge| centre(edge) - edge as f32).sum::<f32>() / 8.0;
            assert!(
                shift.abs() < 0.1,
                "edges from {first} of {width} on are seen {shift} pixels off"
            );
        }
    }
}

#[test]
fn gray_keeps_its_range_and_weights_colours_as_rec_601() {
    let gray = |images: &[f32], channels| {
        let shape = Shape {
            images: 2,
            channels,
            size: Size::new(1, 2),
        };
        gray(images, shape).unwrap()
    };
    let rgb = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0];
    assert_close(gray(&rgb, 3), &[0.299, 0.587, 0.114, 1.0], 1e-6);
    assert_eq!(gray(&[0.1, 0.2, 0.3, 0.4], 1), [0.1, 0.2, 0.3, 0.4]);
    assert_eq!(
        gray(&[0.0, 0.2, 1.0, 0.4, 0.5, 0.5, 0.25, 0.75], 2),
        [0.5, 0.3, 0.375, 0.625]
    );
}

proptest! {
    /// Channels other than R, G and B count equally: their order does not matter, and a plane five times is that plane.
    #[test]
    fn lights_count_equally((target, recon, shape) in pairs()) {
        prop_assume!(shape.channels != 3);
        let turned = |images: &[f32]| -> Vec<f32> {
            let images = images.chunks(shape.image_len());
            images.flat_map(|image| image.chunks(shape.plane_len()).rev().flatten().copied()).collect()
        };
        for loss in LOSSES {
            let [straight, reversed] = [
                loss(&target, &recon, shape, 1.0, None).unwrap(),
                loss(&turned(&target), &turned(&recon), shape, 1.0, None).unwrap(),
            ];
            prop_assert!((straight - reversed).abs() < 1e-6, "{straight} is not {reversed}");
        }
        let of_plane = Shape { images: 1, channels: 1, ..shape };
        let repeated = Shape { channels: 5, ..of_plane };
        let [target, recon] = [&target, &recon].map(|images| images[..shape.plane_len()].to_vec());
        for loss in LOSSES {
            let [once, five_times] = [
                loss(&target, &recon, of_plane, 1.0, None).unwrap(),
                loss(&target.repeat(5), &recon.repeat(5), repeated, 1.0, None).unwrap(),
            ];
            prop_assert!((once - five_times).abs() < 1e-6, "{once} is not {five_times}");
        }
    }
}

#[test]
fn ssim_refuses_images_smaller_than_its_window() {
    for size in [Size::new(10, 11), Size::new(11, 10), Size::new(1, 1)] {
        let shape = Shape {
            images: 1,
            channels: 1,
            size,
        };
        let image = vec![0.0; shape.batch_len()];
        let error = SimilarityError::TooSmall {
            size,
            window: ssim::WINDOW,
        };
        assert_eq!(ssim::loss(&image, &image, shape, 1.0, None), Err(error));
        assert_eq!(ssim::map(&image, &image, shape), Err(error));
    }
}

#[test]
fn lengths_that_contradict_the_shape_are_refused() {
    let shape = Shape {
        images: 2,
        channels: 4,
        size: Size::new(11, 12),
    };
    let whole = vec![0.5; shape.batch_len()];
    let wrong = |what, got| {
        Err(SimilarityError::Length(LengthError {
            what,
            got,
            expected: whole.len(),
        }))
    };
    for got in [0, 1, whole.len() - 1] {
        for loss in LOSSES {
            assert_eq!(loss(&whole[..got], &whole, shape, 1.0, None), wrong("the target", got));
            assert_eq!(
                loss(&whole, &whole[..got], shape, 1.0, None),
                wrong("the reconstruction", got)
            );
            let mut grad = vec![0.0; got];
            assert_eq!(
                loss(&whole, &whole, shape, 1.0, Some(&mut grad)),
                wrong("the gradient", got)
            );
        }
        assert_eq!(
            gray(&whole[..got], shape).err(),
            wrong("the batch of images", got).err()
        );
        assert_eq!(
            ssim::map(&whole[..got], &whole, shape).err(),
            wrong("the target", got).err()
        );
    }
    let several = SimilarityError::OneImage { images: 2 };
    assert_eq!(ssim::map(&whole, &whole, shape), Err(several));
}

#[test]
fn shapes_that_no_images_have_are_refused() {
    let shape = |images, channels, height, width| Shape {
        images,
        channels,
        size: Size::new(height, width),
    };
    for empty in [(0, 3, 16, 16), (2, 0, 16, 16), (2, 3, 0, 16), (2, 3, 16, 0)] {
        let shape = shape(empty.0, empty.1, empty.2, empty.3);
        let error = SimilarityError::Empty { shape };
        for loss in LOSSES {
            assert_eq!(loss(&[], &[], shape, 1.0, None), Err(error));
        }
        assert_eq!(gray(&[], shape), Err(error));
        assert_eq!(ssim::map(&[], &[], shape), Err(error));
    }
    // Products that a usize cannot hold, some of which would wrap around to 0 or to the length of the slices.
    for huge in [
        (1, 3, 1 << 62, 16),
        (1 << 62, 4, 1, 1),
        (1, 1 << 60, 4, 4),
        (usize::MAX, usize::MAX, usize::MAX, usize::MAX),
        (1, 1, (1 << 62) + 1, 4),
    ] {
        let shape = shape(huge.0, huge.1, huge.2, huge.3);
        for loss in LOSSES {
            let error = loss(&[0.0; 4], &[0.0; 4], shape, 1.0, None);
            assert!(matches!(error, Err(SimilarityError::Length(_))), "{shape:?}: {error:?}");
        }
        assert!(gray(&[0.0; 4], shape).is_err());
        assert!(ssim::map(&[0.0; 4], &[0.0; 4], shape).is_err());
    }
}

#[test]
fn maps_that_cannot_be_compared_are_refused() {
    let [map, turned, empty] = [Size::new(4, 6), Size::new(6, 4), Size::new(0, 4)].map(|size| Map::filled(size, 0.5));
    assert_eq!(
        gms::map(map.clone(), turned.clone(), 1),
        Err(SimilarityError::Sizes {
            target: map.size(),
            recon: turned.size()
        })
    );
    assert!(matches!(
        gms::map(empty.clone(), empty.clone(), 1),
        Err(SimilarityError::Empty { .. })
    ));
    for scales in [0, gms::SCALES + 1, usize::MAX] {
        assert_eq!(
            gms::map(map.clone(), map.clone(), scales),
            Err(SimilarityError::Scales { scales })
        );
    }
}

/// The loss is the same to the bit, so that a training's record does not change.
#[test]
fn a_loss_of_weight_0_adds_nothing_and_is_the_same() {
    for channels in [1, 3, 4] {
        let shape = Shape {
            images: 2,
            channels,
            size: Size::new(37, 26),
        };
        let [target, mut recon] = [1, 2].map(|seed| images(seed, 2 * channels, 37, 26));
        for loss in LOSSES {
            let mut gradient = vec![0.0; target.len()];
            let weighted = loss(&target, &recon, shape, 1.0, Some(&mut gradient)).unwrap();
            let mut untouched = vec![0.25; target.len()];
            let unweighted = loss(&target, &recon, shape, 0.0, Some(&mut untouched)).unwrap();
            assert_eq!(unweighted.to_bits(), weighted.to_bits());
            assert!(untouched.iter().all(|value| *value == 0.25));
        }
        // The gradient of a value that is not finite is none either.
        recon[40] = f32::NAN;
        for loss in LOSSES {
            let mut untouched = vec![0.25; target.len()];
            assert!(
                loss(&target, &recon, shape, 0.0, Some(&mut untouched))
                    .unwrap()
                    .is_nan()
            );
            assert!(untouched.iter().all(|value| *value == 0.25));
        }
    }
}
