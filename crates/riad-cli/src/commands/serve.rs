//! `riad serve`.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use riad_serve::{Error, Keep, LineOptions, Options, Service, Tls};
use tracing::{info, warn};

use crate::{Ending, args::ServeArgs, interrupt, shell::shell_quoted, usage};

/// A shorter token can be guessed by trying.
const SHORTEST_TOKEN: usize = 16;

pub(crate) fn run(args: &ServeArgs) -> Result<Ending> {
    let end = interrupt::Watch::start(None);
    let token = args.token_file.as_deref().map(token_in).transpose()?;
    if token.is_none() && !args.listen.ip().is_loopback() {
        return Err(usage(format!(
            "--listen {} can be reached from other machines; --token-file FILE says who may ask",
            args.listen
        )));
    }
    let mut lines = Vec::new();
    for (name, model) in &args.lines {
        lines.push(LineOptions {
            name: name.clone(),
            model: model.clone(),
            watch: None,
        });
    }
    for (name, folder) in &args.watched {
        let Some(line) = lines.iter_mut().find(|line| line.name == *name) else {
            return Err(usage(format!("--watch names {name}, which is no --line")));
        };
        if line.watch.replace(folder.clone()).is_some() {
            return Err(usage(format!("--watch names two folders for {name}; a line has one")));
        }
    }
    let options = Options {
        asked: args.asked(),
        compute: args.compute.compute()?,
        listen: args.listen,
        token,
        tls: args
            .tls_cert
            .clone()
            .zip(args.tls_key.clone())
            .map(|(certificate, key)| Tls { certificate, key }),
        queue: args.queue.get(),
        deadline: args.deadline,
        most_bytes: args.most_bytes,
        allow: args.allow.clone(),
        keep: Keep {
            time: args.keep,
            bytes: args.keep_bytes,
        },
        audit: args.audit.map(Into::into),
        settle: args.settle,
        interval: args.interval,
        ..Options::new(lines, &args.store)
    };
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    if options.token.is_some() && options.tls.is_none() && !options.listen.ip().is_loopback() {
        warn!("without --tls-cert others on the network can read the token");
    }
    let service = Service::start(options).map_err(|error| match error {
        Error::Riad(error) => error.into(),
        Error::Request(words) => usage(words),
        error => error.into(),
    })?;
    let address = service.address();
    info!("line page   {scheme}://{address}/   for operators");
    for (name, _) in &args.lines {
        info!("score API   POST {scheme}://{address}/v1/lines/{name}/inspect");
    }
    info!("all is kept in {}; Ctrl-C ends", shell_quoted(&args.store));
    service.run(end.cancel());
    Ok(Ending::Done)
}

/// The token in a file's first line.
fn token_in(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.len() < SHORTEST_TOKEN || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(usage(format!(
            "{} holds no token: its first line has at least {SHORTEST_TOKEN} letters, digits or signs without spaces; \
             `openssl rand -hex 24` makes one",
            file.display()
        )));
    }
    Ok(token.to_owned())
}
