//! Shapes of activations on a GPU.

use riad_cuda::{Buffer, ConvolutionSpec, CudaError, Epilogue, Kind, Pixels, Precision};

use crate::network::Geometry;

/// Shape of a convolution's image side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) images: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Side {
    pub(super) fn pixels(self) -> usize {
        self.images * self.height * self.width
    }

    pub(super) fn in_precision(self, precision: Precision) -> Stored {
        Stored { side: self, precision }
    }

    /// The side after `levels` halvings.
    pub(super) fn at(self, levels: usize) -> Self {
        Self {
            height: self.height >> levels,
            width: self.width >> levels,
            ..self
        }
    }
}

/// How activations of a batch lie in buffers.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    side: Side,
    precision: Precision,
}

impl Stored {
    /// The pixels in a buffer, after `level` halvings of the image.
    pub(super) fn pixels(self, buffer: &Buffer, level: usize, channels: usize) -> Result<Pixels<'_>, CudaError> {
        buffer.pixels(self.precision, self.side.at(level).pixels(), channels)
    }
}

/// A convolution between dense tensors of padded channels.
pub(super) fn spec(
    kind: Kind,
    precision: Precision,
    side: Side,
    [inputs, outputs]: [usize; 2],
    geometry: Geometry,
) -> ConvolutionSpec {
    ConvolutionSpec {
        kind,
        precision,
        images: side.images,
        height: side.height,
        width: side.width,
        inputs,
        outputs,
        kernel: geometry.kernel,
        stride: geometry.stride,
        padding: geometry.padding,
        x_pixel: inputs,
        y_pixel: outputs,
        epilogue: Epilogue::None,
    }
}
