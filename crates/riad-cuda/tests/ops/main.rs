//! What the functions of a GPU compute, by its public surface: on the emulated one, and on a real one where there is one.
#![allow(clippy::unwrap_used)] // the helpers are not marked as tests
#![cfg(any(feature = "cuda", all(feature = "emulated", target_os = "linux")))]

mod every_device;
