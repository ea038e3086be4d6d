//! Sinks send inspections to addresses on the network, to MQTT brokers and to PLCs.
//!
//! The table of inspections is the queue. A sink keeps on the disk the last inspection that its peer has acknowledged,
//! and goes on after it. So everything is delivered at least once and in order, also after a kill. Each sink has its
//! own thread. If a sink hangs, everything else goes on, and the service ends without waiting for it.

mod link;
mod modbus;
mod mqtt;
mod options;
mod spool;
mod trust;
mod webhook;

use std::{
    net::TcpListener,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::watch;

pub use self::options::{Destination, SinkOptions};
use self::{modbus::Board, options::Address, spool::Spool};
use crate::{
    Error, Result,
    shared::Shared,
    status::Status,
    store::{Cursor, Store},
};

/// For how long PLCs see a verdict by default, beside the time for which pictures in watched folders wait.
const VALID: Duration = Duration::from_secs(2);

/// A sink that is ready to start.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) status: Arc<Status>,
    options: SinkOptions,
    address: Address,
    cursor: Cursor,
    /// Where PLCs ask, if that is what it is.
    listener: Option<TcpListener>,
    /// For how long PLCs see a verdict.
    valid: Duration,
}

impl Sink {
    /// Reads where sinks are to send to, and finds how far they are. Pictures in watched folders `wait` until they are seen.
    ///
    /// # Errors
    /// If an address cannot be meant, two sinks have the same one, one of them cannot be listened at, or the store fails.
    pub(crate) fn open(all: &[SinkOptions], wait: Duration, lines: usize, store: &Store) -> Result<Vec<Self>> {
        let mut sinks: Vec<Self> = Vec::new();
        for options in all {
            let address = Address::read(&options.to, lines)?;
            if sinks.iter().any(|sink| sink.address.name == address.name) {
                return Err(Error::Request(format!("two sinks are called {}", address.name)));
            }
            let listener = match &options.to {
                Destination::ModbusServer { address, .. } => {
                    Some(TcpListener::bind(address).map_err(|cause| Error::Listen {
                        address: address.to_string(),
                        cause,
                    })?)
                }
                _ => None,
            };
            let mut cursor = store.cursor(&address.name)?;
            if options.to.is_present() {
                // A PLC is told the present. What came while nothing ran is none of it.
                cursor.delivered = store.newest()?;
            }
            sinks.push(Self {
                status: Arc::new(Status::new(&address.name, cursor)),
                options: options.clone(),
                address,
                cursor,
                listener,
                valid: options.to.valid().unwrap_or(VALID + wait),
            });
        }
        Ok(sinks)
    }

    /// Where PLCs ask, if that is what it is.
    pub(crate) fn listens_at(&self) -> Option<std::net::SocketAddr> {
        self.listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Sends on a thread of its own until `end`, or shortly after it.
    fn start(self, shared: Shared, end: watch::Receiver<bool>) -> Result<JoinHandle<()>> {
        let Self {
            status,
            options,
            address,
            cursor,
            listener,
            valid,
        } = self;
        let spool = Spool::new(shared.store.clone(), status, cursor, &options, shared.events.newest());
        Ok(match options.to {
            Destination::Webhook { url, secret } => {
                let peer = webhook::Webhook::new(url, secret)?;
                thread::spawn(move || link::run(peer, spool, end))
            }
            Destination::Mqtt { password, .. } => {
                let peer = mqtt::Mqtt::new(address, password, &shared)?;
                thread::spawn(move || link::run(peer, spool, end))
            }
            Destination::ModbusClient { unit, base, .. } => {
                let peer = modbus::Client::new(address, unit, base, Board::new(shared, valid));
                thread::spawn(move || link::run(peer, spool, end))
            }
            Destination::ModbusServer { .. } => {
                let peer = modbus::Server::new(listener, Board::new(shared, valid));
                thread::spawn(move || link::run(peer, spool, end))
            }
        })
    }
}

/// The threads of all sinks.
#[derive(Debug, Default)]
pub(crate) struct Sinks {
    threads: Vec<JoinHandle<()>>,
    end: watch::Sender<bool>,
}

impl Sinks {
    /// Has them send.
    ///
    /// # Errors
    /// If there is no certificate by which a peer could be trusted.
    pub(crate) fn start(&mut self, sinks: Vec<Sink>, shared: &Shared) -> Result<()> {
        for sink in sinks {
            self.threads.push(sink.start(shared.clone(), self.end.subscribe())?);
        }
        Ok(())
    }

    /// Gives them a moment to deliver what is there, and ends them. What they do not deliver waits on the disk for the next start.
    pub(crate) fn end(&mut self) {
        self.end.send_replace(true);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
