//! riad-model through its public surface.
#![allow(clippy::unwrap_used)] // the helpers are not marked as tests

mod checkpoints;
mod scoring;
mod settings;
mod training;
