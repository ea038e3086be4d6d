//! From images to anomaly maps and scores.

use std::path::Path;

use riad_core::{Map, Size};

use crate::{
    Result,
    backend::{self, Device, Precision, Score},
    error::{ModelError, NeededSize},
    method::{Grid, Keep, MapSettings, Roi, Scored},
    store::{Checkpoint, Header},
};

/// Pixels of the tiles that are scored at once, at most (but one tile): memory does not grow with the image.
const PIXELS_AT_ONCE: usize = 4 * 256 * 256;

/// A trained network with its settings. Scoring is a pure function of the checkpoint and the image: its masks come from
/// the checkpoint's seed, and an image's result does not depend on its batch or on the number of threads.
pub struct Scorer {
    header: Header,
    /// What is taken off a map at each place, and how much the rest counts there.
    normal: Option<(Map, Map)>,
    roi: Option<Roi>,
    network: Box<dyn Score>,
}

impl Scorer {
    /// Opens a checkpoint with [`Checkpoint::open`] and puts it on `device`; see [`Self::new`].
    ///
    /// # Errors
    /// As [`Checkpoint::open`] and [`Self::new`].
    pub fn open(path: &Path, device: &Device, precision: Precision) -> Result<Self> {
        Self::new(&Checkpoint::open(path)?, device, precision)
    }

    /// Puts a checkpoint on `device`.
    ///
    /// In [`Precision::Bf16`] maps and scores differ from those in f32, usually by about a thousandth. Calibrate in the
    /// precision that you score in.
    ///
    /// # Errors
    /// If the checkpoint's parts contradict each other, the device does not have `precision`, or it fails.
    pub fn new(checkpoint: &Checkpoint, device: &Device, precision: Precision) -> Result<Self> {
        checkpoint.check()?;
        let header = checkpoint.header.clone();
        let channels = checkpoint.weights.architecture().channels();
        let passes = header.scoring.method.passes(&header.scoring, channels)?;
        Ok(Self {
            network: backend::scorer(&checkpoint.weights, passes, device, precision)?,
            header,
            normal: (checkpoint.normal.as_ref()).map(|normal| (normal.offset(), normal.weight())),
            roi: checkpoint.roi.clone(),
        })
    }

    /// The header of the checkpoint.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Number of channels of the images that it scores.
    pub fn channels(&self) -> usize {
        self.network.passes().frame().channels
    }

    /// The region of interest, if there is one.
    pub fn roi(&self) -> Option<&Roi> {
        self.roi.as_ref()
    }

    /// Scores one image `[C, H, W]` in [0, 1] at its own size. With tiles, it must be at least as large as a tile.
    /// Otherwise it must have the size in [`ScoringSettings`](crate::ScoringSettings).
    ///
    /// The tiles' maps are blended without a seam. The score is the maximum of the blended map. Beyond the image and
    /// the kept results, the memory does not depend on the image's size.
    ///
    /// # Errors
    /// [`ModelError::ImageSize`] if the checkpoint does not take this size. If the slice is not an image of this size, the
    /// network's values overflow, or the device fails.
    pub fn score_image(&self, image: &[f32], size: Size, keep: Keep) -> Result<Scored> {
        let scoring = &self.header.scoring;
        let channels = self.channels();
        let values = size.checked_pixels().and_then(|pixels| pixels.checked_mul(channels));
        ModelError::length("an image", image.len(), values.unwrap_or(usize::MAX))?;
        let tile = scoring.size();
        let Some(tiling) = scoring.tiling else {
            if size != tile {
                return Err(ModelError::ImageSize {
                    got: size,
                    needed: NeededSize::Exactly(tile),
                });
            }
            let scored = self.score(image, keep)?.pop();
            return scored.ok_or_else(|| ModelError::Setting("an image has at least one pixel".into()));
        };
        let grid = Grid::new(size, tile, tiling)?;
        self.check_roi(size)?;
        // What lies outside has no place in the map, only in pictures of all there is.
        let inside = |index: &usize| {
            let is_inside = |roi: &Roi| grid.has_any(roi.inside(), *index);
            keep == Keep::All || self.roi.as_ref().is_none_or(is_inside)
        };
        let looked_at: Vec<usize> = (0..grid.len()).filter(inside).collect();
        let mut whole = Scored {
            score: f32::NEG_INFINITY,
            map: Map::filled(size, 0.0),
            region_maps: Vec::new(),
            reconstruction: Vec::new(),
        };
        if keep == Keep::All {
            whole.region_maps = vec![whole.map.clone(); self.network.passes().len()];
            whole.reconstruction = vec![0.0; image.len()];
        }
        let at_once = (PIXELS_AT_ONCE / tile.pixels()).max(1);
        let mut tiles = Vec::new();
        for indices in looked_at.chunks(at_once) {
            tiles.clear();
            for &index in indices {
                grid.cut(image, index, &mut tiles);
            }
            for (&index, scored) in indices.iter().zip(self.score_all(&tiles, keep)?) {
                grid.blend(scored.map.values(), index, whole.map.values_mut());
                if keep == Keep::All {
                    grid.blend(&scored.reconstruction, index, &mut whole.reconstruction);
                    for (map, whole) in scored.region_maps.iter().zip(&mut whole.region_maps) {
                        grid.blend(map.values(), index, whole.values_mut());
                    }
                }
            }
        }
        self.conclude(&mut whole);
        Ok(whole)
    }

    /// Leaves in the map what is looked at, and finds the score.
    fn conclude(&self, scored: &mut Scored) {
        if let Some(roi) = &self.roi {
            roi.cover(scored.map.values_mut());
        }
        scored.score = scored.map.values().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    }

    fn check_roi(&self, size: Size) -> Result<()> {
        match &self.roi {
            Some(roi) if roi.size() != size => Err(ModelError::ImageSize {
                got: size,
                needed: NeededSize::Region(roi.size()),
            }),
            _ => Ok(()),
        }
    }

    /// Scores a batch of images `[B, C, H, W]` in [0, 1], of the size in [`ScoringSettings`](crate::ScoringSettings).
    /// With tiles, this is the size of a tile.
    ///
    /// # Errors
    /// If the slice is not a whole number of such images, the region of interest is for larger images, the network's
    /// values overflow, or the device fails.
    pub fn score(&self, images: &[f32], keep: Keep) -> Result<Vec<Scored>> {
        self.check_roi(self.header.scoring.size())?;
        let mut scored = self.score_all(images, keep)?;
        scored.iter_mut().for_each(|scored| self.conclude(scored));
        Ok(scored)
    }

    /// [`Self::score`] without a look at the region of interest, and without scores.
    fn score_all(&self, images: &[f32], keep: Keep) -> Result<Vec<Scored>> {
        let settings = MapSettings::of(&self.header.scoring);
        let mut scored = self.network.maps(images, settings, keep)?;
        for scored in &mut scored {
            let map = scored.map.values_mut();
            // `f32::max` passes over NaN: a network that overflows would call every image good.
            if map.iter().any(|value| value.is_nan()) {
                return Err(ModelError::Overflow);
            }
            if let Some((offset, weight)) = &self.normal {
                let normal = offset.values().iter().zip(weight.values());
                let pairs = map.iter_mut().zip(normal);
                pairs.for_each(|(value, (offset, weight))| *value = (*value - offset) * weight);
            }
        }
        Ok(scored)
    }
}
