//! Made-up defects on good images, to test a model without real defects.
//!
//! They are not like the defects of real products, so they do not estimate accuracy. They show how large a change of a
//! kind must be before a model finds it.
//!
//! Their kinds are different from the damage that a network is trained to undo ([`Corruptions`](crate::Corruptions)).
//! Training covers parts with something opaque: a piece of an image, a colour, a mean. A made-up defect lights, tints,
//! bends, grains or doubles what is there. Only a missing part is covered, by its surroundings closing in. Training
//! does not do that.
//!
//! A seed decides everything, with arithmetic that is the same on every platform.

use std::f64::consts::TAU;
use std::fmt;

use riad_core::{Map, Size};

use crate::Image;
use crate::corruption::Region;
use crate::curve::Curve;
use crate::dice::{Dice, smooth_noise};

/// A pixel belongs to a defect if a channel has changed by more than this share of the range; less can hardly be seen.
const VISIBLE: f32 = 8.0 / 255.0;

/// The number of tries to draw a defect that is visible on an image.
const ATTEMPTS: usize = 50;

/// The share of a defect's shape that must have changed visibly: not a few pixels of its edge.
const SEEN: f64 = 1.0 / 3.0;

/// How far beyond its radius a shape with an uneven edge reaches, as a multiple.
const UNEVEN: f64 = 1.35;

/// A kind of made-up defect.
#[doc(alias = "synthetic_anomaly")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Flaw {
    /// A bent groove with a ridge beside it, darker and brighter than the surface.
    Scratch,
    /// A transparent stain: the surface shows through in other light and colours.
    Spot,
    /// The surface is drawn together or apart, with a bright and a dark side.
    Dent,
    /// A part is gone, and its surroundings close in.
    Missing,
    /// A rough part, with grains in all channels.
    Grain,
    /// A part that appears twice, a little apart.
    Double,
}

/// A defect of a kind and a size.
#[doc(alias = "synthetic_anomaly")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MadeUp {
    /// Its kind.
    pub flaw: Flaw,
    /// Its approximate length from end to end, in pixels of the image. Less than 1 counts as 1.
    pub length: f64,
    /// The seed of its position and its appearance. Defects of the same kind and seed have the same place, if they are
    /// visible there, and grow with their length.
    pub seed: u64,
}

impl Flaw {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Scratch,
        Self::Spot,
        Self::Dent,
        Self::Missing,
        Self::Grain,
        Self::Double,
    ];

    /// Its name in one word, such as `scratch`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::Spot => "spot",
            Self::Dent => "dent",
            Self::Missing => "missing",
            Self::Grain => "grain",
            Self::Double => "double",
        }
    }

    /// Its plural, such as `scratches`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Scratch => "scratches",
            Self::Spot => "spots",
            Self::Dent => "dents",
            Self::Missing => "missing parts",
            Self::Grain => "rough parts",
            Self::Double => "doubled parts",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl MadeUp {
    /// `image` with the defect, and the pixels that it changes visibly. `may_be` gets a position, x and y in [0, 1) of
    /// width and height. It returns whether the middle of the defect may lie at this position.
    ///
    /// `None` if it is invisible at each of many places, such as a doubled part on plain ground.
    pub fn on(self, image: &Image, may_be: impl Fn(f64, f64) -> bool) -> Option<(Image, Map<bool>)> {
        let mut dice = Dice::new(self.seed, self.flaw as u64);
        (0..ATTEMPTS).find_map(|_| {
            // Each attempt has its own stream, so the length of a defect does not change later attempts.
            let mut dice = Dice::new(dice.seed(), 0);
            let place = [(); 2].map(|()| dice.between(0.1, 0.9));
            may_be(place[0], place[1])
                .then(|| self.at(image, place, &mut dice))
                .flatten()
        })
    }

    /// The image with the defect at a place, and its mask; `None` if it cannot be seen there.
    fn at(self, image: &Image, place: [f64; 2], dice: &mut Dice) -> Option<(Image, Map<bool>)> {
        let size = image.size();
        let centre = [place[0] * size.width as f64, place[1] * size.height as f64];
        let length = self.length.max(1.0);
        let blob = Blob::new(centre, length, dice);
        let (region, values) = match self.flaw {
            Flaw::Scratch => scratch(image, centre, length, dice),
            Flaw::Spot => spot(image, &blob, dice),
            Flaw::Dent => dent(image, &blob, dice),
            Flaw::Missing => missing(image, &blob)?,
            Flaw::Grain => grain(image, &blob, dice),
            Flaw::Double => double(image, &blob, dice),
        };
        let (Size { width, .. }, pixels, of_box) = (size, size.pixels(), region.size.pixels());
        // Where each pixel of the box is in a plane of the image.
        let places = || {
            let rows = region.top..region.top + region.size.height;
            rows.flat_map(|row| row * width + region.left..row * width + region.left + region.size.width)
        };
        let is_seen = |(index, at): (usize, usize)| {
            let mut channels = 0..image.channels();
            channels.any(|c| (image.values()[c * pixels + at] - values[c * of_box + index]).abs() > VISIBLE)
        };
        let seen: Vec<bool> = places().enumerate().map(is_seen).collect();
        let shape = region.share().iter().filter(|share| **share > 0.5).count();
        let count = seen.iter().filter(|seen| **seen).count();
        if count == 0 || (count as f64) < SEEN * shape as f64 {
            return None;
        }
        let (mut changed, mut mask) = (image.clone(), Map::filled(size, false));
        for (at, seen) in places().zip(seen) {
            mask.values_mut()[at] = seen;
        }
        for (channel, plane) in changed.values_mut().chunks_exact_mut(pixels).enumerate() {
            for (at, value) in places().zip(&values[channel * of_box..]) {
                plane[at] = *value;
            }
        }
        Some((changed, mask))
    }
}

/// What a region's box shows then, channel by channel.
type Patch = (Region, Vec<f32>);

/// A roundish shape with an uneven edge.
struct Blob {
    /// Its middle, as x and y in pixels.
    centre: [f64; 2],
    /// Half of its length, and of its breadth.
    half: [f64; 2],
    /// Cosine and sine of its angle.
    turn: [f64; 2],
    seed: u64,
}

impl Blob {
    fn new(centre: [f64; 2], length: f64, dice: &mut Dice) -> Self {
        let long = length / 2.0;
        Self {
            centre,
            half: [long, long * dice.between(0.6, 1.0)],
            turn: direction(dice),
            seed: dice.seed(),
        }
    }

    /// How far a place is from the middle: 1 at the edge.
    fn distance(&self, x: f64, y: f64) -> f64 {
        let (right, down) = (x - self.centre[0], y - self.centre[1]);
        let [cos, sin] = self.turn;
        let along = (right * cos + down * sin) / self.half[0];
        let across = (down * cos - right * sin) / self.half[1];
        (along * along + across * across).sqrt()
    }

    fn region(&self, size: Size) -> Region {
        let edge = soft_edge(size);
        let reach = UNEVEN * self.half[0] + edge;
        let feature = (self.half[0] / 1.5).max(1.0);
        Region::new(
            size,
            self.centre.map(|middle| middle - reach),
            self.centre.map(|middle| middle + reach),
            |x, y| {
                let uneven = 0.25 * smooth_noise(self.seed, x / feature, y / feature);
                0.5 + (1.0 - self.distance(x, y) - uneven) * self.half[1] / edge
            },
        )
    }
}

/// The smallest width in pixels of a defect's edge: a lens shows no sharper edge.
fn soft_edge(size: Size) -> f64 {
    (size.height.max(size.width) as f64 / 400.0).max(1.0)
}

/// Cosine and sine of any angle.
fn direction(dice: &mut Dice) -> [f64; 2] {
    let angle = dice.between(0.0, TAU);
    [libm::cos(angle), libm::sin(angle)]
}

fn sign(dice: &mut Dice) -> f64 {
    if dice.chance(0.5) { 1.0 } else { -1.0 }
}

/// A value in brighter light, or with `light` below 0 in darker; black is not quite black.
fn lit(value: f32, light: f32) -> f32 {
    value + light * (0.25 + 0.75 * value)
}

/// What a region's box shows where `new` is blended into it, which is told the plane and its number, the place in it and the
/// pixel's middle.
fn blended(image: &Image, region: Region, mut new: impl FnMut((usize, &[f32]), usize, [f64; 2]) -> f32) -> Patch {
    let width = image.size().width;
    let mut values = Vec::with_capacity(image.channels() * region.size.pixels());
    for (channel, plane) in image.planes().enumerate() {
        let mut shares = region.share().iter();
        for y in region.top..region.top + region.size.height {
            for (x, &share) in (region.left..region.left + region.size.width).zip(shares.by_ref()) {
                let (at, before) = (y * width + x, plane[y * width + x]);
                values.push(if share > 0.0 {
                    let value = new((channel, plane), at, [x as f64 + 0.5, y as f64 + 0.5]);
                    before + share * (value.clamp(0.0, 1.0) - before)
                } else {
                    before
                });
            }
        }
    }
    (region, values)
}

/// The value of a channel at a place, bilinearly; beyond the image's border it is the value of the border.
fn sampled(plane: &[f32], size: Size, [x, y]: [f64; 2]) -> f32 {
    let (u, v) = (x - 0.5, y - 0.5);
    let (left, top) = (u.floor(), v.floor());
    let (right, down) = ((u - left) as f32, (v - top) as f32);
    let inside = |value: f64, side: usize| value.clamp(0.0, side as f64 - 1.0) as usize;
    let columns = [left, left + 1.0].map(|value| inside(value, size.width));
    let rows = [top, top + 1.0].map(|value| inside(value, size.height) * size.width);
    let of_row = |row: usize| plane[row + columns[0]] * (1.0 - right) + plane[row + columns[1]] * right;
    of_row(rows[0]) * (1.0 - down) + of_row(rows[1]) * down
}

fn scratch(image: &Image, centre: [f64; 2], length: f64, dice: &mut Dice) -> Patch {
    let direction = direction(dice);
    let bend = length * dice.between(-0.25, 0.25);
    let half_width = (length * dice.between(0.015, 0.03)).max(0.5);
    let light = sign(dice) * dice.between(0.4, 0.7);
    let curve = Curve::new(centre, direction, length, bend, 12);
    // How far a place is from the line, below 0 to its right.
    let distance = |x: f64, y: f64| {
        let distances = curve.pieces().map(|piece| {
            let (from, line) = (piece.ends[0], piece.line());
            let to = [x - from[0], y - from[1]];
            let side = if line[0] * to[1] < line[1] * to[0] { -1.0 } else { 1.0 };
            side * piece.nearest(x, y).distance()
        });
        distances.fold(f64::INFINITY, |a, b| if b.abs() < a.abs() { b } else { a })
    };
    let covered = |distance: f64| (0.5 + half_width - distance.abs()).clamp(0.0, 1.0);
    // The groove, and the ridge beside it.
    let lines = |x, y| [covered(distance(x, y)), covered(distance(x, y) - 2.0 * half_width)];
    let reach = 3.0 * half_width + 1.0;
    let [from, to] = curve.corners(reach);
    let region = Region::new(image.size(), from, to, |x, y| {
        let [groove, ridge] = lines(x, y);
        groove.max(ridge)
    });
    blended(image, region, |(_, plane), at, [x, y]| {
        let [groove, ridge] = lines(x, y);
        let share = groove.max(ridge);
        lit(plane[at], (light * (0.6 * ridge - groove) / share) as f32)
    })
}

fn spot(image: &Image, blob: &Blob, dice: &mut Dice) -> Patch {
    let base = sign(dice) * dice.between(0.3, 0.5);
    let lights = (0..image.channels()).map(|_| (base + dice.between(-0.2, 0.2)) as f32);
    let lights: Vec<f32> = lights.collect();
    blended(image, blob.region(image.size()), |(channel, plane), at, _| {
        lit(plane[at], lights[channel])
    })
}

fn dent(image: &Image, blob: &Blob, dice: &mut Dice) -> Patch {
    let pull = sign(dice) * dice.between(0.3, 0.6);
    let (from_light, strength) = (direction(dice), dice.between(0.5, 0.9));
    blended(image, blob.region(image.size()), |(_, plane), _, [x, y]| {
        let (right, down) = (x - blob.centre[0], y - blob.centre[1]);
        // Most in the middle, and nothing at the edge.
        let scale = 1.0 + pull * (1.0 - blob.distance(x, y)).max(0.0);
        let from = [blob.centre[0] + right * scale, blob.centre[1] + down * scale];
        let slope = (right * from_light[0] + down * from_light[1]) / blob.half[0];
        lit(
            sampled(plane, image.size(), from),
            (strength * slope.clamp(-1.0, 1.0)) as f32,
        )
    })
}

/// `None` if nothing of the image is around the part.
fn missing(image: &Image, blob: &Blob) -> Option<Patch> {
    const AROUND: usize = 32;
    let size = image.size();
    let beyond = UNEVEN + 2.0 * soft_edge(size) / blob.half[1];
    let [cos, sin] = blob.turn;
    let place = |index: usize| {
        let angle = TAU * index as f64 / AROUND as f64;
        let along = blob.half[0] * beyond * libm::cos(angle);
        let across = blob.half[1] * beyond * libm::sin(angle);
        [
            blob.centre[0] + along * cos - across * sin,
            blob.centre[1] + along * sin + across * cos,
        ]
    };
    let is_inside = |place: &[f64; 2]| {
        (0.0..size.width as f64).contains(&place[0]) && (0.0..size.height as f64).contains(&place[1])
    };
    let rim: Vec<[f64; 2]> = (0..AROUND).map(place).filter(is_inside).collect();
    if rim.is_empty() {
        return None;
    }
    let of_plane = |plane: &[f32]| rim.iter().map(|&place| sampled(plane, size, place)).collect();
    let values: Vec<Vec<f32>> = image.planes().map(of_plane).collect();
    Some(blended(image, blob.region(size), |(channel, _), _, [x, y]| {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (place, &value) in rim.iter().zip(&values[channel]) {
            let (right, down) = (place[0] - x, place[1] - y);
            let weight = 1.0 / (right * right + down * down + 1.0);
            sum += weight * f64::from(value);
            weights += weight;
        }
        (sum / weights) as f32
    }))
}

fn grain(image: &Image, blob: &Blob, dice: &mut Dice) -> Patch {
    let size = image.size();
    // Finer grains would vanish if the image is made smaller.
    let feature = (size.height.max(size.width) as f64 / 256.0).max(1.0);
    let strength = dice.between(0.4, 0.6);
    let seeds: Vec<u64> = (0..image.channels()).map(|_| dice.seed()).collect();
    blended(image, blob.region(size), |(channel, plane), at, [x, y]| {
        let noise = smooth_noise(seeds[channel], (x - 0.5) / feature, (y - 0.5) / feature);
        plane[at] + (strength * noise) as f32
    })
}

fn double(image: &Image, blob: &Blob, dice: &mut Dice) -> Patch {
    let ([cos, sin], apart) = (direction(dice), blob.half[0] * dice.between(0.5, 1.5) + 1.0);
    blended(image, blob.region(image.size()), |(_, plane), at, [x, y]| {
        let other = sampled(plane, image.size(), [x + apart * cos, y + apart * sin]);
        0.5 * (plane[at] + other)
    })
}
