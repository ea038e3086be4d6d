//! Paths and files.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use riad_model::store;
use sha2::{Digest, Sha256};

use crate::usage;

/// Writes `bytes` to `path` as checkpoints are written: whole, whenever the program is killed. Folders on the way are made.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    store::write_whole(path, bytes).context("cannot write")
}

/// The SHA-256 of what files hold one after the other, in hexadecimal.
pub(crate) fn sha256(files: &[impl AsRef<Path>]) -> Result<String> {
    let mut hash = Sha256::new();
    for file in files.iter().map(AsRef::as_ref) {
        let cannot = || format!("cannot read {}", file.display());
        let mut file = BufReader::new(File::open(file).with_context(cannot)?);
        loop {
            let part = file.fill_buf().with_context(cannot)?;
            if part.is_empty() {
                break;
            }
            hash.update(part);
            let read = part.len();
            file.consume(read);
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where `path` lies, without links, as far as it is there: what is yet to be made is added as it is.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for there in whole.ancestors() {
        if let Ok(real) = there.canonicalize() {
            return match whole.strip_prefix(there) {
                Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                _ => real,
            };
        }
    }
    whole
}

/// Checks that what is written to `out` does not come to lie among the images in `data`.
///
/// # Errors
/// Blames the arguments.
pub(crate) fn check_outside(out: &Path, data: &Path) -> Result<()> {
    if resolved(out).starts_with(resolved(data)) {
        return Err(usage(format!(
            "{} lies in {}, where images are looked for; choose a folder beside it with --out",
            out.display(),
            data.display()
        )));
    }
    Ok(())
}

/// `path` with `suffix` after its name, whatever bytes the name has.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// `path` as it can be pasted into a shell.
pub(crate) fn shell_quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:\\".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text
    } else if cfg!(windows) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
