//! Convolutions on a GPU, by cuDNN's graph API.
//!
//! cuDNN has many engines for each convolution. Here are those alone that give the same bits each time and keep to the
//! precision that was asked for; cuDNN's heuristics order them, and the first is taken. With the environment variable
//! `RIAD_CUDNN_TUNE=N`, the first N are timed and the fastest is taken, which may be another each time, and with it the last
//! digits; a line for each convolution on standard error says what came of it.

#![allow(
    unsafe_code,
    reason = "cuDNN is C with untyped attributes; each block says why it may be called so"
)]

mod descriptor;
mod engine;
mod graph;
mod handle;

use std::{
    env,
    fmt::Write as _,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use cudarc::driver::sys::CUevent_flags;

use self::{engine::Engine, graph::describe, handle::Handle};
use super::queue::{Memory, Queue, failed, lock};
use crate::{ConvolutionSpec, CudaError, Epilogue, device::Plan};

/// How many engines are timed for each convolution; none where the first is taken as it comes.
pub(super) fn tune() -> Result<Option<NonZeroUsize>, CudaError> {
    let Some(text) = env::var_os("RIAD_CUDNN_TUNE") else {
        return Ok(None);
    };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        CudaError::Device("RIAD_CUDNN_TUNE must be a number of engines to time, from 1 on, or not be set".into())
    })
}

/// cuDNN on a queue.
pub(super) struct Cudnn {
    tune: Option<NonZeroUsize>,
    state: Mutex<State>,
    queue: Arc<Queue>,
}

/// What one thread uses at a time, while it plans or queues a convolution.
struct State {
    handle: Handle,
    /// Memory for whichever convolution is running, as much as the plan needs that needs the most. They share it, since they
    /// run one after the other.
    workspace: Option<Arc<Memory>>,
}

impl State {
    /// Makes the workspace as large, if it is smaller.
    fn reserve(&mut self, queue: &Arc<Queue>, bytes: usize) -> Result<(), CudaError> {
        let held = self.workspace.as_ref().map_or(0, |memory| memory.bytes);
        if bytes > held {
            let larger = queue.allocate(bytes)?;
            // The old one goes once no convolution in the queue uses it.
            queue.synchronize()?;
            self.workspace = Some(Arc::new(larger));
        }
        Ok(())
    }
}

impl Cudnn {
    /// Starts cuDNN on the queue; `tune` is how many engines to time for each convolution, if that is wanted.
    pub(super) fn open(queue: &Arc<Queue>, tune: Option<NonZeroUsize>) -> Result<Self, CudaError> {
        let state = State {
            handle: Handle::open(queue)?,
            workspace: None,
        };
        Ok(Self {
            tune,
            state: Mutex::new(state),
            queue: Arc::clone(queue),
        })
    }

    /// The workspace of all convolutions so far.
    pub(super) fn workspace(&self) -> Option<Arc<Memory>> {
        lock(&self.state).workspace.clone()
    }

    /// Prepares a convolution; `tuned` says whether engines may be timed for it.
    ///
    /// If no engine takes the epilogue, the convolution leaves it. In bf16, only engines that are compiled
    /// now, by NVRTC and in about half a second, add a bias in f32.
    ///
    /// Pixels with a gap to the next are taken by all kinds of engines, but those that are not compiled now copy them into
    /// dense ones of their workspace first, or out of them.
    ///
    /// # Errors
    /// [`CudaError::Failed`] if no engine takes it, which is not expected of any spec, unless its tensors are so large that
    /// such copies exceed what a workspace may be.
    pub(super) fn plan(self: &Arc<Self>, spec: &ConvolutionSpec, tuned: bool) -> Result<Convolution, CudaError> {
        let tune = self.tune.filter(|_| tuned);
        let mut state = lock(&self.state);
        self.queue.bind()?;
        let fused = match spec.epilogue {
            Epilogue::None => None,
            Epilogue::BiasRelu => match self.engine(&mut state, spec, true, tune) {
                Ok(engine) => Some(engine),
                Err(error) => {
                    if tune.is_some() {
                        eprintln!("cuDNN: {}: not fused: {error}", describe(spec));
                    }
                    None
                }
            },
        };
        let engine = match fused {
            Some(engine) => engine,
            None => self.engine(&mut state, spec, false, tune)?,
        };
        drop(state);
        Ok(Convolution {
            leaves_epilogue: spec.epilogue == Epilogue::BiasRelu && !engine.fused,
            engine: Mutex::new(engine),
            cudnn: Arc::clone(self),
        })
    }

    /// The engine to take, ready to run.
    fn engine(
        &self,
        state: &mut State,
        spec: &ConvolutionSpec,
        fused: bool,
        tune: Option<NonZeroUsize>,
    ) -> Result<Engine, CudaError> {
        let graph = graph::graph(state.handle.raw(), spec, fused)?;
        let wanted = tune.map_or(1, NonZeroUsize::get);
        let mut engines = Engine::first(&state.handle, &graph, spec.precision, fused, wanted)?;
        let taken = match tune {
            Some(_) => self.fastest(state, spec, &mut engines)?,
            None => 0,
        };
        let engine = engines.swap_remove(taken);
        state.reserve(&self.queue, engine.workspace)?;
        Ok(engine)
    }

    /// Which engine is the fastest, on memory of its own. There is at least one.
    fn fastest(&self, state: &mut State, spec: &ConvolutionSpec, engines: &mut [Engine]) -> Result<usize, CudaError> {
        let allocate = |values: usize, bytes: usize| {
            let memory = self.queue.allocate(values * bytes)?;
            // 0.046 in both formats: GPUs draw less power, and so may run faster, on zeros.
            memory.fill(0x3d).map(|()| memory)
        };
        let bytes = spec.precision.bytes();
        let (height, width) = spec.y_size()?;
        let weights = spec.outputs * spec.kernel * spec.kernel * spec.inputs;
        let x = allocate(spec.images * spec.height * spec.width * spec.x_pixel, bytes)?;
        let w = allocate(weights, bytes)?;
        let y = allocate(spec.images * height * width * spec.y_pixel, bytes)?;
        let bias = allocate(spec.outputs, 4)?;
        let workspace = engines.iter().map(|engine| engine.workspace).max().unwrap_or(0);
        let workspace = self.queue.allocate(workspace)?;
        let event = || {
            let event = self.queue.context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
            event.map_err(failed("making an event"))
        };
        let (start, end) = (event()?, event()?);
        let pointers = [x.pointer, w.pointer, y.pointer, bias.pointer];

        let mut line = format!("cuDNN: {}:", describe(spec));
        let mut best = (0, f32::INFINITY);
        for (number, engine) in engines.iter_mut().enumerate() {
            let mut shortest = f32::INFINITY;
            for run in 0..4 {
                start.record(&self.queue.stream).map_err(failed("recording an event"))?;
                // SAFETY: the tensors are as `spec` describes them, the workspace as large as any engine asks for.
                let queued = unsafe { engine.execute(&state.handle, workspace.pointer, pointers) };
                if let Err(error) = queued {
                    let _ = write!(line, " ({error})");
                    shortest = f32::INFINITY;
                    break;
                }
                end.record(&self.queue.stream).map_err(failed("recording an event"))?;
                let milliseconds = start.elapsed_ms(&end).map_err(failed("timing a convolution"))?;
                // The first run loads the engine's code.
                if run > 0 {
                    shortest = shortest.min(milliseconds);
                }
            }
            let _ = write!(line, " {:.1} µs by engine {},", shortest * 1e3, engine.number);
            engine.forget_packs();
            if shortest < best.1 {
                best = (number, shortest);
            }
        }
        let (taken, milliseconds) = best;
        if milliseconds.is_infinite() {
            return Err(CudaError::Failed {
                what: "timing engines".into(),
                status: line,
            });
        }
        let operations = 2.0 * (spec.images * height * width) as f64 * weights as f64;
        let fused = if engines[taken].fused { ", fused" } else { "" };
        eprintln!(
            "{line} takes index {taken}, {:.1} TFLOP/s{fused}",
            operations / f64::from(milliseconds) / 1e9
        );
        Ok(taken)
    }
}

/// A convolution that is ready to run.
pub(super) struct Convolution {
    engine: Mutex<Engine>,
    leaves_epilogue: bool,
    cudnn: Arc<Cudnn>,
}

impl Drop for Convolution {
    /// The engine's code may go with it: waits until none of it runs. Binds the context, for what is dropped next.
    fn drop(&mut self) {
        let _ = self.cudnn.queue.synchronize();
    }
}

impl Plan for Convolution {
    unsafe fn run(&self, x: u64, w: u64, y: u64, bias: u64) -> Result<(), CudaError> {
        let state = lock(&self.cudnn.state);
        self.cudnn.queue.bind()?;
        let workspace = state.workspace.as_ref().map_or(0, |memory| memory.pointer);
        // SAFETY: the caller vouches for the tensors, and the workspace has been made as large as the engine asks for.
        unsafe { lock(&self.engine).execute(&state.handle, workspace, [x, w, y, bias]) }
    }

    fn leaves_epilogue(&self) -> bool {
        self.leaves_epilogue
    }
}
