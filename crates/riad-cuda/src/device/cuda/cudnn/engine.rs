//! One way in which cuDNN computes a graph, and which of them may be taken.

#![allow(
    unsafe_code,
    reason = "cuDNN is C with untyped attributes; each block says why it may be called so"
)]

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    slice,
};

use cudarc::cudnn::sys::{
    self, cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Object,
    cudnnBackendHeurMode_t as Heuristic, cudnnBackendNumericalNote_t as Note,
};

use super::{
    descriptor::{Descriptor, check},
    graph::{self, BIAS, W, X, Y},
    handle::Handle,
};
use crate::{CudaError, Precision};

/// Engines that need more memory for themselves are passed over.
const MOST_WORKSPACE: usize = 1 << 30;

/// Pointers that a plan remembers at most; see [`Engine::packs`].
const MOST_PACKS: usize = 256;

/// One way of computing a graph, ready to run.
pub(super) struct Engine {
    plan: Descriptor,
    /// Bytes that it needs for itself.
    pub(super) workspace: usize,
    /// cuDNN's number for it.
    pub(super) number: i64,
    /// Whether it adds the bias as well.
    pub(super) fused: bool,
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
    pub(super) fn first(
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
            .and_then(|plan| plan.with(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, &[handle.raw()]))
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

    /// Gives back what was made for tensors that are no more.
    pub(super) fn forget_packs(&mut self) {
        self.packs.clear();
    }

    /// Queues it on the tensors x, w, y and the bias.
    ///
    /// # Safety
    /// They are tensors of the spec that the engine was found for, and the workspace has as many bytes as it asks for; all
    /// until the queue has got there. The queue's context is bound.
    pub(super) unsafe fn execute(
        &mut self,
        handle: &Handle,
        workspace: u64,
        mut tensors: [u64; 4],
    ) -> Result<(), CudaError> {
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
        let status = unsafe { sys::cudnnBackendExecute(handle.raw(), self.plan.raw(), pack.raw()) };
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
