//! What the tests of all devices do not see.

use candle_core::{Device, Tensor};
use proptest::prelude::*;

use crate::{
    candle::Pass,
    method::{maskings, values},
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// To the bit: a model scores and trains with the same numbers wherever its copies are made.
    #[test]
    fn copies_and_reconstructions_are_those_of_the_cpu(masking in maskings(), seed in any::<u64>()) {
        let frame = masking.frame();
        let images = values(masking.image_len(), seed);
        let pass = Pass::new(&masking, &Device::Cpu).unwrap();
        let shape = (masking.images(), frame.channels, frame.size.height, frame.size.width);
        let on_device = Tensor::from_slice(&images, shape, &Device::Cpu).unwrap();
        let copies = pass.copies(&on_device).unwrap().permute((0, 2, 3, 1)).unwrap();
        prop_assert_eq!(on_host(&copies), masking.hide(&images).unwrap());

        let dims = masking.dims();
        let shape = (dims.images, dims.height, dims.width, dims.channels);
        let count = dims.images * dims.height * dims.width * dims.channels;
        let outputs: Vec<f32> = values(count, !seed).iter().map(|v| 2.0 * v - 1.0).collect();
        let on_device = Tensor::from_slice(&outputs, shape, &Device::Cpu).unwrap();
        let composed = pass.reconstructions(&on_device.permute((0, 3, 1, 2)).unwrap()).unwrap();
        prop_assert_eq!(on_host(&composed), masking.compose(&outputs).unwrap());
    }
}

fn on_host(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}
