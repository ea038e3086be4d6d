//! Where `riad serve` sends inspections.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU64,
    path::PathBuf,
    time::Duration,
};

use clap::{ArgGroup, Args, ValueHint};

/// Where inspections are sent.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("modbus").args(["modbus_client", "modbus_server"]).multiple(true))]
#[command(group = ArgGroup::new("sink").args(["webhook", "mqtt", "modbus_client", "modbus_server"]).multiple(true))]
pub(crate) struct SinkArgs {
    /// POST each inspection as JSON to this address (http:// or https://). May be given more than once
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) webhook: Vec<String>,
    /// File whose first line is the key that signs webhooks
    #[arg(long, value_name = "FILE", requires = "webhook", value_hint = ValueHint::FilePath)]
    pub(crate) webhook_secret: Option<PathBuf>,
    /// Publish inspections and the state of lines at an MQTT broker: mqtt://[USER@]HOST[:PORT][/PREFIX], or mqtts:// for TLS
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) mqtt: Vec<String>,
    /// File whose first line is the password of USER
    #[arg(long, value_name = "FILE", requires = "mqtt", value_hint = ValueHint::FilePath)]
    pub(crate) mqtt_password_file: Option<PathBuf>,
    /// Write verdicts to a PLC over Modbus TCP. May be given more than once
    #[arg(long, value_name = "HOST[:PORT]", value_hint = ValueHint::Hostname)]
    pub(crate) modbus_client: Vec<String>,
    /// Modbus unit of the PLCs of --modbus-client
    #[arg(long, value_name = "N", default_value = "1", requires = "modbus_client")]
    pub(crate) modbus_unit: u8,
    /// First register and first coil in the PLCs of --modbus-client, counted from 0
    #[arg(long, value_name = "N", default_value = "0", requires = "modbus_client")]
    pub(crate) modbus_base: u16,
    /// Let PLCs read verdicts at this address over Modbus TCP. A port alone means the loopback address. Modbus has no
    /// password: everyone who can reach the address can read
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = parse_address)]
    pub(crate) modbus_server: Vec<SocketAddr>,
    /// How long a verdict is valid for PLCs. The time begins when the picture comes by HTTP or is written to a watched folder. A
    /// verdict that comes later is never OK [default: 2s; with --watch plus --settle and --interval]
    #[arg(long, value_name = "TIME", requires = "modbus", value_parser = humantime::parse_duration)]
    pub(crate) modbus_valid: Option<Duration>,
    /// Number of inspections that may wait for a sink. If more wait, the oldest are dropped and counted [default: 1000000; for
    /// PLCs 1000]
    #[arg(long, value_name = "N", requires = "sink")]
    pub(crate) sink_most: Option<NonZeroU64>,
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let port = text
        .parse()
        .map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let address = port.or_else(|_| text.parse());
    address.map_err(|_| "expected ADDRESS:PORT, such as 192.168.0.10:5020, or a port alone".to_owned())
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
