//! How a line's model can be trained, and how long that takes on this machine.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use riad::{
    Cancel, Compute, Method, Preset, Size, TrainConfig, TrainingOptions,
    speed::{Speeds, measure},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Draft, LEAST_LEARNED};
use crate::{
    Error, Result,
    making::{NotMade, Place, quietly},
    store::Store,
};

/// Sides of the images that are offered.
const SIZES: [usize; 2] = [128, 256];

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
    /// Height and width in pixels that images are resized to, from 32 to 512.
    #[schema(minimum = 32, maximum = 512)]
    size: usize,
    /// `riad`, `restore` or `autoencoder`: by default the one that suits the pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// Passes over the pictures, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    epochs: Option<usize>,
}

/// A way to train a model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Offer {
    preset: String,
    /// Height and width in pixels.
    size: usize,
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
    /// The method that suits the pictures.
    method: String,
    /// How many pictures are learned from, watched with, and held out for thresholds.
    pictures: [usize; 3],
    /// Whether training ends sooner if nothing improves any more: then times are those of the longest.
    ends_early: bool,
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
        let mut options = with(preset, self.size, pictures, for_thresholds);
        options.method = method.map_err(|error| error.to_string())?;
        options.epochs = self.epochs;
        Ok(options)
    }
}

fn with(preset: Preset, side: usize, pictures: usize, for_thresholds: usize) -> TrainingOptions {
    TrainingOptions {
        preset: Some(preset),
        size: Some(Size::new(side, side)),
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
                self.asked,
                needed - LEAST_LEARNED,
                self.name,
                needed - pictures
            )));
        }
        Ok([pictures, needed - LEAST_LEARNED])
    }

    /// The ways to train its model, or only those at one size.
    ///
    /// # Errors
    /// [`NotMade::Asked`] if it has too few pictures, [`NotMade::Busy`] if speeds cannot be measured now: something else is being made.
    pub(crate) fn plans(
        &self,
        size: Option<usize>,
        (measured, compute): (&Measured, &Compute),
        begin: impl FnOnce() -> Option<Place>,
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
        let images: Vec<_> = store.good(&self.name)?.iter().map(|good| self.path(good)).collect();
        let any = with(Preset::Tiny, SIZES[0], pictures, for_thresholds);
        let parts = any.parts(pictures);
        let method = quietly(|| any.method_for(images, &()))?.map_err(Error::from)?;
        let mut wanted = Vec::new();
        for &size in &sizes {
            for &preset in Preset::ALL {
                let options = with(preset, size, pictures, for_thresholds);
                let config = options.config(method, parts.train.round() as usize, &compute.device);
                wanted.push((preset, size, config.map_err(Error::from)?));
            }
        }
        let speeds = measured.of(method, &wanted, compute, begin)?;
        let mut offers: Vec<_> = wanted
            .iter()
            .zip(speeds)
            .map(|((preset, size, config), speeds)| Offer {
                preset: preset.to_string(),
                size: *size,
                seconds: speeds.training_time(parts, config.epochs).as_secs_f64(),
                estimated: speeds.is_estimated(),
                epochs: config.epochs,
                advised: false,
            })
            .collect();
        offers.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        if let Some(place) = advised(&offers) {
            offers[place].advised = true;
        }
        Ok(Plans {
            method: method.to_string(),
            pictures: [parts.train, parts.validation, parts.calibration].map(|part| part.round() as usize),
            ends_early: method.steps().is_none(),
            plans: offers,
        })
    }
}

/// The place of the one to take: the program's default, or else the largest that is done soon, or else the quickest. The quickest come
/// first.
fn advised(offers: &[Offer]) -> Option<usize> {
    let usual = (Preset::Tiny.to_string(), SIZES[SIZES.len() - 1]);
    let is_usual = |offer: &Offer| (offer.preset.clone(), offer.size) == usual && offer.seconds <= LONG.as_secs_f64();
    let soon = || offers.iter().rposition(|offer| offer.seconds <= SOON.as_secs_f64());
    let any = (!offers.is_empty()).then_some(0);
    offers.iter().position(is_usual).or_else(soon).or(any)
}

impl Measured {
    /// How fast these networks are: measured now, unless they were before.
    fn of(
        &self,
        method: Method,
        wanted: &[(Preset, usize, TrainConfig)],
        compute: &Compute,
        begin: impl FnOnce() -> Option<Place>,
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
    }

    #[test]
    fn speeds_of_other_sizes_are_not_taken_for_those_asked_for() {
        let compute = Compute::default();
        let method: Method = "riad".parse().unwrap();
        let of = |sizes: &[usize]| -> Vec<_> {
            let network = |&size| {
                let options = with(Preset::Tiny, size, 29, 19);
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
