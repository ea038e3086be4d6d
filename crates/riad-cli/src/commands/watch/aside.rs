//! Setting defects aside: atomically, once, and never over another file.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::folder::Image;
use crate::{args::By, usage};

/// The folder for defects, and how they get there.
pub(super) struct Aside {
    folder: PathBuf,
    by: By,
}

impl Aside {
    /// Makes `folder`.
    ///
    /// # Errors
    /// Blames the arguments if it lies in the `watched` one or the other way round: what is set aside would be found.
    pub(super) fn new(folder: &Path, by: By, watched: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let absolute = |path: &Path| {
            path.canonicalize()
                .with_context(|| format!("cannot access {}", path.display()))
        };
        let (inner, outer) = (absolute(folder)?, absolute(watched)?);
        if inner.starts_with(&outer) || outer.starts_with(&inner) {
            return Err(usage(format!(
                "{} and the watched {} must not lie in each other, or defects would be scored again; choose a folder \
                 beside it with --defects",
                folder.display(),
                watched.display()
            )));
        }
        Ok(Self {
            folder: folder.to_owned(),
            by,
        })
    }

    /// Whether defects do not stay where they were.
    pub(super) fn moves(&self) -> bool {
        self.by == By::Move
    }

    /// Gives the image a second place in the folder for defects; returns when it is on the disk. If the same content has
    /// the name that it would get, that was done before a kill, and is not done again.
    pub(super) fn place(&self, image: &Image) -> Result<()> {
        let place = || {
            // Behind a symbolic link, it is the image that matters.
            let source = image.file.canonicalize()?;
            let target = self.folder.join(&image.identity.path);
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder)?;
            }
            place(&source, &target, self.by)
        };
        place().with_context(|| {
            let way_out = match self.by {
                By::Link => "; where there can be no hard link, choose --by copy or --by move",
                By::Copy | By::Move => "",
            };
            format!(
                "cannot set {} aside in {}{way_out}",
                image.file.display(),
                self.folder.display()
            )
        })
    }

    /// Removes an image that was placed from where it was.
    pub(super) fn remove(&self, image: &Image) -> Result<()> {
        match fs::remove_file(&image.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| {
                format!(
                    "{} is in {}, but cannot be removed",
                    image.file.display(),
                    self.folder.display()
                )
            }),
            _ => Ok(()),
        }
    }
}

fn place(source: &Path, target: &Path, by: By) -> io::Result<()> {
    for number in 0_u32.. {
        let candidate = numbered(target, number);
        let placed = match by {
            By::Link => fs::hard_link(source, &candidate),
            By::Copy => copy(source, &candidate),
            By::Move => match fs::hard_link(source, &candidate) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => copy(source, &candidate),
                linked => linked,
            },
        };
        match placed {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if same_content(source, &candidate)? {
                    break;
                }
            }
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    // The new name is on the disk once its folder is; only Unix lets a folder be opened for that.
    #[cfg(unix)]
    if let Some(folder) = target.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Copies to a name that nothing has: beside it under another name first, so that a kill leaves no part of an image, only
/// a hidden file.
fn copy(source: &Path, target: &Path) -> io::Result<()> {
    if target.symlink_metadata().is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let folder = target.parent().unwrap_or(Path::new("."));
    let part = tempfile::Builder::new().prefix(".riad-").tempfile_in(folder)?;
    fs::copy(source, part.path())?;
    part.as_file().set_modified(fs::metadata(source)?.modified()?)?;
    part.as_file().sync_all()?;
    part.persist_noclobber(target).map_err(|error| error.error)?;
    Ok(())
}

/// `a/b.png` as it is for 0, then `a/b-1.png` and so on.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

/// Whether both files hold the same bytes. What is no file holds none.
fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    let (left, right) = (fs::metadata(a)?, fs::metadata(b));
    if !right.is_ok_and(|right| right.is_file() && right.len() == left.len()) {
        return Ok(false);
    }
    Ok(fs::read(a)? == fs::read(b)?)
}
