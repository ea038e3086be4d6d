//! Where on the pictures of a line defects are looked for.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use image::{ExtendedColorType, ImageEncoder, ImageFormat, codecs::png::PngEncoder};
use riad::{DataError, Reader, Size, files::sha256_of_bytes};
use riad_data::load_mask;
use serde::Serialize;
use tempfile::TempPath;
use utoipa::ToSchema;

use super::Draft;
use crate::{
    Error, Result,
    line::without,
    making::NotMade,
    store::{GoodRow, Store},
};

/// The most bytes that a mask may have. One that a person draws has some thousand.
pub(crate) const MOST_MASK: usize = 4 << 20;

/// The region of a line.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    /// A PNG of the size of the pictures, white inside.
    png: Arc<[u8]>,
    size: Size,
    share: f64,
    /// By which a browser knows it.
    tag: String,
}

/// What the API says of the region of a line.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct RegionState {
    /// The address of its mask. It changes with the mask.
    mask: String,
    /// How much of a picture is inside, from 0 to 1.
    share: f64,
}

impl Region {
    /// From a mask that somebody sent, brought to the size of the pictures.
    ///
    /// # Errors
    /// Says in words why it cannot be used.
    fn of_mask(file: &Path, pictures: Size) -> Result<Self, String> {
        let reader = Reader::default();
        let said = |error: DataError| format!("the mask cannot be used: {}", without(&error.to_string(), file));
        let own = reader.size(file).map_err(said)?;
        if !own.has_proportions_of(pictures) {
            return Err(format!(
                "the mask has {own} pixels (height x width), and the pictures have {pictures}; draw it on one of them, because it must \
                 have their proportions"
            ));
        }
        let mask = load_mask(&[file], None, pictures, &reader.limits).map_err(said)?;
        let inside: Vec<u8> = mask
            .values()
            .iter()
            .map(|&is_inside| 255 * u8::from(is_inside))
            .collect();
        let mut png = Vec::new();
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        PngEncoder::new(&mut png)
            .write_image(
                &inside,
                side(pictures.width),
                side(pictures.height),
                ExtendedColorType::L8,
            )
            .map_err(|error| format!("the mask cannot be kept: {error}"))?;
        let region = Self::of(png, pictures, &inside);
        match region.share {
            0.0 => Err("the mask is black everywhere; mark where defects are looked for in white".to_owned()),
            _ => Ok(region),
        }
    }

    /// From what is kept.
    ///
    /// # Errors
    /// Says in words what is wrong with it.
    pub(super) fn kept(png: Vec<u8>) -> Result<Self, String> {
        let decoded = image::load_from_memory_with_format(&png, ImageFormat::Png);
        let inside = decoded.map_err(|error| error.to_string())?.into_luma8();
        let size = Size::new(inside.height() as usize, inside.width() as usize);
        Ok(Self::of(png, size, inside.as_raw()))
    }

    fn of(png: Vec<u8>, size: Size, inside: &[u8]) -> Self {
        let count = inside.iter().filter(|&&value| value > 0).count();
        let mut tag = sha256_of_bytes(&png);
        tag.truncate(16);
        Self {
            size,
            share: count as f64 / size.pixels().max(1) as f64,
            tag,
            png: png.into(),
        }
    }

    pub(super) fn state(&self, line: &str) -> RegionState {
        RegionState {
            mask: format!("/v1/lines/{line}/region?is={}", self.tag),
            share: self.share,
        }
    }

    /// A PNG, white inside.
    pub(crate) fn png(&self) -> &[u8] {
        &self.png
    }

    /// By which a browser knows it.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// As the database keeps it.
    pub(super) fn to_keep(&self) -> Vec<u8> {
        self.png.to_vec()
    }

    /// Checks that it fits all pictures; those in tiles have its size, and others its proportions.
    ///
    /// # Errors
    /// [`NotMade::Asked`] names a picture that it does not fit.
    pub(super) fn check(&self, pictures: &[GoodRow], is_tiled: bool) -> Result<(), NotMade> {
        let fits = |picture: &&GoodRow| match is_tiled {
            true => picture.size() == self.size,
            false => picture.size().has_proportions_of(self.size),
        };
        match pictures.iter().find(|picture| !fits(picture)) {
            None => Ok(()),
            Some(other) => Err(NotMade::Asked(format!(
                "the region of interest has {} pixels (height x width), and {} has {}, which is another {}; leave that picture out, or \
                 take the region away",
                self.size,
                other.name,
                other.size(),
                if is_tiled { "size" } else { "shape" },
            ))),
        }
    }
}

impl Draft {
    /// Where defects are looked for, if that is not everywhere.
    pub(crate) fn region(&self) -> Option<Region> {
        self.now().region.clone()
    }

    /// Has defects looked for only where a mask is not black; without one, everywhere. What was learned is forgotten.
    ///
    /// # Errors
    /// [`NotMade::Wrong`] if it is no mask, [`NotMade::Asked`] if it does not fit the pictures, or cannot be changed now.
    pub(crate) fn set_region(&self, store: &Store, mask: Option<&TempPath>) -> Result<(), NotMade> {
        self.check_open()?;
        let region = match (mask, store.good(&self.name)?.first()) {
            (None, _) => None,
            (Some(mask), Some(first)) => Some(Region::of_mask(mask, first.size()).map_err(NotMade::Wrong)?),
            (Some(_), None) => {
                return Err(NotMade::Asked(format!(
                    "line {} has no pictures yet; give it some first, because the region must fit them",
                    self.name
                )));
            }
        };
        let _alone = self.alone();
        self.check_open()?;
        if let Some(region) = &region {
            region.check(&store.good(&self.name)?, false)?;
        }
        Ok(self.renew(store, |now| now.region = region)?)
    }

    /// The file of its mask for a training; `None` if all is looked at.
    pub(super) fn mask(&self) -> Result<Option<PathBuf>> {
        let Some(region) = self.region() else {
            return Ok(None);
        };
        let path = self.folder.join("region.png");
        fs::create_dir_all(&self.folder).map_err(Error::file("make", &self.folder))?;
        riad::files::write_whole(&path, region.png())?;
        Ok(Some(path))
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};

    use super::*;

    fn mask(width: u32, height: u32, inside: u32) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
        let mask = GrayImage::from_fn(width, height, |x, _| Luma([255 * u8::from(x < inside)]));
        mask.save(file.path()).unwrap();
        file
    }

    #[test]
    fn a_mask_is_brought_to_the_size_of_the_pictures_and_kept() {
        let pictures = Size::new(60, 80);
        let region = Region::of_mask(mask(40, 30, 10).path(), pictures).unwrap();
        assert_eq!((region.size, region.share), (pictures, 0.25));
        let kept = Region::kept(region.to_keep()).unwrap();
        assert_eq!(
            (kept.size, kept.share, &kept.tag),
            (region.size, region.share, &region.tag)
        );
        assert!(Region::kept(b"no picture".to_vec()).is_err());
    }

    #[test]
    fn what_is_no_mask_of_the_pictures_is_refused_in_words() {
        let refused = |file: &Path| Region::of_mask(file, Size::new(60, 80)).unwrap_err();
        let words = refused(mask(40, 40, 10).path());
        assert!(words.contains("40x40") && words.contains("60x80"), "{words}");
        let words = refused(mask(40, 30, 0).path());
        assert!(words.contains("black everywhere"), "{words}");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "no picture").unwrap();
        let words = refused(file.path());
        assert!(!words.contains(file.path().to_str().unwrap()), "{words}");
    }
}
