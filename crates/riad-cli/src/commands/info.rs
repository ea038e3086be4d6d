//! `riad info`.

use anyhow::{Context, Result};
use riad::facts::{Info, facts};
use riad_model::Checkpoint;

use crate::{Ending, args::InfoArgs, print::print};

pub(crate) fn run(args: &InfoArgs) -> Result<Ending> {
    let checkpoint = Checkpoint::open(&args.model)?;
    let text = if args.json {
        let info = Info::of(&checkpoint, &args.model)?;
        serde_json::to_string_pretty(&info).context("the header cannot be written as JSON")? + "\n"
    } else {
        let lines = facts(&checkpoint, &args.model)?.into_iter();
        lines.map(|(name, value)| line(name, &value)).collect()
    };
    print("the facts about the model", text)?;
    Ok(Ending::Done)
}

/// Columns of a line, and of the name that it begins with.
const COLUMNS: usize = 80;
const NAME: usize = 17;

/// A name, and what it is in as many lines as it takes; a word that is longer than a line is not broken.
fn line(name: &str, value: &str) -> String {
    let mut text = format!("{name:<NAME$}");
    let mut column = NAME;
    for (index, word) in value.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > COLUMNS {
            text += &format!("\n{:NAME$}", "");
            column = NAME;
        } else if index > 0 {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += length;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_facts_are_broken_between_words() {
        assert_eq!(line("maps", "edges"), "maps             edges\n");
        let words = ["word"; 30].join(" ");
        let text = line("name", &words);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.len() > 1 && lines.iter().all(|line| line.len() <= COLUMNS),
            "{text}"
        );
        assert!(lines[1].starts_with("                 word"), "{text}");
        let said: Vec<&str> = text.split_whitespace().skip(1).collect();
        assert_eq!(said.join(" "), words);
        let path = "x".repeat(100);
        assert_eq!(line("file", &path), format!("file             {path}\n"));
    }
}
