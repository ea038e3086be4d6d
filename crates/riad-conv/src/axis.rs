//! The geometry of kernel and image along one axis. Kernels are square, so both axes are alike.

use crate::Geometry;

/// Output position `cell·out_step + phase` reads input positions `cell·step + origin + offset`, one for each of the
/// phase's taps.
///
/// A convolution has one phase and steps through the input by its stride. A transposed convolution steps through the
/// *output* by its stride, and its output positions fall into `stride` phases that each see every `stride`-th tap of the
/// kernel: multiplying by the zeros that a textbook version inserts never happens.
#[derive(Clone)]
pub(crate) struct Axis {
    /// Input positions from one cell to the next.
    pub(crate) step: usize,
    /// Output positions from one cell to the next.
    pub(crate) out_step: usize,
    /// Input position of offset 0 for cell 0.
    pub(crate) origin: isize,
    /// Input positions that a cell sees, over all phases; at least 1.
    pub(crate) extent: usize,
    /// The taps of each phase.
    pub(crate) phases: Vec<Vec<Tap>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    /// Where it reads, below `extent`.
    pub(crate) offset: usize,
    /// Which row or column of the kernel it multiplies by.
    pub(crate) kernel: usize,
}

/// The outputs that lie `row` and `column` after a cell's first, and what they see.
pub(crate) struct PlanePhase {
    pub(crate) row: usize,
    pub(crate) column: usize,
    /// In the order of their offsets, row by row.
    pub(crate) taps: Vec<PlaneTap>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaneTap {
    /// Row and column that it reads, below `extent`.
    pub(crate) offset: (usize, usize),
    /// Its place among the kernel's weights.
    pub(crate) kernel: usize,
}

impl Axis {
    /// out\[o] = Σ in\[o·stride + k − padding] · w\[k].
    pub(crate) fn conv(geometry: Geometry) -> Self {
        let Geometry {
            kernel,
            stride,
            padding,
        } = geometry;
        let taps = (0..kernel).map(|k| Tap { offset: k, kernel: k }).collect();
        Self {
            step: stride,
            out_step: 1,
            origin: -(padding as isize),
            extent: kernel,
            phases: vec![taps],
        }
    }

    /// out\[o] = Σ in\[i] · w\[k] over i·stride + k = o + padding.
    pub(crate) fn transposed(geometry: Geometry) -> Self {
        let Geometry {
            kernel,
            stride,
            padding,
        } = geometry;
        // For o = cell·stride + phase: k = (phase + padding) mod stride + m·stride, and
        // i = cell + ⌊(phase + padding) / stride⌋ − m.
        let reads = |phase: usize| {
            let (shift, first) = ((phase + padding) / stride, (phase + padding) % stride);
            (first..kernel)
                .step_by(stride)
                .enumerate()
                .map(move |(m, k)| (shift as isize - m as isize, k))
        };
        // Phases beyond the kernel's side have no tap each; they are kept, since their outputs are the bias.
        let offsets = || (0..stride).flat_map(reads).map(|(offset, _)| offset);
        let origin = offsets().min().unwrap_or(0);
        let extent = offsets().max().unwrap_or(0).abs_diff(origin) + 1;
        let phases = (0..stride).map(|phase| {
            let tap = |(offset, kernel): (isize, usize)| Tap {
                offset: offset.abs_diff(origin),
                kernel,
            };
            reads(phase).map(tap).collect()
        });
        Self {
            step: 1,
            out_step: stride,
            origin,
            extent,
            phases: phases.collect(),
        }
    }

    /// The phases of a plane with this axis in both directions, for kernels with `side` rows and columns.
    pub(crate) fn plane(&self, side: usize) -> Vec<PlanePhase> {
        let sorted = |taps: &[Tap]| {
            let mut taps = taps.to_vec();
            taps.sort_by_key(|tap| tap.offset);
            taps
        };
        let axis: Vec<Vec<Tap>> = self.phases.iter().map(|taps| sorted(taps)).collect();
        let mut phases = Vec::new();
        for (row, rows) in axis.iter().enumerate() {
            for (column, columns) in axis.iter().enumerate() {
                let taps = rows.iter().flat_map(|row| {
                    columns.iter().map(|column| PlaneTap {
                        offset: (row.offset, column.offset),
                        kernel: row.kernel * side + column.kernel,
                    })
                });
                phases.push(PlanePhase {
                    row,
                    column,
                    taps: taps.collect(),
                });
            }
        }
        phases
    }

    /// Cells that cover `size` output positions.
    pub(crate) fn cells(&self, size: usize) -> usize {
        size.div_ceil(self.out_step)
    }

    /// Cells of one phase below `size` output positions.
    pub(crate) fn phase_cells(&self, phase: usize, size: usize) -> usize {
        size.saturating_sub(phase).div_ceil(self.out_step)
    }

    /// Input positions that `cells` neighbouring cells see together.
    pub(crate) fn span(&self, cells: usize) -> usize {
        (cells - 1) * self.step + self.extent
    }
}
