//! The network for programs that use [candle](https://github.com/huggingface/candle): a [`UNet`] on candle-nn, with
//! functions on tensors. All of it runs on any device that candle supports, and is differentiable there.
//!
//! | | |
//! |---|---|
//! | [`UNet`] | the network, from a checkpoint of this crate or to be trained |
//! | [`passes`] | what it sees of images to score them, as a checkpoint says |
//! | [`hidden_pixels`], [`hide`], [`compose`] | masked copies of images, and one reconstruction of what the network makes of them |
//! | [`continued`] | images of any size for a network that halves them |
//! | [`loss`] | the published loss, or a part: [`l2_loss`], [`l1_loss`], [`ssim_loss`], [`msgms_loss`] |
//! | [`anomaly_map`] | where an image differs from its reconstruction: [`gms_map`], [`mean_filter`] |
//!
//! Images are `[B, C, H, W]`. Losses and maps take values in [0, 1], because the constants of SSIM and GMS are for this
//! range. The network takes values around 0. [`Normalisation`](crate::Normalisation), [`normalised`] and
//! [`denormalised`] convert between the two ranges. An image's score is its map's maximum.
//!
//! ```
//! use riad_core::{Masks, Size};
//! use riad_model::{
//!     Architecture, Normalisation,
//!     candle::{
//!         UNet, anomaly_map,
//!         candle_core::{DType, Device, Tensor},
//!         candle_nn::{ModuleT, VarBuilder},
//!         compose, denormalised, hidden_pixels, hide, normalised,
//!     },
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (device, range) = (Device::Cpu, Normalisation::default());
//! // `VarBuilder::from_buffered_safetensors` takes a checkpoint's bytes, `VarBuilder::from_varmap` a network to train.
//! let vb = VarBuilder::zeros(DType::F32, &device);
//! let net = UNet::new(&Architecture::u_net(4).network()?, vb)?;
//!
//! let image = Tensor::full(0.5f32, (1, 3, 32, 32), &device)?;
//! let hidden = hidden_pixels(&[Masks::sample(8, 3, Size::new(32, 32), 1)?], &device)?;
//! let copies = hide(&normalised(&image, range)?, &hidden)?;
//! let outputs = net.forward_t(&copies, false)?;
//! let reconstruction = denormalised(&compose(&outputs, &hidden)?, range)?;
//! let map = anomaly_map(&image, &reconstruction, 4, 21)?;
//! assert_eq!(map.dims(), [1, 32, 32]);
//! # Ok(())
//! # }
//! ```

mod edges;
mod filter;
mod gms;
mod loss;
mod map;
mod masks;
mod pass;
mod unet;

pub use candle_core;
pub use candle_nn;

pub use gms::{gms_map, msgms_loss};
pub use loss::{Losses, l1_loss, l2_loss, loss, ssim_loss};
pub use map::{anomaly_map, mean_filter};
pub use masks::{compose, continued, denormalised, hidden_pixels, hide, normalised};
pub use pass::{Pass, passes};
pub use unet::{UNet, tensors};

use candle_core::{Error, Result, Tensor};
use riad_core::{
    Size,
    similarity::{Shape, SimilarityError},
};

/// The shape of images and of their reconstructions, which must be the same, with a value in it.
fn shape_of(images: &Tensor, reconstructions: &Tensor) -> Result<Shape> {
    let (count, channels, height, width) = images.dims4()?;
    if images.dims() != reconstructions.dims() {
        return Err(Error::ShapeMismatchBinaryOp {
            lhs: images.shape().clone(),
            rhs: reconstructions.shape().clone(),
            op: "comparison of images with their reconstructions",
        }
        .bt());
    }
    let shape = Shape {
        images: count,
        channels,
        size: Size::new(height, width),
    };
    if shape.batch_len() == 0 {
        return Err(Error::wrap(SimilarityError::Empty { shape }));
    }
    Ok(shape)
}
