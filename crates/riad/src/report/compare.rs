//! The page that compares several runs on the same test images.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use askama::Template;

use super::verdict::{Judge, Outcome};
use crate::{
    Error, Result,
    evaluation::{Evaluation, ImageScore, Metrics},
    files::{check_replaces, write_whole},
    page::{content_policy, style},
    render::{Thumbnail, ThumbnailKind},
};

#[derive(Template)]
#[template(path = "compare.html")]
struct Page<'a> {
    version: &'static str,
    policy: String,
    style: String,
    category: &'a str,
    images: usize,
    sentences: Vec<String>,
    /// Whether verdicts are those of thresholds that can be had without the images' labels.
    is_calibrated: bool,
    columns: Vec<Column<'a>>,
    metrics: Vec<Row>,
    counts: &'a [Count],
    disagreements: usize,
    shots: Vec<Shot<'a>>,
}

/// A run.
struct Column<'a> {
    letter: char,
    model: &'a str,
    judge: String,
    notes: Vec<String>,
}

/// A metric of each run.
struct Row {
    name: &'static str,
    values: Vec<Value>,
}

struct Value {
    shown: String,
    is_best: bool,
}

/// Images that the same runs call defective.
#[derive(Debug, PartialEq)]
pub(crate) struct Count {
    who: String,
    defective: usize,
    good: usize,
}

/// An image as each run sees it.
struct Shot<'a> {
    path: &'a str,
    kind: &'a str,
    image: Option<&'a Thumbnail>,
    truth: Option<&'a Thumbnail>,
    views: Vec<View<'a>>,
    disagrees: bool,
}

struct View<'a> {
    letter: char,
    score: String,
    outcome: Outcome,
    map: Option<&'a Thumbnail>,
    overlay: Option<&'a Thumbnail>,
}

/// The results of several runs on the same images.
pub struct Comparison<'a> {
    results: &'a [Evaluation],
    judges: Vec<Judge>,
    is_calibrated: bool,
    /// The images that all runs could measure, with those of each run.
    images: Vec<Vec<&'a ImageScore>>,
    counts: Vec<Count>,
}

impl Comparison<'_> {
    /// The largest number of runs in a comparison. Each run has a letter as its name.
    pub const MOST: usize = 26;
}

impl<'a> Comparison<'a> {
    /// Compares runs by their calibrated thresholds. If not all runs have one, compares them by the thresholds of their
    /// best F1.
    ///
    /// # Errors
    /// If they have neither, or no image in common, or there are more than [`Self::MOST`].
    pub fn new(results: &'a [Evaluation]) -> Result<Self> {
        if results.len() > Self::MOST {
            return Err(Error::request(format!(
                "at most {} runs can be compared at once",
                Self::MOST
            )));
        }
        let of = |judge: fn(&Evaluation) -> Option<Judge>| results.iter().map(judge).collect::<Option<Vec<_>>>();
        let calibrated = of(|result| Judge::calibrated(&result.findings));
        let is_calibrated = calibrated.is_some();
        let judges = calibrated.or_else(|| of(|result| Judge::oracle(&result.findings)));
        let Some(judges) = judges else {
            return Err(Error::NoImages(
                "the runs cannot be compared: not all of them have a threshold, and a best threshold needs both good \
                 and defective images"
                    .into(),
            ));
        };
        let by_path = |result: &'a Evaluation| -> BTreeMap<&'a str, &'a ImageScore> {
            let images = result.findings.images.iter();
            images.map(|image| (image.path.as_str(), image)).collect()
        };
        let all: Vec<_> = results.iter().map(by_path).collect();
        let first = results.first().ok_or_else(|| Error::request("there are no runs"))?;
        let in_all = |image: &ImageScore| {
            all.iter()
                .map(|of_run| of_run.get(image.path.as_str()).copied())
                .collect()
        };
        let images: Vec<Vec<&ImageScore>> = first.findings.images.iter().filter_map(in_all).collect();
        if images.is_empty() {
            return Err(Error::NoImages(
                "there is no test image that all runs could measure".into(),
            ));
        }
        let counts = counts(&images, &judges);
        Ok(Self {
            results,
            judges,
            is_calibrated,
            images,
            counts,
        })
    }

    /// Which run finds which defects, in a few lines.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for (letter, result) in ('A'..).zip(self.results) {
            let _ = writeln!(text, "{letter}: {}", result.model);
        }
        for sentence in self.sentences() {
            let _ = writeln!(text, "{sentence}");
        }
        if !self.is_calibrated {
            text += "Not all runs have a threshold, so each uses that of its best F1. Nobody knows this \
                 threshold\nbeforehand.\n";
        }
        text
    }

    /// How many defects are found, and good images stopped, by whom.
    fn sentences(&self) -> Vec<String> {
        let told = |one: &str, verb: &str, part: fn(&Count) -> usize| {
            let of: usize = self.counts.iter().map(part).sum();
            let of_all = match of {
                0 => return None,
                1 => format!("The {one} is {verb} by"),
                _ => format!("Of {of} {one}s are {verb} by"),
            };
            let parts = self.counts.iter().map(|count| format!("{} {}", count.who, part(count)));
            Some(format!("{of_all}: {}", parts.collect::<Vec<_>>().join(", ")))
        };
        let defects = told("defect", "found", |count| count.defective);
        let good = told("good one", "stopped", |count| count.good);
        defects.into_iter().chain(good).collect()
    }

    /// Writes the page, whole.
    pub fn write(&self, file: &Path) -> Result<()> {
        let style = style();
        let columns = ('A'..).zip(self.results).zip(&self.judges);
        let columns = columns.map(|((letter, result), judge)| Column {
            letter,
            model: &result.model,
            judge: judge.name(),
            notes: result.caution.iter().cloned().chain(result.findings.notes()).collect(),
        });
        let mut shots: Vec<_> = self.images.iter().map(|views| (self.spread(views), views)).collect();
        shots.sort_by(|(a, _), (b, _)| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
        let page = Page {
            version: env!("CARGO_PKG_VERSION"),
            policy: content_policy(&style, None),
            style,
            category: self.results.first().map_or("", |result| result.name.as_str()),
            images: self.images.len(),
            sentences: self.sentences(),
            is_calibrated: self.is_calibrated,
            columns: columns.collect(),
            metrics: self.metrics(),
            counts: &self.counts,
            disagreements: shots.iter().filter(|((disagrees, _), _)| *disagrees).count(),
            shots: shots
                .iter()
                .filter_map(|&((disagrees, _), views)| self.shot(views, disagrees))
                .collect(),
        };
        let html = page.render().map_err(Error::render("the comparison"))?;
        check_replaces(file, super::PAGES)?;
        write_whole(file, html.as_bytes())
    }

    /// Whether the runs disagree on an image, and how far apart they are: in multiples of their thresholds, for scores of
    /// different methods have different scales.
    fn spread(&self, views: &[&ImageScore]) -> (bool, f32) {
        let flags = views
            .iter()
            .zip(&self.judges)
            .map(|(image, judge)| judge.flags(image.score));
        let [any, all] = [flags.clone().any(|flag| flag), flags.clone().all(|flag| flag)];
        let ratios = views
            .iter()
            .zip(&self.judges)
            .map(|(image, judge)| image.score / judge.threshold.abs().max(f32::MIN_POSITIVE));
        let (low, high) = ratios.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), ratio| {
            (low.min(ratio), high.max(ratio))
        });
        (any && !all, high - low)
    }

    fn shot(&self, views: &[&'a ImageScore], disagrees: bool) -> Option<Shot<'a>> {
        let first = *views.first()?;
        let picture = |image: &'a ImageScore, is_it: fn(&ThumbnailKind) -> bool| {
            image.thumbnails.iter().find(|thumbnail| is_it(&thumbnail.kind))
        };
        let views = ('A'..)
            .zip(views)
            .zip(&self.judges)
            .map(|((letter, &image), judge)| View {
                letter,
                score: format!("{:.4}", image.score),
                outcome: judge.outcome(image),
                map: picture(image, |kind| *kind == ThumbnailKind::MeanMap),
                overlay: picture(image, |kind| matches!(kind, ThumbnailKind::Overlay(_))),
            });
        Some(Shot {
            path: &first.path,
            kind: first.defect.as_deref().unwrap_or("good"),
            image: picture(first, |kind| *kind == ThumbnailKind::Image),
            truth: picture(first, |kind| *kind == ThumbnailKind::GroundTruth),
            views: views.collect(),
            disagrees,
        })
    }

    /// Metrics that are defined for at least one run, and what thresholds do.
    fn metrics(&self) -> Vec<Row> {
        let of = |metric: fn(&Metrics) -> Option<f64>| {
            let values = self.results.iter().map(|result| metric(&result.findings.metrics));
            values.collect::<Vec<_>>()
        };
        let flagged = |is_defective: bool| {
            let runs = self.judges.iter().enumerate();
            let share = runs.map(|(run, judge)| {
                let images = self.images.iter().map(|views| views[run]);
                let of_class = images.filter(|image| image.defect.is_some() == is_defective);
                let count = of_class.clone().count();
                (count > 0).then(|| of_class.filter(|image| judge.flags(image.score)).count() as f64 / count as f64)
            });
            share.collect::<Vec<_>>()
        };
        [
            ("defects found", flagged(true), true),
            ("good ones stopped", flagged(false), false),
            ("image AUROC", of(|metrics| metrics.image_auroc), true),
            ("pixel AUROC", of(|metrics| metrics.pixel_auroc), true),
            ("pixel AP", of(|metrics| metrics.pixel_ap), true),
            ("AUPRO", of(|metrics| metrics.aupro), true),
            ("F1-max", of(|metrics| metrics.f1_max), true),
        ]
        .into_iter()
        .filter(|(_, values, _)| values.iter().any(Option::is_some))
        .map(|(name, values, more_is_better)| Row {
            name,
            values: marked(&values, more_is_better),
        })
        .collect()
    }
}

/// Shares in per cent, of which the best are marked unless all are the same as they are shown.
fn marked(values: &[Option<f64>], more_is_better: bool) -> Vec<Value> {
    let shown: Vec<_> = values
        .iter()
        .map(|value| value.map(|value| (1000.0 * value).round() as i64))
        .collect();
    let defined = || shown.iter().flatten().copied();
    let best = if more_is_better {
        defined().max()
    } else {
        defined().min()
    };
    let all_alike = shown.iter().all(|value| *value == best);
    let value = |value: &Option<i64>| Value {
        shown: value.map_or_else(|| "–".to_owned(), |value| format!("{:.1}", value as f64 / 10.0)),
        is_best: !all_alike && value.is_some() && *value == best,
    };
    shown.iter().map(value).collect()
}

/// How many images each set of runs calls defective: of two runs all four sets, of more those that there are.
fn counts(images: &[Vec<&ImageScore>], judges: &[Judge]) -> Vec<Count> {
    let runs = judges.len();
    let mut counts: BTreeMap<Vec<bool>, [usize; 2]> = BTreeMap::new();
    if runs == 2 {
        for set in [[true, true], [true, false], [false, true], [false, false]] {
            counts.insert(set.to_vec(), [0; 2]);
        }
    }
    for views in images {
        let flags = views.iter().zip(judges).map(|(image, judge)| judge.flags(image.score));
        let is_defective = views.first().is_some_and(|image| image.defect.is_some());
        counts.entry(flags.collect()).or_default()[usize::from(is_defective)] += 1;
    }
    // Those whom most runs find come first, and among equals the first run's.
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(flags, _)| {
        let found = flags.iter().filter(|flag| **flag).count();
        (runs - found, flags.iter().map(|flag| !flag).collect::<Vec<_>>())
    });
    let count = |(flags, [good, defective]): (Vec<bool>, [usize; 2])| Count {
        who: who(&flags),
        defective,
        good,
    };
    counts.into_iter().map(count).collect()
}

/// What a set of runs is called.
fn who(flags: &[bool]) -> String {
    let letters = ('A'..).zip(flags).filter(|(_, flag)| **flag);
    let letters: Vec<_> = letters.map(|(letter, _)| letter.to_string()).collect();
    match (letters.len(), flags.len()) {
        (0, 2) => "neither".to_owned(),
        (0, _) => "none".to_owned(),
        (2, 2) => "both".to_owned(),
        (count, of) if count == of => "all".to_owned(),
        _ => format!("only {}", letters.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_runs_have_names() {
        let names = [
            (&[true, true][..], "both"),
            (&[true, false], "only A"),
            (&[false, true], "only B"),
            (&[false, false], "neither"),
            (&[true, true, true], "all"),
            (&[true, false, true], "only A and C"),
            (&[false, false, false], "none"),
        ];
        for (flags, name) in names {
            assert_eq!(who(flags), name);
        }
    }

    #[test]
    fn the_better_value_is_marked_and_equal_ones_are_not() {
        let best = |values: &[Option<f64>], more| {
            let marked = marked(values, more);
            marked.iter().map(|value| value.is_best).collect::<Vec<_>>()
        };
        assert_eq!(best(&[Some(0.9), Some(0.8)], true), [true, false]);
        assert_eq!(best(&[Some(0.9), Some(0.8)], false), [false, true]);
        assert_eq!(best(&[Some(0.90001), Some(0.9)], true), [false, false]);
        assert_eq!(best(&[None, Some(0.8)], true), [false, true]);
        assert_eq!(best(&[Some(0.9), Some(0.9), Some(0.8)], true), [true, true, false]);
        assert_eq!(marked(&[None, Some(0.123)], true)[1].shown, "12.3");
    }
}
