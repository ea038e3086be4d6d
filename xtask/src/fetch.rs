//! `cargo xtask fetch-mvtec`, `fetch-visa`, `fetch-btad`: a data set, from its publisher, a mirror or a local archive,
//! into a folder.
//!
//! Everything unfinished lives in `<out>/.download`; a category's folder appears by one rename, complete and checked. So
//! the command can be killed at any instant and run again.

mod btad;
mod data_set;
mod disk;
mod download;
mod install;
mod mvtec;
mod progress;
mod unpack;
mod visa;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use sha2::{Digest, Sha256};

use self::btad::BTAD;
use self::data_set::{Archive, DataSet, Part};
use self::download::{Download, Retries};
use self::install::WorkFolder;
use self::mvtec::MVTEC;
use self::visa::VISA;

/// Downloads MVTec AD (CC BY-NC-SA 4.0) and unpacks it in its own layout.
///
/// Without --category, it fetches all 15 categories (4.9 GB to download, about 10 GB of disk while unpacking).
/// Categories that are there are kept. An interrupted download goes on where it stopped.
#[derive(Debug, Args)]
pub(crate) struct FetchMvtec {
    /// Fetch only this category; may be given several times
    #[arg(long = "category", value_name = "NAME", value_parser = names(&MVTEC))]
    categories: Vec<String>,
    #[command(flatten)]
    options: Options,
}

/// Downloads VisA (CC BY 4.0) and unpacks it in its own layout.
///
/// All 12 categories are in one archive (1.9 GB to download, about 4 GB of disk while unpacking). Categories that are
/// there are kept. An interrupted download goes on where it stopped.
#[derive(Debug, Args)]
pub(crate) struct FetchVisa {
    /// Unpack only this category; may be given several times
    #[arg(long = "category", value_name = "NAME", value_parser = names(&VISA))]
    categories: Vec<String>,
    #[command(flatten)]
    options: Options,
}

/// Downloads BTAD and unpacks it in its own layout.
///
/// All 3 categories are in one archive (1.2 GB to download, about 8 GB of disk while unpacking). Categories that are
/// there are kept. An interrupted download goes on where it stopped.
#[derive(Debug, Args)]
pub(crate) struct FetchBtad {
    /// Unpack only this category; may be given several times
    #[arg(long = "category", value_name = "NAME", value_parser = names(&BTAD))]
    categories: Vec<String>,
    #[command(flatten)]
    options: Options,
}

impl FetchMvtec {
    pub(crate) fn run(self) -> Result<()> {
        fetch(&MVTEC, self.categories, self.options)
    }
}

impl FetchVisa {
    pub(crate) fn run(self) -> Result<()> {
        fetch(&VISA, self.categories, self.options)
    }
}

impl FetchBtad {
    pub(crate) fn run(self) -> Result<()> {
        fetch(&BTAD, self.categories, self.options)
    }
}

fn names(set: &DataSet) -> PossibleValuesParser {
    PossibleValuesParser::new(set.categories().map(|category| category.name))
}

#[derive(Debug, Args)]
struct Options {
    /// Unpack this archive (.tar.xz, .tar or .zip; all categories or some) instead of downloading
    #[arg(long, value_name = "FILE", conflicts_with = "mirror")]
    archive: Option<PathBuf>,
    /// Download from below this address. The archives there must have their publisher's names
    #[arg(long, value_name = "URL", value_parser = parse_mirror)]
    mirror: Option<String>,
    /// Folder for the categories [default: the set's own in data/ of the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Number of failures in a row before a download gives up
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,
    /// Seconds before the first new try. They double with each try
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

fn fetch(set: &'static DataSet, categories: Vec<String>, options: Options) -> Result<()> {
    eprintln!("{}\n", set.licence);
    let default = || crate::workspace_root().join("data").join(set.folder);
    let out = options.out.clone().unwrap_or_else(default);
    let work = WorkFolder::open(set, &out)?;
    let fetch = Fetch {
        set,
        categories,
        options,
        work,
    };
    let missing = fetch.missing(&out)?;
    if !missing.is_empty() {
        match &fetch.options.archive {
            Some(file) => fetch.install_archive(file, &missing)?,
            None => fetch.install_downloads(&missing)?,
        }
    }
    let complete = set
        .categories()
        .filter(|part| set.check(part, &out.join(part.name)).is_ok());
    let (count, images) = complete.fold((0, 0), |(count, images), part| (count + 1, images + part.images()));
    let all = set.categories().count();
    eprintln!("{} holds {count} of {all} categories, {images} images.", out.display());
    Ok(())
}

/// A fetch under way.
struct Fetch {
    set: &'static DataSet,
    /// The categories asked for; all if empty.
    categories: Vec<String>,
    options: Options,
    work: WorkFolder,
}

impl Fetch {
    /// The parts that are asked for, or go with every category, and are not there yet.
    fn missing(&self, out: &Path) -> Result<Vec<&'static Part>> {
        let mut missing = Vec::new();
        for part in self.set.parts {
            if !self.categories.is_empty() && !self.is_required(part) {
                continue;
            }
            let dir = out.join(part.name);
            if !dir.exists() {
                missing.push(part);
                continue;
            }
            self.set.check(part, &dir).with_context(|| {
                format!(
                    "{} is there but not complete: move or delete it, then run this again",
                    dir.display()
                )
            })?;
            eprintln!("{}: already complete in {}, kept", part.name, dir.display());
        }
        Ok(missing)
    }

    /// Whether an archive that lacks this part is of no use.
    fn is_required(&self, part: &Part) -> bool {
        !part.is_category() || self.categories.iter().any(|name| name == part.name)
    }

    fn install_archive(&self, file: &Path, missing: &[&'static Part]) -> Result<()> {
        ensure!(
            !file.is_dir(),
            "{} is a folder; --archive takes a .tar.xz, .tar or .zip file",
            file.display()
        );
        match self.set.archive_by_file_name(file).and_then(|archive| archive.sha256) {
            Some(expected) => verify(file, expected).map_err(|error| {
                anyhow!("{error}: download it anew (an archive that you packed yourself must go by another name)")
            })?,
            None => eprintln!(
                "{}: no SHA-256 is published for it; its is {}",
                file.display(),
                sha256(file)?
            ),
        }
        self.work.install(file, missing, |part| self.is_required(part))?;
        Ok(())
    }

    fn install_downloads(&self, missing: &[&'static Part]) -> Result<()> {
        let whole = &self.set.whole;
        let single: Option<Vec<Archive>> = missing.iter().map(|part| part.archive).collect();
        let archives = match single {
            // With some categories there already, the rest is smaller than the whole, unless that has been begun.
            Some(single)
                if !self.categories.is_empty()
                    || (missing.len() < self.set.parts.len() && !self.work.has_begun(whole)) =>
            {
                single
            }
            _ => vec![*whole],
        };
        for archive in archives {
            let file = self.download(&archive)?;
            let holds = |part: &Part| archive.name == whole.name || part.name == archive.name;
            let installed = self.work.install(&file, missing, holds);
            if installed.as_ref().is_err_and(|error| !error.is_the_archives()) {
                return installed
                    .with_context(|| format!("{} is downloaded and kept for the next try", file.display()));
            }
            // Installed, or never to be taken for a good one by the next run.
            download::remove_if_there(&file).with_context(|| format!("cannot delete {}", file.display()))?;
            installed.map_err(|error| {
                let url = self.url(&archive);
                anyhow!(
                    "{error}; it was deleted, for what {url} sent is not usable{}",
                    self.by_hand(&archive)
                )
            })?;
        }
        Ok(())
    }

    fn url(&self, archive: &Archive) -> String {
        self.set.url(archive, self.options.mirror.as_deref())
    }

    /// The complete archive in the work folder, downloaded unless it lies there already.
    fn download(&self, archive: &Archive) -> Result<PathBuf> {
        let url = self.url(archive);
        let file = self.work.file(archive);
        if !file.exists() {
            eprintln!("{}: downloading {url}", archive.name);
            let download = Download {
                url: &url,
                file: &file,
                label: archive.name,
                reserve_percent: self.set.unpacked_percent,
                retries: Retries {
                    count: self.options.retries,
                    wait: self.options.retry_wait,
                },
            };
            download.run().map_err(|error| {
                let advice = if error.is_the_servers() {
                    self.by_hand(archive)
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
                        self.by_hand(archive)
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

    /// What a person can do when the download fails for good.
    fn by_hand(&self, archive: &Archive) -> String {
        let DataSet { page, command, .. } = self.set;
        let file = self.set.file_name(archive);
        format!(
            "\nPublishers move their files from time to time. To get them by hand:\n  \
             1. open {page} in a browser and download {file}\n  \
             2. cargo xtask {command} --archive PATH/{file}\n\
             Or name a server that holds {file}: cargo xtask {command} --mirror URL"
        )
    }
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
