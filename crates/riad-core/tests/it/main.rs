//! The crate's public behaviour: against other libraries (`tests/reference`) and by properties.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail")]

mod appearance;
mod calibration;
mod components;
mod edges;
mod inputs;
mod map;
mod mask;
mod metrics;
mod outlier;
mod random;
mod regions;
mod similarity;
mod smooth;
