//! `riad eval`: train where needed, measure, show.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use riad_data::{
    Category, Layout, Pattern,
    demo::{self, Demo},
};
use riad_model::{Checkpoint, Device, Preset, Roi};
use tracing::info;

use super::train::categories;
use crate::{
    Ending,
    args::{EvalArgs, TrainingArgs, VerdictArgs},
    baseline::MeanImage,
    evaluation::evaluate,
    facts::facts,
    files::shell_quoted,
    history,
    interrupt::Reason,
    report,
    results::{self, CategoryResult},
    run::{Run, Trained, bands_of},
    scoring::{Compute, Model},
    usage,
};

/// Where results go that belong to no run.
const OUT: &str = "runs/eval";

/// What `riad eval` does alone: enough training for the demo set, within a few minutes on two cores.
mod demo_settings {
    use riad_core::Size;

    pub(super) const OUT: &str = "riad-demo";
    pub(super) const SIZE: Size = Size::new(128, 128);
    pub(super) const EPOCHS: usize = 12;
    pub(super) const BATCH: usize = 2;
    pub(super) const LEARNING_RATE: f64 = 2e-3;
}

/// What is to be evaluated.
struct Plan {
    /// The categories' folders, and how they are read.
    folders: Vec<PathBuf>,
    layout: Layout,
    /// What to measure; without, each category is trained first.
    model: Option<PathBuf>,
    out: PathBuf,
    /// Settings of runs that are not there yet.
    training: TrainingArgs,
    with_baseline: bool,
    /// Which thresholds to choose.
    verdict: VerdictArgs,
}

pub(crate) fn run(args: &EvalArgs) -> Result<Ending> {
    let compute = args.compute.compute()?;
    let given = TrainingArgs {
        precision: args.compute.training_precision(&compute.device),
        bands: args.images.bands.clone(),
        ..args.training.clone()
    };
    let plan = plan(args, &given)?;
    let mut results = Vec::new();
    for folder in &plan.folders {
        let own_run = || plan.out.join(folder.file_name().unwrap_or_default()).join("run");
        let bands = bands_of(&plan.model.clone().unwrap_or_else(own_run), args.images.bands.as_ref())?;
        let category = Category::open_as(folder, plan.layout, bands.as_ref())?;
        let model = match &plan.model {
            Some(model) => model.clone(),
            None => {
                let folder = plan.out.join(&category.name).join("run");
                if train(
                    &folder,
                    &category,
                    (&given, args.format.0),
                    &plan.training,
                    &compute.device,
                )? == Trained::Stopped(Reason::Pressed)
                {
                    info!("the same command goes on from here");
                    return Ok(Ending::Interrupted);
                }
                folder
            }
        };
        let model = (model.as_path(), bands.as_ref());
        results.push(measure(&category, model, plan.verdict, plan.with_baseline, &compute)?);
    }
    results::write(&plan.out, &results)?;
    let shown = plan.out.join(report::FILE);
    report::write(&shown, &results)?;
    writeln!(io::stdout(), "{}", results::table(&results))?;
    info!(
        "results.json and scores.csv are in {}; to see it all, open {}",
        shell_quoted(&plan.out),
        shell_quoted(&shown)
    );
    Ok(Ending::Done)
}

fn plan(args: &EvalArgs, training: &TrainingArgs) -> Result<Plan> {
    let EvalArgs {
        data,
        model,
        category,
        format,
        out,
        verdict,
        ..
    } = args;
    let verdict = *verdict;
    if data.is_none() && format.0.is_some() {
        return Err(usage("--format tells how DATA is laid out, and DATA is missing"));
    }
    let run = model.as_deref().filter(|model| model.is_dir());
    let measured_out = || {
        out.clone()
            .unwrap_or_else(|| run.map_or_else(|| OUT.into(), |run| run.join("eval")))
    };
    match (data, model) {
        (Some(data), _) => {
            let (layout, folders) = categories(data, category.as_deref(), format.0)?;
            Ok(Plan {
                folders,
                layout,
                model: model.clone(),
                out: measured_out(),
                training: training.clone(),
                with_baseline: false,
                verdict,
            })
        }
        (None, Some(_)) => {
            let missing = "DATA is missing: name the folder of images to measure on";
            let run = run.filter(|_| category.is_none()).ok_or_else(|| usage(missing))?;
            let run = Run::open(run).context(missing)?;
            let (layout, folders) = categories(run.data(), None, run.layout())?;
            Ok(Plan {
                folders,
                layout,
                model: model.clone(),
                out: measured_out(),
                training: training.clone(),
                with_baseline: false,
                verdict,
            })
        }
        (None, None) => {
            let out = out.clone().unwrap_or_else(|| demo_settings::OUT.into());
            let data = make_demo_data(&out, training.seed.unwrap_or(0))?;
            let (layout, folders) = categories(&data, category.as_deref(), Some(Layout::Mvtec))?;
            Ok(Plan {
                folders,
                layout,
                model: None,
                out,
                training: demo_training(training),
                with_baseline: true,
                verdict,
            })
        }
    }
}

fn make_demo_data(out: &Path, seed: u64) -> Result<PathBuf> {
    let data = out.join("data");
    let shown = shell_quoted(&data);
    match demo::generate(&data, seed)? {
        Demo::Created => info!("made the demo set in {shown}"),
        Demo::Reused => info!("using the demo set in {shown} again"),
    }
    Ok(data)
}

/// The demo's setting, but for what is asked for.
fn demo_training(given: &TrainingArgs) -> TrainingArgs {
    TrainingArgs {
        preset: given.preset.or(Some(Preset::Tiny)),
        size: given
            .size
            .or_else(|| given.tile.is_none().then_some(demo_settings::SIZE)),
        epochs_by_default: Some(demo_settings::EPOCHS),
        batch: given.batch.or(Some(demo_settings::BATCH)),
        lr: given.lr.or(Some(demo_settings::LEARNING_RATE)),
        ..given.clone()
    }
}

/// Trains a category in `folder`, from where a run there is. A run that is there must agree with what is `given`; a new
/// one is started with `settings`.
fn train(
    folder: &Path,
    category: &Category,
    (given, layout): (&TrainingArgs, Option<Layout>),
    settings: &TrainingArgs,
    device: &Device,
) -> Result<Trained> {
    let mut run = if Run::exists(folder) {
        let run = Run::open(folder)?;
        run.agree(given, layout)?;
        info!("using the run in {} again", shell_quoted(folder));
        run
    } else {
        Run::create(folder, category, settings, device)?
    };
    run.train(Some(category), given.max_time, device)
}

/// Measures a model on the category's test images, whose files belong together as `bands` says, with the
/// threshold and beside the mean image where asked for.
pub(super) fn measure(
    category: &Category,
    (model, bands): (&Path, Option<&Pattern>),
    verdict: VerdictArgs,
    with_baseline: bool,
    compute: &Compute,
) -> Result<CategoryResult> {
    let checkpoint = Checkpoint::open(model)?;
    let loaded = Model::new(&checkpoint, bands.cloned(), compute)?;
    let header = checkpoint.header.clone();
    // There is no mean of images of different sizes.
    let baseline = (with_baseline && header.scoring.tiling.is_none())
        .then(|| MeanImage::of(category, &loaded))
        .transpose()?;
    let threshold = verdict.threshold(&header, model);
    info!("measuring {} on {} test images", category.name, category.test.len());
    let evaluation = evaluate(category, &loaded, baseline.as_ref(), threshold)?;
    Ok(CategoryResult {
        name: category.name.clone(),
        data: category.root.display().to_string(),
        model: model.display().to_string(),
        history: history::read(model, &header)?,
        facts: facts(&checkpoint, model)?,
        header,
        caution: None,
        roi_share: loaded.roi().map(Roi::share),
        evaluation,
    })
}
