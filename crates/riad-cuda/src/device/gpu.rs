//! A GPU: what everything else is asked of.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    backend::{Backend, Plan},
    recordings::Recordings,
};
use crate::{ConvolutionSpec, CudaError};

/// A GPU with one queue: calls return before the GPU has done what they ask for, and it does so in their order. A clone is
/// the same GPU and queue. What was made on one GPU is for no other.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    backend: Box<dyn Backend>,
    /// Convolutions prepared before: it takes long.
    plans: Mutex<HashMap<ConvolutionSpec, Arc<dyn Plan>>>,
    recordings: Recordings,
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gpu").field(&self.0.backend.name()).finish()
    }
}

impl PartialEq for Gpu {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Gpu {
    /// Opens the CUDA device of this number, from 0 on. Only with the feature `cuda`.
    ///
    /// # Errors
    /// [`CudaError::Device`] with the reason and the way out.
    #[cfg(feature = "cuda")]
    pub fn open(index: usize) -> Result<Self, CudaError> {
        Ok(Self::new(Box::new(super::cuda::Cuda::open(index)?)))
    }

    /// The CPU in a GPU's place: slow, and for tests. Only with the feature `emulated`, and on Linux.
    #[cfg(all(feature = "emulated", target_os = "linux"))]
    pub fn emulated() -> Self {
        Self::new(Box::new(super::emulated::Emulated::new()))
    }

    #[cfg(any(feature = "cuda", all(feature = "emulated", target_os = "linux")))]
    fn new(backend: Box<dyn Backend>) -> Self {
        Self(Arc::new(Inner {
            backend,
            plans: Mutex::default(),
            recordings: Recordings::default(),
        }))
    }

    pub(crate) fn recordings(&self) -> &Recordings {
        &self.0.recordings
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.0.backend
    }

    /// Its name, for people.
    pub fn name(&self) -> String {
        self.0.backend.name()
    }

    /// Bytes of its memory: free, and all.
    ///
    /// # Errors
    /// If the device fails.
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        self.0.backend.memory()
    }

    /// Bytes of its memory that this program has had allocated at once, at most.
    ///
    /// # Errors
    /// If the device fails.
    pub fn peak_memory(&self) -> Result<usize, CudaError> {
        self.0.backend.peak_memory()
    }

    /// The plan of a convolution that has been checked, made once.
    pub(crate) fn plan(&self, spec: &ConvolutionSpec) -> Result<Arc<dyn Plan>, CudaError> {
        // A plan goes in whole or not at all.
        let _turn = self.0.recordings.turn();
        let mut plans = self.0.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(spec) {
            return Ok(Arc::clone(plan));
        }
        let plan: Arc<dyn Plan> = self.0.backend.plan(spec)?.into();
        plans.insert(*spec, Arc::clone(&plan));
        Ok(plan)
    }
}
