//! A POST for each inspection, signed.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::task::spawn_blocking;
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::{
    link::{Outcome, Peer},
    spool::Spool,
    trust,
};
use crate::{Result, store::Inspection};

/// How long a receiver has for one inspection.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of an answer is read, so that the connection can be used again.
const MOST_ANSWER: u64 = 64 << 10;

/// A receiver of POSTs.
#[derive(Debug)]
pub(super) struct Webhook {
    agent: Agent,
    url: String,
    secret: Option<String>,
}

impl Webhook {
    /// # Errors
    /// If the connection is to be encrypted, and nobody is trusted.
    pub(super) fn new(url: String, secret: Option<String>) -> Result<Self> {
        let mut config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("riad/", env!("CARGO_PKG_VERSION")));
        if url.starts_with("https:") {
            let roots: Vec<_> = trust::roots()?
                .iter()
                .map(|one| Certificate::from_der(one).to_owned())
                .collect();
            config = config.tls_config(
                TlsConfig::builder()
                    .root_certs(RootCerts::new_with_certs(&roots))
                    .build(),
            );
        }
        Ok(Self {
            agent: config.build().new_agent(),
            url,
            secret,
        })
    }
}

impl Peer for Webhook {
    const CONNECTS: bool = false;
    const EVERY: Duration = Duration::from_millis(500);
    const LONGEST_PAUSE: Duration = Duration::from_secs(30);

    async fn connect(&mut self) -> Outcome {
        Ok(())
    }

    async fn deliver(&mut self, inspections: &[Inspection], spool: &mut Spool) -> Outcome {
        for inspection in inspections {
            let body = serde_json::to_vec(inspection).map_err(|error| error.to_string())?;
            let now = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            let signature = self
                .secret
                .as_ref()
                .and_then(|secret| signature(secret, now.as_secs(), &body));
            let (agent, url, id) = (self.agent.clone(), self.url.clone(), inspection.id);
            // It may hang for its whole time, and is then left behind.
            let posted = spawn_blocking(move || post(&agent, &url, id, signature.as_deref(), &body));
            posted.await.map_err(|error| error.to_string())??;
            spool.advance(id);
        }
        Ok(())
    }

    async fn tick(&mut self, _: bool) -> Outcome {
        Ok(())
    }

    fn lost(&mut self) {}

    async fn close(&mut self) {}
}

fn post(agent: &Agent, url: &str, id: i64, signature: Option<&str>, body: &[u8]) -> Outcome {
    let mut request = agent
        .post(url)
        .header("Content-Type", "application/json")
        .header("Riad-Inspection", id.to_string());
    if let Some(signature) = signature {
        request = request.header("Riad-Signature", signature);
    }
    let mut response = request.send(body).map_err(|error| error.to_string())?;
    let status = response.status();
    let _ = response.body_mut().with_config().limit(MOST_ANSWER).read_to_vec();
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("inspection {id} was answered with status {status}"))
    }
}

/// `t=TIME,v1=HEX`, where HEX is HMAC-SHA256 of the time, a dot and the body.
fn signature(secret: &str, time: u64, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    let mut text = format!("t={time},v1=");
    for byte in mac.finalize().into_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}
