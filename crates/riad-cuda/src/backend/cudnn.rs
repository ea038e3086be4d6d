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
mod graph;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt::Write as _,
    num::NonZeroUsize,
    ptr, slice,
    sync::{Arc, Mutex},
};

use cudarc::{
    cudnn::sys::{
        self, cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Object,
        cudnnBackendHeurMode_t as Heuristic, cudnnBackendNumericalNote_t as Note,
    },
    driver::sys::CUevent_flags,
};

use self::{
    descriptor::{Descriptor, check},
    graph::{BIAS, W, X, Y, describe},
};
use super::{
    Backend, Plan,
    cuda::{Memory, Queue, failed, lock},
};
use crate::{ConvolutionSpec, CudaError, Epilogue, Kind, Precision, channels::bias_relu};

/// Engines that need more memory for themselves are passed over.
const MOST_WORKSPACE: usize = 1 << 30;

/// Pointers that a plan remembers at most; see [`Engine::packs`].
const MOST_PACKS: usize = 256;

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

struct Handle {
    raw: sys::cudnnHandle_t,
    queue: Arc<Queue>,
}

// SAFETY: cuDNN takes a handle from any thread, if not from two at once: it is behind a mutex.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        let _ = self.queue.bind();
        // SAFETY: it was created, and nobody has it any more.
        let _ = unsafe { sys::cudnnDestroy(self.raw) };
    }
}

impl Cudnn {
    /// Starts cuDNN on the queue; `tune` is how many engines to time for each convolution, if that is wanted.
    pub(super) fn open(queue: &Arc<Queue>, tune: Option<NonZeroUsize>) -> Result<Self, CudaError> {
        queue.bind()?;
        let mut raw = ptr::null_mut();
        // SAFETY: the pointer is to a variable of the type that cuDNN writes.
        check("starting cuDNN", unsafe { sys::cudnnCreate(&mut raw) })?;
        let handle = Handle {
            raw,
            queue: Arc::clone(queue),
        };
        // SAFETY: both are valid; the handle keeps the queue, and so the stream, while it lives.
        let status = unsafe { sys::cudnnSetStream(handle.raw, queue.stream.cu_stream().cast()) };
        check("giving cuDNN a stream", status)?;
        let state = State {
            handle,
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
    /// Where no engine takes the epilogue, a kernel of ours follows the convolution. In bf16, only engines that are compiled
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
        let fused = match (spec.epilogue, spec.kind) {
            (Epilogue::None, _) => None,
            (Epilogue::BiasRelu, Kind::Forward) => match self.engine(&mut state, spec, true, tune) {
                Ok(engine) => Some(engine),
                Err(error) => {
                    if tune.is_some() {
                        eprintln!("cuDNN: {}: not fused: {error}", describe(spec));
                    }
                    None
                }
            },
            (Epilogue::BiasRelu, Kind::GradInput | Kind::GradWeight) => {
                return Err(CudaError::Failed {
                    what: describe(spec),
                    status: "gradients have no epilogue".into(),
                });
            }
        };
        let engine = match fused {
            Some(engine) => engine,
            None => self.engine(&mut state, spec, false, tune)?,
        };
        drop(state);
        Ok(Convolution {
            spec: *spec,
            kernel_follows: spec.epilogue == Epilogue::BiasRelu && !engine.fused,
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
        let graph = graph::graph(state.handle.raw, spec, fused)?;
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
        let (height, width) = spec.y_size();
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
            engine.packs.clear();
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
    spec: ConvolutionSpec,
    engine: Mutex<Engine>,
    /// Whether the epilogue is left to our kernel.
    kernel_follows: bool,
    cudnn: Arc<Cudnn>,
}

impl Drop for Convolution {
    /// The engine's code may go with it: waits until none of it runs. Binds the context, for what is dropped next.
    fn drop(&mut self) {
        let _ = self.cudnn.queue.synchronize();
    }
}

impl Plan for Convolution {
    unsafe fn run(&self, backend: &dyn Backend, x: u64, w: u64, y: u64, bias: u64) -> Result<(), CudaError> {
        {
            let state = lock(&self.cudnn.state);
            self.cudnn.queue.bind()?;
            let workspace = state.workspace.as_ref().map_or(0, |memory| memory.pointer);
            // SAFETY: the caller vouches for the tensors, and the workspace has been made as large as the engine asks for.
            unsafe { lock(&self.engine).execute(&state.handle, workspace, [x, w, y, bias])? };
        }
        if !self.kernel_follows {
            return Ok(());
        }
        let ConvolutionSpec {
            images,
            outputs,
            y_pixel,
            precision,
            ..
        } = self.spec;
        let (height, width) = self.spec.y_size();
        // SAFETY: the caller vouches for y, which is as the spec describes it, and for a bias of as many channels.
        unsafe {
            bias_relu(
                backend,
                precision,
                [y, bias],
                [images * height * width, outputs, y_pixel],
            )
        }
    }
}

/// One way of computing a graph, ready to run.
struct Engine {
    plan: Descriptor,
    /// Bytes that it needs for itself.
    workspace: usize,
    /// cuDNN's number for it.
    number: i64,
    /// Whether it adds the bias as well.
    fused: bool,
    /// What cuDNN takes the addresses of tensors in, which is made once for each set of them.
    packs: HashMap<[u64; 4], Descriptor>,
    /// The workspace in all of `packs`.
    packed_workspace: u64,
    /// What the plan was made from.
    _configuration: Descriptor,
}

impl Engine {
    /// The first engines that may be taken for a graph, `wanted` at most, in the order of cuDNN's heuristics.
    ///
    /// # Errors
    /// [`CudaError::Failed`] if there is none, with the reasons why those that there are were passed over.
    fn first(
        handle: &Handle,
        graph: &Descriptor,
        precision: Precision,
        fused: bool,
        wanted: usize,
    ) -> Result<Vec<Self>, CudaError> {
        let mut taken = Vec::new();
        let mut reasons = BTreeMap::<String, usize>::new();
        for heuristic in [Heuristic::CUDNN_HEUR_MODE_A, Heuristic::CUDNN_HEUR_MODE_FALLBACK] {
            let configurations = graph::configurations(graph, heuristic).unwrap_or_else(|error| {
                reasons.insert(error.to_string(), 1);
                Vec::new()
            });
            for configuration in configurations {
                match Self::new(handle, configuration, precision, fused) {
                    Ok(engine) => taken.push(engine),
                    Err(reason) => *reasons.entry(reason).or_default() += 1,
                }
                if taken.len() == wanted {
                    break;
                }
            }
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
        let mut reasons: Vec<_> = reasons
            .iter()
            .map(|(reason, count)| format!("{count} × {reason}"))
            .collect();
        if reasons.is_empty() {
            reasons.push("cuDNN has none".into());
        }
        Err(CudaError::Failed {
            what: "finding an engine of cuDNN".into(),
            status: reasons.join("; "),
        })
    }

    /// The engine of a configuration, or why it is passed over.
    fn new(handle: &Handle, configuration: Descriptor, precision: Precision, fused: bool) -> Result<Self, String> {
        let told = |error: CudaError| error.to_string();
        let engine = Descriptor::new(Object::CUDNN_BACKEND_ENGINE_DESCRIPTOR).map_err(told)?;
        let found = configuration.descriptors(Name::CUDNN_ATTR_ENGINECFG_ENGINE, slice::from_ref(&engine));
        if found.map_err(told)? == 0 {
            return Err("a configuration without an engine".into());
        }
        let notes = engine.notes().map_err(told)?;
        if let Some(note) = notes.into_iter().find_map(|note| refused(note, precision)) {
            return Err(format!("{note:?}"));
        }
        let number = engine.number(Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX).map_err(told)?;
        let plan = Descriptor::new(Object::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
            .and_then(|plan| plan.with(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, &[handle.raw]))
            .and_then(|plan| plan.with_descriptors(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, &[&configuration]))
            .and_then(Descriptor::finalized)
            .map_err(told)?;
        let workspace = plan
            .number(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)
            .map_err(told)?;
        match usize::try_from(workspace) {
            Ok(workspace) if workspace <= MOST_WORKSPACE => Ok(Self {
                plan,
                workspace,
                number,
                fused,
                packs: HashMap::new(),
                packed_workspace: 0,
                _configuration: configuration,
            }),
            _ => Err("a workspace of more than 1 GiB".into()),
        }
    }

    /// Queues it on the tensors x, w, y and the bias.
    ///
    /// # Safety
    /// They are tensors of the spec that the engine was found for, and the workspace has as many bytes as it asks for; all
    /// until the queue has got there. The queue's context is bound.
    unsafe fn execute(&mut self, handle: &Handle, workspace: u64, mut tensors: [u64; 4]) -> Result<(), CudaError> {
        if !self.fused {
            tensors[3] = 0;
        }
        if self.packed_workspace != workspace || self.packs.len() > MOST_PACKS {
            self.packs.clear();
            self.packed_workspace = workspace;
        }
        let pack = match self.packs.entry(tensors) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let used = if self.fused { 4 } else { 3 };
                let pack = Descriptor::new(Object::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?
                    .with_addresses(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, &tensors[..used])?
                    .with(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &[X, W, Y, BIAS][..used])?
                    .with_addresses(Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, &[workspace])?
                    .finalized()?;
                entry.insert(pack)
            }
        };
        // SAFETY: all three are valid, the caller vouches for what is in the pack, and nobody else has the handle now: it
        // comes from under its lock.
        let status = unsafe { sys::cudnnBackendExecute(handle.raw, self.plan.raw(), pack.raw()) };
        check("a convolution", status)
    }
}

/// The note, if an engine that carries it may not compute in this precision.
///
/// None may give other bits another time, nor sum in less than f32. In f32, factors are not rounded to TF32. In bf16 there
/// are no transforms, which round what is between: that has fewer digits than the result.
fn refused(note: i32, precision: Precision) -> Option<Note> {
    const ALWAYS: &[Note] = &[
        Note::CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC,
        Note::CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
    ];
    let others: &[Note] = match precision {
        Precision::F32 => &[
            Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE,
            Note::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS,
        ],
        Precision::Tf32 => &[],
        Precision::Bf16 => &[
            Note::CUDNN_NUMERICAL_NOTE_FFT,
            Note::CUDNN_NUMERICAL_NOTE_WINOGRAD,
            Note::CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4,
            Note::CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6,
            Note::CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13,
        ],
    };
    ALWAYS
        .iter()
        .chain(others)
        .copied()
        .find(|&refused| refused as i32 == note)
}
