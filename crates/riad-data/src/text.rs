//! Text that people give: lists of names, tables, settings.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// No text is longer. A device that never ends would fill the memory.
const MOST_MIB: u64 = 256;

/// The text in a file, or what a pipe brings.
///
/// # Errors
/// If it cannot be read, is longer than 256 MiB, or is not UTF-8.
pub fn read_text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = MOST_MIB << 20;
    File::open(file)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        let reason = format!("it is longer than {MOST_MIB} MiB, which no list, table or settings are");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(text)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_given_up() {
        let error = read_text(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_text(Path::new("/dev/null")).unwrap(), "");
    }
}
