//! The maps of images as files: pictures for people, numbers for programs.

use std::{
    collections::{HashMap, HashSet},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result};
use image::RgbImage;
use riad_core::{Map, Size};
use riad_data::{Fit, LoadedImage};

use crate::{
    args::{MapArgs, MapFormat},
    calibration::Threshold,
    files::{resolved, with_suffix, write_whole},
    picture::{Plane, Scale, drawn, outline_found, save},
    raw_map,
    scoring::Model,
    usage,
};

/// Where maps go, and as what.
pub(crate) struct Maps {
    folder: PathBuf,
    format: MapFormat,
    scale: Scale,
}

impl Maps {
    /// What was asked for, if any maps were.
    ///
    /// # Errors
    /// Blames the arguments if the scale is none.
    pub(crate) fn new(args: &MapArgs) -> Result<Option<Self>> {
        let scale = Scale::up_to(args.map_scale).ok_or_else(|| usage("--map-scale must be above 0"))?;
        let maps = |folder: &PathBuf| Self {
            folder: folder.clone(),
            format: args.map_format,
            scale,
        };
        Ok(args.maps.as_ref().map(maps))
    }

    /// Writes the map of an image to `target` with the endings of what is written; returns when it is whole and on the disk.
    /// With a threshold the overlay has a line around what is above it.
    pub(crate) fn write(
        &self,
        target: &Path,
        model: &Model,
        (path, loaded): (&Path, &LoadedImage),
        map: Map,
        threshold: Option<&Threshold>,
    ) -> Result<()> {
        let map = Plane::new(map)?;
        match self.format {
            MapFormat::Png => draw(target, &picture(model, path, loaded)?, &map, &self.scale, threshold),
            MapFormat::Tiff => {
                let map = at_original_size(&map, loaded)?;
                write_whole(&with_suffix(target, ".tiff"), &raw_map::tiff(&map)?)
            }
            MapFormat::Npy => write_whole(&with_suffix(target, ".npy"), &raw_map::npy(&map)?),
        }
    }

    /// Where the map of each file goes: below the maps' folder as the file lies below the folder that all `roots` share.
    ///
    /// # Errors
    /// Blames the arguments if maps would lie where images are looked for.
    pub(crate) fn beside(&self, roots: &[PathBuf], files: &[PathBuf]) -> Result<HashMap<PathBuf, PathBuf>> {
        targets(&self.folder, roots, files)
    }

    /// Where the map of each of the `files` below `root` goes: below the maps' folder as the file lies below that one.
    pub(crate) fn below<'a>(&self, root: &Path, files: impl Iterator<Item = &'a Path>) -> HashMap<PathBuf, PathBuf> {
        let place = |file: &'a Path| {
            let parent = file.parent().unwrap_or(Path::new(""));
            let below = parent.strip_prefix(root).unwrap_or(Path::new(""));
            (file.to_owned(), self.folder.join(below))
        };
        named(files.map(place).collect())
    }
}

/// `map` at the size of the file that the image came from.
fn at_original_size(map: &Plane, loaded: &LoadedImage) -> Result<Plane> {
    let Size { height, width } = loaded.original_size;
    Ok(map.resized(u32::try_from(width)?, u32::try_from(height)?))
}

/// The picture of an image at the size that its file has.
fn picture(model: &Model, path: &Path, loaded: &LoadedImage) -> Result<RgbImage> {
    if loaded.image.size() == loaded.original_size {
        return drawn(loaded.image.values(), loaded.original_size);
    }
    let original = model.reader().load(path, Fit::Own)?.image;
    drawn(original.values(), original.size())
}

/// Writes an image's heat map and overlay, at the size of its picture. With a threshold the overlay has a line around what is
/// above it.
fn draw(target: &Path, original: &RgbImage, map: &Plane, scale: &Scale, threshold: Option<&Threshold>) -> Result<()> {
    let map = map.resized(original.width(), original.height());
    save(&scale.heat(&map), &with_suffix(target, ".heat.png"))?;
    let mut overlay = scale.overlay(original, &map);
    if let Some(threshold) = threshold {
        outline_found(&mut overlay, |x, y| map.at(x, y) > threshold.value);
    }
    save(&overlay, &with_suffix(target, ".overlay.png"))
}

/// See [`Maps::beside`].
fn targets(folder: &Path, roots: &[PathBuf], files: &[PathBuf]) -> Result<HashMap<PathBuf, PathBuf>> {
    let absolute = |folder: &Path| {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        folder
            .canonicalize()
            .with_context(|| format!("cannot access {}", folder.display()))
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
            return Err(usage(format!(
                "maps in {} would lie among the images to score in {}, and be taken for images the next time; choose a \
                 folder beside it with --maps",
                folder.display(),
                root.display()
            )));
        }
    }
    Ok(targets)
}

/// What the maps of each file are called, given the folder that they go to: its name without the ending, or with it where
/// two differ in that alone.
fn named(places: HashMap<PathBuf, PathBuf>) -> HashMap<PathBuf, PathBuf> {
    let stem = |file: &Path, place: &Path| place.join(file.file_stem().unwrap_or_default());
    let mut uses: HashMap<PathBuf, usize> = HashMap::new();
    for (file, place) in &places {
        *uses.entry(stem(file, place)).or_default() += 1;
    }
    let target = |(file, place): (PathBuf, PathBuf)| {
        let stem = stem(&file, &place);
        let is_alone = uses.get(&stem) == Some(&1);
        let target = if is_alone {
            stem
        } else {
            place.join(file.file_name().unwrap_or_default())
        };
        (file, target)
    };
    places.into_iter().map(target).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn pictures_lie_as_their_images_do() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for file in ["a/x/1.png", "a/x/1.jpg", "a/2.png", "b/x/1.png", "c.png"] {
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
