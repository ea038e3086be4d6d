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

use super::train::{categories, or_meant};
use crate::{
    Ending,
    args::{EvalArgs, TrainingArgs, VerdictArgs},
    baseline::MeanImage,
    evaluation::evaluate,
    facts::facts,
    files::{check_outside, shell_quoted},
    history,
    interrupt::Reason,
    mistake,
    names::{folder_name, plain, written},
    report,
    results::{self, CategoryResult, Unmeasured},
    run::{Run, Trained, bands_of},
    scoring::{Compute, Model},
    settings::channels,
    source::header_faults,
    synthetic,
    test_set::TestSet,
    usage,
    way_out::{refuse_all, told, told_in_full},
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
            Err(error) => fail(folder_name(folder), error)?,
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
        let test = TestSet::from(job.category);
        match measure(&test, model, plan.verdict, plan.with_baseline, &compute) {
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
    finish(&plan.out, &results, &unmeasured)
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
        args.verdict
            .usual_threshold(&checkpoint.header, model, compute.precision)?;
        let loaded = Model::new(&checkpoint, bands.clone(), compute)?;
        synthetic::test_set(model, &loaded, &args.photos, args.training.seed.unwrap_or(0))?
    } else if args.training.seed.is_some() {
        return Err(usage("--seed draws made-up defects: add --synthetic, or leave it out"));
    } else {
        TestSet::of_photos(model, &args.photos, bands.as_ref())?
    };
    let result = measure(&test, (model, bands.as_ref()), args.verdict, false, compute)?;
    finish(&out(args), &[result], &[])
}

/// Writes and prints what was found.
fn finish(out: &Path, results: &[CategoryResult], unmeasured: &[Unmeasured]) -> Result<Ending> {
    results::write(out, results, unmeasured)?;
    let shown = out.join(report::FILE);
    report::write(&shown, results)?;
    write!(io::stdout(), "{}", results::text(results, unmeasured))?;
    info!(
        "results.json and scores.csv are in {}; to see it all, open {}",
        shell_quoted(out),
        shell_quoted(&shown)
    );
    let is_whole = unmeasured.is_empty() && results.iter().all(|result| result.evaluation.faults.is_empty());
    Ok(if is_whole { Ending::Done } else { Ending::Incomplete })
}

/// Where results go: the folder that is named, or that of the run that is measured.
fn out(args: &EvalArgs) -> PathBuf {
    let run = args.model.as_deref().filter(|model| model.is_dir());
    let of_run = || run.map_or_else(|| OUT.into(), |run| run.join("eval"));
    args.out.clone().unwrap_or_else(of_run)
}

/// Opens a category, and tells what is wrong with its test images as far as that can be seen at once.
///
/// # Errors
/// If it cannot be opened, has nothing to test on, or has faults in what it is first to be trained with; and if the run that
/// is there was started with other options than those `given`.
fn job(folder: &Path, plan: &Plan, given: &TrainingArgs, args: &EvalArgs) -> Result<Job> {
    let name = folder_name(folder);
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
            if let Some(out) = out {
                check_outside(out, data)?;
            }
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
            if let Some(out) = out {
                check_outside(out, run.data())?;
            }
            let (layout, folders) = categories(run.data(), None, Some(run.layout()))?;
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
    let threshold = verdict.usual_threshold(&header, model, compute.precision);
    info!("measuring {} on {} test images", category.name, category.test.len());
    let evaluation = evaluate(test, &loaded, baseline.as_ref(), threshold)?;
    Ok(CategoryResult {
        name: test.name.clone(),
        data: written(&category.root),
        model: written(model),
        history: history::read(model, &header),
        facts: facts(&checkpoint, model)?,
        header,
        caution: test.caution.clone(),
        roi_share: loaded.roi().map(Roi::share),
        evaluation,
    })
}
