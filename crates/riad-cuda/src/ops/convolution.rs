//! Convolutions: which the device computes, after their tensors were checked.
#![allow(unsafe_code)] // Runs plans on addresses of checked length.

use std::sync::Arc;

use super::pixels::bias_relu;
use crate::{
    ConvolutionSpec, CudaError, Epilogue, Precision,
    device::{Gpu, Pixels, Plan, Span},
    lengths::{check, product},
};

impl Gpu {
    /// Prepares a convolution, once for each spec.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] if the spec is not one of a convolution, [`CudaError::Failed`] if cuDNN cannot do it.
    pub fn convolution(&self, spec: ConvolutionSpec) -> Result<Convolution, CudaError> {
        spec.check()?;
        Ok(Convolution {
            gpu: self.clone(),
            plan: self.plan(&spec)?,
            spec,
        })
    }
}

/// A convolution that is ready to run.
pub struct Convolution {
    gpu: Gpu,
    plan: Arc<dyn Plan>,
    spec: ConvolutionSpec,
}

impl Convolution {
    /// What it computes.
    pub fn spec(&self) -> &ConvolutionSpec {
        &self.spec
    }

    /// Computes the tensor that the spec's [`Kind`](crate::Kind) names from the other two. `bias`, one number in f32 for each
    /// output channel, is read where there is an epilogue.
    ///
    /// # Errors
    /// If a tensor is not as the spec says, or the device fails.
    pub fn run(&self, x: Pixels<'_>, w: Span<'_>, y: Pixels<'_>, bias: Option<Span<'_>>) -> Result<(), CudaError> {
        let ConvolutionSpec {
            precision,
            images,
            height,
            width,
            inputs,
            outputs,
            kernel,
            x_pixel,
            y_pixel,
            epilogue,
            ..
        } = self.spec;
        let (y_height, y_width) = self.spec.y_size()?;
        let x_count = product(&[images, height, width]);
        let y_count = product(&[images, y_height, y_width]);
        let x = tensor("a convolution's x", x, precision, [x_count, inputs, x_pixel])?;
        let y = tensor("a convolution's y", y, precision, [y_count, outputs, y_pixel])?;
        let bytes = product(&[outputs, kernel, kernel, inputs, precision.bytes()]);
        let w = w.vectors::<u8>("a convolution's weights", bytes)?;
        let bias = match (epilogue, bias) {
            (Epilogue::None, _) => 0,
            (Epilogue::BiasRelu, Some(bias)) => bias.vectors::<f32>("a convolution's bias", outputs)?,
            (Epilogue::BiasRelu, None) => {
                return Err(CudaError::Length {
                    what: "a convolution's bias",
                    expected: product(&[outputs, size_of::<f32>()]),
                    found: 0,
                });
            }
        };
        // Not where the epilogue is launched, which takes a turn of its own.
        {
            let _turn = self.gpu.recordings().turn();
            // SAFETY: shapes, lengths and alignment were checked above against the spec.
            unsafe { self.plan.run(x, w, y, bias) }?;
        }
        if epilogue == Epilogue::BiasRelu && self.plan.leaves_epilogue() {
            // SAFETY: as above.
            unsafe { bias_relu(&self.gpu, precision, [y, bias], [y_count, outputs, y_pixel]) }?;
        }
        Ok(())
    }
}

/// The address of a tensor, if it is as the spec says: at least `count` pixels of `channels`, `pixel` values apart.
fn tensor(
    what: &'static str,
    pixels: Pixels<'_>,
    precision: Precision,
    [count, channels, pixel]: [usize; 3],
) -> Result<u64, CudaError> {
    let bytes = precision.bytes();
    if (pixels.precision.bytes(), pixels.channels, pixels.pixel) != (bytes, channels, pixel) {
        return Err(CudaError::Unsupported {
            what,
            reason: format!(
                "it has {} channels of pixels of {} values of {} bytes, where its spec has {channels}, {pixel} and {bytes}",
                pixels.channels,
                pixels.pixel,
                pixels.precision.bytes()
            ),
        });
    }
    let [found, expected] = [pixels.count, count].map(|count| product(&[count, channels, bytes]));
    check(what, found, expected)?;
    pixels.vectors(what)
}
