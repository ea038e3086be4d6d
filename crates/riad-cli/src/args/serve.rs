//! The command line of `riad serve`.

use std::{net::SocketAddr, num::NonZeroU32, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueHint};

use super::{ComputeArgs, sinks::SinkArgs, verdict::VerdictArgs};
use crate::memory::parse_bytes;

/// Serve models over HTTP, with a page for operators
#[derive(Debug, Args)]
#[command(after_help = "\
A line is a product and its model. Pictures come by POST to the line's address, or into its
folder (--watch). Each picture gets a row in STORE before the sender gets the answer. If riad
serve is killed and started again, it goes on, and no answered picture is without its row.

The page for operators is at the service's address. Lines can also be made there: drop a folder
of good pictures. So riad serve starts without a --line, too. /openapi.json describes the API.

Without --token-file the service listens at the loopback address only. Programs send the token of
that file as `Authorization: Bearer TOKEN`, and people type it once. Without --tls-cert others on
the network can read the token.

riad serve can send every inspection on: as a signed POST (--webhook), to an MQTT broker
(--mqtt), and to PLCs over Modbus TCP (--modbus-client, --modbus-server).

Ctrl-C or SIGTERM ends the service. Before it ends, it judges and stores the pictures that have
come. docs/serve.md explains the service, and docs/plc.md what it sends.

Examples:
  riad serve
  riad serve --line lid=runs/lid
  riad serve --line lid=runs/lid --watch lid=inbox --fpr 0.05 --store line-1
  riad serve --line lid=runs/lid --mqtt mqtt://broker.plant/hall-3 --modbus-server 127.0.0.1:5020
  riad serve --line lid=runs/lid --line cap=runs/cap --listen 0.0.0.0:8642 --token-file token
  curl --data-binary @photo.jpg http://127.0.0.1:8642/v1/lines/lid/inspect")]
pub(crate) struct ServeArgs {
    /// Name of a line, and its calibrated model: a run's folder or a checkpoint. May be given more than once
    #[arg(long = "line", value_name = "NAME=RUN", value_parser = parse_pair)]
    pub(crate) lines: Vec<(String, PathBuf)>,
    /// Judge the pictures that come into this folder for this line. The pictures stay in the folder
    #[arg(long = "watch", value_name = "NAME=DIR", value_parser = parse_pair)]
    pub(crate) watched: Vec<(String, PathBuf)>,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    /// Folder for rows, pictures and versions of models. Only one process at a time can use it
    #[arg(long, value_name = "STORE", default_value = "riad-store", value_hint = ValueHint::DirPath)]
    pub(crate) store: PathBuf,
    /// Address and port to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8642")]
    pub(crate) listen: SocketAddr,
    /// File whose first line is the token that callers must send
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificate for TLS with its chain, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub(crate) tls_key: Option<PathBuf>,
    /// Folder of pictures that callers may name by path instead of sending them. May be given more than once
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) allow: Vec<PathBuf>,
    /// Number of pictures of a line that may wait. More are refused with status 503
    #[arg(long, value_name = "N", default_value = "64")]
    pub(crate) queue: NonZeroUsize,
    /// Time limit from the first byte of a request to its answer. After that the status is 504
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) deadline: Duration,
    /// Largest size of a picture's file
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = parse_bytes)]
    pub(crate) most_bytes: u64,
    /// Delete pictures that are older than this, such as 30d. Rows and labelled pictures stay
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) keep: Option<Duration>,
    /// Delete pictures if all pictures together are larger than this, such as 20GiB: the oldest good ones first, then defects,
    /// labelled ones last
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) keep_bytes: Option<u64>,
    /// Ask a person about one in N pictures, such as 1/200. They are drawn by chance, whatever their verdict. So misses are
    /// counted, and new thresholds come from pictures that nobody selected
    #[arg(long, value_name = "1/N", value_parser = parse_share)]
    pub(crate) audit: Option<NonZeroU32>,
    #[command(flatten)]
    pub(crate) sinks: SinkArgs,
    /// A picture in a watched folder is complete if it has not changed for this time
    #[arg(long, value_name = "TIME", default_value = "2s", requires = "watched", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
    /// How often to look at watched folders
    #[arg(long, value_name = "TIME", default_value = "500ms", requires = "watched", value_parser = humantime::parse_duration)]
    pub(crate) interval: Duration,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

fn parse_pair(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err("expected NAME=PATH, such as lid=runs/lid".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_prefix("1/").and_then(|number| number.parse().ok());
    number.ok_or_else(|| "expected 1/N, such as 1/200".to_owned())
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
