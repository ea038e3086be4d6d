//! Layers with few output channels, such as a network's last.
//!
//! Three channels would use three of sixteen lanes. Here a lane is a (column of the kernel, output channel) instead, so that
//! only rows are taps: a third of the work for a 3×3 kernel. Each output then adds one lane from each of its neighbours.
#![allow(unsafe_code)] // Calls the kernels, and writes parts of one output from many threads.

use std::ptr;

use rayon::prelude::*;

use crate::axis::Axis;
use crate::batch::{Batch, BatchMut, Place};
use crate::buffer::Buffer;
use crate::correlation::{Epilogue, Filter, Target};
use crate::kernel::{Activation, Correlate, NarrowRow, tile_widths};
use crate::scratch::{self, Bands, Layout};
use crate::simd::{Kernels, LANES};

pub(crate) struct Narrow {
    axis: Axis,
    in_channels: usize,
    /// `[block of 16 input channels][row][input channel][(column, output channel)]`.
    weights: Buffer,
}

impl Narrow {
    /// Whether the layer is one.
    pub(crate) fn fits(axis: &Axis, filter: Filter) -> bool {
        axis.step == 1 && axis.out_step == 1 && scratch::folds(axis, filter.out_channels)
    }

    /// Packs the weights of a layer that [`fits`](Self::fits).
    pub(crate) fn new(mut axis: Axis, filter: Filter, mut weights: Buffer) -> Self {
        axis.phases
            .iter_mut()
            .for_each(|taps| taps.sort_by_key(|tap| tap.offset));
        let taps = &axis.phases[0];
        weights.grow(filter.in_channels * taps.len() * LANES);
        let mut packed = weights.as_chunks_mut::<LANES>().0.iter_mut();
        for first in (0..filter.in_channels).step_by(LANES) {
            let channels = LANES.min(filter.in_channels - first);
            let mut vectors = vec![[0.0; LANES]; channels * filter.taps()];
            filter.gather(0, first, &mut vectors);
            for row in taps {
                for (vectors, packed) in vectors.chunks_exact(filter.taps()).zip(&mut packed) {
                    *packed = [0.0; LANES];
                    for (column, lanes) in taps.iter().zip(packed.chunks_exact_mut(filter.out_channels)) {
                        let vector = &vectors[row.kernel * filter.kernel + column.kernel];
                        lanes.copy_from_slice(&vector[..filter.out_channels]);
                    }
                }
            }
        }
        Self {
            axis,
            in_channels: filter.in_channels,
            weights,
        }
    }

    pub(crate) fn into_memory(self) -> Buffer {
        self.weights
    }

    /// See [`crate::correlation::Correlation::run`], which checks what this relies on.
    pub(crate) fn run(&self, kernels: &Kernels, input: Batch<'_>, epilogue: &Epilogue, mut out: BatchMut<'_>) {
        let Place { dims, pixel, channel } = out.place();
        let threads = rayon::current_num_threads();
        let columns = self.axis.extent;
        let products_row = dims.width + columns - 1;
        let row = products_row * self.in_channels.next_multiple_of(LANES);
        let fitting = scratch::rows_in_cache(row, row * (self.axis.extent - 1));
        let even = if threads == 1 {
            fitting
        } else {
            (dims.images * dims.height).div_ceil(4 * threads)
        };
        let bands = Bands::new(dims.images, dims.height, fitting.min(even));
        let target = Target::new(out.as_mut_ptr());
        let tiles = kernels.correlate[0];
        (0..bands.count()).into_par_iter().for_each(|index| {
            let band = bands.get(index);
            let layout = Layout::new(&self.axis, band, dims.width);
            let taps: Vec<usize> = (0..self.axis.extent).map(|row| layout.tap(row, 0)).collect();
            scratch::with(|[source, products, ..]| {
                layout.fill(kernels.deal, &self.axis, band, input, 0..self.in_channels, source);
                products.grow((products_row + 1) * LANES); // One more, since the last loads end in it.
                for (image, row) in (0..band.images).flat_map(|image| (0..band.rows).map(move |row| (image, row))) {
                    let mut column = 0;
                    for cells in tile_widths(products_row, tiles.len()) {
                        let tile = Correlate {
                            source: source[layout.cells(image, row) + column * LANES..].as_ptr(),
                            source_block: layout.block(),
                            channels: self.in_channels,
                            taps: &taps,
                            weights: self.weights.as_ptr(),
                            weights_block: 0,
                            next: ptr::null(),
                            next_lines: 0,
                            bias: [0.0; LANES].as_ptr(),
                            out: products[column * LANES..].as_mut_ptr(),
                            out_cell: LANES,
                            out_channels: LANES,
                            activation: Activation::None,
                        };
                        // SAFETY: `kernels` came from those that this machine has. The layout's rows hold `products_row`
                        // columns, for every block of input channels and tap; so does `products`; the weights are one
                        // block of lanes.
                        unsafe { tiles[cells - 1](&tile) };
                        column += cells;
                    }
                    let first = ((band.image + image) * dims.height + band.row + row) * dims.width;
                    let row = NarrowRow {
                        products: products.as_ptr(),
                        columns,
                        bias: epilogue.bias.as_ptr(),
                        activation: epilogue.activation,
                        // SAFETY: this pixel and these channels lie inside the output, whose length was checked.
                        out: unsafe { target.at(first * pixel + channel) },
                        out_cell: pixel,
                        cells: dims.width,
                        channels: epilogue.out_channels,
                    };
                    // SAFETY: `products` holds a vector more than `cells + columns - 1`; columns by channels fit into one
                    // vector, as the layer `fits`. No other task has this row.
                    unsafe { (kernels.narrow)(&row) };
                }
            });
        });
    }
}
