//! A program that runs a workload for each line that it reads.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// A child that answers each line with one line.
pub(super) struct Server {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
}

/// What a server answers.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    /// Of one run.
    #[serde(default)]
    pub(super) seconds: f64,
    /// How it was run, where there was a choice.
    #[serde(default)]
    pub(super) note: String,
    /// Multiply-accumulates of the network in it; ours alone says.
    #[serde(default)]
    pub(super) macs: f64,
    #[serde(default)]
    error: Option<String>,
}

impl Server {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let (Some(requests), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{} has no pipes", program.display());
        };
        let (send, answers) = channel();
        // Ends with the child, whose output then ends.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            requests,
            answers,
        })
    }

    /// The server's process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line and returns the line that answers it. After an error the server is of no more use.
    pub(super) fn ask_plainly(&mut self, request: &str, limit: Duration) -> Result<String> {
        writeln!(self.requests, "{request}").with_context(|| format!("{request}: the program has ended"))?;
        match self.answers.recv_timeout(limit) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("no answer within {} s", limit.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("the program ended"),
        }
    }

    /// As [`Self::ask_plainly`]; the inner error is one that the server itself tells, and survives.
    pub(super) fn ask(&mut self, request: &str, limit: Duration) -> Result<Result<Answer, String>> {
        let line = self.ask_plainly(request, limit)?;
        let answer: Answer = serde_json::from_str(&line).with_context(|| format!("cannot understand {line:?}"))?;
        Ok(match answer.error {
            Some(error) => Err(error),
            None => Ok(answer),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Neither can fail but for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
