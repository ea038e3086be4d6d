//! Work that is asked for again and again, recorded.

use std::mem;

use super::{Gpu, backend::Recorded};
use crate::CudaError;

/// Work that is the same each time: the first time it is queued piece by piece, then recorded, where the GPU can, and queued
/// whole from then on, at a fraction of the cost.
#[derive(Default)]
pub struct Repeated {
    was_done: bool,
    /// Not every device can, and not everything that cuDNN does.
    cannot_be_recorded: bool,
    recording: Option<Recording>,
}

struct Recording {
    gpu: Gpu,
    number: u64,
    /// There until it is dropped.
    recorded: Option<Box<dyn Recorded>>,
}

impl Repeated {
    /// Queues `work`. All calls must be with the same: the same functions of this crate on the same buffers with the same
    /// arguments. It allocates, writes and reads nothing.
    ///
    /// # Errors
    /// What `work` fails with, or the device.
    pub fn run<E: From<CudaError>>(&mut self, gpu: &Gpu, work: impl Fn() -> Result<(), E>) -> Result<(), E> {
        if let Some(Recording {
            recorded: Some(recorded),
            ..
        }) = &self.recording
        {
            let _turn = gpu.recordings().turn();
            return Ok(recorded.run()?);
        }
        // Kernels are loaded when they are first called, which cannot be recorded.
        if mem::replace(&mut self.was_done, true) && !self.cannot_be_recorded {
            match gpu.record(&work) {
                Ok(Some(recording)) => {
                    self.recording = Some(recording);
                    return self.run(gpu, work);
                }
                // If it was not the recording that failed, the work fails again below.
                Ok(None) | Err(_) => self.cannot_be_recorded = true,
            }
        }
        work()
    }
}

impl Gpu {
    fn record<E: From<CudaError>>(&self, work: impl Fn() -> Result<(), E>) -> Result<Option<Recording>, E> {
        let recordings = self.recordings();
        recordings.alone(|| {
            if !self.backend().begin_recording()? {
                return Ok(None);
            }
            let done = work();
            let recorded = self.backend().end_recording();
            done?;
            Ok(Some(Recording {
                recorded: Some(recorded?),
                gpu: self.clone(),
                number: recordings.keep(),
            }))
        })
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.recorded = None;
        self.gpu.recordings().forget(self.number);
    }
}
