//! Paths and files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use riad_model::store;
use sha2::{Digest, Sha256};

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
        hash.update(fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// `path` with `suffix` after its name, whatever bytes the name has.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// `path` below `root` with forward slashes, for files that are read on other systems too; the whole of it if it is not
/// below.
pub(crate) fn relative(path: &Path, root: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
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
