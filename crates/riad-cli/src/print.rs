//! What commands print on standard output.

use std::io::{self, Write};

use anyhow::{Context, Result};

use crate::progress::suspended;

/// Prints `text`, all of it. `what` names it in an error, such as `the scores`.
///
/// # Errors
/// If standard output does not take it, because its disk is full, or because nobody reads it any more.
pub(crate) fn print(what: &str, text: impl AsRef<[u8]>) -> Result<()> {
    let printed = suspended(|| {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_ref())?;
        stdout.flush()
    });
    printed.with_context(|| cannot_print(what))
}

/// That something cannot be printed, with the way out.
pub(crate) fn cannot_print(what: &str) -> String {
    format!("cannot write {what} to standard output; make room there, or send it to another place")
}
