//! `riad serve`.

use std::path::Path;

use anyhow::{Context, Result};
use riad_data::read_text;
use riad_serve::{Destination, Error, Keep, LineOptions, Options, Service, SinkOptions, Tls};
use tracing::{info, warn};

use crate::{
    Ending,
    args::{ServeArgs, SinkArgs},
    interrupt,
    shell::shell_quoted,
    usage,
};

/// A shorter token or key can be guessed by trying.
const SHORTEST_SECRET: usize = 16;

pub(crate) fn run(args: &ServeArgs) -> Result<Ending> {
    let end = interrupt::Watch::start(None);
    let token = args.token_file.as_deref().map(secret_in).transpose()?;
    if token.is_none() && !args.listen.ip().is_loopback() {
        return Err(usage(format!(
            "--listen {} can be reached from other machines, so callers need a token; add --token-file FILE",
            args.listen
        )));
    }
    let lines = args.lines.iter().cloned();
    let lines = lines.map(|(name, model)| LineOptions { name, model });
    let options = Options {
        watch: args.watched.clone(),
        rate: args.verdict.usual(),
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
        sinks: sinks(&args.sinks)?,
        settle: args.settle,
        interval: args.interval,
        ..Options::new(lines.collect(), &args.store)
    };
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    if options.token.is_some() && options.tls.is_none() && !options.listen.ip().is_loopback() {
        warn!("without --tls-cert others on the network can read the token");
    }
    let service = Service::start(options).map_err(|error| match error {
        Error::Riad(error) => error.into(),
        Error::Request(words) => usage(words),
        error @ Error::NotForRate { .. } => usage(error.to_string()),
        error => error.into(),
    })?;
    let address = service.address();
    info!("line page   {scheme}://{address}/   for operators");
    let lines = service.lines();
    for name in &lines {
        info!("score API   POST {scheme}://{address}/v1/lines/{name}/inspect");
    }
    if lines.is_empty() {
        info!("there is no line yet: make one on the page, of good pictures");
    }
    for address in service.modbus() {
        info!("Modbus TCP  {address}   for PLCs");
    }
    for (number, name) in service.places().iter().enumerate() {
        let now = if lines.contains(name) {
            ""
        } else {
            ", which is not served now"
        };
        info!("PLC line {number}  {name}{now}");
    }
    info!("the store is {}; Ctrl-C ends", shell_quoted(&args.store));
    service.run(end.cancel());
    Ok(Ending::Done)
}

/// Where inspections are sent.
fn sinks(args: &SinkArgs) -> Result<Vec<SinkOptions>> {
    let secret = args.webhook_secret.as_deref().map(secret_in).transpose()?;
    let password = args.mqtt_password_file.as_deref().map(password_in).transpose()?;
    let mut all = Vec::new();
    for url in &args.webhook {
        all.push(Destination::Webhook {
            url: url.clone(),
            secret: secret.clone(),
        });
    }
    for url in &args.mqtt {
        all.push(Destination::Mqtt {
            url: url.clone(),
            password: password.clone(),
        });
    }
    let valid = args.modbus_valid;
    for address in &args.modbus_client {
        all.push(Destination::ModbusClient {
            address: address.clone(),
            unit: args.modbus_unit,
            base: args.modbus_base,
            valid,
        });
    }
    for &address in &args.modbus_server {
        if !address.ip().is_loopback() {
            warn!("Modbus has no password: everyone who can reach {address} can read verdicts, but nobody can write");
        }
        all.push(Destination::ModbusServer { address, valid });
    }
    let options = all.into_iter().map(|to| {
        let mut options = SinkOptions::new(to);
        options.most_behind = args.sink_most.map_or(options.most_behind, Into::into);
        options
    });
    Ok(options.collect())
}

/// The token or key in a file's first line.
fn secret_in(file: &Path) -> Result<String> {
    let line = first_line(file)?;
    let secret = line.trim();
    if secret.len() < SHORTEST_SECRET || !secret.chars().all(|c| c.is_ascii_graphic()) {
        return Err(usage(format!(
            "the first line of {} is not a usable secret: it needs at least {SHORTEST_SECRET} letters, digits or signs, \
             without spaces; `openssl rand -hex 24` makes one",
            file.display()
        )));
    }
    Ok(secret.to_owned())
}

/// The password in a file's first line, as it is: it is not ours to choose.
fn password_in(file: &Path) -> Result<String> {
    let password = first_line(file)?;
    if password.is_empty() {
        return Err(usage(format!(
            "the first line of {} is empty; it must be the password",
            file.display()
        )));
    }
    Ok(password)
}

fn first_line(file: &Path) -> Result<String> {
    let text = read_text(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_password_is_the_whole_first_line_and_a_key_has_no_spaces() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        for (text, password) in [
            (" Größe 12 \r\nanother line\n", " Größe 12 "),
            ("x", "x"),
            ("0123456789abcdef\n", "0123456789abcdef"),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(password_in(&file).unwrap(), password);
            assert_eq!(
                secret_in(&file).is_ok(),
                text.len() > 16 && !text.contains(' '),
                "{text}"
            );
        }
        fs::write(&file, "\n").unwrap();
        assert!(password_in(&file).is_err());
    }
}
