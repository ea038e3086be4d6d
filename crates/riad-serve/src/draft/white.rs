//! Which sample value is white. Cameras of 10, 12 or 14 bits write dark files of 16 bits.

use riad::{Reader, TrainingOptions};
use riad_data::{Brightest, Fit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Draft, pictures::SMALL};
use crate::{line::without, making::NotMade, store::Store};

/// Which sample value is white.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct White {
    /// As `--white-level` of `riad train`, from 1; null for the largest value that a file's samples can have.
    #[schema(minimum = 1, maximum = 65_535)]
    white_level: Option<u16>,
}

/// What is probably white in dark pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct LikelyWhite {
    /// 1023, 4095 or 16383: of a camera of 10, 12 or 14 bits.
    level: u16,
    /// The brightest sample of all pictures.
    brightest: u16,
    /// The largest value that it could have.
    full: u16,
}

impl LikelyWhite {
    /// Nothing if it was said what is white, or the pictures are not dark.
    pub(super) fn of(white_level: Option<u16>, brightest: Option<Brightest>) -> Option<Self> {
        let Brightest { sample, full } = brightest.filter(|_| white_level.is_none())?;
        let level = brightest?.likely_white_level()?;
        Some(Self {
            level,
            brightest: sample,
            full,
        })
    }
}

/// How pictures are read with a white level.
fn reader(white_level: Option<u16>) -> Reader {
    TrainingOptions {
        white_level,
        ..TrainingOptions::default()
    }
    .reader()
}

impl Draft {
    /// How its pictures are read.
    pub(super) fn reader(&self) -> Reader {
        reader(self.white_level())
    }

    /// The sample value that is white, if it is not the largest of the files' range.
    pub(crate) fn white_level(&self) -> Option<u16> {
        self.now().white_level
    }

    /// Has its pictures read with another white level. What was learned is forgotten.
    ///
    /// # Errors
    /// [`NotMade::Wrong`] if nothing can be white at it, [`NotMade::Asked`] if a picture contradicts it, or it cannot be changed now.
    pub(crate) fn set_white_level(&self, store: &Store, White { white_level }: White) -> Result<(), NotMade> {
        if white_level == Some(0) {
            return Err(NotMade::Wrong("a white level is at least 1".to_owned()));
        }
        let _alone = self.alone();
        self.check_open()?;
        let reader = reader(white_level);
        for picture in store.good(&self.name)? {
            let fits = white_level.is_none_or(|level| {
                let known = picture.brightest;
                known.is_some_and(|known| known.sample <= level && level <= known.full)
            });
            if fits {
                continue;
            }
            let path = self.path(&picture);
            if let Err(error) = reader.load(&path, Fit::Resized(SMALL)) {
                let words = without(&error.to_string(), &path);
                return Err(NotMade::Asked(format!("{}: {words}", picture.name)));
            }
        }
        Ok(self.renew(store, |now| {
            now.white_level = white_level;
            (now.changes, now.looked) = (now.changes + 1, None);
        })?)
    }
}
