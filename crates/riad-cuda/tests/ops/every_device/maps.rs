//! What the maps of any number of channels are by those of one; that of three are held to the CPU's in riad-model.

use riad_cuda::{CudaError, Gpu, MapMemory, MapSettings, Planes, Precision};

use super::{assert_near, devices, download, image};

const SIZE: (usize, usize) = (21, 34);
const PIXELS: usize = SIZE.0 * SIZE.1;
const IMAGES: usize = 2;
const REGIONS: usize = 3;

fn maps(gpu: &Gpu, channels: usize, [images, found]: [&[f32]; 2], settings: MapSettings) -> Vec<f32> {
    let memory = MapMemory::new(gpu, IMAGES * REGIONS + 1, channels, SIZE, settings).unwrap();
    let [images, found] = [images, found].map(|values| gpu.upload(values).unwrap());
    let maps = gpu.buffer(IMAGES * REGIONS * PIXELS * 4).unwrap();
    gpu.gms_maps(&memory, [IMAGES, REGIONS], images.span(), found.span(), maps.span())
        .unwrap();
    download(&maps, Precision::F32)
}

/// The weighted sum of a batch's channels.
fn plane(batch: &[f32], channels: usize, share: impl Fn(usize) -> f32) -> Vec<f32> {
    let sum = |image: &[f32], pixel: usize| (0..channels).map(|c| share(c) * image[c * PIXELS + pixel]).sum();
    let images = batch.chunks_exact(channels * PIXELS);
    images
        .flat_map(|image| (0..PIXELS).map(move |pixel| sum(image, pixel)))
        .collect()
}

#[test]
fn maps_of_channels_are_the_mean_of_their_maps_or_the_map_of_their_grey_on_every_device() {
    for (gpu, channels) in devices()
        .into_iter()
        .flat_map(|gpu| [1, 2, 3, 4, 9].map(|c| (gpu.clone(), c)))
    {
        let images = image(IMAGES * channels * PIXELS, 1);
        let found = image(REGIONS * IMAGES * channels * PIXELS, 2);
        for scales in 1..=4 {
            let settings = |planes| MapSettings {
                planes,
                scales,
                smoothing: 5,
                chroma: 0.0,
            };
            let what = format!("{channels} channels, {scales} scales");
            let of_plane = |share: &dyn Fn(usize) -> f32, planes| {
                let [images, found] = [&images, &found].map(|batch| plane(batch, channels, share));
                maps(&gpu, 1, [&images, &found], settings(planes))
            };
            let mut mean = vec![0.0; REGIONS * IMAGES * PIXELS];
            for channel in 0..channels {
                let only = |c: usize| f32::from(u8::from(c == channel));
                for (mean, value) in mean.iter_mut().zip(of_plane(&only, Planes::Colours)) {
                    *mean += value / channels as f32;
                }
            }
            let colours = maps(&gpu, channels, [&images, &found], settings(Planes::Colours));
            assert_near(&colours, &mean, 1e-5, &what);

            let share = |channel: usize| match channels {
                3 => [0.299, 0.587, 0.114][channel],
                _ => 1.0 / channels as f32,
            };
            let grey = maps(&gpu, channels, [&images, &found], settings(Planes::Grey));
            assert_near(&grey, &of_plane(&share, Planes::Grey), 1e-5, &what);
            assert!(grey.iter().all(|value| (0.0..=1.0).contains(value)), "{what}");
            assert!(grey.iter().any(|value| *value > 0.01), "{what}");
        }
    }
}

/// A mean filter of one pixel leaves what the formula gives.
#[test]
fn differences_in_colour_add_their_variance_over_the_channels_on_every_device() {
    for (gpu, channels) in devices()
        .into_iter()
        .flat_map(|gpu| [1, 2, 3, 9].map(|c| (gpu.clone(), c)))
    {
        let images = image(IMAGES * channels * PIXELS, 4);
        let found = image(REGIONS * IMAGES * channels * PIXELS, 5);
        let settings = |chroma| MapSettings {
            planes: Planes::Grey,
            scales: 2,
            smoothing: 1,
            chroma,
        };
        let [without, with] = [0.0, 0.2].map(|chroma| maps(&gpu, channels, [&images, &found], settings(chroma)));
        let value = |place: usize| {
            let (of, pixel) = (place / PIXELS, place % PIXELS);
            let differences = (0..channels).map(|channel| {
                let at = |image: usize| (image * channels + channel) * PIXELS + pixel;
                f64::from(found[at(of)]) - f64::from(images[at(of % IMAGES)])
            });
            let differences: Vec<f64> = differences.collect();
            let mean = differences.iter().sum::<f64>() / channels as f64;
            let squares = differences.iter().map(|d| (d - mean) * (d - mean));
            squares.sum::<f64>() / channels as f64
        };
        let expected = without.iter().enumerate();
        let expected: Vec<f32> = expected
            .map(|(place, &without)| (without + 0.2 * value(place) as f32).clamp(0.0, 1.0))
            .collect();
        assert_near(&with, &expected, 1e-5, &format!("{channels} channels"));
    }
}

#[test]
fn maps_of_what_is_the_same_are_zero_on_every_device() {
    for (gpu, planes) in devices()
        .into_iter()
        .flat_map(|gpu| [Planes::Grey, Planes::Colours].map(|p| (gpu.clone(), p)))
    {
        let images = image(IMAGES * 5 * PIXELS, 3);
        let settings = MapSettings {
            planes,
            scales: 4,
            smoothing: 21,
            chroma: 0.0,
        };
        let found = maps(&gpu, 5, [&images, &images.repeat(REGIONS)], settings);
        assert_near(&found, &vec![0.0; found.len()], 1e-6, "maps");
    }
}

#[test]
fn maps_that_no_kernel_makes_are_refused_on_every_device() {
    for gpu in devices() {
        let good = MapSettings {
            planes: Planes::Colours,
            scales: 4,
            smoothing: 21,
            chroma: 0.0,
        };
        for (images, channels, size, settings) in [
            (1, 3, SIZE, MapSettings { scales: 0, ..good }),
            (1, 3, SIZE, MapSettings { scales: 5, ..good }),
            (1, 3, SIZE, MapSettings { smoothing: 4, ..good }),
            (
                1,
                3,
                SIZE,
                MapSettings {
                    smoothing: usize::MAX,
                    ..good
                },
            ),
            (0, 3, SIZE, good),
            (1, 0, SIZE, good),
            (1, 3, (0, 8), good),
            (usize::MAX, 3, SIZE, good),
            (1, 3, (1 << 20, 1 << 20), good),
        ] {
            let error = MapMemory::new(&gpu, images, channels, size, settings).err();
            assert!(
                matches!(error, Some(CudaError::Unsupported { .. })),
                "{images} of {channels} and {size:?}, {settings:?}: {error:?}"
            );
        }
        let memory = MapMemory::new(&gpu, 2, 3, SIZE, good).unwrap();
        let batch = gpu.buffer(6 * PIXELS * 4).unwrap();
        let of = |shape, values: usize| {
            let part = batch.part::<f32>(0, values).unwrap();
            gpu.gms_maps(&memory, shape, batch.span(), part, batch.span())
        };
        of([1, 2], 6 * PIXELS).unwrap();
        assert!(of([1, 2], 6 * PIXELS - 1).is_err() && of([1, 3], 6 * PIXELS).is_err());
        assert!(of([0, 1], 6 * PIXELS).is_err() && of([usize::MAX, 2], 6 * PIXELS).is_err());
        assert!(gpu.mean_over_regions([0, 4], batch.span(), batch.span()).is_err());
        assert!(
            gpu.mean_over_regions([usize::MAX, 4], batch.span(), batch.span())
                .is_err()
        );
    }
}
