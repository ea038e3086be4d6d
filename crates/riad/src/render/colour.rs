//! Colours for values.

use image::{Rgb, RgbImage};

use super::{Plane, grey};
use crate::{Error, Result};

/// Value of the hottest colour, unless another one is chosen: good products stay cold, and most defects are warm.
const TOP: f32 = 0.5;

/// How much of the image the hotter half of the scale covers; below, colours fade in.
const OPACITY: f32 = 0.75;

/// A colour scale from blue (0) to red (a given value). Larger values are red, too.
#[derive(Clone, Debug)]
pub struct Scale {
    top: f32,
    colours: Vec<[u8; 3]>,
}

impl Default for Scale {
    /// From 0 to 0.5.
    fn default() -> Self {
        Self::new(TOP)
    }
}

impl Scale {
    /// A scale from 0 to `top`. `None` if `top` is not above 0.
    pub fn up_to(top: f32) -> Option<Self> {
        (top > 0.0 && top.is_finite()).then(|| Self::new(top))
    }

    fn new(top: f32) -> Self {
        let colour = |step| {
            let colour = colorous::TURBO.eval_rational(step, 256);
            [colour.r, colour.g, colour.b]
        };
        Self {
            top,
            colours: (0..256).map(colour).collect(),
        }
    }

    /// The value of the hottest colour.
    pub fn top(&self) -> f32 {
        self.top
    }

    /// The colour of `value`.
    pub fn colour(&self, value: f32) -> Rgb<u8> {
        Rgb(self.colours[(self.share(value) * 255.0).round() as usize])
    }

    fn share(&self, value: f32) -> f32 {
        (value / self.top).clamp(0.0, 1.0)
    }

    /// A map in colours.
    pub fn heat(&self, map: &Plane) -> RgbImage {
        RgbImage::from_fn(map.0.width(), map.0.height(), |x, y| self.colour(map.at(x, y)))
    }

    /// A map's colours over the grey image. A hotter colour is stronger, so good parts stay visible.
    ///
    /// # Errors
    /// If the two have different sizes.
    pub fn overlay(&self, image: &RgbImage, map: &Plane) -> Result<RgbImage> {
        if image.dimensions() != map.size() {
            return Err(Error::request("an overlay takes an image and a map of one size"));
        }
        let mut overlay = grey(image);
        for (x, y, pixel) in overlay.enumerate_pixels_mut() {
            let value = map.at(x, y);
            let opacity = OPACITY * (2.0 * self.share(value)).min(1.0);
            for (under, over) in pixel.0.iter_mut().zip(self.colour(value).0) {
                *under = (f32::from(*under) * (1.0 - opacity) + f32::from(over) * opacity).round() as u8;
            }
        }
        Ok(overlay)
    }
}

#[cfg(test)]
mod tests {
    use riad_core::{Map, Size};

    use super::*;

    fn ramp() -> Plane {
        Plane::new(Map::new(Size::new(1, 2), vec![0.0, 1.0]).unwrap()).unwrap()
    }

    #[test]
    fn the_scale_ends_where_it_says() {
        let scale = Scale::up_to(0.5).unwrap();
        assert_eq!(scale.colour(0.5), scale.colour(0.9));
        assert_ne!(scale.colour(0.5), scale.colour(0.4));
        assert_ne!(scale.colour(0.0), scale.colour(0.1));
        for top in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(Scale::up_to(top).is_none(), "{top}");
        }
    }

    #[test]
    fn an_overlay_without_heat_is_the_image_in_grey() {
        let image = RgbImage::from_pixel(2, 1, Rgb([10, 20, 30]));
        let map = ramp();
        let scale = Scale::up_to(1.0).unwrap();
        let overlay = scale.overlay(&image, &map).unwrap();
        let Rgb([r, g, b]) = *overlay.get_pixel(0, 0);
        assert!(r == g && g == b && (10..=30).contains(&r));
        assert_ne!(overlay.get_pixel(1, 0), overlay.get_pixel(0, 0));
    }

    #[test]
    fn a_map_enlarges_bilinearly() {
        let map = ramp().resized(Size::new(2, 4)).unwrap();
        // Pixel centres of the larger image lie at -0.25, 0.25, 0.75 and 1.25 of the smaller one's.
        assert_eq!(map.0.into_raw(), [0.0, 0.25, 0.75, 1.0, 0.0, 0.25, 0.75, 1.0]);
    }
}
