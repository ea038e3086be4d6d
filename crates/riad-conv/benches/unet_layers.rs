//! Times the layers of RIAD's U-Net, forward and backward, against the machine's peak.
//!
//!     cargo bench -p riad-conv --bench unet_layers -- WIDTH SIZE BATCH [rounds]
//!
//! Prints the best of the rounds: milliseconds, GFLOP/s (of the direct algorithm) and the share of the FMA peak, which is
//! measured before and after each layer. Threads: RAYON_NUM_THREADS. With `--serve` it reads `name operation` lines and
//! answers each with the seconds of one run, for comparisons that alternate with another program.

#[path = "support/fma.rs"]
mod fma;

use std::hint::black_box;
use std::io::Write;

use cpu_time::ProcessTime;
use riad_conv::{
    Activation, Batch, BatchMut, Conv2d, ConvError, ConvTranspose2d, Dims, Geometry, Precision, conv_transpose2d,
    conv_transpose2d_grad_input, conv_transpose2d_grad_weight, conv2d, conv2d_grad_input, conv2d_grad_weight,
    grad_bias,
};

/// `packed-bf16` runs in f32 where the machine has no bf16.
const OPERATIONS: [&str; 5] = ["packed", "packed-bf16", "forward", "grad_input", "grad_weight"];

struct Layer {
    name: String,
    transposed: bool,
    dims: Dims,
    out_channels: usize,
    geometry: Geometry,
}

/// The layers of riad-model's U-Net, which this crate does not know: shapes to measure with, and nothing else.
fn unet(width: usize, size: usize, images: usize) -> Vec<Layer> {
    let (same, resize) = (Geometry::new(3, 1, 1), Geometry::new(4, 2, 1));
    let mut layers = Vec::new();
    let mut add = |name: String, transposed, side, channels, out_channels, geometry| {
        layers.push(Layer {
            name,
            transposed,
            dims: Dims::new(images, side, side, channels),
            out_channels,
            geometry,
        });
    };
    let mut channels = 3;
    for (level, factor) in [1, 2, 4, 8, 8].into_iter().enumerate() {
        let (side, out) = (size >> level, factor * width);
        let (first, first_side) = if level == 0 { (same, side) } else { (resize, 2 * side) };
        add(
            format!("down{}.conv1", level + 1),
            false,
            first_side,
            channels,
            out,
            first,
        );
        add(format!("down{}.conv2", level + 1), false, side, out, out, same);
        channels = out;
    }
    for (level, factor) in [8, 4, 2, 1].into_iter().enumerate() {
        let (side, out) = (size >> (3 - level), factor * width);
        add(format!("up{}.upconv", level + 1), true, side / 2, channels, out, resize);
        add(format!("up{}.conv1", level + 1), false, side, 2 * out, out, same);
        add(format!("up{}.conv2", level + 1), false, side, out, out, same);
        channels = out;
    }
    add("conv_final".into(), false, size, channels, 3, same);
    layers
}

/// A layer with data, ready to run any operation.
struct Bench {
    layer: Layer,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
    out_dims: Dims,
    out: Vec<f32>,
    dx: Vec<f32>,
    dw: Vec<f32>,
    db: Vec<f32>,
    packed: Packed,
    bf16: Packed,
}

enum Packed {
    Plain(Conv2d),
    Transposed(ConvTranspose2d),
}

impl Bench {
    fn new(layer: Layer) -> Result<Self, ConvError> {
        let Layer {
            transposed,
            dims,
            out_channels,
            geometry,
            ..
        } = layer;
        let noise = |len: usize| {
            (0..len)
                .map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5)
                .collect::<Vec<_>>()
        };
        let out_dims = layer.out_dims()?;
        let weight = noise(dims.channels * out_channels * geometry.kernel * geometry.kernel);
        let bias = noise(out_channels);
        let activation = if out_channels == 3 {
            Activation::Tanh
        } else {
            Activation::Relu
        };
        let pack = |precision| {
            let (channels, bias) = (dims.channels, Some(&bias[..]));
            Ok(if transposed {
                let layer =
                    ConvTranspose2d::new(&weight, channels, out_channels, bias, geometry, activation, precision)?;
                Packed::Transposed(layer)
            } else {
                let layer = Conv2d::new(&weight, channels, out_channels, bias, geometry, activation, precision)?;
                Packed::Plain(layer)
            })
        };
        let packed = pack(Precision::F32)?;
        let has_bf16 = Precision::Bf16.check().is_ok();
        let bf16 = pack(if has_bf16 { Precision::Bf16 } else { Precision::F32 })?;
        let (x, dy, out) = (
            noise(dims.values()?),
            noise(out_dims.values()?),
            vec![0.0; out_dims.values()?],
        );
        let (dx, dw, db) = (x.clone(), weight.clone(), bias.clone());
        Ok(Self {
            layer,
            x,
            weight,
            bias,
            dy,
            out_dims,
            out,
            dx,
            dw,
            db,
            packed,
            bf16,
        })
    }

    fn seconds(&mut self, operation: &str) -> Result<f64, ConvError> {
        let Self {
            layer:
                Layer {
                    transposed,
                    dims,
                    geometry,
                    ..
                },
            x,
            weight,
            bias,
            dy,
            out_dims,
            out,
            dx,
            dw,
            db,
            packed,
            bf16,
        } = self;
        let geometry = *geometry;
        let (x, dy) = (Batch::new(x, *dims)?, Batch::new(dy, *out_dims)?);
        let out = BatchMut::new(out, *out_dims)?;
        let start = ProcessTime::now();
        match (operation, *transposed) {
            ("forward", false) => conv2d(x, weight, Some(bias), geometry, out)?,
            ("forward", true) => conv_transpose2d(x, weight, Some(bias), geometry, out)?,
            ("grad_input", false) => conv2d_grad_input(dy, weight, geometry, BatchMut::new(dx, *dims)?)?,
            ("grad_input", true) => conv_transpose2d_grad_input(dy, weight, geometry, BatchMut::new(dx, *dims)?)?,
            ("grad_weight", _) => {
                let run = if *transposed {
                    conv_transpose2d_grad_weight
                } else {
                    conv2d_grad_weight
                };
                run(x, dy, geometry, dw)?;
                grad_bias(dy, db)?;
            }
            (operation, _) => match if operation == "packed-bf16" { bf16 } else { packed } {
                Packed::Plain(layer) => layer.forward(x, out)?,
                Packed::Transposed(layer) => layer.forward(x, out)?,
            },
        }
        black_box((self.out.last(), self.dx.last(), self.dw.last()));
        Ok(seconds_since(start))
    }
}

impl Layer {
    fn out_dims(&self) -> Result<Dims, ConvError> {
        if self.transposed {
            self.dims.conv_transpose2d(self.out_channels, self.geometry)
        } else {
            self.dims.conv2d(self.out_channels, self.geometry)
        }
    }

    /// Floating-point operations of the direct algorithm: each weight meets each pixel of the smaller image.
    fn flops(&self) -> Result<f64, ConvError> {
        let out = self.out_dims()?;
        let dense = if self.transposed { self.dims } else { out };
        let pixels = dense.images * dense.height * dense.width;
        Ok(2.0 * (pixels * self.dims.channels * self.out_channels * self.geometry.kernel.pow(2)) as f64)
    }
}

/// GFLOP/s of independent FMAs on all threads, the best of three tries of a few milliseconds.
fn peak() -> f64 {
    let once = || {
        let start = ProcessTime::now();
        let flops: f64 = rayon::broadcast(|_| fma::run()).into_iter().sum();
        flops / seconds_since(start) / 1e9
    };
    (0..3).map(|_| once()).fold(0.0, f64::max)
}

/// Time that the threads ran, per thread: the machine may have other work, which must not count.
fn seconds_since(start: ProcessTime) -> f64 {
    start.elapsed().as_secs_f64() / rayon::current_num_threads() as f64
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let serve = arguments.iter().any(|argument| argument == "--serve");
    // cargo says of itself that it benches.
    arguments.retain(|argument| argument != "--serve" && argument != "--bench");
    let number = |index: usize, default: usize| arguments.get(index).map_or(Ok(default), |text| text.parse());
    let (width, size, batch, rounds) = (number(0, 16)?, number(1, 128)?, number(2, 12)?, number(3, 7)?);
    let layers = unet(width, size, batch);
    if serve {
        return answer(layers);
    }
    let mut totals = [0.0; OPERATIONS.len()];
    let mut total_flops = 0.0;
    println!(
        "width {width}, {size}×{size}, batch {batch}, {} threads",
        rayon::current_num_threads()
    );
    println!(
        "layer          GFLOP   {}",
        OPERATIONS.map(|operation| format!("{operation:>24}")).join("")
    );
    for layer in layers {
        let mut bench = Bench::new(layer)?;
        let flops = bench.layer.flops()?;
        total_flops += flops;
        print!("{:<12} {:>7.2}   ", bench.layer.name, flops / 1e9);
        for (operation, total) in OPERATIONS.iter().zip(&mut totals) {
            let before = peak();
            let mut best = f64::INFINITY;
            for _ in 0..rounds {
                best = best.min(bench.seconds(operation)?);
            }
            *total += best;
            let rate = flops / best / 1e9;
            print!(
                "{:>9.2} ms {:>5.0} {:>4.0} %",
                best * 1e3,
                rate,
                100.0 * rate / before.max(peak())
            );
            std::io::stdout().flush()?;
        }
        println!();
    }
    print!("{:<12} {:>7.2}   ", "all", total_flops / 1e9);
    for total in totals {
        print!("{:>9.2} ms {:>5.0}       ", total * 1e3, total_flops / total / 1e9);
    }
    println!("\npeak now: {:.0} GFLOP/s", peak());
    Ok(())
}

fn answer(layers: Vec<Layer>) -> Result<(), Box<dyn std::error::Error>> {
    let mut benches = layers.into_iter().map(Bench::new).collect::<Result<Vec<_>, _>>()?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let (name, operation) = line.split_once(' ').ok_or("expected `name operation`")?;
        if name == "peak" {
            println!("{}", peak());
        } else {
            let bench = benches
                .iter_mut()
                .find(|bench| bench.layer.name == name)
                .ok_or("no such layer")?;
            println!("{}", bench.seconds(operation)?);
        }
    }
    Ok(())
}
