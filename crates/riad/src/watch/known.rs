//! The content of the file's lines, in a form that needs little memory and time.
//!
//! What is no longer in the folder stays: it may come back, as after a share was away, and then has its line. So memory grows by about
//! 250 bytes with each line.

use std::{collections::HashMap, time::SystemTime};

use super::{
    folder::{Identity, whole_seconds},
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
        if outcome == Outcome::Rejected {
            let newest = self.defects.entry(identity.path.clone()).or_insert(identity.modified);
            *newest = identity.modified.max(*newest);
        }
        let is_defect = |outcome: Outcome| usize::from(outcome == Outcome::Rejected);
        let before = self.done.insert(identity, outcome);
        self.rejects = self.rejects + is_defect(outcome) - before.map_or(0, is_defect);
    }

    /// What the line of an image says, if it has one.
    pub(super) fn outcome(&self, identity: &Identity) -> Option<Outcome> {
        self.done.get(identity).copied()
    }

    /// Whether an image had this path that was a defect, and was not older. The times of several files are told apart by the fraction
    /// of a second, which does not order them; see [`Identity`].
    pub(super) fn was_defect(&self, Identity { path, modified, .. }: &Identity) -> bool {
        let newest = self.defects.get(path);
        newest.is_some_and(|newest| whole_seconds(*modified) <= whole_seconds(*newest))
    }

    /// How many images have a line.
    pub(super) fn images(&self) -> usize {
        self.done.len()
    }

    /// How many of them are rejected.
    pub(super) fn rejects(&self) -> usize {
        self.rejects
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::{super::folder::Image, *};

    #[test]
    fn the_rest_of_a_defect_of_several_files_is_known_whatever_their_times() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let bands = "*_{a,b}.png".parse().unwrap();
        let [first, second] = ["1_a.png", "1_b.png"].map(|name| root.join(name));
        let touch = |file: &std::path::Path, seconds, nanoseconds| {
            fs::write(file, "1").unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
            fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        let look = |file: &std::path::Path| Image::of(file.to_owned(), Some(&bands), root).unwrap().identity;
        for step in 0..100 {
            // Both files change within one second, as those of one camera do.
            touch(&first, 1_000_000, step * 9_000_000);
            touch(&second, 1_000_000, 999_000_000 - step * 7_000_000);
            let defect = look(&first);
            fs::remove_file(&first).unwrap();
            let known = Known::of(vec![(defect, Outcome::Rejected)]);
            assert!(known.was_defect(&look(&second)), "{step}");
            touch(&second, 1_000_001, 0);
            assert!(!known.was_defect(&look(&second)), "a newer one is another image");
        }
    }
}
