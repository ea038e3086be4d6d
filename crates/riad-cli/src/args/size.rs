//! Sizes of images.

use riad_core::Size;

/// Reads a height and a width in pixels: `150x400`, or `200` for a square.
pub(super) fn parse_size(text: &str) -> Result<Size, String> {
    let side = |digits: &str| {
        digits
            .parse()
            .map_err(|_| "expected a number of pixels, such as 200, or height x width, such as 150x400".to_owned())
    };
    match text.split_once('x') {
        None => side(text).map(|side| Size::new(side, side)),
        Some((height, width)) => Ok(Size::new(side(height)?, side(width)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_square_or_height_by_width() {
        assert_eq!(parse_size("200"), Ok(Size::new(200, 200)));
        assert_eq!(parse_size("150x400"), Ok(Size::new(150, 400)));
        for wrong in ["", "x", "150x", "150x400x3", "-1", "1.5", "150 x 400", "150X400"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
