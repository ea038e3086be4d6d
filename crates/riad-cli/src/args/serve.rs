//! The command line of `riad serve`.

#![allow(
    rustdoc::invalid_html_tags,
    reason = "clap prints these comments, and <NAME> is what people know from help"
)]

use std::{net::SocketAddr, num::NonZeroU32, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use riad::Asked;

use super::{ComputeArgs, sinks::SinkArgs, verdict::VerdictArgs};
use crate::memory::parse_memory;

/// Serve models over HTTP, with a page for operators
#[derive(Debug, Args)]
#[command(after_help = "\
A line is a product and the model that looks at its pictures. Pictures come by POST to the line's address, or into its folder
with --watch. Each gets a row in STORE, with its score, verdict, threshold, model and program version, before its sender hears
of it, and is kept there as a file. Killed at any instant and started again, riad serve goes on: no answered picture is
without its row, and none of a folder has two. Send an Idempotency-Key, and neither has one that you send again.

The page is at the service's address, and so is /openapi.json, which describes the API. /metrics is for Prometheus, /readyz
and /healthz are for whoever starts and stops services, and /v2 is the Open Inference Protocol.

The service listens at this machine's own address. With --token-file it may listen at others: programs send the token of that
file as `Authorization: Bearer TOKEN`, and people type it once. Without --tls-cert others on the network can read it.

The first start copies the model into STORE as the line's version 1. If the run holds another model at a later start, that
is the next version, and is used. Versions that were made on the page are kept beside it, and used if that was the last word.

Every inspection can be sent on: as a signed POST with --webhook, to an MQTT broker with --mqtt, and to PLCs over Modbus TCP
with --modbus-client and --modbus-server. What a peer has not acknowledged stays in STORE and is tried again, in order, also
after a kill. A sink that is new gets what comes from then on. docs/plc.md has topics, registers and the rules for PLCs.

Ctrl-C or SIGTERM ends it when the pictures that came are judged and stored.

Lines can also be made on the page, of a folder of good pictures. They are kept in STORE, and are there at the next start.

Examples:
  riad serve
  riad serve --line lid=runs/lid
  riad serve --line lid=runs/lid --watch lid=inbox --fpr 0.05 --store line-1
  riad serve --line lid=runs/lid --mqtt mqtt://broker.plant/hall-3 --modbus-server 127.0.0.1:5020
  riad serve --line lid=runs/lid --line cap=runs/cap --listen 0.0.0.0:8642 --token-file token
  curl --data-binary @photo.jpg http://127.0.0.1:8642/v1/lines/lid/inspect")]
pub(crate) struct ServeArgs {
    /// A line's name and its model: a run's folder or a checkpoint, calibrated. May be given more than once; lines that were
    /// made on the page need none
    #[arg(long = "line", value_name = "NAME=RUN", value_parser = parse_pair)]
    pub(crate) lines: Vec<(String, PathBuf)>,
    /// Judge the pictures that come into a folder for this line. They stay where they are
    #[arg(long = "watch", value_name = "NAME=DIR", value_parser = parse_pair)]
    pub(crate) watched: Vec<(String, PathBuf)>,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    /// Folder of rows, pictures and versions of models; one process at a time uses it
    #[arg(long, value_name = "STORE", default_value = "riad-store", value_hint = ValueHint::DirPath)]
    pub(crate) store: PathBuf,
    /// Address and port to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8642")]
    pub(crate) listen: SocketAddr,
    /// File with the token that callers must show, in its first line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificate for TLS, with those that lead to it, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub(crate) tls_key: Option<PathBuf>,
    /// A folder whose pictures callers may name by their path instead of sending them. May be given more than once
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) allow: Vec<PathBuf>,
    /// Pictures of a line that may wait; more are refused with status 503
    #[arg(long, value_name = "N", default_value = "64")]
    pub(crate) queue: NonZeroUsize,
    /// How long a request may take from its first byte until its answer; then its status is 504
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) deadline: Duration,
    /// How large a picture may be, as a file
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = parse_memory)]
    pub(crate) most_bytes: u64,
    /// Delete pictures that are older, such as 30d. Rows and labelled pictures stay
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) keep: Option<Duration>,
    /// Delete pictures beyond this many bytes, such as 20GiB: the oldest good ones first, then defects, labelled ones last
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    pub(crate) keep_bytes: Option<u64>,
    /// Ask a person about one in N pictures, drawn by chance whatever their verdict, such as 1/200: so that misses are
    /// counted, and new thresholds rest on pictures that nobody selected
    #[arg(long, value_name = "1/N", value_parser = parse_share)]
    pub(crate) audit: Option<NonZeroU32>,
    #[command(flatten)]
    pub(crate) sinks: SinkArgs,
    /// How long a picture in a watched folder must stay as it is to count as complete
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
    /// How often to look at watched folders
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = humantime::parse_duration)]
    pub(crate) interval: Duration,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

impl ServeArgs {
    /// What verdicts are given for.
    pub(crate) fn asked(&self) -> Asked {
        self.verdict.usual()
    }
}

fn parse_pair(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err("a name, =, and a path are wanted, such as lid=runs/lid".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_prefix("1/").and_then(|number| number.parse().ok());
    number.ok_or_else(|| "a share is written as 1/200".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_and_a_path() {
        assert_eq!(
            parse_pair("lid=runs/lid=2"),
            Ok(("lid".to_owned(), "runs/lid=2".into()))
        );
        for wrong in ["lid", "=runs/lid", "lid="] {
            assert!(parse_pair(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_one_in_many() {
        assert_eq!(parse_share("1/200").map(NonZeroU32::get), Ok(200));
        for wrong in ["200", "1/0", "2/3", "1/-5", "0.005"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }
}
