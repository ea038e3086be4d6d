//! The maps of images as files: pictures for people, numbers for programs.

use std::{
    collections::{HashMap, HashSet},
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use crate::{
    Error, Inspection, Result, Threshold,
    files::{resolved, with_suffix, write_whole},
    names::one_of,
    render::{Plane, Scale, outline_found, raw, save, size_of},
};

/// The format of an image's map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapFormat {
    /// Pictures, `<name>.heat.png` and `<name>.overlay.png`.
    #[default]
    Png,
    /// `<name>.tiff`, 32-bit floats at the image's own size.
    Tiff,
    /// `<name>.npy`, 32-bit floats at the network's size. Their maximum is the score.
    Npy,
}

impl MapFormat {
    /// All formats.
    pub const ALL: &[Self] = &[Self::Png, Self::Tiff, Self::Npy];

    /// `png`, `tiff` or `npy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Tiff => "tiff",
            Self::Npy => "npy",
        }
    }

    /// What is written for an image, in words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Png => {
                "<name>.heat.png and <name>.overlay.png. With a threshold the overlay has a line around the parts above it"
            }
            Self::Tiff => "<name>.tiff, 32-bit floats at the image's own size",
            Self::Npy => "<name>.npy, 32-bit floats at the network's size. Their maximum is the score",
        }
    }
}

impl FromStr for MapFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        one_of("format of maps", Self::ALL, Self::name, name)
    }
}

/// The folder and the format of maps.
#[derive(Debug)]
pub struct Maps {
    folder: PathBuf,
    format: MapFormat,
    scale: Scale,
}

impl Maps {
    /// Maps go to `folder`. Pictures have the colours of `scale`.
    pub fn new(folder: impl Into<PathBuf>, format: MapFormat, scale: Scale) -> Self {
        Self {
            folder: folder.into(),
            format,
            scale,
        }
    }

    /// The folder of the maps.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes an image's map to `target`, with the format's ending. Returns when the file is whole and on the disk.
    /// With a threshold, the overlay has a line around the parts above it.
    ///
    /// # Errors
    /// If a file cannot be written, or the image can no longer be read.
    pub fn write(&self, target: &Path, found: &Inspection, threshold: Option<&Threshold>) -> Result<()> {
        match self.format {
            MapFormat::Npy => {
                let map = Plane::new(found.map().clone())?;
                write_whole(&with_suffix(target, ".npy"), &raw::npy(&map))
            }
            MapFormat::Tiff => {
                let map = Plane::new(found.map_at_original_size()?)?;
                write_whole(&with_suffix(target, ".tiff"), &raw::tiff(&map)?)
            }
            MapFormat::Png => {
                let picture = found.picture()?;
                let map = Plane::new(found.map().clone())?.resized(size_of(&picture))?;
                save(&self.scale.heat(&map), &with_suffix(target, ".heat.png"))?;
                let mut overlay = self.scale.overlay(&picture, &map)?;
                if let Some(threshold) = threshold {
                    outline_found(&mut overlay, |x, y| map.at(x, y) > threshold.value());
                }
                save(&overlay, &with_suffix(target, ".overlay.png"))
            }
        }
    }

    /// Where the map of each file goes. The path below the maps' folder is the file's path below the common folder of
    /// all `roots`, without its ending. The ending stays if another of the `files` could have the same path.
    ///
    /// # Errors
    /// [`Error::Inside`] if maps would lie in a folder where images are looked for, or images lie where maps go.
    pub fn beside(&self, roots: &[PathBuf], files: &[PathBuf]) -> Result<HashMap<PathBuf, PathBuf>> {
        targets(&self.folder, roots, files)
    }

    /// Where the map of a `file` below `root` goes. The path below the maps' folder is the file's path below `root`, with its ending:
    /// which other files come there later is not known.
    pub fn below(&self, root: &Path, file: &Path) -> PathBuf {
        let name = Path::new(file.file_name().unwrap_or_default());
        self.folder.join(file.strip_prefix(root).unwrap_or(name))
    }
}

/// See [`Maps::beside`].
fn targets(folder: &Path, roots: &[PathBuf], files: &[PathBuf]) -> Result<HashMap<PathBuf, PathBuf>> {
    let absolute = |folder: &Path| {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        folder.canonicalize().map_err(Error::file("access", folder))
    };
    // Paths that do not exist were reported before.
    let folders = roots
        .iter()
        .filter(|root| root.exists())
        .map(|root| match root.parent() {
            Some(parent) if !root.is_dir() => absolute(parent),
            _ => absolute(root),
        });
    let mut shared: Option<PathBuf> = None;
    for folder in folders {
        let folder = folder?;
        shared = Some(match shared {
            Some(shared) => shared
                .components()
                .zip(folder.components())
                .take_while(|(a, b)| a == b)
                .map(|(a, _)| a)
                .collect(),
            None => folder,
        });
    }
    let shared = shared.unwrap_or_default();

    let mut places: HashMap<PathBuf, PathBuf> = HashMap::new();
    for file in files {
        let parent = absolute(file.parent().unwrap_or(Path::new("")))?;
        let below = parent.strip_prefix(&shared).unwrap_or(&parent);
        let below: PathBuf = below
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        places.insert(file.clone(), folder.join(below));
    }
    let targets = named(places);
    let places: HashSet<_> = targets.values().filter_map(|target| target.parent()).collect();
    for root in roots.iter().filter(|root| root.is_dir()) {
        let inside = resolved(root);
        if places.iter().any(|place| resolved(place).starts_with(&inside)) {
            return Err(Error::Inside {
                out: folder.to_owned(),
                data: root.clone(),
            });
        }
    }
    // Single files that are named, and files behind links, lie below none of these folders.
    let maps = resolved(folder);
    let parents: HashSet<_> = files.iter().filter_map(|file| file.parent()).collect();
    match parents.into_iter().find(|parent| resolved(parent).starts_with(&maps)) {
        None => Ok(targets),
        Some(parent) => Err(Error::Inside {
            out: folder.to_owned(),
            data: parent.to_owned(),
        }),
    }
}

/// What the maps of each file are called, given the folder that they go to: its name without the ending, or with it if
/// another one has that name, with its ending or without.
fn named(places: HashMap<PathBuf, PathBuf>) -> HashMap<PathBuf, PathBuf> {
    let stem = |file: &Path, place: &Path| place.join(file.file_stem().unwrap_or_default());
    let whole = |file: &Path, place: &Path| place.join(file.file_name().unwrap_or_default());
    let mut uses: HashMap<PathBuf, usize> = HashMap::new();
    for (file, place) in &places {
        let (stem, whole) = (stem(file, place), whole(file, place));
        // A name without an ending is both, and that of one file.
        if stem != whole {
            *uses.entry(whole).or_default() += 1;
        }
        *uses.entry(stem).or_default() += 1;
    }
    let target = |(file, place): (PathBuf, PathBuf)| {
        let (stem, whole) = (stem(&file, &place), whole(&file, &place));
        let is_alone = uses.get(&stem) == Some(&1);
        (file, if is_alone { stem } else { whole })
    };
    places.into_iter().map(target).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_that_come_one_after_the_other_have_maps_of_their_own() {
        let maps = Maps::new("maps", MapFormat::Npy, Scale::up_to(1.0).unwrap());
        let below = |file: &str| maps.below(Path::new("inbox"), Path::new(file));
        assert_eq!(below("inbox/x/1.png"), Path::new("maps/x/1.png"));
        assert_eq!(below("inbox/x/1.jpg"), Path::new("maps/x/1.jpg"));
        assert_eq!(below("inbox/1.png.bmp"), Path::new("maps/1.png.bmp"));
    }

    #[test]
    fn pictures_lie_as_their_images_do() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for file in [
            "a/x/1.png",
            "a/x/1.jpg",
            "a/x/1.png.bmp",
            "a/2.png",
            "b/x/1.png",
            "c.png",
        ] {
            fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            fs::write(at(file), "").unwrap();
        }
        let targets = |roots: &[&str], files: &[&str]| {
            let paths = |paths: &[&str]| paths.iter().map(|path| at(path)).collect::<Vec<_>>();
            let found = targets(Path::new("maps"), &paths(roots), &paths(files)).unwrap();
            files
                .iter()
                .map(|file| found[&at(file)].to_string_lossy().replace('\\', "/"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            targets(&["a"], &["a/x/1.png", "a/x/1.jpg", "a/2.png"]),
            ["maps/x/1.png", "maps/x/1.jpg", "maps/2"]
        );
        assert_eq!(
            targets(&["a"], &["a/x/1.png", "a/x/1.jpg", "a/x/1.png.bmp", "a/2.png"]),
            ["maps/x/1.png", "maps/x/1.jpg", "maps/x/1.png.bmp", "maps/2"]
        );
        assert_eq!(
            targets(&["a", "b"], &["a/x/1.png", "b/x/1.png"]),
            ["maps/a/x/1", "maps/b/x/1"]
        );
        assert_eq!(targets(&["c.png", "c.png"], &["c.png", "c.png"]), ["maps/c", "maps/c"]);
        assert_eq!(
            targets(&["c.png", "b", "absent"], &["c.png", "b/x/1.png"]),
            ["maps/c", "maps/b/x/1"]
        );
    }
}
