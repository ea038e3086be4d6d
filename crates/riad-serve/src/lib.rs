#![doc = include_str!("../README.md")]

mod clock;
mod connections;
mod counters;
mod draft;
mod error;
mod events;
mod http;
mod known;
mod line;
mod making;
mod review;
mod service;
mod shared;
mod sinks;
mod status;
mod store;
mod token;

pub use self::{
    error::{Error, Result},
    line::LineOptions,
    service::{Options, Service, Tls},
    sinks::{Destination, SinkOptions},
    store::Keep,
};
