//! Adam with coupled (L2) weight decay, as `torch.optim.Adam`: the published setup. candle-nn has only AdamW, whose decay
//! is decoupled.

use std::collections::BTreeMap;

use candle_core::{CpuStorage, InplaceOp3, Layout as Strides, Tensor, Var, backprop::GradStore};
use rayon::prelude::*;

use crate::{Result, network, ops};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Values a task takes at a time.
const CHUNK: usize = 1 << 14;

/// First and second moments of every variable's gradient.
pub(crate) struct Adam {
    weight_decay: f64,
    steps: u64,
    moments: BTreeMap<String, [Tensor; 2]>,
}

impl Adam {
    pub(crate) fn new(variables: &BTreeMap<String, Var>, weight_decay: f64) -> Result<Self> {
        let moments = variables
            .iter()
            .map(|(name, variable)| Ok((name.clone(), [variable.zeros_like()?, variable.zeros_like()?])))
            .collect::<Result<_>>()?;
        Ok(Self {
            weight_decay,
            steps: 0,
            moments,
        })
    }

    /// Takes up the state that [`Self::steps`] and [`Self::moments`] gave.
    pub(crate) fn restore(weight_decay: f64, steps: u64, moments: BTreeMap<String, [Tensor; 2]>) -> Self {
        Self {
            weight_decay,
            steps,
            moments,
        }
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn moments(&self) -> &BTreeMap<String, [Tensor; 2]> {
        &self.moments
    }

    /// Moves every variable one step against its gradient.
    pub(crate) fn step(
        &mut self,
        variables: &BTreeMap<String, Var>,
        gradients: &GradStore,
        learning_rate: f64,
    ) -> Result<()> {
        self.steps += 1;
        let steps = self.steps as f64;
        let correction1 = 1.0 - BETA1.powf(steps);
        let correction2 = 1.0 - BETA2.powf(steps);
        for (name, variable) in variables {
            let gradient = network::gradient(gradients, name, variable)?;
            let Some([first, second]) = self.moments.get_mut(name) else {
                continue;
            };
            if variable.device().is_cpu() {
                let weight_decay = self.weight_decay as f32;
                let (correction, rate) = ((1.0 / correction2) as f32, (learning_rate / correction1) as f32);
                let value = variable.as_detached_tensor();
                update(first, [gradient, &value], move |moment, gradient, value| {
                    let gradient = gradient + value * weight_decay;
                    moment * BETA1 as f32 + gradient * (1.0 - BETA1) as f32
                })?;
                update(second, [gradient, &value], move |moment, gradient, value| {
                    let gradient = gradient + value * weight_decay;
                    moment * BETA2 as f32 + gradient * gradient * (1.0 - BETA2) as f32
                })?;
                update(&value, [first, second], move |value, first, second| {
                    value - first * rate / ((second * correction).sqrt() + EPSILON as f32)
                })?;
            } else {
                let gradient = (gradient + (variable.as_detached_tensor() * self.weight_decay)?)?;
                *first = ((&*first * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
                *second = ((&*second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
                let deviation = ((&*second * (1.0 / correction2))?.sqrt()? + EPSILON)?;
                let step = ((&*first * (learning_rate / correction1))? / deviation)?;
                variable.set(&(variable.as_detached_tensor() - step)?)?;
            }
        }
        Ok(())
    }
}

/// Sets each value of `target` to `f` of itself and of the values at its place in `sources`: on the CPU, where a chain of
/// candle's ops would make a temporary of every parameter for each of its eleven steps.
fn update(
    target: &Tensor,
    sources: [&Tensor; 2],
    f: impl Fn(f32, f32, f32) -> f32 + Send + Sync,
) -> candle_core::Result<()> {
    let [a, b] = [sources[0].contiguous()?, sources[1].contiguous()?];
    target.inplace_op3(&a, &b, &Update(f))
}

struct Update<F>(F);

impl<F: Fn(f32, f32, f32) -> f32 + Send + Sync> InplaceOp3 for Update<F> {
    fn name(&self) -> &'static str {
        "riad-adam"
    }

    fn cpu_fwd(
        &self,
        target: &mut CpuStorage,
        strides: &Strides,
        a: &CpuStorage,
        a_strides: &Strides,
        b: &CpuStorage,
        b_strides: &Strides,
    ) -> candle_core::Result<()> {
        let (a, b) = (ops::values(a, a_strides)?, ops::values(b, b_strides)?);
        let (CpuStorage::F32(target), Some((start, end))) = (target, strides.contiguous_offsets()) else {
            candle_core::bail!("Adam takes contiguous f32")
        };
        let target = &mut target[start..end];
        (target.par_chunks_mut(CHUNK), a.par_chunks(CHUNK), b.par_chunks(CHUNK))
            .into_par_iter()
            .for_each(|(target, a, b)| {
                for ((target, &a), &b) in target.iter_mut().zip(a).zip(b) {
                    *target = self.0(*target, a, b);
                }
            });
        Ok(())
    }
}
