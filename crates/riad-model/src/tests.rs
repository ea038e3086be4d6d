//! Tests of the crate's parts against each other and against PyTorch.

use std::{collections::BTreeMap, convert::Infallible, fs, path::Path};

use candle_core::Device;
use riad_core::Calibration;
