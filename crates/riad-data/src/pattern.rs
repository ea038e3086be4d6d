//! Which files make one image together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::files::natural_path_order;

/// The names of an image's files, such as `*_light{0,1,2,3}.png`.
///
/// `*` stands for the image's own name, of at least one character. The braces list the parts in which its files differ,
/// in the order of the channels: words (`{left,right,top}`) or a range of numbers (`{0..3}`, or `{00..11}` for two
/// digits each). Everything else stands for itself. So `part_001_light0.png` to `part_001_light3.png` are the image
/// `part_001`. The files of an image lie in one folder. The path of its first file names the image.
///
/// ```
/// use riad_data::Pattern;
///
/// let pattern: Pattern = "*_light{0..3}.png".parse()?;
/// assert_eq!(pattern.files_of_an_image(), 4);
/// assert_eq!(pattern.name("set/part_001_light2.png".as_ref()), Some("part_001"));
/// assert_eq!(pattern.files("set/part_001_light2.png".as_ref())?[0].to_str(), Some("set/part_001_light0.png"));
/// # Ok::<(), riad_data::DataError>(())
/// ```
///
/// As text ([`Display`](fmt::Display), [`FromStr`], serde) it stays as it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    /// The parts of each file's name before and after the image's own name.
    around: Vec<(String, String)>,
}

/// The largest number of files of an image; no camera has more bands.
const MAX_FILES: usize = 4096;

/// More bytes than a file's name has on any system. A pattern is expanded to all names, and a few digits can mean many
/// long names.
const MAX_NAME: usize = 1024;

impl Pattern {
    /// Number of files of an image, at least 2.
    pub fn files_of_an_image(&self) -> usize {
        self.around.len()
    }

    /// The own name of the image that a file belongs to. `None` if the file's name does not fit the pattern.
    pub fn name<'a>(&self, file: &'a Path) -> Option<&'a str> {
        self.place(file).map(|(_, name)| name)
    }

    /// The files of the image that `file` belongs to, in the order of their channels. They may be missing on the disk.
    ///
    /// # Errors
    /// [`DataError::Layout`] if the name of `file` does not fit the pattern.
    pub fn files(&self, file: &Path) -> Result<Vec<PathBuf>, DataError> {
        let name = self.name(file).ok_or_else(|| self.is_no_part(file))?;
        Ok(self.named(file, name))
    }

    /// The images that `files` make: the first file of each, in natural order. A file that is not named by the pattern and
    /// an image that lacks a file join the `faults`.
    pub(crate) fn group(&self, files: &[PathBuf], faults: &mut Vec<DataError>) -> Vec<PathBuf> {
        let mut images: BTreeMap<(&Path, &str), (&PathBuf, Vec<bool>)> = BTreeMap::new();
        for file in files {
            let Some((place, name)) = self.place(file) else {
                faults.push(self.is_no_part(file));
                continue;
            };
            let folder = file.parent().unwrap_or(Path::new(""));
            let (_, found) = images
                .entry((folder, name))
                .or_insert_with(|| (file, vec![false; self.around.len()]));
            found[place] = true;
        }
        let mut firsts = Vec::with_capacity(images.len());
        for ((_, name), (file, found)) in images {
            let mut of_image = self.named(file, name);
            match found.iter().position(|found| !found) {
                Some(missing) => {
                    let reason = format!(
                        "this file is missing: the pattern {self} says that it belongs to {}; add it, or remove the \
                         others",
                        file.display()
                    );
                    faults.push(DataError::layout(&of_image[missing], reason));
                }
                None => firsts.push(of_image.swap_remove(0)),
            }
        }
        firsts.sort_by(|a, b| natural_path_order(a, b));
        firsts
    }

    /// The files beside `file` of the image that is called `name`.
    fn named(&self, file: &Path, name: &str) -> Vec<PathBuf> {
        let named = |(before, behind): &(String, String)| file.with_file_name(format!("{before}{name}{behind}"));
        self.around.iter().map(named).collect()
    }

    /// Which of its image's files this is, and the image's name.
    fn place<'a>(&self, file: &'a Path) -> Option<(usize, &'a str)> {
        let name = file.file_name()?.to_str()?;
        let own =
            |(before, behind): &(String, String)| name.strip_prefix(before.as_str())?.strip_suffix(behind.as_str());
        let mut places = self.around.iter().enumerate();
        places.find_map(|(place, around)| Some((place, own(around).filter(|own| !own.is_empty())?)))
    }

    fn is_no_part(&self, file: &Path) -> DataError {
        let reason = format!(
            "the file's name does not fit the pattern {self}, which says which files make one image; rename or \
             remove it, or correct the pattern"
        );
        DataError::layout(file, reason)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl TryFrom<String> for Pattern {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl FromStr for Pattern {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let wrong =
            |reason: &str| DataError::Parameter(format!("the pattern {text} {reason}, as *_light{{0,1,2,3}}.png does"));
        if text.contains(['/', '\\']) {
            return Err(wrong("names a folder; it must name files in one folder only"));
        }
        let only = |mark: char| text.matches(mark).count() == 1;
        let parts = text.split_once('{').and_then(|(before, rest)| {
            let (listed, behind) = rest.split_once('}')?;
            Some((before, listed, behind))
        });
        let Some((before, listed, behind)) = parts.filter(|_| only('{') && only('}')) else {
            return Err(wrong(
                "must list in one pair of braces the parts in which an image's files differ",
            ));
        };
        if !only('*') || listed.contains('*') {
            return Err(wrong("must have one * outside of the braces for the image's own name"));
        }
        if text.len() - listed.len() > MAX_NAME || listed.split(',').any(|word| word.len() > MAX_NAME) {
            return Err(DataError::Parameter(format!(
                "a pattern gives names of more than {MAX_NAME} bytes, which no file can have"
            )));
        }
        let Some(listed) = expand(listed) else {
            return Err(wrong(
                "must list two words or more between the braces, all different, or a range of numbers",
            ));
        };
        let around: Vec<(String, String)> = listed
            .iter()
            .filter_map(|listed| {
                let name = format!("{before}{listed}{behind}");
                let (before, behind) = name.split_once('*')?;
                Some((before.to_owned(), behind.to_owned()))
            })
            .collect();
        let is_either = |a: &str, b: &str, at_end: fn(&str, &str) -> bool| at_end(a, b) || at_end(b, a);
        for (index, (before, behind)) in around.iter().enumerate() {
            let both = around[..index].iter().any(|(other_before, other_behind)| {
                is_either(before, other_before, |a, b| a.starts_with(b))
                    && is_either(behind, other_behind, |a, b| a.ends_with(b))
            });
            if both {
                return Err(wrong(
                    "can take one file for two files of an image; put something between the * and the braces that \
                     separates them",
                ));
            }
        }
        Ok(Self {
            text: text.to_owned(),
            around,
        })
    }
}

/// What braces list: words, or a range of numbers.
fn expand(listed: &str) -> Option<Vec<String>> {
    let words: Vec<String> = match listed.split_once("..") {
        Some((first, last)) => {
            let number = |text: &str| -> Option<usize> {
                let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|_| is_plain)
            };
            let (from, to) = (number(first)?, number(last)?);
            if to.checked_sub(from)? >= MAX_FILES {
                return None;
            }
            // A leading zero tells how many digits each number has.
            let digits = if first.starts_with('0') { first.len() } else { 1 };
            (from..=to).map(|number| format!("{number:0digits$}")).collect()
        }
        None => listed.split(',').map(str::to_owned).collect(),
    };
    let is_list = (2..=MAX_FILES).contains(&words.len()) && words.iter().all(|word| !word.is_empty());
    let mut sorted = words.clone();
    sorted.sort_unstable();
    sorted.dedup();
    (is_list && sorted.len() == words.len()).then_some(words)
}
