//! Pixel metrics over the maps of a test set.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use riad_core::{Map, Size, metrics::PixelMetrics};

use crate::{Workload, read_floats, timed};

/// Maps, each with its ground truth.
pub(crate) struct Metrics(Vec<(Map, Map<bool>)>);

impl Metrics {
    pub(crate) fn read(directory: &Path, size: usize) -> Result<Self> {
        let path = directory.join(format!("truth-{size}.u8"));
        let truth = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let size = Size::new(size, size);
        ensure!(
            truth.len() % size.pixels() == 0,
            "{} holds no whole maps",
            path.display()
        );
        let maps = read_floats(&directory.join(format!("maps-{}.f32", size.width)), truth.len())?;
        let pairs = maps.chunks(size.pixels()).zip(truth.chunks(size.pixels()));
        let pairs = pairs.map(|(map, truth)| {
            let truth = truth.iter().map(|value| *value != 0).collect();
            Ok((Map::new(size, map.to_vec())?, Map::new(size, truth)?))
        });
        Ok(Self(pairs.collect::<Result<_>>()?))
    }
}

impl Workload for Metrics {
    fn run(&mut self) -> Result<(f64, Vec<f64>)> {
        let (seconds, scores) = timed(|| {
            let mut metrics = PixelMetrics::new();
            for (map, truth) in &self.0 {
                metrics.push(map, truth)?;
            }
            Ok(metrics.finish(0.3)?)
        })?;
        Ok((seconds, vec![scores.auroc, scores.aupro]))
    }
}
