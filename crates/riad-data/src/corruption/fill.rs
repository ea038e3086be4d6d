//! The content of a damaged part of an image.

use std::f64::consts::TAU;

use riad_core::{Size, mirrored};

use super::region::Region;
use crate::{Image, dice::Dice};

/// The values of a region's box, channel by channel.
pub(super) struct Fill {
    pixels: usize,
    values: Vec<f32>,
}

/// The point of an image that is shown at each point of another image.
struct Placement {
    /// The points, in each image, that lie on each other, as x and y.
    to: [f64; 2],
    from: [f64; 2],
    /// Cosine and sine of the angle by which the image is turned, over its enlargement.
    turn: [f64; 2],
    /// −1 where it is seen in a mirror.
    mirror: f64,
}

impl Placement {
    fn source(&self, x: f64, y: f64) -> [f64; 2] {
        let (right, down) = ((x - self.to[0]) * self.mirror, y - self.to[1]);
        [
            self.from[0] + right * self.turn[0] + down * self.turn[1],
            self.from[1] + down * self.turn[0] - right * self.turn[1],
        ]
    }
}

/// The values of an image that are shown in a box of another, by bilinear interpolation. Beyond its border the image is
/// mirrored.
fn sampled(image: &Image, placement: &Placement, [left, top]: [usize; 2], size: Size) -> Vec<f32> {
    let (of, pixels) = (image.size(), size.pixels());
    let mut values = vec![0.0; image.channels() * pixels];
    let mut at = 0;
    for y in 0..size.height {
        for x in 0..size.width {
            let [u, v] = placement.source((left + x) as f64 + 0.5, (top + y) as f64 + 0.5);
            let (u, v) = (u - 0.5, v - 0.5);
            let (column, row) = (u.floor(), v.floor());
            let (right, down) = ((u - column) as f32, (v - row) as f32);
            let columns = [column as isize, column as isize + 1].map(|place| mirrored(place, of.width));
            let rows = [row as isize, row as isize + 1].map(|place| mirrored(place, of.height) * of.width);
            let shares = [
                (1.0 - right) * (1.0 - down),
                right * (1.0 - down),
                (1.0 - right) * down,
                right * down,
            ];
            let places = [
                rows[0] + columns[0],
                rows[0] + columns[1],
                rows[1] + columns[0],
                rows[1] + columns[1],
            ];
            for (channel, plane) in image.planes().enumerate() {
                let pairs = places.iter().zip(shares);
                values[channel * pixels + at] = pairs.map(|(&place, share)| plane[place] * share).sum();
            }
            at += 1;
        }
    }
    values
}

impl Fill {
    pub(super) fn planes(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.pixels)
    }

    /// A piece of an image from a random position. It can be turned, mirrored, a little smaller or larger, and in other
    /// colours.
    pub(super) fn piece(image: &Image, region: &Region, recoloured: bool, dice: &mut Dice) -> Self {
        let size = image.size();
        let angle = if dice.chance(0.3) { 0.0 } else { dice.between(0.0, TAU) };
        let shrink = if dice.chance(0.5) { 1.0 } else { dice.between(0.7, 1.4) };
        let placement = Placement {
            to: region.centre(),
            from: [
                dice.between(0.0, size.width as f64),
                dice.between(0.0, size.height as f64),
            ],
            turn: [libm::cos(angle) * shrink, libm::sin(angle) * shrink],
            mirror: if dice.chance(0.5) { 1.0 } else { -1.0 },
        };
        let mut fill = Self {
            pixels: region.size.pixels(),
            values: sampled(image, &placement, [region.left, region.top], region.size),
        };
        if recoloured {
            fill.recolour(dice);
        }
        fill
    }

    /// Brighter or darker, with more or less contrast, and in another tint.
    fn recolour(&mut self, dice: &mut Dice) {
        let (contrast, brightness) = (dice.between(0.5, 1.5) as f32, dice.between(-0.3, 0.3) as f32);
        let is_inverted = dice.chance(0.1);
        for plane in self.values.chunks_exact_mut(self.pixels) {
            let (tint, gain) = (dice.between(-0.15, 0.15) as f32, dice.between(0.8, 1.2) as f32);
            for value in plane {
                let changed = 0.5 + (*value - 0.5) * contrast * gain + brightness + tint;
                *value = if is_inverted { 1.0 - changed } else { changed };
            }
        }
    }

    /// One colour: any, dark, bright, or one of the image's own.
    pub(super) fn colour(image: &Image, region: &Region, dice: &mut Dice) -> Self {
        let any = match dice.index(4) {
            0 => Some(0.1),
            1 => Some(0.9),
            _ => None,
        };
        let place = dice.index(image.size().pixels());
        let is_own = dice.chance(0.5);
        let colours = image.planes().map(|plane| match any {
            Some(value) => value + dice.between(-0.1, 0.1) as f32,
            None if is_own => plane[place],
            None => dice.between(0.0, 1.0) as f32,
        });
        let colours: Vec<f32> = colours.collect();
        Self::even(&colours, region)
    }

    fn even(colours: &[f32], region: &Region) -> Self {
        let pixels = region.size.pixels();
        Self {
            pixels,
            values: colours
                .iter()
                .flat_map(|&colour| std::iter::repeat_n(colour, pixels))
                .collect(),
        }
    }

    /// The content of another position in the image: a colour of its border or of any position.
    pub(super) fn elsewhere(image: &Image, region: &Region, dice: &mut Dice) -> Self {
        let Size { height, width } = image.size();
        let (x, y) = (dice.index(width), dice.index(height));
        let place = match dice.index(4) {
            0 => y * width,
            1 => y * width + width - 1,
            2 => x,
            _ => y * width + x,
        };
        let colours: Vec<f32> = image.planes().map(|plane| plane[place]).collect();
        Self::even(&colours, region)
    }

    /// The means of the image around each pixel: over a window of three pixels up to a tenth of the image, twice.
    pub(super) fn blurred(image: &Image, region: &Region, dice: &mut Dice) -> Self {
        let Size { height, width } = image.size();
        let reach = dice.of_any_size(1.0, (height.min(width) as f64 / 20.0).max(2.0)) as usize;
        let pixels = region.size.pixels();
        let mut values = vec![0.0; image.channels() * pixels];
        // The part beside the box that the window covers, mirrored at the image's border.
        let around = |first: usize, count: usize, side: usize| -> Vec<usize> {
            let places = (first..first + count + 2 * reach).map(|place| place as isize - reach as isize);
            places.map(|place| mirrored(place, side)).collect()
        };
        let columns = around(region.left, region.size.width, width);
        let rows = around(region.top, region.size.height, height);
        // Rows first, of which as many above and below are needed as the window reaches.
        let mut across = vec![0.0f32; rows.len() * region.size.width];
        for (plane, values) in image.planes().zip(values.chunks_exact_mut(pixels)) {
            for (&y, line) in rows.iter().zip(across.chunks_exact_mut(region.size.width)) {
                let row = &plane[y * width..][..width];
                moving_mean(reach, |place| row[columns[place]], line.iter_mut());
            }
            for x in 0..region.size.width {
                let column = values[x..].iter_mut().step_by(region.size.width);
                moving_mean(reach, |place| across[place * region.size.width + x], column);
            }
        }
        Self { pixels, values }
    }
}

/// The means of the `2 * reach + 1` values of `line` from each place on, as a running sum.
fn moving_mean<'a>(reach: usize, line: impl Fn(usize) -> f32, out: impl Iterator<Item = &'a mut f32>) {
    let window = 2 * reach + 1;
    let mut sum: f64 = (0..window - 1).map(|place| f64::from(line(place))).sum();
    for (first, out) in out.enumerate() {
        sum += f64::from(line(first + window - 1));
        *out = (sum / window as f64) as f32;
        sum -= f64::from(line(first));
    }
}
