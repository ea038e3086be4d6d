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

use super::train::{categories, or_meant};
use crate::{
    Ending,
    args::{EvalArgs, TrainingArgs, VerdictArgs},
    baseline::MeanImage,
    evaluation::evaluate,
    facts::facts,
    files::shell_quoted,
    history,
    interrupt::Reason,
    mistake, report,
    results::{self, CategoryResult},
    run::{Run, Trained, bands_of},
    scoring::{Compute, Model},
    synthetic,
    test_set::TestSet,
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
    if args.synthetic || !args.photos.is_empty() {
        return measure_photos(args, &compute);
    }
    if args.model.is_some() && args.training.seed.is_some() {
        return Err(usage(
            "with --model, --seed draws made-up defects: add --synthetic, or leave it out",
        ));
    }
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
        let test = TestSet::from(category);
        results.push(measure(&test, model, plan.verdict, plan.with_baseline, &compute)?);
    }
    finish(&plan.out, &results)
}

/// Measures on a person's own pictures, or on defects that are made up on good ones.
fn measure_photos(args: &EvalArgs, compute: &Compute) -> Result<Ending> {
    let model = args.model.as_deref();
    let missing = "--model is missing: name the run that is to be measured on these pictures";
    let model = model.ok_or_else(|| usage(missing))?;
    let bands = bands_of(model, args.images.bands.as_ref())?;
    let test = if args.synthetic {
        let checkpoint = Checkpoint::open(model)?;
        // Without a threshold nothing is found or missed.
        args.verdict.usual_threshold(&checkpoint.header, model)?;
        let loaded = Model::new(&checkpoint, bands.clone(), compute)?;
        synthetic::test_set(model, &loaded, &args.photos, args.training.seed.unwrap_or(0))?
    } else if args.training.seed.is_some() {
        return Err(usage("--seed draws made-up defects: add --synthetic, or leave it out"));
    } else {
        TestSet::of_photos(model, &args.photos, bands.as_ref())?
    };
    let unreadable = test.unreadable;
    let result = measure(&test, (model, bands.as_ref()), args.verdict, false, compute)?;
    let ending = finish(&out(args), &[result])?;
    Ok(if unreadable > 0 { Ending::Incomplete } else { ending })
}

/// Writes and prints what was found.
fn finish(out: &Path, results: &[CategoryResult]) -> Result<Ending> {
    results::write(out, results)?;
    let shown = out.join(report::FILE);
    report::write(&shown, results)?;
    write!(io::stdout(), "{}", results::text(results))?;
    info!(
        "results.json and scores.csv are in {}; to see it all, open {}",
        shell_quoted(out),
        shell_quoted(&shown)
    );
    let is_whole = results.iter().all(|result| result.evaluation.faults.is_empty());
    Ok(if is_whole { Ending::Done } else { Ending::Incomplete })
}

/// Where results go: the folder that is named, or that of the run that is measured.
fn out(args: &EvalArgs) -> PathBuf {
    let run = args.model.as_deref().filter(|model| model.is_dir());
    let of_run = || run.map_or_else(|| OUT.into(), |run| run.join("eval"));
    args.out.clone().unwrap_or_else(of_run)
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
    match (data, model) {
        (Some(data), _) => {
            let found = categories(data, category.as_deref(), format.0);
            let is_free = category.is_none() && format.0.is_none();
            let meant = || mistake::measuring(data, model.as_deref()).filter(|_| is_free);
            let (layout, folders) = found.map_err(|error| or_meant(error, meant))?;
            Ok(Plan {
                folders,
                layout,
                model: model.clone(),
                out: self::out(args),
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
                out: self::out(args),
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

/// Measures a model on test images, whose files belong together as `bands` says, with the threshold for a false-positive rate
/// and beside the mean image where asked for.
pub(super) fn measure(
    test: &TestSet,
    (model, bands): (&Path, Option<&Pattern>),
    verdict: VerdictArgs,
    with_baseline: bool,
    compute: &Compute,
) -> Result<CategoryResult> {
    let category = &test.category;
    let checkpoint = Checkpoint::open(model)?;
    let loaded = Model::new(&checkpoint, bands.cloned(), compute)?;
    let header = checkpoint.header.clone();
    // There is no mean of images of different sizes.
    let baseline = (with_baseline && header.scoring.tiling.is_none())
        .then(|| MeanImage::of(category, &loaded))
        .transpose()?;
    let threshold = verdict.usual_threshold(&header, model);
    info!("measuring {} on {} test images", category.name, category.test.len());
    let evaluation = evaluate(test, &loaded, baseline.as_ref(), threshold)?;
    Ok(CategoryResult {
        name: category.name.clone(),
        data: category.root.display().to_string(),
        model: model.display().to_string(),
        history: history::read(model, &header)?,
        facts: facts(&checkpoint, model)?,
        header,
        caution: test.caution.clone(),
        roi_share: loaded.roi().map(Roi::share),
        evaluation,
    })
}
