//! What was measured, as Markdown.

use std::fmt::Write;

use super::Results;
use super::run::{Bout, Contestant};

/// The median, the least and the largest value.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Summary {
    median: f64,
    least: f64,
    largest: f64,
}

impl Bout {
    /// Over the rounds of which no disturbance is known, if those are at least half. There is none of who failed or was refused.
    fn summary(&self, contestant: &Contestant) -> Option<Summary> {
        if contestant.failure.is_some() || contestant.refusal.is_some() {
            return None;
        }
        let chosen = contestant.values.iter().zip(&self.quiet);
        let mut values: Vec<f64> = chosen
            .filter(|(_, quiet)| **quiet != Some(false) || self.is_memory || self.is_disturbed())
            .map(|(value, _)| *value)
            .collect();
        values.sort_by(f64::total_cmp);
        let (least, largest) = (*values.first()?, *values.last()?);
        let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        Some(Summary { median, least, largest })
    }

    /// Whether most rounds were disturbed, so that disturbed ones had to be counted.
    fn is_disturbed(&self) -> bool {
        !self.is_memory && 2 * self.rounds(Some(false)) > self.quiet.len()
    }

    /// The number of rounds of which this is known.
    fn rounds(&self, quiet: Option<bool>) -> usize {
        self.quiet.iter().filter(|of_round| **of_round == quiet).count()
    }

    /// Ours in f32, or in bf16.
    fn ours(&self, bf16: bool) -> Option<Summary> {
        let ours = self.contestants.iter().find(|one| one.is_ours() && one.bf16 == bf16)?;
        self.summary(ours)
    }

    /// The best of the peers in f32, or in bf16.
    fn best(&self, bf16: bool) -> Option<(&Contestant, Summary)> {
        let peers = self
            .contestants
            .iter()
            .filter(|peer| !peer.is_ours() && peer.bf16 == bf16);
        peers
            .filter_map(|peer| Some((peer, self.summary(peer)?)))
            .min_by(|(_, a), (_, b)| a.median.total_cmp(&b.median))
    }

    fn show(&self, value: f64) -> String {
        match self.is_memory {
            true => format!("{:.0} MiB", value / f64::from(1 << 20)),
            false if value < 0.1 => format!("{:.1} ms", value * 1e3),
            false if value < 1.0 => format!("{:.0} ms", value * 1e3),
            false => format!("{value:.2} s"),
        }
    }
}

/// A workload's table, with its heading and what to know.
pub(super) fn table(bout: &Bout, peak: f64) -> String {
    let mut text = format!("\n### {}\n\n{}\n\n", bout.title, bout.caveat);
    let has_macs = bout.macs > 0.0;
    let rate_columns = if has_macs { " GFLOP/s | of FMA peak |" } else { "" };
    let difference_column = if bout.compared.is_empty() {
        ""
    } else {
        " largest difference |"
    };
    let _ = writeln!(
        text,
        "| | median | takes, of ours | spread |{rate_columns}{difference_column}"
    );
    let columns = 4 + 2 * usize::from(has_macs) + usize::from(!difference_column.is_empty());
    let _ = writeln!(text, "|{}", "---|".repeat(columns));
    let ours = bout.ours(false);
    let best = bout.best(false).map(|(peer, _)| peer.title.as_str());
    let mut row = |title: &str, value: f64, spread: &str, difference: Option<f64>| {
        let ratio = ours.map_or("–".into(), |ours| format!("{:.2}×", value / ours.median));
        let _ = write!(text, "| {title} | {} | {ratio} | {spread} |", bout.show(value));
        if has_macs {
            let rate = 2.0 * bout.macs / value / 1e9;
            let share = if peak > 0.0 {
                format!("{:.0} %", 100.0 * rate / peak)
            } else {
                "–".into()
            };
            let _ = write!(text, " {rate:.0} | {share} |");
        }
        if !difference_column.is_empty() {
            let difference = difference.map_or("–".into(), |value| format!("{value:.1e}"));
            let _ = write!(text, " {difference} |");
        }
        text.push('\n');
    };
    let mut notes = String::new();
    for contestant in &bout.contestants {
        let is_marked = contestant.is_ours() || Some(contestant.title.as_str()) == best;
        let mark = if is_marked { "**" } else { "" };
        let Some(summary) = bout.summary(contestant) else {
            if contestant.refusal.is_none() {
                let failure = contestant.failure.as_deref().unwrap_or("no round ended");
                let _ = writeln!(notes, "- {} could not take part: {failure}", contestant.title);
            }
            continue;
        };
        if !contestant.note.is_empty() {
            let _ = writeln!(notes, "- {}: {}.", contestant.title, contestant.note);
        }
        let spread = format!("{} to {}", bout.show(summary.least), bout.show(summary.largest));
        let title = format!("{mark}{}{mark}", contestant.title);
        row(&title, summary.median, &spread, contestant.difference);
    }
    if let Some(riad_bench) = bout.riad_bench.as_ref().filter(|one| one.refusal.is_none()) {
        for mean in &riad_bench.values {
            row(&riad_bench.title, *mean, "–", None);
        }
    }
    for refused in bout.refused() {
        let refusal = refused.refusal.as_deref().unwrap_or_default();
        let _ = writeln!(notes, "- **{} is refused**: {refusal}.", refused.title);
    }
    text.push('\n');
    if !notes.is_empty() {
        let _ = writeln!(text, "{notes}");
    }
    if bout.is_memory {
        return text; // Nobody's work disturbs it.
    }
    let (quiet, unknown) = (bout.rounds(Some(true)), bout.rounds(None));
    let _ = write!(text, "{} rounds, {quiet} of them undisturbed", bout.quiet.len());
    if unknown > 0 {
        let _ = write!(text, ", {unknown} of them not known to be");
    }
    text += match bout.is_disturbed() {
        true => ". **Disturbed: other processes or a slower machine in most rounds; do not rely on these numbers.**\n",
        false => ".\n",
    };
    if !bout.compared.is_empty() {
        let _ = writeln!(
            text,
            "Compared: {}; f32 peers must agree within {:.0e}.",
            bout.compared, bout.tolerance
        );
    }
    text
}

/// `docs/benchmarks.md`.
pub(super) fn document(results: &Results) -> String {
    let mut text = format!(
        "# Benchmarks\n\n\
         Written by `{}` on {}; raw numbers in `target/bench/results.json`.\n\n\
         - Machine: {}\n\
         - Threads of every contestant: {}\n",
        results.command, results.date, results.machine, results.threads
    );
    let _ = match results.peak > 0.0 {
        true => writeln!(
            text,
            "- FMA peak, measured between rounds, best: {:.0} GFLOP/s f32",
            results.peak
        ),
        false => writeln!(
            text,
            "- FMA peak: not known of this processor, so no result can be refused"
        ),
    };
    let versions = results.versions.as_object().into_iter().flatten();
    let versions: Vec<String> = versions
        .map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or_default()))
        .collect();
    let _ = writeln!(text, "- riad {}, {}", env!("CARGO_PKG_VERSION"), versions.join(", "));
    let disturbed: Vec<&str> = results
        .bouts
        .iter()
        .filter(|bout| bout.is_disturbed())
        .map(|bout| bout.title.as_str())
        .collect();
    if let Some(others) = results
        .others_before
        .filter(|others| *others > super::run::OTHERS_ALLOWED)
    {
        let _ = writeln!(
            text,
            "- **Other processes used {:.0} % of a processor before the run began.**",
            100.0 * others
        );
    }
    if !disturbed.is_empty() {
        let _ = writeln!(text, "- **Disturbed, not to be relied on: {}.**", disturbed.join("; "));
    }
    for bout in &results.bouts {
        for refused in bout.refused() {
            let _ = writeln!(
                text,
                "- **Refused, faster than this machine can be: {}, {}.**",
                bout.title, refused.title
            );
        }
    }
    text += "\n## How to read it\n\n\
        In each round, all contestants of a workload run in turn, on the same weights and inputs. The order rotates \
        from round to round. Numbers are medians over undisturbed rounds. A round is undisturbed if no other process \
        uses over 5 % of a processor and the FMA peak stays within 10 % of its best.\n\n\
        - *Takes, of ours* is a peer's median divided by riad's in f32. If it is above 1, riad is faster or smaller. \
        If it is below 1, the peer is. *Takes, of our faster* divides by the faster of riad's two medians, f32 or \
        bf16.\n\
        - *Largest difference* is the largest difference of a peer's result from riad's in f32.\n\
        - Bold rows are riad and the best peer in f32.\n\
        - bf16 rows are less precise, and often faster. The tables show them because a user could choose bf16. riad \
        has bf16 for scoring on processors with AMX.\n\
        - GFLOP/s count the multiplications and additions in the definition of the layers. An algorithm that needs \
        fewer of them can exceed 100 % of the peak. Winograd's method needs at least a quarter of them.\n\
        - If a result exceeds four times the peak, the contestant cannot have done the work, and the report refuses \
        the result. In bf16 the limit is four times the peak of the processor's instructions for bf16.\n\
        - Peers for inference run with batch norms folded into weights.\n\n\
        This page does not cover [GPUs](gpu.md), [other processors](processors.md), int8, or bf16 on a processor \
        without instructions for it.\n\n\
        ## In short\n\n\
        | work | riad | best peer in f32 | takes, of ours | riad in bf16 | best peer in bf16 | takes, of our faster |\n\
        |---|---|---|---|---|---|---|\n";
    for bout in &results.bouts {
        let (ours, bf16) = (bout.ours(false), bout.ours(true));
        let show = |ours: Option<Summary>| ours.map_or("–".into(), |ours| bout.show(ours.median));
        let against = |peer: Option<(&Contestant, Summary)>, ours: Option<f64>| {
            let Some((peer, summary)) = peer else {
                return "– | –".into();
            };
            let ratio = ours.map_or("–".into(), |ours| format!("{:.2}×", summary.median / ours));
            format!("{}, {} | {ratio}", peer.title, bout.show(summary.median))
        };
        let medians = [ours, bf16].map(|ours| ours.map(|ours| ours.median));
        let faster = medians.into_iter().flatten().reduce(f64::min);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            bout.title,
            show(ours),
            against(bout.best(false), medians[0]),
            show(bf16),
            against(bout.best(true), faster)
        );
    }
    text += "\n## Each workload\n";
    for bout in &results.bouts {
        text += &table(bout, results.peak);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bout(quiet: &[bool], ours: &[f64], peer: &[f64]) -> Bout {
        let contestant = |title: &'static str, values: &[f64]| Contestant {
            peer: title,
            title: title.into(),
            values: values.to_vec(),
            ..Default::default()
        };
        Bout {
            name: "x".into(),
            title: "X".into(),
            contestants: vec![contestant("riad", ours), contestant("peer", peer)],
            quiet: quiet.iter().copied().map(Some).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn disturbed_rounds_count_only_where_most_are() {
        let values = [1.0, 9.0, 2.0, 3.0];
        let calm = bout(&[true, false, true, true], &values, &values);
        assert_eq!(
            calm.ours(false),
            Some(Summary {
                median: 2.0,
                least: 1.0,
                largest: 3.0
            })
        );
        let busy = bout(&[true, false, false, false], &values, &values);
        assert_eq!(busy.ours(false).map(|summary| summary.median), Some(2.5));
        assert!(table(&busy, 0.0).contains("do not rely on these numbers"));
        assert!(!table(&calm, 0.0).contains("do not rely on these numbers"));
    }

    #[test]
    fn a_round_that_nobody_watched_counts_and_is_not_called_undisturbed() {
        let values = [1.0, 9.0, 2.0, 3.0];
        let mut unwatched = bout(&[true; 4], &values, &values);
        unwatched.quiet = vec![None, Some(false), None, None];
        assert_eq!(unwatched.ours(false).map(|summary| summary.median), Some(2.0));
        let text = table(&unwatched, 0.0);
        assert!(
            text.contains("4 rounds, 0 of them undisturbed, 3 of them not known to be."),
            "{text}"
        );
    }

    #[test]
    fn a_peer_that_failed_is_named_and_not_the_best() {
        let mut bout = bout(&[true], &[0.25], &[1.0]);
        bout.contestants.push(Contestant {
            title: "broken".into(),
            values: vec![0.1],
            failure: Some("no answer within 300 s".into()),
            ..Default::default()
        });
        assert_eq!(bout.best(false).map(|(peer, _)| peer.title.as_str()), Some("peer"));
        let text = table(&bout, 0.0);
        assert!(text.contains("| **peer** | 1.00 s | 4.00× |"), "{text}");
        assert!(
            text.contains("broken could not take part: no answer within 300 s"),
            "{text}"
        );
    }

    #[test]
    fn who_is_refused_is_named_and_counts_for_nothing() {
        let mut bout = bout(&[true], &[1e-4], &[1.0]);
        bout.macs = 1e9;
        bout.contestants[0].refusal = Some("too fast".into());
        bout.riad_bench = Some(Contestant {
            title: "`riad bench`".into(),
            values: vec![0.5],
            ..Default::default()
        });
        let text = table(&bout, 4.0);
        assert!(text.contains("- **riad is refused**: too fast."), "{text}");
        assert!(!text.contains("0.1 ms"), "{text}");
        assert!(
            text.contains("| **peer** | 1.00 s | – | 1.00 s to 1.00 s | 2 | 50 % |"),
            "{text}"
        );
        assert!(text.contains("| `riad bench` | 500 ms | – | – | 4 | 100 % |"), "{text}");

        let results = Results {
            machine: "a machine".into(),
            threads: 1,
            command: "a command".into(),
            date: "a date".into(),
            versions: serde_json::Value::Null,
            peak: 4.0,
            others_before: None,
            bouts: vec![bout],
        };
        let document = document(&results);
        assert!(
            document.contains("- **Refused, faster than this machine can be: X, riad.**"),
            "{document}"
        );
        assert!(
            document.contains("| X | – | peer, 1.00 s | – | – | – | – |"),
            "{document}"
        );
    }
}
