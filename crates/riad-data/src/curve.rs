//! A bent line.
//!
//! Everything is plain f64 arithmetic, so that a line has the same pixels on every platform.

/// A bent line: a quadratic Bézier curve, as short straight pieces.
pub(crate) struct Curve {
    points: Vec<[f64; 2]>,
}

/// A straight piece of a [`Curve`], from one point to another.
pub(crate) struct Piece {
    pub(crate) ends: [[f64; 2]; 2],
}

/// The way to a place from the point of a [`Piece`] that is nearest to it.
pub(crate) struct Nearest {
    /// Where the point lies on the piece, from 0 to 1.
    pub(crate) along: f64,
    /// From the point to the place, as x and y.
    pub(crate) way: [f64; 2],
}

impl Curve {
    /// A curve around `centre` of about `length`, as `pieces`. Its direction is given by cosine and sine. Its middle is
    /// pulled aside by `bend`.
    pub(crate) fn new(centre: [f64; 2], [cos, sin]: [f64; 2], length: f64, bend: f64, pieces: usize) -> Self {
        let point = |index: usize| {
            let t = index as f64 / pieces as f64;
            let (along, aside) = ((t - 0.5) * length, bend * (4.0 * t * (1.0 - t) - 0.5));
            [
                centre[0] + along * cos - aside * sin,
                centre[1] + along * sin + aside * cos,
            ]
        };
        Self {
            points: (0..=pieces).map(point).collect(),
        }
    }

    /// Its pieces, from one end to the other.
    pub(crate) fn pieces(&self) -> impl ExactSizeIterator<Item = Piece> {
        let pairs = self.points.windows(2);
        pairs.map(|ends| Piece {
            ends: [ends[0], ends[1]],
        })
    }

    /// The upper left and the lower right corner of the box that lies `reach` around it.
    pub(crate) fn corners(&self, reach: f64) -> [[f64; 2]; 2] {
        let axis = |axis: usize| self.points.iter().map(move |point| point[axis]);
        [
            [0, 1].map(|of| axis(of).fold(f64::INFINITY, f64::min) - reach),
            [0, 1].map(|of| axis(of).fold(f64::NEG_INFINITY, f64::max) + reach),
        ]
    }
}

impl Piece {
    /// The way from its first end to its second.
    pub(crate) fn line(&self) -> [f64; 2] {
        let [from, to] = self.ends;
        [to[0] - from[0], to[1] - from[1]]
    }

    pub(crate) fn nearest(&self, x: f64, y: f64) -> Nearest {
        let (from, line) = (self.ends[0], self.line());
        let to = [x - from[0], y - from[1]];
        let squared = line[0] * line[0] + line[1] * line[1];
        let along = ((to[0] * line[0] + to[1] * line[1]) / squared).clamp(0.0, 1.0);
        Nearest {
            along,
            way: [to[0] - along * line[0], to[1] - along * line[1]],
        }
    }
}

impl Nearest {
    pub(crate) fn distance(&self) -> f64 {
        (self.way[0] * self.way[0] + self.way[1] * self.way[1]).sqrt()
    }
}
