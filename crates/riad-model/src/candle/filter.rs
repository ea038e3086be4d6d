//! Linear filters along the two axes of images, as products with a matrix on either side.
//!
//! A convolution would give the same values. But candle spends most of its time on the filter's gradient, which is not
//! needed, and on some devices it copies the image once for each tap. A product is fast and has a gradient on all
//! devices, and the matrix can contain the rule for the image's border.

use candle_core::{Device, Result, Tensor};

/// What a filter makes of an axis: `results` values of `size`.
pub(super) struct Filter {
    pub(super) size: usize,
    pub(super) results: usize,
    /// By the result, then by the position.
    weights: Vec<f64>,
}

impl Filter {
    /// `taps` gives each result's positions and their weights. Weights at the same position add up.
    pub(super) fn new<Taps>(size: usize, results: usize, taps: impl Fn(usize) -> Taps) -> Self
    where
        Taps: IntoIterator<Item = (usize, f64)>,
    {
        let mut weights = vec![0.0; size * results];
        for (result, weights) in weights.chunks_exact_mut(size.max(1)).enumerate() {
            for (position, weight) in taps(result) {
                weights[position] += weight;
            }
        }
        Self { size, results, weights }
    }

    /// `[results, size]`, of the type and on the device of `like`.
    fn matrix(&self, like: &Tensor) -> Result<Tensor> {
        // Metal knows no f64: it becomes the other type before it leaves the host.
        Tensor::from_slice(&self.weights, (self.results, self.size), &Device::Cpu)?
            .to_dtype(like.dtype())?
            .to_device(like.device())
    }
}

/// Images `[…, H, W]` filtered along their columns, from the top down, and along their rows: `[…, H′, W′]`.
pub(super) fn filtered(images: &Tensor, down: &Filter, across: &Filter) -> Result<Tensor> {
    let across = across.matrix(images)?.t()?.contiguous()?;
    down.matrix(images)?
        .broadcast_matmul(&images.contiguous()?.broadcast_matmul(&across)?)
}
