//! The inpainting loss composed of candle's ops, with the values of [`crate::loss`].

use candle_core::{Result as TensorResult, Tensor};
use riad_core::similarity::gms;

use crate::{
    Result,
    architecture::CHANNELS,
    loss::{LossTerms, LossWeights},
    masking::Masking,
};

/// The loss of the network's output over the masked copies of `images`, as a scalar to differentiate and as terms.
pub(super) fn inpainting_loss(
    output: &Tensor,
    images: &[f32],
    masking: &Masking,
    weights: LossWeights,
) -> Result<(Tensor, LossTerms)> {
    let device = output.device();
    let ((height, width), count) = (masking.size(), masking.images());
    let shape = (count, CHANNELS, height, width);
    let images = Tensor::from_slice(images, shape, device)?;
    let used = Tensor::from_vec(masking.used(), masking.shape(), device)?;
    let normalisation = masking.normalisation();
    let reconstructions = (output * used)?
        .reshape((masking.sets(), count, CHANNELS, height, width))?
        .sum(0)?;
    let reconstructions = reconstructions.affine(f64::from(normalisation.deviation), f64::from(normalisation.mean))?;
    let error = (&reconstructions - &images)?;
    let (l2, l1) = (error.sqr()?.mean_all()?, error.abs()?.mean_all()?);
    let ssim = ssim_loss(&images, &reconstructions)?;
    let msgms = msgms_loss(&images, &reconstructions)?;
    let absolute_and_squared = ((&l2 * f64::from(weights.l2))? + (&l1 * f64::from(weights.l1))?)?;
    let structural = ((&ssim * f64::from(weights.ssim))? + (&msgms * f64::from(weights.msgms))?)?;
    let total = (absolute_and_squared + structural)?;
    let value = |t: &Tensor| t.to_scalar::<f32>().map(f64::from);
    let terms = LossTerms {
        l2: value(&l2)?,
        l1: value(&l1)?,
        ssim: value(&ssim)?,
        msgms: value(&msgms)?,
        total: value(&total)?,
    };
    Ok((total, terms))
}

fn ssim_loss(images: &Tensor, reconstructions: &Tensor) -> TensorResult<Tensor> {
    let (count, channels, height, width) = images.dims4()?;
    let planes = |t: &Tensor| t.reshape((count * channels, 1, height, width));
    let window: Vec<f32> = {
        let line: Vec<f64> = (-5i32..=5)
            .map(|i| (-f64::from(i * i) / (2.0 * 1.5 * 1.5)).exp())
            .collect();
        let sum: f64 = line.iter().sum();
        line.iter()
            .flat_map(|a| line.iter().map(move |b| (a * b / (sum * sum)) as f32))
            .collect()
    };
    let window = Tensor::from_vec(window, (1, 1, 11, 11), images.device())?;
    let filter = |t: &Tensor| t.conv2d(&window, 0, 1, 1, 1);
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

fn msgms_loss(images: &Tensor, reconstructions: &Tensor) -> TensorResult<Tensor> {
    let grey = |t: &Tensor| {
        // Rec. 601 luma, as riad-core's `gray`.
        let weights = Tensor::new(&[0.299f32, 0.587, 0.114], t.device())?.reshape((1, CHANNELS, 1, 1))?;
        t.broadcast_mul(&weights)?.sum_keepdim(1)
    };
    let (mut x, mut y) = (grey(images)?, grey(reconstructions)?);
    let mut losses = Vec::with_capacity(gms::SCALES);
    for scale in 0..gms::SCALES {
        if scale > 0 {
            (x, y) = (x.avg_pool2d(2)?, y.avg_pool2d(2)?);
        }
        let (gx, gy) = (gradient_magnitude(&x)?, gradient_magnitude(&y)?);
        let numerator = ((&gx * &gy)? * 2.0)? + f64::from(gms::C);
        let denominator = ((gx.sqr()? + gy.sqr()?)? + f64::from(gms::C))?;
        losses.push((numerator? / denominator)?.mean_all()?.affine(-1.0, 1.0)?);
    }
    Tensor::stack(&losses, 0)?.mean_all()
}

fn gradient_magnitude(grey: &Tensor) -> TensorResult<Tensor> {
    let padded = grey.pad_with_same(2, 1, 1)?.pad_with_same(3, 1, 1)?;
    const THIRD: f32 = 1.0 / 3.0;
    let across = [THIRD, 0.0, -THIRD, THIRD, 0.0, -THIRD, THIRD, 0.0, -THIRD];
    let down = [THIRD, THIRD, THIRD, 0.0, 0.0, 0.0, -THIRD, -THIRD, -THIRD];
    let filter =
        |kernel: [f32; 9]| padded.conv2d(&Tensor::new(&kernel, grey.device())?.reshape((1, 1, 3, 3))?, 0, 1, 1, 1);
    // An epsilon inside: the square root's gradient is infinite on flat regions.
    ((filter(across)?.sqr()? + filter(down)?.sqr()?)? + f64::from(gms::EPSILON))?.sqrt()
}
