//! The test images of a category, as a model takes them, with their masks.

use anyhow::{Context, Result};
use riad_core::{Map, Size};
use riad_data::{DataError, Image, LoadedImage, TestItem, load_mask};
use riad_model::{Keep, Scored};

use crate::scoring::Model;

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
        }
    }

    /// The next images and what the model finds in them; `None` after the last.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Vec<(TestImage<'a>, Scored)>>> {
        let at_once = self.model.batch_size();
        let mut items = Vec::with_capacity(at_once);
        let mut images = Vec::with_capacity(at_once);
        for item in self.items.by_ref().take(at_once) {
            let LoadedImage {
                image, original_size, ..
            } = self.loaded.next().context("an image was not loaded")??;
            let size = image.size();
            let mask = match item.masks.as_slice() {
                [] => (!item.is_defective()).then(|| Map::filled(size, false)),
                masks => Some(load_mask(
                    masks,
                    Some(original_size),
                    size,
                    &self.model.reader().limits,
                )?),
            };
            items.push((item, mask));
            images.push(image);
        }
        let scored = self.model.score(&images.iter().collect::<Vec<_>>(), Keep::All)?;
        let test_image = |((item, mask), image): (_, Image)| TestImage {
            item,
            size: image.size(),
            pixels: image.into_values(),
            mask,
        };
        let batch = items.into_iter().zip(images).map(test_image).zip(scored);
        Ok(Some(batch.collect::<Vec<_>>()).filter(|batch| !batch.is_empty()))
    }
}
