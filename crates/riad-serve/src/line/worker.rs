//! From a waiting picture to a stored inspection.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use rayon::{ThreadPool, ThreadPoolBuilder};
use riad::render::{
    Plane,
    raw::{npy, tiff},
};
use serde::Deserialize;
use tempfile::TempPath;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use utoipa::ToSchema;

use super::{
    Line, Queue,
    model::{Judgement, Model},
};
use crate::{
    Error,
    clock::Moment,
    events::{Event, Events},
    store::{Entry, Inspection, Key, Links, Origin, Part, Store, Stored, Verdict},
};

/// How many regions an inspection lists, those with the highest peaks. A noisy map may have a hundred thousand, which nobody reads, and
/// which no broker takes in one message.
const MOST_REGIONS: usize = 100;

/// A picture that waits to be scored.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) line: Arc<Line>,
    pub(crate) picture: Picture,
    pub(crate) received: Moment,
    pub(crate) source: Origin,
    /// What its sender calls it.
    pub(crate) name: Option<String>,
    pub(crate) key: Option<Key>,
    /// What the watched folder knows it by.
    pub(crate) identity: Option<String>,
    /// When nobody waits for it any more.
    pub(crate) deadline: Option<Instant>,
    /// The numbers of its map that are asked for.
    pub(crate) numbers: Option<Numbers>,
    /// Its room in the line, until it is stored: a line with pictures under way is not deleted.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    pub(crate) answer: Answer,
}

/// Where a picture is that came in.
#[derive(Debug)]
pub(crate) enum Picture {
    /// In a file of the store.
    File(TempPath),
    /// In memory, because the disk is full. It can be judged, but not kept.
    Memory {
        bytes: Vec<u8>,
        /// Room for it, of which there is little.
        _room: OwnedSemaphorePermit,
    },
}

/// Who waits for what becomes of a picture.
pub(crate) type Answer = oneshot::Sender<Result<Judged, Refusal>>;

/// In which format a map's numbers are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Numbers {
    /// A NumPy array of f32 of the shape [height, width].
    Npy,
    /// A TIFF of one f32 a pixel.
    Tiff,
}

/// A picture that was judged.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) inspection: Inspection,
    /// The map's file, if its numbers were asked for, unless the picture was judged before: another version may have done that.
    pub(crate) map: Option<Vec<u8>>,
    /// Why it could not be stored; its verdict stands all the same.
    pub(crate) not_stored: Option<Error>,
}

/// Why a picture was not judged.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Its time was up before its turn came.
    Late,
    /// Another picture has its sender's key: the number of that inspection. It came while this one was judged.
    Other(i64),
    /// An error in the program.
    Panicked,
}

/// Scores what waits until the queue is closed and empty. `judging` is how many workers judge a picture at this time.
pub(crate) fn work(queue: &Queue<Job>, store: &Store, events: &Events, judging: &AtomicUsize) {
    let own = ThreadPoolBuilder::new().num_threads(1).build().ok();
    while let Some(job) = queue.next() {
        if job.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let _ = job.answer.send(Err(Refusal::Late));
            continue;
        }
        let model = job.line.model();
        // One picture that meets a fault of ours must not take the others with it.
        let judged = catch_unwind(AssertUnwindSafe(|| judge(&job, &model, own.as_ref(), judging)));
        match judged {
            Ok((judgement, map)) => {
                let inspection = inspection(&job, &model, &judgement);
                keep(job, inspection, map, store, events.clone());
            }
            Err(_) => {
                tracing::error!(
                    "line {}: a picture caused an error in the program; please report it",
                    job.line.name
                );
                let _ = job.answer.send(Err(Refusal::Panicked));
            }
        }
    }
}

/// Judges a picture. Also gives the map's file, if its numbers were asked for.
fn judge(job: &Job, model: &Model, own: Option<&ThreadPool>, judging: &AtomicUsize) -> (Judgement, Option<Vec<u8>>) {
    let judge = || {
        let judgement = match &job.picture {
            Picture::File(path) => model.judge(path),
            Picture::Memory { bytes, .. } => model.judge_bytes(bytes),
        };
        let found = judgement.found.as_ref();
        let map = found
            .zip(job.numbers)
            .and_then(|(found, format)| numbers(format, found));
        (judgement, map)
    };
    // If a picture is alone, all threads judge it, so that its answer comes soon. If there are several, each gets one thread:
    // threads that share a small picture wait for each other. A picture in tiles is large, and would be late on one thread.
    let counted = Judging::new(judging);
    let is_small = model.detector.header().scoring.tiling.is_none();
    match own.filter(|_| is_small && 2 * counted.at_once > rayon::current_num_threads()) {
        Some(own) => own.install(judge),
        None => judge(),
    }
}

/// Counts a worker as judging as long as it lives.
struct Judging<'a> {
    judging: &'a AtomicUsize,
    /// How many judge, this one included.
    at_once: usize,
}

impl<'a> Judging<'a> {
    fn new(judging: &'a AtomicUsize) -> Self {
        let at_once = judging.fetch_add(1, Ordering::Relaxed) + 1;
        Self { judging, at_once }
    }
}

impl Drop for Judging<'_> {
    fn drop(&mut self) {
        self.judging.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The row of a picture that was judged. The store gives it its number.
fn inspection(job: &Job, model: &Model, judgement: &Judgement) -> Inspection {
    let found = judgement.found.as_ref();
    Inspection {
        id: 0,
        line: job.line.name.clone(),
        received: job.received.told(),
        ran: job.received.ran(),
        source: job.source,
        name: job.name.clone(),
        verdict: judgement.verdict,
        reason: judgement.reason.clone(),
        score: found.map(riad::Inspection::score),
        p_value: found.and_then(riad::Inspection::p_value),
        threshold: Some(model.threshold.value()),
        rate: model.threshold.rate().rate,
        confidence: model.threshold.rate().confidence,
        regions: listed(&judgement.regions),
        regions_total: judgement.regions.len(),
        width: found.map(|found| found.original_size().width),
        height: found.map(|found| found.original_size().height),
        pictures: found.and_then(riad::Inspection::file_facts).map(|facts| facts.pictures),
        model: model.id().to_owned(),
        version: model.version,
        riad_version: env!("CARGO_PKG_VERSION").to_owned(),
        ms: judgement.ms,
        audit: judgement.verdict != Verdict::Error && job.source != Origin::Page && job.line.is_drawn(),
        label: None,
        labelled: None,
        kept: false,
        links: Links::default(),
        picture: None,
        bytes: 0,
    }
}

/// The regions that an inspection lists. They come with the highest peak first.
fn listed(regions: &[Part]) -> Vec<Part> {
    regions[..regions.len().min(MOST_REGIONS)].to_vec()
}

/// Stores an inspection, and then tells of it.
fn keep(job: Job, inspection: Inspection, map: Option<Vec<u8>>, store: &Store, events: Events) {
    let unstored = inspection.clone();
    let entry = Entry {
        // What cannot be looked at is not worth its room.
        picture: match &job.picture {
            Picture::File(path) if inspection.verdict != Verdict::Error => Some(path.to_path_buf()),
            _ => None,
        },
        inspection,
        key: job.key,
        identity: job.identity,
    };
    let (line, answer, picture, room) = (job.line, job.answer, job.picture, job.room);
    let is_lost = matches!(picture, Picture::Memory { .. });
    store.insert(entry, move |stored| {
        let judged = match stored {
            Ok(Stored::New(inspection)) => {
                line.note(&inspection);
                if is_lost {
                    line.live().could_not_store();
                    tracing::error!("line {}: the disk is full; a picture is not kept", line.name);
                }
                events.stored(inspection.id);
                events.send(Event::Inspection, &inspection);
                Ok((inspection, map, None))
            }
            Ok(Stored::Before(inspection)) => Ok((inspection, None, None)),
            Ok(Stored::Other(first)) => Err(Refusal::Other(first)),
            Err(error) => {
                line.live().could_not_store();
                tracing::error!("line {}: a picture could not be stored: {error}", line.name);
                Ok((unstored, map, Some(error)))
            }
        };
        drop((picture, room));
        // Nobody may wait for it any more.
        let _ = answer.send(judged.map(|(inspection, map, not_stored)| Judged {
            inspection,
            map,
            not_stored,
        }));
    });
}

/// The map's numbers as a file.
pub(crate) fn numbers(format: Numbers, found: &riad::Inspection) -> Option<Vec<u8>> {
    let plane = Plane::new(found.map().clone()).ok()?;
    match format {
        Numbers::Npy => Some(npy(&plane)),
        Numbers::Tiff => tiff(&plane).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inspection_lists_the_regions_with_the_highest_peaks() {
        let parts: Vec<_> = (0..100_000)
            .map(|number| Part {
                x: number,
                y: 0,
                width: 1,
                height: 1,
                area: 1,
                peak: 1.0 / (1.0 + number as f32),
            })
            .collect();
        assert_eq!(listed(&parts), parts[..100]);
        assert_eq!(listed(&parts[..2]), parts[..2]);
    }
}
