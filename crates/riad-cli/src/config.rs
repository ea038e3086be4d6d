//! Options from a file: `--config file.toml`.
//!
//! A file's keys are the command's long option names. They are added to the command line, so arguments are checked in
//! one place. A key is left out if the command line has the same option, or an option that excludes it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, parser::ValueSource};
use riad_data::read_text;
use toml::{Table, Value};

use crate::{args::Cli, usage};

/// Arguments to parse.
pub(crate) struct Merged {
    /// The program's name and its arguments.
    pub(crate) list: Vec<OsString>,
    /// The file that some of them came from.
    pub(crate) file: Option<PathBuf>,
}

/// Adds to the command line what the file of its `--config` says.
///
/// # Errors
/// If the file cannot be read, is no TOML, or has a key or a value that the command cannot take.
pub(crate) fn merge(mut list: Vec<OsString>) -> Result<Merged> {
    let mut root = Cli::command();
    root.build();
    // What the command requires may be in the file, so errors count only when all is there.
    let matches = root.clone().ignore_errors(true).try_get_matches_from(&list).ok();
    let given = matches.as_ref().and_then(ArgMatches::subcommand);
    let Some((command, given)) = given.and_then(|(name, given)| Some((root.find_subcommand(name)?, given))) else {
        return Ok(Merged { list, file: None });
    };
    let Some(file) = given.get_one::<PathBuf>("config") else {
        return Ok(Merged { list, file: None });
    };
    let added = options(file, command, given)?;
    // Behind `--` there are no options any more.
    let end = list.iter().position(|argument| argument == "--").unwrap_or(list.len());
    list.splice(end..end, added);
    Ok(Merged {
        list,
        file: Some(file.clone()),
    })
}

/// The options in `file`, less those that the command line has `given` or ruled out.
fn options(file: &Path, command: &Command, given: &ArgMatches) -> Result<Vec<OsString>> {
    let text = read_text(file).with_context(|| format!("cannot read {}", file.display()))?;
    let table: Table = text
        .parse()
        .map_err(|error| usage(format!("{} is not valid TOML: {error}", file.display())))?;
    let all: Vec<&Arg> = command.get_arguments().collect();
    let known: Vec<&Arg> = all
        .iter()
        .copied()
        .filter(|arg| !matches!(arg.get_long(), None | Some("config" | "help" | "version")))
        .collect();
    let is_given = |arg: &Arg| given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let mut options = Vec::new();
    for (key, value) in &table {
        let Some(&arg) = known.iter().find(|arg| arg.get_long() == Some(key)) else {
            let mut names: Vec<_> = known.iter().filter_map(|arg| arg.get_long()).collect();
            names.sort_unstable();
            return Err(usage(format!(
                "{}: unknown key `{key}`; riad {} has {}",
                file.display(),
                command.get_name(),
                names.join(", ")
            )));
        };
        let is_excluded = all.iter().any(|other| {
            let excludes = |a, b: &Arg| {
                command
                    .get_arg_conflicts_with(a)
                    .iter()
                    .any(|c| c.get_id() == b.get_id())
            };
            is_given(other) && (excludes(arg, other) || excludes(other, arg))
        });
        if !is_given(arg) && !is_excluded {
            let typed = typed(arg, key, value).ok_or_else(|| {
                usage(format!(
                    "{}: `{key}` cannot be set to {value}; it takes {}",
                    file.display(),
                    taken(arg)
                ))
            })?;
            options.extend(typed);
        }
    }
    Ok(options)
}

/// What one would type for an option of this value; `None` for a value of the wrong kind.
fn typed(arg: &Arg, key: &str, value: &Value) -> Option<Vec<OsString>> {
    let flag = OsString::from(format!("--{key}"));
    let with = |value: &dyn std::fmt::Display| Some(vec![OsString::from(format!("--{key}={value}"))]);
    match (arg.get_action(), value) {
        (ArgAction::SetTrue | ArgAction::Count, Value::Boolean(on)) => Some(vec![flag; usize::from(*on)]),
        (ArgAction::Count, &Value::Integer(times @ 0..=9)) => Some(vec![flag; times as usize]),
        (ArgAction::Append, Value::Array(values)) => {
            let values = values.iter().map(|value| typed(arg, key, value));
            Some(values.collect::<Option<Vec<_>>>()?.concat())
        }
        (ArgAction::Set | ArgAction::Append, Value::String(text)) => with(text),
        (ArgAction::Set | ArgAction::Append, Value::Integer(number)) => with(number),
        (ArgAction::Set | ArgAction::Append, Value::Float(number)) => with(number),
        _ => None,
    }
}

/// The kinds of values that [`typed`] takes for an option.
fn taken(arg: &Arg) -> &'static str {
    match arg.get_action() {
        ArgAction::SetTrue => "true or false",
        ArgAction::Count => "true, false, or a whole number from 0 to 9",
        ArgAction::Append => "a string, a number, or an array of them",
        _ => "a string or a number",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;
    use riad_core::Size;

    use super::*;
    use crate::args::{Cli, Command};

    fn merged(config: &str, arguments: &[&str]) -> Result<Command> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("riad.toml");
        fs::write(&file, config)?;
        let mut list: Vec<_> = ["riad"].iter().chain(arguments).map(OsString::from).collect();
        list.splice(2..2, ["--config".into(), file.into_os_string()]);
        let merged = merge(list)?;
        Ok(Cli::try_parse_from(merged.list)?.command)
    }

    fn train(config: &str, arguments: &[&str]) -> crate::args::TrainArgs {
        match merged(config, arguments).unwrap() {
            Command::Train(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let args = train("epochs = 5\nlr = 0.5\nsize = 64\n", &["train", "data", "--epochs", "7"]);
        assert_eq!(
            (args.training.epochs, args.training.lr, args.training.size),
            (Some(7), Some(0.5), Some(Size::new(64, 64)))
        );
    }

    #[test]
    fn an_option_that_the_command_line_rules_out_is_passed_over() {
        let args = train("out = \"a\"\n", &["train", "--resume", "b"]);
        assert_eq!((args.out, args.resume), (None, Some("b".into())));
        // By its DATA, too, which has no name.
        let Command::Eval(args) = merged("good = [\"more\"]\nsynthetic = true\n", &["eval", "data"]).unwrap() else {
            panic!("not eval");
        };
        assert!(args.photos.is_empty() && !args.synthetic);
    }

    #[test]
    fn an_option_that_may_be_given_often_takes_one_value_or_an_array() {
        for regions in ["[2, 4]", "\"2,4\"", "[\"2\", 4]"] {
            let args = train(&format!("regions = {regions}\n"), &["train", "data"]);
            assert_eq!(args.training.regions, Some(vec![2, 4]), "{regions}");
        }
        let Command::Serve(args) = merged("modbus-server = 5020\n", &["serve"]).unwrap() else {
            panic!("not serve");
        };
        assert_eq!(args.sinks.modbus_server, [([127, 0, 0, 1], 5020).into()]);
    }

    #[test]
    fn what_a_command_requires_may_be_in_the_file() {
        let Command::Score(args) = merged("model = \"m\"\nformat = \"jsonl\"\n", &["score", "--", "--x.png"]).unwrap()
        else {
            panic!("not score");
        };
        assert_eq!(args.model, PathBuf::from("m"));
    }

    #[test]
    fn unknown_keys_and_wrong_kinds_are_named() {
        for (config, expected) in [
            ("epoch = 5\n", "unknown key `epoch`"),
            ("data = \"x\"\n", "unknown key `data`"),
            ("config = \"x\"\n", "unknown key `config`"),
            (
                "epochs = [1]\n",
                "`epochs` cannot be set to [1]; it takes a string or a number",
            ),
            ("epochs = true\n", "`epochs` cannot be set to true"),
            ("regions = [true]\n", "it takes a string, a number, or an array of them"),
            (
                "verbose = \"much\"\n",
                "it takes true, false, or a whole number from 0 to 9",
            ),
            ("epochs = \n", "is not valid TOML"),
        ] {
            let error = merged(config, &["train", "data"]).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{config}: {error:#}");
        }
    }
}
