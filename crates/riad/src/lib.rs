#![doc = include_str!("../README.md")]

mod asked;
mod calibration;
mod detector;
mod error;
pub mod evaluation;
pub mod facts;
pub mod files;
mod held_out;
mod maps;
pub mod names;
mod observer;
#[cfg(feature = "report")]
mod page;
pub mod protocol;
pub mod render;
#[cfg(feature = "report")]
pub mod report;
pub mod roi;
pub mod run;
mod settings;
mod source;
mod suspects;
#[cfg(feature = "tensorboard")]
mod tensorboard;
mod threshold;
mod training;
pub mod watch;

pub use riad_core::{Calibration, Map, Region, Size};
pub use riad_data::{Image, Pattern};
pub use riad_model::{Device, Method, Precision, Preset};

pub use self::{
    asked::{Asked, By},
    calibration::{Scores, calibrate},
    detector::{Compute, Detector, Found},
    error::{Cause, Error, Result},
    evaluation::{Evaluation, Sets, evaluate},
    held_out::{EACH, shares_where},
    maps::{MapFormat, Maps},
    observer::{Cancel, Counts, Event, Observer, Session, Stop, Work},
    protocol::{Options, Protocol},
    run::{Run, Trained},
    source::header_faults,
    suspects::Suspects,
    threshold::{Threshold, Verdict, reach, shown_rate},
    training::Training,
};
