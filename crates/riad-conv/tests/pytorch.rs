//! PyTorch 2.15's numbers for the same layers; `reference/torch_conv.py` prints the constants.

use riad_conv::{
    Batch, BatchMut, ConvError, Dims, Geometry, conv_transpose2d, conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight, conv2d, conv2d_grad_input, conv2d_grad_weight, grad_bias,
};

/// Transposed or not, (images, height, width, channels), output channels, (kernel, stride, padding).
type Case = (bool, (usize, usize, usize, usize), usize, (usize, usize, usize));
/// Number of values, sum of their squares, and six of them spread evenly.
type Sample = (usize, f64, [f64; 6]);

#[rustfmt::skip]
const CASES: [(Case, [Sample; 4]); 6] = [
    // conv 3x3
    ((false, (2, 7, 9, 5), 18, (3, 1, 1)), [
        (2268, 4080.13544, [0.731807762, 0.629261877, -2.56163272, 1.35175465, -0.585745646, -0.774446253]),
        (630, 83106.4156, [8.83954902, 15.1574711, -10.4530805, -9.75182938, 14.2821222, -5.52077471]),
        (810, 2923.71672, [-1.77439349, -2.03708558, 1.88702638, -0.800738714, -0.291804409, 1.55766458]),
        (18, 23265.2854, [-46.9683986, 40.3512699, 6.22603579, -22.7453306, 50.6639922, -48.8358409]),
    ]),
    // conv 4x4 stride 2
    ((false, (1, 10, 7, 17), 6, (4, 2, 1)), [
        (90, 133.174255, [0.866003202, -2.19686196, 0.268287808, 0.628919166, -1.46570473, -2.21632027]),
        (1190, 1252.51896, [-1.86470107, -0.773822578, -0.824320844, -0.873886944, -0.922464827, -1.50931206]),
        (1632, 570.568693, [-0.934138547, -0.293459369, -0.18156239, 0.0902261391, -0.00130636493, 1.25990606]),
        (6, 0.0327818135, [0.0810122401, 0.0966582, 0.0668442981, 0.00559247834, -0.0582895714, -0.0947571249]),
    ]),
    // conv 5x5 stride 3
    ((false, (2, 11, 11, 3), 4, (5, 3, 2)), [
        (128, 1110.58541, [-0.926743985, 3.1319154, 1.23300779, -2.70263447, 4.04314556, -1.49510458]),
        (726, 185.402383, [-0.185831068, -0.580620717, -0.533840399, -0.602593723, -0.224699021, -0.0440369277]),
        (300, 91.0826803, [0.0271939628, 0.11776309, 0.239064322, -0.407218184, -0.854510739, -0.234798795]),
        (4, 0.982976647, [0.490336154, 0.490336154, 0.0176851104, 0.0176851104, -0.463283516, -0.726362667]),
    ]),
    // transposed 4x4 stride 2
    ((true, (2, 5, 3, 17), 7, (4, 2, 1)), [
        (840, 686.680372, [0.51306818, -0.150591733, -1.17460083, -1.4591561, -0.0286508938, -1.7667672]),
        (510, 1364.09596, [-0.503721649, 2.4730378, -0.942371912, -1.71984462, 1.80871573, 1.60791569]),
        (1904, 4477.70954, [-2.10298724, -0.242472153, -1.11638229, -0.976345283, 2.36175482, 1.88846009]),
        (7, 6.46446607, [1.04328507, 0.0903963684, -0.905007154, -1.47477167, -1.35092803, 0.4457804]),
    ]),
    // transposed 3x3 stride 2
    ((true, (1, 4, 6, 2), 19, (3, 2, 0)), [
        (2223, 5480.40669, [0.998587863, 0.278792333, 0.955485938, -0.833586486, 2.52559996, -2.34436397]),
        (48, 0.435309621, [-0.105579939, 0.00883189996, 0.111601413, 0.127210883, -0.0924472249, -0.096461586]),
        (342, 197.709091, [-0.275778008, 0.477530846, 0.965721133, -0.628189718, -0.091894172, -0.987060618]),
        (19, 59.6092723, [-2.43911996, 1.2259289, -0.448721693, -1.84300701, 2.27173566, -2.43795318]),
    ]),
    // transposed 2x2 stride 3
    ((true, (1, 3, 4, 3), 3, (2, 3, 0)), [
        (264, 157.494671, [0.996988169, 0.472446883, 0.909297427, 0.598472144, 1.18303033, 0.337464608]),
        (36, 8.89574126, [0.211375294, -0.521417307, 0.739715799, 0.0323804163, -0.344032379, 0.692059489]),
        (36, 724.760595, [-0.337010858, -4.71929849, 5.79547621, 2.42264278, -4.06328307, -6.20979605]),
        (3, 1.87219758, [-0.113154792, -0.113154792, -0.113154792, -0.797188918, -0.797188918, -1.10629264]),
    ]),
];

fn wave(count: usize, frequency: f64, phase: f64) -> Vec<f32> {
    (0..count)
        .map(|i| (i as f64 * frequency + phase).sin() as f32)
        .collect()
}

fn zeros(len: usize) -> Vec<f32> {
    vec![0.0; len]
}

#[test]
fn layers_and_gradients_are_pytorch_s() -> Result<(), ConvError> {
    for ((transposed, (images, height, width, channels), out, (kernel, stride, padding)), expected) in CASES {
        let (dims, geometry) = (
            Dims::new(images, height, width, channels),
            Geometry::new(kernel, stride, padding),
        );
        let x = wave(dims.values()?, 0.1, 0.0);
        let weight = wave(channels * out * kernel * kernel, 0.3, 1.0);
        let bias = wave(out, 0.5, 2.0);
        let out_dims = if transposed {
            dims.conv_transpose2d(out, geometry)?
        } else {
            dims.conv2d(out, geometry)?
        };
        let dy = wave(out_dims.values()?, 0.7, 3.0);
        let (x, dy) = (Batch::new(&x, dims)?, Batch::new(&dy, out_dims)?);
        let [mut y, mut dx, mut dw, mut db] = [out_dims.values()?, dims.values()?, weight.len(), out].map(zeros);
        let to_y = BatchMut::new(&mut y, out_dims)?;
        let to_dx = BatchMut::new(&mut dx, dims)?;
        if transposed {
            conv_transpose2d(x, &weight, Some(&bias), geometry, to_y)?;
            conv_transpose2d_grad_input(dy, &weight, geometry, to_dx)?;
            conv_transpose2d_grad_weight(x, dy, geometry, &mut dw)?;
        } else {
            conv2d(x, &weight, Some(&bias), geometry, to_y)?;
            conv2d_grad_input(dy, &weight, geometry, to_dx)?;
            conv2d_grad_weight(x, dy, geometry, &mut dw)?;
        }
        grad_bias(dy, &mut db)?;
        for (found, (count, squares, samples)) in [y, dx, dw, db].iter().zip(expected) {
            assert_eq!(found.len(), count);
            let sum: f64 = found.iter().map(|&v| f64::from(v).powi(2)).sum();
            assert!((sum - squares).abs() <= 1e-5 * squares, "{sum} for {squares}");
            for (i, sample) in samples.iter().enumerate() {
                let value = f64::from(found[i * (count - 1) / 5]);
                assert!(
                    (value - sample).abs() <= 2e-5 * (1.0 + sample.abs()),
                    "{value} for {sample}"
                );
            }
        }
    }
    Ok(())
}
