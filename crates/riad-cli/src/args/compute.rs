//! Where and how to compute.

use clap::Args;
use riad::Compute;
use riad_model::{Device, Precision};
use tracing::warn;

use super::named;

/// Where to compute.
#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    /// auto, cpu, cuda, cuda:N, candle-cuda, candle-cuda:N or metal. auto is a GPU that this build can use, otherwise the CPU.
    /// candle-cuda is an NVIDIA GPU with candle's kernels instead of our own
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
}

impl DeviceArgs {
    /// The device asked for. A build for GPUs that falls back to the CPU says why.
    pub(crate) fn device(&self) -> riad_model::Result<Device> {
        if self.device != "auto" {
            return riad_model::device(&self.device);
        }
        riad_model::gpu().or_else(|reason| {
            if cfg!(any(feature = "cuda", feature = "candle-cuda", feature = "metal")) {
                warn!("{reason}; computing on the CPU");
            }
            Ok(Device::CPU)
        })
    }
}

/// The device and the precision to compute with.
#[derive(Debug, Args)]
pub(crate) struct ComputeArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// Precision of multiplications: f32, tf32 or bf16 [default: f32; tf32 to train on an NVIDIA GPU]. NVIDIA GPUs train and
    /// score in all three. Processors with AMX (Intel Xeon from 2023 on) can score in bf16. Scores in bf16 differ by about a
    /// thousandth, so calibrate in the precision that you score in
    #[arg(long, value_name = "NAME", value_parser = named(Precision::ALL, Precision::name))]
    precision: Option<Precision>,
}

impl ComputeArgs {
    /// The device asked for, with the precision to score in.
    pub(crate) fn compute(&self) -> riad_model::Result<Compute> {
        let (device, precision) = (self.device()?, self.precision.unwrap_or_default());
        // Before anything is read, trained or written.
        precision.check_scoring(&device)?;
        Ok(Compute::on(device).with_precision(precision))
    }

    /// The device asked for.
    pub(crate) fn device(&self) -> riad_model::Result<Device> {
        self.device.device()
    }

    /// The precision to train in, for commands that also score. On a CPU, `--precision` is for scoring only.
    pub(crate) fn training_precision(&self, device: &Device) -> Option<Precision> {
        self.precision.filter(|_| device.kind() == "cuda")
    }

    /// The precision asked for, if any.
    pub(crate) fn precision(&self) -> Option<Precision> {
        self.precision
    }
}
