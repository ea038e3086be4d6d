//! Damages good images on purpose. A network learns to restore them.
//!
//! A network that sees only good images may learn to copy its input. A network that must undo many kinds of damage does
//! not. The kinds are those of public descriptions (CutPaste, arXiv 2104.04015; NSA, 2109.15222; DRAEM, 2108.07610;
//! EdgRec, 2210.14485), and all damage comes from the images themselves, so no other data is needed.
//!
//! A seed and the image's index decide everything, with arithmetic that is the same on every platform.

mod fill;
mod region;

use std::sync::Arc;

use crate::{Image, dice::Dice};
use fill::Fill;
pub(crate) use region::Region;

/// How to damage images.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Corruptions {
    /// Share of the images that stay unchanged, in [0, 1], because a network must also leave good images unchanged.
    pub clean: f64,
    /// The kinds of damage. All are equally likely.
    pub kinds: Vec<Corruption>,
    /// The largest shift of a whole image in each direction, as a share of its height or width, in [0, 0.5]. Shifts are
    /// in whole pixels and come before the damage. Tiles are not shifted, because their position is random. Without
    /// shifts, a network learns the exact position of a product. If the camera then moves a little, it finds a defect
    /// in every image.
    pub shift: f64,
}

/// A kind of damage, at least two pixels long. Half of the lengths are drawn so that each order of magnitude is equally
/// likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corruption {
    /// A piece of this or another image, up to three quarters of the image's side, at any angle, with a hard or a soft edge.
    Patch,
    /// Islands of smooth noise, filled with another image in other colours, more or less opaque.
    Islands,
    /// A bent line.
    Stroke,
    /// A handful of dots.
    Spots,
    /// A part that is out of focus.
    Blur,
    /// A missing part. Another part of the image covers it, such as the background.
    Missing,
}

impl Corruption {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Patch,
        Self::Islands,
        Self::Stroke,
        Self::Spots,
        Self::Blur,
        Self::Missing,
    ];
}

impl Default for Corruptions {
    /// Damages half of the images, by all kinds with equal probability.
    fn default() -> Self {
        Self {
            clean: 0.5,
            kinds: Corruption::ALL.to_vec(),
            shift: 1.0 / 128.0,
        }
    }
}

impl Corruptions {
    /// The image where the network is to see it.
    pub(crate) fn moved(&self, image: Arc<Image>, dice: &mut Dice) -> Arc<Image> {
        let mut by = |side: usize| {
            let most = (self.shift.clamp(0.0, 0.5) * side as f64) as usize;
            dice.index(2 * most + 1) as isize - most as isize
        };
        let size = image.size();
        match (by(size.height), by(size.width)) {
            (0, 0) => image,
            (down, right) => Arc::new(image.moved(down, right)),
        }
    }

    /// The damaged copy of an image. `other` draws another one, of as many channels and of its size.
    ///
    /// # Errors
    /// Those of `other`.
    pub(crate) fn apply<E>(
        &self,
        image: &Image,
        dice: &mut Dice,
        mut other: impl FnMut(&mut Dice) -> Result<Arc<Image>, E>,
    ) -> Result<Image, E> {
        let mut shown = image.clone();
        if self.kinds.is_empty() || dice.chance(self.clean) {
            return Ok(shown);
        }
        // One in most images, and sometimes several.
        for _ in 0..[1, 1, 1, 2, 2, 3][dice.index(6)] {
            let kind = self.kinds[dice.index(self.kinds.len())];
            let from = match kind {
                Corruption::Patch if dice.chance(0.5) => Some(other(dice)?),
                Corruption::Islands => Some(other(dice)?),
                _ => None,
            };
            corrupt(&mut shown, kind, from.as_deref(), dice);
        }
        Ok(shown)
    }
}

/// Damages one part of an image.
fn corrupt(image: &mut Image, kind: Corruption, other: Option<&Image>, dice: &mut Dice) {
    let size = image.size();
    let region = match kind {
        Corruption::Patch | Corruption::Missing if dice.chance(0.7) => Region::rectangle(size, dice),
        Corruption::Patch | Corruption::Missing | Corruption::Blur => Region::ellipse(size, dice),
        Corruption::Islands => Region::islands(size, dice),
        Corruption::Stroke => Region::stroke(size, dice),
        Corruption::Spots => Region::spots(size, dice),
    };
    if region.is_empty() {
        return;
    }
    let from = other.unwrap_or(image);
    let fill = match kind {
        Corruption::Patch => Fill::piece(from, &region, dice.chance(0.3), dice),
        Corruption::Islands => Fill::piece(from, &region, dice.chance(0.7), dice),
        Corruption::Stroke | Corruption::Spots => Fill::colour(image, &region, dice),
        Corruption::Blur => Fill::blurred(image, &region, dice),
        Corruption::Missing => Fill::elsewhere(image, &region, dice),
    };
    let opacity = match kind {
        Corruption::Patch | Corruption::Blur | Corruption::Missing => 1.0,
        Corruption::Islands => dice.between(0.2, 1.0),
        Corruption::Stroke | Corruption::Spots => dice.between(0.3, 1.0),
    };
    region.blend(image, &fill, opacity as f32);
}
