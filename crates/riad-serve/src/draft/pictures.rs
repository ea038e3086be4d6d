//! The good pictures of a line that is being made.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use riad::{RgbImage, Size, Suspects, files::sha256, render::drawn};
use riad_data::Fit;
use serde::{Deserialize, Serialize};
use tempfile::TempPath;
use utoipa::ToSchema;

use super::{Draft, Now, Room, Stage, lost};
use crate::{
    Error, Result,
    line::without,
    making::{NotMade, quietly},
    store::{GoodRow, Store, to_millis},
};

/// What a picture is brought to, to see that it can be read.
pub(super) const SMALL: Size = Size::new(32, 32);

/// What became of a picture that came.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is one of the line's.
    Picture(GoodRow),
    /// It is left out, for a reason in words.
    LeftOut(String),
}

/// A picture that a person should look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Suspect {
    /// The picture's number.
    pub(crate) id: i64,
    /// What its sender calls it.
    pub(crate) name: String,
    /// Why to look at it.
    pub(crate) reason: String,
}

/// Those that were found, as long as the pictures are these.
pub(super) type Looked = Arc<Vec<Suspect>>;

/// What a picture's file is called: by what it holds, so that no name that somebody sends has a say.
fn file_name(picture: &GoodRow) -> String {
    // What a file is, its content says; the name only has to look like that of a picture.
    format!("{}.png", picture.sha256.get(..32).unwrap_or(&picture.sha256))
}

impl Draft {
    /// Takes a picture in, or says why not. One that is there already counts once.
    ///
    /// # Errors
    /// [`NotMade::Asked`] if no pictures are taken now.
    pub(crate) fn take(&self, store: &Store, file: &TempPath, name: &str, room: Room) -> Result<Taken, NotMade> {
        self.check_open()?;
        let white_level = self.white_level();
        let loaded = match self.reader().load(file, Fit::Resized(SMALL)) {
            Ok(loaded) => loaded,
            Err(error) => return Ok(Taken::LeftOut(without(&error.to_string(), file))),
        };
        let bytes = fs::metadata(file)
            .map_err(Error::file("read", file.to_path_buf()))?
            .len();
        let picture = GoodRow {
            number: 0,
            name: name.to_owned(),
            sha256: sha256(&[file]).map_err(Error::from)?,
            bytes,
            width: loaded.original_size.width,
            height: loaded.original_size.height,
            brightest: loaded.found.brightest,
        };
        let _alone = self.alone();
        self.check_open()?;
        if self.white_level() != white_level {
            let words = "the white level was changed just now; send the picture again";
            return Err(NotMade::Asked(words.to_owned()));
        }
        let (count, held) = {
            let now = self.now();
            (now.pictures, now.bytes)
        };
        let target = self.good().join(file_name(&picture));
        let is_there = target.exists();
        if !is_there && count >= room.pictures {
            let words = format!("this line has {count} pictures, which is the most; delete others first");
            return Ok(Taken::LeftOut(words));
        }
        if !is_there && held.saturating_add(bytes) > room.bytes {
            let words = format!(
                "all good pictures of a line have at most {} bytes; delete others first",
                room.bytes
            );
            return Ok(Taken::LeftOut(words));
        }
        // The picture is in its place before its row is.
        riad::files::replace(file, &target).map_err(Error::from)?;
        let kept = store.keep_good(&self.name, picture);
        if kept.is_err() && !is_there {
            // What cannot be removed now is swept before anything is learned.
            let _ = fs::remove_file(&target);
        }
        let (picture, is_new) = kept?;
        if is_new {
            let pictures = loaded.found.pictures;
            if pictures > 1 {
                tracing::warn!(
                    "line {}: {}: the file has {pictures} pictures, and only one is used; save the others as separate files",
                    self.name,
                    picture.name
                );
            }
            self.changed(store, |now| {
                now.pictures += 1;
                now.bytes += bytes;
                now.brightest = now.brightest.max(picture.brightest);
            })?;
        }
        Ok(Taken::Picture(picture))
    }

    /// Takes a picture out again; whether there was one of that number.
    ///
    /// # Errors
    /// [`NotMade::Asked`] if its pictures may not change now.
    pub(crate) fn remove(&self, store: &Store, number: i64) -> Result<bool, NotMade> {
        let _alone = self.alone();
        self.check_open()?;
        let Some(picture) = store.good_one(&self.name, number)? else {
            return Ok(false);
        };
        store.forget_good(&self.name, number)?;
        // What cannot be removed now is swept before anything is learned.
        let _ = fs::remove_file(self.good().join(file_name(&picture)));
        let others = store.good(&self.name)?;
        self.changed(store, |now| {
            now.pictures = now.pictures.saturating_sub(1);
            now.bytes = now.bytes.saturating_sub(picture.bytes);
            now.brightest = others.iter().filter_map(|other| other.brightest).max();
        })?;
        Ok(true)
    }

    /// Its pictures have changed: what was made of them is of other ones.
    fn changed(&self, store: &Store, change: impl FnOnce(&mut Now)) -> Result<()> {
        let all = |now: &mut Now| {
            change(now);
            (now.changes, now.looked) = (now.changes + 1, None);
        };
        if self.stage() != Stage::Collecting {
            return self.renew(store, all);
        }
        // The store knows all that it keeps of a line whose pictures come in.
        all(&mut self.now());
        Ok(())
    }

    /// Where a picture lies.
    pub(crate) fn path(&self, picture: &GoodRow) -> PathBuf {
        self.good().join(file_name(picture))
    }

    /// One of them, brought to a size.
    pub(crate) fn drawn(&self, picture: &GoodRow, size: Size) -> Result<RgbImage> {
        let loaded = self
            .reader()
            .load(&self.path(picture), Fit::Resized(size))
            .map_err(riad::Error::from)?;
        Ok(drawn(loaded.image.values(), size)?)
    }

    /// The pictures that a person should look at before anything is learned from them. Looking takes a while, and is done once.
    pub(crate) fn suspects(&self, store: &Store) -> Result<Looked> {
        let _one = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = {
            let now = self.now();
            if let Some(looked) = now.looked.clone() {
                return Ok(looked);
            }
            now.changes
        };
        let pictures = store.good(&self.name)?;
        let images = pictures
            .iter()
            .map(|picture| (self.path(picture), file_name(picture)))
            .collect();
        let lines = quietly(|| {
            let suspects = Suspects::among(images, &self.reader());
            let lines = suspects.lines().map(|(name, reasons)| (name.to_owned(), reasons));
            lines.collect()
        })?;
        let looked: Looked = Arc::new(named(&pictures, lines));
        let mut now = self.now();
        // They may have changed meanwhile.
        if now.changes == changes {
            now.looked = Some(looked.clone());
        }
        Ok(looked)
    }

    /// Puts aside what has no row, and forgets rows of what is not there: a kill came between the two, a person did, or an older database
    /// was put back. Whether there was any.
    pub(super) fn sweep(&self, store: &Store) -> Result<bool> {
        let mut has_changed = false;
        let good = self.good();
        fs::create_dir_all(&good).map_err(Error::file("make", &good))?;
        let mut known = HashSet::new();
        for picture in store.good(&self.name)? {
            if self.path(&picture).is_file() {
                known.insert(file_name(&picture));
                continue;
            }
            tracing::warn!(
                "line {}: the good picture {} is not there any more",
                self.name,
                picture.name
            );
            store.forget_good(&self.name, picture.number)?;
            has_changed = true;
            let mut now = self.now();
            (now.changes, now.looked) = (now.changes + 1, None);
            now.pictures = now.pictures.saturating_sub(1);
            now.bytes = now.bytes.saturating_sub(picture.bytes);
        }
        let entries = fs::read_dir(&good).map_err(Error::file("read", &good))?;
        let mut strays = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::file("read", &good))?;
            if !known.contains(entry.file_name().to_string_lossy().as_ref()) {
                strays.push(entry);
            }
        }
        if strays.is_empty() {
            return Ok(has_changed);
        }
        let target = lost(store)?.join(format!("good-{}-{}", self.name, to_millis(SystemTime::now())));
        fs::create_dir_all(&target).map_err(Error::file("make", &target))?;
        for stray in &strays {
            let from = stray.path();
            fs::rename(&from, target.join(stray.file_name())).map_err(Error::file("move", from))?;
        }
        tracing::warn!(
            "line {}: {} good pictures have no row in the store; they were put into {}",
            self.name,
            strays.len(),
            target.display()
        );
        Ok(true)
    }
}

/// Suspects by the names of their files, as their sender knows them.
pub(super) fn named(pictures: &[GoodRow], lines: Vec<(String, String)>) -> Vec<Suspect> {
    let by_file: HashMap<_, _> = pictures.iter().map(|picture| (file_name(picture), picture)).collect();
    let in_words = |reason: &str| {
        // A reason may name another picture.
        let words = reason.split(' ').map(|word| {
            let file = word.trim_end_matches([':', ';', ',']);
            match by_file.get(file) {
                Some(picture) => format!("{}{}", picture.name, &word[file.len()..]),
                None => word.to_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let found = lines.iter().filter_map(|(file, reason)| {
        let picture = by_file.get(file)?;
        Some(Suspect {
            id: picture.number,
            name: picture.name.clone(),
            reason: in_words(reason),
        })
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|suspect| suspect.id);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_have_the_names_that_people_know() {
        let picture = |number, name: &str, sha256: &str| GoodRow {
            number,
            name: name.to_owned(),
            sha256: sha256.to_owned(),
            bytes: 1,
            width: 1,
            height: 1,
            brightest: None,
        };
        let pictures = [picture(3, "a b.png", "aa"), picture(4, "c.png", "bb")];
        let lines = vec![("bb.png".to_owned(), "hardly differs from aa.png: a copy?".to_owned())];
        let found = named(&pictures, lines);
        assert_eq!((found[0].id, found[0].name.as_str()), (4, "c.png"));
        assert_eq!(found[0].reason, "hardly differs from a b.png: a copy?");
    }
}
