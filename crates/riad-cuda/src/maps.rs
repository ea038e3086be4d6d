//! From images and reconstructions to anomaly maps.
#![allow(unsafe_code)] // Launches kernels.

use crate::{
    CudaError,
    gpu::{Buffer, Gpu, Span, one_thread_each},
    planes::{Pyramid, SCALES, Size, sizes},
};

/// Between which planes gradient magnitudes are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planes {
    /// The images' luma.
    Grey,
    /// Each colour channel, of which the mean is taken.
    Colours,
}

impl Planes {
    fn of_an_image(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Colours => 3,
        }
    }
}

/// How maps are made: riad-model's scoring settings say what each does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapSettings {
    /// What is compared.
    pub planes: Planes,
    /// Scales, 1 to 4.
    pub scales: usize,
    /// Side of the mean filter, odd.
    pub smoothing: usize,
}

/// Memory for the maps of images of one size.
pub struct MapMemory {
    images: usize,
    size: Size,
    settings: MapSettings,
    targets: Pyramid,
    found: Pyramid,
    similarities: Pyramid,
    means: Buffer,
    rows: Buffer,
}

#[repr(C)]
struct GmsMap {
    images: u64,
    reconstructions: u64,
    map: u64,
    planes: i32,
    targets: i32,
    height: i32,
    width: i32,
}

#[repr(C)]
struct MeanOverScales {
    maps: [u64; SCALES],
    mean: u64,
    images: i32,
    channels: i32,
    height: i32,
    width: i32,
    scales: i32,
}

#[repr(C)]
struct MeanFilter {
    from: u64,
    to: u64,
    planes: i32,
    height: i32,
    width: i32,
    window: i32,
}

#[repr(C)]
struct MeanOverRegions {
    from: u64,
    mean: u64,
    regions: u32,
    count: u32,
}

impl MapMemory {
    /// Memory for up to `images` reconstructions of this height and width.
    ///
    /// # Errors
    /// If a setting is out of range, or there is not enough memory.
    pub fn new(gpu: &Gpu, images: usize, size: (usize, usize), settings: MapSettings) -> Result<Self, CudaError> {
        let MapSettings { scales, smoothing, .. } = settings;
        if !(1..=SCALES).contains(&scales) || smoothing.is_multiple_of(2) {
            return Err(CudaError::Failed {
                what: "a map".into(),
                status: format!("{scales} scales and a mean filter of {smoothing} are not supported"),
            });
        }
        let planes = images * settings.planes.of_an_image();
        let bytes = images * size.0 * size.1 * size_of::<f32>();
        Ok(Self {
            images,
            size,
            settings,
            targets: Pyramid::new(gpu, planes, size)?,
            found: Pyramid::new(gpu, planes, size)?,
            similarities: Pyramid::new(gpu, planes, size)?,
            means: gpu.buffer(bytes)?,
            rows: gpu.buffer(bytes)?,
        })
    }
}

impl Gpu {
    /// The maps of `count` images `[B, 3, H, W]` in f32 from `regions` reconstructions of each, region after region
    /// `[R, B, 3, H, W]`: 1 − the smoothed similarity, into `maps`, `[R, B, H, W]`.
    ///
    /// # Errors
    /// If shapes do not match, or the device fails.
    pub fn gms_maps(
        &self,
        memory: &MapMemory,
        [count, regions]: [usize; 2],
        images: Span<'_>,
        reconstructions: Span<'_>,
        maps: Span<'_>,
    ) -> Result<(), CudaError> {
        let MapMemory { size, settings, .. } = *memory;
        let pixels = size.0 * size.1;
        let all = count * regions;
        if all > memory.images {
            return Err(CudaError::Length {
                what: "the maps' memory",
                expected: all,
                found: memory.images,
            });
        }
        images.of::<f32>("images", count * 3 * pixels)?;
        reconstructions.of::<f32>("reconstructions", all * 3 * pixels)?;
        let of_an_image = settings.planes.of_an_image();
        let is_grey = settings.planes == Planes::Grey;
        for (pyramid, images, count) in [(&memory.targets, images, count), (&memory.found, reconstructions, all)] {
            if is_grey {
                pyramid.take_grey(self, images, count)?;
            }
            if settings.scales > 1 {
                pyramid.halve(self, (!is_grey).then_some(images), count * of_an_image)?;
            }
        }
        let planes = all * of_an_image;
        let mut similarities = [0; SCALES];
        for (scale, (height, width)) in sizes(size).into_iter().take(settings.scales).enumerate() {
            let of_scale = |pyramid: &Pyramid, images: Span<'_>, count: usize| {
                let is_image = scale == 0 && !is_grey;
                let planes = if is_image {
                    images
                } else {
                    pyramid.scale(scale, count * of_an_image)
                };
                planes.pointer()
            };
            let arguments = GmsMap {
                images: of_scale(&memory.targets, images, count),
                reconstructions: of_scale(&memory.found, reconstructions, all),
                map: memory.similarities.scale(scale, planes).pointer(),
                planes: planes as i32,
                targets: (count * of_an_image) as i32,
                height: height as i32,
                width: width as i32,
            };
            similarities[scale] = arguments.map;
            // SAFETY: lengths were checked above, those of the memory follow from the size; the struct is that of maps.cuh.
            unsafe { self.launch("gms_map", one_thread_each(planes * height * width), &arguments) }?;
        }
        let (height, width) = (size.0 as i32, size.1 as i32);
        let mean = MeanOverScales {
            maps: similarities,
            mean: memory.means.span().pointer(),
            images: all as i32,
            channels: of_an_image as i32,
            height,
            width,
            scales: settings.scales as i32,
        };
        let rows = MeanFilter {
            from: mean.mean,
            to: memory.rows.span().pointer(),
            planes: all as i32,
            height,
            width,
            window: settings.smoothing as i32,
        };
        let columns = MeanFilter {
            from: rows.to,
            to: maps.of::<f32>("maps", all * pixels)?,
            ..rows
        };
        let grid = one_thread_each(all * pixels);
        // SAFETY: as above.
        unsafe {
            self.launch("mean_over_scales", grid, &mean)?;
            self.launch("mean_rows", grid, &rows)?;
            self.launch("map_columns", grid, &columns)
        }
    }

    /// The mean over regions of `[R, count]` numbers in f32.
    ///
    /// # Errors
    /// If one is shorter, or the device fails.
    pub fn mean_over_regions(
        &self,
        [regions, count]: [usize; 2],
        from: Span<'_>,
        mean: Span<'_>,
    ) -> Result<(), CudaError> {
        let arguments = MeanOverRegions {
            from: from.of::<f32>("values of regions", regions * count)?,
            mean: mean.of::<f32>("a mean", count)?,
            regions: regions as u32,
            count: count as u32,
        };
        // SAFETY: lengths were checked above; the struct is that of maps.cuh.
        unsafe { self.launch("mean_over_regions", one_thread_each(count), &arguments) }
    }
}
