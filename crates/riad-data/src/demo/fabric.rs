//! A texture: plain-woven cloth of a dark warp and a light weft.

use std::f64::consts::{PI, TAU};

use super::render::{Color, NearCurve, Sample, Scene, curve, mix_colors, scale};
use crate::curve::Curve;
use crate::dice::{Dice, fade, grid_value, smooth_noise};

/// Distance from yarn to yarn in pixels.
const PITCH: f64 = 8.0;
/// Half the width of a yarn, where half the pitch is 1.
const HALF_WIDTH: f64 = 0.9;

const WARP: Color = [0.30, 0.37, 0.48];
const WEFT: Color = [0.66, 0.63, 0.56];
/// The background between the yarns.
const GAP: Color = [0.10, 0.10, 0.12];

pub(super) const DEFECTS: [&str; 4] = ["loose_thread", "missing_yarn", "misweave", "worn"];

/// One piece of cloth.
pub(super) struct Fabric {
    /// The position of the image's centre on the cloth, in yarns.
    phase: [f64; 2],
    /// Cosine and sine of the cloth's angle.
    turn: [f64; 2],
    seed: u64,
    defect: Defect,
}

enum Defect {
    None,
    /// A thread that lies on the cloth.
    LooseThread {
        curve: Curve,
        color: Color,
    },
    /// A weft yarn that is missing from one warp yarn to another.
    MissingYarn {
        weft: i64,
        from: f64,
        to: f64,
    },
    /// Crossings where the wrong yarn is on top.
    Misweave {
        warp: i64,
        weft: i64,
        warps: i64,
        wefts: i64,
    },
    /// A worn part on which the weave is hardly visible.
    Worn {
        centre: [f64; 2],
        radii: [f64; 2],
        seed: u64,
    },
}

impl Fabric {
    /// Cloth with the defect of that index in [`DEFECTS`]. Everything else is the same with and without the defect.
    pub(super) fn random(dice: &mut Dice, defect: Option<usize>) -> Self {
        let angle = dice.between(-0.03, 0.03);
        let mut fabric = Self {
            phase: [dice.between(0.0, 2.0), dice.between(0.0, 2.0)],
            turn: [libm::cos(angle), libm::sin(angle)],
            seed: dice.seed(),
            defect: Defect::None,
        };
        let centre = [dice.between(34.0, 94.0), dice.between(34.0, 94.0)];
        let [s, t] = fabric.on_cloth(centre[0], centre[1]);
        let (warp, weft) = (s.floor() as i64, t.floor() as i64);
        fabric.defect = match defect.map(|index| DEFECTS[index]) {
            Some("loose_thread") => Defect::LooseThread {
                curve: curve(
                    centre,
                    dice.between(0.0, PI),
                    dice.between(26.0, 44.0),
                    dice.between(4.0, 12.0),
                ),
                color: if dice.below::<2>() == 0 {
                    scale(WEFT, 1.08)
                } else {
                    scale(WARP, 0.85)
                },
            },
            Some("missing_yarn") => {
                let half = dice.between(1.8, 3.8);
                Defect::MissingYarn {
                    weft,
                    from: s - half,
                    to: s + half,
                }
            }
            Some("misweave") => Defect::Misweave {
                warp,
                weft,
                warps: 2 + dice.below::<3>() as i64,
                wefts: 1 + dice.below::<2>() as i64,
            },
            Some(_) => Defect::Worn {
                centre,
                radii: [dice.between(7.0, 12.0), dice.between(7.0, 12.0)],
                seed: dice.seed(),
            },
            None => Defect::None,
        };
        fabric
    }

    /// From pixels to the cloth's coordinates, where warp yarn i fills s from i to i + 1 and weft yarn j fills t from j
    /// to j + 1. The cloth is pulled a little out of shape.
    fn on_cloth(&self, x: f64, y: f64) -> [f64; 2] {
        let (x, y) = (x - 64.0, y - 64.0);
        let pull = |seed: u64| 0.9 * smooth_noise(self.seed ^ seed, x / 45.0, y / 45.0);
        let s = self.turn[0] * x + self.turn[1] * y + pull(1);
        let t = self.turn[0] * y - self.turn[1] * x + pull(2);
        [s / PITCH + self.phase[0], t / PITCH + self.phase[1]]
    }

    /// 1 where the warp yarn is on top of the weft yarn, −1 where it is below.
    fn warp_side(&self, warp: i64, weft: i64) -> f64 {
        let regular = if (warp + weft).rem_euclid(2) == 0 { 1.0 } else { -1.0 };
        match self.defect {
            Defect::Misweave {
                warp: first_warp,
                weft: first_weft,
                warps,
                wefts,
            } if (0..warps).contains(&(warp - first_warp)) && (0..wefts).contains(&(weft - first_weft)) => -regular,
            _ => regular,
        }
    }

    fn weave(&self, s: f64, t: f64) -> Color {
        let (warp, weft) = (s.floor() as i64, t.floor() as i64);
        // Across the yarns, from −1 to 1.
        let (u, v) = (2.0 * (s - warp as f64) - 1.0, 2.0 * (t - weft as f64) - 1.0);

        // How high each yarn runs: up and down from crossing to crossing.
        let before = (t - 0.5).floor() as i64;
        let along = fade(t - 0.5 - before as f64);
        let warp_height = (1.0 - along) * self.warp_side(warp, before) + along * self.warp_side(warp, before + 1);
        let before = (s - 0.5).floor() as i64;
        let along = fade(s - 0.5 - before as f64);
        let weft_height = -((1.0 - along) * self.warp_side(before, weft) + along * self.warp_side(before + 1, weft));

        let is_missing = matches!(self.defect, Defect::MissingYarn { weft: missing, from, to }
            if weft == missing && (from..to).contains(&s));
        let top = |across: f64, height: f64| {
            let round = 1.0 - (across / HALF_WIDTH) * (across / HALF_WIDTH);
            (round > 0.0).then(|| (0.5 * height + round.max(0.0).sqrt(), height, round.max(0.0).sqrt()))
        };
        let warp_top = top(u, warp_height);
        let weft_top = if is_missing { None } else { top(v, weft_height) };
        let warp_is_seen = match (warp_top, weft_top) {
            (Some(a), Some(b)) => a.0 >= b.0,
            (a, _) => a.is_some(),
        };
        // Light falls in from above left.
        let (seen, base, slant, twist, id) = if warp_is_seen {
            (warp_top, WARP, -0.16 * u, t + 0.5 * u, 2 * warp)
        } else {
            (weft_top, WEFT, -0.14 * v, s + 0.5 * v, 2 * weft + 1)
        };
        let Some((_, height, round)) = seen else { return GAP };
        let yarn = 0.06 * grid_value(self.seed, id, 0);
        let fibre = 0.035 * libm::sin(2.0 * TAU * twist + grid_value(self.seed, id, 1) * 3.0);
        let slub = 0.05 * smooth_noise(self.seed ^ 3, twist * 0.7, id as f64);
        scale(base, 0.60 + 0.30 * round + 0.13 * height + slant + yarn + fibre + slub)
    }
}

impl Scene for Fabric {
    fn sample(&self, x: f64, y: f64) -> Sample {
        let [s, t] = self.on_cloth(x, y);
        let cloth = self.weave(s, t);
        match &self.defect {
            Defect::None => Sample::new(cloth, false),
            Defect::MissingYarn { weft, from, to } => {
                let is_gap = t.floor() as i64 == *weft && (*from..*to).contains(&s);
                Sample::new(cloth, is_gap)
            }
            Defect::Misweave {
                warp,
                weft,
                warps,
                wefts,
            } => {
                let first = (*warp as f64, *weft as f64);
                let is_wrong =
                    (first.0..first.0 + *warps as f64).contains(&s) && (first.1..first.1 + *wefts as f64).contains(&t);
                Sample::new(cloth, is_wrong)
            }
            Defect::LooseThread { curve, color } => {
                let half_width = 1.6;
                let near = NearCurve::of(curve, x, y);
                let round = 1.0 - (near.aside / half_width) * (near.aside / half_width);
                if round > 0.0 {
                    let twist = 0.05 * libm::sin(90.0 * near.along + 1.5 * near.aside);
                    return Sample::new(scale(*color, 0.70 + 0.35 * round.sqrt() + twist), true);
                }
                // Its shadow falls to the lower right.
                let shadow = 1.0 - fade((NearCurve::of(curve, x - 1.2, y - 1.4).aside.abs() - 1.0) / 1.8);
                Sample::new(scale(cloth, 1.0 - 0.4 * shadow), shadow > 0.4)
            }
            Defect::Worn { centre, radii, seed } => {
                let (dx, dy) = ((x - centre[0]) / radii[0], (y - centre[1]) / radii[1]);
                let ragged = 0.25 * smooth_noise(*seed, x / 3.0, y / 3.0);
                let depth = 1.0 - (dx * dx + dy * dy).sqrt() + ragged;
                let cover = fade(depth / 0.3 + 0.5);
                let fuzz = 1.0 + 0.10 * smooth_noise(seed ^ 1, x / 2.0, y / 2.0);
                let felt = scale(mix_colors(WARP, WEFT, 0.5), 0.86 * fuzz);
                Sample {
                    color: mix_colors(cloth, felt, 0.75 * cover),
                    defect: cover,
                }
            }
        }
    }
}
