//! The `riad` program.

fn main() {}
