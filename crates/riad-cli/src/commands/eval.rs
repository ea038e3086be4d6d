//! `riad eval`: train where needed, measure, show.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
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
use riad_model::Checkpoint;
use tracing::{error, info};

use super::{category::or_meant, measure::measure, train::begin};
use crate::{
    Ending,
    args::EvalArgs,
    console::Console,
    interrupt, is_usage,
    print::print,
    shell::shell_quoted,
    usage,
    way_out::{told, told_in_full},
};

/// Where results go that belong to no run.
const OUT: &str = "runs/eval";

/// Where the demo goes, which `riad eval` does alone.
const DEMO: &str = "riad-demo";

/// What is to be evaluated.
struct Plan<'a> {
    args: &'a EvalArgs,
    compute: &'a Compute,
    console: &'a Console,
    /// The categories' folders, and how they are read.
    folders: Vec<PathBuf>,
    layout: Layout,
    out: PathBuf,
    /// Options that runs which are there must agree with.
    given: TrainingOptions,
    /// Options of runs that are not there yet.
    training: TrainingOptions,
    with_baseline: bool,
}

/// A category that can be opened, with its test images.
struct Job {
    name: String,
    test: TestSet,
    /// The model to measure: what is given, or the run that is trained first.
    model: PathBuf,
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
    let plan = Plan::of(args, &compute, &console)?;
    if let Some(model) = &args.model {
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
        if let Some(Error::Faults(faults)) = error.downcast_ref() {
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
        match plan.job(folder) {
            Ok(job) => jobs.push(job),
            Err(error) => fail(folder_name(folder), error)?,
        }
    }
    let mut results = Vec::new();
    for job in jobs {
        match plan.result(&job) {
            Ok(Some(result)) => results.push(result),
            Ok(None) => {
                info!("the same command goes on from here");
                return Ok(Ending::Interrupted);
            }
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

impl<'a> Plan<'a> {
    fn of(args: &'a EvalArgs, compute: &'a Compute, console: &'a Console) -> Result<Self> {
        let EvalArgs {
            data,
            model,
            category,
            format,
            ..
        } = args;
        if data.is_none() && format.0.is_some() {
            return Err(usage("--format is the layout of DATA, and DATA is missing"));
        }
        let is_demo = data.is_none() && model.is_none();
        let given = args.training.options(
            args.compute.training_precision(&compute.device),
            args.images.bands.as_ref(),
        );
        let out = out(args);
        let outside = |data: &Path| args.out.as_ref().map_or(Ok(()), |out| check_outside(out, data));
        let (layout, folders) = match (data, model) {
            (Some(data), _) => {
                outside(data)?;
                let is_free = category.is_none() && format.0.is_none();
                let found = Layout::find(data, category.as_deref(), format.0);
                found.map_err(|error| or_meant(error, data, model.as_deref(), is_free))?
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
                Layout::find(run.data(), None, Some(run.layout()))?
            }
            (None, None) => {
                let data = make_demo_data(&out, given.seed.unwrap_or(0))?;
                Layout::find(&data, category.as_deref(), Some(Layout::Mvtec))?
            }
        };
        Ok(Self {
            args,
            compute,
            console,
            folders,
            layout,
            out,
            training: if is_demo {
                given.clone().for_demo()
            } else {
                given.clone()
            },
            given,
            with_baseline: is_demo,
        })
    }

    /// Opens a category, and tells what is wrong with its test images as far as that can be seen at once.
    ///
    /// # Errors
    /// If it cannot be opened, has nothing to test on, or has faults in what it is first to be trained with; and if the run that
    /// is there was started with other options than those given.
    fn job(&self, folder: &Path) -> Result<Job> {
        let name = folder_name(folder);
        let is_trained = self.args.model.is_none();
        let of_category = || self.out.join(folder.file_name().unwrap_or(name.as_ref())).join("run");
        let model = self.args.model.clone().unwrap_or_else(of_category);
        let begun = match is_trained {
            false => Run::of(&model)?,
            true => Run::exists(&model).then(|| Run::open(&model)).transpose()?,
        };
        let bands = self.args.images.bands.as_ref();
        let bands = bands.or_else(|| begun.as_ref()?.bands());
        let mut category = Category::open_as(folder, self.layout, bands)?;
        let mut reader = None;
        match begun.filter(|_| is_trained) {
            Some(begun) => begun.agree(&self.given, self.args.format.0)?,
            None if is_trained => {
                Error::refuse(category.train_faults.drain(..).map(Into::into).collect())?;
                reader = Some(self.training.reader());
            }
            None => {}
        }
        let test = TestSet::of_category(category, reader.as_ref(), self.console)?;
        Ok(Job { name, test, model })
    }

    /// Measures a category, and trains it first if no model is given. `None` if Ctrl-C breaks that off.
    fn result(&self, Job { test, model, .. }: &Job) -> Result<Option<Evaluation>> {
        if self.args.model.is_none() && self.train(model, &test.category)? == TrainingOutcome::Stopped(Stop::Asked) {
            return Ok(None);
        }
        let measurement = Measurement::of(model)
            .bands(self.args.images.bands.clone())
            .rate(self.args.verdict.usual())
            .baseline(self.with_baseline);
        measure(test, measurement, self.compute, self.console).map(Some)
    }

    /// Trains a category in `folder`, from where a run there is, or else from the start.
    fn train(&self, folder: &Path, category: &Category) -> Result<TrainingOutcome> {
        let Self { compute, console, .. } = self;
        let mut run = if Run::exists(folder) {
            info!("using the run in {} again", shell_quoted(folder));
            Run::open(folder)?
        } else {
            console.forget_brightness();
            begin(folder, category, &self.training, &compute.device, console)?
        };
        let watch = interrupt::Watch::start(self.args.training.max_time);
        Ok(run.train(Some(category), &compute.device, watch.cancel(), *console)?)
    }
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
        Error::NoGoodPictures { reason } => usage(format!(
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
    let is_whole = unmeasured.is_empty() && results.iter().all(Evaluation::is_whole);
    Ok(Ending::of(is_whole))
}

/// Where results go: the folder that is named, or that of the run that is measured.
fn out(args: &EvalArgs) -> PathBuf {
    let usual = || match &args.model {
        Some(model) if model.is_dir() => model.join("eval"),
        None if args.data.is_none() => DEMO.into(),
        _ => OUT.into(),
    };
    args.out.clone().unwrap_or_else(usual)
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
