#![doc = include_str!("../README.md")]

mod calibration;
mod detector;
mod error;
pub mod evaluation;
pub mod facts;
mod faster;
pub mod files;
mod held_out;
mod maps;
pub mod names;
mod observer;
#[cfg(feature = "report")]
mod page;
mod protocol;
mod rate;
mod recalibration;
pub mod render;
#[cfg(feature = "report")]
pub mod report;
mod roi;
mod run;
mod settings;
mod source;
pub mod speed;
mod suspects;
#[cfg(feature = "tensorboard")]
mod tensorboard;
mod threshold;
mod training;
pub mod watch;
mod words;

pub use image::RgbImage;
pub use riad_core::{
    Appearance, Calibration, CalibrationError, Difference, LengthError, Likeness, Map, MaskError, Masks, Region, Size,
    SizeError, metrics, similarity,
};
pub use riad_data::{
    Category, DataError, DecodeMemory, FileFacts, Fit, Grouping, Image, Layout, Listing, Pattern, Reader,
    SortedFolders, image_files,
};
pub use riad_model::{
    Alignment, Checkpoint, Device, EpochRecord, Header, InputFilter, LossTerms, LossWeights, Method, ModelError,
    NeededSize, Precision, Preset, Roi, Similarity, TrainConfig, device, export, gpu, store::file_of as model_file,
};

pub use self::{
    calibration::{Scores, calibrate},
    detector::{Compute, Detector, DetectorOptions, Inspection, Inspections},
    error::{Cause, Error, Result},
    evaluation::{Evaluation, Sets, evaluate},
    faster::FasterTraining,
    held_out::{HeldOut, Parts, Purpose},
    maps::{MapFormat, Maps},
    observer::{Cancel, Counts, Event, Observer, Session, Stop, Work},
    protocol::{Protocol, TrainingOptions},
    rate::FalsePositiveRate,
    recalibration::{Recalibrated, Recalibration},
    run::{GoodImage, Run, TrainingOutcome},
    suspects::Suspects,
    threshold::{Judgement, Threshold, Verdict, rates_in_words, rates_in_words_at},
    training::Training,
};
