//! The usual values of good images' maps at each place.

use riad_core::{Map, Size};

use crate::{ModelError, Result};

/// The mean and the deviation of good images' maps at each place.
///
/// A network is less exact in some places, above all at edges. Good images differ more in some places than in others.
/// If these places are the same in every image, the mean and the deviation separate them from defects. A map loses the
/// part of the mean that places explain ([`Self::offset`]), which is nothing if products lie in random positions. A
/// place has more weight if good images differ less there ([`Self::weight`]). On made-up defects, both help if products
/// lie in the same position, and do no harm otherwise (docs/results.md).
#[derive(Debug, Clone, PartialEq)]
pub struct Normal {
    mean: Map,
    deviation: Map,
}

impl Normal {
    /// Takes both maps, of the same size, in [0, 1].
    ///
    /// # Errors
    /// [`ModelError::Setting`] if they differ in size, or a value is not within 0 to 1.
    pub fn new(mean: Map, deviation: Map) -> Result<Self> {
        let mut values = mean.values().iter().chain(deviation.values());
        if mean.size() == deviation.size() && values.all(|value| (0.0..=1.0).contains(value)) {
            return Ok(Self { mean, deviation });
        }
        Err(ModelError::Setting(
            "the maps of what is normal differ in size, or have values outside of 0 to 1".into(),
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

    /// The offset that a map loses at each place: r² times the mean. r is the share of the variance of all maps' values
    /// that places explain.
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

    /// After the offset, a map is multiplied by the weight 2m / (m + d) at each place. d is the deviation there, and m
    /// is the mean of all deviations. The weight is 1 if d is m, 2 if good images never differ there, and less if they
    /// differ more.
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

/// Sums of good images' maps.
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

    /// Adds a map.
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

    /// What is normal by the maps so far. Fewer than eight maps are not enough, because images could be equal at a
    /// place by chance. Then both maps are 0 everywhere, and change nothing.
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
