//! Small encoded pictures of a test image. They are made while it is scored, so a large set needs no more memory than
//! its report.

use image::{GrayImage, Luma};
use rayon::prelude::*;
use riad_core::{Map, Size};
use riad_data::{MadeUp, TestItem};
use riad_model::Scored;

use super::test_images::{TestImage, TestImages};
use crate::{
    Error, Result,
    detector::Detector,
    render::{
        Plane, Scale, Thumbnail, ThumbnailKind, drawn, outline_found, outline_truth,
        thumbnail::{BEST_QUALITY, Draft, PICTURE_SIDE, encode, reduced, resized},
    },
};

/// The longer side of pictures of a map, which the mean filter has left without detail.
const MAP_SIDE: u32 = 80;
/// Test images that the colour scale is chosen by.
const SAMPLE: usize = 16;

/// Draws the pictures of a category's images with one colour scale.
pub struct Painter {
    scale: Scale,
    /// What is above was found; `None` where there is no calibrated threshold.
    threshold: Option<f32>,
    /// What the map of each pass is called.
    pass_names: Vec<String>,
}

impl Painter {
    /// Chooses the scale by a sample of the category's test images: what is typical of a defect shall be seen in warm
    /// colours, and not be dwarfed by the one that scores highest. Without defects, good images shall stay cold. With a
    /// `threshold`, what is above it is drawn as found.
    pub(super) fn new(items: &[(&TestItem, Option<MadeUp>)], model: &Detector, threshold: Option<f32>) -> Result<Self> {
        let defects: Vec<_> = items.iter().filter(|(item, _)| item.is_defective()).copied().collect();
        let top = if defects.is_empty() {
            let maxima = maxima(items, model)?;
            2.0 * maxima.last().copied().unwrap_or_default()
        } else {
            let maxima = maxima(&defects, model)?;
            maxima.get(3 * maxima.len() / 4).copied().unwrap_or_default()
        };
        // What is not found is not the hottest.
        let top = top.max(threshold.unwrap_or_default());
        Ok(Self {
            scale: Scale::up_to(top.max(f32::EPSILON))
                .ok_or("the maps hold no numbers")
                .map_err(Error::render("a colour scale"))?,
            threshold,
            pass_names: model.header().method().pass_names(&model.header().scoring),
        })
    }

    /// The value of the hottest colour.
    pub fn top(&self) -> f32 {
        self.scale.top()
    }

    /// The colours from 0 to the hot end, from left to right.
    pub fn legend(&self) -> Result<Thumbnail> {
        let steps: Vec<f32> = (0..256).map(|step| self.top() * step as f32 / 255.0).collect();
        let bar = self.scale.heat(&Plane::new(
            Map::new(Size::new(1, steps.len()), steps).map_err(Error::render("a legend"))?,
        )?);
        Draft::new(ThumbnailKind::MeanMap, bar).encode(BEST_QUALITY)
    }

    /// The pictures of each of the images, in the order of [`ThumbnailKind`]; without ground truth where it is not known, or
    /// there is no defect.
    pub(super) fn thumbnails(&self, images: &[(TestImage<'_>, Scored)]) -> Result<Vec<Vec<Thumbnail>>> {
        let drawn = images
            .par_iter()
            .map(|(image, scored)| encode(self.draw(image, scored)?));
        drawn.collect()
    }

    fn draw(&self, image: &TestImage<'_>, scored: &Scored) -> Result<Vec<Draft>> {
        let size = image.size;
        let [picture_size, map_size] = [PICTURE_SIDE, MAP_SIDE].map(|side| reduced(size, side));
        let picture = |pixels| Ok::<_, Error>(resized(&drawn(pixels, size)?, picture_size));
        let of = |(width, height): (u32, u32)| Size::new(height as usize, width as usize);
        let heat = |map: &Plane| Ok::<_, Error>(self.scale.heat(&map.resized(of(map_size))?));

        let shown = picture(&image.pixels)?;
        let mean = Plane::new(scored.map.clone())?;
        let mut overlay = self.scale.overlay(&shown, &mean.resized(of(picture_size))?)?;
        let mask = image.mask.as_ref().filter(|mask| mask.values().contains(&true));
        // However small, what is marked is seen.
        let marked = |is_marked: &dyn Fn(usize) -> bool| reduced_marks(size, picture_size, is_marked);
        let defective = mask.map(|mask| marked(&|at| mask.values()[at]));
        let found = self
            .threshold
            .map(|threshold| marked(&|at| scored.map.values()[at] > threshold));
        let at = |x: u32, y: u32| (y * picture_size.0 + x) as usize;
        if let Some(defective) = &defective {
            outline_truth(&mut overlay, |x, y| defective[at(x, y)]);
        }
        if let Some(found) = &found {
            outline_found(&mut overlay, |x, y| found[at(x, y)]);
        }

        let mut drafts = vec![
            Draft::new(ThumbnailKind::Image, shown),
            Draft::new(ThumbnailKind::Reconstruction, picture(&scored.reconstruction)?),
        ];
        for (name, map) in self.pass_names.iter().zip(&scored.region_maps) {
            let map = heat(&Plane::new(map.clone())?)?;
            drafts.push(Draft::new(ThumbnailKind::PassMap(name.clone()), map));
        }
        drafts.push(Draft::new(ThumbnailKind::MeanMap, heat(&mean)?));
        let is_found = found.map(|found| found.contains(&true));
        drafts.push(Draft::new(ThumbnailKind::Overlay(is_found), overlay));
        if let Some(defective) = defective {
            let white = |x, y| Luma([if defective[at(x, y)] { 255 } else { 0 }]);
            let truth = GrayImage::from_fn(picture_size.0, picture_size.1, white);
            drafts.push(Draft::new(ThumbnailKind::GroundTruth, truth));
        }
        Ok(drafts)
    }
}

/// The hottest values of a sample of images, over all of their maps, in ascending order.
fn maxima(items: &[(&TestItem, Option<MadeUp>)], model: &Detector) -> Result<Vec<f32>> {
    let sample = items.iter().step_by(items.len().div_ceil(SAMPLE).max(1)).copied();
    let mut images = TestImages::new(sample, model);
    let mut maxima = Vec::new();
    while let Some(batch) = images.next_batch(&())? {
        for (_, scored) in &batch {
            let hottest = scored.region_maps.iter().chain([&scored.map]).filter_map(Map::max);
            maxima.push(hottest.fold(0.0, f32::max));
        }
    }
    maxima.sort_unstable_by(f32::total_cmp);
    Ok(maxima)
}

/// Which pixels of a picture, which is no larger than the image, show a marked pixel of the image, row by row.
fn reduced_marks(size: Size, (width, height): (u32, u32), is_marked: &dyn Fn(usize) -> bool) -> Vec<bool> {
    let mut marks = vec![false; width as usize * height as usize];
    for y in 0..size.height {
        let row = y * height as usize / size.height * width as usize;
        for x in 0..size.width {
            marks[row + x * width as usize / size.width] |= is_marked(y * size.width + x);
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use riad_model::{Architecture, Checkpoint, Device, Keep, Precision, Scorer, ScoringSettings, Weights};

    use super::*;

    /// Pixels without any order are what takes a JPEG the most bytes.
    fn noise(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        (0..count).map(|_| next()).collect()
    }

    /// What a network finds, whatever it is.
    fn any_scored() -> Scored {
        let weights = Weights::initial(Architecture::u_net(1), 0).unwrap();
        let checkpoint = Checkpoint::new(weights, ScoringSettings::for_size(32, 32), None, None);
        let scorer = Scorer::new(&checkpoint, &Device::CPU, Precision::F32).unwrap();
        scorer.score(&[0.5; 3 * 32 * 32], Keep::Map).unwrap().remove(0)
    }

    /// The pictures of noise, or else of an image without anything on it.
    fn thumbnails(size: Size, is_noisy: bool) -> Vec<Thumbnail> {
        let pixels = size.pixels();
        let noise = |count, seed| if is_noisy { noise(count, seed) } else { vec![0.6; count] };
        let map = |seed| Map::new(size, noise(pixels, seed)).unwrap();
        let item = TestItem {
            path: "x.png".into(),
            defect: Some("hole".into()),
            masks: Vec::new(),
        };
        let image = TestImage {
            item: &item,
            made_up: None,
            pixels: noise(3 * pixels, 1),
            mask: Some(Map::new(size, noise(pixels, 2).iter().map(|value| *value > 0.5).collect()).unwrap()),
            size,
        };
        let mut scored = any_scored();
        scored.map = map(3);
        scored.region_maps = (4..8).map(map).collect();
        scored.reconstruction = noise(3 * pixels, 9);
        let painter = Painter {
            scale: Scale::up_to(1.0).unwrap(),
            threshold: Some(0.9),
            pass_names: ["a", "b", "c", "d"].map(String::from).to_vec(),
        };
        painter.thumbnails(&[(image, scored)]).unwrap().remove(0)
    }

    #[test]
    fn a_report_of_1000_images_stays_below_30_mb() {
        let thumbnails = thumbnails(Size::new(256, 256), true);
        assert_eq!(thumbnails.len(), 9);
        let characters: usize = thumbnails.iter().map(|thumbnail| thumbnail.address.len()).sum();
        // What surrounds the pictures of an image in the file is held to the rest by a test of the report.
        assert!(characters <= 27_400, "{characters}");
    }

    #[test]
    fn what_is_marked_is_seen_however_small() {
        let marks = |size, picture, at: usize| reduced_marks(size, picture, &|other| other == at);
        // The last of 1,000 pixels in a row of 4, and one of 7 by 5 in 3 by 2.
        assert_eq!(marks(Size::new(1, 1000), (4, 1), 999), [false, false, false, true]);
        assert_eq!(
            marks(Size::new(5, 7), (3, 2), 3 * 7 + 2),
            [false, false, false, true, false, false]
        );
        assert_eq!(marks(Size::new(2, 2), (2, 2), 1), [false, true, false, false]);
    }

    /// What the model found and the ground truth are two lines, and where nothing was found there is only one.
    #[test]
    fn a_missed_defect_never_looks_found() {
        let size = Size::new(64, 64);
        let at = |low: usize, high: usize, index: usize| {
            let inside = |place: usize| (low..high).contains(&place);
            inside(index % 64) && inside(index / 64)
        };
        let item = TestItem {
            path: "x.png".into(),
            defect: Some("hole".into()),
            masks: Vec::new(),
        };
        let draw = |peak: f32| {
            let image = TestImage {
                item: &item,
                made_up: None,
                pixels: vec![0.5; 3 * size.pixels()],
                mask: Some(Map::new(size, (0..size.pixels()).map(|index| at(8, 16, index)).collect()).unwrap()),
                size,
            };
            let mut scored = any_scored();
            let heat = (0..size.pixels()).map(|index| if at(40, 48, index) { peak } else { 0.0 });
            scored.map = Map::new(size, heat.collect()).unwrap();
            scored.region_maps = Vec::new();
            scored.reconstruction = image.pixels.clone();
            let painter = Painter {
                scale: Scale::up_to(1.0).unwrap(),
                threshold: Some(0.5),
                pass_names: Vec::new(),
            };
            let drafts = painter.draw(&image, &scored).unwrap();
            let overlay = drafts
                .iter()
                .find(|draft| matches!(draft.kind, ThumbnailKind::Overlay(_)))
                .unwrap();
            let picture = overlay.picture.to_rgb8();
            // The lines lie two pixels around: half of the way to each other they meet nothing.
            let colours = |is_here: fn(u32) -> bool| {
                let here = picture
                    .enumerate_pixels()
                    .filter(|(x, y, _)| is_here(*x) && is_here(*y));
                let count = |colour: [u8; 3]| here.clone().filter(|(_, _, pixel)| pixel.0 == colour).count();
                [count([255, 0, 200]), count([255; 3]), count([0; 3])]
            };
            (overlay.kind.clone(), colours(|at| at < 28), colours(|at| at >= 28))
        };
        let around = 12 * 12 - 8 * 8;
        let (kind, truth, found) = draw(0.8);
        assert_eq!(kind, ThumbnailKind::Overlay(Some(true)));
        assert_eq!((truth[0], truth[1] + truth[2]), (0, around));
        assert!(truth[1] > around / 3 && truth[2] > around / 3, "{truth:?}");
        assert_eq!(found, [around, 0, 0]);
        let (kind, truth, found) = draw(0.4);
        assert_eq!(kind, ThumbnailKind::Overlay(Some(false)));
        assert_eq!((truth[1] + truth[2], found), (around, [0; 3]));
    }

    #[test]
    fn pictures_keep_the_images_shape() {
        for (size, picture, map) in [
            ((256, 256), (160, 160), (80, 80)),
            ((128, 512), (160, 40), (80, 20)),
            ((64, 32), (32, 64), (32, 64)),
        ] {
            for thumbnail in thumbnails(Size::new(size.0, size.1), false) {
                let is_map = matches!(thumbnail.kind, ThumbnailKind::PassMap(_) | ThumbnailKind::MeanMap);
                let expected = if is_map { map } else { picture };
                assert_eq!((thumbnail.width, thumbnail.height), expected, "{:?}", thumbnail.kind);
            }
        }
        // A line of pixels has a height, however long it is.
        assert_eq!(reduced(Size::new(1, 4096), 80), (80, 1));
    }
}
