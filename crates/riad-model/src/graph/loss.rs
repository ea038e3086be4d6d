//! The inpainting loss composed of candle's ops, with the values of [`crate::loss`].

use candle_core::{Device, Result, Tensor};
use riad_core::similarity::gms;

use crate::{
    architecture::CHANNELS,
    loss::{LossTerms, LossWeights},
};

/// The filters of the loss, on a device.
pub(super) struct Filters {
    /// SSIM's Gaussian window, `[1, 1, 11, 11]`.
    window: Tensor,
    /// Rec. 601 luma, as riad-core's `gray`, `[1, 3, 1, 1]`.
    luma: Tensor,
    /// Prewitt's, `[1, 1, 3, 3]` each.
    across: Tensor,
    down: Tensor,
}

/// The loss's terms as tensors without axes.
pub(super) struct TermTensors {
    l2: Tensor,
    l1: Tensor,
    ssim: Tensor,
    msgms: Tensor,
    /// What to differentiate.
    pub(super) total: Tensor,
}

impl TermTensors {
    /// The terms on the host: waits once for the device.
    pub(super) fn read(&self) -> Result<LossTerms> {
        let terms = Tensor::stack(&[&self.l2, &self.l1, &self.ssim, &self.msgms, &self.total], 0)?;
        Ok(LossTerms::from_device(
            terms.to_vec1::<f32>()?.into_iter().map(f64::from),
        ))
    }
}

impl Filters {
    pub(super) fn new(device: &Device) -> Result<Self> {
        const THIRD: f32 = 1.0 / 3.0;
        const ACROSS: [f32; 9] = [THIRD, 0.0, -THIRD, THIRD, 0.0, -THIRD, THIRD, 0.0, -THIRD];
        const DOWN: [f32; 9] = [THIRD, THIRD, THIRD, 0.0, 0.0, 0.0, -THIRD, -THIRD, -THIRD];
        let line: Vec<f64> = (-5i32..=5)
            .map(|i| (-f64::from(i * i) / (2.0 * 1.5 * 1.5)).exp())
            .collect();
        let sum: f64 = line.iter().sum();
        let window = line
            .iter()
            .flat_map(|a| line.iter().map(move |b| (a * b / (sum * sum)) as f32))
            .collect();
        Ok(Self {
            window: Tensor::from_vec(window, (1, 1, 11, 11), device)?,
            luma: Tensor::new(&[0.299f32, 0.587, 0.114], device)?.reshape((1, CHANNELS, 1, 1))?,
            across: Tensor::new(&ACROSS, device)?.reshape((1, 1, 3, 3))?,
            down: Tensor::new(&DOWN, device)?.reshape((1, 1, 3, 3))?,
        })
    }

    /// The loss of reconstructions against images, both `[B, 3, H, W]` in [0, 1].
    pub(super) fn loss(&self, images: &Tensor, reconstructions: &Tensor, weights: LossWeights) -> Result<TermTensors> {
        let error = (reconstructions - images)?;
        let (l2, l1) = (error.sqr()?.mean_all()?, error.abs()?.mean_all()?);
        let ssim = self.ssim(images, reconstructions)?;
        let msgms = self.msgms(images, reconstructions)?;
        let absolute_and_squared = ((&l2 * f64::from(weights.l2))? + (&l1 * f64::from(weights.l1))?)?;
        let structural = ((&ssim * f64::from(weights.ssim))? + (&msgms * f64::from(weights.msgms))?)?;
        let total = (absolute_and_squared + structural)?;
        Ok(TermTensors {
            l2,
            l1,
            ssim,
            msgms,
            total,
        })
    }

    fn ssim(&self, images: &Tensor, reconstructions: &Tensor) -> Result<Tensor> {
        let (count, channels, height, width) = images.dims4()?;
        let planes = |t: &Tensor| t.reshape((count * channels, 1, height, width));
        let filter = |t: &Tensor| t.conv2d(&self.window, 0, 1, 1, 1);
        let (x, y) = (planes(images)?, planes(reconstructions)?);
        let (mean_x, mean_y) = (filter(&x)?, filter(&y)?);
        let (xx, yy, xy) = (mean_x.sqr()?, mean_y.sqr()?, (&mean_x * &mean_y)?);
        let variance_x = (filter(&x.sqr()?)? - &xx)?;
        let variance_y = (filter(&y.sqr()?)? - &yy)?;
        let covariance = (filter(&(&x * &y)?)? - &xy)?;
        const C1: f64 = 0.01 * 0.01;
        const C2: f64 = 0.03 * 0.03;
        let numerator = (xy.affine(2.0, C1)? * covariance.affine(2.0, C2)?)?;
        let denominator = (((xx + yy)? + C1)? * ((variance_x + variance_y)? + C2)?)?;
        (numerator / denominator)?.mean_all()?.affine(-1.0, 1.0)
    }

    fn msgms(&self, images: &Tensor, reconstructions: &Tensor) -> Result<Tensor> {
        let grey = |t: &Tensor| t.broadcast_mul(&self.luma)?.sum_keepdim(1);
        let (mut x, mut y) = (grey(images)?, grey(reconstructions)?);
        let mut losses = Vec::with_capacity(gms::SCALES);
        for scale in 0..gms::SCALES {
            if scale > 0 {
                (x, y) = (halved(&x)?, halved(&y)?);
            }
            let (gx, gy) = (self.gradient_magnitude(&x)?, self.gradient_magnitude(&y)?);
            let numerator = ((&gx * &gy)? * 2.0)? + f64::from(gms::C);
            let denominator = ((gx.sqr()? + gy.sqr()?)? + f64::from(gms::C))?;
            losses.push((numerator? / denominator)?.mean_all()?.affine(-1.0, 1.0)?);
        }
        Tensor::stack(&losses, 0)?.mean_all()
    }

    fn gradient_magnitude(&self, grey: &Tensor) -> Result<Tensor> {
        let padded = grey.pad_with_same(2, 1, 1)?.pad_with_same(3, 1, 1)?;
        let filter = |kernel: &Tensor| padded.conv2d(kernel, 0, 1, 1, 1);
        // An epsilon inside: the square root's gradient is infinite on flat regions.
        ((filter(&self.across)?.sqr()? + filter(&self.down)?.sqr()?)? + f64::from(gms::EPSILON))?.sqrt()
    }
}

/// Averages of 2x2 pixels; a last row or column without a partner, which candle's pooling drops, is averaged alone.
fn halved(grey: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = grey.dims4()?;
    grey.pad_with_same(2, 0, height % 2)?
        .pad_with_same(3, 0, width % 2)?
        .avg_pool2d(2)
}
