//! Test images, as a model takes them, with their masks.

use std::{iter::Peekable, path::PathBuf, vec::IntoIter};

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
                Err(error) => self.faults.push(error.into()),
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
    /// The last image, if it is asked for again.
    last: Option<LoadedImage>,
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
        let loaded = match self.last.take() {
            Some(loaded) => loaded,
            None => {
                let fit = match self.model.fit() {
                    Fit::Resized(_) => Fit::Own,
                    fit => fit,
                };
                match self.model.reader().load(&path, fit) {
                    Ok(loaded) => loaded,
                    Err(error) => return Some(Err(error)),
                }
            }
        };
        if self.paths.peek() == Some(&path) {
            self.last = Some(loaded.clone());
        }
        Some(Ok(loaded))
    }
}
