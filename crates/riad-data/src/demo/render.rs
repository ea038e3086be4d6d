//! Draws a scene into pixels, with random changes from shot to shot.
//!
//! Everything is plain f64 arithmetic, square roots, and functions of the `libm` crate, none of which depends on the
//! platform: the same seed draws the same pixels everywhere.

use crate::{
    curve::Curve,
    dice::{Dice, mix},
};

/// Side of every image in pixels.
pub(super) const SIDE: usize = 128;

/// Sample points per pixel and axis.
const SAMPLES: usize = 3;

/// The appearance of a scene at a point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Red, green and blue; [0, 1] is what a camera can show.
    pub(super) color: Color,
    /// The share of the defect at this point, in [0, 1].
    pub(super) defect: f64,
}

impl Sample {
    pub(super) fn new(color: Color, is_defect: bool) -> Self {
        let defect = if is_defect { 1.0 } else { 0.0 };
        Self { color, defect }
    }
}

pub(super) type Color = [f64; 3];

/// A scene to draw. Coordinates are in pixels from the upper left corner, x to the right and y downwards.
pub(super) trait Scene {
    fn sample(&self, x: f64, y: f64) -> Sample;
}

/// A drawn scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// `SIDE`² pixels of red, green, blue.
    pub(super) rgb: Vec<u8>,
    /// `SIDE`² pixels: 255 where the defect fills at least half of a pixel.
    pub(super) mask: Vec<u8>,
}

/// How a camera station differs from shot to shot.
#[derive(Clone, Debug)]
pub(super) struct Lighting {
    gain: f64,
    /// Change of brightness from one side of the image to the other, along x and y.
    slope: [f64; 2],
    noise_seed: u64,
}

impl Lighting {
    pub(super) fn random(dice: &mut Dice) -> Self {
        Self {
            gain: dice.between(0.96, 1.04),
            slope: [dice.between(-0.07, 0.07), dice.between(-0.07, 0.07)],
            noise_seed: dice.seed(),
        }
    }
}

/// Draws a scene, averaging over a grid of points in each pixel.
pub(super) fn render(scene: &dyn Scene, lighting: &Lighting) -> Picture {
    let mut noise = Dice::new(lighting.noise_seed, 0);
    let mut picture = Picture {
        rgb: Vec::new(),
        mask: Vec::new(),
    };
    for row in 0..SIDE {
        for column in 0..SIDE {
            let mut color = [0.0; 3];
            let mut defect = 0.0;
            for i in 0..SAMPLES * SAMPLES {
                let at = |pixel: usize, step: usize| pixel as f64 + (step as f64 + 0.5) / SAMPLES as f64;
                let sample = scene.sample(at(column, i % SAMPLES), at(row, i / SAMPLES));
                for (sum, value) in color.iter_mut().zip(sample.color) {
                    *sum += value;
                }
                defect += sample.defect;
            }
            let count = (SAMPLES * SAMPLES) as f64;
            let offset = |pixel: usize| pixel as f64 / SIDE as f64 - 0.5;
            let light = lighting.gain + lighting.slope[0] * offset(column) + lighting.slope[1] * offset(row);
            for sum in color {
                let value = sum / count * light + 0.006 * noise.bell();
                picture.rgb.push((value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8);
            }
            picture.mask.push(if defect / count >= 0.5 { 255 } else { 0 });
        }
    }
    picture
}

pub(super) fn mix_colors(a: Color, b: Color, share_of_b: f64) -> Color {
    [0, 1, 2].map(|i| mix(a[i], b[i], share_of_b))
}

pub(super) fn scale(color: Color, factor: f64) -> Color {
    color.map(|value| value * factor)
}

/// The position of a point relative to a curve.
pub(super) struct NearCurve {
    /// Distance to the curve, positive on its right-hand side.
    pub(super) aside: f64,
    /// Position along the curve, from 0 at the start to 1 at the end.
    pub(super) along: f64,
}

impl NearCurve {
    pub(super) fn of(curve: &Curve, x: f64, y: f64) -> Self {
        let mut nearest = Self {
            aside: f64::INFINITY,
            along: 0.0,
        };
        let pieces = curve.pieces();
        let count = pieces.len() as f64;
        for (i, piece) in pieces.enumerate() {
            let near = piece.nearest(x, y);
            let distance = near.distance();
            if distance < nearest.aside.abs() {
                let (line, way) = (piece.line(), near.way);
                let side = if line[0] * way[1] - line[1] * way[0] < 0.0 {
                    -1.0
                } else {
                    1.0
                };
                nearest = Self {
                    aside: distance * side,
                    along: (i as f64 + near.along) / count,
                };
            }
        }
        nearest
    }
}

/// A curve of a demo image: around `centre`, in direction `angle`.
pub(super) fn curve(centre: [f64; 2], angle: f64, length: f64, bend: f64) -> Curve {
    Curve::new(centre, [libm::cos(angle), libm::sin(angle)], length, bend, 24)
}
