//! The crate's public behaviour: against Pillow, NumPy and tifffile (`make.py` beside the files), and by properties.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod batches;
mod channels;
mod corruption;
mod data_sets;
mod decode;
mod jpeg;
mod layout;
mod made_up;
mod mask;
mod pattern;
mod resize;
mod survey;
mod tiff;
mod values;
