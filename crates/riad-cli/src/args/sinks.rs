//! Where `riad serve` sends inspections.

#![allow(
    rustdoc::invalid_html_tags,
    reason = "clap prints these comments, and <NAME> is what people know from help"
)]

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU64,
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueHint};

/// Where inspections are sent.
#[derive(Debug, Args)]
pub(crate) struct SinkArgs {
    /// POST each inspection to this address as JSON, http:// or https://. May be given more than once
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) webhook: Vec<String>,
    /// File with the key, in its first line, that webhooks are signed by
    #[arg(long, value_name = "FILE", requires = "webhook", value_hint = ValueHint::FilePath)]
    pub(crate) webhook_secret: Option<PathBuf>,
    /// Publish inspections and the state of lines by a broker: mqtt://[USER@]HOST[:PORT][/PREFIX], or mqtts:// for TLS
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) mqtt: Vec<String>,
    /// File with the password of the broker's USER, in its first line
    #[arg(long, value_name = "FILE", requires = "mqtt", value_hint = ValueHint::FilePath)]
    pub(crate) mqtt_password_file: Option<PathBuf>,
    /// Write verdicts to a PLC over Modbus TCP. May be given more than once
    #[arg(long, value_name = "HOST[:PORT]", value_hint = ValueHint::Hostname)]
    pub(crate) modbus_client: Vec<String>,
    /// Unit of the PLCs that are written to
    #[arg(long, value_name = "N", default_value = "1", requires = "modbus_client")]
    pub(crate) modbus_unit: u8,
    /// First register and first coil of the PLCs that are written to, counted from 0
    #[arg(long, value_name = "N", default_value = "0", requires = "modbus_client")]
    pub(crate) modbus_base: u16,
    /// Let PLCs read verdicts at this address over Modbus TCP. A port alone is one of this machine's own address. Modbus knows
    /// no password: whoever reaches the address can read
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = parse_address)]
    pub(crate) modbus_server: Vec<SocketAddr>,
    /// For how long PLCs see a verdict, from when its picture came by HTTP or was written to a watched folder. What takes longer is
    /// never OK [default: 2s; with --watch also the time of --settle and --interval]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) modbus_valid: Option<Duration>,
    /// How many inspections a sink may be behind; beyond them the oldest are given up and counted [default: 1000000, for PLCs
    /// 1000]
    #[arg(long, value_name = "N")]
    pub(crate) sink_most: Option<NonZeroU64>,
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let port = text
        .parse()
        .map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let address = port.or_else(|_| text.parse());
    address.map_err(|_| "an address and a port are wanted, such as 192.168.0.10:5020, or a port alone".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_this_machines_own() {
        assert_eq!(parse_address("5020"), Ok(SocketAddr::from(([127, 0, 0, 1], 5020))));
        assert_eq!(parse_address("0.0.0.0:502"), Ok(SocketAddr::from(([0, 0, 0, 0], 502))));
        assert!(parse_address("[::1]:502").is_ok());
        for wrong in ["", "plc:502", "70000", "0.0.0.0"] {
            assert!(parse_address(wrong).is_err(), "{wrong}");
        }
    }
}
