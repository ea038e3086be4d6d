//! Differentiable layers of the training graph.
//!
//! On the CPU they are candle custom ops over `riad-conv` and plain loops, with tensors laid out channels-last (NHWC):
//! candle's own convolution backward is slow there, and its batch norm is a chain of temporaries. On other devices they
//! are compositions of candle's ops, channels-first (NCHW). A network runs in one [`Layout`] from end to end, so nothing
//! is transposed in between.

mod conv;
mod norm;

pub(crate) use conv::{conv_transpose2d, conv2d};
pub(crate) use norm::{BatchStatistics, EPSILON, batch_norm_relu};

use candle_core::{CpuStorage, DType, Device, Layout as Strides, Result, Storage, Tensor};

/// The order of a four-dimensional activation's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// N, C, H, W: what candle's own ops take.
    ChannelsFirst,
    /// N, H, W, C: what the CPU kernels take.
    ChannelsLast,
}

impl Layout {
    /// The layout in which the network runs on `device`.
    pub(crate) fn on(device: &Device) -> Self {
        if device.is_cpu() {
            Self::ChannelsLast
        } else {
            Self::ChannelsFirst
        }
    }

    /// Shape of an activation.
    pub(crate) fn shape(
        self,
        images: usize,
        channels: usize,
        height: usize,
        width: usize,
    ) -> (usize, usize, usize, usize) {
        match self {
            Self::ChannelsFirst => (images, channels, height, width),
            Self::ChannelsLast => (images, height, width, channels),
        }
    }

    pub(crate) fn channel_axis(self) -> usize {
        match self {
            Self::ChannelsFirst => 1,
            Self::ChannelsLast => 3,
        }
    }
}

/// The values of a contiguous f32 tensor on the CPU.
pub(crate) fn values<'a>(storage: &'a CpuStorage, strides: &Strides) -> Result<&'a [f32]> {
    let CpuStorage::F32(data) = storage else {
        candle_core::bail!("this op takes f32, not {:?}", storage_dtype(storage))
    };
    match strides.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => candle_core::bail!("this op takes contiguous tensors"),
    }
}

fn storage_dtype(storage: &CpuStorage) -> DType {
    candle_core::backend::BackendStorage::dtype(storage)
}

/// Calls `f` with the values of a tensor on the CPU, made contiguous where it is not.
pub(crate) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, strides) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(values(storage, strides)?),
        _ => candle_core::bail!("this op runs on the CPU"),
    }
}

/// Errors of the kernels below, carried through candle.
fn kernel_error(error: impl std::error::Error + Send + Sync + 'static) -> candle_core::Error {
    candle_core::Error::wrap(error)
}
