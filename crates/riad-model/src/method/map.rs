//! Maps from images and their reconstructions, on the host.

use rayon::prelude::*;
use riad_core::{
    Map, Size,
    similarity::{Shape, chroma, gms, gray, ssim},
    smooth,
};

use super::{ScoringSettings, Similarity};
use crate::{ModelError, Result};

/// The result for one image.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Scored {
    /// The map's maximum. A larger score is more anomalous. It is at most 2, and without maps of what is normal within
    /// 0 to 1.
    pub score: f32,
    /// The anomaly map, of the image's size: the mean of [`Self::region_maps`], minus what is
    /// [normal](crate::Checkpoint::normal), and [`Roi::OUTSIDE`](crate::Roi::OUTSIDE) outside of
    /// [`Checkpoint::roi`](crate::Checkpoint::roi).
    pub map: Map,
    /// One map for each pass, in the order of [`Method::pass_names`](crate::Method::pass_names): 1 − the smoothed
    /// [`Similarity`](crate::Similarity) of the image and its reconstruction, plus the difference of their colours.
    /// Empty with [`Keep::Map`].
    pub region_maps: Vec<Map>,
    /// The mean of the reconstructions over the passes, `[C, H, W]` in [0, 1]. Empty with [`Keep::Map`].
    pub reconstruction: Vec<f32>,
}

/// The parts of an image's result that are kept. They may be large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// The map and the score: 4 bytes a pixel.
    Map,
    /// The reconstruction and the map of each pass, too.
    All,
}

/// How maps are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MapSettings {
    pub(crate) similarity: Similarity,
    /// Scales that maps of GMS are the mean of.
    pub(crate) scales: usize,
    /// Side of the mean filter in pixels.
    pub(crate) smoothing: usize,
    /// Weight of the difference in colour.
    pub(crate) chroma: f32,
}

impl MapSettings {
    pub(crate) fn of(scoring: &ScoringSettings) -> Self {
        Self {
            similarity: scoring.similarity,
            scales: scoring.scales,
            smoothing: scoring.smoothing,
            chroma: scoring.chroma,
        }
    }
}

/// The maps of images `[B, C, H, W]` in [0, 1], of each pass's reconstructions likewise, which `reconstruct` gives. They have no
/// scores, and nothing is taken off them yet.
pub(crate) fn maps(
    images: &[f32],
    shape: Shape,
    passes: usize,
    settings: MapSettings,
    keep: Keep,
    reconstruct: impl Fn(usize) -> Result<Vec<f32>>,
) -> Result<Vec<Scored>> {
    let image_len = shape.channels * shape.size.pixels();
    let blank = Scored {
        score: 0.0,
        map: Map::filled(shape.size, 0.0),
        region_maps: Vec::new(),
        reconstruction: match keep {
            Keep::Map => Vec::new(),
            Keep::All => vec![0.0; image_len],
        },
    };
    let mut scored = vec![blank; shape.images];
    let share = 1.0 / passes as f32;
    let of_one = Shape { images: 1, ..shape };
    for pass in 0..passes {
        let reconstructions = reconstruct(pass)?;
        ModelError::length("reconstructions", reconstructions.len(), images.len())?;
        scored
            .par_iter_mut()
            .zip(images.par_chunks(image_len))
            .zip(reconstructions.par_chunks(image_len))
            .try_for_each(|((scored, image), reconstruction)| -> Result<()> {
                let mut similar = similarity_map(image, reconstruction, of_one, settings)?;
                if settings.chroma > 0.0 {
                    let colours = chroma::map(image, reconstruction, of_one)?;
                    let pairs = similar.values_mut().iter_mut().zip(colours.values());
                    pairs.for_each(|(similar, difference)| *similar -= settings.chroma * difference);
                }
                let mut map = smooth::mean_filter(&similar, settings.smoothing)?;
                map.values_mut()
                    .iter_mut()
                    .for_each(|v| *v = (1.0 - *v).clamp(0.0, 1.0));
                let sums = scored.map.values_mut().iter_mut();
                sums.zip(map.values()).for_each(|(sum, v)| *sum += v * share);
                scored
                    .reconstruction
                    .iter_mut()
                    .zip(reconstruction)
                    .for_each(|(sum, v)| *sum += v * share);
                if keep == Keep::All {
                    scored.region_maps.push(map);
                }
                Ok(())
            })?;
    }
    Ok(scored)
}

/// How similar an image and its reconstruction are, `[C, H, W]` in [0, 1] each: a map in [0, 1].
fn similarity_map(image: &[f32], reconstruction: &[f32], shape: Shape, settings: MapSettings) -> Result<Map> {
    let scales = settings.scales;
    Ok(match settings.similarity {
        Similarity::GmsGrey => {
            let grey = |image: &[f32]| -> Result<Map> { plane(gray(image, shape)?, shape.size) };
            gms::map(grey(image)?, grey(reconstruction)?, scales)?
        }
        Similarity::GmsColour => mean_over_channels(image, reconstruction, shape, |image, reconstruction| {
            let [image, reconstruction] = [image, reconstruction].map(|values| plane(values.to_vec(), shape.size));
            Ok(gms::map(image?, reconstruction?, scales)?.into_values())
        })?,
        Similarity::Ssim => {
            let mut map = ssim::map(image, reconstruction, shape)?;
            map.values_mut()
                .iter_mut()
                .for_each(|value| *value = 0.5 + 0.5 * *value);
            map
        }
        Similarity::L2 => mean_over_channels(image, reconstruction, shape, |image, reconstruction| {
            let pairs = image.iter().zip(reconstruction);
            Ok(pairs.map(|(a, b)| 1.0 - (a - b) * (a - b)).collect())
        })?,
    })
}

fn plane(values: Vec<f32>, size: Size) -> Result<Map> {
    Ok(Map::new(size, values)?)
}

/// The mean of the channels' maps, which are made side by side: with one image at a time no other work is.
fn mean_over_channels(
    image: &[f32],
    reconstruction: &[f32],
    shape: Shape,
    map: impl Fn(&[f32], &[f32]) -> Result<Vec<f32>> + Sync,
) -> Result<Map> {
    let pixels = shape.size.pixels();
    let pairs = image
        .par_chunks_exact(pixels)
        .zip(reconstruction.par_chunks_exact(pixels));
    let maps: Vec<_> = pairs
        .map(|(image, reconstruction)| map(image, reconstruction))
        .collect();
    let mut mean = Map::filled(shape.size, 0.0);
    for map in maps {
        let map = map?;
        let sums = mean.values_mut().iter_mut();
        sums.zip(map)
            .for_each(|(sum, value)| *sum += value / shape.channels as f32);
    }
    Ok(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_edges_are_grey_ones_without_colour_and_see_more_with_it() {
        const CHANNELS: usize = 3;
        let (size, width) = (Size::new(32, 32), 32);
        let shape = Shape {
            images: 1,
            channels: CHANNELS,
            size,
        };
        let map = |image: &[f32], other: &[f32], similarity| {
            let settings = MapSettings {
                similarity,
                scales: 4,
                smoothing: 1,
                chroma: 0.0,
            };
            similarity_map(image, other, shape, settings).unwrap().into_values()
        };
        let grey: Vec<f32> = (0..size.pixels()).map(|i| 0.5 + 0.4 * (i as f32 * 0.3).sin()).collect();
        let (image, blurred) = (
            grey.repeat(CHANNELS),
            grey.iter().map(|v| 0.3 + 0.4 * v).collect::<Vec<_>>(),
        );
        let [by_luma, by_channel] = [Similarity::GmsGrey, Similarity::GmsColour]
            .map(|similarity| map(&image, &blurred.repeat(CHANNELS), similarity));
        for (a, b) in by_luma.iter().zip(&by_channel) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        // A stain of the same luma: more red for less blue.
        let mut stained = image.clone();
        for y in 10..20 {
            for x in 10..20 {
                stained[y * width + x] += 0.3;
                stained[2 * grey.len() + y * width + x] -= 0.3 * 0.299 / 0.114;
            }
        }
        let sum = |similarity| -> f32 { map(&image, &stained, similarity).iter().map(|v| 1.0 - v).sum() };
        assert!(sum(Similarity::GmsColour) > 20.0 * sum(Similarity::GmsGrey));
    }
}
