use riad_cuda::{CudaError, Precision};

use super::{devices, download, noise, rounded, upload};

/// Values of a pixel of x and of y, and what of them is added: `count` channels from the `first` on, in both.
const VIEWS: [([usize; 2], [usize; 2], usize); 4] = [
    ([8, 8], [0, 0], 8),
    ([16, 40], [8, 16], 8),
    ([24, 24], [0, 0], 24),
    // More groups of eight channels than a block has side by side.
    ([272, 264], [8, 0], 264),
];

#[test]
fn pixels_are_added_channel_by_channel_and_nothing_else_changes_on_every_device() {
    for gpu in devices() {
        for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
            for (([x_pixel, y_pixel], [x_first, y_first], channels), count) in VIEWS
                .into_iter()
                .flat_map(|view| [1, 7, 1000].map(|count| (view, count)))
            {
                let x = rounded(&noise(count * x_pixel, 1), precision);
                let y = rounded(&noise(count * y_pixel, 2), precision);
                let (on_x, on_y) = (upload(&gpu, &x, precision), upload(&gpu, &y, precision));
                let x_part = on_x.pixels(precision, count, x_pixel).unwrap();
                let y_part = on_y.pixels(precision, count, y_pixel).unwrap();
                gpu.add(
                    x_part.channels(x_first, channels).unwrap(),
                    y_part.channels(y_first, channels).unwrap(),
                )
                .unwrap();
                let mut expected = y;
                for (x, y) in x.chunks(x_pixel).zip(expected.chunks_mut(y_pixel)) {
                    for channel in 0..channels {
                        y[y_first + channel] += x[x_first + channel];
                    }
                }
                assert_eq!(download(&on_y, precision), rounded(&expected, precision));
                assert_eq!(download(&on_x, precision), x);
            }
        }
    }
}

#[test]
fn pixels_are_copied_with_a_bias_and_without_and_nothing_else_changes_on_every_device() {
    for gpu in devices() {
        for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
            for (([x_pixel, y_pixel], [x_first, y_first], channels), count) in VIEWS
                .into_iter()
                .flat_map(|view| [1, 7, 1000].map(|count| (view, count)))
            {
                let (bias, nothing) = (noise(channels, 3), vec![0.0; channels]);
                let on_bias = upload(&gpu, &bias, Precision::F32);
                for (bias, is_added) in [(nothing, false), (bias, true)] {
                    let x = rounded(&noise(count * x_pixel, 1), precision);
                    let mut expected = rounded(&noise(count * y_pixel, 2), precision);
                    let (on_x, on_y) = (upload(&gpu, &x, precision), upload(&gpu, &expected, precision));
                    let from = on_x.pixels(precision, count, x_pixel).unwrap();
                    let to = on_y.pixels(precision, count, y_pixel).unwrap();
                    let (from, to) = (
                        from.channels(x_first, channels).unwrap(),
                        to.channels(y_first, channels).unwrap(),
                    );
                    if is_added {
                        gpu.add_bias(from, on_bias.span(), to).unwrap();
                    } else {
                        gpu.copy(from, to).unwrap();
                    }
                    for (x, y) in x.chunks(x_pixel).zip(expected.chunks_mut(y_pixel)) {
                        for channel in 0..channels {
                            y[y_first + channel] = x[x_first + channel] + bias[channel];
                        }
                    }
                    assert_eq!(download(&on_y, precision), rounded(&expected, precision));
                }
            }
        }
    }
}

#[test]
fn pixels_added_to_themselves_are_doubled_on_every_device() {
    for gpu in devices() {
        let values = noise(40 * 8, 3);
        let buffer = upload(&gpu, &values, Precision::F32);
        let pixels = buffer.pixels(Precision::F32, 40, 8).unwrap();
        gpu.add(pixels, pixels).unwrap();
        let doubled: Vec<_> = values.iter().map(|value| 2.0 * value).collect();
        assert_eq!(download(&buffer, Precision::F32), doubled);
    }
}

#[test]
fn pixels_of_other_shapes_are_refused_on_every_device() {
    for gpu in devices() {
        let buffer = gpu.buffer(10 * 32 * 4).unwrap();
        let all = buffer.pixels(Precision::F32, 10, 32).unwrap();
        let eight = all.channels(0, 8).unwrap();
        let bf16 = buffer.pixels(Precision::Bf16, 10, 8).unwrap();
        let bad = [
            (eight, all),
            (eight, eight.part(0, 9).unwrap()),
            (eight, bf16),
            // Kernels take sixteen bytes at a time.
            (all.channels(2, 8).unwrap(), eight),
            (eight, all.channels(2, 8).unwrap()),
            (all.channels(0, 4).unwrap(), all.channels(0, 4).unwrap()),
            (eight.part(0, 0).unwrap(), eight),
        ];
        for (at, (x, y)) in bad.into_iter().enumerate() {
            assert!(gpu.add(x, y).is_err(), "call {at}");
            assert!(gpu.copy(x, y).is_err(), "call {at}");
        }
        gpu.add(eight.part(1, 9).unwrap(), eight).unwrap();
    }
}

#[test]
fn parts_beyond_a_buffer_are_errors_on_every_device() {
    for gpu in devices() {
        let buffer = gpu.buffer(10 * 8 * 4).unwrap();
        let pixels = buffer.pixels(Precision::F32, 10, 8).unwrap();
        let most = usize::MAX;
        let beyond = [
            buffer.part::<f32>(80, 1).err(),
            buffer.part::<f32>(0, 81).err(),
            buffer.part::<f32>(most, 1).err(),
            buffer.part::<f32>(1, most).err(),
            buffer.part::<f64>(most / 8 + 1, 0).err(),
            buffer.pixels(Precision::F32, 11, 8).err(),
            buffer.pixels(Precision::F32, most, most).err(),
            buffer.pixels(Precision::Bf16, most / 2 + 1, 2).err(),
            pixels.channels(1, 8).err(),
            pixels.channels(most, 1).err(),
            pixels.channels(1, most).err(),
            pixels.part(10, 1).err(),
            pixels.part(most, 1).err(),
            pixels.part(1, most).err(),
            buffer.write(79, &[0f32; 2]).err(),
            buffer.write(most, &[0f32]).err(),
            buffer.read::<f32>(79, 2).err(),
            buffer.read::<u8>(0, most).err(),
        ];
        for (at, error) in beyond.into_iter().enumerate() {
            assert!(matches!(error, Some(CudaError::Length { .. })), "call {at}: {error:?}");
        }
        assert_eq!(buffer.read::<f32>(80, 0).unwrap(), []);
    }
}
