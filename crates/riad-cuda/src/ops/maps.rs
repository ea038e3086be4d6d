//! From images and reconstructions to anomaly maps.
#![allow(unsafe_code)] // Launches kernels.

use super::{
    arguments::{GmsMap, MeanFilter, MeanOverRegions, MeanOverScales, SCALES},
    launch::one_thread_each,
    pyramid::{Pyramid, Size, pixels, sizes},
};
use crate::{
    CudaError,
    device::{Buffer, Gpu, Span},
    lengths::{count, product, sides},
};

/// Between which planes gradient magnitudes are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planes {
    /// The images' grey: Rec. 601's luma of three channels, the mean of any other number.
    Grey,
    /// Each channel, of whose similarities the mean is taken.
    Colours,
}

impl Planes {
    fn of_an_image(self, channels: usize) -> usize {
        match self {
            Self::Grey => 1,
            Self::Colours => channels,
        }
    }
}

/// Settings of maps. The scoring settings of riad-model describe them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapSettings {
    /// The planes to compare.
    pub planes: Planes,
    /// Scales, 1 to 4.
    pub scales: usize,
    /// Side of the mean filter in pixels, odd.
    pub smoothing: usize,
    /// Weight of differences in colour, 0 for none.
    pub chroma: f32,
}

/// The widest mean filter, in pixels: its reach and a position are added in 32 bits.
const WIDEST: usize = 1 << 28;

/// Memory for the maps of images of one size and number of channels.
pub struct MapMemory {
    images: usize,
    channels: usize,
    size: Size,
    settings: MapSettings,
    targets: Pyramid,
    found: Pyramid,
    similarities: Pyramid,
    means: Buffer,
    rows: Buffer,
}

impl MapMemory {
    /// Memory for up to `images` reconstructions of `channels` channels, of this height and width in pixels.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] if a setting is out of range, or there is more than kernels can count;
    /// [`CudaError::Memory`] if there is not enough of it.
    pub fn new(
        gpu: &Gpu,
        images: usize,
        channels: usize,
        size: (usize, usize),
        settings: MapSettings,
    ) -> Result<Self, CudaError> {
        let MapSettings { scales, smoothing, .. } = settings;
        if !(1..=SCALES).contains(&scales) || smoothing.is_multiple_of(2) || smoothing > WIDEST {
            return Err(CudaError::Unsupported {
                what: "a map",
                reason: format!(
                    "there are 1 to {SCALES} scales, and the mean filter is odd and at most {WIDEST} wide; not {scales} \
                     and {smoothing}"
                ),
            });
        }
        let planes = product(&[images, settings.planes.of_an_image(channels)]);
        // Its planes can be counted, and so can the pixels of an image.
        let targets = Pyramid::new(gpu, planes, size)?;
        let bytes = product(&[images, pixels(size), size_of::<f32>()]);
        Ok(Self {
            images,
            channels,
            size,
            settings,
            targets,
            found: Pyramid::new(gpu, planes, size)?,
            similarities: Pyramid::new(gpu, planes, size)?,
            means: gpu.buffer(bytes)?,
            rows: gpu.buffer(bytes)?,
        })
    }
}

impl Gpu {
    /// The maps of `count` images `[B, C, H, W]` in f32 from `regions` reconstructions of each, region after region
    /// `[R, B, C, H, W]`: 1 − the smoothed similarity, to which differences in
    /// colour add, in [0, 1], into `maps`, `[R, B, H, W]`.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn gms_maps(
        &self,
        memory: &MapMemory,
        [images, regions]: [usize; 2],
        targets: Span<'_>,
        reconstructions: Span<'_>,
        maps: Span<'_>,
    ) -> Result<(), CudaError> {
        let MapMemory {
            size,
            settings,
            channels,
            ..
        } = *memory;
        let pixels_of_image = pixels(size);
        let all = product(&[images, regions]);
        if all > memory.images {
            return Err(CudaError::Length {
                what: "the maps' memory",
                expected: all,
                found: memory.images,
            });
        }
        targets.of::<f32>("images", product(&[images, channels, pixels_of_image]))?;
        reconstructions.of::<f32>("reconstructions", product(&[all, channels, pixels_of_image]))?;
        let maps = maps.of::<f32>("maps", product(&[all, pixels_of_image]))?;
        let of_an_image = settings.planes.of_an_image(channels);
        let is_grey = settings.planes == Planes::Grey;
        for (pyramid, from, images) in [
            (&memory.targets, targets, images),
            (&memory.found, reconstructions, all),
        ] {
            if is_grey {
                pyramid.take_grey(self, from, [images, channels])?;
            }
            if settings.scales > 1 {
                pyramid.halve(self, (!is_grey).then_some(from), images * of_an_image)?;
            }
        }
        let planes = all * of_an_image;
        let mut similarities = [0; SCALES];
        for (scale, size) in sizes(size).into_iter().take(settings.scales).enumerate() {
            // What is compared in colour at the finest scale are the images themselves.
            let at_scale = |pyramid: &Pyramid, from: Span<'_>, images: usize| match scale {
                0 if !is_grey => Ok(from.pointer()),
                _ => Ok::<_, CudaError>(pyramid.scale(scale, images * of_an_image)?.pointer()),
            };
            let [height, width] = sides("a map", size)?;
            let arguments = GmsMap {
                images: at_scale(&memory.targets, targets, images)?,
                reconstructions: at_scale(&memory.found, reconstructions, all)?,
                map: memory.similarities.scale(scale, planes)?.pointer(),
                planes: planes as u32,
                targets: (images * of_an_image) as u32,
                height,
                width,
            };
            similarities[scale] = arguments.map;
            let grid = one_thread_each("a map", planes * pixels(size))?;
            // SAFETY: lengths were checked above, those of the memory follow from the size.
            unsafe { self.launch("gms_map", grid, &arguments) }?;
        }
        let [height, width] = sides("a map", size)?;
        let mean = MeanOverScales {
            maps: similarities,
            mean: memory.means.span().pointer(),
            images: targets.pointer(),
            reconstructions: reconstructions.pointer(),
            images_count: all as u32,
            channels: of_an_image as u32,
            scales: settings.scales as u32,
            targets: images as u32,
            image_channels: channels as u32,
            height,
            width,
            chroma: settings.chroma,
        };
        let rows = MeanFilter {
            from: mean.mean,
            to: memory.rows.span().pointer(),
            planes: all as u32,
            height,
            width,
            window: settings.smoothing as i32,
        };
        let columns = MeanFilter {
            from: rows.to,
            to: maps,
            ..rows
        };
        let grid = one_thread_each("a map", all * pixels_of_image)?;
        // SAFETY: as above.
        unsafe {
            self.launch("mean_over_scales", grid, &mean)?;
            self.launch("mean_rows", grid, &rows)?;
            self.launch("map_columns", grid, &columns)
        }
    }

    /// The mean over regions of `[R, values]` numbers in f32, into as many as `values`.
    ///
    /// # Errors
    /// If one is shorter, or the device fails.
    pub fn mean_over_regions(
        &self,
        [regions, values]: [usize; 2],
        from: Span<'_>,
        mean: Span<'_>,
    ) -> Result<(), CudaError> {
        let arguments = MeanOverRegions {
            from: from.of::<f32>("values of regions", product(&[regions, values]))?,
            mean: mean.of::<f32>("a mean", values)?,
            regions: count("regions", regions)?,
            count: count("values of a region", values)?,
        };
        let grid = one_thread_each("a mean over regions", values)?;
        // SAFETY: lengths were checked above.
        unsafe { self.launch("mean_over_regions", grid, &arguments) }
    }
}
