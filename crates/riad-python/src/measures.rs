//! Metrics, masks and losses, of arrays that the package has brought into shape.

use numpy::{IntoPyArray, PyArray3, PyReadonlyArray1, PyReadonlyArray2, ndarray::Array3};
use pyo3::prelude::*;
use riad::{
    Map, Masks, Size,
    metrics::{self, PixelMetrics},
    similarity::{self, Shape},
};

use crate::{
    errors::{Result, refused},
    threads::compute,
};

fn copied<T: numpy::Element + Copy>(array: &PyReadonlyArray1<'_, T>) -> Vec<T> {
    array.as_array().iter().copied().collect()
}

/// Area under the receiver operating characteristic.
#[pyfunction]
pub(crate) fn auroc(
    py: Python<'_>,
    scores: PyReadonlyArray1<'_, f32>,
    labels: PyReadonlyArray1<'_, bool>,
) -> Result<f64> {
    // Other threads may change the arrays while this one does not hold Python's lock.
    let (scores, labels) = (copied(&scores), copied(&labels));
    compute(py, || metrics::auroc(&scores, &labels))?.map_err(refused)
}

/// Average precision.
#[pyfunction]
pub(crate) fn average_precision(
    py: Python<'_>,
    scores: PyReadonlyArray1<'_, f32>,
    labels: PyReadonlyArray1<'_, bool>,
) -> Result<f64> {
    let (scores, labels) = (copied(&scores), copied(&labels));
    compute(py, || metrics::average_precision(&scores, &labels))?.map_err(refused)
}

/// AUROC, average precision and AUPRO of the pixels of maps.
#[pyfunction]
pub(crate) fn pixel_metrics(
    py: Python<'_>,
    maps: Vec<PyReadonlyArray2<'_, f32>>,
    masks: Vec<PyReadonlyArray2<'_, bool>>,
    limit: f64,
) -> Result<(f64, f64, f64)> {
    let mut pixels = PixelMetrics::new();
    for (map, mask) in maps.iter().zip(&masks) {
        let (map, mask) = (plane(map)?, plane(mask)?);
        compute(py, || pixels.push(&map, &mask))?.map_err(refused)?;
    }
    let scores = compute(py, || pixels.finish(limit))?.map_err(refused)?;
    Ok((scores.auroc, scores.average_precision, scores.aupro))
}

fn plane<T: numpy::Element + Copy>(array: &PyReadonlyArray2<'_, T>) -> Result<Map<T>> {
    let array = array.as_array();
    let (height, width) = array.dim();
    Map::new(Size::new(height, width), array.iter().copied().collect()).map_err(refused)
}

/// The disjoint masks of an image, `[n, height, width]`, true where pixels are hidden.
#[pyfunction]
pub(crate) fn masks<'py>(
    py: Python<'py>,
    k: usize,
    n: usize,
    shape: (usize, usize),
    seed: u64,
) -> Result<Bound<'py, PyArray3<bool>>> {
    let (height, width) = shape;
    let hidden = compute(py, || {
        let masks = Masks::sample(k, n, Size::new(height, width), seed)?;
        let rows = (0..n).flat_map(|set| (0..height).map(move |y| (set, y)));
        let hidden = rows.filter_map(|(set, y)| masks.hidden_row(set, y)).flatten().collect();
        Ok::<Vec<bool>, riad::MaskError>(hidden)
    })?;
    let hidden = Array3::from_shape_vec((n, height, width), hidden.map_err(refused)?);
    Ok(hidden.map_err(refused)?.into_pyarray(py))
}

/// A batch of images, channels first, as `(images, channels, height, width)`.
type Batch = (usize, usize, usize, usize);

fn shape((images, channels, height, width): Batch) -> Shape {
    Shape {
        images,
        channels,
        size: Size::new(height, width),
    }
}

/// The mean over images and scales of 1 − GMS.
#[pyfunction]
pub(crate) fn msgms(
    py: Python<'_>,
    a: PyReadonlyArray1<'_, f32>,
    b: PyReadonlyArray1<'_, f32>,
    batch: Batch,
) -> Result<f64> {
    let (a, b, shape) = (copied(&a), copied(&b), shape(batch));
    let one_channel = Shape { channels: 1, ..shape };
    let loss = compute(py, || {
        let (a, b) = (similarity::gray(&a, shape)?, similarity::gray(&b, shape)?);
        similarity::gms::multiscale_loss(&a, &b, one_channel, 1.0, None)
    })?;
    loss.map_err(refused)
}

/// The mean over pixels of 1 − GMS, at one scale.
#[pyfunction]
pub(crate) fn gms(
    py: Python<'_>,
    a: PyReadonlyArray1<'_, f32>,
    b: PyReadonlyArray1<'_, f32>,
    batch: Batch,
) -> Result<f64> {
    let (a, b, shape) = (copied(&a), copied(&b), shape(batch));
    compute(py, || -> Result<f64> {
        let (a, b) = (
            similarity::gray(&a, shape).map_err(refused)?,
            similarity::gray(&b, shape).map_err(refused)?,
        );
        let plane = shape.plane_len().max(1);
        let mut sum = 0.0;
        for (a, b) in a.chunks_exact(plane).zip(b.chunks_exact(plane)) {
            let of = |values: &[f32]| Map::new(shape.size, values.to_vec()).map_err(refused);
            let map = similarity::gms::map(of(a)?, of(b)?, 1).map_err(refused)?;
            sum += map.values().iter().map(|value| 1.0 - f64::from(*value)).sum::<f64>();
        }
        Ok(sum / (plane * shape.images.max(1)) as f64)
    })?
}

/// One minus the mean SSIM.
#[pyfunction]
pub(crate) fn ssim(
    py: Python<'_>,
    a: PyReadonlyArray1<'_, f32>,
    b: PyReadonlyArray1<'_, f32>,
    batch: Batch,
) -> Result<f64> {
    let (a, b, shape) = (copied(&a), copied(&b), shape(batch));
    let loss = compute(py, || similarity::ssim::loss(&a, &b, shape, 1.0, None))?;
    loss.map_err(refused)
}
