//! What lies in the watched folder, and which of it is complete.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use riad_data::{DataError, walk_images};
use tracing::warn;

use crate::files::relative;

/// What makes two images the same: name, size and time of change. A hash of the content would tell more, but reading every
/// image again on every start is what nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    /// Path below the watched folder with forward slashes. A name that is not UTF-8 is approximated.
    pub(super) path: String,
    /// In bytes.
    pub(super) size: u64,
    /// From 1970 to 9999, as it can be written down; other times become the nearest of these.
    pub(super) modified: SystemTime,
}

/// An image that lies in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) file: PathBuf,
    pub(super) identity: Identity,
}

impl Image {
    fn at(file: PathBuf, root: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(&file)?;
        let last = SystemTime::UNIX_EPOCH + Duration::new(253_402_300_799, 999_999_999);
        let identity = Identity {
            path: relative(&file, root),
            size: metadata.len(),
            modified: metadata.modified()?.clamp(SystemTime::UNIX_EPOCH, last),
        };
        Ok(Self { file, identity })
    }
}

/// A folder under watch.
pub(super) struct Folder {
    root: PathBuf,
    settle: Duration,
    /// When each image that is there now was first seen as it is now.
    since: HashMap<Identity, Instant>,
    /// What went wrong when the folder was last looked at, so that it is told once.
    troubles: HashSet<String>,
}

impl Folder {
    pub(super) fn new(root: PathBuf, settle: Duration) -> Self {
        Self {
            root,
            settle,
            since: HashMap::new(),
            troubles: HashSet::new(),
        }
    }

    /// Lists the images that have not changed for the time that they take to settle, the oldest first. What cannot be
    /// listed is told when that begins, and looked for again the next time: a network share may come back.
    pub(super) fn complete(&mut self, now: Instant) -> Vec<Image> {
        let (mut since, mut troubles) = (HashMap::new(), HashSet::new());
        let mut complete = Vec::new();
        for found in walk_images(&self.root) {
            let image = found.and_then(|file| {
                let path = file.clone();
                Image::at(file, &self.root).map_err(|cause| DataError::Io { path, cause })
            });
            match image {
                // Lines end where a line break is.
                Ok(image) if image.identity.path.contains(['\n', '\r']) => {
                    troubles.insert(format!("{:?} has a line break in its name; rename it", image.file));
                }
                Ok(image) => {
                    let first = self.since.get(&image.identity).copied().unwrap_or(now);
                    since.insert(image.identity.clone(), first);
                    if now.duration_since(first) >= self.settle {
                        complete.push(image);
                    }
                }
                // It was taken away while we looked.
                Err(DataError::Io { path, cause }) if cause.kind() == io::ErrorKind::NotFound && path != self.root => {}
                Err(error) => {
                    troubles.insert(error.to_string());
                }
            }
        }
        for trouble in troubles.difference(&self.troubles) {
            warn!("{trouble}");
        }
        (self.since, self.troubles) = (since, troubles);
        complete.sort_by(|a, b| {
            let order = |image: &Image| (image.identity.modified, image.identity.path.clone());
            order(a).cmp(&order(b))
        });
        complete
    }

    /// Whether an image is still what it was when it was listed.
    pub(super) fn still_has(&self, image: &Image) -> bool {
        Image::at(image.file.clone(), &self.root).is_ok_and(|now| now == *image)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn an_image_is_complete_when_it_has_not_changed_for_a_while() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let mut folder = Folder::new(root.path().to_owned(), Duration::from_secs(2));
        let start = Instant::now();
        let mut names = |seconds| -> Vec<String> {
            let images = folder.complete(start + Duration::from_secs(seconds));
            images.into_iter().map(|image| image.identity.path).collect()
        };
        let touch = |name: &str, seconds| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::options()
                .write(true)
                .open(path(name))
                .unwrap()
                .set_modified(time)
                .unwrap();
        };

        fs::create_dir(path("b")).unwrap();
        fs::write(path("b/grows.png"), "12").unwrap();
        fs::write(path("a.png"), "12").unwrap();
        fs::write(path("a.png.part"), "12").unwrap();
        fs::write(path(".hidden.png"), "12").unwrap();
        touch("b/grows.png", 1);
        touch("a.png", 2);
        assert!(names(0).is_empty());
        assert!(names(1).is_empty());
        fs::write(path("b/grows.png"), "123").unwrap();
        touch("b/grows.png", 1);
        assert_eq!(names(2), ["a.png"]);
        assert_eq!(names(3), ["a.png"]);
        assert_eq!(names(4), ["b/grows.png", "a.png"], "the oldest is first");

        // Of the same size, but of another time.
        touch("a.png", 3);
        assert_eq!(names(5), ["b/grows.png"]);
        assert_eq!(names(7), ["b/grows.png", "a.png"]);
        // Gone and back: it settles anew.
        fs::rename(path("a.png"), path("a")).unwrap();
        assert_eq!(names(8), ["b/grows.png"]);
        fs::rename(path("a"), path("a.png")).unwrap();
        assert_eq!(names(9), ["b/grows.png"]);
        assert_eq!(names(11), ["b/grows.png", "a.png"]);
    }

    #[test]
    fn times_that_cannot_be_written_down_become_the_nearest_that_can() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("old.png");
        let old = SystemTime::UNIX_EPOCH - Duration::from_secs(86_400);
        File::create(&file).unwrap().set_modified(old).unwrap();
        let image = Image::at(file, root.path()).unwrap();
        assert_eq!(image.identity.modified, SystemTime::UNIX_EPOCH);
    }
}
