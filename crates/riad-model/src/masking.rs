//! Masked copies of images on the way into the network, and reconstructions on the way out.
//!
//! n masked copies of B images make one batch of n·B, set by set: copy `s·B + b` is image b with set s hidden. Hidden
//! pixels are 0 in the network's own range, mid-grey, as in the public implementations whose weights we import. For a
//! plain autoencoder nothing is hidden, and there is one copy of each image.
//!
//! The network takes sides that are multiples of 16. Copies of other images are continued to the right and below by their
//! mirror image, hidden regions included: what is hidden is not to be seen in its reflection. Nobody outside sees more
//! than the image: masks are dealt over its pixels, and what the network makes of the continuation is dropped.

use candle_core::{Device, Tensor};
use riad_core::Masks;
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    architecture::{CHANNELS, SIZE_MULTIPLE, padded_size},
    error::ModelError,
};

/// How images in [0, 1] are brought to the network's range and back: `(value - mean) / deviation`, the same for every
/// channel. It travels in the checkpoint, so that what was trained is what is scored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Subtracted first.
    pub mean: f32,
    /// Divided by afterwards.
    pub deviation: f32,
}

impl Default for Normalisation {
    /// [0, 1] to [-1, 1], the range of the network's tanh.
    fn default() -> Self {
        Self {
            mean: 0.5,
            deviation: 0.5,
        }
    }
}

/// What becomes of a value of a copy.
#[derive(Clone, Copy)]
struct Role {
    /// The network sees it.
    shown: bool,
    /// The reconstruction takes it from this copy.
    used: bool,
}

impl Role {
    const SHOWN: Self = Self {
        shown: true,
        used: false,
    };
    const USED: Self = Self {
        shown: false,
        used: true,
    };
    /// Where nothing is hidden.
    const BOTH: Self = Self {
        shown: true,
        used: true,
    };
}

/// The masks of a batch of images of one size.
pub(crate) struct Masking {
    /// One for each image; none where nothing is hidden.
    masks: Vec<Masks>,
    images: usize,
    height: usize,
    width: usize,
    /// Copies of each image.
    sets: usize,
    normalisation: Normalisation,
}

impl Masking {
    /// Masks for as many images as there are `seeds`, one seed each. Without a region size nothing is hidden.
    pub(crate) fn sample(
        region_size: Option<usize>,
        sets: usize,
        (height, width): (usize, usize),
        seeds: &[u64],
        normalisation: Normalisation,
    ) -> Result<Self> {
        let masks = seeds
            .iter()
            .filter_map(|&seed| Some(Masks::sample(region_size?, sets, height, width, seed)))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Self {
            masks,
            images: seeds.len(),
            height,
            width,
            sets: if region_size.is_some() { sets } else { 1 },
            normalisation,
        })
    }

    /// Height and width of the network's input and output: the image's, up to the next multiples of 16.
    pub(crate) fn padded_size(&self) -> (usize, usize) {
        padded_size(self.height, self.width)
    }

    /// The shape of the network's input and output on the CPU, channels-last: n·B copies of the padded size.
    pub(crate) fn shape(&self) -> (usize, usize, usize, usize) {
        let (height, width) = self.padded_size();
        (self.sets * self.images, height, width, CHANNELS)
    }

    /// Number of pixels in an image.
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Number of values in the images, `[B, 3, H, W]`.
    pub(crate) fn image_len(&self) -> usize {
        self.images * CHANNELS * self.pixels()
    }

    /// Number of values in the copies.
    fn copies_len(&self) -> usize {
        let (height, width) = self.padded_size();
        self.sets * self.images * CHANNELS * height * width
    }

    /// Calls `visit` with (offset among the images' values, offset among the copies' values, role) for the values of the
    /// first `height` × `width` pixels of every copy. Those beyond the image are of the pixels that they mirror.
    fn for_each(&self, (height, width): (usize, usize), mut visit: impl FnMut(usize, usize, Role)) {
        let pixels = self.pixels();
        let (padded_height, padded_width) = self.padded_size();
        let copy_pixels = padded_height * padded_width;
        let columns: Vec<usize> = (0..width).map(|x| mirrored(x, self.width)).collect();
        let mut roles = vec![Role::BOTH; self.width];
        for set in 0..self.sets {
            for image in 0..self.images {
                let (from, to) = (
                    image * CHANNELS * pixels,
                    (set * self.images + image) * CHANNELS * copy_pixels,
                );
                for y in 0..height {
                    let row = mirrored(y, self.height);
                    if let Some(masks) = self.masks.get(image) {
                        for (role, hidden) in roles.iter_mut().zip(masks.hidden_row(set, row)) {
                            *role = if hidden { Role::USED } else { Role::SHOWN };
                        }
                    }
                    for (x, &column) in columns.iter().enumerate() {
                        let pixel = y * padded_width + x;
                        for channel in 0..CHANNELS {
                            let planar = channel * pixels + row * self.width + column;
                            visit(from + planar, to + pixel * CHANNELS + channel, roles[column]);
                        }
                    }
                }
            }
        }
    }

    /// The masked copies of images `[B, 3, H, W]` in [0, 1], normalised, in [`Self::shape`].
    pub(crate) fn hide(&self, images: &[f32]) -> Result<Vec<f32>> {
        ModelError::length("a batch of images", images.len(), self.image_len())?;
        let Normalisation { mean, deviation } = self.normalisation;
        let scale = 1.0 / deviation;
        let mut copies = vec![0.0; self.copies_len()];
        self.for_each(self.padded_size(), |image, copy, role| {
            if role.shown {
                copies[copy] = (images[image] - mean) * scale;
            }
        });
        Ok(copies)
    }

    /// Reconstructions `[B, 3, H, W]` in [0, 1] from the network's output, in [`Self::shape`]: every pixel from the pass in
    /// which it was hidden, or from the only one.
    pub(crate) fn compose(&self, outputs: &[f32]) -> Result<Vec<f32>> {
        ModelError::length("the network's output", outputs.len(), self.copies_len())?;
        let Normalisation { mean, deviation } = self.normalisation;
        let mut images = vec![0.0; self.image_len()];
        self.for_each(self.size(), |image, copy, role| {
            if role.used {
                images[image] = outputs[copy] * deviation + mean;
            }
        });
        Ok(images)
    }

    /// The gradient to the network's output of a loss whose gradient to the reconstructions is `gradient`: the transpose
    /// of [`Self::compose`].
    pub(crate) fn spread(&self, gradient: &[f32]) -> Vec<f32> {
        let factor = self.normalisation.deviation;
        let mut outputs = vec![0.0; self.copies_len()];
        self.for_each(self.size(), |image, copy, role| {
            if role.used {
                outputs[copy] = gradient[image] * factor;
            }
        });
        outputs
    }

    /// The set in which each pixel is hidden, `[B, H, W]`; `None` where nothing is hidden.
    pub(crate) fn sets_of_pixels(&self) -> Option<Vec<u8>> {
        if !self.hides() {
            return None;
        }
        let mut sets = Vec::with_capacity(self.images * self.pixels());
        for masks in &self.masks {
            for y in 0..self.height {
                // There are at most 255.
                sets.extend((0..self.width).map(|x| masks.set_of(y, x) as u8));
            }
        }
        Some(sets)
    }

    /// Whether anything is hidden.
    pub(crate) fn hides(&self) -> bool {
        self.images > 0 && self.masks.len() == self.images
    }

    /// Images `[B, 3, H, W]` as a tensor.
    pub(crate) fn upload(&self, images: &[f32], device: &Device) -> Result<Tensor> {
        ModelError::length("a batch of images", images.len(), self.image_len())?;
        let shape = (self.images, CHANNELS, self.height, self.width);
        Ok(Tensor::from_slice(images, shape, device)?)
    }

    pub(crate) fn sets(&self) -> usize {
        self.sets
    }

    pub(crate) fn images(&self) -> usize {
        self.images
    }

    /// Height and width of the images.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    pub(crate) fn normalisation(&self) -> Normalisation {
        self.normalisation
    }
}

/// The place on an axis of `size` that `position` shows, which may lie beyond its end: `a b c d | d c b a`.
pub(crate) fn mirrored(position: usize, size: usize) -> usize {
    if position < size {
        position
    } else {
        2 * size - 1 - position
    }
}

/// Refuses image sizes that the network cannot take. An image must be as large as what may be added to it, which mirrors
/// it.
pub(crate) fn check_size(height: usize, width: usize) -> Result<()> {
    let fits = |side: usize| (SIZE_MULTIPLE..=16384).contains(&side);
    if fits(height) && fits(width) {
        return Ok(());
    }
    Err(ModelError::Setting(format!(
        "the network takes images whose sides are {SIZE_MULTIPLE} to 16384 pixels, not {height}x{width} (height x width)"
    )))
}

/// A seed made from others: the steps of SplitMix64 over them. It decides everything random by its place (run, epoch,
/// step, image) instead of by what was drawn before, so that a resumed run draws what the undisturbed one would have.
pub(crate) fn derive_seed(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |state, &part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composing_what_was_hidden_gives_the_image_back() {
        let size = (18, 21);
        let masking = Masking::sample(Some(4), 3, size, &[1, 2], Normalisation::default()).unwrap();
        let images: Vec<f32> = (0..masking.image_len()).map(|i| (i % 251) as f32 / 250.0).collect();
        let copies = masking.hide(&images).unwrap();
        // 1 where the copy is hidden: those are the network's outputs that a gradient reaches.
        let hidden = masking.spread(&vec![2.0; images.len()]);
        let whole = Masking::sample(None, 3, size, &[1, 2], Normalisation::default()).unwrap();
        let shown = whole.compose(&whole.hide(&images).unwrap()).unwrap();
        assert!(shown.iter().zip(&images).all(|(a, b)| (a - b).abs() < 1e-6));
        // A perfect network fills in what is hidden: visible values are dropped, hidden ones used.
        let perfect = whole.spread(&images).repeat(3);
        let perfect: Vec<f32> = perfect
            .iter()
            .zip(&hidden)
            .map(|(v, h)| if *h == 1.0 { 4.0 * v - 1.0 } else { 77.0 })
            .collect();
        let composed = masking.compose(&perfect).unwrap();
        assert!(composed.iter().zip(&images).all(|(a, b)| (a - b).abs() < 1e-6));
        // Each value is hidden in one copy and normalised in the others.
        let hidden_count = hidden.iter().filter(|&&h| h == 1.0).count();
        assert_eq!(hidden_count, images.len());
        assert!(copies.iter().zip(&hidden).all(|(c, h)| *h == 0.0 || *c == 0.0));
    }

    /// Hidden regions too: the network must not find in the reflection what it is to invent.
    #[test]
    fn copies_continue_mirrored_to_the_next_multiples_of_16() {
        let (height, width) = (18, 21);
        let (padded_height, padded_width) = (32, 32);
        let masking = Masking::sample(Some(2), 3, (height, width), &[1], Normalisation::default()).unwrap();
        let images: Vec<f32> = (0..masking.image_len()).map(|i| i as f32).collect();
        let copies = masking.hide(&images).unwrap();
        let at = |set: usize, channel: usize, y: usize, x: usize| {
            copies[((set * padded_height + y) * padded_width + x) * CHANNELS + channel]
        };
        assert_eq!(copies.len(), 3 * CHANNELS * padded_height * padded_width);
        for set in 0..3 {
            for channel in 0..CHANNELS {
                for beyond in 0..padded_height - height {
                    for x in 0..width {
                        let (inside, outside) = (height - 1 - beyond, height + beyond);
                        assert_eq!(at(set, channel, outside, x), at(set, channel, inside, x));
                    }
                }
                for y in 0..padded_height {
                    for beyond in 0..padded_width - width {
                        let (inside, outside) = (width - 1 - beyond, width + beyond);
                        assert_eq!(at(set, channel, y, outside), at(set, channel, y, inside));
                    }
                }
            }
        }
    }

    #[test]
    fn spread_is_the_transpose_of_compose() {
        let normalisation = Normalisation {
            mean: 0.0,
            deviation: 0.25,
        };
        let masking = Masking::sample(Some(2), 3, (16, 20), &[5], normalisation).unwrap();
        let gradient: Vec<f32> = (0..masking.image_len()).map(|i| (i as f32).sin()).collect();
        let outputs: Vec<f32> = (0..3 * 3 * 16 * 32).map(|i| (i as f32 * 0.7).cos()).collect();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let forward = dot(&masking.compose(&outputs).unwrap(), &gradient);
        let backward = dot(&outputs, &masking.spread(&gradient));
        assert!(
            (forward - backward).abs() < 1e-4 * forward.abs().max(1.0),
            "{forward} {backward}"
        );
    }

    #[test]
    fn derived_seeds_depend_on_every_part_and_its_place() {
        let seeds = [
            &[1, 2, 3][..],
            &[1, 2, 4],
            &[1, 3, 2],
            &[2, 1, 3],
            &[1, 2],
            &[1, 2, 3, 0],
        ]
        .map(derive_seed);
        for (index, seed) in seeds.iter().enumerate() {
            assert!(!seeds[..index].contains(seed));
        }
    }
}
