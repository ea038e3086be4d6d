use riad_cuda::{Buffer, Copies, CudaError, Gpu, Precision, padded_channels};

use super::{assert_near, devices, download, image, noise, rounded, upload};

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];
const NORMALISATION: [f32; 2] = [0.45, 0.55];

/// Channels that go in and that come out: as many as fill a group of eight, fewer, more, and not as many.
const CHANNELS: [[usize; 2]; 6] = [[1, 1], [3, 3], [1, 3], [4, 2], [8, 9], [17, 16]];

/// Three images of two sources, and the sizes are no multiples of anything.
fn shape([inputs, outputs]: [usize; 2], hides: bool) -> Copies {
    Copies {
        images: 3,
        sources: 2,
        copies: if hides { 4 } else { 1 },
        inputs,
        outputs,
        size: (5, 7),
        padded: (16, 16),
        hides,
    }
}

fn shapes() -> impl Iterator<Item = Copies> {
    CHANNELS
        .into_iter()
        .flat_map(|channels| [false, true].map(|hides| shape(channels, hides)))
}

fn sets(shape: &Copies) -> Vec<u8> {
    let noise = image(shape.image_pixels(), 9);
    noise.iter().map(|value| (value * shape.copies as f32) as u8).collect()
}

/// `d c b a | a b c d | d c b a`, from 0 on.
fn mirrored(position: usize, size: usize) -> usize {
    let position = position % (2 * size);
    position.min(2 * size - 1 - position)
}

#[test]
fn channels_are_padded_to_eighths() {
    let padded = [1, 3, 8, 9, 16, usize::MAX].map(padded_channels);
    assert_eq!(padded, [8, 8, 8, 16, 16, usize::MAX]);
}

#[test]
fn copies_show_all_but_what_is_hidden_on_every_device() {
    for (gpu, shape) in devices()
        .into_iter()
        .flat_map(|gpu| shapes().map(move |s| (gpu.clone(), s)))
    {
        let (height, width) = shape.size;
        let sets = sets(&shape);
        let images = image(shape.source_values(), 1);
        let pixel = shape.input_pixel();
        let mut expected = vec![0.0; shape.pixels() * pixel];
        let mut at = 0;
        for (copy, image) in (0..shape.copies).flat_map(|copy| (0..shape.images).map(move |image| (copy, image))) {
            for (y, x) in (0..shape.padded.0).flat_map(|y| (0..shape.padded.1).map(move |x| (y, x))) {
                let place = mirrored(y, height) * width + mirrored(x, width);
                let is_hidden = shape.hides && usize::from(sets[image * height * width + place]) == copy;
                for channel in (0..shape.inputs).filter(|_| !is_hidden) {
                    let source = image % shape.sources;
                    let value = images[(source * shape.inputs + channel) * height * width + place];
                    expected[at + channel] = (value - NORMALISATION[0]) / NORMALISATION[1];
                }
                at += pixel;
            }
        }
        let (images, sets) = (gpu.upload(&images).unwrap(), gpu.upload(&sets).unwrap());
        for precision in PRECISIONS {
            // What lay there before goes.
            let copies = upload(&gpu, &noise(expected.len(), 2), precision);
            let pixels = copies.pixels(precision, shape.pixels(), pixel).unwrap();
            gpu.hide(&shape, images.span(), sets.span(), NORMALISATION, pixels)
                .unwrap();
            let expected = rounded(&expected, precision);
            let tolerance = if precision == Precision::Bf16 {
                2f32.powi(-7)
            } else {
                1e-6
            };
            assert_near(
                &download(&copies, precision),
                &expected,
                tolerance,
                &format!("{shape:?}"),
            );
        }
    }
}

/// The network's output, its bias, and what becomes of them.
struct Composed {
    output: Vec<f32>,
    bias: Vec<f32>,
    sets: Vec<u8>,
}

impl Composed {
    fn new(shape: &Copies, precision: Precision) -> Self {
        Self {
            output: rounded(&noise(shape.pixels() * shape.output_pixel(), 3), precision),
            bias: noise(shape.output_pixel(), 4),
            sets: sets(shape),
        }
    }

    fn reconstructions(&self, gpu: &Gpu, shape: &Copies, precision: Precision) -> Buffer {
        let output = upload(gpu, &self.output, precision);
        let output = output.pixels(precision, shape.pixels(), shape.output_pixel()).unwrap();
        let (bias, sets) = (gpu.upload(&self.bias).unwrap(), gpu.upload(&self.sets).unwrap());
        let found = gpu.buffer(shape.reconstruction_values() * 4).unwrap();
        gpu.compose(shape, output, bias.span(), sets.span(), NORMALISATION, found.span())
            .unwrap();
        found
    }

    /// For each value of the reconstructions, in order, its place among the outputs.
    fn places(&self, shape: &Copies) -> Vec<usize> {
        let (height, width) = shape.size;
        let mut places = Vec::new();
        for (image, channel) in (0..shape.images).flat_map(|image| (0..shape.outputs).map(move |c| (image, c))) {
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let set = usize::from(self.sets[(image * height + y) * width + x]);
                let copy = (if shape.hides { set } else { 0 }) * shape.images + image;
                let pixel = (copy * shape.padded.0 + y) * shape.padded.1 + x;
                places.push(pixel * shape.output_pixel() + channel);
            }
        }
        places
    }
}

#[test]
fn reconstructions_are_of_the_copies_in_which_pixels_were_hidden_on_every_device() {
    for (gpu, shape) in devices()
        .into_iter()
        .flat_map(|gpu| shapes().map(move |s| (gpu.clone(), s)))
    {
        for precision in PRECISIONS {
            let composed = Composed::new(&shape, precision);
            let value = |place: usize| {
                let sum = composed.output[place] + composed.bias[place % shape.output_pixel()];
                sum.tanh() * NORMALISATION[1] + NORMALISATION[0]
            };
            let expected: Vec<_> = composed.places(&shape).into_iter().map(value).collect();
            let found = composed.reconstructions(&gpu, &shape, precision);
            assert_near(
                &download(&found, Precision::F32),
                &expected,
                1e-6,
                &format!("{shape:?}"),
            );
        }
    }
}

#[test]
fn the_gradient_goes_where_reconstructions_were_taken_from_on_every_device() {
    for (gpu, shape) in devices()
        .into_iter()
        .flat_map(|gpu| shapes().map(move |s| (gpu.clone(), s)))
    {
        for precision in PRECISIONS {
            let composed = Composed::new(&shape, precision);
            let reconstructions = composed.reconstructions(&gpu, &shape, precision);
            let gradient = noise(shape.reconstruction_values(), 5);
            let mut expected = vec![0.0; composed.output.len()];
            for (place, by_value) in composed.places(&shape).into_iter().zip(&gradient) {
                let sum = composed.output[place] + composed.bias[place % shape.output_pixel()];
                expected[place] = by_value * NORMALISATION[1] * (1.0 - sum.tanh().powi(2));
            }
            let (on_gradient, sets) = (gpu.upload(&gradient).unwrap(), gpu.upload(&composed.sets).unwrap());
            let output = upload(&gpu, &noise(expected.len(), 6), precision);
            let pixels = output.pixels(precision, shape.pixels(), shape.output_pixel()).unwrap();
            let (from, found) = (on_gradient.span(), reconstructions.span());
            gpu.spread(&shape, from, found, sets.span(), NORMALISATION, pixels)
                .unwrap();
            let tolerance = if precision == Precision::Bf16 {
                2f32.powi(-8)
            } else {
                2e-6
            };
            assert_near(
                &download(&output, precision),
                &expected,
                tolerance,
                &format!("{shape:?}"),
            );
        }
    }
}

#[test]
fn a_pixel_hidden_in_a_copy_that_there_is_not_has_no_reconstruction_on_any_device() {
    for gpu in devices() {
        let shape = shape([3, 3], true);
        let mut composed = Composed::new(&shape, Precision::F32);
        composed.sets[8] = 4;
        let found = download(&composed.reconstructions(&gpu, &shape, Precision::F32), Precision::F32);
        let nowhere: Vec<_> = (0..found.len()).filter(|&at| found[at].is_nan()).collect();
        assert_eq!(nowhere, [8, 35 + 8, 70 + 8]);
    }
}

#[test]
fn shapes_that_do_not_go_together_are_refused_on_every_device() {
    for gpu in devices() {
        let good = shape([3, 3], true);
        let images = gpu.buffer(good.source_values() * 4).unwrap();
        let sets = gpu.buffer(good.image_pixels()).unwrap();
        let copies = gpu.buffer(good.pixels() * good.input_pixel() * 4).unwrap();
        let pixels = copies.pixels(Precision::F32, good.pixels(), 8).unwrap();
        let hide = |shape: Copies, sets, pixels| gpu.hide(&shape, images.span(), sets, NORMALISATION, pixels);
        hide(good, sets.span(), pixels).unwrap();
        for bad in [
            Copies { images: 4, ..good },
            Copies { sources: 3, ..good },
            Copies { sources: 0, ..good },
            Copies { copies: 5, ..good },
            Copies { inputs: 4, ..good },
            Copies { inputs: 0, ..good },
            Copies { size: (0, 7), ..good },
            Copies {
                padded: (4, 16),
                ..good
            },
            Copies { hides: false, ..good },
            // Products of these do not fit.
            Copies {
                images: usize::MAX,
                ..good
            },
            Copies {
                inputs: usize::MAX / 16,
                ..good
            },
            Copies {
                padded: (1 << 40, 1 << 40),
                ..good
            },
        ] {
            assert!(hide(bad, sets.span(), pixels).is_err(), "{bad:?}");
        }
        let shorter = sets.part::<u8>(0, good.image_pixels() - 1).unwrap();
        assert!(hide(good, shorter, pixels).is_err());
        let fewer = pixels.part(0, good.pixels() - 1).unwrap();
        let error = hide(good, sets.span(), fewer).err();
        assert!(matches!(error, Some(CudaError::Length { .. })), "{error:?}");
        // Nine channels take sixteen values.
        assert!(hide(Copies { inputs: 9, ..good }, sets.span(), pixels).is_err());
    }
}
