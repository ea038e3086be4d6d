//! Fast f32 convolutions on the CPU, forward and backward, with run-time SIMD dispatch.
