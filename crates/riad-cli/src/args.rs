//! The command line: what can be asked for, with its help.

#![allow(
    rustdoc::invalid_html_tags,
    reason = "clap prints these comments, and <NAME> is what people know from help"
)]

use std::{iter, num::NonZeroUsize, path::PathBuf};

use clap::{
    ArgAction, Args, Id, Parser, Subcommand, ValueEnum, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};
use riad_data::Layout;
use riad_model::{Device, Precision, Preset};
use tracing::warn;

use riad::Compute;

use crate::memory::parse_memory;

mod bands;
mod bench;
mod check;
mod compare;
mod maps;
mod photos;
mod serve;
mod sinks;
mod size;
mod system;
mod training;
mod verdict;
mod watch;

pub(crate) use bands::BandsArgs;
pub(crate) use bench::BenchArgs;
pub(crate) use check::CheckArgs;
pub(crate) use compare::CompareArgs;
pub(crate) use maps::MapArgs;
pub(crate) use photos::PhotosArgs;
pub(crate) use serve::ServeArgs;
pub(crate) use sinks::SinkArgs;
pub(crate) use system::{CompletionsArgs, ManArgs};
pub(crate) use training::TrainingArgs;
pub(crate) use verdict::{VerdictArgs, warn_of_precision};
pub(crate) use watch::{ByName, WatchArgs};

/// Finds defects in pictures of products after seeing only good ones.
///
/// A network that has only ever seen good products fills in hidden parts of an image, or restores the image from its edges.
/// Where it cannot, there is a defect.
#[derive(Debug, Parser)]
#[command(name = "riad", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  riad eval                                             see it work: demo, training, report
  riad train photos/good --size 128 --out runs/lid      learn from a folder of good pictures
  riad eval --model runs/lid --good more --bad bad      how good is it, on pictures that you know
  riad score --model runs/lid photos/today              one score each, the larger the more anomalous
  riad score --model runs/lid photos/today --fpr 0.05   with verdicts: one false alarm in 20
  riad eval --model runs/bottle data/bottle             on a data set in MVTec AD's layout";

/// TrainingOptions of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Read options from a TOML file whose keys are the long option names; the command line goes before it
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Threads to compute with [default: one per core]. Results do not depend on it
    #[arg(long, value_name = "N", global = true)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// What all images that are decoded at the same time may take in memory together, such as 512MiB or 4GiB. An image that
    /// takes more by itself is refused by name, and the others go on
    #[arg(long, value_name = "BYTES", global = true, default_value = "1GiB", value_parser = parse_memory)]
    pub(crate) decode_memory: u64,
    /// Say more; twice: everything, with backtraces of errors
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Say less: only warnings and errors; twice: only errors
    #[arg(short, long, action = ArgAction::Count, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    DemoData(DemoDataArgs),
    Check(CheckArgs),
    Train(TrainArgs),
    Calibrate(CalibrateArgs),
    Eval(EvalArgs),
    Report(ReportArgs),
    Compare(CompareArgs),
    Score(ScoreArgs),
    Export(ExportArgs),
    Watch(WatchArgs),
    Serve(Box<ServeArgs>),
    Info(InfoArgs),
    Bench(BenchArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Make the demo data set: two made-up products, a texture and an object, with defects and their masks
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  riad demo-data demo\n  riad eval demo --size 128")]
pub(crate) struct DemoDataArgs {
    /// Folder to make
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// Decides what the images show
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

/// Train a network on good images
#[derive(Debug, Args)]
#[command(after_help = "\
DATA is a category's folder of a data set (MVTec AD: train/good/*.png, …; the others are listed at --format), a folder of
such folders with --category, or simply a folder of good images. Where a data set has images for validation of its own
(MVTec AD 2, MVTec LOCO), those are held out and all others are trained on. Ctrl-C stops after the step under way and leaves a run that --resume takes up; the resumed run
ends in the same bytes as one that was never stopped, and so does one that was killed.

Examples:
  riad train photos/good --size 128 --out runs/lid
  riad train data/mvtec/bottle --size 128
  riad train data/mvtec --category bottle --preset small --out runs/small
  riad train data/visa --category candle --format visa
  riad train photos/good --size 128 --epochs 50 --max-time 30m
  riad train photos/labels --size 96x320 --out runs/labels
  riad train photos/web --tile 256 --overlap 64 --out runs/web
  riad train photos/cast --bands '*_light{0..3}.png' --out runs/cast
  riad train --resume runs/bottle")]
pub(crate) struct TrainArgs {
    /// Images to learn from; with --resume only if they have moved
    #[arg(value_name = "DATA", required_unless_present = "resume", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// Which category of DATA, where it holds several
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Option<String>,
    /// How DATA is laid out; auto tells it by what is there
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = format_parser())]
    pub(crate) format: DataFormat,
    /// Folder of the run [default: runs/<category>]
    #[arg(long, value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
    /// Take up this run where it was last saved
    #[arg(long, value_name = "RUN", conflicts_with = "out", value_hint = ValueHint::DirPath)]
    pub(crate) resume: Option<PathBuf>,
    /// Start with the weights of this run or checkpoint instead of random ones. What is not given of --method, --preset, --size and
    /// --channels is as there; method, preset and channels must be. The run remembers by a digest which weights they were
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Measure how well defects are found
#[derive(Debug, Args)]
#[command(after_help = "\
Begins with what one wants to know: how many defects are found and how many good ones stopped, each with the range that
the true share lies in with a confidence of 95 %, at the threshold for --fpr, or else for 0.05 if the calibration allows
it. Then come the worst misses, and the metrics.

--good and --bad take your own pictures, without masks or a layout. --synthetic makes up defects of growing size on good
pictures, those of --good or else those that the run held out, and tells from which size on they are found; how many real
ones are found it cannot tell.

Writes report.html, results.json and scores.csv to the folder of --out, which must lie outside of DATA. Without --model
it trains first, each category in <OUT>/<category>/run, and takes up or uses again what it finds there. Without DATA,
--model RUN is measured on the data that it was trained with. With neither, it runs the demo in the folder riad-demo.

A category or an image that cannot be measured is named, the others are measured, and the exit code is 1. Defects without
a mask count as images alone: pixel metrics are those of the other images, and results.json names the ones without.

F1-max is reached at the threshold that is best for the test images' own labels, which nobody has beforehand. The
calibrated threshold was set without them; calibrate with other images than those measured on.

Examples:
  riad eval
  riad eval --model runs/lid --good photos/more-good --bad photos/bad
  riad eval --model runs/lid --synthetic
  riad eval data/mvtec/bottle --model runs/bottle --fpr 0.05
  riad eval data/mvtec --max-time 10m --out runs/mvtec
  riad eval data/mvtec --category bottle --model checkpoint.pt")]
pub(crate) struct EvalArgs {
    /// A category's folder of a data set, or a folder of such
    #[arg(value_name = "DATA", conflicts_with = "PhotosArgs", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) photos: PhotosArgs,
    /// Make up defects of growing size on the pictures of --good, or else on those that the run held out, and tell from
    /// which size on they are found; --seed draws them
    #[arg(long, requires = "model", conflicts_with_all = ["data", "category", "format", "bad"])]
    pub(crate) synthetic: bool,
    /// The run's folder or checkpoint to measure, a PyTorch state dict included
    #[arg(
        long,
        value_name = "RUN|FILE",
        conflicts_with_all = training_options(),
        value_hint = ValueHint::AnyPath
    )]
    pub(crate) model: Option<PathBuf>,
    /// Which category of DATA [default: all]
    #[arg(long, value_name = "NAME", conflicts_with = "PhotosArgs")]
    pub(crate) category: Option<String>,
    /// How DATA is laid out; auto tells it by what is there
    #[arg(
        long,
        value_name = "NAME",
        default_value = "auto",
        value_parser = format_parser(),
        conflicts_with = "PhotosArgs"
    )]
    pub(crate) format: DataFormat,
    /// Folder to write to [default: <RUN>/eval with --model RUN, riad-demo for the demo, else runs/eval]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// The options of training that a model which is there rules out: all but the seed, which draws made-up defects, too.
fn training_options() -> Vec<Id> {
    let command = TrainingArgs::augment_args(clap::Command::new(""));
    let options = command.get_arguments().map(clap::Arg::get_id);
    options.filter(|id| *id != "seed").cloned().collect()
}

/// Show what a run's model finds, as one HTML file that needs no network
#[derive(Debug, Args)]
#[command(after_help = "\
The report that `eval` writes beside results.json, made at any time from a run alone: its test images are scored again,
which gives the same as before. Several runs come into one report, one after the other. A run on a folder without test
images shows the good ones that it held out from training.

With --fpr the verdicts are those of the threshold for this false-positive rate; without, for 0.05, or, where the model
is not calibrated with enough images for it, of the threshold that is best for the test images' own labels.

Examples:
  riad report runs/lid
  riad report runs/lid --fpr 0.01
  riad report runs/bottle runs/cable --out report.html")]
pub(crate) struct ReportArgs {
    /// Folders of runs
    #[arg(value_name = "RUN", required = true, value_hint = ValueHint::DirPath)]
    pub(crate) runs: Vec<PathBuf>,
    /// File to write [default: report.html in the RUN, if there is one]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// Calibrate a model's thresholds with good images that it was not trained with
#[derive(Debug, Args)]
#[command(after_help = "\
Keeps the scores of the images in the model, in place of those that it may have; --fpr of `score` and `eval` takes its
thresholds from them. A false-positive rate R takes at least 1/R - 1 images: 19 for 0.05, 99 for 0.01. They must be what
a good image will be: the same product, camera and light, picked without a look at their scores. So calibrate again when
the light has changed. An image that cannot be read is named and left out, and the exit code is 1. `train` calibrates by itself with the images of --calibration; training a run further discards
its calibration.

Examples:
  riad calibrate --model runs/lid photos/more-good
  riad calibrate --model runs/lid photos/more-good --roi lid-mask.png
  riad calibrate --model checkpoint.pt photos/good --out calibrated.safetensors")]
pub(crate) struct CalibrateArgs {
    /// The run's folder or checkpoint to calibrate, a PyTorch state dict included
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Good images, and folders of such with their subfolders
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Leave out the images that this file names, one in a line, as calibrate itself writes it for unusual images
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) without: Option<PathBuf>,
    /// Look for defects only where this mask image is not black from now on, instead of where the model did
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) roi: Option<PathBuf>,
    /// File to write the calibrated model to [default: the run's best.safetensors, for a RUN]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Score images: the larger the score, the more anomalous
#[derive(Debug, Args)]
#[command(after_help = "\
Only scores go to standard output, one line per image, in order, as soon as they are known. An image that cannot be read
is reported on standard error (and as {\"path\", \"error\"} in jsonl), the others are scored, and the exit code is 1.
Defects that were found do not change the exit code. Folders that operating systems add (__MACOSX, @eaDir, $RECYCLE.BIN)
and hidden ones are passed over.

In a path, as in every file and line that this program writes, % and two hexadecimal digits stand for a byte: of % itself,
of control characters, of what is no UTF-8, of ; and of a =, +, - or @ at the beginning. So no name is a command to a
spreadsheet or a terminal, and every name comes back exactly: urllib.parse.unquote_to_bytes(path) in Python.

With --fpr R each line has a p-value, how likely a good image scores at least as high, and a verdict: defective where
that is at most R. Of good images at most the share R is called defective, on average over calibrations, whatever the
scores' distribution; with --confidence C the share stays below R with this probability, and verdicts come from the
higher threshold that this takes. An image is defective where its map is above the threshold, and so are those pixels.
In jsonl, \"regions\" are the parts that are above it, the highest peak first: x, y, width and height of the box around
each, its area and its peak, in pixels of the image's file. Boxes and areas are measured on the map, which is coarser
where the image was made smaller to be looked at.

MVTec's evaluation scripts read <maps>/<category>/test/<defect>/<image>.tiff; the last example lays maps out so.

Examples:
  riad score --model runs/bottle photos/today > scores.csv
  riad score --model runs/bottle photos/today --fpr 0.05
  riad score --model runs/bottle a.png b.jpg --format jsonl
  riad score --model runs/bottle photos/today --maps maps
  riad score --model runs/bottle mvtec/bottle/test --maps maps/bottle/test --map-format tiff")]
pub(crate) struct ScoreArgs {
    /// The run's folder or checkpoint to score with, a PyTorch state dict included
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Image files, and folders whose images are scored with those of their subfolders
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// What to write to standard output
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) verdict: VerdictArgs,
    #[command(flatten)]
    pub(crate) maps: MapArgs,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A header, then path,score; with --fpr path,score,p_value,verdict
    Csv,
    /// {"path": …, "score": …} per line; with --fpr also "p_value", "verdict" and "regions"
    Jsonl,
}

/// Write a model for other programs
#[derive(Debug, Args)]
#[command(after_help = "\
onnx is one graph from `image`, [N, C, H, W] in [0, 1] with the model's channels, RGB if there are 3, to `map`, [N, H, W],
and `score`, [N]: the scores of `riad score`, within 1e-4. Its metadata tell how a file becomes `image`, and the thresholds
of a calibrated model.

Examples:
  riad export --model runs/bottle --format onnx --out bottle.onnx
  riad export --model checkpoint.pt --format onnx-network --out network.onnx
  riad export --model runs/bottle --format torch --out bottle.pt")]
pub(crate) struct ExportArgs {
    /// The run's folder or checkpoint to export, a PyTorch state dict included
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    /// File to write
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// The whole scorer as an ONNX graph: image in, map and score out
    Onnx,
    /// The network alone as an ONNX graph: an image with hidden regions in, the whole image out
    OnnxNetwork,
    /// The network's weights as a PyTorch state dict, under the names of the public implementations; no settings, thresholds,
    /// white level or region of interest
    Torch,
}

/// Tell what a model is and how it was trained
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  riad info runs/bottle\n  riad info checkpoint.pth --json")]
pub(crate) struct InfoArgs {
    /// A run's folder or a checkpoint
    #[arg(value_name = "FILE|RUN", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where to compute.
#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    /// auto, cpu, cuda, cuda:N, candle-cuda, candle-cuda:N or metal; auto is a GPU that this build drives, else the CPU.
    /// candle-cuda is an NVIDIA GPU by candle's kernels instead of our own
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

/// Where and in what numbers to compute.
#[derive(Debug, Args)]
pub(crate) struct ComputeArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// What the network multiplies: f32, tf32 or bf16 [default: f32; tf32 to train on an NVIDIA GPU]. The last two are for
    /// NVIDIA GPUs, to train and to score; bf16 is also for processors with AMX (Intel Xeon from 2023 on), to score. In
    /// bf16 scores differ by about a thousandth, so calibrate in what you score in
    #[arg(long, value_name = "NAME", value_parser = precision_parser())]
    precision: Option<Precision>,
}

impl ComputeArgs {
    /// The device asked for, with the precision to score in.
    pub(crate) fn compute(&self) -> riad_model::Result<Compute> {
        let (device, precision) = (self.device()?, self.precision.unwrap_or_default());
        // Before anything is read, trained or written.
        precision.check_scoring(&device)?;
        Ok(Compute { device, precision })
    }

    /// The device asked for.
    pub(crate) fn device(&self) -> riad_model::Result<Device> {
        self.device.device()
    }

    /// The precision asked for to train in, by commands that score as well: on a CPU it is that of scoring alone.
    pub(crate) fn training_precision(&self, device: &Device) -> Option<Precision> {
        self.precision.filter(|_| device.kind() == "cuda")
    }

    /// The precision asked for, if any.
    pub(crate) fn precision(&self) -> Option<Precision> {
        self.precision
    }
}

fn precision_parser() -> impl TypedValueParser<Value = Precision> {
    let names = Precision::ALL.iter().map(|precision| precision.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Precision>())
}

/// The layout that was asked for; `None` to tell it by what is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataFormat(pub(crate) Option<Layout>);

fn format_parser() -> impl TypedValueParser<Value = DataFormat> {
    let names = iter::once("auto").chain(Layout::ALL.iter().map(|layout| layout.name()));
    PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
        "auto" => Ok(DataFormat(None)),
        name => name.parse().map(|layout| DataFormat(Some(layout))),
    })
}

fn preset_parser() -> impl TypedValueParser<Value = Preset> {
    let names = Preset::ALL.iter().map(|preset| preset.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Preset>())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
