//! Curves with no more points than a plot needs.

/// Points (x, y) in order of falling thresholds.
///
/// A point is left out if its distance from the last kept point is less than `resolution` in both x and y. So the line
/// through the kept points is never further than `resolution` from the line through all points. 0 keeps every point. A
/// curve that rises in x and y keeps at most 2 / `resolution` + 2 points, for any number of pixels. The first and the
/// last point are always kept.
pub type Curve = Vec<[f64; 2]>;

/// A curve that is thinned while it grows. So the points that are left out need no memory.
pub(super) struct Thinned {
    kept: Curve,
    /// The newest point, if it was left out.
    left_out: Option<[f64; 2]>,
    resolution: f64,
}

impl Thinned {
    pub(super) fn new(first: [f64; 2], resolution: f64) -> Self {
        Self {
            kept: vec![first],
            left_out: None,
            resolution,
        }
    }

    pub(super) fn push(&mut self, point: [f64; 2]) {
        let is_far = |last: &[f64; 2]| last.iter().zip(point).any(|(a, b)| (a - b).abs() >= self.resolution);
        if self.kept.last().is_none_or(is_far) {
            self.kept.push(point);
            self.left_out = None;
        } else {
            self.left_out = Some(point);
        }
    }

    pub(super) fn finish(mut self) -> Curve {
        self.kept.extend(self.left_out);
        self.kept
    }
}
