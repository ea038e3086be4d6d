//! Decoded pixels: their channels, their parts, and their values in [0, 1] at another size.

use std::borrow::Cow;

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
        match self {
            Self::Picture(picture) => picture.as_bytes().len(),
            Self::Planes(planes) => planes.iter().map(Plane::bytes).sum(),
        }
    }

    /// Makes gray from colours if one channel is requested. If three are, gray stays one plane, and
    /// [`to_image`](Self::to_image) repeats it.
    pub(crate) fn with_channels(self, wanted: usize) -> Self {
        match self {
            Self::Picture(picture) if wanted == 1 && picture.color().has_color() => {
                Self::Picture(luma_of_picture(picture))
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
        let is_possible = |size: Size| {
            !size.is_empty()
                && [size.height, size.width]
                    .iter()
                    .all(|&side| u32::try_from(side).is_ok())
        };
        let values = (is_possible(size) && is_possible(self.size())).then(|| {
            let mut values = Vec::with_capacity(channels.saturating_mul(size.pixels()));
            let written = match self {
                Self::Picture(picture) => write(picture, size, &mut values),
                Self::Planes(planes) => planes.iter().try_for_each(|plane| plane.write(size, &mut values)),
            };
            written.map(|()| values)
        });
        let mut values = values.flatten().ok_or_else(|| {
            DataError::Parameter(format!(
                "cannot resize {} pixels to {size} (height x width): sides must be at least 1 and fit 32 bits",
                self.size()
            ))
        })?;
        if values.len() == size.pixels() {
            for _ in 1..channels {
                values.extend_from_within(..size.pixels());
            }
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

    /// The bytes that it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Integers(image) => image.as_bytes().len(),
            Self::Floats(map) => size_of_val(map.values()),
        }
    }

    /// Adds its values at a size; `None` if a side is 0 or exceeds 32 bits.
    fn write(&self, size: Size, values: &mut Vec<f32>) -> Option<()> {
        match self {
            Self::Integers(image) => write(image, size, values),
            Self::Floats(map) if map.size() == size => {
                values.extend_from_slice(map.values());
                Some(())
            }
            Self::Floats(map) => {
                let Size { height, width } = map.size();
                let in_16_bits = map
                    .values()
                    .iter()
                    .map(|value| (value * 65_535.0).round() as u16)
                    .collect();
                let plane = ImageBuffer::from_raw(width.try_into().ok()?, height.try_into().ok()?, in_16_bits)?;
                write(&DynamicImage::ImageLuma16(plane), size, values)
            }
        }
    }

    /// The value of a pixel in [0, 1].
    fn value(&self, index: usize) -> f64 {
        match self {
            Self::Integers(image) => f64::from(sample(image, index)) / 65_535.0,
            Self::Floats(map) => map.values().get(index).copied().unwrap_or(0.0).into(),
        }
    }
}

/// The sample of a gray image in 16 bits.
fn sample(gray: &DynamicImage, index: usize) -> u16 {
    match gray {
        DynamicImage::ImageLuma8(gray) => gray.as_raw().get(index).map_or(0, |&sample| wide(sample)),
        DynamicImage::ImageLuma16(gray) => gray.as_raw().get(index).copied().unwrap_or(0),
        _ => 0,
    }
}

/// A sample of 8 bits in 16.
fn wide(sample: u8) -> u16 {
    u16::from(sample) * 257
}

fn size_of(image: &DynamicImage) -> Size {
    Size::new(image.height() as usize, image.width() as usize)
}

/// Rec. 601 luma, rounded; the common value of three equal ones.
fn luma([r, g, b]: [u16; 3]) -> u16 {
    let sum = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    ((sum + 500) / 1000) as u16
}

/// The gray picture of one in colours, in 16 bits.
fn luma_of_picture(picture: DynamicImage) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let gray =
        |pixel: &dyn Fn(u32, u32) -> [u16; 3]| ImageBuffer::from_fn(width, height, |x, y| Luma([luma(pixel(x, y))]));
    match picture {
        DynamicImage::ImageRgb8(rgb) => gray(&|x, y| rgb.get_pixel(x, y).0.map(wide)).into(),
        other => {
            let rgb = other.into_rgb16();
            gray(&|x, y| rgb.get_pixel(x, y).0).into()
        }
    }
}

fn luma_of_planes(rgb: [Plane; 3]) -> Plane {
    let size = rgb[0].size();
    if let [Plane::Integers(r), Plane::Integers(g), Plane::Integers(b)] = &rgb {
        let of_pixel = |index| luma([r, g, b].map(|plane| sample(plane, index)));
        let values = (0..size.pixels()).map(of_pixel).collect();
        let plane = ImageBuffer::from_raw(r.width(), r.height(), values).map(DynamicImage::ImageLuma16);
        return Plane::Integers(plane.unwrap_or_default());
    }
    let mut luma = Map::filled(size, 0.0);
    for (index, out) in luma.values_mut().iter_mut().enumerate() {
        let [r, g, b] = rgb.each_ref().map(|plane| plane.value(index));
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

/// Adds the values in [0, 1] of a gray picture, or of one in colours plane by plane, at a size; `None` if a side is 0 or exceeds 32 bits.
fn write(image: &DynamicImage, size: Size, values: &mut Vec<f32>) -> Option<()> {
    let (new_width, new_height) = (u32::try_from(size.width).ok()?, u32::try_from(size.height).ok()?);
    if new_width == 0 || new_height == 0 || image.width() == 0 || image.height() == 0 {
        return None;
    }
    if (image.width(), image.height()) == (new_width, new_height) {
        write_own(image, values);
        return Some(());
    }
    let wide = match image {
        DynamicImage::ImageLuma16(_) | DynamicImage::ImageRgb16(_) => Cow::Borrowed(image),
        rgb if rgb.color().has_color() => Cow::Owned(rgb.to_rgb16().into()),
        gray => Cow::Owned(gray.to_luma16().into()),
    };
    let mut resized = DynamicImage::new(new_width, new_height, wide.color());
    if wide.color().has_color() {
        resize_pixels::<U16x3>(&wide, &mut resized)?;
    } else {
        resize_pixels::<U16>(&wide, &mut resized)?;
    }
    drop(wide);
    write_own(&resized, values);
    Some(())
}

/// The same at the image's own size.
fn write_own(image: &DynamicImage, values: &mut Vec<f32>) {
    fn planes<T: Copy>(samples: &[T], channels: usize, unit: impl Fn(T) -> f32, values: &mut Vec<f32>) {
        for channel in 0..channels {
            values.extend(
                samples
                    .iter()
                    .skip(channel)
                    .step_by(channels)
                    .map(|&sample| unit(sample)),
            );
        }
    }
    // The same numbers: 65,535 is 257 times 255, and both quotients are rounded once.
    let of_8_bits = |sample: u8| f32::from(sample) / 255.0;
    let of_16_bits = |sample: u16| f32::from(sample) / 65_535.0;
    match image {
        DynamicImage::ImageLuma8(gray) => planes(gray.as_raw(), 1, of_8_bits, values),
        DynamicImage::ImageLuma16(gray) => planes(gray.as_raw(), 1, of_16_bits, values),
        DynamicImage::ImageRgb8(rgb) => planes(rgb.as_raw(), 3, of_8_bits, values),
        DynamicImage::ImageRgb16(rgb) => planes(rgb.as_raw(), 3, of_16_bits, values),
        other => planes(other.to_rgb16().as_raw(), 3, of_16_bits, values),
    }
}

/// The most bytes that [`Pixels::to_image`] takes at any time, besides the pixels: for an image of `from` pixels (width, height) at the
/// `to` size, with so many `together` samples of a pixel in an image or a plane, each of so many `bytes`.
pub(crate) fn bytes_of_values(from: (u64, u64), to: Option<Size>, together: u64, bytes: u64, channels: u64) -> u64 {
    let product = |factors: &[u64]| {
        factors
            .iter()
            .fold(1, |product: u64, &factor| product.saturating_mul(factor))
    };
    let (width, height) = from;
    let (new_width, new_height) = to.map_or(from, |size| (size.width as u64, size.height as u64));
    let values = product(&[4, channels, new_width, new_height]);
    if from == (new_width, new_height) {
        return values;
    }
    let wide = |width: u64, height: u64| product(&[2, together, width, height]);
    // A copy in 16 bits, the resizer's rows of the new width, and its result. Its weights are a few for each row and column.
    let copy = if bytes == 2 { 0 } else { wide(width, height) };
    let weights = product(&[64, width + height + new_width + new_height]);
    [
        values,
        copy,
        wide(new_width, height),
        wide(new_width, new_height),
        weights,
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}

/// Resizes between images whose pixels are both `P`; `None` if one's are not. The resizer's own choice of the pixel by
/// the image would compile its kernels for all kinds of pixels into this crate, which takes minutes.
fn resize_pixels<P: PixelTrait>(from: &DynamicImage, to: &mut DynamicImage) -> Option<()> {
    let triangle = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let (from, mut to) = (from.image_view::<P>()?, to.image_view_mut::<P>()?);
    Resizer::new().resize_typed(&from, &mut to, &triangle).ok()
}
