//! Groups of images that show the same part, and belong on the same side of a split.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use regex::Regex;

use crate::{DataError, text::read_text};

/// Which images belong together, by their names or by a table.
///
/// - A pattern has `{group}` for the name of the group, and `*` for any characters. `{group}` matches as few characters
///   as possible, and at least one. `{group}_*.png` puts `part7_left.png` and `part7_top.png` together. A pattern with
///   a `/` is matched with the path below the data set's folder, and any other pattern with the file's name.
/// - Anything else is the path of a CSV file whose header has `path` and `group`. Paths are below the data set's folder, with
///   forward slashes.
///
/// ```
/// use riad_data::Grouping;
///
/// let grouping: Grouping = "{group}_*.png".parse()?;
/// assert_eq!(grouping.group("train/good/part7_left.png")?, "part7");
/// assert!(grouping.group("train/good/other.png").is_err());
/// # Ok::<(), riad_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Grouping {
    text: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    /// An expression with a group, and whether it is matched with paths.
    Names(Regex, bool),
    Table(HashMap<String, String>),
}

/// The placeholder of the group's name.
const GROUP: &str = "{group}";

impl Grouping {
    /// The group of the image at `path` below the data set's folder, with forward slashes.
    ///
    /// # Errors
    /// [`DataError::Layout`] if the pattern or the table does not know the image.
    pub fn group(&self, path: &str) -> Result<String, DataError> {
        let (found, reason) = match &self.rule {
            Rule::Table(table) => (
                table.get(path).cloned(),
                format!("the image has no row in {}; add one with its group", self.text),
            ),
            Rule::Names(names, whole_path) => {
                let name = path.rsplit('/').next().filter(|_| !whole_path).unwrap_or(path);
                (
                    names.captures(name).map(|found| found["group"].to_owned()),
                    format!(
                        "the image's name does not fit {}; rename it, or write a CSV file with path and group",
                        self.text
                    ),
                )
            }
        };
        found.ok_or_else(|| DataError::layout(Path::new(path), reason))
    }

    /// Reads a pattern.
    fn names(text: &str) -> Result<Rule, DataError> {
        let refused = |reason: &str| DataError::Parameter(format!("{text} is not a pattern of groups: {reason}"));
        let (before, behind) = text.split_once(GROUP).ok_or_else(|| refused("{group} is missing"))?;
        if behind.contains(GROUP) {
            return Err(refused("it has {group} twice"));
        }
        let [before, behind] = [before, behind].map(|part| {
            let words: Vec<_> = part.split('*').map(regex::escape).collect();
            words.join(".*?")
        });
        let names =
            Regex::new(&format!("^(?s:{before}(?<group>.+?){behind})$")).map_err(|_| refused("it is too long"))?;
        Ok(Rule::Names(names, text.contains('/')))
    }

    /// Reads a table.
    fn table(file: &Path) -> Result<Rule, DataError> {
        let damaged = |reason: String| DataError::layout(file, reason);
        let text = read_text(file).map_err(|cause| DataError::io(file, cause))?;
        let mut rows = csv::Reader::from_reader(text.as_bytes());
        let mut table = HashMap::new();
        for row in rows.deserialize() {
            let Row { path, group } = row.map_err(|error| {
                damaged(format!(
                    "cannot be read as a table of groups: {error}; its header is path,group"
                ))
            })?;
            let path = path.strip_prefix("./").unwrap_or(&path).replace('\\', "/");
            if let Some(before) = table.insert(path.clone(), group.clone())
                && before != group
            {
                return Err(damaged(format!(
                    "{path} has two groups, {before} and {group}; leave one out"
                )));
            }
        }
        Ok(Rule::Table(table))
    }
}

/// A row of a table.
#[derive(serde::Deserialize)]
struct Row {
    path: String,
    group: String,
}

impl FromStr for Grouping {
    type Err = DataError;

    /// # Errors
    /// [`DataError::Parameter`] for an invalid pattern, [`DataError::Io`] and [`DataError::Layout`] for a table that
    /// cannot be read.
    fn from_str(text: &str) -> Result<Self, DataError> {
        let rule = if text.contains(GROUP) {
            Self::names(text)?
        } else if text.contains(['*', '{']) {
            return Err(DataError::Parameter(format!(
                "{text} is not a pattern of groups: put {{group}} in the place of the group's name, as in \
                 {{group}}_*.png"
            )));
        } else {
            Self::table(Path::new(text))?
        };
        Ok(Self {
            text: text.to_owned(),
            rule,
        })
    }
}

impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_tell_groups() {
        let group = |pattern: &str, path: &str| pattern.parse::<Grouping>().unwrap().group(path).ok();
        for (pattern, path, expected) in [
            ("{group}_*.png", "train/good/part7_left_2.png", Some("part7")),
            ("*_{group}.*", "good/a_b_c.jpg", Some("b_c")),
            ("lot{group}-*", "lot12-3.png", Some("12")),
            ("*/{group}/*", "train/good/7/1.png", Some("good")),
            ("train/good/{group}/*", "train/good/7/1.png", Some("7")),
            ("{group}_*.png", "train/good/_left.png", None),
            ("{group}.png", "a_b.jpg", None),
            // Characters that are special in expressions stand for themselves.
            ("a+({group}).png", "a+(7).png", Some("7")),
        ] {
            assert_eq!(group(pattern, path).as_deref(), expected, "{pattern} {path}");
        }
        for bad in ["*_left.png", "{group}{group}", "{0..3}"] {
            let error = bad.parse::<Grouping>().unwrap_err();
            assert!(matches!(error, DataError::Parameter(_)), "{bad}: {error}");
        }
    }

    #[test]
    fn a_table_tells_groups() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("groups.csv");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            file.to_str().unwrap().parse::<Grouping>()
        };
        let grouping = read("group,path\n7,good/a.png\n7,./good/b.png\n8,good\\c.png\n").unwrap();
        assert_eq!(grouping.group("good/a.png").unwrap(), "7");
        assert_eq!(grouping.group("good/b.png").unwrap(), "7");
        assert_eq!(grouping.group("good/c.png").unwrap(), "8");
        let error = grouping.group("good/d.png").unwrap_err().to_string();
        assert!(
            error.contains("good/d.png") && error.contains("has no row in"),
            "{error}"
        );
        for (text, part) in [
            ("path,group\na.png,1\na.png,2\n", "a.png has two groups, 1 and 2"),
            ("name,group\na.png,1\n", "its header is path,group"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("groups.csv"), "{error}");
        }
        assert!(matches!("absent.csv".parse::<Grouping>(), Err(DataError::Io { .. })));
    }
}
