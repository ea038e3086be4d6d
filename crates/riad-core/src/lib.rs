//! RIAD without a framework: disjoint masks, GMS and SSIM with gradients, anomaly-detection metrics.
