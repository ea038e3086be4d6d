//! The test images of a category, as a model takes them, with their masks.

use anyhow::{Context, Result};
use riad_core::{Map, Size};
use riad_data::{DataError, LoadedImage, TestItem, load_mask};
use riad_model::{Keep, Scored};

use crate::{names::plain, scoring::Model, way_out::told};

/// A test image as the model takes it: at the network's size, or with tiles at its own.
pub(crate) struct TestImage<'a> {
    pub(crate) item: &'a TestItem,
    /// `[C, H, W]` in [0, 1].
    pub(crate) pixels: Vec<f32>,
    /// The defect's pixels; `None` if they are not known.
    pub(crate) mask: Option<Map<bool>>,
    pub(crate) size: Size,
}

/// Test images with their masks, loaded ahead.
pub(crate) struct TestImages<'a> {
    items: std::vec::IntoIter<&'a TestItem>,
    loaded: Box<dyn Iterator<Item = Result<LoadedImage, DataError>>>,
    model: &'a Model,
    /// What was wrong with images and masks so far. An image that cannot be read is left out; one whose mask cannot be
    /// used has none.
    pub(crate) faults: Vec<String>,
}

impl<'a> TestImages<'a> {
    pub(crate) fn new(items: impl IntoIterator<Item = &'a TestItem>, model: &'a Model) -> Self {
        let items: Vec<_> = items.into_iter().collect();
        let paths = items.iter().map(|item| item.path.clone()).collect();
        let loaded = model.load(paths).map(|(_, loaded)| loaded);
        Self {
            items: items.into_iter(),
            loaded: Box::new(loaded),
            model,
            faults: Vec::new(),
        }
    }

    /// The next images and what the model finds in them, possibly in none of these; `None` after the last.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Vec<(TestImage<'a>, Scored)>>> {
        let at_once = self.model.batch_size();
        let mut items = Vec::with_capacity(at_once);
        let mut images = Vec::with_capacity(at_once);
        while items.len() < at_once {
            let Some(item) = self.items.next() else { break };
            match self.loaded.next().context("an image was not loaded")? {
                Ok(loaded) => {
                    let mask = self.mask(item, &loaded);
                    items.push((item, mask));
                    images.push(loaded.image);
                }
                Err(error) => self.faults.push(plain(&told(&error))),
            }
        }
        if items.is_empty() {
            return Ok(None);
        }
        let scored = self.model.score(&images.iter().collect::<Vec<_>>(), Keep::All)?;
        let mut batch = Vec::with_capacity(items.len());
        for (((item, mask), image), scored) in items.into_iter().zip(images).zip(scored) {
            match scored {
                Ok(scored) => {
                    let image = TestImage {
                        item,
                        size: image.size(),
                        pixels: image.into_values(),
                        mask,
                    };
                    batch.push((image, scored));
                }
                Err(error) => self.faults.push(plain(&format!("{}: {error}", item.path.display()))),
            }
        }
        Ok(Some(batch))
    }

    /// The defect's pixels, as far as they are known: a good image has none.
    fn mask(&mut self, item: &TestItem, loaded: &LoadedImage) -> Option<Map<bool>> {
        let size = loaded.image.size();
        let limits = &self.model.reader().limits;
        let marked = (!item.masks.is_empty()).then(|| load_mask(&item.masks, Some(loaded.original_size), size, limits));
        let marked = match marked.transpose() {
            Ok(marked) => marked,
            Err(error) => {
                self.faults.push(plain(&told(&error)));
                None
            }
        };
        if item.is_defective() {
            let is_empty = marked.as_ref().is_some_and(|mask| !mask.values().contains(&true));
            if let (true, Some(file)) = (is_empty, item.masks.first()) {
                self.faults.push(plain(&format!(
                    "{}: the mask marks nothing; draw the defect in it, with 255 on 0, or take the mask away",
                    file.display()
                )));
                return None;
            }
            return marked;
        }
        if let (Some(mask), Some(file)) = (marked, item.masks.first())
            && mask.values().contains(&true)
        {
            self.faults.push(plain(&format!(
                "{}: this mask marks a defect, but its image {} lies among the good ones and is measured as one; correct the \
                 mask, or move the image",
                file.display(),
                item.path.display()
            )));
        }
        Some(Map::filled(size, false))
    }
}
