//! The paper's plain autoencoder for comparison: the same layers without skip connections. Nothing is hidden.

use super::{Definition, Frame, Masking, Passes, ScoringSettings, filters_nothing, hides_nothing};
use crate::{
    Result,
    network::{Architecture, Weights},
    onnx::{Graph, add_network},
    seed::Step,
};

pub(super) struct Autoencoder;

impl Definition for Autoencoder {
    fn name(&self) -> &'static str {
        "autoencoder"
    }

    fn about(&self) -> &'static str {
        "reconstructs what it sees, without skip connections"
    }

    fn titles(&self) -> [&'static str; 2] {
        [
            "reconstruction (autoencoder)",
            "An autoencoder: gives back what good images look like.",
        ]
    }

    fn architecture(&self, width: usize) -> Architecture {
        Architecture::autoencoder(width)
    }

    fn settings(&self, published: ScoringSettings) -> ScoringSettings {
        ScoringSettings {
            region_sizes: Vec::new(),
            sets: 1,
            ..published
        }
    }

    fn check(&self, scoring: &ScoringSettings) -> Result<()> {
        filters_nothing(scoring)?;
        hides_nothing(scoring)
    }

    fn passes(&self, _: &ScoringSettings, frame: Frame) -> Result<Passes> {
        Ok(Passes::new(vec![Masking::showing(frame, 1)]))
    }

    fn pass_names(&self, _: &ScoringSettings) -> Vec<String> {
        vec!["nothing hidden".into()]
    }

    fn facts(&self, _: &ScoringSettings) -> Vec<(&'static str, String)> {
        vec![("hidden", "nothing".into())]
    }

    fn draw(&self, _: &ScoringSettings, frame: Frame, _: Step, count: usize) -> Result<Masking> {
        Ok(Masking::showing(frame, count))
    }

    fn export(&self, graph: &mut Graph, weights: &Weights, _: &ScoringSettings, normalised: &str) -> Result<String> {
        Ok(add_network(graph, weights, normalised))
    }
}
