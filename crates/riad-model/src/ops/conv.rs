//! Convolutions with the weight layouts of PyTorch: `[out, in, k, k]`, transposed `[in, out, k, k]`.

use candle_core::{CpuStorage, CustomOp3, Layout as Strides, Result, Shape, Tensor};
use riad_conv::{Dims, Geometry};

use super::{Layout, kernel_error, values, with_values};

/// Convolves `input` with `weight` and adds `bias`.
pub(crate) fn conv2d(
    input: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    geometry: Geometry,
    layout: Layout,
) -> Result<Tensor> {
    match layout {
        Layout::ChannelsLast => input.apply_op3(
            weight,
            bias,
            Convolve {
                geometry,
                transposed: false,
            },
        ),
        Layout::ChannelsFirst => {
            let Geometry { stride, padding, .. } = geometry;
            input
                .conv2d(weight, padding, stride, 1, 1)?
                .broadcast_add(&bias.reshape((1, (), 1, 1))?)
        }
    }
}

/// Convolves `input` with the transpose of the convolution that `weight` and `geometry` describe, and adds `bias`.
pub(crate) fn conv_transpose2d(
    input: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    geometry: Geometry,
    layout: Layout,
) -> Result<Tensor> {
    match layout {
        Layout::ChannelsLast => input.apply_op3(
            weight,
            bias,
            Convolve {
                geometry,
                transposed: true,
            },
        ),
        Layout::ChannelsFirst => {
            let Geometry { stride, padding, .. } = geometry;
            input
                .conv_transpose2d(weight, padding, 0, stride, 1)?
                .broadcast_add(&bias.reshape((1, (), 1, 1))?)
        }
    }
}

/// The CPU's convolution, channels-last.
struct Convolve {
    geometry: Geometry,
    transposed: bool,
}

impl Convolve {
    fn out_channels(&self, weight: &Shape) -> Result<usize> {
        let (out, input, _, _) = weight.dims4()?;
        Ok(if self.transposed { input } else { out })
    }
}

fn dims(shape: &Shape) -> Result<Dims> {
    let (images, height, width, channels) = shape.dims4()?;
    Ok(Dims {
        images,
        height,
        width,
        channels,
    })
}

impl CustomOp3 for Convolve {
    fn name(&self) -> &'static str {
        if self.transposed {
            "riad-conv-transpose2d"
        } else {
            "riad-conv2d"
        }
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_strides: &Strides,
        weight: &CpuStorage,
        weight_strides: &Strides,
        bias: &CpuStorage,
        bias_strides: &Strides,
    ) -> Result<(CpuStorage, Shape)> {
        let input_dims = dims(input_strides.shape())?;
        let out_channels = self.out_channels(weight_strides.shape())?;
        let (x, w) = (values(input, input_strides)?, values(weight, weight_strides)?);
        let bias = Some(values(bias, bias_strides)?);
        let g = self.geometry;
        let (output, output_dims) = if self.transposed {
            (
                riad_conv::conv_transpose2d(x, input_dims, w, out_channels, bias, g).map_err(kernel_error)?,
                input_dims.conv_transpose2d(out_channels, g).map_err(kernel_error)?,
            )
        } else {
            (
                riad_conv::conv2d(x, input_dims, w, out_channels, bias, g).map_err(kernel_error)?,
                input_dims.conv2d(out_channels, g).map_err(kernel_error)?,
            )
        };
        let Dims {
            images,
            height,
            width,
            channels,
        } = output_dims;
        Ok((CpuStorage::F32(output), Shape::from((images, height, width, channels))))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let input_dims = dims(input.shape())?;
        let out_channels = self.out_channels(weight.shape())?;
        let g = self.geometry;
        // The first convolution's input is the image itself, whose gradient nobody asks for.
        let input_grad = if input.track_op() {
            let values = with_values(grad, |dy| {
                with_values(weight, |w| {
                    if self.transposed {
                        riad_conv::conv_transpose2d_grad_input(dy, input_dims, w, out_channels, g)
                    } else {
                        riad_conv::conv2d_grad_input(dy, input_dims, w, out_channels, g)
                    }
                    .map_err(kernel_error)
                })
            })?;
            Some(Tensor::from_vec(values, input.shape(), input.device())?)
        } else {
            None
        };
        let (weight_grad, bias_grad) = with_values(grad, |dy| {
            with_values(input, |x| {
                if self.transposed {
                    riad_conv::conv_transpose2d_grad_weight(x, input_dims, dy, out_channels, g)
                } else {
                    riad_conv::conv2d_grad_weight(x, input_dims, dy, out_channels, g)
                }
                .map_err(kernel_error)
            })
        })?;
        Ok((
            input_grad,
            Some(Tensor::from_vec(weight_grad, weight.shape(), weight.device())?),
            Some(Tensor::from_vec(bias_grad, out_channels, weight.device())?),
        ))
    }
}
