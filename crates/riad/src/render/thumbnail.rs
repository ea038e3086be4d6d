//! Small encoded pictures, for pages with many pictures.

use base64::{Engine, prelude::BASE64_STANDARD};
use image::{
    DynamicImage, ImageEncoder, RgbImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
    imageops::{self, FilterType},
};
use riad_core::Size;

use crate::{Error, Result};

/// The longer side of pictures of an image, in pixels, at most.
pub(crate) const PICTURE_SIDE: u32 = 160;
/// What all pictures of an image take together: a report of 1,000 images stays below 30 MB, base64 and text included.
const BYTES: usize = 20_500;
/// JPEG qualities to try until pictures keep to that, each before smaller pictures are tried.
const QUALITIES: [u8; 5] = [85, 75, 60, 45, 30];
/// The first of them.
pub(crate) const BEST_QUALITY: u8 = QUALITIES[0];
/// How often the sides of pictures are halved for it, at most.
const HALVINGS: usize = 3;

/// A small picture.
#[derive(Debug)]
#[non_exhaustive]
pub struct Thumbnail {
    /// The content of the picture.
    pub kind: ThumbnailKind,
    /// Columns of pixels.
    pub width: u32,
    /// Rows of pixels.
    pub height: u32,
    /// The encoded picture as a `data:` address.
    pub address: String,
}

impl Thumbnail {
    /// A picture, reduced.
    ///
    /// # Errors
    /// If it has no pixel.
    pub fn of(picture: &RgbImage) -> Result<Self> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let small = resized(picture, reduced(Size::new(height, width), PICTURE_SIDE));
        Draft::new(ThumbnailKind::Image, small).encode(BEST_QUALITY)
    }
}

/// The content of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThumbnailKind {
    /// The image itself.
    Image,
    /// The reconstruction by the network.
    Reconstruction,
    /// The map of a pass, by its name.
    PassMap(String),
    /// The map.
    MeanMap,
    /// The mean map over the image, with a line around the parts that were found and another around the ground truth.
    /// The value says whether anything was found. `None` without a threshold.
    Overlay(Option<bool>),
    /// The defect's pixels in white.
    GroundTruth,
}

/// Width and height of a picture of an image of this size, whose longer side is at most `side`.
pub(crate) fn reduced(Size { height, width }: Size, side: u32) -> (u32, u32) {
    let share = (f64::from(side) / height.max(width) as f64).min(1.0);
    let reduced = |pixels: usize| ((pixels as f64 * share).round() as u32).max(1);
    (reduced(width), reduced(height))
}

pub(crate) fn resized(picture: &RgbImage, (width, height): (u32, u32)) -> RgbImage {
    imageops::resize(picture, width, height, FilterType::Triangle)
}

/// A picture before it is encoded.
pub(crate) struct Draft {
    pub(crate) kind: ThumbnailKind,
    pub(crate) picture: DynamicImage,
}

impl Draft {
    pub(crate) fn new(kind: ThumbnailKind, picture: impl Into<DynamicImage>) -> Self {
        let picture = picture.into();
        Self { kind, picture }
    }

    /// The same at half the size.
    fn halved(&self) -> Self {
        let Self { kind, picture } = self;
        let half = |side: u32| side.div_ceil(2);
        Self::new(
            kind.clone(),
            picture.resize_exact(half(picture.width()), half(picture.height()), FilterType::Triangle),
        )
    }

    /// The picture encoded, as JPEG in this quality but for masks.
    pub(crate) fn encode(&self, quality: u8) -> Result<Thumbnail> {
        let Self { kind, picture } = self;
        let (width, height) = (picture.width(), picture.height());
        let (bytes, colour) = (picture.as_bytes(), picture.color().into());
        let mut encoded = Vec::new();
        let cannot = || Error::render("a small picture");
        let format = if *kind == ThumbnailKind::GroundTruth {
            // A mask has two values, which PNG keeps apart in fewer bytes.
            PngEncoder::new(&mut encoded)
                .write_image(bytes, width, height, colour)
                .map_err(cannot())?;
            "png"
        } else {
            JpegEncoder::new_with_quality(&mut encoded, quality)
                .write_image(bytes, width, height, colour)
                .map_err(cannot())?;
            "jpeg"
        };
        Ok(Thumbnail {
            kind: kind.clone(),
            width,
            height,
            address: format!("data:image/{format};base64,{}", BASE64_STANDARD.encode(&encoded)),
        })
    }
}

/// Encodes an image's pictures in the best quality and size with which they take no more than [`BYTES`].
pub(crate) fn encode(mut drafts: Vec<Draft>) -> Result<Vec<Thumbnail>> {
    let mut encoded = Vec::new();
    for _ in 0..=HALVINGS {
        for quality in QUALITIES {
            encoded = drafts
                .iter()
                .map(|draft| draft.encode(quality))
                .collect::<Result<_>>()?;
            let characters: usize = encoded.iter().map(|thumbnail| thumbnail.address.len()).sum();
            if characters <= BYTES * 4 / 3 {
                return Ok(encoded);
            }
        }
        drafts = drafts.iter().map(Draft::halved).collect();
    }
    Ok(encoded)
}
