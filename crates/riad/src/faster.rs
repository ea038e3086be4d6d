//! A smaller training that ends sooner than a long one.

use std::time::Duration;

use riad_core::Size;
use riad_model::{Architecture, Preset, TrainConfig};

/// What is offered is done within this time, if there is such.
const SOON: Duration = Duration::from_secs(30 * 60);

/// Parts of a side that are offered.
const SIDES: [f64; 4] = [1.0, 0.75, 0.5, 0.25];

/// The least side that is offered, in pixels, and what sides are multiples of.
const LEAST: usize = 64;
const MULTIPLE: usize = 16;

/// A training of a smaller network, or on smaller images.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FasterTraining {
    /// The size of the network.
    pub preset: Preset,
    /// Height and width of the resized images or the tiles.
    pub size: Size,
    /// Its estimated time.
    pub time: Duration,
}

impl FasterTraining {
    /// The largest network and image size that would end within half an hour, for a training that needs `to_come` more.
    /// If none would, the smallest. Times are in proportion to operations. `None` if there is nothing smaller.
    pub fn than(config: &TrainConfig, to_come: Duration) -> Option<Self> {
        let Architecture { width, .. } = config.architecture;
        let whole = config.scoring.size();
        let macs = |width: usize, size: Size| {
            let mut architecture = config.architecture;
            architecture.width = width;
            architecture.macs(size.height, size.width).ok()
        };
        let own = macs(width, whole)?;
        let side = |side: usize, part: f64| {
            let shorter = ((side as f64 * part) as usize / MULTIPLE * MULTIPLE).max(LEAST);
            shorter.min(side)
        };
        let mut offers = Vec::new();
        for &preset in Preset::ALL.iter().filter(|preset| preset.width() <= width) {
            for part in SIDES {
                let size = Size::new(side(whole.height, part), side(whole.width, part));
                if let Some(macs) = macs(preset.width(), size).filter(|macs| *macs < own) {
                    let time = to_come.mul_f64(macs as f64 / own as f64);
                    offers.push(Self { preset, size, time });
                }
            }
        }
        offers.sort_by_key(|offer| offer.time);
        let soon = offers.iter().rposition(|offer| offer.time <= SOON).unwrap_or(0);
        offers.get(soon).copied()
    }
}

#[cfg(test)]
mod tests {
    use riad_model::ScoringSettings;

    use super::*;

    #[test]
    fn what_is_offered_is_done_soon_and_as_large_as_it_may_be() {
        let offered = |preset: Preset, height, width, hours: u64| {
            let config = TrainConfig::published(preset.architecture(), ScoringSettings::for_size(height, width));
            FasterTraining::than(&config, Duration::from_secs(3600 * hours))
        };
        let of = |preset, height, width, hours| {
            let FasterTraining { preset, size, .. } = offered(preset, height, width, hours).unwrap();
            (preset, size)
        };
        // A side of half the length takes a quarter of the time, and half of the width a quarter, too.
        let found = offered(Preset::Paper, 256, 256, 6).unwrap();
        assert!(found.time <= SOON && found.time > SOON / 3, "{found:?}");
        assert_eq!(of(Preset::Tiny, 256, 256, 2), (Preset::Tiny, Size::new(128, 128)));
        assert_eq!(of(Preset::Tiny, 128, 512, 2), (Preset::Tiny, Size::new(64, 256)));
        // Nothing is small enough, and the smallest is better than nothing.
        let found = offered(Preset::Tiny, 128, 128, 1000).unwrap();
        assert_eq!((found.preset, found.size), (Preset::Tiny, Size::new(64, 64)));
        assert!(found.time > SOON);
        assert_eq!(offered(Preset::Tiny, 64, 64, 1000), None);
    }
}
