//! Test images, as a model takes them, with their masks.

use std::{
    collections::HashSet,
    iter::Peekable,
    path::{Path, PathBuf},
    vec::IntoIter,
};

use riad_core::{Map, Size};
use riad_data::{DataError, Fit, Image, LoadedImage, MadeUp, TestItem, load_mask, resize_mask};
use riad_model::{Keep, Scored};

use crate::{Error, Event, Observer, Result, detector::Detector};

/// A test image as the model takes it: at the network's size, or with tiles at its own.
pub(super) struct TestImage<'a> {
    pub(super) item: &'a TestItem,
    /// The defect that was made up on it.
    pub(super) made_up: Option<MadeUp>,
    /// `[C, H, W]` in [0, 1].
    pub(super) pixels: Vec<f32>,
    /// The defect's pixels; `None` if they are not known.
    pub(super) mask: Option<Map<bool>>,
    pub(super) size: Size,
}

/// Test images with their masks, loaded ahead.
pub(super) struct TestImages<'a> {
    items: IntoIter<(&'a TestItem, Option<MadeUp>)>,
    /// At the network's size, or with tiles or defects to make up at their own.
    loaded: Box<dyn Iterator<Item = Result<LoadedImage, DataError>> + 'a>,
    model: &'a Detector,
    /// The images that cannot be read. A fault is told once, however many defects were to be made up on its image.
    unreadable: HashSet<&'a Path>,
    /// What was wrong with images and masks so far. An image that cannot be read is left out; one whose mask cannot be
    /// used has none.
    pub(super) faults: Vec<Error>,
}

impl<'a> TestImages<'a> {
    pub(super) fn new(items: impl IntoIterator<Item = (&'a TestItem, Option<MadeUp>)>, model: &'a Detector) -> Self {
        let items: Vec<_> = items.into_iter().collect();
        let paths: Vec<_> = items.iter().map(|(item, _)| item.path.clone()).collect();
        let loaded: Box<dyn Iterator<Item = _>> = if items.iter().any(|(_, made_up)| made_up.is_some()) {
            Box::new(Originals::new(paths, model))
        } else {
            Box::new(model.load(paths).map(|(_, loaded)| loaded))
        };
        Self {
            items: items.into_iter(),
            loaded,
            model,
            unreadable: HashSet::new(),
            faults: Vec::new(),
        }
    }

    /// The next images and what the model finds in them, possibly in none of these; `None` after the last. A defect that
    /// was to be made up where it cannot be seen is left out.
    pub(super) fn next_batch(&mut self, observer: &dyn Observer) -> Result<Option<Vec<(TestImage<'a>, Scored)>>> {
        let at_once = self.model.batch_size();
        let mut items = Vec::with_capacity(at_once);
        let mut images = Vec::with_capacity(at_once);
        while items.len() < at_once {
            let Some((item, made_up)) = self.items.next() else {
                break;
            };
            let Some(loaded) = self.loaded.next() else {
                break;
            };
            match loaded {
                Ok(loaded) => {
                    let (path, found) = (&item.path, loaded.found);
                    observer.event(&Event::Read { path, found });
                    let (image, mask) = match made_up {
                        None => {
                            let mask = self.mask(item, &loaded, observer);
                            (self.fitted(loaded.image)?, mask)
                        }
                        Some(made_up) => match self.make_up(made_up, &loaded.image)? {
                            Some((image, mask)) => (image, Some(mask)),
                            None => continue,
                        },
                    };
                    items.push((item, made_up, mask));
                    images.push(image);
                }
                Err(error) => {
                    if self.unreadable.insert(&item.path) {
                        self.faults.push(error.into());
                    }
                }
            }
        }
        if items.is_empty() {
            return Ok(None);
        }
        let scored = self.model.score(&images.iter().collect::<Vec<_>>(), Keep::All)?;
        let mut batch = Vec::with_capacity(items.len());
        for (((item, made_up, mask), image), scored) in items.into_iter().zip(images).zip(scored) {
            match scored {
                Ok(scored) => {
                    let image = TestImage {
                        item,
                        made_up,
                        size: image.size(),
                        pixels: image.into_values(),
                        mask,
                    };
                    batch.push((image, scored));
                }
                Err(error) => self.faults.push(Error::of_image(&item.path, error)),
            }
        }
        Ok(Some(batch))
    }

    /// The size at which the model looks at an image of this size.
    fn size(&self, own: Size) -> Size {
        match self.model.fit() {
            Fit::Resized(size) => size,
            _ => own,
        }
    }

    fn fitted(&self, image: Image) -> Result<Image> {
        Ok(self.model.fitted(&image)?.unwrap_or(image))
    }

    /// The image with a defect, and the defect's pixels; `None` if it cannot be seen.
    fn make_up(&self, made_up: MadeUp, image: &Image) -> Result<Option<(Image, Map<bool>)>> {
        let may_be = |x: f64, y: f64| {
            self.model.roi().is_none_or(|roi| {
                let Size { height, width } = roi.size();
                roi.inside()[(y * height as f64) as usize * width + (x * width as f64) as usize]
            })
        };
        let Some((image, mask)) = made_up.on(image, may_be) else {
            return Ok(None);
        };
        let image = self.fitted(image)?;
        let mask = resize_mask(mask, image.size())?;
        Ok(Some((image, mask)))
    }

    /// The defect's pixels, as far as they are known: a good image has none.
    fn mask(&mut self, item: &TestItem, loaded: &LoadedImage, observer: &dyn Observer) -> Option<Map<bool>> {
        let size = self.size(loaded.image.size());
        let limits = &self.model.reader().limits;
        let marked = (!item.masks.is_empty()).then(|| load_mask(&item.masks, Some(loaded.original_size), size, limits));
        let marked = match marked.transpose() {
            Ok(marked) => marked,
            Err(error) => {
                self.faults.push(error.into());
                None
            }
        };
        if item.is_defective() {
            let is_empty = marked.as_ref().is_some_and(|mask| !mask.values().contains(&true));
            if let (true, Some(file)) = (is_empty, item.masks.first()) {
                self.faults.push(Error::Mask {
                    file: file.clone(),
                    reason: "the mask marks nothing; draw the defect as 255 on 0, or remove the mask".into(),
                });
                return None;
            }
            if let (Some(mask), Some(file)) = (&marked, item.masks.first()) {
                let marked = mask.values().iter().filter(|&&is_defect| is_defect).count();
                let share = marked as f64 / mask.values().len() as f64;
                if share > 0.5 {
                    observer.event(&Event::LargeMask { file, share });
                }
            }
            return marked;
        }
        if let (Some(mask), Some(file)) = (marked, item.masks.first())
            && mask.values().contains(&true)
        {
            self.faults.push(Error::Mask {
                file: file.clone(),
                reason: format!(
                    "this mask marks a defect, but its image {} is in the folder of good images and counts as good; \
                     correct the mask, or move the image",
                    item.path.display()
                ),
            });
        }
        Some(Map::filled(size, false))
    }
}

/// Images at their own size, of which one that is asked for several times in a row is read once.
struct Originals<'a> {
    paths: Peekable<IntoIter<PathBuf>>,
    model: &'a Detector,
    /// The last image, or why it cannot be read, if it is asked for again.
    last: Option<Result<LoadedImage, DataError>>,
}

impl<'a> Originals<'a> {
    fn new(paths: Vec<PathBuf>, model: &'a Detector) -> Self {
        Self {
            paths: paths.into_iter().peekable(),
            model,
            last: None,
        }
    }
}

impl Iterator for Originals<'_> {
    type Item = Result<LoadedImage, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let path = self.paths.next()?;
        let loaded = self.last.take().unwrap_or_else(|| {
            let fit = match self.model.fit() {
                Fit::Resized(_) => Fit::Own,
                fit => fit,
            };
            self.model.reader().load(&path, fit)
        });
        if self.paths.peek() == Some(&path) {
            self.last = Some(loaded.clone());
        }
        Some(loaded)
    }
}

#[cfg(test)]
mod tests {
    use riad_data::Flaw;
    use riad_model::{Architecture, Checkpoint, Device, ScoringSettings, Weights};

    use super::*;
    use crate::detector::Compute;

    /// Many defects are made up on one picture.
    #[test]
    fn a_damaged_picture_is_reported_once() {
        let weights = Weights::initial(Architecture::u_net(2), 0).unwrap();
        let checkpoint = Checkpoint::new(weights, ScoringSettings::for_size(32, 32), None, None);
        let options = Detector::options().compute(Compute::on(Device::CPU));
        let model = options.open_checkpoint(&checkpoint).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let item = |name: &str| TestItem {
            path: folder.path().join(name),
            defect: None,
            masks: Vec::new(),
        };
        let [damaged, whole] = ["damaged.png", "whole.png"].map(item);
        std::fs::write(&damaged.path, "no picture").unwrap();
        image::RgbImage::from_pixel(32, 32, image::Rgb([128; 3]))
            .save(&whole.path)
            .unwrap();
        let made_up = |length| {
            let flaw = Flaw::Spot;
            Some(MadeUp { flaw, length, seed: 0 })
        };
        let made_up_on = |item| [4.0, 8.0, 16.0].map(|length| (item, made_up(length)));
        let items = [(&damaged, None), (&whole, None)].into_iter();
        let items = items
            .chain(made_up_on(&damaged))
            .chain(made_up_on(&whole))
            .chain(made_up_on(&damaged));
        let mut images = TestImages::new(items, &model);
        let mut found = 0;
        while let Some(batch) = images.next_batch(&()).unwrap() {
            found += batch.len();
        }
        assert_eq!((found, images.faults.len()), (4, 1), "{:?}", images.faults);
        assert_eq!(images.faults[0].path(), Some(damaged.path.as_path()));
    }
}
