//! Made-up defects of growing size on good images. They show from which size on defects are found.

use std::{collections::BTreeMap, path::Path};

use riad_core::Size;
use riad_data::{Flaw, MadeUp, TestItem};
use serde::Serialize;

use super::{AtThreshold, FlaggedImages, ImageScore, Sets, TestSet};
use crate::{Error, Observer, Result, Run, detector::Detector};

/// What is said wherever numbers of such defects are.
const NOTE: &str = "Made-up defects: no real one was measured. They show from which size on a kind of change is \
    found. They do not show how many real defects are found.";

/// Defects of each kind and size.
const COPIES: usize = 10;

/// The share of them that is to be found from a size on: 9 of 10.
const MOST: f64 = 0.9;

/// The sizes of defects, as parts of the longer side of an image, or of a tile where the model looks at tiles.
const PARTS: [usize; 6] = [128, 64, 32, 16, 8, 4];

/// The results for made-up defects.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Synthetic {
    note: &'static str,
    /// The seed that drew them.
    pub seed: u64,
    /// Results by kind and length. The shortest comes first.
    pub found: Vec<SyntheticResult>,
    /// For each kind, the length in pixels from which on 9 of 10 are found. `None` if no length is enough.
    pub found_from: BTreeMap<&'static str, Option<usize>>,
}

/// The result for one kind and length.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct SyntheticResult {
    #[serde(serialize_with = "name")]
    /// The kind of defect.
    pub kind: Flaw,
    /// The length in pixels of the images.
    pub length: usize,
    #[serde(flatten)]
    /// Number that is found.
    pub counted: FlaggedImages,
}

fn name<S: serde::Serializer>(flaw: &Flaw, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(flaw.name())
}

/// The good pictures that are given, or else those that the run of `model` held out, and defects made up on them.
///
/// # Errors
/// If there are none, or none can be read.
pub(super) fn test_set(
    path: &Path,
    model: &Detector,
    sets: &Sets,
    seed: u64,
    observer: &dyn Observer,
) -> Result<TestSet> {
    if !sets.bad.is_empty() {
        return Err(Error::request(
            "defects are made up on good pictures only; leave out the pictures with a defect",
        ));
    }
    let mut test = if sets.is_empty() {
        held_out(path, observer)?
    } else {
        TestSet::of_pictures(path, sets, model.reader().pattern.as_ref(), observer)?
    };
    let mut caution = NOTE.to_owned();
    if let Some(more) = &test.caution {
        caution = format!("{caution} {more}");
    }
    test.caution = Some(caution);
    test.name += " (synthetic)";
    let good = test.category.test.clone();
    if good.is_empty() {
        return Err(Error::NoImages("no good picture can be read".into()));
    }
    let side = side(model, &good)?;
    test.made_up = vec![None; good.len()];
    test.seed = Some(seed);
    for copy in 0..COPIES {
        let base = if good.len() < COPIES {
            copy % good.len()
        } else {
            copy * good.len() / COPIES
        };
        for flaw in Flaw::ALL {
            for length in lengths(side) {
                test.category.test.push(TestItem {
                    path: good[base].path.clone(),
                    defect: Some(format!("made-up {flaw}")),
                    masks: Vec::new(),
                });
                test.made_up.push(Some(MadeUp {
                    flaw,
                    length: length as f64,
                    seed: seed.wrapping_mul(1_000_003).wrapping_add(copy as u64),
                }));
            }
        }
    }
    Ok(test)
}

/// The images that the model's run did not train with.
fn held_out(path: &Path, observer: &dyn Observer) -> Result<TestSet> {
    let run = Run::of(path)?.ok_or(Error::NoGoodPictures { reason: None })?;
    let category = run.category().map_err(|error| Error::NoGoodPictures {
        reason: Some(error.to_string()),
    })?;
    let test = TestSet::held_out(&run, category, observer)?;
    let good = test.category.test.len();
    if good == 0 {
        let folder = run.folder().display();
        return Err(Error::NoGoodPictures {
            reason: Some(format!("the run in {folder} held out no images")),
        });
    }
    Ok(TestSet {
        caution: Some(format!("They are on the {good} good images that training held out.")),
        ..test
    })
}

/// The longer side of what the model looks at, in pixels of the images.
fn side(model: &Detector, good: &[TestItem]) -> Result<usize> {
    let scoring = &model.header().scoring;
    let longer = |size: Size| size.height.max(size.width);
    if scoring.tiling.is_some() {
        return Ok(longer(scoring.size()));
    }
    let sizes = good.iter().map(|item| model.reader().size(&item.path));
    // One that cannot be read is told when its turn comes.
    let mut last = None;
    for size in sizes {
        match size {
            Ok(size) => return Ok(longer(size)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| Error::request("there are no good pictures"), Into::into))
}

/// The lengths of defects where the longer side has so many pixels.
fn lengths(side: usize) -> Vec<usize> {
    let mut lengths: Vec<_> = PARTS.iter().map(|part| (side / part).max(2)).collect();
    lengths.dedup();
    lengths
}

impl Synthetic {
    /// Counts the defects that are found. `None` if no defect was made up.
    pub fn new(images: &[ImageScore], at: &AtThreshold, seed: u64) -> Option<Self> {
        let mut counts: BTreeMap<(Flaw, usize), FlaggedImages> = BTreeMap::new();
        for image in images {
            if let Some(MadeUp { flaw, length, .. }) = image.made_up {
                let count = counts.entry((flaw, length as usize)).or_default();
                count.add(at.is_exceeded_by(image.score));
            }
        }
        if counts.is_empty() {
            return None;
        }
        let found: Vec<_> = counts
            .into_iter()
            .map(|((kind, length), counted)| SyntheticResult { kind, length, counted })
            .collect();
        let from = |flaw: Flaw| {
            let of_kind = found.iter().filter(|found| found.kind == flaw).rev();
            let enough = of_kind
                .take_while(|SyntheticResult { counted, .. }| counted.flagged as f64 >= MOST * counted.of as f64);
            enough.last().map(|found| found.length)
        };
        let found_from = Flaw::ALL
            .into_iter()
            .filter(|flaw| found.iter().any(|found| found.kind == *flaw));
        let found_from = found_from.map(|flaw| (flaw.name(), from(flaw))).collect();
        Some(Self {
            note: NOTE,
            seed,
            found,
            found_from,
        })
    }

    /// The kinds that could be made on these images.
    pub fn kinds(&self) -> impl Iterator<Item = Flaw> {
        Flaw::ALL
            .into_iter()
            .filter(|flaw| self.found_from.contains_key(flaw.name()))
    }

    /// All lengths in ascending order.
    pub fn lengths(&self) -> Vec<usize> {
        let mut lengths: Vec<_> = self.found.iter().map(|found| found.length).collect();
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }

    /// The number found of this kind and length. `None` if none could be made.
    pub fn count(&self, flaw: Flaw, length: usize) -> Option<FlaggedImages> {
        let mut found = self.found.iter();
        let found = found.find(|found| found.kind == flaw && found.length == length)?;
        Some(found.counted)
    }

    /// One sentence without its full stop: the size from which on each kind is found.
    pub fn sentence(&self) -> String {
        let (mut found, mut missed) = (Vec::new(), Vec::new());
        for flaw in self.kinds() {
            match self.found_from[flaw.name()] {
                Some(length) if found.is_empty() => found.push(format!("{} from {length} pixels on", flaw.plural())),
                Some(length) => found.push(format!("{} from {length}", flaw.plural())),
                None => missed.push(flaw.plural()),
            }
        }
        let longest = self.lengths().last().copied().unwrap_or_default();
        if found.is_empty() {
            return format!("Made-up defects: no kind reaches 9 of 10 found, even at {longest} pixels");
        }
        let mut text = format!("Made-up defects: finds 9 of 10 {}", found.join(", "));
        if !missed.is_empty() {
            text += &format!("; it does not reach that for {}, even at {longest}", missed.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synthetic(found: &[(Flaw, usize, usize)]) -> Synthetic {
        let images: Vec<_> = found
            .iter()
            .flat_map(|&(flaw, length, found)| {
                (0..10).map(move |copy| ImageScore {
                    path: String::new(),
                    defect: None,
                    made_up: Some(MadeUp {
                        flaw,
                        length: length as f64,
                        seed: copy,
                    }),
                    score: if copy < found as u64 { 0.6 } else { 0.5 },
                    thumbnails: Vec::new(),
                })
            })
            .collect();
        let at = AtThreshold {
            fpr: 0.05,
            confidence: None,
            threshold: 0.5,
            calibration_images: 21,
            good_images: None,
            defective_images: FlaggedImages::default(),
            good_pixels: Default::default(),
            defective_pixels: Default::default(),
            missed: Vec::new(),
        };
        Synthetic::new(&images, &at, 3).unwrap()
    }

    /// A size counts only if all larger ones are found, too.
    #[test]
    fn a_kind_is_found_from_a_size_on() {
        let found = synthetic(&[
            (Flaw::Scratch, 4, 9),
            (Flaw::Scratch, 8, 8),
            (Flaw::Scratch, 16, 9),
            (Flaw::Scratch, 32, 10),
            (Flaw::Spot, 4, 10),
            (Flaw::Spot, 8, 10),
            (Flaw::Dent, 32, 8),
        ]);
        assert_eq!(
            found.found_from,
            BTreeMap::from([("scratch", Some(16)), ("spot", Some(4)), ("dent", None)])
        );
        assert_eq!(
            found.sentence(),
            "Made-up defects: finds 9 of 10 scratches from 16 pixels on, spots from 4; it does not reach that for dents, even at 32"
        );
        assert_eq!(
            synthetic(&[(Flaw::Dent, 32, 8)]).sentence(),
            "Made-up defects: no kind reaches 9 of 10 found, even at 32 pixels"
        );
        assert_eq!(found.lengths(), [4, 8, 16, 32]);
        assert_eq!(found.count(Flaw::Dent, 32), Some(FlaggedImages { flagged: 8, of: 10 }));
        assert_eq!(found.count(Flaw::Dent, 4), None);
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["found"][0]["kind"], "scratch");
        assert_eq!(json["found"][0]["flagged"], 9);
        assert!(json["note"].as_str().unwrap().contains("no real one"));
    }

    #[test]
    fn lengths_grow_and_are_never_below_two_pixels() {
        assert_eq!(lengths(900), [7, 14, 28, 56, 112, 225]);
        assert_eq!(lengths(32), [2, 4, 8]);
        assert_eq!(lengths(1), [2]);
    }
}
