//! `cargo xtask fetch-mvtec`: MVTec AD, from its publisher, a mirror or a local archive, into a folder.
//!
//! Everything unfinished lives in `<out>/.download`; a category's folder appears by one rename, complete and checked. So
//! the command can be killed at any instant and run again.

mod disk;
mod download;
mod install;
mod mvtec;
mod progress;
mod unpack;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use sha2::{Digest, Sha256};

use self::download::{Download, Retries};
use self::install::WorkFolder;
use self::mvtec::{Archive, CATEGORIES, Category};

/// Downloads MVTec AD (CC BY-NC-SA 4.0) and unpacks it in its own layout.
///
/// Without --category, all 15 categories (4.9 GB to download, about 10 GB of disk while unpacking). What is there
/// already is kept; an interrupted download goes on where it stopped.
#[derive(Debug, Args)]
pub(crate) struct FetchMvtec {
    /// Fetch only this category; may be given several times
    #[arg(long = "category", value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(CATEGORIES.map(|c| c.name())))]
    categories: Vec<String>,
    /// Unpack this archive (.tar.xz or .tar, whole or one category) instead of downloading
    #[arg(long, value_name = "FILE", conflicts_with = "mirror")]
    archive: Option<PathBuf>,
    /// Download from below this address, where CATEGORY.tar.xz and mvtec_anomaly_detection.tar.xz lie
    #[arg(long, value_name = "URL", value_parser = parse_mirror)]
    mirror: Option<String>,
    /// Folder for the categories [default: data/mvtec in the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Failures in a row that a download survives
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,
    /// Seconds before the first new try; doubles with each
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    retry_wait: Duration,
}

fn parse_mirror(text: &str) -> Result<String, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        Ok(text.to_owned())
    } else {
        Err("must start with http:// or https://; for a file on this machine use --archive".into())
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "is not a number of seconds".to_owned())?;
    if !(0.0..=3600.0).contains(&seconds) {
        return Err("must lie between 0 and 3600".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

impl FetchMvtec {
    pub(crate) fn run(self) -> Result<()> {
        eprintln!("{}\n", mvtec::LICENCE);
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| crate::workspace_root().join("data").join("mvtec"));
        let work = WorkFolder::open(&out)?;
        let missing = self.missing(&out)?;
        if !missing.is_empty() {
            match &self.archive {
                Some(file) => self.install_archive(file, &missing, &work)?,
                None => self.install_downloads(&missing, &work)?,
            }
        }
        drop(work);
        let complete = CATEGORIES.iter().filter(|c| c.check(&out.join(c.name())).is_ok());
        let (count, images) = complete.fold((0, 0), |(count, images), c| (count + 1, images + c.images()));
        eprintln!("{} holds {count} of 15 categories, {images} images.", out.display());
        Ok(())
    }

    /// The asked-for categories that are not there yet.
    fn missing(&self, out: &Path) -> Result<Vec<&'static Category>> {
        let mut missing = Vec::new();
        for category in CATEGORIES
            .iter()
            .filter(|c| self.categories.is_empty() || self.asks_for(c.name()))
        {
            let dir = out.join(category.name());
            if !dir.exists() {
                missing.push(category);
                continue;
            }
            category.check(&dir).with_context(|| {
                format!(
                    "{} is there but not complete: move or delete it, then run this again",
                    dir.display()
                )
            })?;
            eprintln!("{}: already complete in {}, kept", category.name(), dir.display());
        }
        Ok(missing)
    }

    fn asks_for(&self, name: &str) -> bool {
        self.categories.iter().any(|c| c == name)
    }

    fn install_archive(&self, file: &Path, missing: &[&Category], work: &WorkFolder) -> Result<()> {
        ensure!(
            !file.is_dir(),
            "{} is a folder; --archive takes a .tar.xz or .tar file",
            file.display()
        );
        match Archive::by_file_name(file).and_then(|archive| archive.sha256) {
            Some(expected) => verify(file, expected).map_err(|error| {
                anyhow!("{error}: download it anew (an archive that you packed yourself must go by another name)")
            })?,
            None => eprintln!(
                "{}: no SHA-256 is published for it; its is {}",
                file.display(),
                sha256(file)?
            ),
        }
        work.install(file, missing, |category| self.asks_for(category.name()))?;
        Ok(())
    }

    fn install_downloads(&self, missing: &[&Category], work: &WorkFolder) -> Result<()> {
        // With some categories there already, the rest is smaller than the whole, unless that has been begun.
        let whole =
            self.categories.is_empty() && (missing.len() == CATEGORIES.len() || work.has_begun(&Archive::WHOLE));
        let archives = if whole {
            vec![Archive::WHOLE]
        } else {
            missing.iter().map(|c| c.archive).collect()
        };
        for archive in archives {
            let file = self.download(&archive, work)?;
            let installed = work.install(&file, missing, |category| whole || category.name() == archive.name);
            if installed.as_ref().is_err_and(|error| !error.is_the_archives()) {
                return installed
                    .with_context(|| format!("{} is downloaded and kept for the next try", file.display()));
            }
            // Installed, or never to be taken for a good one by the next run.
            download::remove_if_there(&file).with_context(|| format!("cannot delete {}", file.display()))?;
            installed.map_err(|error| {
                let url = archive.url(self.mirror());
                anyhow!(
                    "{error}; it was deleted, for what {url} sent is not usable{}",
                    by_hand(&archive)
                )
            })?;
        }
        Ok(())
    }

    fn mirror(&self) -> Option<&str> {
        self.mirror.as_deref()
    }

    /// The complete archive in the work folder, downloaded unless it lies there already.
    fn download(&self, archive: &Archive, work: &WorkFolder) -> Result<PathBuf> {
        let url = archive.url(self.mirror());
        let file = work.file(archive);
        if !file.exists() {
            eprintln!("{}: downloading {url}", archive.name);
            let download = Download {
                url: &url,
                file: &file,
                label: archive.name,
                reserve_percent: install::UNPACKED_PERCENT,
                retries: Retries {
                    count: self.retries,
                    wait: self.retry_wait,
                },
            };
            download.run().map_err(|error| {
                let advice = if error.is_the_servers() {
                    by_hand(archive)
                } else {
                    String::new()
                };
                anyhow!("{} was not downloaded: {error}{advice}", archive.name)
            })?;
        }
        match archive.sha256 {
            Some(expected) => {
                if let Err(error) = verify(&file, expected) {
                    fs::remove_file(&file).with_context(|| format!("cannot delete {}", file.display()))?;
                    bail!(
                        "{error}; it was deleted, for {url} sent something else{}",
                        by_hand(archive)
                    );
                }
            }
            None => eprintln!(
                "{}: no SHA-256 is published for it; its is {}",
                archive.name,
                sha256(&file)?
            ),
        }
        Ok(file)
    }
}

/// What a person can do when the download fails for good.
fn by_hand(archive: &Archive) -> String {
    let file = archive.file_name();
    format!(
        "\nMVTec moves its files from time to time. To get them by hand:\n  \
         1. open {} in a browser and download {file}\n  \
         2. cargo xtask fetch-mvtec --archive PATH/{file}\n\
         Or name a server that holds {file}: cargo xtask fetch-mvtec --mirror URL",
        mvtec::DOWNLOAD_PAGE
    )
}

/// Compares a file with its published hash.
fn verify(file: &Path, expected: &str) -> Result<()> {
    let found = sha256(file)?;
    ensure!(
        found == expected,
        "{} has SHA-256 {found}, not the published {expected}",
        file.display()
    );
    eprintln!("{}: SHA-256 {found} is the published one", file.display());
    Ok(())
}

/// SHA-256 of a file, in lower-case hexadecimal.
fn sha256(path: &Path) -> Result<String> {
    let hash = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
                n => hasher.update(&buffer[..n]),
            }
        }
    };
    hash().with_context(|| format!("cannot read {}", path.display()))
}
