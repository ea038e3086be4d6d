/// Why a GPU cannot do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// The GPU does not exist or does not work: in one line, with the way out.
    #[error("{0}")]
    Device(String),
    /// The GPU does not have enough free memory.
    #[error("the GPU does not have {bytes} bytes of free memory; use a smaller batch")]
    Memory {
        /// Bytes that were asked for.
        bytes: usize,
    },
    /// cuDNN or a kernel failed.
    #[error("{what} failed on the GPU: {status}")]
    Failed {
        /// The operation.
        what: String,
        /// The library's status.
        status: String,
    },
    /// No kernel supports this shape or setting, on any GPU.
    #[error("{what} cannot be computed on a GPU: {reason}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// What is wrong, and what is right.
        reason: String,
    },
    /// A buffer does not have the number of values of the call's shape.
    #[error("{what} has {found} bytes, but its shape needs {expected}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// The number of bytes that the shape needs.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
}
