#![doc = include_str!("../README.md")]

mod error;
mod events;
mod http;
mod line;
mod review;
mod service;
mod sinks;
mod store;

pub use self::{
    error::{Error, Result},
    line::LineOptions,
    service::{Options, Service, Tls},
    sinks::{Destination, SinkOptions},
    store::Keep,
};
