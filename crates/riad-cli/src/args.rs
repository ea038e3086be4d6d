//! The command line: what can be asked for, with its help.

use std::{iter, num::NonZeroUsize, path::PathBuf, str::FromStr};

use clap::{
    ArgAction, Args, Id, Parser, Subcommand, ValueEnum, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};
use riad_data::Layout;
use riad_model::{Device, Precision};
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
/// A network learns from good products only. It fills in hidden parts of an image, or restores the image from its edges. A part
/// that it cannot restore is a defect.
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
  riad train photos/good --out runs/lid                 learn from a folder of good pictures
  riad eval --model runs/lid --good more --bad bad      measure it on pictures that you know
  riad score --model runs/lid photos/today              a score each: larger is more anomalous
  riad score --model runs/lid photos/today --fpr 0.05   a verdict, too: one false alarm in 20
  riad eval --model runs/bottle data/bottle             on a data set in MVTec AD's layout";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Read options from a TOML file. Its keys are the long option names. An option on the command line wins over the file
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Number of threads to compute with [default: one per core]. It does not change results
    #[arg(long, value_name = "N", global = true)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Memory for all images that are decoded at the same time, such as 512MiB or 4GiB. An image that needs more alone is
    /// named and refused. The others go on
    #[arg(long, value_name = "BYTES", global = true, default_value = "1GiB", value_parser = parse_memory)]
    pub(crate) decode_memory: u64,
    /// Print more. Given twice: print everything, with backtraces of errors
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Print only warnings and errors. Given twice: print only errors
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

/// Make the demo data set: a texture and an object, both made up, with defects and their masks
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  riad demo-data demo\n  riad eval demo")]
pub(crate) struct DemoDataArgs {
    /// Folder to make
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// Number that decides what the images show
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

/// Train a network on good images
#[derive(Debug, Args)]
#[command(after_help = "\
DATA is a folder of good images, or the folder of a category in a data set (MVTec AD:
train/good/*.png, …; --format lists the others). With --category, DATA is a folder of such
folders. If a data set has its own images for validation (MVTec AD 2, MVTec LOCO), the program
holds them out and trains on all others.

Ctrl-C stops after the current step. --resume goes on. The resumed run ends in the same bytes as
a run that was never stopped. The same holds for a run that was killed.

Examples:
  riad train photos/good --out runs/lid
  riad train data/mvtec/bottle
  riad train data/mvtec --category bottle --preset small --out runs/small
  riad train data/visa --category candle --format visa
  riad train photos/good --size 256 --max-time 30m
  riad train photos/labels --size 96x320 --out runs/labels
  riad train photos/web --tile 256 --overlap 64 --out runs/web
  riad train photos/cast --bands '*_light{0..3}.png' --out runs/cast
  riad train --resume runs/bottle")]
pub(crate) struct TrainArgs {
    /// Folder of images to learn from. With --resume, name it only if the images have moved
    #[arg(value_name = "DATA", required_unless_present = "resume", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) category: CategoryArgs,
    /// Folder of the run [default: runs/<category>]
    #[arg(long, value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
    /// Go on with this run from its last save
    #[arg(long, value_name = "RUN", conflicts_with = "out", value_hint = ValueHint::DirPath)]
    pub(crate) resume: Option<PathBuf>,
    /// Start with the weights of this run or checkpoint instead of random ones. --method, --preset, --size and --channels have
    /// its values by default. Method, preset and channels must be the same. The run keeps a digest of these weights
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
The first sentence says how many defects are found and how many good images are stopped. Each
number has a range that contains the true share with a confidence of 95 %. The threshold is that
of --fpr. Without --fpr it is that of 0.05, if the calibration has enough images. Then come the
worst misses, and the metrics.

eval writes report.html, results.json and scores.csv to the folder of --out, which must lie
outside of DATA. Without --model it trains first, each category in <OUT>/<category>/run. If a run
is there, eval goes on with it or uses it again. With --model RUN and without DATA it measures on
the data that the run was trained with. With neither, it runs the demo in the folder riad-demo.

A category or an image that cannot be measured is named. The others are measured, and the exit
code is 1. A defect without a mask counts in image metrics only. results.json names these
defects.

F1-max uses the threshold that is best for the labels of the test images. Nobody knows this
threshold beforehand. The calibrated threshold does not use these labels. Calibrate with other
images than the test images.

Examples:
  riad eval
  riad eval --model runs/lid --good photos/more-good --bad photos/bad
  riad eval --model runs/lid --synthetic
  riad eval data/mvtec/bottle --model runs/bottle --fpr 0.05
  riad eval data/mvtec --max-time 10m --out runs/mvtec
  riad eval data/mvtec --category bottle --model checkpoint.pt")]
pub(crate) struct EvalArgs {
    /// Folder of a category in a data set, or a folder of such folders
    #[arg(value_name = "DATA", conflicts_with = "PhotosArgs", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) photos: PhotosArgs,
    /// Make up defects of growing size on the pictures of --good, or on the pictures that the run held out. Say from which
    /// size on they are found. It cannot say how many real defects are found. --seed draws them
    #[arg(long, requires = "model", conflicts_with_all = ["data", "category", "format", "bad"])]
    pub(crate) synthetic: bool,
    /// Run, checkpoint or PyTorch state dict to measure
    #[arg(
        long,
        value_name = "RUN|FILE",
        conflicts_with_all = training_options(),
        value_hint = ValueHint::AnyPath
    )]
    pub(crate) model: Option<PathBuf>,
    /// Category of DATA [default: all]
    #[arg(long, value_name = "NAME", conflicts_with = "PhotosArgs")]
    pub(crate) category: Option<String>,
    /// Layout of DATA. auto finds it by the folders and files in DATA
    #[arg(
        long,
        value_name = "NAME",
        default_value = "auto",
        value_parser = format_parser(),
        conflicts_with = "PhotosArgs"
    )]
    pub(crate) format: DataFormat,
    /// Folder to write to [default: <RUN>/eval with --model RUN, riad-demo for the demo, otherwise runs/eval]
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

/// The options of training that conflict with `--model`: all but the seed, because the seed also draws made-up defects.
fn training_options() -> Vec<Id> {
    let command = TrainingArgs::augment_args(clap::Command::new(""));
    let options = command.get_arguments().map(clap::Arg::get_id);
    options.filter(|id| *id != "seed").cloned().collect()
}

/// Show what a run's model finds, as one HTML file that needs no network
#[derive(Debug, Args)]
#[command(after_help = "\
This is the report that `eval` writes. `report` makes it from a run alone, at any time. It scores
the run's test images again, with the same result. Several runs come into one report, one after
the other. If a run has no test images, the report shows the good images that the run held out
from training.

Without --fpr the verdicts use the threshold for 0.05. If the model has too few calibration images
for 0.05, they use the threshold that is best for the labels of the test images.

Examples:
  riad report runs/lid
  riad report runs/lid --fpr 0.01
  riad report runs/bottle runs/cable --out report.html")]
pub(crate) struct ReportArgs {
    /// Folders of runs
    #[arg(value_name = "RUN", required = true, value_hint = ValueHint::DirPath)]
    pub(crate) runs: Vec<PathBuf>,
    /// File to write [default: report.html in the folder of the RUN, if only one is given]
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
calibrate keeps the scores of the images in the model, and replaces earlier ones. --fpr of
`score` and `eval` takes its thresholds from these scores. A false-positive rate R needs at least
1/R - 1 images: 19 for 0.05, 99 for 0.01. The images must be like the good images to come: the
same product, camera and light. Do not choose them by their scores. Calibrate again when the
light has changed.

An image that cannot be read is named and left out, and the exit code is 1. `train` calibrates by
itself, with the images of --calibration. If a run is trained further, it loses its calibration.

Examples:
  riad calibrate --model runs/lid photos/more-good
  riad calibrate --model runs/lid photos/more-good --roi lid-mask.png
  riad calibrate --model checkpoint.pt photos/good --out calibrated.safetensors")]
pub(crate) struct CalibrateArgs {
    /// Run, checkpoint or PyTorch state dict to calibrate
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Good images, and folders of good images with their subfolders
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Leave out the images that this file names, one in a line. calibrate writes such a file for unusual images
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) without: Option<PathBuf>,
    /// From now on, look for defects only where this mask image is not black. It replaces the model's own region
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) roi: Option<PathBuf>,
    /// File for the calibrated model [default: best.safetensors of the RUN]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) images: BandsArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Score images: a larger score is more anomalous
#[derive(Debug, Args)]
#[command(after_help = "\
Only scores go to standard output: one line per image, in order, as soon as the score is known.
If an image cannot be read, a message goes to standard error (and {\"path\", \"error\"} to a
jsonl). The others are scored, and the exit code is 1. Defects do not change the exit code.
Hidden folders are passed over, and so are folders that operating systems add (__MACOSX, @eaDir,
$RECYCLE.BIN).

In each path that this program writes, % and two hexadecimal digits stand for one byte. These
bytes are written so: % itself, control characters, bytes that are not UTF-8, ; and a leading =,
+, - or @. So no name is a command to a spreadsheet or a terminal. In Python,
urllib.parse.unquote_to_bytes(path) gives the exact name back.

With --fpr R each line has a p-value and a verdict. The p-value is the probability that a good
image scores at least as high. The verdict is defective if the p-value is at most R.

An image is defective if a pixel of its map is above the threshold. In jsonl, \"regions\" are the
parts of the map above the threshold, the highest peak first. Each has the x, y, width and height
of its box, its area and its peak, in pixels of the image's file. Boxes and areas are measured on
the map. The map is coarser than the file if the image was made smaller.

MVTec's evaluation scripts read <maps>/<category>/test/<defect>/<image>.tiff. The last example
writes maps to such paths.

Examples:
  riad score --model runs/bottle photos/today > scores.csv
  riad score --model runs/bottle photos/today --fpr 0.05
  riad score --model runs/bottle a.png b.jpg --format jsonl
  riad score --model runs/bottle photos/today --maps maps
  riad score --model runs/bottle mvtec/bottle/test --maps maps/bottle/test --map-format tiff")]
pub(crate) struct ScoreArgs {
    /// Run, checkpoint or PyTorch state dict to score with
    #[arg(long, value_name = "RUN|FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Image files, and folders of images with their subfolders
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
onnx is one graph. Its input `image` is [N, C, H, W] in [0, 1] with the model's channels (RGB if
there are 3). Its outputs are `map`, [N, H, W], and `score`, [N]. The scores are those of `riad
score`, within 1e-4. The metadata say how a file becomes `image`. If the model is calibrated,
they also hold its thresholds.

Examples:
  riad export --model runs/bottle --format onnx --out bottle.onnx
  riad export --model checkpoint.pt --format onnx-network --out network.onnx
  riad export --model runs/bottle --format torch --out bottle.pt")]
pub(crate) struct ExportArgs {
    /// Run, checkpoint or PyTorch state dict to export
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
    /// The network's weights as a PyTorch state dict, with the names that public implementations use. It does not
    /// have the method, settings, thresholds, white level or region of interest: read again, it is taken for RIAD
    Torch,
}

/// Show what a model is and how it was trained
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

/// Where good images are in DATA.
#[derive(Debug, Args)]
pub(crate) struct CategoryArgs {
    /// Category of DATA, if DATA holds several
    #[arg(long = "category", value_name = "NAME", requires = "data")]
    pub(crate) name: Option<String>,
    /// Layout of DATA. auto finds it by the folders and files in DATA
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = format_parser())]
    pub(crate) format: DataFormat,
}

/// The layout that was asked for. `None`: the program finds it by the folders and files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataFormat(pub(crate) Option<Layout>);

fn format_parser() -> impl TypedValueParser<Value = DataFormat> {
    let names = iter::once("auto").chain(Layout::ALL.iter().map(|layout| layout.name()));
    PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
        "auto" => Ok(DataFormat(None)),
        name => name.parse().map(|layout| DataFormat(Some(layout))),
    })
}

/// Takes the names of all these values, and shows them in help.
fn named<T>(all: &[T], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T> + use<T>
where
    T: Copy + FromStr<Err: std::error::Error + Send + Sync> + Send + Sync + 'static,
{
    let names: Vec<_> = all.iter().map(|&value| name(value)).collect();
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
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
