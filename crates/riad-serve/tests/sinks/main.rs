//! Where inspections are sent, tried with the peers that people have: mosquitto, pymodbus, and an HTTP server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod killed;
mod modbus;
mod mqtt;
mod proxy;
mod support;
mod webhook;
