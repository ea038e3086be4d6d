//! Sizes of images.

use std::{fmt, str::FromStr};

use riad_model::ScoringSettings;

/// A height and a width in pixels: `150x400`, or `200` for a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Size {
    pub(crate) const fn square(side: usize) -> Self {
        Self {
            height: side,
            width: side,
        }
    }

    /// The size of the images that are scored.
    pub(crate) fn of(scoring: &ScoringSettings) -> Self {
        let &ScoringSettings { height, width, .. } = scoring;
        Self { height, width }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |digits: &str| {
            digits
                .parse()
                .map_err(|_| "a size is a number of pixels, such as 200, or height x width, such as 150x400".to_owned())
        };
        match text.split_once('x') {
            None => side(text).map(Self::square),
            Some((height, width)) => Ok(Self {
                height: side(height)?,
                width: side(width)?,
            }),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_square_or_height_by_width() {
        let size = |text: &str| text.parse::<Size>();
        assert_eq!(size("200"), Ok(Size::square(200)));
        assert_eq!(
            size("150x400"),
            Ok(Size {
                height: 150,
                width: 400
            })
        );
        for wrong in ["", "x", "150x", "150x400x3", "-1", "1.5", "150 x 400", "150X400"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
