//! `riad eval`: train where needed, measure, show.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use riad::{
    Compute, Error, Evaluation, Run, Stop, TrainingOptions, TrainingOutcome,
    evaluation::{self, Measurement, TestSet, Unmeasured},
    files::check_outside,
    names::{folder_name, plain},
    report,
};
use riad_data::{
    Category, Layout,
    demo::{self, Demo},
};
use riad_model::{Checkpoint, Preset};
use tracing::{error, info};

use super::{
    category::{categories, or_meant},
    measure::measure,
    train::begin,
};
use crate::{
    Ending,
    args::EvalArgs,
    console::Console,
    interrupt, is_usage, mistake,
    print::print,
    shell::shell_quoted,
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
    training: TrainingOptions,
    with_baseline: bool,
}

/// A category that can be opened, with its test images.
struct Job {
    name: String,
    test: TestSet,
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
    let console = Console::default();
    let given = args.training.options(
        args.compute.training_precision(&compute.device),
        args.images.bands.as_ref(),
    );
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
        if let Some(riad::Error::Faults(faults)) = error.downcast_ref() {
            faults.iter().for_each(|fault| error!("{}", told(fault)));
        }
        let reason = plain(&told_in_full(&error));
        error!("{name} cannot be measured: {reason}");
        unmeasured.push(Unmeasured::new(name, reason));
        first.get_or_insert(error);
        Ok(())
    };
    // All are looked at before anything is computed: that may take hours.
    let mut jobs = Vec::new();
    for folder in &plan.folders {
        match job(folder, &plan, &given, args, &console) {
            Ok(job) => jobs.push(job),
            Err(error) => fail(folder_name(folder), error)?,
        }
    }
    let mut results = Vec::new();
    for job in jobs {
        let model = match (&plan.model, &job.run) {
            (Some(model), _) => model.clone(),
            (None, Some(run)) => match train(run, &job.test.category, (&plan.training, args), &compute, &console) {
                Ok(TrainingOutcome::Stopped(Stop::Asked)) => {
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
        let measurement = Measurement::of(model)
            .bands(args.images.bands.clone())
            .rate(args.verdict.usual())
            .baseline(plan.with_baseline);
        match measure(&job.test, measurement, &compute, &console) {
            Ok(result) => results.push(result),
            Err(error) => fail(job.name, error)?,
        }
    }
    if results.is_empty()
        && let Some(first) = first
    {
        // Each has been told with its reason.
        let none = format!("none of the {} categories could be measured", plan.folders.len());
        return Err(if is_usage(&first) { usage(none) } else { anyhow!(none) });
    }
    finish(&plan.out, &results, &unmeasured)
}

/// Measures on a person's own pictures, or on defects that are made up on good ones.
fn measure_photos(args: &EvalArgs, compute: &Compute) -> Result<Ending> {
    let model = args.model.as_deref();
    let missing = "--model is missing: name the run to measure on these pictures";
    let model = model.ok_or_else(|| usage(missing))?;
    let bands = &args.images.bands;
    let sets = if args.synthetic {
        let detector = riad::Detector::options()
            .compute(compute.clone())
            .bands(bands.clone())
            .open(model)?;
        // Without a threshold nothing is found or missed.
        detector.threshold(args.verdict.usual())?;
        args.photos.sets(Some(args.training.seed.unwrap_or(0)))
    } else if args.training.seed.is_some() {
        return Err(usage("--seed draws made-up defects: add --synthetic, or leave it out"));
    } else {
        args.photos.sets(None)
    };
    let console = Console::default();
    let test = TestSet::of_sets(model, &sets, bands.as_ref(), compute, &console);
    let test = test.map_err(|error| match error {
        riad::Error::NoGoodPictures { reason } => usage(format!(
            "{}name good pictures with --good, because defects are made up on them",
            reason.map_or_else(String::new, |reason| format!("{reason}; "))
        )),
        error => error.into(),
    })?;
    let measurement = Measurement::of(model).bands(bands.clone()).rate(args.verdict.usual());
    let result = measure(&test, measurement, compute, &console)?;
    finish(&out(args), &[result], &[])
}

/// Writes and prints what was found.
fn finish(out: &Path, results: &[Evaluation], unmeasured: &[Unmeasured]) -> Result<Ending> {
    evaluation::write(out, results, unmeasured)?;
    let shown = out.join(report::FILE);
    report::write(&shown, results)?;
    print("the results", evaluation::summary(results, unmeasured))?;
    for result in results.iter().filter(|result| result.findings.at_threshold.is_err()) {
        let model = shell_quoted(Path::new(&result.model));
        info!("calibrate {} with: riad calibrate --model {model} PATH…", result.name);
    }
    info!(
        "results.json and scores.csv are in {}; open {} to see everything",
        shell_quoted(out),
        shell_quoted(&shown)
    );
    let is_whole = unmeasured.is_empty() && results.iter().all(|result| result.findings.faults.is_empty());
    Ok(Ending::of(is_whole))
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
fn job(folder: &Path, plan: &Plan, given: &TrainingOptions, args: &EvalArgs, console: &Console) -> Result<Job> {
    let name = folder_name(folder);
    let run = plan
        .model
        .is_none()
        .then(|| plan.out.join(folder.file_name().unwrap_or(name.as_ref())).join("run"));
    let begun = match (&plan.model, &run) {
        (Some(model), _) => Run::of(model)?,
        (None, Some(run)) if Run::exists(run) => Some(Run::open(run)?),
        _ => None,
    };
    let bands = args.images.bands.as_ref();
    let bands = bands.or_else(|| begun.as_ref()?.bands());
    let mut category = Category::open_as(folder, plan.layout, bands)?;
    let mut reader = None;
    match (&run, &begun) {
        (Some(_), Some(begun)) => begun.agree(given, args.format.0)?,
        (Some(_), None) => {
            riad::Error::refuse(category.train_faults.drain(..).map(Into::into).collect())?;
            reader = Some(plan.training.reader());
        }
        (None, _) => {}
    }
    Ok(Job {
        name,
        test: TestSet::of_category(category, reader.as_ref(), console)?,
        run,
    })
}

fn plan(args: &EvalArgs, training: &TrainingOptions) -> Result<Plan> {
    let EvalArgs {
        data,
        model,
        category,
        format,
        out,
        ..
    } = args;
    if data.is_none() && format.0.is_some() {
        return Err(usage("--format is the layout of DATA, and DATA is missing"));
    }
    let outside = |data: &Path| out.as_ref().map_or(Ok(()), |out| check_outside(out, data));
    let (layout, folders) = match (data, model) {
        (Some(data), _) => {
            outside(data)?;
            let found = categories(data, category.as_deref(), format.0);
            let is_free = category.is_none() && format.0.is_none();
            let meant = || mistake::measuring(data, model.as_deref()).filter(|_| is_free);
            found.map_err(|error| or_meant(error, meant))?
        }
        (None, Some(model)) => {
            let missing = "DATA is missing: name the folder of images to measure on";
            if category.is_some() || !model.is_dir() {
                return Err(usage(missing));
            }
            let run = match Run::open(model) {
                Err(error @ Error::NoRun { .. }) => return Err(anyhow::Error::from(error).context(missing)),
                opened => opened?,
            };
            outside(run.data())?;
            categories(run.data(), None, Some(run.layout()))?
        }
        (None, None) => {
            let out = out.clone().unwrap_or_else(|| demo_settings::OUT.into());
            let data = make_demo_data(&out, training.seed.unwrap_or(0))?;
            let (layout, folders) = categories(&data, category.as_deref(), Some(Layout::Mvtec))?;
            return Ok(Plan {
                folders,
                layout,
                model: None,
                out,
                training: demo_training(training),
                with_baseline: true,
            });
        }
    };
    Ok(Plan {
        folders,
        layout,
        model: model.clone(),
        out: self::out(args),
        training: training.clone(),
        with_baseline: false,
    })
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
fn demo_training(given: &TrainingOptions) -> TrainingOptions {
    TrainingOptions {
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

/// Trains a category in `folder`, from where a run there is; a new one is started with these options.
fn train(
    folder: &Path,
    category: &Category,
    (options, args): (&TrainingOptions, &EvalArgs),
    compute: &Compute,
    console: &Console,
) -> Result<TrainingOutcome> {
    let mut run = if Run::exists(folder) {
        info!("using the run in {} again", shell_quoted(folder));
        Run::open(folder)?
    } else {
        console.forget_brightness();
        begin(folder, category, options, &compute.device, console)?
    };
    let watch = interrupt::Watch::start(args.training.max_time);
    Ok(run.train(Some(category), &compute.device, watch.cancel(), console)?)
}
