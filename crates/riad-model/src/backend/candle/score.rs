//! A network for scoring on a device of candle's, batch norms folded into the convolutions before them.

use candle_core::{DType, Device, Tensor};
use candle_nn::{ModuleT, VarBuilder};

use crate::{
    Result,
    backend::Score,
    candle::{Pass, UNet, tensors},
    method::Passes,
    network::Weights,
};

pub(crate) struct CandleScorer {
    network: UNet,
    device: Device,
    passes: Passes,
    /// The same on the device.
    each: Vec<Pass>,
}

impl CandleScorer {
    pub(crate) fn new(weights: &Weights, passes: Passes, device: &Device) -> Result<Self> {
        let tensors = VarBuilder::from_tensors(tensors(weights, device)?, DType::F32, device);
        Self::of(&UNet::new(weights.network(), tensors)?, passes, device)
    }

    /// The network as it is, whatever becomes of it.
    pub(super) fn of(network: &UNet, passes: Passes, device: &Device) -> Result<Self> {
        let each = passes.of_one_image().iter().map(|masking| Pass::new(masking, device));
        Ok(Self {
            network: network.folded()?,
            device: device.clone(),
            each: each.collect::<candle_core::Result<_>>()?,
            passes,
        })
    }
}

impl Score for CandleScorer {
    fn passes(&self) -> &Passes {
        &self.passes
    }

    fn reconstruct(&self, images: &[f32], pass: usize) -> Result<Vec<f32>> {
        let shape = self.passes.shape(images)?;
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let shape = (shape.images, shape.channels, shape.size.height, shape.size.width);
        let images = Tensor::from_slice(images, shape, &self.device)?;
        let pass = &self.each[pass];
        let outputs = self.network.forward_t(&pass.copies(&images)?, false)?;
        Ok(pass.reconstructions(&outputs)?.flatten_all()?.to_vec1()?)
    }
}
