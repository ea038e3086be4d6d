//! Decoded pixels: their channels, their parts, and their values in [0, 1] at another size.

use fast_image_resize::{
    FilterType, IntoImageView, IntoImageViewMut, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    pixels::{U16, U16x3},
};
use image::{DynamicImage, ImageBuffer, Luma, Pixel};
use riad_core::{Map, Size};

use crate::{DataError, Image};

/// An image as it was decoded, upright and opaque.
#[derive(Clone, Debug)]
pub(crate) enum Pixels {
    /// One of `ImageLuma8`, `ImageLuma16`, `ImageRgb8` and `ImageRgb16`.
    Picture(DynamicImage),
    /// A plane for each channel, all of one size; at least one.
    Planes(Vec<Plane>),
}

/// One channel.
#[derive(Clone, Debug)]
pub(crate) enum Plane {
    /// `ImageLuma8` or `ImageLuma16`.
    Integers(DynamicImage),
    /// Values in [0, 1].
    Floats(Map),
}

impl Pixels {
    pub(crate) fn size(&self) -> Size {
        match self {
            Self::Picture(picture) => size_of(picture),
            Self::Planes(planes) => planes.first().map_or(Size::new(0, 0), Plane::size),
        }
    }

    /// The bytes that they take in memory.
    pub(crate) fn bytes(&self) -> usize {
        let of_plane = |plane: &Plane| match plane {
            Plane::Integers(image) => image.as_bytes().len(),
            Plane::Floats(map) => size_of_val(map.values()),
        };
        match self {
            Self::Picture(picture) => picture.as_bytes().len(),
            Self::Planes(planes) => planes.iter().map(of_plane).sum(),
        }
    }

    /// Makes gray from colours if one channel is requested. If three are, gray stays one plane, and
    /// [`to_image`](Self::to_image) repeats it.
    pub(crate) fn with_channels(self, wanted: usize) -> Self {
        match self {
            Self::Picture(picture) if wanted == 1 && picture.color().has_color() => {
                let rgb = picture.into_rgb16();
                Self::Picture(
                    ImageBuffer::from_fn(rgb.width(), rgb.height(), |x, y| Luma([luma(rgb.get_pixel(x, y).0)])).into(),
                )
            }
            Self::Planes(planes) if wanted == 1 => match <[Plane; 3]>::try_from(planes) {
                Ok(rgb) => Self::Planes(vec![luma_of_planes(rgb)]),
                Err(planes) => Self::Planes(planes),
            },
            same => same,
        }
    }

    /// A plane for each channel, of which there are `wanted`.
    pub(crate) fn into_planes(self, wanted: usize) -> Vec<Plane> {
        let mut planes = match self {
            Self::Picture(picture) if picture.color().has_color() => split(picture),
            Self::Picture(gray) => vec![Plane::Integers(gray)],
            Self::Planes(planes) => planes,
        };
        if let ([gray], 2..) = (planes.as_slice(), wanted) {
            planes = vec![gray.clone(); wanted];
        }
        planes
    }

    /// The part of this size whose upper left corner lies at (`top`, `left`), and which lies inside.
    pub(crate) fn crop(&self, top: usize, left: usize, size: Size) -> Self {
        // Sides of pictures fit 32 bits, and so do those of a part.
        let crop =
            |image: &DynamicImage| image.crop_imm(left as u32, top as u32, size.width as u32, size.height as u32);
        let part = |plane: &Plane| match plane {
            Plane::Integers(image) => Plane::Integers(crop(image)),
            Plane::Floats(map) => {
                let mut part = Map::filled(size, 0.0);
                let rows = map.values().chunks_exact(map.size().width.max(1)).skip(top);
                for (out, row) in part.values_mut().chunks_exact_mut(size.width.max(1)).zip(rows) {
                    out.copy_from_slice(&row[left..][..size.width]);
                }
                Plane::Floats(part)
            }
        };
        match self {
            Self::Picture(picture) => Self::Picture(crop(picture)),
            Self::Planes(planes) => Self::Planes(planes.iter().map(part).collect()),
        }
    }

    /// The values in [0, 1], resized without keeping the aspect ratio, as the paper does with its square images. One
    /// channel is repeated if several are wanted.
    ///
    /// The filter is a triangle. If the image becomes smaller, the triangle's width grows with the scale, so that
    /// detail is averaged and not aliased. This is Pillow's `BILINEAR`, from which it differs by at most 1/255 (Pillow
    /// rounds to 8 bits after each axis; here samples have 16 bits throughout). It runs in integers, so the result is
    /// the same for every instruction set; floats are rounded to 16 bits for it. An image that has the wanted size
    /// already keeps its pixels exactly: value/255, value/65535 from 16 bits, or the float.
    ///
    /// # Errors
    /// [`DataError::Parameter`] if a side of the image or of the result is 0 or exceeds 2³² − 1.
    pub(crate) fn to_image(&self, size: Size, channels: usize) -> Result<Image, DataError> {
        let resized = match self {
            Self::Picture(picture) => resize(picture, size),
            Self::Planes(planes) => planes
                .iter()
                .map(|plane| plane.resize(size))
                .collect::<Option<Vec<_>>>()
                .map(|v| v.concat()),
        };
        let mut values = resized.ok_or_else(|| {
            DataError::Parameter(format!(
                "cannot resize {} pixels to {size} (height x width): sides must be at least 1 and fit 32 bits",
                self.size()
            ))
        })?;
        if values.len() == size.pixels() && channels > 1 {
            values = values.repeat(channels);
        }
        Image::new(channels, size, values).map_err(|e| DataError::Parameter(e.to_string()))
    }
}

impl Image {
    /// The same image at another size. The values are those of [`Reader::load`](crate::Reader::load) with
    /// [`Fit::Resized`](crate::Fit::Resized).
    ///
    /// # Errors
    /// [`DataError::Parameter`] if a side of the image or of the result is 0 or exceeds 2³² − 1.
    pub fn resized(&self, size: Size) -> Result<Self, DataError> {
        let plane = |values: &[f32]| {
            let map = Map::new(self.size(), values.to_vec());
            map.map(Plane::Floats).map_err(|e| DataError::Parameter(e.to_string()))
        };
        let planes = self.planes().map(plane).collect::<Result<_, _>>()?;
        Pixels::Planes(planes).to_image(size, self.channels())
    }
}

impl Plane {
    fn size(&self) -> Size {
        match self {
            Self::Integers(image) => size_of(image),
            Self::Floats(map) => map.size(),
        }
    }

    fn resize(&self, size: Size) -> Option<Vec<f32>> {
        match self {
            Self::Integers(image) => resize(image, size),
            Self::Floats(map) if map.size() == size => Some(map.values().to_vec()),
            Self::Floats(map) => {
                let Size { height, width } = map.size();
                let in_16_bits = map
                    .values()
                    .iter()
                    .map(|value| (value * 65_535.0).round() as u16)
                    .collect();
                let plane = ImageBuffer::from_raw(width.try_into().ok()?, height.try_into().ok()?, in_16_bits)?;
                resize(&DynamicImage::ImageLuma16(plane), size)
            }
        }
    }

    /// The value of each pixel in [0, 1], row by row.
    fn values(&self) -> Vec<f64> {
        match self {
            Self::Integers(image) => image
                .to_luma16()
                .into_raw()
                .into_iter()
                .map(|v| f64::from(v) / 65_535.0)
                .collect(),
            Self::Floats(map) => map.values().iter().copied().map(f64::from).collect(),
        }
    }
}

fn size_of(image: &DynamicImage) -> Size {
    Size::new(image.height() as usize, image.width() as usize)
}

/// Rec. 601 luma, rounded; the common value of three equal ones.
fn luma([r, g, b]: [u16; 3]) -> u16 {
    let sum = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    ((sum + 500) / 1000) as u16
}

fn luma_of_planes(rgb: [Plane; 3]) -> Plane {
    if let [Plane::Integers(r), Plane::Integers(g), Plane::Integers(b)] = &rgb {
        let [r, mut g, b] = [r, g, b].map(DynamicImage::to_luma16);
        for ((g, r), b) in g.pixels_mut().zip(r.pixels()).zip(b.pixels()) {
            g.0 = [luma([r.0[0], g.0[0], b.0[0]])];
        }
        return Plane::Integers(g.into());
    }
    let [r, g, b] = rgb.each_ref().map(Plane::values);
    let mut luma = Map::filled(rgb[0].size(), 0.0);
    for (((out, r), g), b) in luma.values_mut().iter_mut().zip(r).zip(g).zip(b) {
        *out = ((299.0 * r + 587.0 * g + 114.0 * b) / 1000.0) as f32;
    }
    Plane::Floats(luma)
}

/// The planes of a picture in colours.
fn split(picture: DynamicImage) -> Vec<Plane> {
    fn channel<P: Pixel>(
        rgb: &ImageBuffer<P, Vec<P::Subpixel>>,
        channel: usize,
    ) -> ImageBuffer<Luma<P::Subpixel>, Vec<P::Subpixel>> {
        ImageBuffer::from_fn(rgb.width(), rgb.height(), |x, y| {
            Luma([rgb.get_pixel(x, y).channels()[channel]])
        })
    }
    let planes: [DynamicImage; 3] = match picture {
        DynamicImage::ImageRgb8(rgb) => [0, 1, 2].map(|index| channel(&rgb, index).into()),
        other => {
            let rgb = other.into_rgb16();
            [0, 1, 2].map(|index| channel(&rgb, index).into())
        }
    };
    planes.map(Plane::Integers).into()
}

/// The values in [0, 1] of a gray picture, or of one in colours plane by plane; `None` if a side is 0 or exceeds 32 bits.
fn resize(image: &DynamicImage, size: Size) -> Option<Vec<f32>> {
    let (new_width, new_height) = (u32::try_from(size.width).ok()?, u32::try_from(size.height).ok()?);
    if new_width == 0 || new_height == 0 || image.width() == 0 || image.height() == 0 {
        return None;
    }
    let is_gray = !image.color().has_color();
    let in_16_bits: DynamicImage = if is_gray {
        image.to_luma16().into()
    } else {
        image.to_rgb16().into()
    };
    let resized = if (in_16_bits.width(), in_16_bits.height()) == (new_width, new_height) {
        in_16_bits
    } else {
        let mut resized = DynamicImage::new(new_width, new_height, in_16_bits.color());
        if is_gray {
            resize_pixels::<U16>(&in_16_bits, &mut resized)?;
        } else {
            resize_pixels::<U16x3>(&in_16_bits, &mut resized)?;
        }
        resized
    };

    let unit = |value: u16| f32::from(value) / 65_535.0;
    Some(match resized {
        DynamicImage::ImageLuma16(gray) => gray.into_raw().into_iter().map(unit).collect(),
        rgb => {
            let samples = rgb.into_rgb16().into_raw();
            let plane = |channel| samples.iter().skip(channel).step_by(3).copied().map(unit);
            plane(0).chain(plane(1)).chain(plane(2)).collect()
        }
    })
}

/// Resizes between images whose pixels are both `P`; `None` if one's are not. The resizer's own choice of the pixel by
/// the image would compile its kernels for all kinds of pixels into this crate, which takes minutes.
fn resize_pixels<P: PixelTrait>(from: &DynamicImage, to: &mut DynamicImage) -> Option<()> {
    let triangle = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let (from, mut to) = (from.image_view::<P>()?, to.image_view_mut::<P>()?);
    Resizer::new().resize_typed(&from, &mut to, &triangle).ok()
}
