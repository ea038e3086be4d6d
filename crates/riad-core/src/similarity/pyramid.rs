//! Halving a plane and bringing it back to full size without shifting it.

/// A plane of values, row by row.
pub(super) struct Plane {
    pub(super) values: Vec<f32>,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Plane {
    pub(super) fn row(&self, y: usize) -> &[f32] {
        &self.values[y * self.width..][..self.width]
    }

    pub(super) fn row_mut(&mut self, y: usize) -> &mut [f32] {
        &mut self.values[y * self.width..][..self.width]
    }

    /// A plane of the same size, all zero.
    pub(super) fn zeroed(&self) -> Plane {
        Plane {
            values: vec![0.0; self.values.len()],
            height: self.height,
            width: self.width,
        }
    }

    /// The plane and its repeated halvings, finest first.
    pub(super) fn pyramid<const LEVELS: usize>(self) -> [Plane; LEVELS] {
        let mut next = self;
        std::array::from_fn(|_| {
            let coarser = next.halved();
            std::mem::replace(&mut next, coarser)
        })
    }

    /// Averages blocks of 2x2; a last row or column without a partner is averaged alone.
    ///
    /// Value *i* stands for the pixels *2i* and *2i + 1* in each direction, at every size: dropping the odd last row, or
    /// stretching, would shift the scales against each other.
    fn halved(&self) -> Plane {
        let (height, width) = (self.height.div_ceil(2), self.width.div_ceil(2));
        let mut values = vec![0.0; height * width];
        let mut sums = vec![0.0; self.width];
        for (y, out) in values.chunks_exact_mut(width).enumerate() {
            // Counting a row without a partner twice averages what is there.
            let (upper, lower) = (self.row(2 * y), self.row((2 * y + 1).min(self.height - 1)));
            for ((sum, &upper), &lower) in sums.iter_mut().zip(upper).zip(lower) {
                *sum = upper + lower;
            }
            let (pairs, single) = sums.as_chunks::<2>();
            for (out, [left, right]) in out.iter_mut().zip(pairs) {
                *out = 0.25 * (left + right);
            }
            if let ([single], Some(out)) = (single, out.last_mut()) {
                *out = 0.5 * single;
            }
        }
        Plane { values, height, width }
    }

    /// The transpose of [`halved`](Self::halved): adds to the finer plane what each of its values gave to this one.
    pub(super) fn add_to_finer(&self, finer: &mut Plane) {
        let width = finer.width;
        for (y, fine) in finer.values.chunks_exact_mut(width).enumerate() {
            let share = if y + 1 == finer.height && y.is_multiple_of(2) {
                0.5
            } else {
                0.25
            };
            let coarse = self.row(y / 2);
            let (pairs, single) = fine.as_chunks_mut::<2>();
            for ([left, right], &coarse) in pairs.iter_mut().zip(coarse) {
                *left += share * coarse;
                *right += share * coarse;
            }
            if let ([single], Some(coarse)) = (single, coarse.last()) {
                *single += 2.0 * share * coarse;
            }
        }
    }

    /// Adds the plane to one that is `FACTOR` times as large, interpolated bilinearly between the centres of its values.
    ///
    /// The factor is exactly that of the halvings, also where the finer plane's size is not a multiple of it, so that
    /// every value lands on the pixels that it was averaged from. Beyond the outermost centres the value is constant.
    pub(super) fn add_enlarged<const FACTOR: usize>(&self, finer: &mut Plane) {
        // Pixel `FACTOR * j + FACTOR / 2 + step` lies `(step + 0.5) / FACTOR` of the way from centre j to centre j + 1.
        let shares: [f32; FACTOR] = std::array::from_fn(|step| (step as f32 + 0.5) / FACTOR as f32);
        // One value of padding on both sides is the constant continuation.
        let mut centres = vec![0.0; self.width + 2];
        let mut enlarged = vec![0.0; (self.width + 1) * FACTOR];
        let width = finer.width;
        for (y, out) in finer.values.chunks_exact_mut(width).enumerate() {
            let (below, step) = ((y + FACTOR / 2) / FACTOR, (y + FACTOR / 2) % FACTOR);
            let (upper, lower) = (self.row(below.saturating_sub(1)), self.row(below.min(self.height - 1)));
            for ((centre, &upper), &lower) in centres[1..].iter_mut().zip(upper).zip(lower) {
                *centre = upper + (lower - upper) * shares[step];
            }
            centres[0] = centres[1];
            centres[self.width + 1] = centres[self.width];

            let (steps, _) = enlarged.as_chunks_mut::<FACTOR>();
            for (steps, pair) in steps.iter_mut().zip(centres.windows(2)) {
                for (value, share) in steps.iter_mut().zip(shares) {
                    *value = pair[0] + (pair[1] - pair[0]) * share;
                }
            }
            for (out, value) in out.iter_mut().zip(&enlarged[FACTOR / 2..]) {
                *out += value;
            }
        }
    }
}
