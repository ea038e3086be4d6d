//! How this library writes the names of files. A reader can get the exact name back, and no name is a command to a
//! spreadsheet, a terminal or a browser. Programs that read such files or write beside them can use the same rule.
//!
//! One rule holds for tables, JSON, pages and the run's own files: the rule of web addresses. `%` and two hexadecimal
//! digits stand for one byte. These bytes are written so: `%` itself; bytes that are not UTF-8; bytes of control
//! characters, and of characters that change the direction or the lines of a text; `;`, because spreadsheets in some
//! languages split cells there; a leading `=`, `+`, `-` or `@`, because spreadsheets take it for a formula; a leading `#`,
//! because lists of names have comments; and a space at either end, because readers of lists and tables trim it. To read a
//! name, replace every `%XX` by its byte, like `urllib.parse.unquote_to_bytes` in Python.

use std::{
    ffi::OsString,
    fmt::Write,
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// A path as text, by the rule of this module.
pub fn written(path: &Path) -> String {
    guarded(escaped(path.as_os_str().as_encoded_bytes()))
}

/// A path below `root` as text with forward slashes, for files that other systems read, too. If the path is not below
/// `root`, the whole path.
pub fn relative(path: &Path, root: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below
        .components()
        .map(|part| escaped(part.as_os_str().as_encoded_bytes()))
        .collect();
    guarded(parts.join("/"))
}

/// The path that [`written`] wrote. `None` if it cannot have written this text, or if this system cannot have such a
/// name.
pub fn read(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digit = |index: usize| char::from(digits[index]).to_digit(16);
            bytes.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    name_of(bytes).map(PathBuf::from)
}

#[cfg(unix)]
fn name_of(bytes: Vec<u8>) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;
    Some(OsString::from_vec(bytes))
}

#[cfg(not(unix))]
fn name_of(bytes: Vec<u8>) -> Option<OsString> {
    String::from_utf8(bytes).ok().map(OsString::from)
}

/// The name of a category's folder, by the rule of this module.
pub fn folder_name(folder: &Path) -> String {
    let whole = folder
        .file_name()
        .is_none()
        .then(|| folder.canonicalize().ok())
        .flatten();
    let folder = whole.as_deref().unwrap_or(folder);
    written(Path::new(folder.file_name().unwrap_or(folder.as_os_str())))
}

/// A message that gives a terminal no commands: control characters become `%XX`, as in names.
pub fn plain(message: &str) -> String {
    let mut plain = String::with_capacity(message.len());
    message.chars().for_each(|c| push(&mut plain, c, is_unseen(c)));
    plain
}

/// The same for a message of several lines.
pub fn plain_lines(message: &str) -> String {
    let lines: Vec<_> = message.split('\n').map(plain).collect();
    lines.join("\n")
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push(&mut text, c, matches!(c, '%' | ';') || is_unseen(c));
        }
        chunk.invalid().iter().for_each(|byte| push_byte(&mut text, *byte));
    }
    text
}

/// Escapes the first and the last character if a spreadsheet or a list would take them for something else.
fn guarded(text: String) -> String {
    // The wide forms count as the narrow ones where people write with wide characters.
    let is_command = |c: char| {
        matches!(
            c,
            '=' | '+' | '-' | '@' | '#' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}'
        )
    };
    let last = text.char_indices().next_back().map_or(0, |(place, _)| place);
    let mut guarded = String::with_capacity(text.len() + 8);
    for (place, c) in text.char_indices() {
        let is_trimmed = (place == 0 || place == last) && c.is_whitespace();
        push(&mut guarded, c, is_trimmed || place == 0 && is_command(c));
    }
    guarded
}

fn push(text: &mut String, c: char, is_escaped: bool) {
    if is_escaped {
        let mut bytes = [0; 4];
        c.encode_utf8(&mut bytes).bytes().for_each(|byte| push_byte(text, byte));
    } else {
        text.push(c);
    }
}

fn push_byte(text: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(text, "%{byte:02X}");
}

/// Whether a character is none that is seen, but one that changes how others are: controls (escape sequences of terminals
/// begin with one), ends of lines and paragraphs, and marks of direction.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// A path in the run's own files.
pub(crate) mod serde_path {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::written(path))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::read(&text).ok_or_else(|| D::Error::custom(format!("{text} is no path")))
    }
}

/// The one of `all` whose name is given. `what` says what they are.
///
/// # Errors
/// If none has this name.
pub(crate) fn one_of<T: Copy>(what: &str, all: &[T], name_of: fn(T) -> &'static str, name: &str) -> Result<T> {
    let found = all.iter().copied().find(|&one| name_of(one) == name);
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|&one| name_of(one)).collect();
        Error::request(format!("there is no {what} {name:?}; there are {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_name_one_or_say_which_there_are() {
        use crate::{MapFormat, Protocol, watch::Transfer};
        for &protocol in Protocol::ALL {
            assert_eq!(protocol.name().parse::<Protocol>().unwrap(), protocol);
        }
        for &format in MapFormat::ALL {
            assert_eq!(format.name().parse::<MapFormat>().unwrap(), format);
        }
        for &transfer in Transfer::ALL {
            assert_eq!(transfer.name().parse::<Transfer>().unwrap(), transfer);
        }
        let error = "Copy".parse::<Transfer>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no transfer \"Copy\"; there are copy, link, move"
        );
    }

    /// Expected values from Python's `urllib.parse.quote` with these characters as safe ones.
    #[test]
    fn names_are_written_so_that_nothing_obeys_them() {
        for (name, expected) in [
            ("a/b 1.png", "a/b 1.png"),
            ("ä/日本.png", "ä/日本.png"),
            ("100%.png", "100%25.png"),
            ("=cmd|' calc'!A1.png", "%3Dcmd|' calc'!A1.png"),
            ("+1", "%2B1"),
            ("-1", "%2D1"),
            ("@a", "%40a"),
            ("＝a", "%EF%BC%9Da"),
            ("a=b+c-d@e", "a=b+c-d@e"),
            ("#1.png", "%231.png"),
            ("a#1.png", "a#1.png"),
            (" a b ", "%20a b%20"),
            (" ", "%20"),
            ("\u{3000}a", "%E3%80%80a"),
            ("a;=b", "a%3B=b"),
            ("\"a\", b", "\"a\", b"),
            ("\x1b[31m", "%1B[31m"),
            ("\u{9b}31m", "%C2%9B31m"),
            ("a\r\nb\t", "a%0D%0Ab%09"),
            ("gnp.\u{202e}txt", "gnp.%E2%80%AEtxt"),
        ] {
            assert_eq!(written(Path::new(name)), expected);
            assert_eq!(read(expected).unwrap(), Path::new(name));
        }
        for wrong in ["%", "%1", "a%zz", "%+1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(plain("a \x1b[31m\nb"), "a %1B[31m%0Ab");
        assert_eq!(plain_lines("a \x1b[31m\n50 %"), "a %1B[31m\n50 %");
    }

    #[cfg(unix)]
    #[test]
    fn any_bytes_come_back_and_no_two_names_are_one() {
        use std::{
            collections::HashSet,
            ffi::OsStr,
            os::unix::ffi::{OsStrExt, OsStringExt},
        };
        let mut texts = HashSet::new();
        // Every pair of bytes, valid UTF-8 or not.
        for a in 1..=255 {
            for b in 1..=255 {
                let name = OsString::from_vec(vec![a, b]);
                let text = written(Path::new(&name));
                assert_eq!(read(&text).unwrap().as_os_str(), name);
                assert!(texts.insert(text));
            }
        }
        let path = Path::new(OsStr::from_bytes(b"/in/=\xff/a\xfe.png"));
        assert_eq!(relative(path, Path::new("/in")), "%3D%FF/a%FE.png");
        assert_eq!(relative(path, Path::new("/else")), "//in/=%FF/a%FE.png");
    }
}
