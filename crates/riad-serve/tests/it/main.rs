//! The service as its callers meet it: over a socket.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod api;
mod folder;
mod forms;
mod inference;
mod learn;
mod leftovers;
mod looking;
mod making;
mod pictures;
mod review;
mod store;
mod support;
