//! The network in a candle program: ten steps of training on made-up images, then a score, by candle alone.
//!
//!     cargo run --release -p riad-model --example unet

use riad_core::{Masks, Size};
use riad_model::{
    Architecture, LossWeights, Normalisation, Weights,
    candle::{
        UNet, anomaly_map,
        candle_core::{DType, Device, Result, Tensor},
        candle_nn::{AdamW, ModuleT, Optimizer, ParamsAdamW, VarBuilder, VarMap},
        compose, denormalised, hidden_pixels, hide, loss, normalised, tensors,
    },
};

const SIZE: Size = Size::new(32, 32);

/// Images `[4, 3, 32, 32]` in [0, 1] of slanted stripes, each at another place.
fn stripes(device: &Device) -> Result<Tensor> {
    let axis = |length: u32| Tensor::arange(0, length, device)?.to_dtype(DType::F32);
    let x = axis(32)?.reshape((1, 1, 1, 32))?;
    let y = axis(32)?.reshape((1, 1, 32, 1))?;
    let colour = (axis(3)? * 0.4)?.reshape((1, 3, 1, 1))?;
    let image = (axis(4)? * 0.8)?.reshape((4, 1, 1, 1))?;
    let phase = (x * 0.5)?.broadcast_add(&(y * 0.3)?)?;
    phase
        .broadcast_add(&colour.broadcast_add(&image)?)?
        .sin()?
        .affine(0.4, 0.5)
}

/// Reconstructions of images in [0, 1]: every region from the copy in which the network did not see it.
fn reconstruct(net: &UNet, images: &Tensor, masks: &[Masks], train: bool) -> Result<Tensor> {
    let range = Normalisation::default();
    let hidden = hidden_pixels(masks, images.device())?;
    let copies = hide(&normalised(images, range)?, &hidden)?;
    let outputs = net.forward_t(&copies, train)?;
    denormalised(&compose(&outputs, &hidden)?, range)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let device = Device::Cpu;
    let images = stripes(&device)?;

    let architecture = Architecture::u_net(4);
    let mut variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &device);
    let net = UNet::new(&architecture.network()?, vb)?;
    // candle's CPU cannot be seeded.
    variables.set(tensors(&Weights::initial(architecture, 1)?, &device)?.into_iter())?;

    let parameters = ParamsAdamW {
        lr: 2e-2,
        ..Default::default()
    };
    let mut optimiser = AdamW::new(variables.all_vars(), parameters)?;
    for step in 1..=10 {
        let masks = (0..4).map(|image| Masks::sample(4, 3, SIZE, 4 * step + image));
        let masks = masks.collect::<std::result::Result<Vec<_>, _>>()?;
        let reconstructions = reconstruct(&net, &images, &masks, true)?;
        let losses = loss(&images, &reconstructions, LossWeights::default())?;
        optimiser.backward_step(&losses.total)?;
        let terms = losses.read()?;
        println!(
            "step {step:2}: loss {:.4} (L2 {:.4}, SSIM {:.4}, MSGMS {:.4})",
            terms.total, terms.l2, terms.ssim, terms.msgms
        );
    }

    // Ten steps move the running statistics of batch norms by two thirds of the way: a few passes more let them arrive.
    for pass in 0..30 {
        let masks = Masks::sample(4, 3, SIZE, pass)?;
        reconstruct(&net, &images, &[masks], true)?;
    }

    // `variables.save(path)` would write a file that `riad score` takes.
    let net = net.folded()?;
    let good = images.get(0)?.unsqueeze(0)?;
    let hole = Tensor::full(0.5f32, (1, 3, 10, 10), &device)?;
    let faulty = good.slice_assign(&[0..1, 0..3, 10..20, 12..22], &hole)?;
    for (name, image) in [("good", good), ("faulty", faulty)] {
        let masks = Masks::sample(4, 3, SIZE, 0)?;
        let reconstruction = reconstruct(&net, &image, &[masks], false)?;
        let map = anomaly_map(&image, &reconstruction, 2, 5)?;
        println!("{name}: score {:.4}", map.max_all()?.to_scalar::<f32>()?);
    }
    Ok(())
}
