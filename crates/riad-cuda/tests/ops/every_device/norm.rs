use riad_cuda::{Norm, Precision, scratch_bytes};

use super::devices;

#[test]
fn a_norm_of_pixels_with_gaps_is_refused_on_every_device() {
    for gpu in devices() {
        let (x, y) = (gpu.buffer(10 * 16 * 4).unwrap(), gpu.buffer(10 * 16 * 4).unwrap());
        let vector = gpu.buffer(6 * 8 * 4).unwrap();
        let of_channels = vector.part::<f32>(0, 8).unwrap();
        let norm = Norm {
            bias: of_channels,
            scale: of_channels,
            shift: of_channels,
            running_mean: of_channels,
            running_variance: of_channels,
            line: vector.part::<f32>(8, 32).unwrap(),
        };
        let scratch = gpu.buffer(scratch_bytes(8)).unwrap();
        let dense = |buffer| -> riad_cuda::Pixels<'_> {
            let buffer: &riad_cuda::Buffer = buffer;
            buffer.pixels(Precision::F32, 10, 8).unwrap()
        };
        let wide = y.pixels(Precision::F32, 10, 16).unwrap().channels(8, 8).unwrap();
        // The output may be a part of wider pixels, what is normalised may not.
        gpu.norm_relu(dense(&x), norm, [0.1, 1e-5], Some(wide), None, &scratch)
            .unwrap();
        assert!(
            gpu.norm_relu(wide, norm, [0.1, 1e-5], Some(dense(&x)), None, &scratch)
                .is_err()
        );
        let gradients = [of_channels, of_channels];
        assert!(
            gpu.norm_relu_backward(dense(&x), norm, wide, None, gradients, &scratch)
                .is_err()
        );
        let line = vector.part::<f32>(9, 32).unwrap();
        assert!(
            gpu.norm_relu(
                dense(&x),
                Norm { line, ..norm },
                [0.1, 1e-5],
                Some(wide),
                None,
                &scratch
            )
            .is_err()
        );
    }
}

#[test]
fn weights_that_do_not_fill_their_rows_are_not_folded_on_any_device() {
    for gpu in devices() {
        let (from, to) = (gpu.buffer(24 * 4).unwrap(), gpu.buffer(24 * 4).unwrap());
        let part = |values| from.part::<f32>(0, values).unwrap();
        let norm = [part(8); 4];
        let fold = |shape, norm| {
            let (from, to) = ([part(24), part(8)], [to.span(), to.part::<f32>(16, 8).unwrap()]);
            gpu.fold(Precision::F32, shape, from, norm, 1e-5, to)
        };
        fold([8, 16, 8], Some(norm)).unwrap();
        fold([1, 16, 8], None).unwrap();
        for (shape, norm) in [
            ([8, 15, 8], Some(norm)),
            ([4, 16, 8], Some(norm)),
            ([0, 16, 8], None),
            ([8, 0, 8], None),
        ] {
            assert!(fold(shape, norm).is_err(), "{shape:?}");
        }
    }
}
