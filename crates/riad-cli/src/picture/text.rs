//! Words in pictures.

use ab_glyph::FontRef;
use anyhow::{Context, Result};
use image::{Rgb, RgbImage};
use imageproc::drawing::{draw_text_mut, text_size};

const INK: Rgb<u8> = Rgb([25, 25, 25]);

/// A font to write with.
pub(super) struct Pen(FontRef<'static>);

impl Pen {
    pub(super) fn new() -> Result<Self> {
        FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT)
            .map(Self)
            .context("the font cannot be read")
    }

    /// Writes `text` of a height of `size` pixels from (`x`, `y`), its left upper corner.
    pub(super) fn left(&self, picture: &mut RgbImage, text: &str, size: f32, x: u32, y: u32) {
        draw_text_mut(picture, INK, x as i32, y as i32, size, &self.0, text);
    }

    /// Writes `text` centred in the `width` pixels from `x` on.
    pub(super) fn centred(&self, picture: &mut RgbImage, text: &str, size: f32, x: u32, y: u32, width: u32) {
        let (needed, _) = text_size(size, &self.0, text);
        self.left(picture, text, size, x + width.saturating_sub(needed) / 2, y);
    }

    /// `text`, cut short with an ellipsis where it takes more than `width` pixels.
    pub(super) fn fitted(&self, text: &str, size: f32, width: u32) -> String {
        let fits = |text: &str| text_size(size, &self.0, text).0 <= width;
        let mut kept: Vec<char> = text.chars().collect();
        let mut fitted = text.to_owned();
        while !kept.is_empty() && !fits(&fitted) {
            kept.pop();
            fitted = kept.iter().chain(&['…']).collect();
        }
        fitted
    }
}
