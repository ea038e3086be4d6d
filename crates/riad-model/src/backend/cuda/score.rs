//! A network for scoring on a GPU: batch norms folded into the convolutions before them, maps made on the GPU.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use riad_core::Map;
use riad_cuda::{
    Buffer, Copies, CudaError, Gpu, LossMemory, MapMemory, MapSettings as GpuMaps, Planes, Precision, Repeated,
    padded_channels,
};

use super::{
    copies, factors, layout::Layout, network::Network, normalisation, not_prepared, scoring_layers::ScoringLayers,
    shape::Side, side, terms, wiring::Wiring,
};
use crate::{
    ModelError, Result,
    backend::{Score, maps_on_host},
    method::{Examples, Keep, LossTerms, LossWeights, MapSettings, Masking, Passes, Scored, Similarity},
    network::{Weights, folded},
};

/// A network ready to score on a GPU.
pub(crate) struct CudaScorer {
    gpu: Gpu,
    wiring: Wiring,
    precision: Precision,
    /// Weights in the layers' precision, biases in f32, by the layer's name.
    layers: BTreeMap<String, (Buffer, Buffer)>,
    passes: Passes,
    masks: Masks,
    state: Mutex<State>,
}

/// Memory of the last call, for the next ones.
#[derive(Default)]
struct State {
    network: Option<ScoringLayers>,
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
    settings: GpuMaps,
}

/// What comes and goes around the network, for all copies of an image.
struct Batch {
    copies: Copies,
    image: Buffer,
    /// What the network sees of it, where that is something else.
    seen: Option<Buffer>,
    input: Buffer,
    output: Buffer,
    /// `[R, C, H, W]`, one for each way to mask the image, in f32.
    reconstructions: Buffer,
    /// `[R, H, W]`.
    maps: Buffer,
    /// The mean of the maps, and of the reconstructions.
    mean_map: Buffer,
    mean_reconstruction: Buffer,
}

/// The ways to mask an image, on the GPU.
struct Masks {
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

/// Bytes of activations at once, at most, unless one copy takes more. It decides how many copies cuDNN sees at once, and so how
/// it rounds: that is not to depend on the GPU.
const ACTIVATIONS: usize = 4 << 30;

impl CudaScorer {
    pub(crate) fn new(weights: &Weights, passes: Passes, gpu: &Gpu, precision: Precision) -> Result<Self> {
        let network = weights.network();
        let layout = Layout::new(network);
        let mut layers = BTreeMap::new();
        for layer in network.layers() {
            let (weight, mut bias) = folded(weights, layer);
            let slot = layout.slot(&format!("{}.weight", layer.name));
            let mut packed = vec![0.0; slot.len];
            slot.pack(&weight, &mut packed);
            let weight = match precision {
                Precision::Bf16 => {
                    let rounded: Vec<_> = packed.iter().map(|&value| half::bf16::from_f32(value)).collect();
                    gpu.upload(&rounded)?
                }
                Precision::F32 | Precision::Tf32 => gpu.upload(&packed)?,
            };
            bias.resize(padded_channels(bias.len()), 0.0);
            layers.insert(layer.name.clone(), (weight, gpu.upload(&bias)?));
        }
        Self::with_layers(gpu, Wiring::new(network), precision, layers, passes)
    }

    /// Takes a network under training as it is, without a way through the host.
    pub(super) fn of(gpu: &Gpu, network: &Network, passes: Passes) -> Result<Self> {
        let of = network.bare().network();
        let layers = of.layers().iter();
        let layers = layers.map(|layer| Ok((layer.name.clone(), network.folded(layer)?)));
        let layers = layers.collect::<Result<_, CudaError>>()?;
        Self::with_layers(gpu, Wiring::new(of), network.precision(), layers, passes)
    }

    fn with_layers(
        gpu: &Gpu,
        wiring: Wiring,
        precision: Precision,
        layers: BTreeMap<String, (Buffer, Buffer)>,
        passes: Passes,
    ) -> Result<Self> {
        Ok(Self {
            masks: Masks::new(gpu, passes.of_one_image())?,
            gpu: gpu.clone(),
            wiring,
            precision,
            layers,
            passes,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Memory only: a panic elsewhere leaves nothing broken.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps of images that the GPU makes.
    fn gms_maps(&self, images: &[f32], settings: GpuMaps, keep: Keep) -> Result<Vec<Scored>> {
        let (masks, shape) = (&self.masks, self.passes.shape(images)?);
        let copies = masks.copies;
        let (regions, count, size) = (copies.images, shape.images, shape.size);
        let (pixels, image_len) = (size.pixels(), shape.channels * size.pixels());
        let results = |values: usize| self.gpu.buffer(values * size_of::<f32>());
        let kept = if keep == Keep::All { count } else { 0 };
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
            let memory = MapMemory::new(&self.gpu, regions, copies.outputs, copies.size, settings)?;
            state.maps = Some((key, memory));
        }
        // All images are asked for before the first result is waited for.
        let keeps_all = keep == Keep::All;
        for (index, image) in images.chunks_exact(image_len).enumerate() {
            self.run(&mut state, Task::Maps { keeps_all }, image, masks)?;
            let batch = batch(&state)?;
            let keep = |from: &Buffer, to: &Buffer, values: usize| {
                let to = to.part::<f32>(index * values, values)?;
                self.gpu.mean_over_regions([1, values], from.span(), to)
            };
            keep(&batch.mean_map, &means, pixels)?;
            if keeps_all {
                keep(&batch.maps, &of_regions, regions * pixels)?;
                keep(&batch.mean_reconstruction, &reconstructions, image_len)?;
            }
        }
        drop(state);
        let means: Vec<f32> = means.read(0, count * pixels)?;
        let of_regions: Vec<f32> = of_regions.read(0, kept * regions * pixels)?;
        let reconstructions: Vec<f32> = reconstructions.read(0, kept * image_len)?;
        let map = |values: &[f32]| Map::new(size, values.to_vec());
        let mut region_maps = of_regions.chunks_exact(regions * pixels);
        let mut reconstructions = reconstructions.chunks_exact(image_len);
        let scored = means.chunks_exact(pixels).map(|mean| {
            let of_image = region_maps.next().unwrap_or_default();
            Ok(Scored {
                score: 0.0,
                map: map(mean)?,
                region_maps: of_image.chunks_exact(pixels).map(map).collect::<Result<_, _>>()?,
                reconstruction: reconstructions.next().unwrap_or_default().to_vec(),
            })
        });
        scored.collect()
    }

    /// Makes memory and layers ready for images masked in these ways.
    fn prepare(&self, state: &mut State, masks: &Masks) -> Result<()> {
        let copies = masks.copies;
        let whole = side(&copies);
        let at_once = ACTIVATIONS / ScoringLayers::bytes_of_a_copy(&self.wiring, self.precision, whole);
        let side = Side {
            images: at_once.clamp(1, whole.images),
            ..whole
        };
        if state.network.as_ref().is_none_or(|network| network.side != side) {
            // The memory goes back first.
            state.tasks.clear();
            state.network = None;
            state.network = Some(ScoringLayers::new(&self.gpu, &self.wiring, self.precision, side)?);
        }
        if state.batch.as_ref().is_none_or(|batch| batch.copies != copies) {
            state.tasks.clear();
            state.batch = None;
            state.batch = Some(self.batch(&copies)?);
        }
        Ok(())
    }

    /// Asks for what is to be done with an image, for which all is prepared.
    fn run(&self, state: &mut State, task: Task, image: &[f32], masks: &Masks) -> Result<()> {
        let Batch { image: to, seen, .. } = batch(state)?;
        to.write(0, image)?;
        if let Some(seen) = seen {
            let shape = self.passes.shape(image)?;
            seen.write(0, &self.passes.frame().input.of(image, shape)?)?;
        }
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
    fn inpaint<'a>(&self, state: &'a State, masks: &Masks) -> Result<&'a Batch> {
        let copies = masks.copies;
        let whole = side(&copies);
        let batch = batch(state)?;
        let network = state.network.as_ref().ok_or_else(|| not_prepared("a reconstruction"))?;
        let (sets, normalisation) = (masks.sets.span(), masks.normalisation);
        let input = batch
            .input
            .pixels(self.precision, whole.pixels(), copies.input_pixel())?;
        let output = batch
            .output
            .pixels(self.precision, whole.pixels(), copies.output_pixel())?;
        let seen = batch.seen.as_ref().unwrap_or(&batch.image).span();
        self.gpu.hide(&copies, seen, sets, normalisation, input)?;
        let (at_once, pixels) = (network.side.images, network.side.pixels());
        for start in (0..whole.images).step_by(at_once) {
            // The last run takes the last copies, some of them for the second time: cuDNN is to see as many each time.
            let first = start.min(whole.images - at_once) * whole.height * whole.width;
            let (input, output) = (input.part(first, pixels)?, output.part(first, pixels)?);
            network.run(&self.gpu, &self.wiring, &self.layers, input, output)?;
        }
        let last = self.wiring.layers.last().and_then(|last| self.layers.get(&last.name));
        let (_, bias) = last.ok_or_else(|| not_prepared("a network without layers"))?;
        let found = batch.reconstructions.span();
        self.gpu
            .compose(&copies, output, bias.span(), sets, normalisation, found)?;
        Ok(batch)
    }

    /// The mean over regions is that over a batch of as many images.
    fn find_loss(&self, state: &State, batch: &Batch, weights: LossWeights) -> Result<()> {
        let (copies, loss) = state.loss.as_ref().ok_or_else(|| not_prepared("a loss"))?;
        let (targets, found) = (loss.targets.span(), batch.reconstructions.span());
        let gradient = loss.gradient.span();
        Ok(self
            .gpu
            .loss(&loss.memory, copies.images, targets, found, factors(weights), gradient)?)
    }

    fn find_maps(&self, state: &State, batch: &Batch, keeps_all: bool) -> Result<()> {
        let (key, memory) = state.maps.as_ref().ok_or_else(|| not_prepared("a map"))?;
        let (regions, pixels) = (key.images, key.size.0 * key.size.1);
        let (image, found, maps) = (batch.image.span(), batch.reconstructions.span(), batch.maps.span());
        self.gpu.gms_maps(memory, [1, regions], image, found, maps)?;
        self.gpu
            .mean_over_regions([regions, pixels], maps, batch.mean_map.span())?;
        if keeps_all {
            let mean = batch.mean_reconstruction.span();
            let values = batch.copies.outputs * pixels;
            self.gpu.mean_over_regions([regions, values], found, mean)?;
        }
        Ok(())
    }

    fn batch(&self, copies: &Copies) -> Result<Batch> {
        let gpu = &self.gpu;
        let floats = |values: usize| gpu.buffer(values * size_of::<f32>());
        let network = |pixel: usize| gpu.buffer(copies.pixels() * pixel * self.precision.bytes());
        let (values, pixels) = (copies.reconstruction_values(), copies.image_pixels());
        Ok(Batch {
            copies: *copies,
            image: floats(values / copies.images)?,
            seen: if self.passes.frame().input.is_none() {
                None
            } else {
                Some(floats(copies.source_values())?)
            },
            input: network(copies.input_pixel())?,
            output: network(copies.output_pixel())?,
            reconstructions: floats(values)?,
            maps: floats(pixels)?,
            mean_map: floats(pixels / copies.images)?,
            mean_reconstruction: floats(values / copies.images)?,
        })
    }
}

impl Masks {
    /// Puts the ways to mask one image on the GPU.
    fn new(gpu: &Gpu, maskings: &[Masking]) -> Result<Self> {
        let first = maskings.first().ok_or_else(|| not_prepared("a way to mask images"))?;
        let sets: Vec<u8> = maskings.iter().filter_map(Masking::sets_of_pixels).flatten().collect();
        Ok(Self {
            copies: Copies {
                images: maskings.len(),
                sources: 1,
                ..copies(first)
            },
            sets: gpu.upload(&sets)?,
            normalisation: normalisation(first),
            id: MasksId::new(),
        })
    }
}

impl Score for CudaScorer {
    fn passes(&self) -> &Passes {
        &self.passes
    }

    fn reconstruct(&self, images: &[f32], pass: usize) -> Result<Vec<f32>> {
        let image_len = self.passes.frame().image_len();
        self.passes.shape(images)?;
        let masks = Masks::new(&self.gpu, &self.passes.of_one_image()[pass..=pass])?;
        let mut all = Vec::with_capacity(images.len());
        let mut state = self.lock();
        self.prepare(&mut state, &masks)?;
        for image in images.chunks_exact(image_len) {
            self.run(&mut state, Task::Inpaint, image, &masks)?;
            all.extend(batch(&state)?.reconstructions.read::<f32>(0, image_len)?);
        }
        // The masks go, and their memory may be others' next.
        state.tasks.clear();
        Ok(all)
    }

    fn loss(&self, examples: &Examples, weights: LossWeights) -> Result<LossTerms> {
        let (masks, shape) = (&self.masks, self.passes.shape(&examples.images)?);
        examples.check(shape.batch_len())?;
        let copies = masks.copies;
        let (regions, image_len) = (copies.images, shape.channels * shape.size.pixels());
        if shape.images == 0 {
            return Err(ModelError::Setting("no images have no loss".into()));
        }
        let share = 1.0 / shape.images as f64;
        let mut mean = LossTerms::default();
        let mut state = self.lock();
        self.prepare(&mut state, masks)?;
        if state.loss.as_ref().is_none_or(|(of, _)| *of != copies) {
            state.tasks.clear();
            state.loss = None;
            let floats = || self.gpu.buffer(copies.reconstruction_values() * size_of::<f32>());
            let loss = Loss {
                memory: LossMemory::new(&self.gpu, regions, copies.outputs, copies.size)?,
                targets: floats()?,
                gradient: floats()?,
            };
            state.loss = Some((copies, loss));
        }
        let shown = examples.shown().chunks_exact(image_len);
        for (image, shown) in examples.images.chunks_exact(image_len).zip(shown) {
            let targets = image.repeat(regions);
            let ready = |state: &State| -> Result<LossTerms> {
                let (_, loss) = state.loss.as_ref().ok_or_else(|| not_prepared("a loss"))?;
                terms(&loss.memory)
            };
            let (_, loss) = state.loss.as_ref().ok_or_else(|| not_prepared("a loss"))?;
            loss.targets.write(0, &targets)?;
            self.run(&mut state, Task::Loss(weights), shown, masks)?;
            mean.add(ready(&state)?, share);
        }
        Ok(mean)
    }

    fn maps(&self, images: &[f32], settings: MapSettings, keep: Keep) -> Result<Vec<Scored>> {
        let planes = match settings.similarity {
            Similarity::GmsGrey => Planes::Grey,
            Similarity::GmsColour => Planes::Colours,
            Similarity::Ssim | Similarity::L2 => return maps_on_host(self, images, settings, keep),
        };
        let on_gpu = GpuMaps {
            planes,
            scales: settings.scales,
            smoothing: settings.smoothing,
            chroma: settings.chroma,
        };
        self.gms_maps(images, on_gpu, keep)
    }
}

fn batch(state: &State) -> Result<&Batch> {
    state.batch.as_ref().ok_or_else(|| not_prepared("an image"))
}
