//! Destinations: their text and its meaning.

use std::{net::SocketAddr, time::Duration};

use axum::http::Uri;

use super::modbus::{MOST_LINES, REGISTERS_APART};
use crate::{Error, Result};

/// How many inspections a sink may be behind unless it is told otherwise.
const MOST_BEHIND: u64 = 1_000_000;

/// How many inspections a PLC is caught up with. It is told of each, and only the last ones can still be in time.
const MOST_BEHIND_PLC: u64 = 1000;

/// A sink: its destination, and its limits.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// The destination.
    pub to: Destination,
    /// The number of inspections that may wait. If more wait, the oldest are dropped, counted and reported.
    pub most_behind: u64,
    /// The largest age of an inspection that is still sent. `None`: no limit. Age is by the system's clock, which a
    /// person may set.
    pub most_age: Option<Duration>,
}

impl SinkOptions {
    /// A sink for this destination. Its limit is 1,000,000 inspections, and 1000 for PLCs.
    pub fn new(to: Destination) -> Self {
        Self {
            most_behind: if to.is_present() { MOST_BEHIND_PLC } else { MOST_BEHIND },
            most_age: None,
            to,
        }
    }
}

/// A destination of inspections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Destination {
    /// A POST of each inspection's JSON. A status from 200 to 299 acknowledges it.
    Webhook {
        /// `http://` or `https://`.
        url: String,
        /// What bodies are signed by.
        secret: Option<String>,
    },
    /// A broker for MQTT 3.1.1.
    Mqtt {
        /// `mqtt://[user@]host[:port][/prefix]`, or `mqtts://` for TLS. The prefix of topics is `riad` if there is none.
        url: String,
        /// The user's password.
        password: Option<String>,
    },
    /// A PLC that the service writes to over Modbus TCP.
    ModbusClient {
        /// `host` or `host:port`; the port is 502 if there is none.
        address: String,
        /// The unit, which most PLCs do not look at.
        unit: u8,
        /// The first register and the first coil that are written.
        base: u16,
        /// For how long a verdict is valid, from when its picture was there. `None`: 2 s, and as long as pictures in watched folders
        /// wait.
        valid: Option<Duration>,
    },
    /// An address at which PLCs read over Modbus TCP.
    ModbusServer {
        /// Where to listen. Modbus knows no password: whoever reaches this address can read.
        address: SocketAddr,
        /// For how long a verdict is valid, from when its picture was there. `None`: 2 s, and as long as pictures in watched folders
        /// wait.
        valid: Option<Duration>,
    },
}

impl Destination {
    /// Whether it shows the present, so that what is late is of no use to it.
    pub(crate) fn is_present(&self) -> bool {
        matches!(self, Self::ModbusClient { .. } | Self::ModbusServer { .. })
    }

    /// For how long a verdict is to be valid, if that is given.
    pub(crate) fn valid(&self) -> Option<Duration> {
        match self {
            Self::ModbusClient { valid, .. } | Self::ModbusServer { valid, .. } => *valid,
            Self::Webhook { .. } | Self::Mqtt { .. } => None,
        }
    }
}

/// An address that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// What the sink is called, in the store too: it has no secret.
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) is_encrypted: bool,
    /// Prefix of topics.
    pub(super) prefix: String,
}

impl Address {
    /// # Errors
    /// If it cannot be meant.
    pub(super) fn read(to: &Destination, lines: usize) -> Result<Self> {
        if to.is_present() && lines > MOST_LINES {
            return Err(Error::Request(format!(
                "Modbus has room for {MOST_LINES} lines, and those that the store had earlier keep theirs; take another store"
            )));
        }
        match to {
            Destination::Webhook { url, .. } => webhook(url),
            Destination::Mqtt { url, password } => mqtt(url, password.is_some()),
            Destination::ModbusClient { address, base, .. } => {
                if usize::from(*base) + lines * usize::from(REGISTERS_APART) > 1 << 16 {
                    return Err(Error::Request(format!(
                        "from register {base} on there is no room for {lines} lines, of which those that the store had earlier are some; \
                         begin at a lower register"
                    )));
                }
                let address = address.as_str();
                let (host, port) = address
                    .rsplit_once(':')
                    .map_or((address, Some(502)), |(host, port)| (host, port.parse().ok()));
                match port.filter(|_| !host.is_empty()) {
                    Some(port) => Ok(Self::plain("modbus-client", host, port)),
                    None => Err(Error::Request(format!("{address:?} is not the host:port of a PLC"))),
                }
            }
            Destination::ModbusServer { address, .. } => {
                Ok(Self::plain("modbus-server", &address.ip().to_string(), address.port()))
            }
        }
    }

    fn plain(kind: &str, host: &str, port: u16) -> Self {
        Self {
            name: format!("{kind}:{host}:{port}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            user: None,
            is_encrypted: false,
            prefix: String::new(),
        }
    }
}

/// The parts of a URL, which is not repeated in messages: it may hold a secret.
fn parts(url: &str, of: &str, schemes: [(&str, u16); 2]) -> Result<(Uri, Address)> {
    let wrong = || {
        Error::Request(format!(
            "the address of a {of} begins with {}:// or {}:// and a host",
            schemes[0].0, schemes[1].0
        ))
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let encrypted = uri
        .scheme_str()
        .and_then(|scheme| schemes.iter().position(|(one, _)| *one == scheme));
    let (Some(place), Some(host)) = (encrypted, uri.host()) else {
        return Err(wrong());
    };
    let mut address = Address::plain(schemes[place].0, host, uri.port_u16().unwrap_or(schemes[place].1));
    address.is_encrypted = place == 1;
    let authority = uri.authority().map(|authority| authority.as_str());
    address.user = authority.and_then(|authority| Some(authority.rsplit_once('@')?.0.to_owned()));
    Ok((uri, address))
}

fn webhook(url: &str) -> Result<Address> {
    let (uri, mut address) = parts(url, "webhook", [("http", 80), ("https", 443)])?;
    // The path may be a secret, so the name has only a trace of it. A token in the query may change without a new sink.
    let mut trace = riad::files::sha256_of_bytes(uri.path().as_bytes());
    trace.truncate(8);
    address.name = format!("webhook:{}:{}:{trace}", address.host, address.port);
    Ok(address)
}

fn mqtt(url: &str, has_password: bool) -> Result<Address> {
    let (uri, mut address) = parts(url, "broker", [("mqtt", 1883), ("mqtts", 8883)])?;
    if address.user.as_ref().is_some_and(|user| user.contains(':')) {
        return Err(Error::Request(
            "everybody can see a password in an address; put it into a file".to_owned(),
        ));
    }
    if has_password != address.user.is_some() {
        return Err(Error::Request(
            "a user of a broker, as in mqtt://user@host, needs a password in a file".to_owned(),
        ));
    }
    let prefix = uri.path().trim_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if !prefix.chars().all(is_plain) || prefix.contains("//") || uri.query().is_some() {
        return Err(Error::Request(
            "a prefix of topics has only letters, digits, -, _ and ., with / between them".to_owned(),
        ));
    }
    address.prefix = if prefix.is_empty() { "riad" } else { prefix }.to_owned();
    address.name = format!("mqtt:{}:{}/{}", address.host, address.port, address.prefix);
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(to: &Destination) -> Result<String, String> {
        Address::read(to, 1)
            .map(|address| address.name)
            .map_err(|error| error.to_string())
    }

    fn to_webhook(url: &str) -> Destination {
        Destination::Webhook {
            url: url.to_owned(),
            secret: None,
        }
    }

    fn to_mqtt(url: &str, password: Option<&str>) -> Destination {
        Destination::Mqtt {
            url: url.to_owned(),
            password: password.map(str::to_owned),
        }
    }

    fn to_plc(address: &str, base: u16) -> Destination {
        Destination::ModbusClient {
            address: address.to_owned(),
            unit: 1,
            base,
            valid: None,
        }
    }

    #[test]
    fn a_name_keeps_secrets_to_itself_and_addresses_apart() {
        let name = named(&to_webhook("https://me:hidden@example.com/secret?token=hidden")).unwrap();
        assert!(name.starts_with("webhook:example.com:443:"), "{name}");
        assert_eq!(
            name,
            named(&to_webhook("https://example.com/secret?token=other")).unwrap()
        );
        assert_ne!(name, named(&to_webhook("https://example.com/other")).unwrap());
    }

    #[test]
    fn a_broker_has_a_prefix_and_perhaps_a_user() {
        let address = Address::read(&to_mqtt("mqtts://line-1@broker.plant/hall/3/", Some("x")), 1).unwrap();
        assert_eq!(
            (address.name.as_str(), address.is_encrypted),
            ("mqtt:broker.plant:8883/hall/3", true)
        );
        assert_eq!(
            (address.user.as_deref(), address.prefix.as_str()),
            (Some("line-1"), "hall/3")
        );
        assert_eq!(
            named(&to_mqtt("mqtt://[::1]:1884", None)),
            Ok("mqtt:::1:1884/riad".to_owned())
        );
        for (wrong, password) in [
            ("mqtt://me:x@host", Some("x")),
            ("mqtt://me@host", None),
            ("mqtt://host", Some("x")),
        ] {
            assert!(named(&to_mqtt(wrong, password)).is_err(), "{wrong}");
        }
        for wrong in [
            "http://host",
            "host",
            "mqtt://",
            "mqtt://host/a%23",
            "mqtt://host/a+b",
            "mqtt://host/a//b",
        ] {
            assert!(named(&to_mqtt(wrong, None)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_plc_has_room_for_its_lines() {
        assert_eq!(named(&to_plc("plc", 0)), Ok("modbus-client:plc:502".to_owned()));
        assert_eq!(
            named(&to_plc("10.0.0.7:1502", 65520)),
            Ok("modbus-client:10.0.0.7:1502".to_owned())
        );
        for (wrong, base) in [("plc:x", 0), (":502", 0), ("plc:70000", 0), ("plc", 65521)] {
            assert!(named(&to_plc(wrong, base)).is_err(), "{wrong} {base}");
        }
    }
}
