//! What files hold that their values do not tell, said to whoever trains or scores with them.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use riad_data::{Brightest, DataError, DecodeMemory, FileFacts};
use tracing::warn;

use crate::memory::in_bytes;

/// Files of several pictures that were told of: each once, whatever a command does with it.
static TOLD: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// What was found in the files that a model or a run has read.
#[derive(Clone, Default)]
pub(crate) struct Remarks {
    shared: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How many files of several pictures were told of.
    told: usize,
    brightest: Option<Brightest>,
    has_told_of_memory: bool,
}

impl Remarks {
    /// Takes note of what was found in the file of an image, and tells of it what is to be told at once.
    pub(crate) fn note(&self, path: &Path, found: FileFacts) {
        self.note_pictures(path, found.pictures);
        self.note_brightest(found);
    }

    /// Takes note of how bright an image is.
    pub(crate) fn note_brightest(&self, found: FileFacts) {
        let mut state = self.state();
        state.brightest = state.brightest.max(found.brightest);
    }

    /// Tells of a file that holds more pictures than the one that is read.
    pub(crate) fn note_pictures(&self, path: &Path, pictures: usize) {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        if pictures > 1 && told.insert(path.to_owned()) {
            self.state().told += 1;
            warn!(
                "{}: one picture of {pictures} is read; save the others as files of their own to have them looked at",
                path.display()
            );
        }
    }

    /// Tells once what to do about a file that takes too much memory.
    pub(crate) fn note_error(&self, error: &DataError) {
        let mut state = self.state();
        if matches!(error, DataError::LimitExceeded { .. }) && !state.has_told_of_memory {
            state.has_told_of_memory = true;
            warn!("{}", more_memory());
        }
    }

    /// Tells how many files held several pictures, where that was more than one.
    pub(crate) fn sum_up(&self) {
        let state = self.state();
        if state.told > 1 {
            warn!(
                "{} files hold several pictures, of each of which one is read",
                state.told
            );
        }
    }

    /// Tells if the brightest sample of all files is so dark that they come from a camera of fewer bits than the files have, unless
    /// they are read with a white level.
    pub(crate) fn warn_of_darkness(&self, white_level: Option<u16>) {
        let state = self.state();
        let likely = state
            .brightest
            .and_then(|brightest| Some((brightest, brightest.likely_white_level()?)));
        if let (None, Some((Brightest { sample, full, .. }, likely))) = (white_level, likely) {
            let bits = (u32::from(likely) + 1).ilog2();
            warn!(
                "the images are dark: no sample of those looked at exceeds {sample} of {full}. If they come from a camera of {bits} \
                 bits, train with --white-level {likely}, so that its white is white"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to do about a file that takes too much memory.
pub(crate) fn more_memory() -> String {
    let bytes = DecodeMemory::of_process().bytes();
    format!(
        "all decoding together may take {}; --decode-memory raises that",
        in_bytes(bytes)
    )
}
