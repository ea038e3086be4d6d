//! Puts defects into their folder: atomically, once, and never over another file.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use riad_data::Pattern;

use super::{Transfer, folder::Image};
use crate::{Error, Result};

/// The folder for defects, and how they get there.
#[derive(Debug)]
pub(super) struct Aside {
    folder: PathBuf,
    watched: PathBuf,
    transfer: Transfer,
    /// Which files make one image together.
    bands: Option<Pattern>,
}

impl Aside {
    /// Makes `folder`, and removes what kills have left there. It and the `watched` one do not lie in each other: what is set aside
    /// would be found.
    pub(super) fn new(folder: &Path, transfer: Transfer, watched: &Path, bands: Option<Pattern>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
        sweep(folder);
        Ok(Self {
            folder: folder.to_owned(),
            watched: watched.to_owned(),
            transfer,
            bands,
        })
    }

    /// Whether defects do not stay where they were.
    pub(super) fn moves(&self) -> bool {
        self.transfer == Transfer::Move
    }

    /// Gives the image a second place in the folder for defects; returns when it is on the disk. If the same content has
    /// the name that it would get, that was done before a kill, and is not done again.
    pub(super) fn place(&self, image: &Image) -> Result<()> {
        let place = || {
            // Behind a symbolic link, it is the image that matters.
            let sources = image.files.iter().map(|file| file.canonicalize());
            let sources: Vec<PathBuf> = sources.collect::<io::Result<_>>()?;
            let target = self.target(image);
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder)?;
            }
            for number in 0_u32.. {
                if place(&sources, &self.numbered(&target, number)?, self.transfer)? {
                    break;
                }
            }
            // The new names are on the disk once their folder is; only Unix lets a folder be opened for that.
            #[cfg(unix)]
            if let Some(folder) = target.parent() {
                File::open(folder)?.sync_all()?;
            }
            Ok::<(), io::Error>(())
        };
        place().map_err(|cause| {
            let (file, folder) = (image.file.clone(), self.folder.clone());
            match self.transfer {
                Transfer::Link => Error::Link { file, folder, cause },
                Transfer::Copy | Transfer::Move => Error::Aside { file, folder, cause },
            }
        })
    }

    /// Whether all files that are there of an image have a place, as those that are left over where a kill came while an
    /// image was removed.
    pub(super) fn has(&self, image: &Image) -> io::Result<bool> {
        let target = self.target(image);
        for number in 0_u32.. {
            let (mut is_free, mut is_same) = (true, true);
            for (source, candidate) in image.files.iter().zip(self.numbered(&target, number)?) {
                is_free &= candidate.symlink_metadata().is_err();
                is_same &= !source.exists() || same_content(source, &candidate)?;
            }
            if is_free || is_same {
                return Ok(is_same);
            }
        }
        Ok(false)
    }

    /// Removes an image that was placed from where it was.
    pub(super) fn remove(&self, image: &Image) -> Result<()> {
        for file in &image.files {
            match fs::remove_file(file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::Remove {
                        file: file.clone(),
                        folder: self.folder.clone(),
                        cause: error,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The place of an image below the folder for defects as it lies below the watched one.
    fn target(&self, image: &Image) -> PathBuf {
        self.folder
            .join(image.file.strip_prefix(&self.watched).unwrap_or(&image.file))
    }

    /// What the files of an image are called whose first is `target`: so for 0, else with that number.
    fn numbered(&self, target: &Path, number: u32) -> io::Result<Vec<PathBuf>> {
        match &self.bands {
            None => Ok(vec![numbered(target, number)]),
            Some(bands) => numbered_together(target, number, bands)
                .ok_or_else(|| io::Error::other(format!("its name does not fit the pattern {bands}"))),
        }
    }
}

/// Gives each of an image's files its place, unless one is taken by something else; whether they have them now.
fn place(sources: &[PathBuf], targets: &[PathBuf], transfer: Transfer) -> io::Result<bool> {
    for (source, target) in sources.iter().zip(targets) {
        if target.symlink_metadata().is_ok() && !same_content(source, target)? {
            return Ok(false);
        }
    }
    for (source, target) in sources.iter().zip(targets) {
        let placed = match transfer {
            Transfer::Link => fs::hard_link(source, target),
            Transfer::Copy => copy(source, target),
            Transfer::Move => match fs::hard_link(source, target) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => copy(source, target),
                linked => linked,
            },
        };
        match placed {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !same_content(source, target)? {
                    return Ok(false);
                }
            }
            placed => placed?,
        }
    }
    Ok(true)
}

/// How the names of copies begin that are not whole yet, and how many letters and digits follow.
const PART: &str = ".riad-";
const PART_LETTERS: usize = 6;

/// Removes the copies in `folder` and below that a kill kept from becoming whole. One that another process is at, it makes again. What
/// cannot be looked at or removed is in nobody's way.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(PART));
        if kind.is_dir() {
            sweep(&entry.path());
        } else if kind.is_file()
            && rest
                .is_some_and(|rest| rest.len() == PART_LETTERS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Copies to a name that nothing has: beside it under another name first, so that a kill leaves no part of an image, only
/// a hidden file.
fn copy(source: &Path, target: &Path) -> io::Result<()> {
    if target.symlink_metadata().is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    // Windows takes names of more than 260 letters where they are written in full.
    let folder = target.parent().unwrap_or(Path::new(".")).canonicalize()?;
    let target = folder.join(target.file_name().unwrap_or_default());
    let part = tempfile::Builder::new()
        .prefix(PART)
        .rand_bytes(PART_LETTERS)
        .tempfile_in(&folder)?;
    // Not by its path: Windows may refuse to copy onto a file that is open, as this one is.
    let mut from = File::open(source)?;
    io::copy(&mut from, &mut part.as_file())?;
    let facts = from.metadata()?;
    part.as_file().set_permissions(facts.permissions())?;
    part.as_file().set_modified(facts.modified()?)?;
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

/// All files of the image whose first is `first`: as they are for 0, else with the number behind the image's own name.
fn numbered_together(first: &Path, number: u32, bands: &Pattern) -> Option<Vec<PathBuf>> {
    if number == 0 {
        return bands.files(first).ok();
    }
    let wanted = format!("{}-{number}", bands.name(first)?);
    let name = first.file_name()?.to_str()?;
    // What is around the own name may hold it as well.
    let mut ends = (1..=name.len()).filter(|end| name.is_char_boundary(*end));
    ends.find_map(|end| {
        let candidate = first.with_file_name(format!("{}-{number}{}", &name[..end], &name[end..]));
        let is_it = bands.name(&candidate) == Some(wanted.as_str());
        bands.files(&candidate).ok().filter(|_| is_it)
    })
}

/// Whether both files hold the same bytes. What is no file holds none.
fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    let (left, right) = (fs::metadata(a)?, fs::metadata(b));
    if !right.is_ok_and(|right| right.is_file() && right.len() == left.len()) {
        return Ok(false);
    }
    Ok(fs::read(a)? == fs::read(b)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kills_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("left")).unwrap();
        let others = [
            "a.png",
            ".riad-notes",
            ".riad-a1b2c3.png",
            "left/.riad-12345",
            "left/riad-a1b2c3",
        ];
        let parts = [".riad-a1b2c3", "left/.riad-Z9y8X7"];
        others
            .iter()
            .chain(&parts)
            .for_each(|path| fs::write(at(path), "").unwrap());
        // A copy that is under way has such a name.
        let part = tempfile::Builder::new()
            .prefix(PART)
            .rand_bytes(PART_LETTERS)
            .tempfile_in(folder.path())
            .unwrap();
        Aside::new(folder.path(), Transfer::Copy, Path::new("inbox"), None).unwrap();
        assert!(others.iter().all(|path| at(path).exists()));
        assert!(parts.iter().all(|path| !at(path).exists()) && !part.path().exists());
    }

    #[test]
    fn a_number_stands_behind_the_images_own_name() {
        let together = |pattern: &str, first: &str, number| {
            let files = numbered_together(Path::new(first), number, &pattern.parse().unwrap()).unwrap();
            files
                .into_iter()
                .map(|file| file.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(numbered(Path::new("a/b.c.png"), 2), Path::new("a/b.c-2.png"));
        assert_eq!(
            together("*_light{0,1}.png", "a/b_light0.png", 0),
            ["a/b_light0.png", "a/b_light1.png"]
        );
        assert_eq!(
            together("*_light{0,1}.png", "a/b_light0.png", 12),
            ["a/b-12_light0.png", "a/b-12_light1.png"]
        );
        // The image's own name is aa, and there is more of it before and behind.
        assert_eq!(together("a*a{0,1}.png", "aaaa0.png", 1), ["aaa-1a0.png", "aaa-1a1.png"]);
        assert_eq!(together("{é,è}ä*.png", "éä1.png", 1), ["éä1-1.png", "èä1-1.png"]);
    }
}
