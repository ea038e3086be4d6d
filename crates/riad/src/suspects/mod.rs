//! Good images that a person should look at: as lines, as a list of names, and on a page.

#[cfg(feature = "report")]
mod page;

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use riad_core::{
    Calibration,
    outlier::{FEWEST, LIMIT, deviations, log_deviations},
};
use riad_data::{DataError, Reader, Suspicion, counted, read_text, survey};

use crate::{
    Error, Event, FalsePositiveRate, Observer, Result, detector::Detector, files::write_whole, threshold::shown_rate,
};

/// Scores spread at least by this share.
const LEAST_SPREAD: f64 = 0.05;

/// How the list begins.
const LIST: &str = "# Images to look at";

/// How the page begins.
const PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<title>RIAD: images to look at</title>";

/// Unusual images among good ones.
#[derive(Debug)]
pub struct Suspects {
    images: Vec<PathBuf>,
    /// What each image is called in the list.
    names: Vec<String>,
    /// Why to look at an image, by its place.
    found: BTreeMap<usize, Vec<Reason>>,
    pub(crate) unreadable: Vec<(PathBuf, DataError)>,
    /// What those that look unlike the others do to the threshold.
    effect: Option<Effect>,
}

/// Why to look at an image.
#[derive(Debug)]
enum Reason {
    /// No model is needed to see it.
    Seen(Suspicion),
    /// A model finds it more anomalous than the others.
    Scores { score: f32, usual: f32 },
}

/// A threshold with all calibration images, and without those that look unlike the others.
#[derive(Debug)]
struct Effect {
    rate: f64,
    with: f32,
    without: f32,
}

impl Suspects {
    /// Looks at images. Each has a name.
    pub fn among(images: Vec<(PathBuf, String)>, reader: &Reader) -> Self {
        let (images, names): (Vec<_>, Vec<_>) = images.into_iter().unzip();
        let survey = survey(&images, reader);
        let found = survey.suspects.into_iter().map(|suspect| {
            let reasons = suspect.reasons.into_iter().map(Reason::Seen);
            (suspect.image, reasons.collect())
        });
        Self {
            found: found.collect(),
            unreadable: survey.unreadable,
            images,
            names,
            effect: None,
        }
    }

    /// Takes in the scores of some of the images, those at `places`, that a model has the same knowledge of: it scores what it was
    /// trained with lower than what it was not.
    pub(crate) fn judge(&mut self, places: &[usize], scores: &[f32]) {
        let values: Vec<f64> = scores.iter().map(|&score| f64::from(score)).collect();
        let mut sorted = scores.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let usual = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        // What is normal is taken off, so a score can be 0 or below.
        let far = if values.iter().all(|&value| value > 0.0) {
            log_deviations(&values, LEAST_SPREAD)
        } else {
            deviations(&values, LEAST_SPREAD * f64::from(usual.abs()))
        };
        for ((&place, &score), far) in places.iter().zip(scores).zip(far) {
            if far > LIMIT {
                self.found
                    .entry(place)
                    .or_default()
                    .push(Reason::Scores { score, usual });
            }
        }
    }

    /// Tells what those of the calibration images, at `places`, that look unlike the others do to the threshold.
    pub(crate) fn weigh(&mut self, places: &[usize], scores: &[f32]) {
        let is_odd = |place: &usize| {
            let reasons = self.found.get(place).into_iter().flatten();
            reasons.into_iter().any(|reason| {
                matches!(
                    reason,
                    Reason::Scores { .. } | Reason::Seen(Suspicion::Unlike { .. } | Suspicion::Exposure { .. })
                )
            })
        };
        let pairs = places.iter().zip(scores);
        let others: Vec<f32> = pairs
            .filter(|(place, _)| !is_odd(place))
            .map(|(_, &score)| score)
            .collect();
        if others.len() == scores.len() {
            return;
        }
        // Fewer images allow fewer rates, so one is taken that both allow.
        let (Ok(all), Ok(others)) = (Calibration::new(scores.to_vec()), Calibration::new(others)) else {
            return;
        };
        let rate = FalsePositiveRate::usual(&others).rate;
        if let (Ok(with), Ok(without)) = (all.threshold(rate), others.threshold(rate)) {
            self.effect = Some(Effect { rate, with, without });
        }
    }

    /// The errors of images that could not be read.
    pub fn unreadable(&self) -> impl Iterator<Item = &DataError> {
        self.unreadable.iter().map(|(_, error)| error)
    }

    /// Whether there are no unusual images.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Every suspect's name with its reasons.
    pub fn lines(&self) -> impl Iterator<Item = (&str, String)> {
        self.found.iter().map(|(&place, reasons)| {
            let reasons: Vec<_> = reasons.iter().map(|reason| self.said(reason)).collect();
            (self.names[place].as_str(), reasons.join("; "))
        })
    }

    fn said(&self, reason: &Reason) -> String {
        match *reason {
            Reason::Seen(Suspicion::Copy { of }) => format!("the same file as {}", self.names[of]),
            Reason::Seen(Suspicion::NearCopy { of }) => {
                format!(
                    "hardly differs from {}: is it a second picture of the same part?",
                    self.names[of]
                )
            }
            Reason::Seen(Suspicion::Size { size, usual }) => {
                format!("{size} pixels (height x width), and most images have {usual}")
            }
            Reason::Seen(Suspicion::Exposure { brightness, usual }) => format!(
                "{} than the others: the mean is {brightness:.3}, and {usual:.3} is usual",
                if brightness < usual { "darker" } else { "brighter" }
            ),
            Reason::Seen(Suspicion::Unlike { times, .. }) => {
                format!("unlike the others: {times:.1} times the usual distance to the images nearest to it")
            }
            Reason::Seen(_) => "unusual".to_owned(),
            Reason::Scores { score, usual } => {
                format!("more anomalous than the others: the score is {score:.4}, and {usual:.4} is usual")
            }
        }
    }

    /// The effect on the threshold of images that look unlike the others. `None` without a threshold.
    pub fn effect(&self) -> Option<String> {
        let Effect { rate, with, without } = self.effect.as_ref()?;
        Some(format!(
            "the threshold for a rate of {} is {with:.4}; without the images unlike the others it would be \
             {without:.4}",
            shown_rate(*rate)
        ))
    }

    /// How many images were looked at.
    pub fn looked_at(&self) -> usize {
        self.images.len() - self.unreadable.len()
    }

    /// How many images a person should look at.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// How many images are unusual, or why that is not known, without a full stop.
    pub fn sentence(&self) -> String {
        match (self.len(), self.looked_at()) {
            (_, 0) => "no image can be read, so nothing is known of them".to_owned(),
            (0, count) if count < FEWEST => format!(
                "of {}, only copies and other sizes can be found: it takes {FEWEST} to know what is usual",
                counted(count, "image")
            ),
            (0, count) => format!("none of {count} images is unusual"),
            (unusual, count) => format!("{unusual} of {} are unusual", counted(count, "image")),
        }
    }

    /// Writes the list of names, `NAME.txt`, for [`TrainingOptions::without`](crate::TrainingOptions::without), and with
    /// the feature `report` a page beside it, `NAME.html`. With a model, the page shows where it finds images anomalous.
    /// Without unusual images it writes only over files of an earlier look.
    ///
    /// # Errors
    /// If a file cannot be written, or the device fails. An image that can no longer be read has no picture.
    pub fn write(&self, list: &Path, reader: &Reader, model: Option<&Detector>) -> Result<()> {
        let page = &list.with_extension("html");
        if self.is_empty() && !begins_with(list, LIST) && !begins_with(page, PAGE) {
            return Ok(());
        }
        for (file, begin) in [(list, LIST), (page, PAGE)] {
            if file.is_file() && !begins_with(file, begin) {
                return Err(Error::request(format!(
                    "{} is there, and was not written by an earlier look for unusual images; choose another file",
                    file.display()
                )));
            }
        }
        let mut text =
            format!("{LIST}. Delete the lines of images that are good. This file then leaves out the others.\n");
        for (name, reasons) in self.lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\n# {reasons}\n{name}");
        }
        // Made before either is written, so that they tell of the same look.
        #[cfg(feature = "report")]
        write_whole(page, page::render(self, reader, model)?.as_bytes())?;
        #[cfg(not(feature = "report"))]
        let _ = (reader, model);
        write_whole(list, text.as_bytes())
    }

    /// What an earlier look wrote to this list, or nothing if there is none: each suspect's name with its reasons.
    ///
    /// # Errors
    /// If the list is there and cannot be read.
    pub fn listed(list: &Path) -> Result<Vec<(String, String)>> {
        let text = match read_text(list) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(Error::file("read", list))?,
        };
        let (mut found, mut reasons) = (Vec::new(), "");
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("# ") {
                Some(comment) => reasons = comment,
                None => found.push((line.to_owned(), reasons.to_owned())),
            }
        }
        Ok(found)
    }

    /// Tells the observer how many images to look at, and which, if there are any.
    pub fn tell(&self, list: &Path, observer: &dyn Observer) {
        if self.is_empty() {
            return;
        }
        let names: Vec<_> = self.lines().map(|(name, _)| name).collect();
        observer.event(&Event::Suspects {
            names: &names,
            looked_at: self.looked_at(),
            effect: self.effect().as_deref(),
            list,
        });
    }
}

/// Whether a file is there and begins with this text.
fn begins_with(file: &Path, text: &str) -> bool {
    let mut begin = vec![0; text.len()];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == text.as_bytes()
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    /// A network that is far below what is normal in most images still finds the one with a defect.
    #[test]
    fn an_anomalous_image_is_found_among_scores_below_0() {
        for below in [1, 6, 11, 12] {
            let mut suspects = Suspects {
                images: vec![PathBuf::new(); 13],
                names: vec![String::new(); 13],
                found: BTreeMap::new(),
                unreadable: Vec::new(),
                effect: None,
            };
            let places: Vec<usize> = (0..13).collect();
            let mut scores: Vec<f32> = (0..12).map(|image| 0.01 * (image - below) as f32 + 0.005).collect();
            scores.push(0.6);
            suspects.judge(&places, &scores);
            let found: Vec<_> = suspects.found.keys().copied().collect();
            assert_eq!(found, [12], "{scores:?}");
        }
    }

    /// Scores of 0 alone give no spread to measure others by.
    #[test]
    fn an_anomalous_image_is_found_among_scores_of_0() {
        let mut suspects = Suspects {
            images: vec![PathBuf::new(); 13],
            names: vec![String::new(); 13],
            found: BTreeMap::new(),
            unreadable: Vec::new(),
            effect: None,
        };
        let mut scores = [0.0; 13];
        scores[12] = 0.6;
        suspects.judge(&(0..13).collect::<Vec<_>>(), &scores);
        assert!(suspects.found.keys().eq(&[12]), "{:?}", suspects.found.keys());
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut images = Vec::new();
        for (number, level) in [40, 41, 40].into_iter().enumerate() {
            let path = folder.path().join(format!("{number}.png"));
            RgbImage::from_pixel(16, 16, Rgb([level; 3])).save(&path).unwrap();
            images.push((path, format!("{number}.png")));
        }
        let suspects = Suspects::among(images, &Reader::new(3));
        let list = folder.path().join("look.txt");
        suspects.write(&list, &Reader::new(3), None).unwrap();
        let told: Vec<_> = suspects
            .lines()
            .map(|(name, reasons)| (name.to_owned(), reasons))
            .collect();
        assert!(!told.is_empty());
        assert_eq!(Suspects::listed(&list).unwrap(), told);

        // One that is gone meanwhile is named all the same, in both files.
        std::fs::remove_file(folder.path().join("2.png")).unwrap();
        suspects.write(&list, &Reader::new(3), None).unwrap();
        assert_eq!(Suspects::listed(&list).unwrap(), told);
        #[cfg(feature = "report")]
        {
            let page = std::fs::read_to_string(list.with_extension("html")).unwrap();
            assert!(
                page.contains("2.png</h4>") && page.contains("there is no picture: "),
                "{page}"
            );
        }
        assert!(Suspects::listed(&folder.path().join("none.txt")).unwrap().is_empty());
    }
}
