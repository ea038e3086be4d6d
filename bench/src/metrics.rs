//! Pixel metrics over the maps of a test set.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use riad_core::metrics::PixelMetrics;

use crate::{Workload, read_floats, timed};

/// Maps and their ground truth.
pub(crate) struct Metrics {
    size: usize,
    maps: Vec<f32>,
    truth: Vec<bool>,
}

impl Metrics {
    pub(crate) fn read(directory: &Path, size: usize) -> Result<Self> {
        let path = directory.join(format!("truth-{size}.u8"));
        let truth = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            truth.len() % (size * size) == 0,
            "{} holds no whole maps",
            path.display()
        );
        Ok(Self {
            size,
            maps: read_floats(&directory.join(format!("maps-{size}.f32")), truth.len())?,
            truth: truth.into_iter().map(|value| value != 0).collect(),
        })
    }
}

impl Workload for Metrics {
    fn run(&mut self) -> Result<(f64, Vec<f64>)> {
        let pixels = self.size * self.size;
        let (seconds, scores) = timed(|| {
            let mut metrics = PixelMetrics::new();
            for (map, truth) in self.maps.chunks(pixels).zip(self.truth.chunks(pixels)) {
                metrics.push(map, truth, self.size, self.size)?;
            }
            Ok(metrics.finish(0.3)?)
        })?;
        Ok((seconds, vec![scores.auroc, scores.aupro]))
    }
}
