//! What the loops over parameters share: Adam with coupled (L2) weight decay, as `torch.optim.Adam`, the published setup.
//! candle-nn has only AdamW, whose decay is decoupled.

/// Share of the first moment that stays from step to step.
pub(crate) const BETA1: f64 = 0.9;
/// Share of the second moment that stays.
pub(crate) const BETA2: f64 = 0.999;
/// Added to the deviation.
pub(crate) const EPSILON: f64 = 1e-8;

/// The optimiser's settings, and how many steps it has taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Adam {
    pub(crate) weight_decay: f64,
    pub(crate) steps: u64,
}

/// The factors of one step: value −= first · rate / (√(second · correction) + ε).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) rate: f64,
    pub(crate) correction: f64,
}

impl Adam {
    /// Counts a step, and gives its factors, which make up for moments that began at zero.
    pub(crate) fn begin_step(&mut self, learning_rate: f64) -> Step {
        self.steps += 1;
        let steps = self.steps as f64;
        Step {
            rate: learning_rate / (1.0 - BETA1.powf(steps)),
            correction: 1.0 / (1.0 - BETA2.powf(steps)),
        }
    }
}
