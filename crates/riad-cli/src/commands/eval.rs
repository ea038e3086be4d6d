//! `riad eval`: train where needed, measure, show.

use std::{
    collections::HashSet,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use riad_data::{
    Category, DataError, Layout, Pattern, Reader,
    demo::{self, Demo},
};
use riad_model::{Checkpoint, Device, Preset, Roi};
use tracing::{error, info};

use super::train::categories;
use crate::{
    Ending,
    args::{EvalArgs, TrainingArgs, VerdictArgs},
    baseline::MeanImage,
    evaluation::evaluate,
    facts::facts,
    files::{check_outside, shell_quoted},
    history,
    interrupt::Reason,
    names::{plain, written},
    report,
    results::{self, CategoryResult, Unmeasured},
    run::{Run, Trained, bands_of, refuse_all},
    scoring::{Compute, Model},
    settings::channels,
    source::header_faults,
    usage,
    way_out::{told, told_in_full},
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

/// A category that can be opened, and which files make one image of it together.
struct Job {
    name: String,
    category: Category,
    bands: Option<Pattern>,
    /// The run that it is trained in; `None` where a model is given.
    run: Option<PathBuf>,
}

pub(crate) fn run(args: &EvalArgs) -> Result<Ending> {
    let compute = args.compute.compute()?;
    let given = TrainingArgs {
        precision: args.compute.training_precision(&compute.device),
        bands: args.images.bands.clone(),
        ..args.training.clone()
    };
    let plan = plan(args, &given)?;
    if let Some(model) = &plan.model {
        // What every category would fail for is no fault of any.
        Checkpoint::open(model)?;
    }
    let is_alone = plan.folders.len() == 1;
    let mut unmeasured = Vec::new();
    let mut first = None;
    // The others go on; what there is but one of fails as it is.
    let mut fail = |name: String, error: anyhow::Error| {
        if is_alone {
            return Err(error);
        }
        let reason = plain(&told_in_full(&error));
        error!("{name} cannot be measured: {reason}");
        unmeasured.push(Unmeasured { name, reason });
        first.get_or_insert(error);
        Ok(())
    };
    // All are looked at before anything is computed: that may take hours.
    let mut jobs = Vec::new();
    for folder in &plan.folders {
        match job(folder, &plan, &given, args) {
            Ok(job) => jobs.push(job),
            Err(error) => fail(name_of(folder), error)?,
        }
    }
    let mut results = Vec::new();
    for job in jobs {
        let model = match (&plan.model, &job.run) {
            (Some(model), _) => model.clone(),
            (None, Some(run)) => match train(run, &job.category, &plan.training, &compute.device) {
                Ok(Trained::Stopped(Reason::Pressed)) => {
                    info!("the same command goes on from here");
                    return Ok(Ending::Interrupted);
                }
                Ok(_) => run.clone(),
                Err(error) => {
                    fail(job.name, error)?;
                    continue;
                }
            },
            (None, None) => bail!("{} has neither a model nor a run", job.name),
        };
        let model = (model.as_path(), job.bands.as_ref());
        match measure(&job.category, model, plan.verdict, plan.with_baseline, &compute) {
            Ok(result) => results.push(result),
            Err(error) => fail(job.name, error)?,
        }
    }
    if results.is_empty()
        && let Some(first) = first
    {
        return Err(first.context(format!(
            "none of the {} categories could be measured",
            plan.folders.len()
        )));
    }
    results::write(&plan.out, &results, &unmeasured)?;
    let shown = plan.out.join(report::FILE);
    report::write(&shown, &results)?;
    writeln!(io::stdout(), "{}", results::table(&results, &unmeasured))?;
    info!(
        "results.json and scores.csv are in {}; to see it all, open {}",
        shell_quoted(&plan.out),
        shell_quoted(&shown)
    );
    let is_whole = unmeasured.is_empty() && results.iter().all(|result| result.evaluation.faults.is_empty());
    Ok(if is_whole { Ending::Done } else { Ending::Incomplete })
}

/// Opens a category, and tells what is wrong with its test images as far as that can be seen at once.
///
/// # Errors
/// If it cannot be opened, has nothing to test on, or has faults in what it is first to be trained with; and if the run that
/// is there was started with other options than those `given`.
fn job(folder: &Path, plan: &Plan, given: &TrainingArgs, args: &EvalArgs) -> Result<Job> {
    let name = name_of(folder);
    let run = plan
        .model
        .is_none()
        .then(|| plan.out.join(folder.file_name().unwrap_or(name.as_ref())).join("run"));
    let model = plan.model.as_ref().or(run.as_ref());
    let bands = model
        .map(|model| bands_of(model, args.images.bands.as_ref()))
        .transpose()?
        .flatten();
    let mut category = Category::open_as(folder, plan.layout, bands.as_ref())?;
    if let Some(run) = run.as_ref().filter(|run| Run::exists(run)) {
        Run::open(run)?.agree(given, args.format.0)?;
    } else if run.is_some() {
        refuse_all(&category.train_faults)?;
        let reader = Reader::new(channels(&plan.training)).with_pattern(bands.clone());
        let images: Vec<_> = category.test.iter().map(|item| item.path.clone()).collect();
        let faults = header_faults(&images, &reader);
        let faulty: HashSet<_> = faults.iter().filter_map(DataError::path).collect();
        category.test.retain(|item| !faulty.contains(item.path.as_path()));
        category.test_faults.extend(faults);
    }
    category.test_faults.iter().for_each(|fault| error!("{}", told(fault)));
    if category.test.is_empty() {
        return Err(usage(format!(
            "{} has no test images to measure on; MVTec AD's layout keeps them in test/good and test/<defect>",
            category.root.display()
        )));
    }
    Ok(Job {
        name,
        category,
        bands,
        run,
    })
}

/// What a category's folder is called, as it is written down.
fn name_of(folder: &Path) -> String {
    let whole = folder
        .file_name()
        .is_none()
        .then(|| folder.canonicalize().ok())
        .flatten();
    let folder = whole.as_deref().unwrap_or(folder);
    written(Path::new(folder.file_name().unwrap_or(folder.as_os_str())))
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
            if let Some(out) = out {
                check_outside(out, data)?;
            }
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
            if let Some(out) = out {
                check_outside(out, run.data())?;
            }
            let (layout, folders) = categories(run.data(), None, Some(run.layout()))?;
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

/// Trains a category in `folder`, from where a run there is; a new one is started with `settings`.
fn train(folder: &Path, category: &Category, settings: &TrainingArgs, device: &Device) -> Result<Trained> {
    let mut run = if Run::exists(folder) {
        info!("using the run in {} again", shell_quoted(folder));
        Run::open(folder)?
    } else {
        Run::create(folder, category, settings, device)?
    };
    run.train(Some(category), settings.max_time, device)
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
    let threshold = verdict.threshold(&header, model, compute.precision);
    info!("measuring {} on {} test images", category.name, category.test.len());
    let evaluation = evaluate(category, &loaded, baseline.as_ref(), threshold)?;
    Ok(CategoryResult {
        name: name_of(&category.root),
        data: written(&category.root),
        model: written(model),
        history: history::read(model, &header),
        facts: facts(&checkpoint, model)?,
        header,
        caution: None,
        roi_share: loaded.roi().map(Roi::share),
        evaluation,
    })
}
