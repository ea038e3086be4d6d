//! What good images' maps hold at each place.

use riad_core::{Map, Size};

use crate::{ModelError, Result};

/// What the maps of good images hold at each place: their mean, and by how much they deviate from it.
///
/// A network is less sure in some places than in others, at edges above all, and good images differ more in some than in others.
/// Where these are the same in every image, this tells them from defects. From a map the mean is taken off as far as places
/// explain what maps hold ([`Self::offset`]): not at all where products lie anyhow. And a place counts the more, the less good
/// images differ there ([`Self::weight`]). That the two help where products stand still, and do no harm where they do not, was
/// seen on made-up defects (docs/results.md).
#[derive(Debug, Clone, PartialEq)]
pub struct Normal {
    mean: Map,
    deviation: Map,
}

impl Normal {
    /// Takes both, of one size, in [0, 1] as maps are.
    ///
    /// # Errors
    /// [`ModelError::Setting`] if they differ in size, or a value is not within 0 to 1.
    pub fn new(mean: Map, deviation: Map) -> Result<Self> {
        let mut values = mean.values().iter().chain(deviation.values());
        if mean.size() == deviation.size() && values.all(|value| (0.0..=1.0).contains(value)) {
            return Ok(Self { mean, deviation });
        }
        Err(ModelError::Setting(
            "what is normal is not of one size, or not within 0 to 1".into(),
        ))
    }

    /// The mean of good images' maps.
    pub fn mean(&self) -> &Map {
        &self.mean
    }

    /// Their standard deviation (of the maps themselves: divided by n).
    pub fn deviation(&self) -> &Map {
        &self.deviation
    }

    /// The size of the maps.
    pub fn size(&self) -> Size {
        self.mean.size()
    }

    /// What is taken off a map at each place: r² times the mean, where r is the share of the variance of all maps' values that
    /// goes back to the place.
    pub fn offset(&self) -> Map {
        let mut offset = self.mean.clone();
        let count = offset.values().len().max(1) as f64;
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / count;
        let overall = mean(&mut self.mean.values().iter().map(|&value| f64::from(value)));
        let between = mean(
            &mut self
                .mean
                .values()
                .iter()
                .map(|&value| (f64::from(value) - overall).powi(2)),
        );
        let within = mean(&mut self.deviation.values().iter().map(|&value| f64::from(value).powi(2)));
        let share = if between > 0.0 {
            between / (between + within)
        } else {
            0.0
        };
        let factor = (share * share) as f32;
        offset.values_mut().iter_mut().for_each(|value| *value *= factor);
        offset
    }

    /// What is left of a map is multiplied by 2m / (m + d) at each place, where d is the deviation there and m the mean of all.
    /// It is 1 where d is m, at most 2 where good images never differ, and falls where they do.
    pub fn weight(&self) -> Map {
        let mut weight = self.deviation.clone();
        let values = weight.values_mut();
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len().max(1) as f64;
        for value in values {
            let both = mean + f64::from(*value);
            *value = if both > 0.0 { (2.0 * mean / both) as f32 } else { 1.0 };
        }
        weight
    }
}

/// The fewest maps that tell what is normal.
const FEWEST: usize = 8;

/// Maps of good images, summed up one after the other.
#[derive(Debug, Clone)]
pub struct NormalSums {
    size: Size,
    count: usize,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl NormalSums {
    /// No maps yet, of this size.
    pub fn new(size: Size) -> Self {
        Self {
            size,
            count: 0,
            sums: vec![0.0; size.pixels()],
            squares: vec![0.0; size.pixels()],
        }
    }

    /// Takes a map in.
    ///
    /// # Errors
    /// If it is of another size.
    pub fn add(&mut self, map: &Map) -> Result<()> {
        ModelError::length("a map", map.values().len(), self.sums.len())?;
        let sums = self.sums.iter_mut().zip(&mut self.squares);
        for ((sum, square), &value) in sums.zip(map.values()) {
            *sum += f64::from(value);
            *square += f64::from(value) * f64::from(value);
        }
        self.count += 1;
        Ok(())
    }

    /// What is normal by the maps so far. Fewer than eight tell nothing: chance would pass for a place where images never differ.
    /// Then both are 0 everywhere, which leaves maps as they are.
    ///
    /// # Errors
    /// If a map held values outside of [0, 1].
    pub fn finish(self) -> Result<Normal> {
        if self.count < FEWEST {
            return Normal::new(Map::filled(self.size, 0.0), Map::filled(self.size, 0.0));
        }
        let share = 1.0 / self.count as f64;
        let mean = self.sums.iter().map(|sum| (sum * share) as f32).collect();
        let deviations = self.sums.iter().zip(&self.squares);
        let deviations = deviations.map(|(sum, square)| {
            let mean = sum * share;
            (square * share - mean * mean).max(0.0).sqrt() as f32
        });
        Normal::new(Map::new(self.size, mean)?, Map::new(self.size, deviations.collect())?)
    }
}
