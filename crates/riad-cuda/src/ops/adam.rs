//! Adam with coupled weight decay.
#![allow(unsafe_code)] // Launches kernels.

use half::bf16;

use super::{
    arguments::Adam,
    launch::{kernel, one_thread_each},
    loss::TERMS,
};
use crate::{
    CudaError, Precision,
    device::{Buffer, Gpu, Span},
    lengths::{count, product},
};

/// What stays the same from step to step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamSettings {
    /// Added to a gradient, times the value.
    pub weight_decay: f32,
    /// Shares of the moments that stay.
    pub betas: [f32; 2],
    /// Added to the deviation.
    pub epsilon: f32,
}

/// Parameters in f32 with their moments, one after the other in one buffer each.
pub struct Trained {
    /// Values.
    pub values: Buffer,
    /// First moments.
    pub first: Buffer,
    /// Second moments.
    pub second: Buffer,
    /// Gradients, in `precision`.
    pub gradients: Buffer,
    /// A copy of the values in bf16, where gradients are.
    pub rounded: Option<Buffer>,
    /// Of the gradients.
    pub precision: Precision,
    count: usize,
}

impl Trained {
    /// Takes up `values` with moments of zero.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn new(gpu: &Gpu, values: &[f32], precision: Precision) -> Result<Self, CudaError> {
        let bytes = size_of_val(values);
        let rounded = match precision {
            Precision::Bf16 => {
                let rounded: Vec<bf16> = values.iter().map(|&value| bf16::from_f32(value)).collect();
                Some(gpu.upload(&rounded)?)
            }
            Precision::F32 | Precision::Tf32 => None,
        };
        Ok(Self {
            values: gpu.upload(values)?,
            first: gpu.buffer(bytes)?,
            second: gpu.buffer(bytes)?,
            gradients: gpu.buffer(product(&[values.len(), precision.bytes()]))?,
            rounded,
            precision,
            count: values.len(),
        })
    }

    /// What layers compute with: `count` values from `first`, in the precision of the gradients.
    ///
    /// # Errors
    /// [`CudaError::Length`] if there are fewer.
    pub fn layer(&self, first: usize, count: usize) -> Result<Span<'_>, CudaError> {
        match &self.rounded {
            Some(rounded) => rounded.part::<bf16>(first, count),
            None => self.values.part::<f32>(first, count),
        }
    }

    /// Where the gradients of these values go.
    ///
    /// # Errors
    /// [`CudaError::Length`] if there are fewer.
    pub fn gradient(&self, first: usize, count: usize) -> Result<Span<'_>, CudaError> {
        match self.precision {
            Precision::Bf16 => self.gradients.part::<bf16>(first, count),
            Precision::F32 | Precision::Tf32 => self.gradients.part::<f32>(first, count),
        }
    }
}

impl Gpu {
    /// Moves every value one step against its gradient: value −= rate · first / (√(second · correction) + ε), unless the
    /// loss among `terms` is not finite. `step` holds rate and correction in f32.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn adam(
        &self,
        trained: &Trained,
        terms: &Buffer,
        step: Span<'_>,
        settings: AdamSettings,
    ) -> Result<(), CudaError> {
        let all = trained.count;
        let rounded = match &trained.rounded {
            Some(rounded) => rounded.span().of::<bf16>("rounded values", all)?,
            None => 0,
        };
        let arguments = Adam {
            values: trained.values.span().of::<f32>("values", all)?,
            first: trained.first.span().of::<f32>("first moments", all)?,
            second: trained.second.span().of::<f32>("second moments", all)?,
            gradients: trained.gradient(0, all)?.pointer(),
            rounded,
            total: terms.part::<f64>(TERMS - 1, 1)?.pointer(),
            step: step.of::<f32>("a step's numbers", 2)?,
            count: count("parameters", all)?,
            weight_decay: settings.weight_decay,
            beta1: settings.betas[0],
            beta2: settings.betas[1],
            epsilon: settings.epsilon,
        };
        let grid = one_thread_each("parameters", all)?;
        // SAFETY: lengths were checked above.
        unsafe { self.launch(kernel!("adam", trained.precision), grid, &arguments) }
    }
}
