//! Activations on the CPU.

use riad_conv::{Batch, BatchMut, Dims};

use crate::Result;

/// An activation or a gradient, channels-last, in memory that lives on from step to step.
pub(crate) struct Values {
    values: Vec<f32>,
    dims: Dims,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            dims: Dims::new(0, 0, 0, 0),
        }
    }
}

impl Values {
    /// Takes on a shape. What is in it then is for the caller to overwrite.
    pub(crate) fn shaped(&mut self, dims: Dims) -> Result<BatchMut<'_>> {
        self.values.resize(dims.values()?, 0.0);
        self.dims = dims;
        Ok(BatchMut::new(&mut self.values, dims)?)
    }

    pub(crate) fn batch(&self) -> Result<Batch<'_>> {
        Ok(Batch::new(&self.values, self.dims)?)
    }

    pub(crate) fn dims(&self) -> Dims {
        self.dims
    }

    pub(crate) fn all(&self) -> &[f32] {
        &self.values
    }

    pub(crate) fn all_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}
