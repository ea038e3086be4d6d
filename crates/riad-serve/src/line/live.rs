//! The state of a line, in memory. The store fills it when it is opened.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use riad::metrics::exact_interval;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Line, Model, drift};
use crate::{
    Result,
    store::{Answers, Inspection, LineRow, Origin, Store, Verdict, as_rfc3339, from_millis},
};

/// How many of the last scores are compared with the calibration's.
const SCORES: usize = 100;

/// How many of the last pauses between pictures say what a usual one is.
const PAUSES: usize = 50;

/// A line that pauses for so many usual pauses has stopped, but not before this time.
const USUAL_PAUSES: u32 = 10;
const SHORTEST: Duration = Duration::from_secs(10);

/// Of the ranges of what people's answers say.
const CONFIDENCE: f64 = 0.95;

/// As many pictures in a row that show no product, and something is wrong with more than one of them.
const STRANGE: usize = 3;

/// What a line is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Pictures come.
    Running,
    /// No picture has come since the service was started.
    Idle,
    /// A person should look at the line.
    Amber,
}

/// What the API says of a line.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LineState {
    /// What it is called.
    name: String,
    /// What it is doing.
    pub(crate) state: State,
    /// Why somebody should look.
    why: Option<String>,
    /// The first 12 digits of the SHA-256 of its model's file.
    model: String,
    /// The version of its model.
    version: u32,
    /// The method: `riad`, `restore` or `autoencoder`.
    method: String,
    /// Width of what the network looks at.
    width: usize,
    /// Height of what the network looks at.
    height: usize,
    /// Channels of an image.
    channels: usize,
    /// The false-positive rate that was asked for.
    rate: f64,
    /// With which probability that rate is kept.
    confidence: Option<f64>,
    /// The highest score that is called good.
    threshold: f32,
    /// What the calibration promises, in words.
    promise: String,
    /// The folder that pictures come into.
    watch: Option<String>,
    /// After how many seconds without a picture the line counts as stopped.
    expects_every: Option<f64>,
    /// The newest inspection.
    last: Option<Inspection>,
    /// Seconds since then, if it came since the service was started.
    seconds_since_last: Option<f64>,
    /// How many had each verdict since the shift began.
    shift: Shift,
    /// How many pictures wait.
    queue: usize,
    /// How many inspections a person is asked about.
    unanswered: u64,
    /// What people's answers say of the verdicts of the version in use.
    measured: Measured,
    /// The version that was used before this one.
    back: Option<u32>,
    /// How likely the last good scores differ as much from the calibration's if nothing has changed.
    pub(crate) drift: Option<f64>,
}

/// What people's answers say of the verdicts of the version in use: how many, of how many, and the exact range of the share with a
/// confidence of 95 % (Clopper and Pearson).
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Measured {
    /// Good ones among the pictures that were stopped.
    #[schema(value_type = Vec<f64>)]
    false_alarms: (u64, u64, f64, f64),
    /// Defective ones among the audited pictures that passed.
    #[schema(value_type = Vec<f64>)]
    misses: (u64, u64, f64, f64),
}

impl Measured {
    fn of(answered: [[u64; 2]; 2]) -> Self {
        let [false_alarms, misses] = answered.map(|[of_them, all]| {
            let [low, high] = exact_interval(of_them as usize, all as usize, CONFIDENCE);
            (of_them, all, low, high)
        });
        Self { false_alarms, misses }
    }
}

/// Counts of a shift.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Shift {
    /// When it began.
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    since: SystemTime,
    good: u64,
    defective: u64,
    not_this_product: u64,
    error: u64,
}

/// How a line goes.
#[derive(Debug)]
pub(crate) struct Live {
    /// When the shift began, in milliseconds since 1970.
    shift: i64,
    counts: [u64; 4],
    answers: Answers,
    /// The version that was used before the one in use.
    back: Option<u32>,
    /// Since the service was started.
    total: [u64; 4],
    last: Option<Inspection>,
    /// When that came, by a clock that nobody sets.
    came: Option<Instant>,
    pauses: VecDeque<Duration>,
    /// The version in use.
    version: u32,
    /// Scores of pictures that passed, by that version.
    scores: VecDeque<f32>,
    /// How many of the last pictures in a row showed no product.
    strange: usize,
    /// Whether the last picture could not be stored.
    is_full: bool,
}

impl Live {
    pub(super) fn open(line: &str, store: &Store, row: LineRow, model: &Model) -> Result<Self> {
        Ok(Self {
            shift: row.shift,
            counts: store.counts(line, row.first)?,
            answers: store.answers(line)?,
            back: row.previous,
            total: [0; 4],
            last: store.last(line)?,
            came: None,
            pauses: VecDeque::new(),
            version: model.version,
            scores: store.good_scores(line, model.version, SCORES as u32)?.into(),
            strange: 0,
            is_full: false,
        })
    }

    /// Takes in an inspection that was stored. What was only tried on the page is none of the line's.
    pub(super) fn note(&mut self, inspection: &Inspection) {
        self.is_full = false;
        if inspection.source == Origin::Page {
            return;
        }
        let now = Instant::now();
        if let Some(before) = self.came.replace(now) {
            push(&mut self.pauses, now - before, PAUSES);
        }
        if let Some(place) = Verdict::ALL.iter().position(|verdict| *verdict == inspection.verdict) {
            self.counts[place] += 1;
            self.total[place] += 1;
        }
        match inspection.verdict {
            Verdict::Good | Verdict::Defective => self.strange = 0,
            Verdict::NotThisProduct | Verdict::Error => self.strange += 1,
        }
        if let (Verdict::Good, Some(score)) = (inspection.verdict, inspection.score)
            && inspection.version == self.version
        {
            push(&mut self.scores, score, SCORES);
        }
        if inspection.label.is_none() && (inspection.verdict == Verdict::Defective || inspection.audit) {
            self.answers.unanswered += 1;
        }
        self.last = Some(inspection.clone());
    }

    /// An inspection got a label or lost it.
    pub(crate) fn labelled(&mut self, inspection: &Inspection, answers: Answers) {
        self.answers = answers;
        if let Some(last) = self.last.as_mut().filter(|last| last.id == inspection.id) {
            *last = inspection.clone();
        }
    }

    /// A picture could not be stored.
    pub(crate) fn could_not_store(&mut self) {
        self.is_full = true;
    }

    /// Another version is used from now on.
    pub(super) fn switched(&mut self, before: u32, now: u32, answers: Answers) {
        (self.back, self.version, self.answers) = (Some(before), now, answers);
        self.scores.clear();
    }

    pub(super) fn begin_shift(&mut self, at: i64) {
        self.shift = at;
        self.counts = [0; 4];
    }

    /// How many pictures had each verdict since the service was started, in the order of [`Verdict::ALL`].
    pub(crate) fn total(&self) -> [u64; 4] {
        self.total
    }

    /// Whether the last picture could not be stored.
    pub(crate) fn cannot_store(&self) -> bool {
        self.is_full
    }

    /// How long ago the last picture came.
    pub(crate) fn since_last(&self) -> Option<Duration> {
        self.came.map(|came| came.elapsed())
    }

    /// After which time without a picture the line counts as stopped; `None` before there were two.
    fn expects_every(&self) -> Option<Duration> {
        let mut pauses: Vec<_> = self.pauses.iter().copied().collect();
        pauses.sort();
        let usual = pauses.get(pauses.len() / 2)?;
        Some((*usual * USUAL_PAUSES).max(SHORTEST))
    }

    /// What the line is doing.
    pub(crate) fn doing(&self) -> State {
        self.doing_if(self.why().is_some())
    }

    fn doing_if(&self, is_amber: bool) -> State {
        match (is_amber, self.came) {
            (true, _) => State::Amber,
            (false, Some(_)) => State::Running,
            (false, None) => State::Idle,
        }
    }

    fn why(&self) -> Option<String> {
        if self.is_full {
            return Some("pictures cannot be stored: the disk is full or cannot be written".to_owned());
        }
        if self.strange >= STRANGE {
            return Some(format!(
                "the last {} pictures show no product that the model knows",
                self.strange
            ));
        }
        let (since, expected) = (self.since_last()?, self.expects_every()?);
        (since > expected).then(|| "no pictures come".to_owned())
    }

    pub(super) fn state(&self, line: &Line, model: &Model, queue: usize) -> LineState {
        let header = model.detector.header();
        let rate = line.rate();
        let why = self.why();
        let size = header.scoring.size();
        let [good, defective, not_this_product, error] = self.counts;
        let calibration = model.threshold.calibration();
        let passed = calibration
            .scores()
            .iter()
            .copied()
            .filter(|score| *score <= model.threshold.value());
        let passed: Vec<f32> = passed.collect();
        let scores: Vec<f32> = self.scores.iter().copied().collect();
        LineState {
            name: line.name.clone(),
            state: self.doing_if(why.is_some()),
            why,
            model: model.id().to_owned(),
            version: model.version,
            method: header.method().name().to_owned(),
            width: size.width,
            height: size.height,
            channels: model.detector.reader().channels,
            rate: rate.rate,
            confidence: rate.confidence,
            threshold: model.threshold.value(),
            promise: riad::rates_in_words_at(calibration, rate),
            watch: line.watch.as_ref().map(|folder| folder.display().to_string()),
            expects_every: self.expects_every().map(|time| time.as_secs_f64()),
            last: self.last.clone(),
            seconds_since_last: self.since_last().map(|time| time.as_secs_f64()),
            shift: Shift {
                since: from_millis(self.shift),
                good,
                defective,
                not_this_product,
                error,
            },
            queue,
            unanswered: self.answers.unanswered,
            measured: Measured::of(self.answers.answered),
            back: self.back,
            drift: drift::p_value(&passed, &scores),
        }
    }
}

fn push<T>(row: &mut VecDeque<T>, value: T, most: usize) {
    if row.len() == most {
        row.pop_front();
    }
    row.push_back(value);
}
