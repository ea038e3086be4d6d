//! Reconstruction by inpainting: the network fills in hidden regions (Zavrtanik, Kristan, Skočaj, 2021).
//!
//! For each region size k of K the image's cells of k×k pixels are dealt to n disjoint sets. The network sees n copies
//! of the image. Each copy has one set hidden. The reconstruction takes each pixel from the copy in which it was
//! hidden.

use std::num::NonZeroU32;

use riad_core::{Masks, random::Random};

use super::{Definition, Frame, Masking, Passes, ScoringSettings, filters_nothing};
use crate::{
    ModelError, Result,
    network::{Architecture, Weights},
    onnx::{Graph, add_network, integer},
    seed::{Choice, Step, derive_seed},
};

/// The most region sizes: each takes its own passes over an image, and the published setting has four.
const MOST_REGION_SIZES: usize = 64;

pub(super) struct Riad;

impl Definition for Riad {
    fn name(&self) -> &'static str {
        "riad"
    }

    fn about(&self) -> &'static str {
        "inpaints hidden regions"
    }

    fn titles(&self) -> [&'static str; 2] {
        [
            "inpainting (RIAD)",
            "The inpainting U-Net of RIAD: fills in what is hidden in an image.",
        ]
    }

    fn architecture(&self, width: usize) -> Architecture {
        Architecture::u_net(width)
    }

    fn settings(&self, published: ScoringSettings) -> ScoringSettings {
        published
    }

    fn check(&self, scoring: &ScoringSettings) -> Result<()> {
        filters_nothing(scoring)?;
        if scoring.region_sizes.is_empty() {
            return Err(nothing_to_hide());
        }
        if scoring.region_sizes.len() > MOST_REGION_SIZES {
            return Err(ModelError::Setting(format!(
                "RIAD hides regions of at most {MOST_REGION_SIZES} sizes, not {}",
                scoring.region_sizes.len()
            )));
        }
        // The settings may come from a file: masks are dealt when an image is looked at.
        for &region_size in &scoring.region_sizes {
            Masks::check(region_size, scoring.sets, scoring.size())?;
        }
        Ok(())
    }

    fn passes(&self, scoring: &ScoringSettings, frame: Frame) -> Result<Passes> {
        let masks = scoring.region_sizes.iter().map(|&region_size| {
            let masks = masks(scoring, region_size)?;
            Ok(Masking::hiding(frame, scoring.sets, vec![masks]))
        });
        Ok(Passes::new(masks.collect::<Result<_>>()?))
    }

    fn pass_names(&self, scoring: &ScoringSettings) -> Vec<String> {
        scoring.region_sizes.iter().map(|size| format!("k = {size}")).collect()
    }

    fn facts(&self, scoring: &ScoringSettings) -> Vec<(&'static str, String)> {
        let sizes: Vec<String> = scoring.region_sizes.iter().map(usize::to_string).collect();
        vec![
            ("region sizes K", sizes.join(", ")),
            (
                "mask sets n",
                format!("{}, from seed {}", scoring.sets, scoring.mask_seed),
            ),
        ]
    }

    /// One region size for all images of the step, masks for each.
    fn draw(&self, scoring: &ScoringSettings, frame: Frame, step: Step, count: usize) -> Result<Masking> {
        let sizes = &scoring.region_sizes;
        let count_of_sizes = u32::try_from(sizes.len()).ok().and_then(NonZeroU32::new);
        let drawn = count_of_sizes.map(|count| Random::new(step.seed(Choice::RegionSize)).below(count));
        let Some(&region_size) = drawn.and_then(|drawn| sizes.get(drawn as usize)) else {
            return Err(nothing_to_hide());
        };
        let masks = (0..count).map(|image| {
            let seed = step.seed_of_image(Choice::Masks, image);
            Ok(Masks::sample(region_size, scoring.sets, frame.size, seed)?)
        });
        Ok(Masking::hiding(frame, scoring.sets, masks.collect::<Result<_>>()?))
    }

    fn export(
        &self,
        graph: &mut Graph,
        weights: &Weights,
        scoring: &ScoringSettings,
        normalised: &str,
    ) -> Result<String> {
        let ScoringSettings {
            height,
            width,
            ref region_sizes,
            sets,
            ..
        } = *scoring;
        let mut hidden = Vec::with_capacity(region_sizes.len() * sets * height * width);
        for &region_size in region_sizes {
            let masks = masks(scoring, region_size)?;
            for set in 0..sets {
                hidden.extend((0..height).filter_map(|y| masks.hidden_row(set, y)).flatten());
            }
        }
        let passes = region_sizes.len() * sets;
        let hidden = graph.booleans("hidden", &[1, passes, 1, height, width], &hidden);
        let nothing = graph.float("nothing", 0.0);
        let [channels, height, width] = [weights.network().inputs(), height, width].map(|side| side as i64);

        let x = graph.reshape("once", normalised, &[-1, 1, channels, height, width]);
        let x = graph.node("copies", "Where", &[&hidden, &nothing, &x], vec![]);
        let x = graph.reshape("masked", &x, &[-1, channels, height, width]);
        let x = add_network(graph, weights, &x);
        let x = graph.reshape("passes", &x, &[-1, passes as i64, channels, height, width]);
        let x = graph.node("invented", "Where", &[&hidden, &x, &nothing], vec![]);
        let x = graph.reshape("invented_by_set", &x, &[-1, sets as i64, channels, height, width]);
        let over_sets = graph.integers("composed.axes", &[1]);
        Ok(graph.node("composed", "ReduceSum", &[&x, &over_sets], vec![integer("keepdims", 0)]))
    }
}

fn nothing_to_hide() -> ModelError {
    ModelError::Setting("RIAD hides regions, so it needs at least one region size".into())
}

/// The masks of one region size that images are scored with, drawn from the settings' seed.
fn masks(scoring: &ScoringSettings, region_size: usize) -> Result<Masks> {
    let seed = derive_seed(&[scoring.mask_seed, region_size as u64]);
    Ok(Masks::sample(region_size, scoring.sets, scoring.size(), seed)?)
}
