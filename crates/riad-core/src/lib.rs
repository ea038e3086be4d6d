//! RIAD without a framework: disjoint masks, GMS and SSIM with gradients, anomaly-detection metrics.

pub mod mask;
pub mod metrics;
pub mod similarity;
pub mod smooth;

pub use mask::{MaskError, Masks};
