//! Images to measure a model on: a data set's test images, the user's own pictures, or good ones with made-up defects.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use riad_data::{Category, DataError, Layout, MadeUp, Pattern, Reader, TestItem, image_files};
use riad_model::Header;

use super::synthetic;
use crate::{
    Error, Event, HeldOut, Observer, Result, Run,
    detector::{Compute, Detector},
    files::{image_digits, image_sha256},
    names::{plain, relative, written},
    settings::bands_of,
    source::header_faults,
};

/// What pictures with a defect are called that lie in no folder of a kind.
const BAD: &str = "bad";

/// Known good and bad pictures. Defects can be made up on the good ones.
///
/// ```
/// use riad::Sets;
///
/// let real = Sets::new().good("photos/ok").bad("photos/scratched").bad("photos/bent");
/// let made_up = Sets::new().good("photos/ok").synthetic(0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sets {
    /// Good pictures, and folders of good pictures with their subfolders.
    pub good: Vec<PathBuf>,
    /// Pictures with a defect, and folders of such pictures. The name of a subfolder is a kind of defect.
    pub bad: Vec<PathBuf>,
    /// The seed of defects that are made up on the good pictures. `None`: no defects are made up.
    pub synthetic: Option<u64>,
}

impl Sets {
    /// No pictures yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Good pictures: a file, or a folder with its subfolders.
    pub fn good(mut self, path: impl Into<PathBuf>) -> Self {
        self.good.push(path.into());
        self
    }

    /// Pictures with a defect: a file, or a folder. The name of a subfolder is a kind of defect.
    pub fn bad(mut self, path: impl Into<PathBuf>) -> Self {
        self.bad.push(path.into());
        self
    }

    /// Makes up defects on the good pictures. Without good pictures it uses those that the run held out.
    pub fn synthetic(mut self, seed: u64) -> Self {
        self.synthetic = Some(seed);
        self
    }

    /// Whether no picture is named.
    pub fn is_empty(&self) -> bool {
        self.good.is_empty() && self.bad.is_empty()
    }
}

/// The images to measure a model on.
#[derive(Debug)]
#[non_exhaustive]
pub struct TestSet {
    /// The name of the category, written by the rule of [`names`](crate::names).
    pub name: String,
    /// Its test images.
    pub category: Category,
    /// The defect that is made up on each test image. Empty if the images are measured unchanged.
    pub made_up: Vec<Option<MadeUp>>,
    /// A caution, if the numbers are not those of an independent test.
    pub caution: Option<String>,
    /// The seed of the made-up defects.
    pub seed: Option<u64>,
    /// Images that could not be read before the measurement. The observer got an event for each.
    pub faults: Vec<String>,
}

impl TestSet {
    /// A category's test images. The observer gets an event for each fault that the folder shows. With a `reader`, it
    /// also checks the headers of the files, and leaves out files that it cannot read. Do so before a training of
    /// hours.
    ///
    /// # Errors
    /// [`Error::NoTestImages`] if there are none.
    pub fn of_category(mut category: Category, reader: Option<&Reader>, observer: &dyn Observer) -> Result<Self> {
        if let Some(reader) = reader {
            let images: Vec<_> = category.test.iter().map(|item| item.path.clone()).collect();
            let faults = header_faults(&images, reader);
            let faulty: HashSet<_> = faults.iter().filter_map(DataError::path).collect();
            category.test.retain(|item| !faulty.contains(item.path.as_path()));
            category.test_faults.extend(faults);
        }
        let test = Self::of(category, observer);
        if test.category.test.is_empty() {
            return Err(Error::NoTestImages {
                root: test.category.root,
            });
        }
        Ok(test)
    }

    /// The test images of the category that a run learns from.
    ///
    /// # Errors
    /// [`Error::ImagesGone`] if its folder has changed. [`Error::NoTestImages`] if there are none.
    pub fn of_run(run: &Run, observer: &dyn Observer) -> Result<Self> {
        Self::of_category(category_of(run)?, None, observer)
    }

    /// The same. If there are none: the good images that the run held out, with a caution.
    ///
    /// # Errors
    /// [`Error::ImagesGone`] if the category's folder has changed. [`Error::NothingHeldOut`] if there are neither.
    pub fn of_run_or_held_out(run: &Run, observer: &dyn Observer) -> Result<Self> {
        let category = category_of(run)?;
        if !category.test.is_empty() {
            return Self::of_category(category, None, observer);
        }
        let test = Self::held_out(run, category, observer)?;
        if test.category.test.is_empty() {
            return Err(Error::NothingHeldOut {
                root: test.category.root,
                run: run.folder().to_owned(),
            });
        }
        Ok(test)
    }

    /// Images to compare runs on, one set for each run: the user's own pictures, or the test images of the runs'
    /// categories. All runs must have the same test images.
    ///
    /// # Errors
    /// [`Error::OtherTestImages`] names the first image that differs. Also as [`Self::of_sets`] or [`Self::of_run`].
    pub fn of_runs(runs: &[Run], sets: Option<&Sets>, compute: &Compute, observer: &dyn Observer) -> Result<Vec<Self>> {
        let test = |run: &Run| match sets {
            Some(sets) => Self::of_sets(run.folder(), sets, run.bands(), compute, observer),
            None => Self::of_run(run, observer),
        };
        let tests = runs.iter().map(test).collect::<Result<Vec<_>>>()?;
        check_same(runs, &tests)?;
        Ok(tests)
    }

    fn of(mut category: Category, observer: &dyn Observer) -> Self {
        let faults = std::mem::take(&mut category.test_faults).into_iter();
        Self {
            name: written(Path::new(&category.name)),
            made_up: Vec::new(),
            caution: None,
            seed: None,
            faults: faults.map(|fault| told(&fault.into(), observer)).collect(),
            category,
        }
    }

    /// The user's own pictures, for the model in `model`. `bands` says which files make one image together. `None`
    /// means the run's own. If a picture cannot be read, the observer gets an event, and the picture is left out.
    ///
    /// # Errors
    /// If good pictures are given and none can be read, or bad ones, or if a picture is called both good and bad.
    pub fn of_sets(
        model: &Path,
        sets: &Sets,
        bands: Option<&Pattern>,
        compute: &Compute,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let bands = bands_of(model, bands)?;
        match sets.synthetic {
            None => Self::of_pictures(model, sets, bands.as_ref(), observer),
            Some(seed) => {
                let detector = Detector::options().compute(compute.clone()).bands(bands).open(model)?;
                synthetic::test_set(model, &detector, sets, seed, observer)
            }
        }
    }

    pub(super) fn of_pictures(
        model: &Path,
        sets: &Sets,
        bands: Option<&Pattern>,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let mut faults = Vec::new();
        let pictures = [
            listed(&sets.good, true, bands, &mut faults, observer),
            listed(&sets.bad, false, bands, &mut faults, observer),
        ]
        .concat();
        let category = Category {
            name: name_of(model)?,
            root: common_folder(pictures.iter().map(|item| item.path.as_path())),
            layout: Layout::Folder,
            train: Vec::new(),
            validation: Vec::new(),
            test: Vec::new(),
            train_faults: Vec::new(),
            test_faults: Vec::new(),
        };
        let mut test = Self::of(category, observer);
        let sums: Vec<_> = pictures
            .par_iter()
            .map(|item| image_sha256(&item.path, bands))
            .collect();
        let mut read = Vec::with_capacity(pictures.len());
        for (item, sum) in pictures.into_iter().zip(sums) {
            match sum {
                Ok(sum) => read.push((item, sum)),
                Err(cause) => faults.push(told(&cause, observer)),
            }
        }
        let run = Run::of(model)?;
        test.caution = run.and_then(|run| learned_from(&run, &read));
        test.category.test = without_duplicates(read, observer)?;
        for (given, is_defective, what) in [(&sets.good, false, "good"), (&sets.bad, true, "bad")] {
            let mut left = test.category.test.iter();
            if !given.is_empty() && !left.any(|item| item.is_defective() == is_defective) {
                return Err(Error::request(format!("no {what} picture can be read")));
            }
        }
        test.faults = faults;
        Ok(test)
    }

    /// The good images that a run held out from training: those it was calibrated with, or else those it was validated with;
    /// possibly none.
    ///
    /// # Errors
    /// If the category's images are not those that the run was started with.
    pub(super) fn held_out(run: &Run, category: Category, observer: &dyn Observer) -> Result<Self> {
        let HeldOut { images, purpose } = run.held_out(&category)?;
        let caution = format!(
            "There are no test images. The report shows the {} good images that training held out for {purpose}. \
             They do not show how well defects are found.",
            images.len()
        );
        let mut test = Self {
            caution: Some(caution),
            ..Self::of(category, observer)
        };
        let good = |path| TestItem {
            path,
            defect: None,
            masks: Vec::new(),
        };
        test.category.test = images.into_iter().map(good).collect();
        Ok(test)
    }

    /// The images that set the threshold of a model with this header, as good ones. They are told apart by their
    /// files, so a picture that was saved again is another one.
    pub(super) fn calibrated_with(&self, header: &Header, bands: Option<&Pattern>) -> HashSet<&Path> {
        let known: HashSet<&str> = header.calibration_images.iter().map(String::as_str).collect();
        if known.is_empty() {
            return HashSet::new();
        }
        // What cannot be read is told when its turn comes.
        let is_known = |path: &&Path| image_digits(path, bands).is_ok_and(|digits| known.contains(digits.as_str()));
        let images: HashSet<&Path> = self.category.test.iter().map(|item| item.path.as_path()).collect();
        images.into_par_iter().filter(is_known).collect()
    }

    /// The files of the good images.
    pub(super) fn good(&self) -> impl Iterator<Item = &Path> {
        let good = self.category.test.iter().filter(|item| !item.is_defective());
        good.map(|item| item.path.as_path())
    }

    /// Each test image with its made-up defect.
    pub fn items(&self) -> impl Iterator<Item = (&TestItem, Option<MadeUp>)> {
        let made_up = self.made_up.iter().copied().chain(std::iter::repeat(None));
        self.category.test.iter().zip(made_up)
    }
}

/// The pictures in files and folders of one kind, and what is wrong with the folders.
fn listed(
    paths: &[PathBuf],
    are_good: bool,
    bands: Option<&Pattern>,
    faults: &mut Vec<String>,
    observer: &dyn Observer,
) -> Vec<TestItem> {
    let mut found = Vec::new();
    for path in paths {
        let files = image_files(path, bands);
        found.extend(files.images.into_iter().map(|image| TestItem {
            defect: (!are_good).then(|| kind(&image, path)),
            path: image,
            masks: Vec::new(),
        }));
        faults.extend(files.faults.into_iter().map(|fault| told(&fault.into(), observer)));
    }
    found
}

/// Each picture once, of pictures with the SHA-256 of their files.
fn without_duplicates(pictures: Vec<(TestItem, String)>, observer: &dyn Observer) -> Result<Vec<TestItem>> {
    let mut items: Vec<TestItem> = Vec::with_capacity(pictures.len());
    let mut first: HashMap<String, usize> = HashMap::new();
    for (item, sum) in pictures {
        let Some(&index) = first.get(&sum) else {
            first.insert(sum, items.len());
            items.push(item);
            continue;
        };
        let before = &items[index];
        if before.is_defective() != item.is_defective() {
            return Err(Error::request(format!(
                "{} and {} are the same picture, once given as good and once as bad; leave one out",
                before.path.display(),
                item.path.display()
            )));
        }
        observer.event(&Event::Duplicate {
            path: &item.path,
            other: &before.path,
        });
    }
    Ok(items)
}

/// What is said if a run has learned from some of these pictures, which come with the SHA-256 of their files.
fn learned_from(run: &Run, pictures: &[(TestItem, String)]) -> Option<String> {
    let seen = run.seen();
    let known = |is_defective| {
        let known = pictures
            .iter()
            .filter(move |(item, _)| item.is_defective() == is_defective);
        let mut known = known.filter(|(_, sum)| seen.contains(sum.as_str()));
        let first = known.next()?.0.path.display();
        Some((first, 1 + known.count()))
    };
    let good = known(false).map(|(first, count)| {
        format!(
            "{count} of the good pictures were used in training or validation, {first} first. They score lower than \
             new ones, so on new pictures more good ones are stopped than this says."
        )
    });
    let bad = known(true).map(|(first, count)| {
        format!(
            "{count} of the bad pictures were used in training or validation as good ones, {first} first. So the model \
             takes such defects for good. Train without them."
        )
    });
    let cautions: Vec<_> = good.into_iter().chain(bad).collect();
    (!cautions.is_empty()).then(|| cautions.join(" "))
}

/// Tells the observer of a fault. Returns it as results keep it.
pub(super) fn told(fault: &Error, observer: &dyn Observer) -> String {
    observer.event(&Event::Fault(fault));
    plain(&fault.to_string())
}

/// The category that a run learns from.
fn category_of(run: &Run) -> Result<Category> {
    run.category().map_err(|cause| Error::ImagesGone {
        folder: run.folder().to_owned(),
        cause,
    })
}

/// Checks that runs are measured on the same images: of the same names, kinds and contents.
fn check_same(runs: &[Run], tests: &[TestSet]) -> Result<()> {
    let mut all = runs.iter().zip(tests);
    let Some((first, first_test)) = all.next() else {
        return Ok(());
    };
    let expected = contents(first, first_test)?;
    let one = first.folder().display();
    for (run, test) in all {
        let (found, other) = (contents(run, test)?, run.folder().display());
        let differs = expected.iter().find(|(name, image)| found.get(*name) != Some(*image));
        let added = found.keys().find(|name| !expected.contains_key(*name));
        let reason = match (differs, added) {
            (None, None) => continue,
            (Some((name, _)), _) if !found.contains_key(name) => format!("only {one} has {name}"),
            (Some((name, _)), _) => format!("for {other}, {name} is another image or of another kind"),
            (None, Some(name)) => format!("only {other} has {name}"),
        };
        return Err(Error::OtherTestImages {
            one: first.folder().to_owned(),
            other: run.folder().to_owned(),
            reason,
        });
    }
    Ok(())
}

/// Each test image's kind and contents, by its name.
fn contents(run: &Run, test: &TestSet) -> Result<BTreeMap<String, (Option<String>, String)>> {
    let image = |item: &TestItem| {
        let sum = image_sha256(&item.path, run.bands())?;
        Ok((relative(&item.path, &test.category.root), (item.defect.clone(), sum)))
    };
    test.category.test.par_iter().map(image).collect()
}

/// What the model's product is called: the category that its run learns from, or else the file or folder.
fn name_of(model: &Path) -> Result<String> {
    if let Some(run) = Run::of(model)? {
        return Ok(run.layout().name_of(run.data()));
    }
    // A folder's name has no ending.
    let name = if model.is_dir() {
        model.file_name()
    } else {
        model.file_stem()
    };
    Ok(name.unwrap_or(model.as_os_str()).to_string_lossy().into_owned())
}

/// The kind of a defect: the folders between the picture and the folder that was given.
fn kind(picture: &Path, given: &Path) -> String {
    let below = picture.strip_prefix(given).ok().and_then(Path::parent);
    let kind = below.map(|folders| folders.to_string_lossy().replace('\\', "/"));
    kind.filter(|kind| !kind.is_empty()).unwrap_or_else(|| BAD.to_owned())
}

/// The innermost folder that all of the files lie in.
fn common_folder<'a>(files: impl Iterator<Item = &'a Path>) -> PathBuf {
    let folders = files.map(|file| file.parent().unwrap_or(Path::new("")).to_owned());
    let common = folders.reduce(|common, folder| {
        let pairs = common.components().zip(folder.components());
        pairs.take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
    });
    common.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_named_from_the_folder_that_all_are_in() {
        let common = |files: &[&str]| common_folder(files.iter().map(Path::new));
        assert_eq!(common(&["a/b/c/1.png", "a/b/2.png", "a/b/d/3.png"]), Path::new("a/b"));
        assert_eq!(common(&["a/1.png", "b/1.png"]), Path::new(""));
        assert_eq!(common(&["1.png"]), Path::new(""));
        assert_eq!(common(&["/x/1.png", "/x/y/1.png"]), Path::new("/x"));
    }

    #[test]
    fn folders_below_the_one_given_are_kinds() {
        let kind = |picture: &str, given: &str| kind(Path::new(picture), Path::new(given));
        assert_eq!(kind("bad/scratch/1.png", "bad"), "scratch");
        assert_eq!(kind("bad/scratch/deep/1.png", "bad"), "scratch/deep");
        assert_eq!(kind("bad/1.png", "bad"), "bad");
        assert_eq!(kind("bad/1.png", "bad/1.png"), "bad");
    }
}
