//! What the loss of any number of channels is by the loss of one; that of three is held to the CPU's in riad-model.

use riad_cuda::{CudaError, Gpu, LossMemory, TERMS, Weights};

use super::{assert_near, devices, download, image};

const SIZES: [(usize, usize); 3] = [(11, 11), (17, 12), (20, 37)];
const COUNT: usize = 2;

const NONE: Weights = Weights {
    l2: 0.0,
    l1: 0.0,
    ssim: 0.0,
    msgms: 0.0,
};

/// The loss's terms and its gradient. The memory is for more images than there are.
fn loss(
    gpu: &Gpu,
    channels: usize,
    size: (usize, usize),
    [images, found]: [&[f32]; 2],
    weights: Weights,
) -> (Vec<f64>, Vec<f32>) {
    let memory = LossMemory::new(gpu, COUNT + 1, channels, size).unwrap();
    assert!(
        memory
            .terms()
            .read::<f64>(0, TERMS)
            .unwrap()
            .iter()
            .all(|term| term.is_nan())
    );
    let gradient = gpu.buffer(size_of_val(images)).unwrap();
    let [images, found] = [images, found].map(|values| gpu.upload(values).unwrap());
    gpu.loss(&memory, COUNT, images.span(), found.span(), weights, gradient.span())
        .unwrap();
    let terms = memory.terms().read(0, TERMS).unwrap();
    (terms, download(&gradient, riad_cuda::Precision::F32))
}

/// The planes of one channel of a batch, or the batch's grey.
fn plane(batch: &[f32], channels: usize, pixels: usize, share: impl Fn(usize) -> f32) -> Vec<f32> {
    let grey = |image: &[f32], pixel: usize| (0..channels).map(|c| share(c) * image[c * pixels + pixel]).sum();
    let images = batch.chunks_exact(channels * pixels);
    images
        .flat_map(|image| (0..pixels).map(move |pixel| grey(image, pixel)))
        .collect()
}

fn share_of_grey(channel: usize, channels: usize) -> f32 {
    match channels {
        3 => [0.299, 0.587, 0.114][channel],
        _ => 1.0 / channels as f32,
    }
}

#[test]
fn a_loss_is_the_mean_over_channels_and_that_of_their_grey_on_every_device() {
    for (gpu, size) in devices()
        .into_iter()
        .flat_map(|gpu| SIZES.map(|size| (gpu.clone(), size)))
    {
        let pixels = size.0 * size.1;
        for channels in [1, 2, 3, 4, 7] {
            let what = format!("{channels} channels of {size:?}");
            let [images, found] = [1, 2].map(|seed| image(COUNT * channels * pixels, seed));
            let weights = Weights {
                l2: 0.3,
                l1: 0.2,
                ssim: 1.0,
                msgms: 0.7,
            };
            let (terms, gradient) = loss(&gpu, channels, size, [&images, &found], weights);

            let mut expected = [0.0; TERMS];
            let mut by_pixel = vec![0.0; gradient.len()];
            let of_pixels = Weights { msgms: 0.0, ..weights };
            let grey = [&images, &found].map(|batch| plane(batch, channels, pixels, |c| share_of_grey(c, channels)));
            let of_grey = Weights { msgms: 0.7, ..NONE };
            let (grey_terms, grey_gradient) = loss(&gpu, 1, size, [&grey[0], &grey[1]], of_grey);
            expected[3] = grey_terms[3];
            for channel in 0..channels {
                let alone = [&images, &found]
                    .map(|batch| plane(batch, channels, pixels, |c| f32::from(u8::from(c == channel))));
                let (terms, gradient) = loss(&gpu, 1, size, [&alone[0], &alone[1]], of_pixels);
                for (expected, term) in expected.iter_mut().zip(&terms[..3]) {
                    *expected += term / channels as f64;
                }
                for (at, by_value) in gradient.iter().enumerate() {
                    let place = (at / pixels * channels + channel) * pixels + at % pixels;
                    by_pixel[place] = by_value / channels as f32 + share_of_grey(channel, channels) * grey_gradient[at];
                }
            }
            expected[4] = 0.3 * expected[0] + 0.2 * expected[1] + expected[2] + 0.7 * expected[3];
            for (found, expected) in terms.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{what}: {terms:?}, not {expected:?}");
            }
            let largest = by_pixel.iter().fold(0f32, |most, value| most.max(value.abs()));
            assert_near(&gradient, &by_pixel, 1e-4 * largest, &what);
        }
    }
}

/// SSIM of planes without contrast is `(2ab + c) / (a² + b² + c)`, and GMS 1.
#[test]
fn the_loss_of_even_images_is_known_on_every_device() {
    for gpu in devices() {
        for channels in [1, 5] {
            let values = COUNT * channels * 12 * 13;
            let (a, b) = (0.25f32, 0.5f32);
            let (terms, _) = loss(&gpu, channels, (12, 13), [&vec![a; values], &vec![b; values]], NONE);
            let ssim = 1.0 - (2.0 * 0.125 + 1e-4) / (0.0625 + 0.25 + 1e-4);
            for (found, expected) in terms.iter().zip([0.0625, 0.25, ssim, 0.0, 0.0]) {
                assert!((found - expected).abs() < 1e-4, "{channels} channels: {terms:?}");
            }
        }
    }
}

#[test]
fn a_gradient_is_what_the_loss_changes_by_on_every_device() {
    for gpu in devices() {
        for channels in [1, 3, 4] {
            let (size, step) = ((14, 19), 1e-3);
            let values = COUNT * channels * size.0 * size.1;
            let [images, found, direction] = [1, 2, 3].map(|seed| image(values, seed));
            let weights = Weights {
                l2: 1.0,
                l1: 0.0,
                ssim: 1.0,
                msgms: 1.0,
            };
            let moved = |by: f32| -> Vec<f32> { found.iter().zip(&direction).map(|(v, d)| v + by * d).collect() };
            let total = |found: Vec<f32>| loss(&gpu, channels, size, [&images, &found], weights).0[4];
            let slope = (total(moved(step)) - total(moved(-step))) / f64::from(2.0 * step);
            let (_, gradient) = loss(&gpu, channels, size, [&images, &found], weights);
            let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
            assert!(
                (slope - expected).abs() < 5e-3 * expected.abs(),
                "{channels} channels: {slope} and {expected}"
            );
        }
    }
}

#[test]
fn batches_that_no_kernel_counts_are_refused_on_every_device() {
    for gpu in devices() {
        for (images, channels, size) in [
            (1, 3, (10, 64)),
            (1, 3, (64, 0)),
            (0, 3, (64, 64)),
            (1, 0, (64, 64)),
            (1, 65536, (11, 11)),
            (usize::MAX, 3, (11, 11)),
            (1, 3, (usize::MAX, 11)),
            (1, 3, (1 << 20, 1 << 20)),
        ] {
            let error = LossMemory::new(&gpu, images, channels, size).err();
            assert!(
                matches!(error, Some(CudaError::Unsupported { .. })),
                "{images} of {channels} and {size:?}: {error:?}"
            );
        }
        let memory = LossMemory::new(&gpu, 1, 2, (11, 11)).unwrap();
        let batch = gpu.buffer(2 * 2 * 121 * 4).unwrap();
        let of = |count: usize, values: usize| {
            let part = batch.part::<f32>(0, values).unwrap();
            gpu.loss(&memory, count, part, batch.span(), NONE, batch.span())
        };
        of(1, 242).unwrap();
        assert!(of(1, 241).is_err() && of(2, 484).is_err() && of(0, 242).is_err());
    }
}
