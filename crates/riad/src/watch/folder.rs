//! The images in the watched folder, and whether they are complete.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use riad_data::{DataError, Pattern, walk_images};

use crate::{Error, Event, Observer, files::resolved, names::relative};

/// So many times as long as images take to settle, one may keep changing before a watch that is to end waits for it no more.
const PATIENCE: u32 = 100;

/// The identity of an image: name, size and time of change. A hash of the content would notice more changes, but then
/// every start would read every image again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Identity {
    /// Path below the watched folder, written by [`relative`], so no two files have the same. If several files make an
    /// image, the path of the first.
    pub path: String,
    /// Size of all its files together, in bytes.
    pub size: u64,
    /// When the last of its files changed, from 1970 to 9999, because only such times can be written. Other times
    /// become the nearest of these. If there are several files, the fraction of the second is made from the times of
    /// all.
    pub modified: SystemTime,
}

impl fmt::Display for Identity {
    /// Path, size and time of change, as one name that no other image has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, size, modified } = self;
        write!(f, "{path} {size} {}", humantime::format_rfc3339_nanos(*modified))
    }
}

/// An image in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// The first of its files. It names the image.
    pub file: PathBuf,
    /// All of its files, in the order of their channels.
    pub files: Vec<PathBuf>,
    /// The first of its files that is missing.
    pub missing: Option<PathBuf>,
    /// Its identity.
    pub identity: Identity,
}

impl Image {
    /// The image that a file is, or that it belongs to with others.
    pub(super) fn of(file: PathBuf, bands: Option<&Pattern>, root: &Path) -> Result<Self, DataError> {
        let files = match bands {
            None => vec![file.clone()],
            Some(bands) => bands.files(&file)?,
        };
        let first = files.first().unwrap_or(&file).clone();
        let mut missing = None;
        let (mut size, mut modified) = (0, SystemTime::UNIX_EPOCH);
        let mut times = 0u64;
        for part in &files {
            match fs::metadata(part).and_then(|metadata| Ok((metadata.len(), metadata.modified()?))) {
                Ok((bytes, time)) => {
                    (size, modified) = (size + bytes, modified.max(time));
                    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                    // A multiplicative hash: whole seconds must show in the fraction as well.
                    times = (times ^ since.as_nanos() as u64)
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                        .rotate_left(31);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && *part != file => {
                    missing = missing.or(Some(part.clone()));
                }
                Err(cause) => return Err(DataError::io(part, cause)),
            }
        }
        let last = SystemTime::UNIX_EPOCH + Duration::new(253_402_300_799, 999_999_999);
        if files.len() > 1 {
            // Any of the files may be replaced by one of the same size and an older time.
            let fraction = (times % 1_000_000_000) as u32;
            modified = SystemTime::UNIX_EPOCH + Duration::new(whole_seconds(modified), fraction);
        }
        let identity = Identity {
            path: relative(&first, root),
            size,
            modified: modified.min(last),
        };
        Ok(Self {
            file: first,
            files,
            missing,
            identity,
        })
    }
}

/// Whole seconds since 1970.
pub(super) fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// A folder under watch.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Which files make one image together.
    bands: Option<Pattern>,
    settle: Duration,
    /// When each image that is there now was first seen as it is now.
    since: HashMap<Identity, Instant>,
    /// Since when each image that has not settled keeps changing.
    changing: HashMap<PathBuf, Instant>,
    /// Where results are written, as it is called and without links.
    results: Vec<(PathBuf, PathBuf)>,
    /// What went wrong when the folder was last looked at, so that it is told once.
    troubles: HashSet<String>,
}

impl Folder {
    /// Looks at `root` and its subfolders. An image is complete if it has not changed for the time `settle`. With
    /// `bands`, several files make one image together.
    pub fn new(root: PathBuf, bands: Option<Pattern>, settle: Duration) -> Self {
        Self {
            root,
            bands,
            settle,
            since: HashMap::new(),
            changing: HashMap::new(),
            results: Vec::new(),
            troubles: HashSet::new(),
        }
    }

    /// Passes over what a link makes of these folders, with words: results would come in again.
    pub(super) fn apart_from(mut self, results: Vec<PathBuf>) -> Self {
        let with_place = |folder: PathBuf| {
            let place = resolved(&folder);
            (folder, place)
        };
        self.results = results.into_iter().map(with_place).collect();
        self
    }

    /// The link that makes a result of a file, and the folder that it leads into.
    fn to_results(&self, file: &Path) -> Option<Error> {
        if self.results.is_empty() {
            return None;
        }
        // A folder is named once, and not each of its files.
        [file.parent()?, file].into_iter().find_map(|link| {
            let place = link.canonicalize().ok()?;
            let (folder, _) = self.results.iter().find(|(_, results)| place.starts_with(results))?;
            Some(Error::LinkToResults {
                link: link.to_owned(),
                folder: folder.clone(),
            })
        })
    }

    /// Lists the complete images, the oldest first. If a folder cannot be listed, the observer gets one event, and the
    /// next call tries again: a network share may come back.
    pub fn settled(&mut self, now: Instant, observer: &dyn Observer) -> Vec<Image> {
        let (mut since, mut troubles) = (HashMap::new(), HashSet::new());
        let (mut settled, mut seen, mut changing) = (Vec::new(), HashSet::new(), HashMap::new());
        let mut trouble = |error: Error| {
            let told = error.to_string();
            if troubles.insert(told.clone()) && !self.troubles.contains(&told) {
                observer.event(&Event::Fault(&error));
            }
        };
        for found in walk_images(&self.root) {
            match found.and_then(|file| Image::of(file, self.bands.as_ref(), &self.root)) {
                // Another of its files was found before.
                Ok(image) if !seen.insert(image.file.clone()) => {}
                Ok(image) => {
                    let known = self.since.get(&image.identity).copied();
                    if known.is_none()
                        && let Some(error) = self.to_results(&image.file)
                    {
                        trouble(error);
                        continue;
                    }
                    let first = known.unwrap_or(now);
                    since.insert(image.identity.clone(), first);
                    if now.duration_since(first) >= self.settle {
                        settled.push(image);
                    } else {
                        let began = self.changing.get(&image.file).copied().unwrap_or(now);
                        changing.insert(image.file, began);
                    }
                }
                // It was taken away while we looked.
                Err(DataError::Io { path, cause }) if cause.kind() == io::ErrorKind::NotFound && path != self.root => {}
                Err(error) => trouble(error.into()),
            }
        }
        (self.since, self.changing, self.troubles) = (since, changing, troubles);
        settled.sort_by(|a, b| {
            let (a, b) = (&a.identity, &b.identity);
            (a.modified, &a.path).cmp(&(b.modified, &b.path))
        });
        settled
    }

    /// The images that were there at the last look, `now`, and have kept changing for longer than they are waited for.
    pub(super) fn restless(&self, now: Instant) -> Vec<&Path> {
        let most = self.settle.saturating_mul(PATIENCE);
        let long = self
            .changing
            .iter()
            .filter(|(_, began)| now.duration_since(**began) >= most);
        let mut files: Vec<_> = long.map(|(file, _)| file.as_path()).collect();
        files.sort_unstable();
        files
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All images that were there at the last look, settled or not.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &Identity> {
        self.since.keys()
    }

    /// Whether an image was there at the last look.
    pub fn lists(&self, identity: &Identity) -> bool {
        self.since.contains_key(identity)
    }

    /// Whether a folder could not be listed at the last look.
    pub fn has_troubles(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// Checks that no program has a file of an image open for writing. Only Windows can tell. Some programs first make a file
    /// at its full size and then fill it: its size does not change, and its time of change does so only later.
    ///
    /// # Errors
    /// [`DataError::Io`] if a program has one open.
    pub fn check_written(&self, image: &Image) -> crate::Result<()> {
        for file in &image.files {
            if let Some(cause) = writer(file) {
                return Err(DataError::io(file, cause).into());
            }
        }
        Ok(())
    }

    /// Whether an image has not changed since it was listed.
    pub fn still_has(&self, image: &Image) -> bool {
        // One that lacks a file is looked for by one that it has.
        let mut files = image.files.iter();
        let now = files.find_map(|file| Image::of(file.clone(), self.bands.as_ref(), &self.root).ok());
        now.is_some_and(|now| now == *image)
    }
}

/// What Windows says if another program has a file open to write to it.
#[cfg(windows)]
fn writer(file: &Path) -> Option<io::Error> {
    use std::os::windows::fs::OpenOptionsExt;
    const SHARE_READ: u32 = 1;
    const SHARE_DELETE: u32 = 4;
    const SHARING_VIOLATION: i32 = 32;
    // Opened so that nobody may write meanwhile, which is refused if somebody does. It is closed at once.
    let opened = fs::File::options()
        .read(true)
        .share_mode(SHARE_READ | SHARE_DELETE)
        .open(file);
    opened
        .err()
        .filter(|error| error.raw_os_error() == Some(SHARING_VIOLATION))
}

#[cfg(not(windows))]
fn writer(_: &Path) -> Option<io::Error> {
    None
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn an_image_is_complete_when_it_has_not_changed_for_a_while() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let mut folder = Folder::new(root.path().to_owned(), None, Duration::from_secs(2));
        let start = Instant::now();
        let mut names = |seconds| -> Vec<String> {
            let images = folder.settled(start + Duration::from_secs(seconds), &());
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

    #[cfg(windows)]
    #[test]
    fn an_image_that_somebody_writes_to_is_not_complete() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.png");
        let writer = File::create(&file).unwrap();
        writer.set_len(1000).unwrap();
        let mut folder = Folder::new(root.path().to_owned(), None, Duration::ZERO);
        let images = folder.settled(Instant::now(), &());
        let error = folder.check_written(&images[0]).unwrap_err();
        assert_eq!(error.path(), Some(file.as_path()), "{error}");
        drop(writer);
        // Others may read.
        let _reader = File::open(&file).unwrap();
        folder.check_written(&images[0]).unwrap();
        assert!(folder.still_has(&images[0]));
    }

    /// One that is as it was for the time to settle is waited for anew when it changes again.
    #[test]
    fn an_image_that_keeps_changing_is_told_from_one_that_settles() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.png");
        let mut folder = Folder::new(root.path().to_owned(), None, Duration::from_secs(2));
        let start = Instant::now();
        let mut look = |seconds, bytes| {
            fs::write(&file, vec![0; bytes]).unwrap();
            File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH)
                .unwrap();
            let now = start + Duration::from_secs(seconds);
            let settled = folder.settled(now, &()).len();
            (settled, folder.restless(now).len())
        };
        for second in 0..200 {
            assert_eq!(look(second, 1 + second as usize), (0, 0), "second {second}");
        }
        assert_eq!(look(200, 1000), (0, 1));
        assert_eq!(look(201, 1000), (0, 1));
        assert_eq!(look(202, 1000), (1, 0));
        assert_eq!(look(203, 1001), (0, 0));
    }

    #[cfg(unix)]
    #[test]
    fn links_to_results_are_passed_over_and_named() {
        use std::{os::unix::fs::symlink, sync::Mutex};

        struct Faults(Mutex<Vec<String>>);
        impl Observer for Faults {
            fn event(&self, event: &Event<'_>) {
                if let Event::Fault(error) = event {
                    self.0.lock().unwrap().push(error.to_string());
                }
            }
        }
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        for folder in ["inbox", "rejects/deep", "elsewhere"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["inbox/a.png", "rejects/b.png", "rejects/deep/c.png", "elsewhere/d.png"] {
            fs::write(at(file), "").unwrap();
        }
        symlink(at("rejects"), at("inbox/link")).unwrap();
        symlink(at("rejects/b.png"), at("inbox/b.png")).unwrap();
        symlink(at("elsewhere"), at("inbox/other")).unwrap();
        let faults = Faults(Mutex::default());
        let mut folder = Folder::new(at("inbox"), None, Duration::ZERO).apart_from(vec![at("rejects")]);
        for _ in 0..2 {
            let found = folder.settled(Instant::now(), &faults);
            let mut names: Vec<_> = found.into_iter().map(|image| image.identity.path).collect();
            names.sort();
            assert_eq!(names, ["a.png", "other/d.png"]);
            assert!(folder.has_troubles());
        }
        let told = faults.0.into_inner().unwrap();
        assert_eq!(told.len(), 3, "{told:?}");
        for link in ["inbox/link", "inbox/link/deep", "inbox/b.png"] {
            let named = format!("{} leads into {}", at(link).display(), at("rejects").display());
            assert!(told.iter().any(|fault| fault.starts_with(&named)), "{link}: {told:?}");
        }
    }

    #[test]
    fn times_that_cannot_be_written_down_become_the_nearest_that_can() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("old.png");
        let old = SystemTime::UNIX_EPOCH - Duration::from_secs(86_400);
        File::create(&file).unwrap().set_modified(old).unwrap();
        let image = Image::of(file, None, root.path()).unwrap();
        assert_eq!(image.identity.modified, SystemTime::UNIX_EPOCH);
    }

    /// By one of the same size and an older time, as copies that keep their time are.
    #[test]
    fn any_file_of_an_image_that_is_replaced_makes_it_another() {
        let root = tempfile::tempdir().unwrap();
        let bands: Pattern = "*_{0,1}.png".parse().unwrap();
        let path = |name: &str| root.path().join(name);
        let touch = |name: &str, seconds: u64| {
            let file = File::create(path(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
                .unwrap();
        };
        let identity = || Image::of(path("a_0.png"), Some(&bands), root.path()).unwrap().identity;
        touch("a_0.png", 500);
        touch("a_1.png", 900);
        let before = identity();
        assert_eq!(identity(), before);
        touch("a_0.png", 400);
        let replaced = identity();
        assert_ne!(replaced, before);
        // Two that change places are others too.
        touch("a_0.png", 900);
        touch("a_1.png", 500);
        assert_ne!(identity(), before);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_that_cannot_be_looked_at_is_named() {
        let root = tempfile::tempdir().unwrap();
        let bands: Pattern = "*_{0,1}.png".parse().unwrap();
        let [first, other] = ["a_0.png", "a_1.png"].map(|name| root.path().join(name));
        File::create(&first).unwrap();
        // A link that leads to itself is there, and cannot be followed.
        std::os::unix::fs::symlink(&other, &other).unwrap();
        let error = Image::of(first, Some(&bands), root.path()).unwrap_err();
        assert_eq!(error.path(), Some(other.as_path()), "{error}");
    }
}
