//! VisA (2022), read by the split in its archive.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::{Images, TestItem, name_of};
use crate::files::natural_path_order;
use crate::{DataError, Pattern};

/// The official split for one class, below the data set's folder.
pub(super) fn split_file(set: &Path) -> PathBuf {
    set.join("split_csv").join("1cls.csv")
}

/// A row of the split; paths are below the data set's folder, and `mask` is empty for good images.
#[derive(Debug, Deserialize)]
struct Row {
    object: String,
    split: String,
    label: String,
    image: String,
    mask: String,
}

pub(super) fn open(root: &Path, pattern: Option<&Pattern>) -> Result<Images, DataError> {
    if let Some(pattern) = pattern {
        return Err(DataError::Parameter(format!(
            "in VisA's split each image is one file, so the pattern {pattern} cannot be used; leave it out, or put \
             the images into folders like those of MVTec AD"
        )));
    }
    let object = name_of(root);
    let inside = if root.file_name().is_some() {
        root.to_owned()
    } else {
        root.canonicalize().map_err(|e| DataError::io(root, e))?
    };
    let file = split_file(inside.parent().unwrap_or(root));
    if !file.is_file() {
        let reason = "VisA's split is missing: its archive has it beside the categories; restore it";
        return Err(DataError::layout(&file, reason));
    }
    let unreadable = |e: csv::Error| match e.into_kind() {
        csv::ErrorKind::Io(e) => DataError::io(&file, e),
        other => DataError::layout(&file, format!("{}; restore the file", csv_text(other))),
    };
    let mut reader = csv::Reader::from_path(&file).map_err(unreadable)?;
    let header = reader.headers().map_err(unreadable)?.clone();
    let mut images = Images::default();
    let mut seen = BTreeSet::new();
    for record in reader.records() {
        // If a table cannot be read to its end, its rows cannot be relied on.
        let record = record.map_err(unreadable)?;
        let row: Row = record.deserialize(Some(&header)).map_err(unreadable)?;
        if row.object != object {
            continue;
        }
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = |reason: String| DataError::layout(&file, format!("line {line}: {reason}; restore the file"));
        let faults = if row.split == "train" {
            &mut images.train_faults
        } else {
            &mut images.test_faults
        };
        let path = match find(root, &object, &row.image) {
            Ok(path) => path,
            Err(reason) => {
                faults.push(wrong(reason));
                continue;
            }
        };
        if !seen.insert(path.clone()) {
            faults.push(wrong(format!("{} comes a second time", row.image)));
            continue;
        }
        match (row.split.as_str(), row.label.as_str()) {
            ("train", "normal") => images.train.push(path),
            ("test", "normal" | "anomaly") => {
                let mask = (!row.mask.is_empty()).then(|| find(root, &object, &row.mask));
                let masks = match mask.transpose() {
                    Ok(mask) => mask.into_iter().collect(),
                    Err(reason) => {
                        faults.push(wrong(reason));
                        Vec::new()
                    }
                };
                let defect = (row.label == "anomaly").then_some(row.label);
                images.test.push(TestItem { path, defect, masks });
            }
            ("train", "anomaly") => faults.push(wrong(format!(
                "{} is an anomaly, so it cannot be a training image",
                row.image
            ))),
            (split, label) => faults.push(wrong(format!(
                "the split must be train or test, and the label normal or anomaly, not {split} and {label}"
            ))),
        }
    }
    if images.train.is_empty() {
        let reason = format!("there are no training images: no row has the object {object} and the split train");
        images.train_faults.push(DataError::layout(&file, reason));
    }
    images.train.sort_by(|a, b| natural_path_order(a, b));
    images.test.sort_by(|a, b| {
        let by_path = || natural_path_order(&a.path, &b.path);
        a.is_defective().cmp(&b.is_defective()).then_with(by_path)
    });
    Ok(images)
}

/// The file that a row names, whose path begins with the category's folder, or the fault of the row.
fn find(root: &Path, object: &str, name: &str) -> Result<PathBuf, String> {
    let named = Path::new(name);
    let is_plain = named.components().all(|part| matches!(part, Component::Normal(_)));
    let Some(path) = named.strip_prefix(object).ok().filter(|_| is_plain) else {
        return Err(format!("{name} is not below {object}"));
    };
    let path = root.join(path);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(path),
        Ok(_) => Err(format!("{name} is not a file")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(format!("{name} does not exist")),
        Err(e) => Err(format!("{name} cannot be accessed: {e}")),
    }
}

/// The fault of the table, without the name of the library that found it.
fn csv_text(kind: csv::ErrorKind) -> String {
    let line = |position: Option<csv::Position>| position.map_or(0, |position| position.line());
    match kind {
        csv::ErrorKind::Utf8 { pos, .. } => format!("line {}: not UTF-8", line(pos)),
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => format!(
            "line {}: {len} fields where the first line has {expected_len}",
            line(pos)
        ),
        csv::ErrorKind::Deserialize { err, .. } => {
            format!("the columns are not object,split,label,image,mask ({err})")
        }
        other => format!("{other:?}"),
    }
}
