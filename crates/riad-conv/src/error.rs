use crate::Dims;

/// Why a convolution was refused. Nothing was computed or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvError {
    /// A slice does not hold as many values as its shape says.
    #[error("{what} holds {found} values, but its shape asks for {expected}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Values that the shape asks for.
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
    #[error("a stride of {stride} is beyond the {limit} that are supported")]
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
    #[error("{what} is {found}, but the other shapes ask for {expected}")]
    Mismatch {
        /// Which size.
        what: &'static str,
        /// What the other shapes ask for.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// A batch does not have the shape that the other arguments ask for.
    #[error("the {what} has the shape {found}, but the other arguments ask for {expected}")]
    Shape {
        /// Which batch.
        what: &'static str,
        /// The shape that the others ask for.
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
    /// The environment variable `RIAD_CONV_SIMD` names no level that this machine has.
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
    /// This machine has no bf16 products that are worth their digits.
    #[error(
        "bf16 takes a processor with AMX (Intel Xeon from 2023 on) under Linux, and RIAD_CONV_SIMD unset; leave it out, \
         f32 runs everywhere"
    )]
    NoBf16,
}
