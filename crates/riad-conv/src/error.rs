use crate::Dims;

/// Why a convolution was refused. Nothing was computed or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvError {
    /// A slice does not have the number of values of its shape.
    #[error("{what} has {found} values, but its shape needs {expected}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// The number of values that the shape needs.
        expected: usize,
        /// Values that were given.
        found: usize,
    },
    /// A kernel, stride or number of channels, or an image's height or width, is 0.
    #[error("{what} is 0; it must be at least 1")]
    Zero {
        /// Which size.
        what: &'static str,
    },
    /// A stride that no network has.
    #[error("a stride of {stride} is not supported; the largest is {limit}")]
    Stride {
        /// The stride.
        stride: usize,
        /// The largest that is supported.
        limit: usize,
    },
    /// The kernel does not fit into the padded image, so the output would have no pixel.
    #[error("an image side of {size} gives no output with kernel {kernel}, stride {stride} and padding {padding}")]
    NoOutput {
        /// The image's height or width.
        size: usize,
        /// Side of the kernel.
        kernel: usize,
        /// Stride.
        stride: usize,
        /// Zero padding on each side.
        padding: usize,
    },
    /// A number of channels does not fit the other arguments.
    #[error("{what} is {found}, but the other shapes need {expected}")]
    Mismatch {
        /// Which size.
        what: &'static str,
        /// The value that the other shapes need.
        expected: usize,
        /// The value that was given.
        found: usize,
    },
    /// A batch does not have the shape that the other arguments need.
    #[error("the {what} has the shape {found}, but the other arguments need {expected}")]
    Shape {
        /// Which batch.
        what: &'static str,
        /// The shape that the other arguments need.
        expected: Dims,
        /// Its shape.
        found: Dims,
    },
    /// A buffer of this shape cannot exist in memory.
    #[error("the {what} would have more values than memory can address")]
    TooLarge {
        /// Which buffer.
        what: &'static str,
    },
    /// The environment variable `RIAD_CONV_SIMD` names an instruction set that this machine does not have.
    #[error(
        "RIAD_CONV_SIMD={value} is not an instruction set of this machine; unset it or use one of: {}",
        available.join(", ")
    )]
    Simd {
        /// The variable's value.
        value: String,
        /// The values that would be accepted.
        available: Vec<&'static str>,
    },
    /// This machine has no fast bf16 products.
    #[error(
        "bf16 needs a processor with AMX (Intel Xeon from 2023 on), Linux, and no RIAD_CONV_SIMD; use f32, which runs \
         everywhere"
    )]
    NoBf16,
}
