/// Why a GPU cannot do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// There is no such GPU, or it does not work; in one line, with the way out.
    #[error("{0}")]
    Device(String),
    /// It has not enough memory left.
    #[error("the GPU has no {bytes} bytes of memory left; take a smaller batch")]
    Memory {
        /// Bytes that were asked for.
        bytes: usize,
    },
    /// cuDNN or a kernel failed.
    #[error("{what} failed on the GPU: {status}")]
    Failed {
        /// What was done.
        what: String,
        /// The library's status.
        status: String,
    },
    /// No kernel takes this shape or setting, on any GPU.
    #[error("{what} cannot be computed on a GPU: {reason}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// A buffer does not hold as many values as the call's shape says.
    #[error("{what} holds {found} bytes, but its shape asks for {expected}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Bytes that the shape asks for.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
}
