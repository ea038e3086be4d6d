//! The position and shape of a damaged part.

use std::f64::consts::TAU;

use riad_core::Size;

use super::fill::Fill;
use crate::{
    Image,
    curve::Curve,
    dice::{Dice, smooth_noise},
};

/// A part of an image, as the box around it.
pub(crate) struct Region {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) size: Size,
    /// How much of each pixel of the box belongs to it, in [0, 1], row by row.
    share: Vec<f32>,
}

/// The smallest size that is drawn, in pixels.
const SMALLEST: f64 = 2.0;

/// The largest piece that is drawn, as a share of the image's shorter side. It is large, because most of a product may
/// be missing, or in another position.
const LARGEST: f64 = 0.75;

impl Region {
    /// The part of the box from `[left, top]` to `[right, bottom]` that `share` gives for pixels' centres.
    pub(crate) fn new(size: Size, from: [f64; 2], to: [f64; 2], mut share: impl FnMut(f64, f64) -> f64) -> Self {
        let clipped = |value: f64, side: usize| value.clamp(0.0, side as f64) as usize;
        let (left, top) = (
            clipped(from[0].floor(), size.width),
            clipped(from[1].floor(), size.height),
        );
        let (right, bottom) = (clipped(to[0].ceil(), size.width), clipped(to[1].ceil(), size.height));
        let of_box = Size::new(bottom.saturating_sub(top), right.saturating_sub(left));
        let mut values = Vec::with_capacity(of_box.pixels());
        for y in top..top + of_box.height {
            for x in left..left + of_box.width {
                values.push(share(x as f64 + 0.5, y as f64 + 0.5).clamp(0.0, 1.0) as f32);
            }
        }
        Self {
            left,
            top,
            size: of_box,
            share: values,
        }
    }

    /// How much of each pixel of the box belongs to it, in [0, 1], row by row.
    pub(crate) fn share(&self) -> &[f32] {
        &self.share
    }

    pub(super) fn is_empty(&self) -> bool {
        self.share.is_empty()
    }

    /// The middle of its box, as x and y in pixels.
    pub(super) fn centre(&self) -> [f64; 2] {
        [
            self.left as f64 + self.size.width as f64 / 2.0,
            self.top as f64 + self.size.height as f64 / 2.0,
        ]
    }

    /// A rectangle of up to [`LARGEST`] of the image's shorter side, at any angle.
    pub(super) fn rectangle(size: Size, dice: &mut Dice) -> Self {
        let half = half_axes(size, dice);
        let edge = edge(half, dice);
        Self::around(size, half, dice, |along, across| {
            let inside = (half[0] - along.abs()).min(half[1] - across.abs());
            0.5 + inside / edge
        })
    }

    /// An ellipse of up to [`LARGEST`] of the image's shorter side, at any angle.
    pub(super) fn ellipse(size: Size, dice: &mut Dice) -> Self {
        let half = half_axes(size, dice);
        let edge = edge(half, dice);
        Self::around(size, half, dice, |along, across| {
            let (u, v) = (along / half[0], across / half[1]);
            0.5 + (1.0 - (u * u + v * v).sqrt()) * half[0].min(half[1]) / edge
        })
    }

    /// A region at a random position in an image, turned by any angle. The distances along its axes from its centre are
    /// at most these.
    fn around(size: Size, half: [f64; 2], dice: &mut Dice, share: impl Fn(f64, f64) -> f64) -> Self {
        let centre = anywhere(size, dice);
        let angle = dice.between(0.0, TAU);
        let (cos, sin) = (libm::cos(angle), libm::sin(angle));
        let reach = [
            half[0] * cos.abs() + half[1] * sin.abs() + 1.0,
            half[0] * sin.abs() + half[1] * cos.abs() + 1.0,
        ];
        let from = [centre[0] - reach[0], centre[1] - reach[1]];
        let to = [centre[0] + reach[0], centre[1] + reach[1]];
        Self::new(size, from, to, |x, y| {
            let (right, down) = (x - centre[0], y - centre[1]);
            share(right * cos + down * sin, down * cos - right * sin)
        })
    }

    /// Where smooth noise is above a threshold, in a box of any size.
    pub(super) fn islands(size: Size, dice: &mut Dice) -> Self {
        let longest = size.height.max(size.width) as f64;
        let side = length(2.0 * SMALLEST, longest, dice);
        let feature = dice.of_any_size(SMALLEST, (side / 2.0).max(SMALLEST + 0.5));
        let centre = anywhere(size, dice);
        let (threshold, seed) = (dice.between(0.0, 0.5), dice.seed());
        let sharpness = if dice.chance(0.5) { 8.0 } else { dice.between(1.0, 4.0) };
        let from = [centre[0] - side / 2.0, centre[1] - side / 2.0];
        let to = [centre[0] + side / 2.0, centre[1] + side / 2.0];
        Self::new(size, from, to, |x, y| {
            let noise = smooth_noise(seed, x / feature, y / feature);
            // The box must not be visible, so the noise falls towards its edge.
            let (u, v) = (2.0 * (x - centre[0]) / side, 2.0 * (y - centre[1]) / side);
            let sink = (u * u).max(v * v);
            (noise - threshold - sink * sink * sink) * sharpness
        })
    }

    /// A bent line of one pixel to a thirtieth of the image wide.
    pub(super) fn stroke(size: Size, dice: &mut Dice) -> Self {
        let shorter = size.height.min(size.width) as f64;
        let radius = dice.of_any_size(0.5, (shorter / 60.0).max(1.0));
        let length = dice.of_any_size(2.0 * SMALLEST, shorter * 0.7);
        let (centre, angle) = (anywhere(size, dice), dice.between(0.0, TAU));
        let bend = length * dice.between(-0.4, 0.4);
        let (cos, sin) = (libm::cos(angle), libm::sin(angle));
        let curve = Curve::new(centre, [cos, sin], length, bend, 12);
        let reach = radius + 1.0;
        let [low, high] = curve.corners(reach);
        let mut region = Self::new(size, low, high, |_, _| 0.0);
        for piece in curve.pieces() {
            let [from, to] = piece.ends;
            let low = [0, 1].map(|axis| from[axis].min(to[axis]) - reach);
            let high = [0, 1].map(|axis| from[axis].max(to[axis]) + reach);
            region.add(low, high, |x, y| radius + 0.5 - piece.nearest(x, y).distance());
        }
        region
    }

    /// Up to eight dots near each other, of one pixel to a tenth of the image across.
    pub(super) fn spots(size: Size, dice: &mut Dice) -> Self {
        let shorter = size.height.min(size.width) as f64;
        let count = 1 + dice.index(8);
        let centre = anywhere(size, dice);
        let spread = if count == 1 {
            0.0
        } else {
            dice.of_any_size(SMALLEST, shorter / 3.0)
        };
        let largest = dice.of_any_size(1.0, (shorter / 20.0).max(1.5));
        let dots: Vec<[f64; 3]> = (0..count)
            .map(|_| {
                let [x, y] = [0, 1].map(|axis| centre[axis] + spread * dice.between(-1.0, 1.0));
                [x, y, largest * dice.between(0.5, 1.0)]
            })
            .collect();
        let softness = if dice.chance(0.5) {
            1.0
        } else {
            (largest / 2.0).max(1.0)
        };
        let reach = spread + largest + softness + 1.0;
        let from = [centre[0] - reach, centre[1] - reach];
        let to = [centre[0] + reach, centre[1] + reach];
        let mut region = Self::new(size, from, to, |_, _| 0.0);
        for [centre_x, centre_y, radius] in dots {
            let reach = radius + softness;
            let low = [centre_x - reach, centre_y - reach];
            let high = [centre_x + reach, centre_y + reach];
            region.add(low, high, |x, y| {
                let (right, down) = (x - centre_x, y - centre_y);
                0.5 + (radius - (right * right + down * down).sqrt()) / softness
            });
        }
        region
    }

    /// Adds what `share` gives for pixels between two corners, where it is more than what there is.
    fn add(&mut self, low: [f64; 2], high: [f64; 2], share: impl Fn(f64, f64) -> f64) {
        let clipped = |value: f64, first: usize, count: usize| (value - first as f64).clamp(0.0, count as f64) as usize;
        let columns =
            clipped(low[0].floor(), self.left, self.size.width)..clipped(high[0].ceil(), self.left, self.size.width);
        let rows =
            clipped(low[1].floor(), self.top, self.size.height)..clipped(high[1].ceil(), self.top, self.size.height);
        for row in rows {
            for column in columns.clone() {
                let centre = [(self.left + column) as f64 + 0.5, (self.top + row) as f64 + 0.5];
                let value = &mut self.share[row * self.size.width + column];
                *value = value.max(share(centre[0], centre[1]).clamp(0.0, 1.0) as f32);
            }
        }
    }

    /// Blends `fill` into the part of `image` that is this region.
    pub(super) fn blend(&self, image: &mut Image, fill: &Fill, opacity: f32) {
        let (width, pixels) = (image.size().width, image.size().pixels());
        let planes = image.values_mut().chunks_exact_mut(pixels);
        for (plane, fill) in planes.zip(fill.planes()) {
            for row in 0..self.size.height {
                let line = &mut plane[(self.top + row) * width + self.left..][..self.size.width];
                let at = row * self.size.width;
                let pairs = self.share[at..].iter().zip(&fill[at..]);
                for (value, (share, new)) in line.iter_mut().zip(pairs) {
                    *value = (*value + share * opacity * (new - *value)).clamp(0.0, 1.0);
                }
            }
        }
    }
}

/// Half of the lengths along two axes.
fn half_axes(size: Size, dice: &mut Dice) -> [f64; 2] {
    let most = (size.height.min(size.width) as f64 * LARGEST).max(SMALLEST + 0.5);
    let long = length(SMALLEST, most, dice);
    // Not so narrow that nothing is left.
    let short = (long * dice.between(0.25, 1.0)).max(SMALLEST);
    [long / 2.0, short / 2.0]
}

/// A length up to `most`. In half of the cases it is large. If a network was trained only with small damage, and most
/// of a product is missing, it cannot rebuild the product.
fn length(least: f64, most: f64, dice: &mut Dice) -> f64 {
    if dice.chance(0.5) {
        return dice.between((most / 4.0).max(least), most);
    }
    dice.of_any_size(least, most)
}

/// The width in pixels of an edge: one, or soft.
fn edge(half: [f64; 2], dice: &mut Dice) -> f64 {
    if dice.chance(0.5) {
        return 1.0;
    }
    (half[0].min(half[1]) * dice.between(0.3, 1.0)).max(1.0)
}

fn anywhere(size: Size, dice: &mut Dice) -> [f64; 2] {
    [
        dice.between(0.0, size.width as f64),
        dice.between(0.0, size.height as f64),
    ]
}
