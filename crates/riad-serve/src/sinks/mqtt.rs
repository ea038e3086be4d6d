//! An MQTT broker: it gets each inspection, and the state of each line.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{
    link::{Outcome, Peer},
    options::Address,
    spool::{BATCH, Spool},
    trust,
};
use crate::{
    Error, Result,
    line::{Line, State},
    shared::Shared,
    store::{Inspection, Verdict, as_rfc3339_or_null},
};

/// How long the broker has for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the broker is asked for a sign of life. After half as long again it takes the service for dead.
const ALIVE: Duration = Duration::from_secs(10);

/// The largest message: every broker in common use takes that much. An inspection has some 10 KiB at most, unless its file has a very
/// long path.
const MOST_BYTES: usize = 128 << 10;

/// What a message has beside its topic and its body: at most 5 bytes of header, and 2 each for the topic's length and its number.
const HEADER: usize = 9;

/// A broker.
#[derive(Debug)]
pub(super) struct Mqtt {
    options: MqttOptions,
    /// What the store calls this sink.
    name: String,
    prefix: String,
    shared: Shared,
    /// The last inspection of each line that the broker has.
    last: HashMap<String, Last>,
    link: Option<Link>,
}

/// What the state of a line says of its last inspection.
#[derive(Clone, Copy, Debug)]
struct Last {
    id: i64,
    verdict: Verdict,
    received: SystemTime,
}

impl Last {
    fn of(inspection: &Inspection) -> Self {
        Self {
            id: inspection.id,
            verdict: inspection.verdict,
            received: inspection.received,
        }
    }
}

/// How a line goes, as it is retained.
#[derive(Debug, Serialize)]
struct Told {
    state: &'static str,
    /// Of the last picture; null unless the line is running.
    verdict: Option<Verdict>,
    /// The number of that inspection.
    sequence: Option<i64>,
    /// When its picture was there.
    #[serde(serialize_with = "as_rfc3339_or_null")]
    time: Option<SystemTime>,
}

impl Mqtt {
    /// # Errors
    /// If the connection is to be encrypted, and nobody is trusted.
    pub(super) fn new(address: Address, password: Option<String>, shared: &Shared) -> Result<Self> {
        // Brokers end the older one of two connections with the same name, so each has its own.
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let mut hash = DefaultHasher::new();
        (std::process::id(), now, &address.name).hash(&mut hash);
        let client = format!("riad{:016x}", hash.finish());
        let host = if address.host.contains(':') && !address.is_encrypted {
            format!("[{}]", address.host)
        } else {
            address.host
        };
        let mut options = MqttOptions::new(client, host, address.port);
        options
            .set_keep_alive(ALIVE)
            .set_max_packet_size(MOST_BYTES, MOST_BYTES);
        options.set_last_will(LastWill::new(
            status(&address.prefix),
            "offline",
            QoS::AtLeastOnce,
            true,
        ));
        if let (Some(user), Some(password)) = (address.user, password) {
            options.set_credentials(user, password);
        }
        if address.is_encrypted {
            options.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(encrypted()?))));
        }
        Ok(Self {
            options,
            name: address.name,
            prefix: address.prefix,
            shared: shared.clone(),
            last: HashMap::new(),
            link: None,
        })
    }

    /// The state of a line.
    fn told(&self, line: &Line, is_behind: bool) -> Told {
        let last = self.last.get(&line.name);
        let (state, is_running) = match line.live().doing() {
            State::Amber => ("amber", false),
            State::Idle => ("idle", false),
            State::Running if is_behind => ("behind", false),
            State::Running => ("running", true),
        };
        Told {
            state,
            verdict: last.filter(|_| is_running).map(|last| last.verdict),
            sequence: last.map(|last| last.id),
            time: last.map(|last| last.received),
        }
    }
}

fn status(prefix: &str) -> String {
    format!("{prefix}/status")
}

/// Where the state of a line is retained.
fn state(prefix: &str, line: &str) -> String {
    format!("{prefix}/{line}/state")
}

/// TLS with the certificates that this machine trusts.
fn encrypted() -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trust::roots()?);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Request(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl Peer for Mqtt {
    const CONNECTS: bool = true;
    const EVERY: Duration = Duration::from_millis(500);
    const LONGEST_PAUSE: Duration = Duration::from_secs(30);

    async fn connect(&mut self) -> Outcome {
        if self.link.is_some() {
            return Ok(());
        }
        for line in self.shared.lines.all() {
            if !self.last.contains_key(&line.name)
                && let Some(last) = self.shared.store.last(&line.name).map_err(|error| error.to_string())?
            {
                self.last.insert(line.name.clone(), Last::of(&last));
            }
        }
        let mut link = Link::open(self.options.clone());
        link.connected().await?;
        link.publish(status(&self.prefix), "online", true)?;
        self.link = Some(link);
        Ok(())
    }

    async fn deliver(&mut self, inspections: &[Inspection], spool: &mut Spool) -> Outcome {
        let link = self.link.as_mut().ok_or("there is no connection")?;
        let mut too_large = 0;
        for inspection in inspections {
            let topic = format!("{}/{}/inspection", self.prefix, inspection.line);
            let body = serde_json::to_string(inspection).map_err(|error| error.to_string())?;
            // It would end the connection each time, and those behind it would wait for ever.
            if HEADER + topic.len() + body.len() > MOST_BYTES {
                tracing::error!(
                    "sink {}: inspection {} has {} bytes, and a message has at most {MOST_BYTES}; it is dropped",
                    self.name,
                    inspection.id,
                    body.len()
                );
                too_large += 1;
                continue;
            }
            link.publish(topic, body, false)?;
        }
        link.acknowledged().await?;
        for inspection in inspections {
            self.last.insert(inspection.line.clone(), Last::of(inspection));
            spool.advance(inspection.id);
        }
        spool.dropped(too_large, "they are too large for a message");
        Ok(())
    }

    async fn tick(&mut self, is_behind: bool) -> Outcome {
        let mut states = Vec::new();
        for line in self.shared.lines.all() {
            let told = self.told(&line, is_behind);
            let text = serde_json::to_string(&told).map_err(|error| error.to_string())?;
            states.push((state(&self.prefix, &line.name), text));
        }
        let mut gone = self
            .shared
            .store
            .forgotten(&self.name)
            .map_err(|error| error.to_string())?;
        // One that is deleted now is still served for a moment, and a new one may have its name.
        gone.retain(|line| self.shared.lines.find(line).is_none());
        let link = self.link.as_mut().ok_or("there is no connection")?;
        for (topic, text) in states {
            if link.told.get(&topic) != Some(&text) {
                link.publish(topic.clone(), text.clone(), true)?;
                link.told.insert(topic, text);
            }
        }
        for line in &gone {
            let topic = state(&self.prefix, line);
            link.told.remove(&topic);
            // An empty message is how a broker is told to retain nothing.
            link.publish(topic, "", true)?;
        }
        link.acknowledged().await?;
        for line in gone {
            self.last.remove(&line);
            let kept = self.shared.store.has_forgotten(&self.name, &line);
            kept.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn lost(&mut self) {
        self.link = None;
    }

    async fn close(&mut self) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        let ended = Told {
            state: "ended",
            verdict: None,
            sequence: None,
            time: None,
        };
        for line in self.shared.lines.all() {
            if let Ok(text) = serde_json::to_string(&ended) {
                let _ = link.publish(state(&self.prefix, &line.name), text, true);
            }
        }
        let _ = link.publish(status(&self.prefix), "offline", true);
        if link.acknowledged().await.is_ok() && link.client.disconnect().await.is_ok() {
            let _ = (&mut link.task).await;
        }
    }
}

/// A connection. It is not used again after a failure: what was not acknowledged comes from the store once more.
#[derive(Debug)]
struct Link {
    client: AsyncClient,
    heard: mpsc::UnboundedReceiver<Result<Heard, String>>,
    task: JoinHandle<()>,
    /// How many messages are not acknowledged.
    open: usize,
    /// What was retained for each topic.
    told: HashMap<String, String>,
}

/// What the broker says.
#[derive(Debug)]
enum Heard {
    Connected,
    Acknowledged,
}

impl Link {
    fn open(options: MqttOptions) -> Self {
        // Room for a batch, and for all that is said beside it before an answer is waited for.
        let (client, events) = AsyncClient::new(options, 4 * BATCH + 1024);
        let (tell, heard) = mpsc::unbounded_channel();
        Self {
            client,
            heard,
            task: tokio::spawn(listen(events, tell)),
            open: 0,
            told: HashMap::new(),
        }
    }

    async fn heard(&mut self) -> Result<Heard, String> {
        match timeout(PATIENCE, self.heard.recv()).await {
            Ok(Some(heard)) => heard,
            Ok(None) => Err("the connection has ended".to_owned()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn connected(&mut self) -> Outcome {
        loop {
            if let Heard::Connected = self.heard().await? {
                return Ok(());
            }
        }
    }

    fn publish(&mut self, topic: String, body: impl Into<Vec<u8>>, is_retained: bool) -> Outcome {
        let published = self.client.try_publish(topic, QoS::AtLeastOnce, is_retained, body);
        published.map_err(|error| error.to_string())?;
        self.open += 1;
        Ok(())
    }

    /// Waits until all that was published is acknowledged, and notices a connection that has ended.
    async fn acknowledged(&mut self) -> Outcome {
        while self.open > 0 {
            if let Heard::Acknowledged = self.heard().await? {
                self.open -= 1;
            }
        }
        match self.heard.try_recv() {
            Ok(Err(error)) => Err(error),
            Err(mpsc::error::TryRecvError::Disconnected) => Err("the connection has ended".to_owned()),
            Ok(Ok(_)) | Err(mpsc::error::TryRecvError::Empty) => Ok(()),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Talks to the broker until something fails.
async fn listen(mut events: EventLoop, tell: mpsc::UnboundedSender<Result<Heard, String>>) {
    events.network_options.set_tcp_nodelay(true);
    loop {
        let told = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => Ok(Heard::Connected),
            Ok(Event::Incoming(Packet::PubAck(_))) => Ok(Heard::Acknowledged),
            Ok(_) => continue,
            Err(error) => Err(error.to_string()),
        };
        let has_ended = told.is_err();
        if tell.send(told).is_err() || has_ended {
            return;
        }
    }
}
