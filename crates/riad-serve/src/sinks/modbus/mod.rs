//! The registers and coils of each line. They show a good product only for a recent picture at a running line.

mod client;
mod server;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

pub(super) use self::{client::Client, server::Server};
use crate::{
    clock::Moment,
    line::{Line, State},
    shared::Shared,
    store::{Inspection, Origin, Store, Verdict},
};

/// From the first register of a line to that of the next.
pub(super) const REGISTERS_APART: u16 = 16;

/// From the first coil of a line to that of the next.
pub(super) const COILS_APART: u16 = 8;

/// The last line ends where addresses do.
pub(super) const MOST_LINES: usize = (1 << 16) / REGISTERS_APART as usize;

/// Registers of a line: heartbeat, state, verdict, sequence, score, number and flags.
pub(super) const REGISTERS: usize = 9;

/// Coils of a line: valid, OK and NOT OK.
pub(super) const COILS: usize = 3;

/// How often the heartbeat advances.
const BEAT: Duration = Duration::from_secs(1);

/// What a PLC sees of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Block {
    pub(super) registers: [u16; REGISTERS],
    pub(super) coils: [bool; COILS],
}

impl Block {
    /// Where the sequence number is.
    const SEQUENCE: usize = 3;

    fn sequence(&self) -> u16 {
        self.registers[Self::SEQUENCE]
    }
}

/// What PLCs see of all lines that are there when the service starts. A PLC knows a line by its place, which stays its own for ever: another
/// line there would be taken for it. The place of a line that is not served shows nothing, and its heartbeat stands.
#[derive(Debug)]
pub(super) struct Board {
    shared: Shared,
    lines: Vec<Shown>,
    /// For how long a verdict is valid, from when its picture was there.
    valid: Duration,
    heartbeat: u16,
    beat: Instant,
}

/// What is shown of a line.
#[derive(Debug)]
struct Shown {
    name: String,
    line: Option<Arc<Line>>,
    sequence: u16,
    last: Option<Last>,
}

/// A line's last inspection.
#[derive(Clone, Copy, Debug)]
struct Last {
    id: i64,
    verdict: Verdict,
    score: f32,
    /// Until when it is valid. This clock cannot be set.
    until: Option<Instant>,
}

impl Board {
    pub(super) fn new(shared: Shared, valid: Duration) -> Self {
        // A number that the service has hardly shown as the last one before it was ended.
        let sequence = *shared.events.newest().borrow() as u16;
        let all = shared.lines.all();
        let shown = |name: &String| Shown {
            name: name.clone(),
            line: all.iter().find(|line| line.name == *name).cloned(),
            sequence,
            last: None,
        };
        Self {
            lines: shared.places.iter().map(shown).collect(),
            shared,
            valid,
            heartbeat: 0,
            beat: Instant::now(),
        }
    }

    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// The place of a line.
    fn place(&self, line: &str) -> Option<usize> {
        self.lines.iter().position(|shown| shown.name == line)
    }

    /// Shows an inspection; whether it is in time.
    pub(super) fn show(&mut self, inspection: &Inspection) -> bool {
        let Some(shown) = self.place(&inspection.line).and_then(|place| self.lines.get_mut(place)) else {
            return true;
        };
        // After a failure it comes once more, and counts once.
        if let Some(last) = shown.last.filter(|last| last.id >= inspection.id) {
            return last.until.is_some_and(|until| Instant::now() < until);
        }
        let since = since(&self.shared.store, inspection);
        let left = since
            .and_then(|since| age(since, inspection.ran, Moment::now()))
            .and_then(|age| self.valid.checked_sub(age))
            .filter(|left| !left.is_zero());
        shown.sequence = shown.sequence.wrapping_add(1);
        shown.last = Some(Last {
            id: inspection.id,
            verdict: inspection.verdict,
            score: inspection.score.unwrap_or(0.0),
            until: left.map(|left| Instant::now() + left),
        });
        left.is_some()
    }

    /// Advances the heartbeat when it is due.
    pub(super) fn beat(&mut self) {
        if self.beat.elapsed() >= BEAT {
            // 0 is what is there where nobody ever wrote.
            self.heartbeat = self.heartbeat.checked_add(1).unwrap_or(1);
            self.beat = Instant::now();
        }
    }

    /// What a PLC sees of a line now.
    pub(super) fn block(&self, place: usize) -> Block {
        self.block_at(place, Instant::now())
    }

    /// What a PLC sees of a line at a moment, if nothing comes until then.
    fn block_at(&self, place: usize, at: Instant) -> Block {
        let Some((shown, line)) = self
            .lines
            .get(place)
            .and_then(|shown| Some((shown, shown.line.as_ref()?)))
        else {
            return Block::default();
        };
        let state = match (self.shared.is_ending(), line.live().doing()) {
            (true, _) => 0,
            (false, State::Running) => 1,
            (false, State::Idle) => 2,
            (false, State::Amber) => 3,
        };
        block(self.heartbeat, state, shown.sequence, shown.last, at)
    }

    /// How long the last verdict of a line stays valid.
    fn left(&self, place: usize) -> Duration {
        let last = self.lines.get(place).and_then(|shown| shown.last);
        let until = last.and_then(|last| last.until);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }
}

/// How old a picture is that was there at a time, when the machine had run for so long. A clock that was set back makes it no younger. A
/// time that lies ahead was written by a clock that somebody has set since, and says nothing.
fn age(since: SystemTime, ran: Duration, now: Moment) -> Option<Duration> {
    let told = now.told().duration_since(since).ok()?;
    Some(told.max(now.ran().saturating_sub(ran)))
}

/// When a picture was there. One that lay in a folder while nobody looked was there when it was written: it is of a product that has long
/// gone by, however recently it was found.
fn since(store: &Store, inspection: &Inspection) -> Option<SystemTime> {
    match inspection.source {
        Origin::Folder => store.written(inspection.id).ok().flatten(),
        Origin::Http | Origin::Page => Some(inspection.received),
    }
}

fn block(heartbeat: u16, state: u16, sequence: u16, last: Option<Last>, now: Instant) -> Block {
    let high_and_low = |bits: u32| [(bits >> 16) as u16, bits as u16];
    let is_in_time = last.is_some_and(|last| last.until.is_some_and(|until| now < until));
    let is_good = last.is_some_and(|last| last.verdict == Verdict::Good);
    // A line that does not run calls nothing good.
    let is_valid = is_in_time && state != 0 && (!is_good || state == 1);
    let coils = [is_valid, is_valid && is_good, is_valid && !is_good];
    let code = match last.map(|last| last.verdict).filter(|_| is_valid) {
        None => 0,
        Some(Verdict::Good) => 1,
        Some(Verdict::Defective) => 2,
        Some(Verdict::NotThisProduct) => 3,
        Some(Verdict::Error) => 4,
    };
    let [score_high, score_low] = high_and_low(last.map_or(0.0, |last| last.score).to_bits());
    let [id_high, id_low] = high_and_low(last.map_or(0, |last| last.id) as u32);
    let flags = coils
        .iter()
        .enumerate()
        .map(|(bit, coil)| u16::from(*coil) << bit)
        .sum();
    Block {
        registers: [
            heartbeat, state, code, sequence, score_high, score_low, id_high, id_low, flags,
        ],
        coils,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_is_shown_only_for_a_good_picture_in_time_at_a_line_that_runs() {
        let now = Instant::now();
        let soon = Some(now + Duration::from_secs(1));
        for verdict in Verdict::ALL {
            for state in 0..4 {
                for until in [None, Some(now), soon] {
                    let last = Last {
                        id: 70_000,
                        verdict,
                        score: 0.25,
                        until,
                    };
                    let shown = block(7, state, 65_535, Some(last), now);
                    let [valid, ok, not_ok] = shown.coils;
                    assert_eq!(
                        ok,
                        verdict == Verdict::Good && state == 1 && until == soon,
                        "{verdict:?} {state} {until:?}"
                    );
                    assert_eq!(
                        not_ok,
                        verdict != Verdict::Good && state != 0 && until == soon,
                        "{verdict:?} {state} {until:?}"
                    );
                    assert_eq!(valid, ok || not_ok);
                    let code = if valid {
                        1 + Verdict::ALL.iter().position(|one| *one == verdict).unwrap() as u16
                    } else {
                        0
                    };
                    let flags = u16::from(valid) + 2 * u16::from(ok) + 4 * u16::from(not_ok);
                    assert_eq!(shown.registers, [7, state, code, 65_535, 0x3e80, 0, 1, 4464, flags]);
                }
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_verdict_younger() {
        let now = Moment::now();
        let seconds = Duration::from_secs;
        // It came ten seconds ago. Since then the clock was set back by nine, not at all, forward by five, and back by eleven.
        let ran = now.ran() - seconds(10);
        for (told, expected) in [(1, Some(10)), (10, Some(10)), (15, Some(15))] {
            assert_eq!(
                age(now.told() - seconds(told), ran, now),
                expected.map(seconds),
                "{told}"
            );
        }
        assert_eq!(age(now.told() + seconds(1), ran, now), None);
        // A file that lay in a folder is as old as the file is.
        assert_eq!(age(now.told() - seconds(60), now.ran(), now), Some(seconds(60)));
    }

    #[test]
    fn nothing_is_shown_before_the_first_picture() {
        for state in 0..4 {
            let shown = block(1, state, 9, None, Instant::now());
            assert_eq!(
                shown,
                Block {
                    registers: [1, state, 0, 9, 0, 0, 0, 0, 0],
                    coils: [false; 3]
                }
            );
        }
    }
}
