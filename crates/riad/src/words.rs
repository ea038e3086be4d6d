//! Events in words.

use std::fmt;

use riad_data::counted;

use crate::{Event, Session, facts::preset_name, threshold::rates_in_words};

impl fmt::Display for Session<'_> {
    /// What is trained on how many images. The folder is not in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [train, validation, calibration] = self.images;
        let scoring = &self.config.scoring;
        write!(
            f,
            "training {} with method {} at {}{} on {} of {}; {validation} are held out for validation, and thresholds come from \
             {calibration}",
            preset_name(self.config.architecture.width),
            scoring.method,
            scoring.size(),
            if scoring.tiling.is_some() { ", in tiles," } else { "" },
            counted(train, "image"),
            self.category
        )
    }
}

impl Event<'_> {
    /// What there is to say of the event, without a full stop. `None` for an event that is only counted, such as a step, and for one
    /// of which its fields say more, such as an epoch.
    pub fn in_words(&self) -> Option<String> {
        Some(match self {
            Event::Fault(error) => error.to_string(),
            Event::Waiting(error) => format!("{error}; trying again"),
            Event::Training(session) => session.to_string(),
            Event::Finished { epochs, kept, .. } if kept == epochs => {
                format!("training has finished: the last of {epochs} epochs is kept")
            }
            Event::Finished { epochs, kept, loss } => {
                let loss = loss.map_or_else(String::new, |loss| format!(" with loss {loss:.4}"));
                format!("training has finished: the best of {epochs} epochs is {kept}{loss}")
            }
            Event::Stopped { epochs, .. } => format!("stopped in epoch {}; nothing is lost", epochs + 1),
            Event::LeftOut { what, cause } => format!("{what} are left out: {cause}"),
            Event::Calibrated(calibration) => format!("calibrated with {}", rates_in_words(calibration)),
            Event::Rejected {
                image,
                score,
                judgement,
            } => match &judgement.reason {
                Some(reason) => format!("{image} is not this product: {reason}"),
                None => format!("{image} is defective: {score}"),
            },
            Event::Missing { file, image } => {
                format!("{} is missing; {image} will be scored when it is there", file.display())
            }
            Event::NoMap { file, cause } => format!("no map of {}: {cause}", file.display()),
            Event::Torn(path) => format!(
                "{}: the last line is incomplete; its image is scored again",
                path.display()
            ),
            Event::Watching(counts) => counts.to_string(),
            Event::LargeMask { file, share } => format!(
                "{}: this mask marks {:.0} % of its image as defective, and counts so; if it is inverted, save it with 255 for \
                 defective pixels and 0 for good ones",
                file.display(),
                100.0 * share
            ),
            Event::Duplicate { path, other } => format!(
                "{} is the same picture as {}; it counts once",
                path.display(),
                other.display()
            ),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use riad_model::{LossTerms, Preset, ScoringSettings, TrainConfig};

    use super::*;
    use crate::Work;

    #[test]
    fn events_are_said_or_counted() {
        let said = |event: Event<'_>| event.in_words().unwrap_or_default();
        let finished = |kept, loss| said(Event::Finished { epochs: 9, kept, loss });
        assert_eq!(
            finished(9, Some(0.5)),
            "training has finished: the last of 9 epochs is kept"
        );
        assert_eq!(
            finished(4, Some(0.5)),
            "training has finished: the best of 9 epochs is 4 with loss 0.5000"
        );
        assert_eq!(finished(4, None), "training has finished: the best of 9 epochs is 4");
        assert_eq!(
            said(Event::LargeMask {
                file: Path::new("1_mask.png"),
                share: 0.756
            })
            .split(',')
            .next(),
            Some("1_mask.png: this mask marks 76 % of its image as defective")
        );
        let config = TrainConfig::published(Preset::Tiny.architecture(), ScoringSettings::for_size(32, 64));
        let session = Session {
            folder: Path::new("runs/lid"),
            category: "lid",
            config: &config,
            device: "cpu",
            images: [1, 2, 3],
            epochs: 0,
            steps: 0,
            steps_of_epoch: 1,
            last: 9,
            left: None,
        };
        assert_eq!(
            said(Event::Training(session)),
            "training tiny with method riad at 32x64 on 1 image of lid; 2 are held out for validation, and thresholds come from 3"
        );
        for counted in [
            Event::Ended,
            Event::Progress { done: 1, total: 2 },
            Event::Began {
                work: Work::Reading,
                done: 0,
                total: 2,
            },
            Event::Step {
                epoch: 1,
                loss: LossTerms::default(),
                done: 1,
                total: 2,
            },
        ] {
            assert_eq!(counted.in_words(), None);
        }
    }
}
