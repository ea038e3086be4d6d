//! The command lines of `riad completions` and `riad man`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::Shell;

/// Print a script for a shell that completes riad's commands and options
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  riad completions bash > ~/.local/share/bash-completion/completions/riad
  riad completions zsh > ~/.zfunc/_riad          # with `fpath+=~/.zfunc` before compinit in ~/.zshrc
  riad completions fish > ~/.config/fish/completions/riad.fish
  riad completions powershell >> $PROFILE")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Write riad's man pages, one for each command
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  riad man ~/.local/share/man/man1 && man riad-train")]
pub(crate) struct ManArgs {
    /// Folder to write to. It is made if it does not exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
}
