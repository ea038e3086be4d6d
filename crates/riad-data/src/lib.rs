//! Images for anomaly detection: data set layouts, decoding with limits, resizing, splits, batches ahead of the model.

mod ahead;
mod dataset;
mod decode;
mod error;
mod files;
mod layout;
mod mask;
mod resize;
mod split;

pub use dataset::{Batch, Batches, Dataset, load_ahead};
pub use decode::{Limits, decode, image_size};
pub use error::DataError;
pub use files::image_files;
pub use layout::{Category, TestItem, find_categories};
pub use mask::{load_mask, resize_mask};
pub use resize::{Image, LoadedImage, load, resize};
pub use split::{Split, shuffled, split};
