//! For Windows: a zip, and an installer that needs no administrator.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use super::{PROFILE, Release, VERSION, add_papers, archive, check_size, copy, pages};
use crate::{
    debian,
    process::{output, run},
    windows::{TARGET, Windows},
    workspace_root,
};

const WORDS: &str = "\
riad VERSION: finds defects in pictures of products after seeing only good ones.

The program needs Windows 10 or later on x86-64, and nothing else. It can be started from where it lies:

    riad.exe eval                   makes a demo set, trains, and writes a report
    riad.exe help                   lists the commands

docs/windows.md of the project tells how to install it and to run it as a service. The licences are beside this file.
";

pub(super) fn make(release: &Release) -> Result<()> {
    let windows = Windows::provide().context(
        "no Debian compiler with the standard library's source, or no mingw (rustc-web, rust-web-src, gcc-mingw-w64)",
    )?;
    let mut build = windows.cargo("build", &format!("--profile {PROFILE} -p riad-cli"));
    // The linker's clock must not come into the program.
    build.envs(release.environment(TARGET, &["-Clink-arg=-Wl,--no-insert-timestamp"]));
    run(&mut build)?;
    let root = format!("riad-{VERSION}-x86_64-windows");
    let stage = release.stage(&root)?;
    let program = stage.join("riad.exe");
    // The compiler leaves the table of symbols in, which is 4 MB.
    let mut strip = Command::new("x86_64-w64-mingw32-strip");
    strip.arg("-o").arg(&program);
    // Else it writes the time of day into the program.
    strip.env("SOURCE_DATE_EPOCH", release.date.to_string());
    run(strip.arg(windows.programs(PROFILE).join("riad.exe")))?;
    check_size(&program)?;
    check_needs(&program)?;
    pages::completions(&stage, &[("powershell", "riad-completions.ps1")])?;
    add_papers(&stage, TARGET, WORDS)?;
    for entry in fs::read_dir(&stage).with_context(|| format!("cannot read {}", stage.display()))? {
        for_windows(
            &entry
                .with_context(|| format!("cannot read {}", stage.display()))?
                .path(),
        )?;
    }
    archive::zip(&stage, &root, release.date, &release.folder.join(format!("{root}.zip")))?;
    installer(release, &stage, &release.folder.join(format!("{root}-setup.exe")))
}

/// Ends the lines of a text as old editors of Windows want it.
fn for_windows(file: &Path) -> Result<()> {
    if file.extension().is_some_and(|ending| ending == "txt") {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        super::write(file, &text.replace("\r\n", "\n").replace('\n', "\r\n"))?;
    }
    Ok(())
}

/// Checks that a program needs only libraries that Windows has: those of compilers begin with lib.
fn check_needs(program: &Path) -> Result<()> {
    let said = output(Command::new("x86_64-w64-mingw32-objdump").arg("-p").arg(program))?;
    let names = said.lines().filter_map(|line| line.trim().strip_prefix("DLL Name: "));
    let names: Vec<_> = names.map(str::to_lowercase).collect();
    eprintln!("it needs {}", names.join(", "));
    let strange: Vec<_> = names.iter().filter(|name| name.starts_with("lib")).collect();
    ensure!(strange.is_empty(), "Windows has no {strange:?}");
    Ok(())
}

/// Makes the installer of what is in a folder.
fn installer(release: &Release, stage: &Path, to: &Path) -> Result<()> {
    ensure!(
        debian::provide("makensis", &["nsis"]),
        "no makensis, and no Debian to install nsis"
    );
    let scripts = workspace_root().join("xtask").join("src").join("dist");
    copy(&scripts.join("path.ps1"), stage)?;
    let mut nsis = Command::new("makensis");
    nsis.args(["-V2", "-NOCD"]);
    nsis.arg(format!("-DVERSION={VERSION}"));
    nsis.arg(format!("-DSTAGE={}", stage.display()));
    nsis.arg(format!("-DTARGET={}", to.display()));
    nsis.arg(scripts.join("setup.nsi"));
    nsis.env("SOURCE_DATE_EPOCH", release.date.to_string());
    run(&mut nsis)
}
