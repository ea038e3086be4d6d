//! The commands, and what several of them do.

pub(crate) mod bench;
pub(crate) mod calibrate;
mod category;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod demo_data;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod info;
mod measure;
pub(crate) mod report;
pub(crate) mod score;
pub(crate) mod serve;
pub(crate) mod system;
pub(crate) mod train;
pub(crate) mod watch;
