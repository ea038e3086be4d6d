//! Pictures that come into a folder.

use std::{
    collections::{HashSet, VecDeque},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use riad::watch::{Folder, Image};
use tokio::sync::{Semaphore, oneshot};

use super::{Job, Judged, Line, Queue, Refusal, copied};
use crate::{
    Error, Result,
    clock::Moment,
    store::{Origin, Store},
};

/// How often to look for the end while there is nothing to do.
const NAP: Duration = Duration::from_millis(50);

/// How many pictures of a folder are under way at once: enough to keep the workers busy.
const UNDER_WAY: usize = 4;

/// How a folder is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How long a picture must stay as it is to count as complete.
    pub(crate) settle: Duration,
    /// How often to look.
    pub(crate) interval: Duration,
    /// How many bytes a picture may have.
    pub(crate) most_bytes: u64,
}

/// Has every picture in a folder judged once, until it is told to end. Pictures stay where they are. `held` is the room in memory for
/// those that a full disk does not take.
pub(crate) fn watch(
    line: &Arc<Line>,
    root: PathBuf,
    pace: Pace,
    queue: &Queue<Job>,
    (store, held): (&Store, &Arc<Semaphore>),
    end: &AtomicBool,
) {
    let mut folder = Folder::new(root, line.model().detector.reader().pattern.clone(), pace.settle);
    // What is told is told again only after it was over.
    let mut told = HashSet::new();
    // Those that have their row, so that the store is not asked again each time.
    let mut known = HashSet::new();
    let ended = || end.load(Ordering::SeqCst);
    while !ended() {
        let mut under_way = VecDeque::new();
        let mut troubles = HashSet::new();
        let settled = folder.settled(Instant::now(), &Told);
        for image in settled {
            if ended() {
                break;
            }
            let identity = identity_of(&image);
            if known.contains(&identity) {
                continue;
            }
            match submit(
                line,
                &image,
                &identity,
                (&folder, pace.most_bytes),
                queue,
                (store, held),
            ) {
                Ok(Submitted::Waiting(answer)) => under_way.push_back((identity, answer)),
                Ok(Submitted::Known) => {
                    known.insert(identity);
                }
                Ok(Submitted::NotNow) => {}
                Err(error) => {
                    let trouble = error.to_string();
                    if !told.contains(&trouble) {
                        tracing::warn!("line {}: {error}; trying again", line.name);
                    }
                    troubles.insert(trouble);
                }
            }
            if under_way.len() >= UNDER_WAY {
                settle_one(&mut under_way, &mut known);
            }
        }
        while !under_way.is_empty() {
            settle_one(&mut under_way, &mut known);
        }
        told = troubles;
        // What is gone is not asked about any more.
        let listed: HashSet<_> = folder.images().map(|identity| identity.to_string()).collect();
        known.retain(|identity: &String| listed.contains(identity));
        let looked = Instant::now();
        while !ended() && looked.elapsed() < pace.interval.max(NAP) {
            thread::sleep(NAP);
        }
    }
}

type UnderWay = VecDeque<(String, oneshot::Receiver<Result<Judged, Refusal>>)>;

/// Waits for the oldest that is under way. One that was not stored is tried again at the next look.
fn settle_one(under_way: &mut UnderWay, known: &mut HashSet<String>) {
    let Some((identity, answer)) = under_way.pop_front() else {
        return;
    };
    let is_done = match answer.blocking_recv() {
        Ok(Ok(judged)) => judged.not_stored.is_none(),
        // It would be refused again, until the program is another one.
        Ok(Err(Refusal::Panicked | Refusal::Other(_))) => true,
        Ok(Err(Refusal::Late)) | Err(_) => false,
    };
    if is_done {
        known.insert(identity);
    }
}

/// What became of a picture that was found.
enum Submitted {
    /// It has its row.
    Known,
    /// It is being replaced, could not be looked at again after it was copied, or has no room. It is found again if it is still there.
    NotNow,
    /// It waits for its turn.
    Waiting(oneshot::Receiver<Result<Judged, Refusal>>),
}

/// Brings a picture into the store and has it wait, unless it has its row.
fn submit(
    line: &Arc<Line>,
    image: &Image,
    identity: &str,
    (folder, most_bytes): (&Folder, u64),
    queue: &Queue<Job>,
    (store, held): (&Store, &Arc<Semaphore>),
) -> Result<Submitted> {
    if store.knows(&line.name, identity)? {
        return Ok(Submitted::Known);
    }
    if image.identity.size > most_bytes {
        let (file, size) = (image.file.display(), image.identity.size);
        return Err(Error::Request(format!(
            "{file} has {size} bytes, and a picture has at most {most_bytes} here"
        )));
    }
    folder.check_written(image)?;
    let Some(picture) = copied(line, &image.file, most_bytes, (store, held))? else {
        return Ok(Submitted::NotNow);
    };
    if !folder.still_has(image) {
        return Ok(Submitted::NotNow);
    }
    let (answer, answered) = oneshot::channel();
    let job = Job {
        line: line.clone(),
        picture,
        received: Moment::now(),
        source: Origin::Folder,
        name: Some(image.identity.path.clone()),
        key: None,
        identity: Some(identity.to_owned()),
        deadline: None,
        numbers: None,
        room: None,
        answer,
    };
    // The queue is closed only when all ends.
    Ok(match queue.push_patiently(line.index, job) {
        Ok(()) => Submitted::Waiting(answered),
        Err(_) => Submitted::NotNow,
    })
}

fn identity_of(image: &Image) -> String {
    image.identity.to_string()
}

/// Tells what cannot be listed.
struct Told;

impl riad::Observer for Told {
    fn event(&self, event: &riad::Event<'_>) {
        if let riad::Event::Fault(error) = event {
            tracing::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::SystemTime};

    use riad::{Compute, Device, FalsePositiveRate};

    use super::*;
    use crate::line::{
        LineOptions,
        sample::{calibrated_run, picture},
    };

    #[test]
    fn a_picture_that_changes_while_it_is_copied_is_not_taken_for_known() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("inbox")).unwrap();
        picture(at("inbox/12.png"), 12);
        let store = Store::open(at("store")).unwrap();
        let options = LineOptions {
            name: "lid".to_owned(),
            model: calibrated_run(folder.path()),
        };
        let line = Line::open(
            &options,
            None,
            &store,
            FalsePositiveRate::new(0.5),
            None,
            &Compute::on(Device::CPU),
        )
        .unwrap();
        let (line, queue) = (Arc::new(line), Queue::new(4));
        queue.add_row();

        let mut inbox = Folder::new(at("inbox"), None, Duration::ZERO);
        let mut found = || inbox.settled(Instant::now(), &()).remove(0);
        let listed = found();
        picture(at("inbox/12.png"), 99);
        fs::File::options()
            .write(true)
            .open(at("inbox/12.png"))
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH)
            .unwrap();
        let replaced = found();
        let submitted = |image: &Image| {
            let identity = identity_of(image);
            submit(
                &line,
                image,
                &identity,
                (&Folder::new(at("inbox"), None, Duration::ZERO), 1 << 20),
                &queue,
                (&store, &Arc::new(Semaphore::new(1))),
            )
        };
        assert!(matches!(submitted(&listed).unwrap(), Submitted::NotNow));
        assert_eq!(queue.waiting(0), 0);
        assert!(matches!(submitted(&replaced).unwrap(), Submitted::Waiting(_)));
        assert_eq!(queue.waiting(0), 1);
    }
}
