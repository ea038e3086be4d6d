// What kernels take, field by field as in kernels/*.cuh, which say what the fields are. build.rs reads this file as well, and
// has the compilers of the kernels compare names, order and sizes: what differs does not compile. Addresses come before
// numbers of 32 bits, so that no compiler pads between them.

constants! {
    /// Threads of a block, of every kernel.
    THREADS: u32 = 256;
    /// Scales of gradient magnitude similarity, each half the size of the one before.
    SCALES: usize = 4;
    /// Side of the tiles that the loss works on, in pixels.
    TILE: usize = 16;
    /// What SSIM's window reaches on each side, in pixels.
    RADIUS: usize = 5;
    /// Pixels of SSIM's window along one axis.
    WINDOW: usize = 2 * RADIUS + 1;
    /// Groups of eight channels that a block has side by side.
    GROUPS: usize = 32;
    /// Channels of a block that adds up partial sums.
    CHANNELS_OF_BLOCK: usize = 8;
}

arguments! {
    // pixels.cuh

    AddBias { x: u64, bias: u64, y: u64, pixels: u32, channels: u32, x_pixel: u32, y_pixel: u32 }
    Add { x: u64, y: u64, pixels: u32, channels: u32, x_pixel: u32, y_pixel: u32 }
    BiasRelu { values: u64, bias: u64, pixels: u64, channels: u32, pixel: u32 }
    TakeChannels { x: u64, y: u64, partial: u64, pixels: u32, channels: u32, x_pixel: u32 }
    ChannelSums { partial: u64, sums: u64, channels: u32, blocks: u32 }

    // norm.cuh

    NormSums { x: u64, partial: u64, pixels: u32, channels: u32 }
    NormLine {
        x: u64, partial: u64, bias: u64, scale: u64, shift: u64, running_mean: u64, running_variance: u64, line: u64,
        pixels: u32, channels: u32, blocks: u32, momentum: f32, epsilon: f32
    }
    NormForward {
        x: u64, line: u64, y: u64, also: u64,
        pixels: u32, channels: u32, y_pixel: u32, also_pixel: u32
    }
    NormGradientSums {
        x: u64, dy: u64, more: u64, line: u64, partial: u64,
        pixels: u32, channels: u32, more_pixel: u32
    }
    NormGradientLine {
        partial: u64, line: u64, scale_gradient: u64, shift_gradient: u64, slope: u64,
        pixels: u32, channels: u32, blocks: u32
    }
    NormBackward {
        x: u64, dy: u64, more: u64, line: u64, slope: u64, dx: u64,
        pixels: u32, channels: u32, more_pixel: u32
    }
    Fold {
        weight: u64, bias: u64, scale: u64, shift: u64, mean: u64, variance: u64, folded_weight: u64, folded_bias: u64,
        weights: u32, row: u32, biases: u32, epsilon: f32
    }

    // images.cuh

    Shape {
        sources: u32, images: u32, copies: u32, channels: u32,
        height: i32, width: i32, padded_height: i32, padded_width: i32, mean: f32, deviation: f32
    }
    Hide { images: u64, sets: u64, copies: u64, shape: Shape }
    Compose { outputs: u64, bias: u64, sets: u64, reconstructions: u64, shape: Shape }
    Spread { gradient: u64, reconstructions: u64, sets: u64, outputs: u64, shape: Shape }

    // pyramid.cuh

    Grey { images: u64, grey: u64, images_count: u32, channels: u32, pixels: u32 }
    Halve { fine: u64, coarse: u64, planes: u32, height: i32, width: i32 }

    // loss.cuh

    Gaussian { weights: [f32; WINDOW] }
    SsimSums {
        images: u64, reconstructions: u64, coefficients: u64, partial: u64,
        planes: u32, height: i32, width: i32, slope: f32, gaussian: Gaussian
    }
    PixelGradient {
        images: u64, reconstructions: u64, coefficients: u64, grey_gradient: u64, gradient: u64, partial: u64,
        planes: u32, channels: u32, height: i32, width: i32, squared: f32, absolute: f32, gaussian: Gaussian
    }
    GmsSums {
        images: u64, reconstructions: u64, slopes: u64, partial: u64,
        planes: u32, height: i32, width: i32, slope: f32
    }
    GmsGradient { slopes: u64, coarser: u64, gradient: u64, planes: u32, height: i32, width: i32 }
    LossTerms {
        ssim: u64, gms: u64, pixels: u64, terms: u64,
        ssim_blocks: u32, gms_blocks: [u32; SCALES], pixel_blocks: u32, windows: f32, values: f32,
        gms_counts: [f32; SCALES], l2: f32, l1: f32, ssim_weight: f32, msgms: f32
    }

    // maps.cuh

    GmsMap { images: u64, reconstructions: u64, map: u64, planes: u32, targets: u32, height: i32, width: i32 }
    MeanOverScales {
        maps: [u64; SCALES], mean: u64, images: u64, reconstructions: u64,
        images_count: u32, channels: u32, scales: u32, targets: u32, image_channels: u32, height: i32, width: i32, chroma: f32
    }
    MeanFilter { from: u64, to: u64, planes: u32, height: i32, width: i32, window: i32 }
    MeanOverRegions { from: u64, mean: u64, regions: u32, count: u32 }

    // adam.cuh

    Adam {
        values: u64, first: u64, second: u64, gradients: u64, rounded: u64, total: u64, step: u64,
        count: u32, weight_decay: f32, beta1: f32, beta2: f32, epsilon: f32
    }
}
