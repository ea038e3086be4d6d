//! The size of an image, and the error for a wrong number of values.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// Height and width of an image, a map or a plane, in pixels. As text it is `256x192`, height first.
///
/// ```
/// use riad_core::Size;
///
/// let size = Size::new(256, 192);
/// assert_eq!(size.pixels(), 49_152);
/// assert_eq!(size.to_string(), "256x192");
/// assert_eq!("256x192".parse(), Ok(size));
/// assert_eq!("200".parse(), Ok(Size::new(200, 200)));
/// assert_eq!(Size::new(1 << 62, 16).checked_pixels(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Size {
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
}

impl Size {
    /// The size of `height` rows and `width` columns.
    pub const fn new(height: usize, width: usize) -> Self {
        Self { height, width }
    }

    /// Number of pixels, `height * width`. If that exceeds a `usize`, it is `usize::MAX`. No slice has this length, so
    /// a comparison with a slice fails.
    pub const fn pixels(self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Number of pixels. `None` if it exceeds a `usize`. Use it for sizes from outside, before you allocate memory.
    pub const fn checked_pixels(self) -> Option<usize> {
        self.height.checked_mul(self.width)
    }

    /// Whether both sizes have the same proportions. A difference of one pixel of the smaller size is allowed.
    ///
    /// ```
    /// use riad_core::Size;
    ///
    /// assert!(Size::new(67, 100).has_proportions_of(Size::new(1000, 1500)));
    /// assert!(!Size::new(480, 640).has_proportions_of(Size::new(720, 1280)));
    /// ```
    #[doc(alias = "aspect_ratio")]
    pub const fn has_proportions_of(self, other: Self) -> bool {
        let (one, two) = (
            self.height.saturating_mul(other.width),
            self.width.saturating_mul(other.height),
        );
        let wider = if self.width > other.width {
            self.width
        } else {
            other.width
        };
        one.abs_diff(two) <= wider
    }

    /// Whether there is no pixel.
    pub const fn is_empty(self) -> bool {
        self.height == 0 || self.width == 0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

/// A text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a number of pixels, such as 200, or height x width, such as 150x400")]
pub struct SizeError;

impl FromStr for Size {
    type Err = SizeError;

    /// Reads a height and a width: `150x400`, or `200` for a square.
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let side = |digits: &str| digits.parse().map_err(|_| SizeError);
        match text.split_once('x') {
            None => side(text).map(|side| Self::new(side, side)),
            Some((height, width)) => Ok(Self::new(side(height)?, side(width)?)),
        }
    }
}

/// The number of values does not match their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what} has {got} values, and needs {expected}")]
pub struct LengthError {
    /// Which values, as the subject of a sentence.
    pub what: &'static str,
    /// The number of values.
    pub got: usize,
    /// The number that the size needs. `usize::MAX` means more than memory can hold.
    pub expected: usize,
}

impl LengthError {
    /// Compares the number of values with the expected number.
    ///
    /// # Errors
    /// If they differ.
    pub fn check(what: &'static str, got: usize, expected: usize) -> Result<(), Self> {
        if got == expected {
            Ok(())
        } else {
            Err(Self { what, got, expected })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_square_or_height_by_width() {
        assert_eq!("200".parse(), Ok(Size::new(200, 200)));
        assert_eq!("150x400".parse(), Ok(Size::new(150, 400)));
        for wrong in ["", "x", "150x", "150x400x3", "-1", "1.5", "150 x 400", "150X400"] {
            assert_eq!(wrong.parse::<Size>(), Err(SizeError), "{wrong}");
        }
    }

    #[test]
    fn proportions_are_the_same_at_every_scale() {
        for (a, b) in [
            ((900, 900), (256, 256)),
            ((67, 100), (1000, 1500)),
            ((150, 400), (75, 200)),
        ] {
            let (a, b) = (Size::new(a.0, a.1), Size::new(b.0, b.1));
            assert!(a.has_proportions_of(b) && b.has_proportions_of(a), "{a:?} {b:?}");
        }
        for (a, b) in [
            ((400, 150), (150, 400)),
            ((100, 103), (1000, 1000)),
            ((480, 640), (720, 1280)),
        ] {
            let (a, b) = (Size::new(a.0, a.1), Size::new(b.0, b.1));
            assert!(!a.has_proportions_of(b) && !b.has_proportions_of(a), "{a:?} {b:?}");
        }
    }
}
