//! The network for scoring on a GPU: batch norms folded into the convolutions before them, maps made on the GPU.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use riad_cuda::{Buffer, Copies, Gpu, LossMemory, MapMemory, MapSettings, PIXEL, Precision, Repeated};

use super::{
    copies, factors,
    layers::Layers,
    layout::{Layout, padded},
    network::{LAST, Network},
    normalisation,
    shape::Side,
    terms,
};
use crate::{
    Result,
    architecture::{Architecture, CHANNELS},
    error::ModelError,
    loss::{LossTerms, LossWeights},
    masking::Masking,
    plan::folded,
    weights::Weights,
};

/// A network ready to score on a GPU.
pub(crate) struct CudaPlan {
    gpu: Gpu,
    architecture: Architecture,
    precision: Precision,
    /// Weights in the layers' precision, biases in f32.
    layers: BTreeMap<String, (Buffer, Buffer)>,
    state: Mutex<State>,
}

/// Memory of the last call, for the next ones.
#[derive(Default)]
struct State {
    network: Option<Layers>,
    batch: Option<Batch>,
    loss: Option<(Copies, Loss)>,
    maps: Option<(MapKey, MapMemory)>,
    /// What is done with each image, on the memory above.
    tasks: Vec<((Task, MasksId), Repeated)>,
}

/// What is done with an image.
#[derive(Clone, Copy, PartialEq)]
enum Task {
    Inpaint,
    Loss(LossWeights),
    Maps { keeps_all: bool },
}

/// What the loss of all reconstructions of an image takes.
struct Loss {
    memory: LossMemory,
    /// The image, as often as it is reconstructed.
    targets: Buffer,
    gradient: Buffer,
}

#[derive(Clone, Copy, PartialEq)]
struct MapKey {
    images: usize,
    size: (usize, usize),
    settings: MapSettings,
}

/// What comes and goes around the network, for all copies of an image.
struct Batch {
    copies: Copies,
    image: Buffer,
    input: Buffer,
    output: Buffer,
    /// `[R, 3, H, W]`, one for each way to mask the image, in f32.
    reconstructions: Buffer,
    /// `[R, H, W]`.
    maps: Buffer,
    /// The mean of the maps, and of the reconstructions.
    mean_map: Buffer,
    mean_reconstruction: Buffer,
}

/// The ways to mask an image, on the GPU.
pub(crate) struct CudaMasks {
    /// Of one image, as often as there are ways.
    copies: Copies,
    sets: Buffer,
    normalisation: [f32; 2],
    id: MasksId,
}

/// Tells masks from others: each has a number of its own.
#[derive(Clone, Copy, PartialEq)]
struct MasksId(u64);

impl MasksId {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Maps of a batch of images.
pub(crate) struct CudaMaps {
    /// The means over regions, `[B, H, W]`.
    pub(crate) means: Vec<f32>,
    /// `[B, R, H, W]`; empty where they were not asked for, as the next.
    pub(crate) regions: Vec<f32>,
    /// The means over regions, `[B, 3, H, W]`.
    pub(crate) reconstructions: Vec<f32>,
}

/// Bytes of activations at once, at most, unless one copy takes more. It decides how many copies cuDNN sees at once, and so how
/// it rounds: that is not to depend on the GPU.
const ACTIVATIONS: usize = 4 << 30;

impl CudaPlan {
    pub(crate) fn new(weights: &Weights, gpu: &Gpu, precision: Precision) -> Result<Self> {
        let architecture = weights.architecture();
        let layout = Layout::new(architecture);
        let mut layers = BTreeMap::new();
        let mut insert = |name: &str, weight: &[f32], bias: &[f32]| -> Result<()> {
            let slot = layout.slot(&format!("{name}.weight"));
            let mut packed = vec![0.0; slot.len];
            slot.pack(weight, &mut packed);
            let weight = match precision {
                Precision::Bf16 => {
                    let rounded: Vec<_> = packed.iter().map(|&value| half::bf16::from_f32(value)).collect();
                    gpu.upload(&rounded)?
                }
                Precision::F32 | Precision::Tf32 => gpu.upload(&packed)?,
            };
            let mut padded_bias = bias.to_vec();
            padded_bias.resize(padded(bias.len()), 0.0);
            layers.insert(name.to_owned(), (weight, gpu.upload(&padded_bias)?));
            Ok(())
        };
        let blocks = architecture.encoder().map(|down| down.name);
        for name in blocks.into_iter().chain(architecture.decoder().map(|up| up.name)) {
            for index in [1, 2] {
                let conv = format!("{name}.conv{index}");
                let (weight, bias) = folded(weights, &conv, &format!("{name}.bn{index}"));
                insert(&conv, &weight, &bias)?;
            }
        }
        let others = architecture.decoder().map(|up| format!("{}.upconv", up.name));
        for name in others.into_iter().chain([LAST.to_owned()]) {
            let part = |part: &str| weights.get(&format!("{name}.{part}"));
            insert(&name, part("weight"), part("bias"))?;
        }
        Ok(Self {
            gpu: gpu.clone(),
            architecture,
            precision,
            layers,
            state: Mutex::default(),
        })
    }

    /// Takes a network under training as it is, without a way through the host.
    pub(super) fn of(gpu: &Gpu, network: &Network) -> Result<Self> {
        let architecture = network.architecture();
        let mut layers = BTreeMap::new();
        let blocks = architecture.encoder().map(|down| down.name);
        for name in blocks.into_iter().chain(architecture.decoder().map(|up| up.name)) {
            for index in [1, 2] {
                let conv = format!("{name}.conv{index}");
                layers.insert(conv.clone(), network.folded(&conv, Some(&format!("{name}.bn{index}")))?);
            }
        }
        let others = architecture.decoder().map(|up| format!("{}.upconv", up.name));
        for name in others.into_iter().chain([LAST.to_owned()]) {
            layers.insert(name.clone(), network.folded(&name, None)?);
        }
        Ok(Self {
            gpu: gpu.clone(),
            architecture,
            precision: network.precision(),
            layers,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Memory only: a panic elsewhere leaves nothing broken.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the ways to mask one image on the GPU: those of the image `index` among those that the maskings are for.
    pub(crate) fn masks(&self, maskings: &[Masking], index: usize) -> Result<CudaMasks> {
        let Some(first) = maskings.first() else {
            return Err(ModelError::Setting("there is nothing to mask".into()));
        };
        let (height, width) = first.size();
        let of_image = index * height * width..(index + 1) * height * width;
        let all = maskings.iter().filter_map(Masking::sets_of_pixels);
        let sets: Vec<u8> = all.flat_map(|sets| sets[of_image.clone()].to_vec()).collect();
        Ok(CudaMasks {
            copies: Copies {
                images: maskings.len(),
                sources: 1,
                ..copies(first)
            },
            sets: self.gpu.upload(&sets)?,
            normalisation: normalisation(first),
            id: MasksId::new(),
        })
    }

    /// Reconstructions `[B, 3, H, W]` in [0, 1] of images likewise. An image's result does not depend on the others in the batch.
    pub(crate) fn reconstruct(&self, images: &[f32], masking: &Masking) -> Result<Vec<f32>> {
        ModelError::length("a batch of images", images.len(), masking.image_len())?;
        let image_len = CHANNELS * masking.pixels();
        let mut all = Vec::with_capacity(images.len());
        let mut state = self.lock();
        for (index, image) in images.chunks_exact(image_len).enumerate() {
            let masks = self.masks(std::slice::from_ref(masking), index)?;
            self.prepare(&mut state, &masks)?;
            // The masks are others each time, so nothing is repeated.
            state.tasks.clear();
            self.run(&mut state, Task::Inpaint, image, &masks)?;
            all.extend(batch(&state)?.reconstructions.read::<f32>(0, image_len)?);
        }
        Ok(all)
    }

    /// The loss of images, the mean over the ways to mask them.
    pub(crate) fn loss(&self, images: &[f32], masks: &CudaMasks, weights: LossWeights) -> Result<LossTerms> {
        let copies = masks.copies;
        let (regions, image_len) = (copies.images, copies.image_values() / copies.images);
        let share = image_len as f64 / images.len() as f64;
        let mut mean = LossTerms::default();
        let mut state = self.lock();
        self.prepare(&mut state, masks)?;
        if state.loss.as_ref().is_none_or(|(of, _)| *of != copies) {
            state.tasks.clear();
            state.loss = None;
            let loss = Loss {
                memory: LossMemory::new(&self.gpu, regions, copies.size)?,
                targets: self.gpu.buffer(copies.images_bytes())?,
                gradient: self.gpu.buffer(copies.images_bytes())?,
            };
            state.loss = Some((copies, loss));
        }
        for image in images.chunks_exact(image_len) {
            if let Some((_, loss)) = &state.loss {
                loss.targets.write(0, &image.repeat(regions))?;
            }
            self.run(&mut state, Task::Loss(weights), image, masks)?;
            if let Some((_, loss)) = &state.loss {
                mean.add(terms(&loss.memory)?, share);
            }
        }
        Ok(mean)
    }

    /// Maps of images.
    pub(crate) fn maps(
        &self,
        images: &[f32],
        masks: &CudaMasks,
        settings: MapSettings,
        keeps_all: bool,
    ) -> Result<CudaMaps> {
        let copies = masks.copies;
        let (regions, image_len) = (copies.images, copies.image_values() / copies.images);
        let (pixels, count) = (image_len / CHANNELS, images.len() / image_len);
        let results = |values: usize| self.gpu.buffer(values * size_of::<f32>());
        let kept = if keeps_all { count } else { 0 };
        let (means, of_regions) = (results(count * pixels)?, results(kept * regions * pixels)?);
        let reconstructions = results(kept * image_len)?;
        let mut state = self.lock();
        self.prepare(&mut state, masks)?;
        let key = MapKey {
            images: regions,
            size: copies.size,
            settings,
        };
        if state.maps.as_ref().is_none_or(|(of, _)| *of != key) {
            state.tasks.clear();
            state.maps = None;
            let memory = MapMemory::new(&self.gpu, regions, copies.size, settings)?;
            state.maps = Some((key, memory));
        }
        // All images are asked for before the first result is waited for.
        for (index, image) in images.chunks_exact(image_len).enumerate() {
            self.run(&mut state, Task::Maps { keeps_all }, image, masks)?;
            let batch = batch(&state)?;
            let keep = |from: &Buffer, to: &Buffer, values: usize| {
                let to = to.part::<f32>(index * values, values);
                self.gpu.mean_over_regions([1, values], from.span(), to)
            };
            keep(&batch.mean_map, &means, pixels)?;
            if keeps_all {
                keep(&batch.maps, &of_regions, regions * pixels)?;
                keep(&batch.mean_reconstruction, &reconstructions, image_len)?;
            }
        }
        Ok(CudaMaps {
            means: means.read(0, count * pixels)?,
            regions: of_regions.read(0, kept * regions * pixels)?,
            reconstructions: reconstructions.read(0, kept * image_len)?,
        })
    }

    /// Makes memory and layers ready for images masked in these ways.
    fn prepare(&self, state: &mut State, masks: &CudaMasks) -> Result<()> {
        let copies = masks.copies;
        let whole = whole(&copies);
        let side = Side {
            images: (ACTIVATIONS / Layers::bytes_of_a_copy(self.architecture, self.precision, whole))
                .clamp(1, whole.images),
            ..whole
        };
        if state.network.as_ref().is_none_or(|network| network.side != side) {
            // The memory goes back first.
            state.tasks.clear();
            state.network = None;
            state.network = Some(Layers::new(&self.gpu, self.architecture, self.precision, side)?);
        }
        if state.batch.as_ref().is_none_or(|batch| batch.copies != copies) {
            state.tasks.clear();
            state.batch = None;
            state.batch = Some(self.batch(&copies)?);
        }
        Ok(())
    }

    /// Asks for what is to be done with an image, for which all is prepared.
    fn run(&self, state: &mut State, task: Task, image: &[f32], masks: &CudaMasks) -> Result<()> {
        batch(state)?.image.write(0, image)?;
        let key = (task, masks.id);
        let mut repeated = match state.tasks.iter().position(|(of, _)| *of == key) {
            Some(index) => state.tasks.swap_remove(index).1,
            None => Repeated::default(),
        };
        let done = repeated.run(&self.gpu, || {
            let batch = self.inpaint(state, masks)?;
            match task {
                Task::Inpaint => Ok(()),
                Task::Loss(weights) => self.find_loss(state, batch, weights),
                Task::Maps { keeps_all } => self.find_maps(state, batch, keeps_all),
            }
        });
        state.tasks.push((key, repeated));
        done
    }

    /// Reconstructions of the batch's image, masked in several ways.
    fn inpaint<'a>(&self, state: &'a State, masks: &CudaMasks) -> Result<&'a Batch> {
        let copies = masks.copies;
        let whole = whole(&copies);
        let batch = batch(state)?;
        let Some(network) = &state.network else {
            return Ok(batch);
        };
        let (sets, normalisation) = (masks.sets.span(), masks.normalisation);
        let input = batch.input.pixels(self.precision, whole.pixels(), PIXEL);
        let output = batch.output.pixels(self.precision, whole.pixels(), PIXEL);
        self.gpu.hide(&copies, batch.image.span(), sets, normalisation, input)?;
        let (at_once, pixels) = (network.side.images, network.side.pixels());
        for start in (0..whole.images).step_by(at_once) {
            // The last run takes the last copies, some of them for the second time: cuDNN is to see as many each time.
            let first = start.min(whole.images - at_once) * whole.height * whole.width;
            let (input, output) = (input.part(first, pixels), output.part(first, pixels));
            network.run(&self.gpu, &self.layers, input, output)?;
        }
        let (bias, found) = (self.layers[LAST].1.span(), batch.reconstructions.span());
        self.gpu.compose(&copies, output, bias, sets, normalisation, found)?;
        Ok(batch)
    }

    /// The mean over regions is that over a batch of as many images.
    fn find_loss(&self, state: &State, batch: &Batch, weights: LossWeights) -> Result<()> {
        let Some((copies, loss)) = &state.loss else {
            return Ok(());
        };
        let (targets, found) = (loss.targets.span(), batch.reconstructions.span());
        let gradient = loss.gradient.span();
        Ok(self
            .gpu
            .loss(&loss.memory, copies.images, targets, found, factors(weights), gradient)?)
    }

    fn find_maps(&self, state: &State, batch: &Batch, keeps_all: bool) -> Result<()> {
        let Some((
            MapKey {
                images: regions, size, ..
            },
            memory,
        )) = &state.maps
        else {
            return Ok(());
        };
        let (regions, pixels) = (*regions, size.0 * size.1);
        let (image, found, maps) = (batch.image.span(), batch.reconstructions.span(), batch.maps.span());
        self.gpu.gms_maps(memory, [1, regions], image, found, maps)?;
        self.gpu
            .mean_over_regions([regions, pixels], maps, batch.mean_map.span())?;
        if keeps_all {
            let mean = batch.mean_reconstruction.span();
            self.gpu.mean_over_regions([regions, CHANNELS * pixels], found, mean)?;
        }
        Ok(())
    }

    fn batch(&self, copies: &Copies) -> Result<Batch> {
        let gpu = &self.gpu;
        let network = copies.pixels() * PIXEL * self.precision.bytes();
        let images = copies.images_bytes();
        Ok(Batch {
            copies: *copies,
            image: gpu.buffer(images / copies.images)?,
            input: gpu.buffer(network)?,
            output: gpu.buffer(network)?,
            reconstructions: gpu.buffer(images)?,
            maps: gpu.buffer(images / CHANNELS)?,
            mean_map: gpu.buffer(images / copies.images / CHANNELS)?,
            mean_reconstruction: gpu.buffer(images / copies.images)?,
        })
    }
}

/// All copies of an image at once.
fn whole(copies: &Copies) -> Side {
    Side {
        images: copies.images * copies.copies,
        height: copies.padded.0,
        width: copies.padded.1,
    }
}

fn batch(state: &State) -> Result<&Batch> {
    let missing = || ModelError::Setting("nothing was prepared for the image".into());
    state.batch.as_ref().ok_or_else(missing)
}
