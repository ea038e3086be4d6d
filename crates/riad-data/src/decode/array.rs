//! NumPy arrays from `numpy.save`.
//!
//! This module reads the header itself, because the header is not trusted. npyz 0.9 multiplies a shape without a check,
//! allocates memory for any length of header that the file claims, and reads nested brackets by recursion.

use std::path::Path;

use image::{DynamicImage, ImageBuffer, Luma};
use riad_core::{Map, Size};

use super::steps::Form;
use super::white::to_white;
use super::{Stop, Within, converts};
use crate::pixels::Plane;
use crate::{Brightest, DataError};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Whether a file holds an array.
pub(super) fn is_array(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

/// An array whose header was read, and whose data are all there.
pub(super) struct Array<'a> {
    path: &'a Path,
    kind: Kind,
    data: &'a [u8],
    height: Axis,
    width: Axis,
    channels: Axis,
}

/// An axis of an array.
#[derive(Clone, Copy)]
struct Axis {
    len: usize,
    /// The distance from one item to the next, in items.
    stride: usize,
}

/// The type of the items.
#[derive(Clone, Copy)]
enum Kind {
    Bool,
    U8,
    U16 { is_big_endian: bool },
    F32 { is_big_endian: bool },
    F64 { is_big_endian: bool },
}

impl Kind {
    /// The type with this NumPy name.
    fn of(descr: &str) -> Option<Self> {
        let (order, name) = descr.split_at_checked(1)?;
        let is_big_endian = match order {
            "<" | "|" => false,
            ">" => true,
            _ => return None,
        };
        Some(match name {
            "b1" => Self::Bool,
            "u1" => Self::U8,
            "u2" => Self::U16 { is_big_endian },
            "f4" => Self::F32 { is_big_endian },
            "f8" => Self::F64 { is_big_endian },
            _ => return None,
        })
    }

    /// Of an item.
    fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 => 1,
            Self::U16 { .. } => 2,
            Self::F32 { .. } => 4,
            Self::F64 { .. } => 8,
        }
    }
}

impl<'a> Array<'a> {
    /// Reads the header, and finds out which axis is which by the number of channels.
    pub(super) fn open(path: &'a Path, file: &'a [u8], channels: usize) -> Result<Self, DataError> {
        let damaged = |reason: &str| DataError::decode(path, reason);
        let (text, data) =
            split(file).ok_or_else(|| damaged("the array's header is cut off or has an unknown version"))?;
        let Header {
            descr,
            is_fortran,
            shape,
        } = Header::parse(text).ok_or_else(|| damaged("the array's header is not in NumPy's form"))?;
        let kind = descr.as_deref().and_then(Kind::of).ok_or_else(|| {
            let kind = descr.as_deref().unwrap_or("a structure");
            let reason = format!(
                "its values are of type {kind}; save uint8, uint16, float32, float64 (in [0, 1]) or bool, as with \
                 array.astype(\"float32\")"
            );
            DataError::unsupported(path, reason)
        })?;

        if shape.contains(&0) {
            return Err(damaged("the array has no values"));
        }
        let count = shape.iter().try_fold(1u64, |product, &side| product.checked_mul(side));
        let bytes = count.and_then(|count| count.checked_mul(kind.bytes() as u64));
        match bytes.map(|bytes| (data.len() as u64).cmp(&bytes)) {
            Some(std::cmp::Ordering::Equal) => {}
            Some(std::cmp::Ordering::Greater) => return Err(damaged("the file continues past the end of its array")),
            _ => return Err(damaged("the array's data are cut off")),
        }

        // The data are all there and no side is 0, so that no product of sides exceeds a `usize`.
        let sides: Vec<usize> = shape.iter().map(|&side| side as usize).collect();
        let stride = |axis: usize| -> usize {
            let inner = if is_fortran { &sides[..axis] } else { &sides[axis + 1..] };
            inner.iter().product()
        };
        let axis = |axis: usize| Axis {
            len: sides[axis],
            stride: stride(axis),
        };
        let single = Axis { len: 1, stride: 0 };
        let (height, width, channels) = match *sides.as_slice() {
            [_, _] if converts(1, channels) => (axis(0), axis(1), single),
            [_, _] => return Err(DataError::channels(path, 1, channels)),
            [first, _, last] => match (converts(first, channels), converts(last, channels)) {
                (true, false) => (axis(1), axis(2), axis(0)),
                (false, true) => (axis(0), axis(1), axis(2)),
                (true, true) => {
                    let reason = format!(
                        "its shape {shape:?} can be read with the channels first or last; save it as a TIFF with a page \
                         for each channel"
                    );
                    return Err(DataError::unsupported(path, reason));
                }
                (false, false) => return Err(DataError::channels(path, first.min(last), channels)),
            },
            _ => {
                let reason = format!(
                    "its shape is {shape:?}; save one image as [height, width], [height, width, channels] or [channels, \
                     height, width]"
                );
                return Err(DataError::unsupported(path, reason));
            }
        };
        Ok(Self {
            path,
            kind,
            data,
            height,
            width,
            channels,
        })
    }

    /// Compares the shape with the limits.
    pub(super) fn cover(&self, within: &mut Within<'_, '_>) -> Result<(), Stop> {
        let form = Form {
            width: self.width.len as u64,
            height: self.height.len as u64,
            samples: self.channels.len as u64,
            // Of values as they are decoded.
            bytes: self.kind.bytes().min(4) as u64,
            has_alpha: false,
            is_turned: false,
            is_planar: true,
        };
        within.cover(&form, form.decoded())
    }

    pub(super) fn size(&self) -> Size {
        Size::new(self.height.len, self.width.len)
    }

    /// One plane for each channel, and the brightest sample of 16 bits. White is `white_level`, if it is given, and
    /// otherwise the greatest integer.
    pub(super) fn decode(&self, white_level: Option<u16>) -> Result<(Vec<Plane>, Option<Brightest>), DataError> {
        let (planes, full) = match self.kind {
            Kind::Bool => (
                self.integers(|[byte]| u8::from(byte != 0) * 255, DynamicImage::ImageLuma8),
                255,
            ),
            Kind::U8 => (self.integers(u8::from_le_bytes, DynamicImage::ImageLuma8), 255),
            Kind::U16 { is_big_endian: false } => {
                (self.integers(u16::from_le_bytes, DynamicImage::ImageLuma16), u16::MAX)
            }
            Kind::U16 { is_big_endian: true } => {
                (self.integers(u16::from_be_bytes, DynamicImage::ImageLuma16), u16::MAX)
            }
            Kind::F32 { is_big_endian: false } => return self.floats(f32::from_le_bytes),
            Kind::F32 { is_big_endian: true } => return self.floats(f32::from_be_bytes),
            // Rounded to f32, in which 1 + 10⁻¹² is 1.
            Kind::F64 { is_big_endian: false } => return self.floats(|bytes| f64::from_le_bytes(bytes) as f32),
            Kind::F64 { is_big_endian: true } => return self.floats(|bytes| f64::from_be_bytes(bytes) as f32),
        };
        let mut brightest = None;
        let mut whitened = Vec::new();
        for plane in planes? {
            let (plane, of_plane) = to_white(self.path, plane, full, white_level)?;
            brightest = brightest.max(of_plane);
            whitened.push(Plane::Integers(plane));
        }
        Ok((whitened, brightest))
    }

    fn integers<T: image::Primitive, const BYTES: usize>(
        &self,
        value: impl Fn([u8; BYTES]) -> T,
        wrap: impl Fn(ImageBuffer<Luma<T>, Vec<T>>) -> DynamicImage,
    ) -> Result<Vec<DynamicImage>, DataError> {
        let planes = self.planes(value).map(|values| {
            // The limits hold sides to 32 bits.
            let plane = ImageBuffer::from_raw(self.width.len as u32, self.height.len as u32, values)?;
            Some(wrap(plane))
        });
        let planes: Option<Vec<DynamicImage>> = planes.collect();
        planes.ok_or_else(|| DataError::decode(self.path, "the array's data are cut off"))
    }

    /// The white of floats is always 1.
    fn floats<const BYTES: usize>(
        &self,
        value: impl Fn([u8; BYTES]) -> f32,
    ) -> Result<(Vec<Plane>, Option<Brightest>), DataError> {
        let planes: Vec<Vec<f32>> = self.planes(value).collect();
        let values = || planes.iter().flatten().copied();
        if values().any(|value| !(0.0..=1.0).contains(&value)) {
            let (least, most) = (
                values().fold(f32::INFINITY, f32::min),
                values().fold(f32::NEG_INFINITY, f32::max),
            );
            let nan = if values().any(f32::is_nan) {
                ", some are NaN"
            } else {
                ""
            };
            let reason = format!(
                "its values are in [{least}, {most}]{nan}, but floats must be in [0, 1], where 1 is white; divide \
                 them by the value of white, or save integers"
            );
            return Err(DataError::unsupported(self.path, reason));
        }
        let map = |values| Map::new(self.size(), values).map(Plane::Floats);
        let planes: Result<Vec<Plane>, _> = planes.into_iter().map(map).collect();
        planes
            .map(|planes| (planes, None))
            .map_err(|e| DataError::decode(self.path, e.to_string()))
    }

    /// The values of each channel, row by row.
    fn planes<T, const BYTES: usize>(&self, value: impl Fn([u8; BYTES]) -> T) -> impl Iterator<Item = Vec<T>> {
        let (items, _) = self.data.as_chunks::<BYTES>();
        let starts = |axis: Axis| (0..axis.len).map(move |index| index * axis.stride);
        starts(self.channels).map(move |channel| {
            let rows = starts(self.height);
            let values = rows
                .flat_map(|row| starts(self.width).map(move |column| channel + row + column))
                .map(|index| value(items[index]));
            // Its own guess of their number would be too low, and a vector that grows takes up to three times as much.
            let mut plane = Vec::with_capacity(self.height.len * self.width.len);
            plane.extend(values);
            plane
        })
    }
}

/// A file's header text and its data.
fn split(file: &[u8]) -> Option<(&str, &[u8])> {
    let rest = file.strip_prefix(MAGIC)?;
    let (&[major, _minor], rest) = rest.split_first_chunk()?;
    let (len, rest) = if major == 1 {
        let (&len, rest) = rest.split_first_chunk()?;
        (usize::from(u16::from_le_bytes(len)), rest)
    } else if major <= 3 {
        let (&len, rest) = rest.split_first_chunk()?;
        (usize::try_from(u32::from_le_bytes(len)).ok()?, rest)
    } else {
        return None;
    };
    let (text, data) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(text).ok()?, data))
}

/// What a header says: `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, keys in any order.
struct Header {
    /// `None` for a structure of several values.
    descr: Option<String>,
    is_fortran: bool,
    shape: Vec<u64>,
}

impl Header {
    /// `None` if it is not as NumPy writes it.
    fn parse(text: &str) -> Option<Self> {
        let mut text = text.trim().strip_prefix('{')?.trim_start();
        let (mut descr, mut is_fortran, mut shape) = (None, None, None);
        while !text.starts_with('}') {
            let (key, rest) = quoted(text)?;
            let rest = rest.trim_start().strip_prefix(':')?.trim_start();
            text = match key {
                "descr" if rest.starts_with('[') => {
                    // A list of fields, which is refused. So the rest does not matter.
                    descr = Some(None);
                    (is_fortran, shape) = (Some(false), Some(Vec::new()));
                    "}"
                }
                "descr" => {
                    let (value, rest) = quoted(rest)?;
                    descr = Some(Some(value.to_owned()));
                    rest
                }
                "fortran_order" => {
                    let (value, rest) = match rest.strip_prefix("True") {
                        Some(rest) => (true, rest),
                        None => (false, rest.strip_prefix("False")?),
                    };
                    is_fortran = Some(value);
                    rest
                }
                "shape" => {
                    let (sides, rest) = rest.strip_prefix('(')?.split_once(')')?;
                    let sides = sides.split(',').map(str::trim).filter(|side| !side.is_empty());
                    // Python 2 wrote an L after long integers.
                    let sides = sides.map(|side| side.strip_suffix('L').unwrap_or(side).parse().ok());
                    shape = Some(sides.collect::<Option<Vec<u64>>>()?);
                    rest
                }
                _ => return None,
            };
            text = text.trim_start();
            text = match text.strip_prefix(',') {
                Some(rest) => rest.trim_start(),
                None if text.starts_with('}') => text,
                None => return None,
            };
        }
        Some(Self {
            descr: descr?,
            is_fortran: is_fortran?,
            shape: shape?,
        })
    }
}

/// The quoted word that `text` begins with, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|quote| ['\'', '"'].contains(quote))?;
    text[1..].split_once(quote)
}
