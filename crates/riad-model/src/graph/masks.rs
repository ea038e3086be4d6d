//! Masked copies and reconstructions on a device, with the values that [`Masking`] has on the CPU.

use candle_core::{DType, Device, Result, Tensor};

use crate::{
    architecture::CHANNELS,
    masking::{Masking, Normalisation, mirrored},
};

/// The masks of a batch of images, on a device.
pub(crate) struct DeviceMasks {
    /// 1 where a copy is hidden, 0 where it is visible: `[n, B, 1, H, W]`. `None` where nothing is hidden.
    hidden: Option<Tensor>,
    /// Height and width of the images.
    size: (usize, usize),
    /// The rows and columns that the network sees, where it sees more than the image.
    continued: Option<[Tensor; 2]>,
    normalisation: Normalisation,
}

impl DeviceMasks {
    pub(crate) fn new(masking: &Masking, device: &Device) -> Result<Self> {
        let (height, width) = masking.size();
        let hidden = match masking.sets_of_pixels() {
            None => None,
            // A byte for each pixel goes to the device, not a value for each channel of each copy.
            Some(sets_of_pixels) => {
                let sets_of_pixels = Tensor::from_vec(sets_of_pixels, (1, masking.images(), 1, height, width), device)?;
                let sets: Vec<u8> = (0..=u8::MAX).take(masking.sets()).collect();
                let sets = Tensor::from_vec(sets, (masking.sets(), 1, 1, 1, 1), device)?;
                Some(sets_of_pixels.broadcast_eq(&sets)?.to_dtype(DType::F32)?)
            }
        };
        let (padded_height, padded_width) = masking.padded_size();
        let places = |padded: usize, size: usize| {
            let places: Vec<u32> = (0..padded).map(|place| mirrored(place, size) as u32).collect();
            Tensor::from_vec(places, padded, device)
        };
        let continued = if (padded_height, padded_width) == (height, width) {
            None
        } else {
            Some([places(padded_height, height)?, places(padded_width, width)?])
        };
        Ok(Self {
            hidden,
            size: (height, width),
            continued,
            normalisation: masking.normalisation(),
        })
    }

    /// The masked copies of images `[B, 3, H, W]` in [0, 1], normalised: n·B of the padded size, channels-first.
    pub(crate) fn hide(&self, images: &Tensor) -> Result<Tensor> {
        let Normalisation { mean, deviation } = self.normalisation;
        // In two steps, each rounded as on the CPU.
        let normalised = images
            .affine(1.0, f64::from(-mean))?
            .affine(f64::from(1.0 / deviation), 0.0)?;
        let copies = match &self.hidden {
            None => normalised,
            Some(hidden) => {
                let (sets, count, _, height, width) = hidden.dims5()?;
                let visible = hidden.affine(-1.0, 1.0)?;
                let copies = normalised.unsqueeze(0)?.broadcast_mul(&visible)?;
                copies.reshape((sets * count, CHANNELS, height, width))?
            }
        };
        match &self.continued {
            None => Ok(copies),
            Some([rows, columns]) => copies.index_select(rows, 2)?.index_select(columns, 3),
        }
    }

    /// Reconstructions `[B, 3, H, W]` in [0, 1] from the network's output for the copies: every pixel from the pass in
    /// which it was hidden, or from the only one.
    pub(crate) fn compose(&self, outputs: &Tensor) -> Result<Tensor> {
        let Normalisation { mean, deviation } = self.normalisation;
        let (height, width) = self.size;
        let outputs = outputs.narrow(2, 0, height)?.narrow(3, 0, width)?;
        let used = match &self.hidden {
            None => outputs,
            Some(hidden) => {
                let (sets, count, _, height, width) = hidden.dims5()?;
                let outputs = outputs.reshape((sets, count, CHANNELS, height, width))?;
                outputs.broadcast_mul(hidden)?.sum(0)?
            }
        };
        used.affine(f64::from(deviation), f64::from(mean))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To the bit: a model scores and trains with the same numbers wherever its copies are made.
    #[test]
    fn copies_and_reconstructions_are_those_of_the_cpu() {
        let (height, width) = (18, 21);
        let normalisation = Normalisation {
            mean: 0.4,
            deviation: 0.3,
        };
        for (region_size, copies_per_image) in [(Some(4), 3), (None, 1)] {
            let masking = Masking::sample(region_size, 3, (height, width), &[1, 2], normalisation).unwrap();
            let images: Vec<f32> = (0..masking.image_len())
                .map(|i| (i as f32 * 0.37).sin().abs())
                .collect();
            let (padded_height, padded_width) = masking.padded_size();
            let outputs: Vec<f32> = (0..copies_per_image * 2 * CHANNELS * padded_height * padded_width)
                .map(|i| (i as f32 * 0.7).cos())
                .collect();
            let masks = DeviceMasks::new(&masking, &Device::Cpu).unwrap();
            let copies = masks.hide(&masking.upload(&images, &Device::Cpu).unwrap()).unwrap();
            let copies = copies.permute((0, 2, 3, 1)).unwrap();
            assert_eq!(
                copies.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                masking.hide(&images).unwrap()
            );
            let on_device = Tensor::from_slice(&outputs, masking.shape(), &Device::Cpu).unwrap();
            let composed = masks.compose(&on_device.permute((0, 3, 1, 2)).unwrap()).unwrap();
            assert_eq!(
                composed.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                masking.compose(&outputs).unwrap()
            );
        }
    }
}
