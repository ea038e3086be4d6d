//! How a line's model can be trained, and how long that takes on this machine.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use riad::{
    Cancel, Compute, Method, Parts, Preset, Size, TrainConfig, TrainingOptions,
    speed::{Speeds, measure},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Draft, LEAST_LEARNED};
use crate::{
    Error, Result,
    making::{NotMade, Place, quietly},
    store::{GoodRow, Store},
};

/// Sides of the images that are offered.
const SIZES: [usize; 2] = [128, 256];

/// Pictures are offered to be cut into tiles if their longer side is more than so many tiles: resized, they would lose that much.
const MUCH_LARGER: usize = 2;

/// Sides that are taken, as a network of a larger one may take more memory than the machine has, and the service with it.
const SIDES: [usize; 2] = [32, 512];

/// More passes over the pictures help nobody.
const MOST_EPOCHS: usize = 10_000;

/// How long a network is measured.
const MEASURED_FOR: Duration = Duration::from_millis(1500);

/// Share of the pictures that is held out for thresholds if that is enough of them.
const CALIBRATION: f64 = 0.1;

/// What a person likes to wait for by default, and what for if that takes too long.
const LONG: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(1800);

/// How a model is trained. What is not given is chosen as `riad train` does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// Size of the network: `tiny`, `small` or `paper`.
    preset: String,
    /// Height and width in pixels that images are resized to, or of tiles, from 32 to 512.
    #[schema(minimum = 32, maximum = 512)]
    size: usize,
    /// Whether images are not resized, but cut into overlapping tiles of that size.
    #[serde(default, skip_serializing_if = "is_false")]
    tile: bool,
    /// `riad`, `restore` or `autoencoder`: by default the one that suits the pictures, and `riad` for tiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// Passes over the pictures, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    epochs: Option<usize>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A way to train a model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Offer {
    preset: String,
    /// Height and width in pixels that images are resized to, or of tiles.
    size: usize,
    /// Whether images are cut into tiles of that size. It is offered only if all pictures are much larger.
    tile: bool,
    method: String,
    /// Whether training ends sooner if nothing improves any more: then the time is that of the longest.
    ends_early: bool,
    /// How long it takes on this machine beside the lines, about.
    seconds: f64,
    /// Whether that is not measured, but reckoned from a smaller network.
    estimated: bool,
    /// Passes over the pictures.
    epochs: usize,
    /// Whether to take it if one has no wish of one's own.
    advised: bool,
}

/// The ways to train a line's model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Plans {
    /// How many pictures are learned from, watched with, and held out for thresholds.
    pictures: [usize; 3],
    /// The quickest first.
    plans: Vec<Offer>,
}

/// A method, the side of the images of each network, and how fast each is.
type Known = (Method, Vec<usize>, Vec<Speeds>);

/// How fast networks are, as far as it was measured.
#[derive(Debug, Default)]
pub(crate) struct Measured(Mutex<Vec<Known>>);

impl Plan {
    /// The options of its training, which holds out so many pictures for thresholds at least.
    ///
    /// # Errors
    /// Says in words what cannot be meant.
    pub(super) fn options(&self, pictures: usize, for_thresholds: usize) -> Result<TrainingOptions, String> {
        let preset = self.preset.parse::<Preset>().map_err(|error| error.to_string())?;
        let method = self.method.as_deref().map(str::parse::<Method>).transpose();
        let [least, most] = SIDES;
        if !(least..=most).contains(&self.size) {
            return Err(format!("size is from {least} to {most} pixels, not {}", self.size));
        }
        if self.epochs.is_some_and(|epochs| !(1..=MOST_EPOCHS).contains(&epochs)) {
            return Err(format!("epochs are from 1 to {MOST_EPOCHS}"));
        }
        let mut options = with(preset, (self.size, self.tile), pictures, for_thresholds);
        options.method = method.map_err(|error| error.to_string())?;
        options.epochs = self.epochs;
        Ok(options)
    }
}

fn with(preset: Preset, (side, tile): (usize, bool), pictures: usize, for_thresholds: usize) -> TrainingOptions {
    let size = Size::new(side, side);
    TrainingOptions {
        preset: Some(preset),
        size: (!tile).then_some(size),
        tile: tile.then_some(size),
        calibration: Some(CALIBRATION.max(for_thresholds as f64 / pictures.max(1) as f64)),
        ..TrainingOptions::default()
    }
}

impl Draft {
    /// Checks that there are enough pictures; how many there are, and how many of them thresholds take at least.
    pub(super) fn enough(&self) -> Result<[usize; 2], NotMade> {
        let (pictures, needed) = (self.now().pictures, self.needed()?);
        if pictures < needed {
            return Err(NotMade::Asked(format!(
                "{} takes {} good pictures for the threshold beside those that are learned from, so at least {needed} in all; {} has \
                 {pictures}: add {} more",
                self.rate,
                needed - LEAST_LEARNED,
                self.name,
                needed - pictures
            )));
        }
        Ok([pictures, needed - LEAST_LEARNED])
    }

    /// The options of a training by this plan.
    ///
    /// # Errors
    /// [`NotMade::Wrong`] if it cannot be meant, [`NotMade::Asked`] if it has too few pictures, or a picture does not fit.
    pub(super) fn options_of(&self, plan: &Plan, store: &Store) -> Result<TrainingOptions, NotMade> {
        let [pictures, for_thresholds] = self.enough()?;
        let mut options = plan.options(pictures, for_thresholds).map_err(NotMade::Wrong)?;
        options.white_level = self.white_level();
        let pictures = store.good(&self.name)?;
        if let Some(small) = pictures.iter().find(|picture| options.tiles(picture.size()) == 0) {
            return Err(NotMade::Asked(format!(
                "{} has {} pixels (height x width), which is smaller than a tile of {}; leave it out, or take smaller tiles",
                small.name,
                small.size(),
                plan.size
            )));
        }
        if let Some(region) = self.region() {
            region.check(&pictures, options.tile.is_some())?;
        }
        Ok(options)
    }

    /// Whether to offer tiles of this size.
    fn suits_tiles(&self, side: usize, pictures: &[GoodRow]) -> bool {
        let is_large = |picture: &GoodRow| {
            let Size { height, width } = picture.size();
            height.max(width) > MUCH_LARGER * side && height.min(width) >= side
        };
        pictures.iter().all(is_large) && self.region().is_none_or(|region| region.check(pictures, true).is_ok())
    }

    /// The ways to train its model, or only those at one size.
    ///
    /// # Errors
    /// [`NotMade::Asked`] if it has too few pictures, [`NotMade::Busy`] if speeds cannot be measured now: something else is being made.
    pub(crate) fn plans(
        &self,
        size: Option<usize>,
        (measured, compute): (&Measured, &Compute),
        begin: impl Fn() -> Option<Place>,
        store: &Store,
    ) -> Result<Plans, NotMade> {
        let [least, most] = SIDES;
        if let Some(size) = size.filter(|size| !(least..=most).contains(size)) {
            return Err(NotMade::Wrong(format!(
                "size is from {least} to {most} pixels, not {size}"
            )));
        }
        let [pictures, for_thresholds] = self.enough()?;
        let sizes = size.map_or(SIZES.to_vec(), |size| vec![size]);
        let all = store.good(&self.name)?;
        let of = |preset, size| TrainingOptions {
            white_level: self.white_level(),
            ..with(preset, size, pictures, for_thresholds)
        };
        let parts = of(Preset::Tiny, (sizes[0], false)).parts(pictures);
        let mut offers = Vec::new();
        for tile in [false, true] {
            let sizes: Vec<_> = sizes
                .iter()
                .copied()
                .filter(|&size| !tile || self.suits_tiles(size, &all))
                .collect();
            let Some(&first) = sizes.first() else { continue };
            let any = of(Preset::Tiny, (first, tile));
            let images: Vec<_> = all.iter().map(|good| self.path(good)).collect();
            let method = quietly(|| any.method_for(images, &()))?.map_err(Error::from)?;
            let mut wanted = Vec::new();
            for &size in &sizes {
                for &preset in Preset::ALL {
                    let options = of(preset, (size, tile));
                    let config = options.config(method, parts.train.round() as usize, &compute.device);
                    wanted.push((preset, size, config.map_err(Error::from)?));
                }
            }
            let speeds = measured.of(method, &wanted, compute, &begin)?;
            offers.extend(wanted.iter().zip(speeds).map(|((preset, size, config), speeds)| {
                let parts = in_tiles(parts, &of(*preset, (*size, tile)), &all);
                Offer {
                    preset: preset.to_string(),
                    size: *size,
                    tile,
                    method: method.to_string(),
                    ends_early: method.steps().is_none(),
                    seconds: speeds.training_time(parts, config.epochs).as_secs_f64(),
                    estimated: speeds.is_estimated(),
                    epochs: config.epochs,
                    advised: false,
                }
            }));
        }
        offers.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        if let Some(place) = advised(&offers) {
            offers[place].advised = true;
        }
        Ok(Plans {
            pictures: [parts.train, parts.validation, parts.calibration].map(|part| part.round() as usize),
            plans: offers,
        })
    }
}

/// The same parts, where an image of those that are scored after the training counts once for each of its tiles. Training and watching
/// take one tile of each, and tiles have no place of which it could be known what is normal there.
fn in_tiles(parts: Parts, options: &TrainingOptions, pictures: &[GoodRow]) -> Parts {
    let mut parts = parts;
    if options.tile.is_some() {
        let tiles: usize = pictures.iter().map(|picture| options.tiles(picture.size())).sum();
        parts.calibration *= tiles as f64 / pictures.len().max(1) as f64;
        parts.normal = 0.0;
    }
    parts
}

/// The place of the one to take: the program's default, or else the largest that is done soon, or else the quickest. The quickest come
/// first. Tiles are for those who know that their defects are fine.
fn advised(offers: &[Offer]) -> Option<usize> {
    let usual = (Preset::Tiny.to_string(), SIZES[SIZES.len() - 1]);
    let whole = || offers.iter().enumerate().filter(|(_, offer)| !offer.tile);
    let is_usual = |offer: &Offer| (offer.preset.clone(), offer.size) == usual && offer.seconds <= LONG.as_secs_f64();
    let is_soon = |offer: &Offer| offer.seconds <= SOON.as_secs_f64();
    let found = whole().find(|(_, offer)| is_usual(offer));
    let soon = || whole().rfind(|(_, offer)| is_soon(offer));
    found.or_else(soon).or_else(|| whole().next()).map(|(place, _)| place)
}

impl Measured {
    /// How fast these networks are: measured now, unless they were before.
    fn of(
        &self,
        method: Method,
        wanted: &[(Preset, usize, TrainConfig)],
        compute: &Compute,
        begin: impl Fn() -> Option<Place>,
    ) -> Result<Vec<Speeds>, NotMade> {
        let sizes: Vec<_> = wanted.iter().map(|(_, size, _)| *size).collect();
        let known = |all: &[Known]| {
            let found = all.iter().find(|(of, at, _)| *of == method && *at == sizes);
            found.map(|(_, _, speeds)| speeds.clone())
        };
        let before = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(speeds) = before {
            return Ok(speeds);
        }
        // What else trains would be measured with it.
        let place = begin().ok_or(NotMade::Busy)?;
        let configs: Vec<_> = wanted.iter().map(|(_, _, config)| config.clone()).collect();
        let time = MEASURED_FOR * u32::try_from(configs.len()).unwrap_or(1);
        let cancel: &Cancel = place.cancel();
        let speeds = match quietly(|| measure(&configs, time, compute, cancel, |_| {}))? {
            Err(riad::Error::Cancelled) => return Err(NotMade::Asked("measuring was stopped; ask again".to_owned())),
            measured => measured.map_err(Error::from)?,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((method, sizes, speeds.clone()));
        Ok(speeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(preset: &str, size: usize, minutes: f64) -> Offer {
        Offer {
            preset: preset.to_owned(),
            size,
            tile: false,
            method: "restore".to_owned(),
            ends_early: false,
            seconds: 60.0 * minutes,
            estimated: false,
            epochs: 1,
            advised: false,
        }
    }

    #[test]
    fn the_default_is_advised_unless_it_takes_long() {
        let quick = [
            offer("tiny", 128, 5.0),
            offer("tiny", 256, 25.0),
            offer("small", 128, 29.0),
        ];
        assert_eq!(advised(&quick), Some(1));
        let slow = [
            offer("tiny", 128, 20.0),
            offer("small", 128, 29.0),
            offer("tiny", 256, 80.0),
        ];
        assert_eq!(advised(&slow), Some(1));
        assert_eq!(
            advised(&[offer("tiny", 128, 500.0), offer("tiny", 256, 900.0)]),
            Some(0)
        );
        assert_eq!(advised(&[]), None);
        let tiled = |size, minutes| Offer {
            tile: true,
            ..offer("tiny", size, minutes)
        };
        let large = [tiled(128, 1.0), offer("tiny", 128, 5.0), tiled(256, 20.0)];
        assert_eq!(advised(&large), Some(1));
    }

    #[test]
    fn after_the_training_each_tile_of_a_picture_takes_its_time() {
        let picture = GoodRow {
            number: 1,
            name: String::new(),
            sha256: String::new(),
            bytes: 0,
            width: 640,
            height: 448,
            brightest: None,
        };
        let parts = TrainingOptions::default().parts(200);
        let of = |tile| {
            in_tiles(
                parts,
                &with(Preset::Tiny, (256, tile), 200, 19),
                &[picture.clone(), picture.clone()],
            )
        };
        assert_eq!(of(false), parts);
        // Two rows of three.
        assert_eq!((of(true).calibration, of(true).normal), (6.0 * parts.calibration, 0.0));
        assert_eq!(of(true).train, parts.train);
    }

    #[test]
    fn speeds_of_other_sizes_are_not_taken_for_those_asked_for() {
        let compute = Compute::default();
        let method: Method = "riad".parse().unwrap();
        let of = |sizes: &[usize]| -> Vec<_> {
            let network = |&size| {
                let options = with(Preset::Tiny, (size, false), 29, 19);
                let config = options.config(method, 9, &compute.device).unwrap();
                (Preset::Tiny, size, config)
            };
            sizes.iter().map(network).collect()
        };
        let measured = Measured::default();
        // What is offered by default has the same pixels on its sides as 3 networks of 384.
        let offered = [128, 128, 128, 256, 256, 256];
        measured.0.lock().unwrap().push((method, offered.to_vec(), Vec::new()));
        assert!(measured.of(method, &of(&offered), &compute, || None).is_ok());
        let other = measured.of(method, &of(&[384; 3]), &compute, || None);
        assert!(matches!(other, Err(NotMade::Busy)), "{other:?}");
    }

    #[test]
    fn enough_pictures_are_held_out_for_thresholds() {
        let plan = |size| Plan {
            preset: "tiny".to_owned(),
            size,
            tile: false,
            method: None,
            epochs: None,
        };
        for (pictures, held_out) in [(29, 19), (60, 19), (190, 19), (400, 40)] {
            let parts = plan(128).options(pictures, 19).unwrap().parts(pictures);
            assert_eq!(parts.calibration.round() as usize, held_out, "{pictures}");
            assert!(parts.train >= 7.0);
        }
        assert!(plan(8).options(100, 19).is_err() && plan(100_000).options(100, 19).is_err());
        let wrong = Plan {
            preset: "../etc".to_owned(),
            ..plan(128)
        };
        assert!(wrong.options(100, 19).is_err());
    }
}
