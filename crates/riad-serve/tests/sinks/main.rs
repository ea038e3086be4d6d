//! Where inspections are sent, tried with the peers that people have: mosquitto, pymodbus, and an HTTP server.

mod killed;
mod modbus;
mod mqtt;
mod support;
mod webhook;
