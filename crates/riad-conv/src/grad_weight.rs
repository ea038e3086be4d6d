//! Gradients of weights and bias.
#![allow(unsafe_code)] // Calls the kernels.

use rayon::prelude::*;

use crate::axis::Axis;
use crate::kernel::GradWeight;
use crate::scratch::{self, Bands, Layout};
use crate::shape::{Dims, Geometry};
use crate::simd::{Kernels, LANES};

/// Output blocks of a task: each costs a pass over the input in cache, each task a copy of it.
const BLOCKS: usize = 2;
/// Tasks that there should be, enough for the threads of any machine this is meant for.
const TASKS: usize = 64;
/// Cells that pay for one more set of partial sums.
const CELLS_PER_CHUNK: usize = 1024;

/// dW\[co]\[ci]\[ky]\[kx] = Σ over images and output pixels (y, x) of
/// input\[y·stride + ky − padding]\[x·stride + kx − padding]\[ci] · grad\[y]\[x]\[co], as OIHW.
///
/// The batch is cut into chunks by a rule that sees only shapes, each chunk summed on its own and the chunks then added
/// in order: the same bits for any number of threads, at most `TASKS` chunks of sums in memory.
pub(crate) fn grad_weight(
    kernels: &Kernels,
    input: &[f32],
    dims: Dims,
    grad: &[f32],
    grad_dims: Dims,
    geometry: Geometry,
) -> Vec<f32> {
    let axis = Axis::conv(geometry);
    let side = geometry.kernel;
    let taps = side * side;
    let (in_blocks, out_blocks) = (dims.channels.div_ceil(LANES), grad_dims.channels.div_ceil(LANES));
    let mut weights = vec![0.0; grad_dims.channels * dims.channels * taps];
    if dims.images == 0 {
        return weights;
    }

    let columns = grad_dims.width;
    let input_row = columns * axis.step * in_blocks * LANES;
    let fitting = scratch::rows_in_cache(
        input_row * axis.step + columns * BLOCKS * LANES,
        input_row * (axis.extent - 1),
    );
    let bands = Bands::new(dims.images, grad_dims.height, fitting);
    let groups = out_blocks.div_ceil(BLOCKS);
    let cells = dims.images * grad_dims.height * grad_dims.width;
    let chunks = TASKS
        .div_ceil(groups)
        .min(cells.div_ceil(CELLS_PER_CHUNK))
        .min(bands.count());
    let chunk_bands = bands.count().div_ceil(chunks);
    let chunks = bands.count().div_ceil(chunk_bands);

    // Sums of one output block: [input block][tap][input channel][output lane].
    let tile = LANES * LANES;
    let block_sums = in_blocks * taps * tile;
    let chunk_sums = |chunk: usize, group: usize| {
        let blocks = BLOCKS.min(out_blocks - group * BLOCKS);
        let channels = group * BLOCKS * LANES..grad_dims.channels.min((group + 1) * BLOCKS * LANES);
        let mut sums = vec![0.0; blocks * block_sums];
        scratch::with(|[source, grads]| {
            for index in chunk * chunk_bands..bands.count().min((chunk + 1) * chunk_bands) {
                let band = bands.get(index);
                let layout = Layout::new(&axis, band, columns);
                layout.fill(&axis, band, input, dims, 0..dims.channels, source);
                let pointwise = Axis::conv(Geometry::new(1, 1, 0));
                let grad_layout = Layout::new(&pointwise, band, columns);
                grad_layout.fill(&pointwise, band, grad, grad_dims, channels.clone(), grads);
                for block in 0..blocks {
                    for in_block in 0..in_blocks {
                        for tap in 0..taps {
                            for image in 0..band.images {
                                let at = in_block * layout.block()
                                    + layout.cells(image, 0)
                                    + layout.tap(tap / side, tap % side);
                                let grad_at = block * grad_layout.block() + grad_layout.cells(image, 0);
                                let sums = &mut sums[block * block_sums + (in_block * taps + tap) * tile..][..tile];
                                let tile = GradWeight {
                                    input: source[at..].as_ptr(),
                                    input_row: layout.cells(0, 1),
                                    grad: grads[grad_at..].as_ptr(),
                                    grad_row: grad_layout.cells(0, 1),
                                    rows: band.rows,
                                    columns,
                                    channels: LANES.min(dims.channels - in_block * LANES),
                                    sums: sums.as_mut_ptr(),
                                };
                                // SAFETY: `kernels` came from those that this machine has. Both layouts hold this
                                // band's rows and columns of cells with their taps, in whole blocks of channels, and
                                // `sums` is one block by one block of them.
                                unsafe { (kernels.grad_weight)(&tile) };
                            }
                        }
                    }
                }
            }
        });
        sums
    };
    let sums: Vec<Vec<f32>> = (0..chunks * groups)
        .into_par_iter()
        .map(|task| chunk_sums(task % chunks, task / chunks))
        .collect();

    weights
        .par_chunks_mut(dims.channels * taps)
        .enumerate()
        .for_each(|(out, weights)| {
            let (block, lane) = (out / LANES, out % LANES);
            let (group, block) = (block / BLOCKS, block % BLOCKS);
            for (input, weights) in weights.chunks_exact_mut(taps).enumerate() {
                let (in_block, in_lane) = (input / LANES, input % LANES);
                for (tap, weight) in weights.iter_mut().enumerate() {
                    let at = block * block_sums + (in_block * taps + tap) * tile + in_lane * LANES + lane;
                    *weight = sums[group * chunks..][..chunks].iter().map(|sums| sums[at]).sum();
                }
            }
        });
    weights
}

/// Σ over images and pixels of `grad`, per channel; in chunks of fixed size, added in order.
pub(crate) fn grad_bias(grad: &[f32], channels: usize) -> Vec<f32> {
    let partial = |grad: &[f32]| {
        let mut sums = vec![0.0_f32; channels];
        for pixel in grad.chunks_exact(channels) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += value;
            }
        }
        sums
    };
    let partials: Vec<Vec<f32>> = grad.par_chunks(CELLS_PER_CHUNK * channels).map(partial).collect();
    (0..channels)
        .map(|channel| partials.iter().map(|sums| f64::from(sums[channel])).sum::<f64>() as f32)
        .collect()
}
