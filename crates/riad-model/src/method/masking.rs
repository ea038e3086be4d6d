//! Masked copies of images on the way into the network, and reconstructions on the way out.
//!
//! n masked copies of B images make one batch of n·B, set by set: copy `s·B + b` is image b with set s hidden. Hidden
//! pixels are 0 in the network's own range, mid-grey, as in the public implementations, whose weights can be imported.
//! A plain autoencoder hides nothing, and has one copy of each image.
//!
//! The network takes sides that are multiples of 16. Copies of other images are continued to the right and below by
//! their mirror image. Hidden regions are mirrored, too, so the network cannot read them from their reflection. Masks
//! cover the image's own pixels only, and the output for the continuation is dropped.

use riad_conv::Dims;
use riad_core::{Masks, Size, mirrored, similarity::Shape};
use serde::{Deserialize, Serialize};

use super::{InputFilter, ScoringSettings};
use crate::{Result, error::ModelError, network::padded_size};

/// Brings images in [0, 1] to the network's range and back: `(value - mean) / deviation`, the same for every channel.
/// The checkpoint keeps it, so training and scoring use the same values.
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

/// What images are, and how their values are brought to the network's range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    pub(crate) channels: usize,
    pub(crate) size: Size,
    pub(crate) normalisation: Normalisation,
    /// What the network sees of them.
    pub(crate) input: InputFilter,
}

impl Frame {
    pub(crate) fn of(scoring: &ScoringSettings, channels: usize) -> Self {
        Self {
            channels,
            size: scoring.size(),
            normalisation: scoring.normalisation,
            input: scoring.input,
        }
    }

    /// Channels that the network sees.
    pub(crate) fn inputs(self) -> usize {
        self.input.channels(self.channels)
    }

    /// Number of values in an image.
    pub(crate) fn image_len(self) -> usize {
        self.channels * self.size.pixels()
    }
}

/// What becomes of a value of a copy.
#[derive(Clone, Copy)]
struct Fate {
    /// The network sees it.
    shown: bool,
    /// The reconstruction takes it from this copy.
    used: bool,
}

impl Fate {
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
#[derive(Debug, Clone)]
pub(crate) struct Masking {
    frame: Frame,
    /// One for each image, or one for all; none if nothing is hidden.
    masks: Vec<Masks>,
    images: usize,
    /// Copies of each image.
    sets: usize,
}

impl Masking {
    /// Nothing of `images` images is hidden, and there is one copy of each.
    pub(crate) fn showing(frame: Frame, images: usize) -> Self {
        Self {
            frame,
            masks: Vec::new(),
            images,
            sets: 1,
        }
    }

    /// As many images as there are masks, with `sets` copies of each.
    pub(crate) fn hiding(frame: Frame, sets: usize, masks: Vec<Masks>) -> Self {
        Self {
            frame,
            images: masks.len(),
            masks,
            sets,
        }
    }

    /// The same for `images` images that are all masked as this one.
    fn repeated(&self, images: usize) -> Self {
        Self { images, ..self.clone() }
    }

    fn masks_of(&self, image: usize) -> Option<&Masks> {
        if self.masks.len() == 1 {
            return self.masks.first();
        }
        self.masks.get(image)
    }

    pub(crate) fn frame(&self) -> Frame {
        self.frame
    }

    /// The size of the network's input and output: the image's, up to the next multiples of 16.
    pub(crate) fn padded_size(&self) -> Size {
        padded_size(self.frame.size)
    }

    /// The shape of the network's input on the CPU, channels-last: n·B copies of the padded size.
    pub(crate) fn dims(&self) -> Dims {
        let Size { height, width } = self.padded_size();
        Dims::new(self.sets * self.images, height, width, self.frame.inputs())
    }

    /// The shape of the images, `[B, C, H, W]`.
    pub(crate) fn shape(&self) -> Shape {
        Shape {
            images: self.images,
            channels: self.frame.channels,
            size: self.frame.size,
        }
    }

    /// Number of values in the images, `[B, C, H, W]`.
    pub(crate) fn image_len(&self) -> usize {
        self.images * self.frame.image_len()
    }

    /// Number of values in copies of so many channels.
    fn copies_len(&self, channels: usize) -> usize {
        self.sets * self.images * channels * self.padded_size().pixels()
    }

    /// Calls `visit` with (offset among the images' values, offset among the copies' values, fate) for the values of the
    /// first pixels of `part` of every copy, where both have so many channels. Those beyond the image are of the pixels that they
    /// mirror.
    fn for_each(&self, channels: usize, part: Size, visit: impl FnMut(usize, usize, Fate)) {
        // A loop over a number of channels that the compiler knows is much the faster one.
        match channels {
            1 => self.for_each_of::<1>(1, part, visit),
            3 => self.for_each_of::<3>(3, part, visit),
            _ => self.for_each_of::<0>(channels, part, visit),
        }
    }

    /// With CHANNELS channels; 0 stands for any number.
    fn for_each_of<const CHANNELS: usize>(
        &self,
        channels: usize,
        part: Size,
        mut visit: impl FnMut(usize, usize, Fate),
    ) {
        let channels = if CHANNELS == 0 { channels } else { CHANNELS };
        let size = self.frame.size;
        let (pixels, padded) = (size.pixels(), self.padded_size());
        let columns: Vec<usize> = (0..part.width).map(|x| mirrored(x as isize, size.width)).collect();
        let mut fates = vec![Fate::BOTH; size.width];
        for set in 0..self.sets {
            for image in 0..self.images {
                let (from, to) = (
                    image * channels * pixels,
                    (set * self.images + image) * channels * padded.pixels(),
                );
                for y in 0..part.height {
                    let row = mirrored(y as isize, size.height);
                    if let Some(hidden_row) = self.masks_of(image).and_then(|masks| masks.hidden_row(set, row)) {
                        for (fate, hidden) in fates.iter_mut().zip(hidden_row) {
                            *fate = if hidden { Fate::USED } else { Fate::SHOWN };
                        }
                    }
                    for (x, &column) in columns.iter().enumerate() {
                        let pixel = y * padded.width + x;
                        for channel in 0..channels {
                            let planar = channel * pixels + row * size.width + column;
                            visit(from + planar, to + pixel * channels + channel, fates[column]);
                        }
                    }
                }
            }
        }
    }

    /// The masked copies of what the network sees of images `[B, C, H, W]` in [0, 1], normalised, in [`Self::dims`].
    pub(crate) fn hide(&self, images: &[f32]) -> Result<Vec<f32>> {
        ModelError::length("a batch of images", images.len(), self.image_len())?;
        let inputs = self.frame.inputs();
        let Normalisation { mean, deviation } = self.frame.normalisation;
        let scale = 1.0 / deviation;
        let mut copies = vec![0.0; self.copies_len(inputs)];
        let images = self.frame.input.of(images, self.shape())?;
        self.for_each(inputs, self.padded_size(), |image, copy, fate| {
            if fate.shown {
                copies[copy] = (images[image] - mean) * scale;
            }
        });
        Ok(copies)
    }

    /// Reconstructions `[B, C, H, W]` in [0, 1] from the network's output, which has [`Self::dims`] but for the channels: every
    /// pixel from the pass in which it was hidden, or from the only one.
    pub(crate) fn compose(&self, outputs: &[f32]) -> Result<Vec<f32>> {
        let channels = self.frame.channels;
        ModelError::length("the network's output", outputs.len(), self.copies_len(channels))?;
        let Normalisation { mean, deviation } = self.frame.normalisation;
        let mut images = vec![0.0; self.image_len()];
        self.for_each(channels, self.frame.size, |image, copy, fate| {
            if fate.used {
                images[image] = outputs[copy] * deviation + mean;
            }
        });
        Ok(images)
    }

    /// The gradient to the network's output of a loss whose gradient to the reconstructions is `gradient`: the transpose
    /// of [`Self::compose`].
    pub(crate) fn spread(&self, gradient: &[f32]) -> Result<Vec<f32>> {
        ModelError::length("the gradient to the reconstructions", gradient.len(), self.image_len())?;
        let (channels, factor) = (self.frame.channels, self.frame.normalisation.deviation);
        let mut outputs = vec![0.0; self.copies_len(channels)];
        self.for_each(channels, self.frame.size, |image, copy, fate| {
            if fate.used {
                outputs[copy] = gradient[image] * factor;
            }
        });
        Ok(outputs)
    }

    /// The set in which each pixel is hidden, `[B, H, W]`; `None` if nothing is hidden.
    pub(crate) fn sets_of_pixels(&self) -> Option<Vec<u8>> {
        if !self.hides() {
            return None;
        }
        let Size { height, width } = self.frame.size;
        let mut sets = Vec::with_capacity(self.images * height * width);
        for masks in (0..self.images).filter_map(|image| self.masks_of(image)) {
            for y in 0..height {
                // There are at most 255 sets.
                sets.extend((0..width).filter_map(|x| masks.set_of(y, x)).map(|set| set as u8));
            }
        }
        Some(sets)
    }

    /// Whether anything is hidden.
    pub(crate) fn hides(&self) -> bool {
        !self.masks.is_empty()
    }

    pub(crate) fn sets(&self) -> usize {
        self.sets
    }

    pub(crate) fn images(&self) -> usize {
        self.images
    }
}

/// The passes that every image goes through to be scored, each the same for all images.
#[derive(Debug, Clone)]
pub(crate) struct Passes(Vec<Masking>);

impl Passes {
    /// Takes the masking of one image in each pass; at least one.
    pub(crate) fn new(of_one_image: Vec<Masking>) -> Self {
        Self(of_one_image)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn frame(&self) -> Frame {
        self.0[0].frame
    }

    /// The masking of one image in each pass.
    pub(crate) fn of_one_image(&self) -> &[Masking] {
        &self.0
    }

    /// The shape of a batch of images.
    ///
    /// # Errors
    /// If it is no whole number of images.
    pub(crate) fn shape(&self, images: &[f32]) -> Result<Shape> {
        let frame = self.frame();
        let count = images.len() / frame.image_len();
        ModelError::length("a batch of images", images.len(), count * frame.image_len())?;
        Ok(Shape {
            images: count,
            channels: frame.channels,
            size: frame.size,
        })
    }

    /// The masking of a batch of images in one pass.
    ///
    /// # Errors
    /// If it is no whole number of images.
    pub(crate) fn masking(&self, pass: usize, images: &[f32]) -> Result<Masking> {
        Ok(self.0[pass].repeated(self.shape(images)?.images))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use riad_core::random::Random;

    use super::*;
    use crate::network::Architecture;

    const CHANNELS: usize = Architecture::COLOUR;

    fn frame(height: usize, width: usize, normalisation: Normalisation) -> Frame {
        Frame {
            channels: CHANNELS,
            size: Size::new(height, width),
            normalisation,
            input: InputFilter::None,
        }
    }

    fn hiding(region_size: usize, frame: Frame, seeds: &[u64]) -> Masking {
        let masks = seeds
            .iter()
            .map(|&seed| Masks::sample(region_size, 3, frame.size, seed).unwrap());
        Masking::hiding(frame, 3, masks.collect())
    }

    /// Any number of images of any size and number of channels, each masked in its own way, all in one way, or not at all.
    pub(crate) fn maskings() -> impl Strategy<Value = Masking> {
        let normalisation = (-1.0f32..2.0, 0.05f32..2.0);
        let normalisation = normalisation.prop_map(|(mean, deviation)| Normalisation { mean, deviation });
        let frame = (1usize..7, 1usize..40, 1usize..40, normalisation);
        let frame = frame.prop_map(|(channels, height, width, normalisation)| Frame {
            channels,
            size: Size::new(height, width),
            normalisation,
            input: InputFilter::None,
        });
        (frame, 1usize..4, 1usize..20, 1usize..6, any::<u64>(), 0..5).prop_map(
            |(frame, images, region_size, sets, seed, kind)| {
                let Size { height, width } = frame.size;
                let sets = sets.min(height.div_ceil(region_size) * width.div_ceil(region_size));
                let mask = |image: usize| Masks::sample(region_size, sets, frame.size, seed ^ image as u64).unwrap();
                match kind {
                    0 => Masking::showing(frame, images),
                    1 => Masking::hiding(frame, sets, vec![mask(0)]).repeated(images),
                    _ => Masking::hiding(frame, sets, (0..images).map(mask).collect()),
                }
            },
        )
    }

    /// Values in [0, 1).
    pub(crate) fn values(count: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..count)
            .map(|_| (random.next_u32() >> 8) as f32 / (1u32 << 24) as f32)
            .collect()
    }

    /// Image, channel, row and column of a value of a copy, and the copy's set.
    fn place(masking: &Masking, copy: usize) -> [usize; 5] {
        let dims = masking.dims();
        let (channel, pixel) = (copy % dims.channels, copy / dims.channels);
        let (x, y, number) = (
            pixel % dims.width,
            pixel / dims.width % dims.height,
            pixel / dims.width / dims.height,
        );
        [number / masking.images(), number % masking.images(), channel, y, x]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        /// What the network sees of a pixel is nothing in one copy, and the pixel in all others.
        #[test]
        fn every_pixel_is_hidden_once(masking in maskings(), seed in any::<u64>()) {
            let images = values(masking.image_len(), seed);
            // Where all images are brighter than mid-grey, 0 is what is hidden.
            let Normalisation { mean, deviation } = masking.frame().normalisation;
            let bright = vec![mean + 1.0; images.len()];
            let (copies, of_bright) = (masking.hide(&images).unwrap(), masking.hide(&bright).unwrap());
            let size = masking.frame().size;
            let mut hidden = vec![0; images.len()];
            for (copy, (&value, &bright)) in copies.iter().zip(&of_bright).enumerate() {
                let [set, image, channel, y, x] = place(&masking, copy);
                let (row, column) = (mirrored(y as isize, size.height), mirrored(x as isize, size.width));
                let of_image = ((image * masking.frame().channels + channel) * size.height + row) * size.width + column;
                let is_hidden = bright == 0.0;
                let mask = masking.masks_of(image).map(|masks| masks.set_of(row, column) == Some(set));
                prop_assert_eq!(is_hidden, mask.unwrap_or(false));
                let shown = (images[of_image] - mean) / deviation;
                let expected = if is_hidden { 0.0 } else { shown };
                prop_assert!((value - expected).abs() <= 1e-6 * shown.abs(), "{} where {} was expected", value, expected);
                if (y, x) == (row, column) {
                    hidden[of_image] += usize::from(is_hidden);
                }
            }
            prop_assert!(hidden.iter().all(|&count| count == usize::from(masking.hides())));
        }

        /// A network that knows what is hidden, and gives anything for what it sees, gives the images back.
        #[test]
        fn a_perfect_network_gives_the_images_back(masking in maskings(), seed in any::<u64>()) {
            let images = values(masking.image_len(), seed);
            let whole = Masking::showing(masking.frame(), masking.images());
            let mut outputs = whole.hide(&images).unwrap().repeat(masking.sets());
            if masking.hides() {
                let seen = masking.hide(&vec![masking.frame().normalisation.mean + 1.0; images.len()]).unwrap();
                outputs.iter_mut().zip(seen).filter(|(_, seen)| *seen != 0.0).for_each(|(output, _)| *output = f32::NAN);
            }
            let composed = masking.compose(&outputs).unwrap();
            prop_assert_eq!(composed.len(), images.len());
            prop_assert!(composed.iter().zip(&images).all(|(a, b)| (a - b).abs() < 2e-6), "{:?}", composed);
        }

        #[test]
        fn spread_is_the_transpose_of_compose(masking in maskings(), seed in any::<u64>()) {
            let gradient: Vec<f32> = values(masking.image_len(), seed).iter().map(|v| v - 0.5).collect();
            let outputs: Vec<f32> = values(masking.copies_len(masking.frame().channels), !seed).iter().map(|v| v - 0.5).collect();
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            // The mean is no part of what is linear.
            let composed = masking.compose(&outputs).unwrap();
            let offset = masking.compose(&vec![0.0; outputs.len()]).unwrap();
            let forward = dot(&composed, &gradient) - dot(&offset, &gradient);
            let backward = dot(&outputs, &masking.spread(&gradient).unwrap());
            prop_assert!((forward - backward).abs() < 1e-6 * gradient.len() as f64, "{} {}", forward, backward);
        }
    }

    /// Hidden regions too: the network must not find in the reflection what it is to invent.
    #[test]
    fn copies_continue_mirrored_to_the_next_multiples_of_16() {
        let (height, width) = (18, 21);
        let (padded_height, padded_width) = (32, 32);
        let masking = hiding(2, frame(height, width, Normalisation::default()), &[1]);
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
}
