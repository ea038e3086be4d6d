//! The device: its memory, its queue and what is recorded of it, and the two that there are.

mod backend;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(all(feature = "emulated", target_os = "linux"))]
mod emulated;
mod gpu;
mod memory;
mod recordings;
mod repeated;

pub(crate) use backend::Plan;
pub use gpu::Gpu;
pub use memory::{Buffer, Number, Pixels, Span};
pub use repeated::Repeated;
