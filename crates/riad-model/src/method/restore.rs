//! Restoration in one pass: the network sees the edges of a corrupted image, and gives back the whole image
//! (EdgRec, Liu et al., arXiv 2210.14485; FAIR, Liu et al., arXiv 2309.07068).
//!
//! Edges show where things are, but not the colour within them. A network that has seen only good images gives each place the
//! colour and the texture of good images. A place where the image differs is anomalous.

use super::{Definition, Frame, InputFilter, Masking, Passes, ScoringSettings, hides_nothing};
use crate::{
    Result,
    network::{Architecture, Weights},
    onnx::{Graph, add_network},
    seed::Step,
};

pub(super) struct Restore;

/// The input of the network. Chosen on made-up defects of pill, transistor and pills turned by any angle, against edges of grey
/// (docs/results.md, What each part of restoration is worth). EdgRec has edges of grey.
const INPUT: InputFilter = InputFilter::EdgesColour;

/// Weight of the difference in colour in maps. Chosen on made-up defects of pill, transistor and pills turned by any angle, out of 0 to
/// 200: from 30 to 100 hardly anything changes.
const CHROMA: f32 = 50.0;

/// Steps, whatever the batch. After half as many pill is two to three points of image AUROC lower (docs/results.md, More steps).
const STEPS: usize = 4000;

impl Definition for Restore {
    fn name(&self) -> &'static str {
        "restore"
    }

    fn about(&self) -> &'static str {
        "restores images from their edges, in one pass"
    }

    fn titles(&self) -> [&'static str; 2] {
        [
            "restoration from edges",
            "The restoring U-Net: gives back an image from its edges, as good images look.",
        ]
    }

    fn architecture(&self, width: usize) -> Architecture {
        let architecture = Architecture::u_net(width);
        architecture.with_inputs(INPUT.channels(architecture.channels()))
    }

    fn settings(&self, published: ScoringSettings) -> ScoringSettings {
        ScoringSettings {
            region_sizes: Vec::new(),
            sets: 1,
            input: INPUT,
            chroma: CHROMA,
            ..published
        }
    }

    fn steps(&self) -> Option<usize> {
        Some(STEPS)
    }

    fn corrupts(&self) -> bool {
        true
    }

    fn check(&self, scoring: &ScoringSettings) -> Result<()> {
        hides_nothing(scoring)
    }

    fn passes(&self, _: &ScoringSettings, frame: Frame) -> Result<Passes> {
        Ok(Passes::new(vec![Masking::showing(frame, 1)]))
    }

    fn pass_names(&self, scoring: &ScoringSettings) -> Vec<String> {
        vec![format!("from {}", scoring.input.about())]
    }

    fn facts(&self, scoring: &ScoringSettings) -> Vec<(&'static str, String)> {
        vec![("the network sees", scoring.input.about().to_owned())]
    }

    fn draw(&self, _: &ScoringSettings, frame: Frame, _: Step, count: usize) -> Result<Masking> {
        Ok(Masking::showing(frame, count))
    }

    fn export(&self, graph: &mut Graph, weights: &Weights, _: &ScoringSettings, normalised: &str) -> Result<String> {
        Ok(add_network(graph, weights, normalised))
    }
}
