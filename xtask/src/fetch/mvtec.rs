//! What MVTec AD consists of: its categories, where they lie, and what a complete one holds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The page on which a person finds the archives when every address here has expired.
pub(crate) const DOWNLOAD_PAGE: &str = "https://www.mvtec.com/research-teaching/datasets/mvtec-ad/downloads";

/// Shown before anything is downloaded or unpacked.
pub(crate) const LICENCE: &str = "MVTec AD is licensed under CC BY-NC-SA 4.0: for research and teaching, not for \
    commercial use; name its authors (Bergmann et al., CVPR 2019) and share changes under the same licence.\n\
    https://creativecommons.org/licenses/by-nc-sa/4.0/";

/// The share under which MVTec publishes its files. Share number and token change every year or so, and old ones answer
/// 404: then the person is sent to [`DOWNLOAD_PAGE`].
const SHARE: &str = "https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/download";

/// An archive that can be downloaded: the whole data set or one category.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Archive {
    /// File name without `.tar.xz`.
    pub(crate) name: &'static str,
    /// File id and time stamp in the address.
    file: &'static str,
    /// SHA-256 of the `.tar.xz` in hexadecimal, where one has been published.
    pub(crate) sha256: Option<&'static str>,
}

impl Archive {
    /// Every category in one file, about 4.9 GB.
    pub(crate) const WHOLE: Self = Self {
        name: "mvtec_anomaly_detection",
        file: "420938113-1629960298",
        sha256: Some("cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d"),
    };

    /// `<name>.tar.xz`.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.tar.xz", self.name)
    }

    /// The address of the archive: MVTec's, or below the base address of a mirror.
    pub(crate) fn url(&self, mirror: Option<&str>) -> String {
        match mirror {
            Some(base) => format!("{}/{}", base.trim_end_matches('/'), self.file_name()),
            None => format!("{SHARE}/{}/{}", self.file, self.file_name()),
        }
    }

    /// The published archive that goes by this file name.
    pub(crate) fn by_file_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        std::iter::once(Self::WHOLE)
            .chain(CATEGORIES.iter().map(|c| c.archive))
            .find(|a| a.file_name() == name)
    }
}

/// One category and the number of its images, as tabulated by the authors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Category {
    pub(crate) archive: Archive,
    train: usize,
    test_good: usize,
    test_defective: usize,
}

const fn category(
    name: &'static str,
    file: &'static str,
    sha256: Option<&'static str>,
    [train, test_good, test_defective]: [usize; 3],
) -> Category {
    Category {
        archive: Archive { name, file, sha256 },
        train,
        test_good,
        test_defective,
    }
}

/// The 15 categories, 5354 images.
pub(crate) const CATEGORIES: [Category; 15] = [
    category(
        "bottle",
        "420937370-1629958698",
        Some("726512129cb3b1f47d4f6cd7c7fc9170db7fc209132249c788fec06029cb5dc3"),
        [209, 20, 63],
    ),
    category("cable", "420937413-1629958794", None, [224, 58, 92]),
    category("capsule", "420937454-1629958872", None, [219, 23, 109]),
    category("carpet", "420937484-1629959013", None, [280, 28, 89]),
    category("grid", "420937487-1629959044", None, [264, 21, 57]),
    category("hazelnut", "420937545-1629959162", None, [391, 40, 70]),
    category("leather", "420937607-1629959262", None, [245, 32, 92]),
    category("metal_nut", "420937637-1629959294", None, [220, 22, 93]),
    category("pill", "420938129-1629960351", None, [267, 26, 141]),
    category("screw", "420938130-1629960389", None, [320, 41, 119]),
    category("tile", "420938133-1629960456", None, [230, 33, 84]),
    category("toothbrush", "420938134-1629960477", None, [60, 12, 30]),
    category("transistor", "420938166-1629960554", None, [213, 60, 40]),
    category("wood", "420938383-1629960649", None, [247, 19, 60]),
    category("zipper", "420938385-1629960680", None, [240, 32, 119]),
];

/// Why a folder is not a complete category.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncompleteCategory {
    #[error("{} holds {found} PNG files where MVTec AD has {expected}", .dir.display())]
    Count {
        dir: PathBuf,
        found: usize,
        expected: usize,
    },
    #[error("cannot list {}: {source}", .dir.display())]
    Unreadable { dir: PathBuf, source: io::Error },
}

impl Category {
    pub(crate) fn name(&self) -> &'static str {
        self.archive.name
    }

    pub(crate) fn by_name(name: &str) -> Option<&'static Self> {
        CATEGORIES.iter().find(|c| c.name() == name)
    }

    /// Number of images, masks not counted.
    pub(crate) fn images(&self) -> usize {
        self.train + self.test_good + self.test_defective
    }

    /// Checks that `dir` holds every image and mask, by number: for 14 of the 15 categories no hash is published, and
    /// this tells a shortened or foreign archive from the real one.
    ///
    /// # Errors
    /// [`IncompleteCategory`] names the first folder with a wrong number of files, or one that cannot be listed.
    pub(crate) fn check(&self, dir: &Path) -> Result<(), IncompleteCategory> {
        let expect = |dir: PathBuf, found: usize, expected: usize| {
            if found == expected {
                Ok(())
            } else {
                Err(IncompleteCategory::Count { dir, found, expected })
            }
        };
        let train = dir.join("train").join("good");
        let good = dir.join("test").join("good");
        let test = dir.join("test");
        let masks = dir.join("ground_truth");
        let good_count = count_png(&good)?;
        expect(train.clone(), count_png(&train)?, self.train)?;
        expect(good, good_count, self.test_good)?;
        expect(
            test.clone(),
            count_png_below(&test)?,
            self.test_good + self.test_defective,
        )?;
        expect(masks.clone(), count_png_below(&masks)?, self.test_defective)
    }
}

fn list(dir: &Path) -> Result<Vec<fs::DirEntry>, IncompleteCategory> {
    match fs::read_dir(dir).and_then(Iterator::collect) {
        Ok(entries) => Ok(entries),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(IncompleteCategory::Unreadable {
            dir: dir.to_owned(),
            source,
        }),
    }
}

fn count_png(dir: &Path) -> Result<usize, IncompleteCategory> {
    Ok(list(dir)?
        .iter()
        .filter(|e| e.path().extension().is_some_and(|x| x == "png"))
        .count())
}

/// Number of PNG files in the folders directly below `dir`.
fn count_png_below(dir: &Path) -> Result<usize, IncompleteCategory> {
    let mut count = 0;
    for entry in list(dir)? {
        if entry.path().is_dir() {
            count += count_png(&entry.path())?;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_add_up_to_the_published_total() {
        assert_eq!(CATEGORIES.iter().map(Category::images).sum::<usize>(), 5354);
    }

    #[test]
    fn a_mirror_replaces_the_address_but_not_the_file_name() {
        let bottle = CATEGORIES[0].archive;
        assert!(
            bottle
                .url(None)
                .ends_with("/download/420937370-1629958698/bottle.tar.xz")
        );
        assert_eq!(
            bottle.url(Some("http://127.0.0.1:8000/mvtec/")),
            "http://127.0.0.1:8000/mvtec/bottle.tar.xz"
        );
    }
}
