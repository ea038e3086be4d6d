//! An object: a round enamel badge with a steel rim, a ring of dots and a star.

use std::f64::consts::TAU;

use super::render::{Color, NearCurve, Sample, Scene, curve, mix_colors, scale};
use crate::curve::Curve;
use crate::dice::{Dice, fade, smooth_noise};

const RIM_OUTSIDE: f64 = 50.0;
const RIM_INSIDE: f64 = 42.0;
const LINE: [f64; 2] = [36.6, 38.6];
const DOTS: u32 = 10;
const DOT_ORBIT: f64 = 28.5;
const DOT_RADIUS: f64 = 4.4;
const STAR: [f64; 2] = [20.0, 8.5];

const MAT: Color = [0.25, 0.26, 0.28];
const STEEL: Color = [0.66, 0.67, 0.69];
const ENAMEL: Color = [0.10, 0.36, 0.42];
const PRINT: Color = [0.84, 0.83, 0.76];
const GOLD: Color = [0.80, 0.62, 0.26];

/// The direction of the light: from above left, as a unit vector in the image plane.
const LIGHT: [f64; 2] = [-0.6, -0.8];

pub(super) const DEFECTS: [&str; 4] = ["contamination", "dent", "missing_print", "scratch"];

/// One badge on a mat.
pub(super) struct Badge {
    centre: [f64; 2],
    angle: f64,
    seed: u64,
    defect: Defect,
}

enum Defect {
    None,
    /// A crumb that lies on the badge.
    Contamination {
        centre: [f64; 2],
        radius: f64,
        seed: u64,
        color: Color,
    },
    /// A hollow with a bright and a dark side.
    Dent {
        centre: [f64; 2],
        radius: f64,
        depth: f64,
    },
    /// Two neighbouring dots of the print that are missing.
    MissingPrint {
        first: u32,
    },
    /// A line scraped into the surface.
    Scratch {
        curve: Curve,
        strength: f64,
    },
}

impl Badge {
    /// A badge with the defect of that index in [`DEFECTS`]. Everything else is the same with and without the defect.
    pub(super) fn random(dice: &mut Dice, defect: Option<usize>) -> Self {
        let centre = [64.0 + dice.between(-2.0, 2.0), 64.0 + dice.between(-2.0, 2.0)];
        let angle = dice.between(-0.08, 0.08);
        let seed = dice.seed();
        let (orbit, direction) = (dice.between(8.0, 33.0), dice.between(0.0, TAU));
        let at = [
            centre[0] + orbit * libm::cos(direction),
            centre[1] + orbit * libm::sin(direction),
        ];
        let defect = match defect.map(|index| DEFECTS[index]) {
            Some("contamination") => Defect::Contamination {
                centre: at,
                radius: dice.between(4.0, 6.0),
                seed: dice.seed(),
                color: scale([0.11, 0.09, 0.08], dice.between(0.7, 1.3)),
            },
            Some("dent") => Defect::Dent {
                centre: at,
                radius: dice.between(6.5, 9.0),
                depth: dice.between(0.30, 0.42),
            },
            Some("missing_print") => Defect::MissingPrint {
                first: dice.below::<{ DOTS as u64 }>() as u32,
            },
            Some(_) => Defect::Scratch {
                curve: curve(
                    at,
                    dice.between(0.0, TAU),
                    dice.between(28.0, 44.0),
                    dice.between(-3.0, 3.0),
                ),
                strength: dice.between(0.26, 0.40),
            },
            None => Defect::None,
        };
        Self {
            centre,
            angle,
            seed,
            defect,
        }
    }

    fn good(&self, x: f64, y: f64) -> Color {
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        let radius = (dx * dx + dy * dy).sqrt();
        if radius >= RIM_OUTSIDE {
            return self.mat(x, y, dx, dy);
        }
        // The cosine between the surface's outward direction and the light.
        let facing = (dx * LIGHT[0] + dy * LIGHT[1]) / radius.max(1e-9);
        let direction = libm::atan2(dy, dx) - self.angle;
        if radius >= RIM_INSIDE {
            return rim(radius, facing);
        }
        let (face, is_raised) = self.face(dx, dy, radius, direction);
        // The rim throws a soft shadow onto the face on the side of the light.
        let shadow = 0.45 * fade((radius - RIM_INSIDE + 4.0) / 4.0) * (0.5 + 0.5 * facing);
        let dome = if is_raised {
            0.0
        } else {
            0.12 * facing * radius / RIM_INSIDE
        };
        scale(face, (1.0 + dome) * (1.0 - shadow))
    }

    fn mat(&self, x: f64, y: f64, dx: f64, dy: f64) -> Color {
        // The badge's shadow lies to the lower right.
        let (sx, sy) = (dx - 2.0, dy - 2.5);
        let shadow = 1.0 - fade(((sx * sx + sy * sy).sqrt() - RIM_OUTSIDE + 1.0) / 5.0);
        let grain = 0.06 * smooth_noise(self.seed, x / 9.0, y / 9.0);
        scale(MAT, (1.0 + grain) * (1.0 - 0.55 * shadow))
    }

    /// The enamel with its print, and whether the point is on the raised star.
    fn face(&self, dx: f64, dy: f64, radius: f64, direction: f64) -> (Color, bool) {
        if radius < STAR[0]
            && let Some(gold) = star(dx, dy, radius, direction)
        {
            return (gold, true);
        }
        if (LINE[0]..LINE[1]).contains(&radius) {
            return (PRINT, false);
        }
        let dot = nearest_dot(direction);
        if self.distance_to_dot(dot, dx, dy) < DOT_RADIUS && !self.is_missing(dot) {
            return (PRINT, false);
        }
        (ENAMEL, false)
    }

    fn is_missing(&self, dot: u32) -> bool {
        matches!(self.defect, Defect::MissingPrint { first } if dot == first || dot == (first + 1) % DOTS)
    }

    fn distance_to_dot(&self, dot: u32, dx: f64, dy: f64) -> f64 {
        let direction = self.angle + f64::from(dot) * TAU / f64::from(DOTS);
        let (ex, ey) = (
            dx - DOT_ORBIT * libm::cos(direction),
            dy - DOT_ORBIT * libm::sin(direction),
        );
        (ex * ex + ey * ey).sqrt()
    }
}

fn nearest_dot(direction: f64) -> u32 {
    let turns = direction / TAU;
    let turns = turns - turns.floor();
    (turns * f64::from(DOTS) + 0.5) as u32 % DOTS
}

/// A rounded ring.
fn rim(radius: f64, facing: f64) -> Color {
    let middle = 0.5 * (RIM_OUTSIDE + RIM_INSIDE);
    let tilt = (radius - middle) / (0.5 * (RIM_OUTSIDE - RIM_INSIDE));
    scale(STEEL, 0.86 + 0.36 * tilt * facing - 0.10 * tilt * tilt)
}

/// The colour of a faceted star of five points; `None` beside it.
fn star(dx: f64, dy: f64, radius: f64, direction: f64) -> Option<Color> {
    let sector = TAU / 10.0;
    // Every tenth of a turn is a facet; the star points upwards.
    let turned = (direction + TAU / 4.0) / sector;
    let facet = turned.floor();
    let within = turned - facet;
    let is_after_tip = (facet as i64).rem_euclid(2) == 0;
    // Angle from the tip, mirrored so that both facets of a tip are the same triangle.
    let from_tip = sector * if is_after_tip { within } else { 1.0 - within };
    let (along, aside) = (radius * libm::cos(from_tip), radius * libm::sin(from_tip));
    let valley = [STAR[1] * libm::cos(sector), STAR[1] * libm::sin(sector)];
    // On which side of the edge from tip to valley the point lies.
    let edge = (STAR[0] - along) * valley[1] - aside * (STAR[0] - valley[0]);
    if edge < 0.0 {
        return None;
    }
    let middle = (facet + 0.5) * sector - TAU / 4.0 + if is_after_tip { sector } else { -sector };
    // The facet slopes away from the tip's ridge, in the direction of `middle` as the badge lies on the mat.
    let turn = libm::atan2(dy, dx) - direction;
    let slope = libm::cos(middle + turn) * LIGHT[0] + libm::sin(middle + turn) * LIGHT[1];
    Some(scale(GOLD, 0.90 + 0.18 * slope))
}

impl Scene for Badge {
    fn sample(&self, x: f64, y: f64) -> Sample {
        let good = self.good(x, y);
        match &self.defect {
            Defect::None => Sample::new(good, false),
            Defect::MissingPrint { .. } => {
                let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
                let dot = nearest_dot(libm::atan2(dy, dx) - self.angle);
                let is_gap = self.is_missing(dot) && self.distance_to_dot(dot, dx, dy) < DOT_RADIUS;
                Sample::new(good, is_gap)
            }
            Defect::Contamination {
                centre,
                radius,
                seed,
                color,
            } => {
                let (dx, dy) = (x - centre[0], y - centre[1]);
                let ragged = 1.2 * smooth_noise(*seed, x / 2.5, y / 2.5);
                let depth = radius + ragged - (dx * dx + dy * dy).sqrt();
                let cover = fade(depth / 0.8 + 0.5);
                let lump = 1.0 + 0.25 * smooth_noise(seed ^ 1, x / 1.5, y / 1.5);
                Sample {
                    color: mix_colors(good, scale(*color, lump), 0.85 * cover),
                    defect: cover,
                }
            }
            Defect::Dent { centre, radius, depth } => {
                let (dx, dy) = ((x - centre[0]) / radius, (y - centre[1]) / radius);
                let distance = (dx * dx + dy * dy).sqrt();
                // A hollow's slope faces inwards: the side away from the light is the bright one.
                let slope = 4.0 * distance * (1.0 - distance).max(0.0);
                let facing = -(dx * LIGHT[0] + dy * LIGHT[1]) / distance.max(1e-9);
                let light = depth * slope * facing;
                Sample::new(good.map(|c| c + light), distance < 0.95)
            }
            Defect::Scratch { curve, strength } => {
                let near = NearCurve::of(curve, x, y);
                // A bright groove with a dark edge on its right-hand side, fading out at both ends.
                let ends = fade(8.0 * near.along) * fade(8.0 * (1.0 - near.along));
                let bright = 1.0 - fade((near.aside.abs() - 0.7) / 0.6);
                let dark = 1.0 - fade(((near.aside - 1.9).abs() - 0.5) / 0.6);
                let light = ends * strength * (bright - 0.5 * dark);
                let is_scratch = ends > 0.3 && (-1.1..2.6).contains(&near.aside);
                Sample::new(good.map(|c| c + light), is_scratch)
            }
        }
    }
}
