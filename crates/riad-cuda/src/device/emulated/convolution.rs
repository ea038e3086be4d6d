//! Convolutions by riad-conv, on tensors as a GPU has them.
#![allow(unsafe_code)] // Memory is addresses, as on a GPU.

use std::sync::Arc;

use half::bf16;
use riad_conv::{Batch, BatchMut, ConvError, Dims, Geometry, conv2d, conv2d_grad_input, conv2d_grad_weight};

use super::memory::{Live, QUEUE, failed, lock, pointer};
use crate::{ConvolutionSpec, CudaError, Epilogue, Kind, Precision, device::Plan};

/// A convolution by riad-conv. As some of cuDNN's engines do, it adds bias and ReLU before rounding in bf16, and leaves them to
/// a kernel in f32, so that tests go both ways.
pub(super) struct Convolution {
    spec: ConvolutionSpec,
    geometry: Geometry,
    /// Of x and y, without what lies between their pixels.
    x: Dims,
    y: Dims,
    live: Arc<Live>,
}

impl Convolution {
    pub(super) fn new(spec: &ConvolutionSpec, live: &Arc<Live>) -> Result<Self, CudaError> {
        let geometry = Geometry::new(spec.kernel, spec.stride, spec.padding);
        let x = Dims::new(spec.images, spec.height, spec.width, spec.inputs);
        let y = x.conv2d(spec.outputs, geometry).map_err(refused)?;
        Ok(Self {
            spec: *spec,
            geometry,
            x,
            y,
            live: Arc::clone(live),
        })
    }

    fn tensor(&self, what: &'static str, address: u64, dims: Dims, pixel: usize) -> Result<Tensor, CudaError> {
        let tensor = Tensor {
            address,
            pixels: dims.images * dims.height * dims.width,
            channels: dims.channels,
            pixel,
            precision: self.spec.precision,
        };
        if !address.is_multiple_of(16) {
            return Err(failed(
                what,
                format!("its address {address:#x} is not aligned to 16 bytes"),
            ));
        }
        self.live.check(what, address, tensor.bytes())?;
        Ok(tensor)
    }

    fn bias(&self, address: u64) -> Result<Option<Vec<f32>>, CudaError> {
        match self.spec.epilogue {
            Epilogue::BiasRelu if !self.leaves_epilogue() => {
                let dims = Dims::new(1, 1, 1, self.spec.outputs);
                let bias = Tensor {
                    precision: Precision::F32,
                    ..self.tensor("a convolution's bias", address, dims, self.spec.outputs)?
                };
                self.live.check("a convolution's bias", address, bias.bytes())?;
                Ok(Some(bias.load()))
            }
            Epilogue::None | Epilogue::BiasRelu => Ok(None),
        }
    }
}

impl Plan for Convolution {
    unsafe fn run(&self, x: u64, w: u64, y: u64, bias: u64) -> Result<(), CudaError> {
        let spec = &self.spec;
        let x = self.tensor("a convolution's x", x, self.x, spec.x_pixel)?;
        let w_dims = Dims::new(spec.outputs, spec.kernel, spec.kernel, spec.inputs);
        let w = self.tensor("a convolution's w", w, w_dims, spec.inputs)?;
        let y = self.tensor("a convolution's y", y, self.y, spec.y_pixel)?;

        // riad-conv's threads may take up other work meanwhile, which may wait for the queue: it is ours for the copies
        // alone.
        let turn = lock(&QUEUE);
        let bias = self.bias(bias)?;
        let written = match spec.kind {
            Kind::Forward => {
                let (from, weight) = (x.load(), oihw_from_ohwi(&w.load(), w_dims));
                drop(turn);
                let mut to = vec![0.0; y.values()];
                let out = BatchMut::new(&mut to, self.y).map_err(refused)?;
                let from = Batch::new(&from, self.x).map_err(refused)?;
                conv2d(from, &weight, bias.as_deref(), self.geometry, out).map_err(refused)?;
                if bias.is_some() {
                    // Unlike f32::max, this lets NaN through.
                    to.iter_mut()
                        .filter(|value| **value < 0.0)
                        .for_each(|value| *value = 0.0);
                }
                (y, to)
            }
            Kind::GradInput => {
                let (from, weight) = (y.load(), oihw_from_ohwi(&w.load(), w_dims));
                drop(turn);
                let mut to = vec![0.0; x.values()];
                let out = BatchMut::new(&mut to, self.x).map_err(refused)?;
                let from = Batch::new(&from, self.y).map_err(refused)?;
                conv2d_grad_input(from, &weight, self.geometry, out).map_err(refused)?;
                (x, to)
            }
            Kind::GradWeight => {
                let (images, gradient) = (x.load(), y.load());
                drop(turn);
                let mut to = vec![0.0; w.values()];
                let images = Batch::new(&images, self.x).map_err(refused)?;
                let gradient = Batch::new(&gradient, self.y).map_err(refused)?;
                conv2d_grad_weight(images, gradient, self.geometry, &mut to).map_err(refused)?;
                (w, ohwi_from_oihw(&to, w_dims))
            }
        };
        let _turn = lock(&QUEUE);
        let (tensor, values) = written;
        tensor.store(&values);
        Ok(())
    }

    fn leaves_epilogue(&self) -> bool {
        self.spec.epilogue == Epilogue::BiasRelu && self.spec.precision != Precision::Bf16
    }
}

fn refused(error: ConvError) -> CudaError {
    failed("a convolution", error)
}

/// For each value of weights `[outputs, inputs, height, width]`, in order, its place in `[outputs, height, width, inputs]`.
fn places(w: Dims) -> impl Iterator<Item = usize> {
    let area = w.height * w.width;
    let of_output = move |output| {
        (0..w.channels).flat_map(move |input| (0..area).map(move |tap| (output * area + tap) * w.channels + input))
    };
    (0..w.images).flat_map(of_output)
}

fn oihw_from_ohwi(values: &[f32], w: Dims) -> Vec<f32> {
    places(w).map(|place| values[place]).collect()
}

fn ohwi_from_oihw(values: &[f32], w: Dims) -> Vec<f32> {
    let mut to = vec![0.0; values.len()];
    for (place, &value) in places(w).zip(values) {
        to[place] = value;
    }
    to
}

/// A tensor where it lies: in live memory, aligned, which [`Convolution::tensor`] has checked.
struct Tensor {
    address: u64,
    pixels: usize,
    channels: usize,
    /// Values from one pixel to the next.
    pixel: usize,
    precision: Precision,
}

impl Tensor {
    fn values(&self) -> usize {
        self.pixels * self.channels
    }

    /// From the first value to the last.
    fn bytes(&self) -> usize {
        ((self.pixels - 1) * self.pixel + self.channels) * self.precision.bytes()
    }

    /// Each value's address.
    fn addresses(&self) -> impl Iterator<Item = *mut u8> {
        let (address, bytes) = (self.address, self.precision.bytes());
        let of_pixel = move |at: usize| (0..self.channels).map(move |channel| (at * self.pixel + channel) * bytes);
        (0..self.pixels)
            .flat_map(of_pixel)
            .map(move |offset| pointer(address + offset as u64))
    }

    /// The values, as factors.
    fn load(&self) -> Vec<f32> {
        // SAFETY: the tensor has been checked, its values are aligned, and all bits are a value.
        let load = |at: *mut u8| unsafe {
            match self.precision {
                Precision::F32 => at.cast::<f32>().read(),
                Precision::Tf32 => tf32(at.cast::<f32>().read()),
                Precision::Bf16 => at.cast::<bf16>().read().to_f32(),
            }
        };
        self.addresses().map(load).collect()
    }

    fn store(&self, values: &[f32]) {
        for (at, &value) in self.addresses().zip(values) {
            // SAFETY: as in `load`.
            unsafe {
                match self.precision {
                    Precision::F32 | Precision::Tf32 => at.cast::<f32>().write(value),
                    Precision::Bf16 => at.cast::<bf16>().write(bf16::from_f32(value)),
                }
            }
        }
    }
}

/// `value` with 10 bits of mantissa: the nearest, of two the even one.
pub(super) fn tf32(value: f32) -> f32 {
    if value.is_nan() {
        return value;
    }
    let bits = value.to_bits();
    // A carry out of the mantissa is right: it leads to the next exponent, at last to infinity.
    f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
}
