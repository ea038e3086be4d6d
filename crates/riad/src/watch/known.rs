//! The content of the file's lines, in a form that needs little memory and time.
//!
//! What is no longer in the folder stays: it may come back, as after a share was away, and then has its line. So memory grows by about
//! 250 bytes with each line.

use std::{collections::HashMap, time::SystemTime};

use super::{
    folder::Identity,
    line::{Line, Outcome},
};

/// The images that have a line, with what its says.
#[derive(Debug, Default)]
pub(super) struct Known {
    done: HashMap<Identity, Outcome>,
    /// Of each path that was a defect, the time of the newest one.
    defects: HashMap<String, SystemTime>,
    rejects: usize,
}

impl Known {
    /// What the file says.
    pub(super) fn of(lines: Vec<(Identity, Outcome)>) -> Self {
        let mut known = Self::default();
        for (identity, outcome) in lines {
            known.add(identity, outcome);
        }
        known
    }

    /// Takes note of a line that is in the file now.
    pub(super) fn note(&mut self, line: &Line) {
        self.add(line.identity(), line.outcome());
    }

    fn add(&mut self, identity: Identity, outcome: Outcome) {
        if outcome == Outcome::Defective {
            let newest = self.defects.entry(identity.path.clone()).or_insert(identity.modified);
            *newest = identity.modified.max(*newest);
        }
        let is_defect = |outcome: Outcome| usize::from(outcome == Outcome::Defective);
        let before = self.done.insert(identity, outcome);
        self.rejects = self.rejects + is_defect(outcome) - before.map_or(0, is_defect);
    }

    /// What the line of an image says, if it has one.
    pub(super) fn outcome(&self, identity: &Identity) -> Option<Outcome> {
        self.done.get(identity).copied()
    }

    /// Whether an image had this path that was a defect, and was not older.
    pub(super) fn was_defect(&self, Identity { path, modified, .. }: &Identity) -> bool {
        self.defects.get(path).is_some_and(|newest| modified <= newest)
    }

    /// How many images have a line.
    pub(super) fn images(&self) -> usize {
        self.done.len()
    }

    /// How many of them are defects.
    pub(super) fn rejects(&self) -> usize {
        self.rejects
    }
}
