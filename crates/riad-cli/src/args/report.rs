//! The command line of `riad report`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{DeviceArgs, VerdictArgs};

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
