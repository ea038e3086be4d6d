//! What the targets share: where their files lie, what they begin with, and how a document is changed that stays one.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A folder of its own for each process, in memory where the system has such a place.
///
/// # Panics
/// If it cannot be made.
pub fn folder(target: &str) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let folder = place.join(format!("riad-fuzz-{target}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder to write to");
    folder
}

/// Writes inputs to begin with into the first folder that the driver was given, which it reads next. What it has kept there is
/// left alone.
///
/// # Panics
/// If they cannot be written.
pub fn seed(inputs: &[Vec<u8>]) {
    let corpus = std::env::args_os()
        .skip(1)
        .map(PathBuf::from)
        .find(|path| path.is_dir());
    let Some(corpus) = corpus else { return };
    for (index, input) in inputs.iter().enumerate() {
        fs::write(corpus.join(format!("seed-{index}")), input).expect("a corpus that can be written to");
    }
}

/// The document with some of its values replaced. Each line of `changes` has a byte that tells which value, and what takes its place:
/// JSON, or else a text. Nothing leaves the place out.
pub fn changed(document: &Value, changes: &[u8]) -> Value {
    let mut changed = document.clone();
    for line in changes.split(|byte| *byte == b'\n') {
        let Some((place, text)) = line.split_first() else {
            continue;
        };
        let mut places = Vec::new();
        list(&changed, String::new(), &mut places);
        let place = &places[usize::from(*place) % places.len()];
        if text.is_empty() {
            remove(&mut changed, place);
        } else if let Some(value) = changed.pointer_mut(place) {
            *value = serde_json::from_slice(text).unwrap_or_else(|_| String::from_utf8_lossy(text).into());
        }
    }
    changed
}

/// The place of every value, by RFC 6901.
fn list(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                list(item, format!("{place}/{index}"), places);
            }
        }
        Value::Object(entries) => {
            for (name, entry) in entries {
                let name = name.replace('~', "~0").replace('/', "~1");
                list(entry, format!("{place}/{name}"), places);
            }
        }
        _ => {}
    }
    places.push(place);
}

fn remove(document: &mut Value, place: &str) {
    let Some((parent, name)) = place.rsplit_once('/') else {
        return;
    };
    match document.pointer_mut(parent) {
        Some(Value::Object(entries)) => _ = entries.remove(&name.replace("~1", "/").replace("~0", "~")),
        Some(Value::Array(items)) => _ = name.parse().map(|index: usize| items.remove(index)),
        _ => {}
    }
}
