//! `cargo xtask ablate`: what each part of the method is worth, and what it is compared with, over several seeds.
//!
//! Every variant is `riad eval` with other options, in `OUT/<category>/<options>/seed-<n>`. Variants that differ in no
//! option are one and the same, so the default is trained once for all groups. A sweep that was broken off goes on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{self, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::process;
use crate::sweep::{Metrics, categories, finish, method, read_results, record, watch_interrupts, write, write_json};

/// Trains and evaluates variants of the method on every category, over several seeds, and prints a table for each group
/// with means and standard deviations. Variants are of RIAD unless they name another method.
///
/// If it runs again, it goes on where it stopped, and adds new seeds, groups and categories.
#[derive(Debug, Args)]
pub(crate) struct Ablate {
    /// Folder that holds the categories, each with train/good (MVTec AD's layout), or one category's folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder for runs, results and the tables [default: runs/ablate in the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Groups of variants to run
    #[arg(long, value_enum, value_name = "GROUP", value_delimiter = ',', default_values_t = Group::DEFAULT)]
    groups: Vec<Group>,
    /// Seeds of each variant: 0, 1, …
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Use this riad program instead of building it
    #[arg(long, value_name = "FILE")]
    riad: Option<PathBuf>,
    /// Further options for every `riad eval`, such as --epochs 40
    #[arg(last = true, value_name = "TRAIN_OPTIONS")]
    train_args: Vec<String>,
}

/// Restoration as it is by default.
const RESTORE: &[&str] = &["--method", "restore"];

/// What varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// RIAD against restoration, and plain autoencoders with each loss
    Methods,
    /// Input of the network of restoration
    Input,
    /// Weight of differences in colour in restoration's maps
    Chroma,
    /// Terms of restoration's loss
    RestoreLoss,
    /// Region sizes K
    Regions,
    /// Mask sets n
    Sets,
    /// The loss without each of its terms
    Loss,
    /// How maps compare
    Similarity,
    /// The mean filter over maps
    Smoothing,
    /// Scales of GMS in maps
    Scales,
    /// The default and the published protocol's maps, with the same training
    Protocol,
    /// Size of the network
    Preset,
    /// Size of the images
    Size,
}

impl Group {
    /// All that a machine without a GPU can do in bearable time.
    const DEFAULT: [Self; 8] = [
        Self::Methods,
        Self::Regions,
        Self::Sets,
        Self::Loss,
        Self::Similarity,
        Self::Smoothing,
        Self::Scales,
        Self::Protocol,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Methods => "Methods",
            Self::Input => "Input of the network of restoration",
            Self::Chroma => "Weight of differences in colour",
            Self::RestoreLoss => "Terms of restoration's loss",
            Self::Regions => "Region sizes K",
            Self::Sets => "Mask sets n",
            Self::Loss => "Terms of the loss",
            Self::Similarity => "How maps compare",
            Self::Smoothing => "Side of the mean filter",
            Self::Scales => "Scales of GMS",
            Self::Protocol => "Protocol",
            Self::Preset => "Network",
            Self::Size => "Image size",
        }
    }

    /// The variants' names with their options. No options are the default's.
    fn variants(self) -> Vec<(&'static str, &'static [&'static str])> {
        match self {
            Self::Methods => vec![
                ("RIAD", &[]),
                ("restore", RESTORE),
                ("autoencoder, l2", &["--method", "autoencoder", "--loss", "l2"]),
                ("autoencoder, l1", &["--method", "autoencoder", "--loss", "l1"]),
                ("autoencoder, ssim", &["--method", "autoencoder", "--loss", "ssim"]),
                ("autoencoder, msgms", &["--method", "autoencoder", "--loss", "msgms"]),
                ("autoencoder, riad", &["--method", "autoencoder"]),
            ],
            Self::Input => vec![
                ("edges of each colour", RESTORE),
                ("edges of grey", &["--method", "restore", "--input", "edges-grey"]),
                ("high pass", &["--method", "restore", "--input", "high-pass"]),
                ("the image", &["--method", "restore", "--input", "none"]),
            ],
            Self::Chroma => vec![
                ("0", &["--method", "restore", "--chroma", "0"]),
                ("10", &["--method", "restore", "--chroma", "10"]),
                ("50", RESTORE),
                ("200", &["--method", "restore", "--chroma", "200"]),
            ],
            Self::RestoreLoss => vec![
                ("l2 + ssim + msgms", RESTORE),
                ("l2 + ssim", &["--method", "restore", "--loss", "l2+ssim"]),
                ("l2 + msgms", &["--method", "restore", "--loss", "l2+msgms"]),
            ],
            Self::Regions => vec![
                ("2", &["--regions", "2"]),
                ("4", &["--regions", "4"]),
                ("8", &["--regions", "8"]),
                ("16", &["--regions", "16"]),
                ("2, 4, 8, 16", &[]),
            ],
            Self::Sets => vec![("2", &["--sets", "2"]), ("3", &[]), ("4", &["--sets", "4"])],
            Self::Loss => vec![
                ("l2 + ssim + msgms", &[]),
                ("ssim + msgms", &["--loss", "ssim+msgms"]),
                ("l2 + msgms", &["--loss", "l2+msgms"]),
                ("l2 + ssim", &["--loss", "l2+ssim"]),
            ],
            Self::Similarity => vec![
                ("gms-colour", &[]),
                ("gms-grey", &["--similarity", "gms-grey"]),
                ("ssim", &["--similarity", "ssim"]),
                ("l2", &["--similarity", "l2"]),
            ],
            Self::Smoothing => vec![
                ("default", &[]),
                ("1", &["--smoothing", "1"]),
                ("5", &["--smoothing", "5"]),
                ("11", &["--smoothing", "11"]),
                ("21", &["--smoothing", "21"]),
            ],
            Self::Scales => vec![
                ("2", &["--scales", "2"]),
                ("3", &["--scales", "3"]),
                ("4", &["--scales", "4"]),
            ],
            Self::Protocol => vec![
                ("default", &[]),
                (
                    "published maps",
                    &["--protocol", "paper", "--preset", "tiny", "--lr", "1e-3"],
                ),
            ],
            Self::Preset => vec![
                ("tiny", &[]),
                ("small", &["--preset", "small"]),
                ("paper", &["--preset", "paper"]),
            ],
            Self::Size => vec![
                ("default", &[]),
                ("64", &["--size", "64"]),
                ("128", &["--size", "128"]),
                ("256", &["--size", "256"]),
            ],
        }
    }
}

/// What decides the numbers of every variant.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    train: Vec<String>,
}

/// What decides the numbers of a category: another data set may have one of the same name.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    data: PathBuf,
}

/// Metrics of each seed, by the variant's options.
type Measured = BTreeMap<String, Vec<Metrics>>;

impl Ablate {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(self.seeds > 0, "--seeds must be at least 1");
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| crate::workspace_root().join("runs").join("ablate"));
        let data = path::absolute(&self.data).with_context(|| format!("cannot resolve {}", self.data.display()))?;
        let categories = categories(&data)?;
        fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
        let request = Request {
            train: self.train_args.clone(),
        };
        record(&request, &out)?;
        for (category, folder) in &categories {
            let of_category = out.join(category);
            fs::create_dir_all(&of_category).with_context(|| format!("cannot make {}", of_category.display()))?;
            record(&Source { data: folder.clone() }, &of_category)?;
        }
        let riad = match &self.riad {
            Some(path) => path
                .canonicalize()
                .with_context(|| format!("cannot find {}", path.display()))?,
            None => process::build(&["build", "--release", "-p", "riad-cli", "--bin", "riad"], "riad")?,
        };
        let interrupted = watch_interrupts()?;
        let mut variants: Vec<&[&str]> = Vec::new();
        for (_, options) in self.groups.iter().flat_map(|group| group.variants()) {
            if !variants.contains(&options) {
                variants.push(options);
            }
        }

        let total = categories.len() * self.seeds as usize * variants.len();
        let mut number = 0;
        let mut measured: BTreeMap<String, Measured> = BTreeMap::new();
        // Seed by seed, so that a sweep broken off has all variants side by side.
        for seed in 0..self.seeds {
            for (category, folder) in &categories {
                for &options in &variants {
                    number += 1;
                    let place = format!("[{number}/{total}] {category}, seed {seed}, {}", shown(options));
                    let dir = out.join(category).join(slug(options)).join(format!("seed-{seed}"));
                    let outcome = match read_results(&dir, category) {
                        Ok(outcome) => outcome,
                        Err(_) => {
                            let start = Instant::now();
                            let mut eval = Command::new(&riad);
                            eval.arg("eval").arg(folder).arg("--out").arg(&dir);
                            eval.args(&self.train_args).args(options);
                            let all = self
                                .train_args
                                .iter()
                                .map(String::as_str)
                                .chain(options.iter().copied());
                            eval.args(method(all));
                            let ended = finish(eval.args(["--seed", &seed.to_string(), "-q"]));
                            if interrupted.load(Ordering::SeqCst) {
                                bail!("interrupted in {place}; the same command goes on from there");
                            }
                            ended.with_context(|| place.clone())?;
                            eprintln!("{place}: done in {:.0} s", start.elapsed().as_secs_f64());
                            read_results(&dir, category)?
                        }
                    };
                    let of_category = measured.entry(category.clone()).or_default();
                    of_category.entry(slug(options)).or_default().push(outcome.metrics);
                }
            }
            let text = report(&self.groups, &measured, &self.train_args);
            write(&out.join("ablation.md"), text.as_bytes())?;
            write_json(&out.join("ablation.json"), &measured)?;
        }
        print!("{}", report(&self.groups, &measured, &self.train_args));
        eprintln!("written to {}: ablation.md, ablation.json", out.display());
        Ok(())
    }
}

/// A folder's name for these options.
fn slug(options: &[&str]) -> String {
    if options.is_empty() {
        return "default".into();
    }
    options.concat().trim_start_matches('-').replace("--", "_")
}

fn shown(options: &[&str]) -> String {
    if options.is_empty() {
        return "default".into();
    }
    options.join(" ")
}

fn report(groups: &[Group], measured: &BTreeMap<String, Measured>, train: &[String]) -> String {
    let mut text = String::from(
        "Per cent: mean over the seeds ± standard deviation (n − 1). Image scores and maps of the best epoch by validation \
         loss.\n",
    );
    if !train.is_empty() {
        let _ = writeln!(text, "Every run has the options `{}`.", train.join(" "));
    }
    for group in groups {
        let _ = write!(text, "\n## {}\n", group.title());
        for (category, variants) in measured {
            let _ = write!(
                text,
                "\n### {category}\n\n| | image AUROC | pixel AUROC | pixel AP | AUPRO | seeds |\n|---|---|---|---|---|---|\n"
            );
            for (name, options) in group.variants() {
                let Some(seeds) = variants.get(&slug(options)) else {
                    continue;
                };
                let column = |metric: fn(&Metrics) -> Option<f64>| {
                    let values: Option<Vec<f64>> = seeds.iter().map(metric).collect();
                    values.map_or_else(|| "–".to_owned(), |values| mean_and_deviation(&values))
                };
                let _ = writeln!(
                    text,
                    "| {name} | {} | {} | {} | {} | {} |",
                    column(|m| m.image_auroc),
                    column(|m| m.pixel_auroc),
                    column(|m| m.pixel_ap),
                    column(|m| m.aupro),
                    seeds.len()
                );
            }
        }
    }
    text
}

/// Mean of fractions, in per cent, with the sample's standard deviation where there are two or more.
fn mean_and_deviation(values: &[f64]) -> String {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return format!("{:.1}", 100.0 * mean);
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    format!("{:.1} ± {:.1}", 100.0 * mean, 100.0 * variance.sqrt())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Two variants in one folder would be taken for each other.
    #[test]
    fn folders_tell_variants_apart() {
        let all: Vec<&[&str]> = Group::value_variants()
            .iter()
            .flat_map(|group| group.variants())
            .map(|(_, options)| options)
            .collect();
        let options: BTreeSet<_> = all.iter().collect();
        let slugs: BTreeSet<_> = all.iter().map(|options| slug(options)).collect();
        assert_eq!(options.len(), slugs.len());
        assert_eq!(
            slug(&["--method", "autoencoder", "--loss", "l2"]),
            "methodautoencoder_lossl2"
        );
    }

    /// numpy: np.mean([.9, .95, .97]), np.std([.9, .95, .97], ddof=1)
    #[test]
    fn deviations_are_the_samples() {
        assert_eq!(mean_and_deviation(&[0.9, 0.95, 0.97]), "94.0 ± 3.6");
        assert_eq!(mean_and_deviation(&[0.9]), "90.0");
    }
}
