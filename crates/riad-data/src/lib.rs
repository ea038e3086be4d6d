#![doc = include_str!("../README.md")]
//!
//! # Why it is as it is
//! Errors in a data set make an evaluation wrong, and nobody notices. Examples: masks paired by sorted order; a tiny
//! defect that vanishes when its mask is resized, so its image counts as good; half a JPEG that is learned as normal;
//! an image that a tag rotates. So everything doubtful is an error ([`DataError`]) that names the file and the way out.
//!
//! Results depend only on the files, the sizes and the seed. They do not depend on the order in which a file system
//! lists a folder, on the number of threads, or on the instruction set.

mod ahead;
mod cache;
mod corruption;
mod crops;
mod curve;
mod dataset;
mod decode;
pub mod demo;
mod dice;
mod error;
mod files;
mod grouping;
mod layout;
mod made_up;
mod mask;
mod pattern;
mod pixels;
mod reader;
mod split;
mod survey;
mod text;
mod values;
mod words;

pub use corruption::{Corruption, Corruptions};
pub use crops::Crops;
pub use dataset::{Batch, Batches, Dataset, load_ahead};
pub use decode::{DecodeMemory, Limits};
pub use error::DataError;
pub use files::{Listing, image_files, walk_images};
pub use grouping::Grouping;
pub use layout::{Category, Layout, SortedFolders, TestItem};
pub use made_up::{Flaw, MadeUp};
pub use mask::{load_mask, mask_of_bytes, resize_mask};
pub use pattern::Pattern;
pub use reader::Reader;
pub use split::{Shares, Split, shuffled, split};
pub use survey::{Survey, Suspect, Suspicion, survey};
pub use text::read_text;
pub use values::{Brightest, FileFacts, Fit, Image, LoadedImage};
pub use words::{counted, in_part};
