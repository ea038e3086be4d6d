//! For Linux: one program that needs nothing but the C library, of 2020 or later.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{PROFILE, Release, VERSION, add_papers, archive, check_size, copy, pages, provide};
use crate::{
    debian,
    process::{self, output, run},
    python, workspace_root,
};

/// Debian 11 and Ubuntu 20.04 have this version of the GNU C library.
const GLIBC: (u32, u32) = (2, 31);

/// A processor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Processor {
    name: &'static str,
    /// Rust's name of it with Linux.
    target: &'static str,
    /// Whether rustup's toolchain here has its standard library.
    is_ours: bool,
}

pub(super) const X86_64: Processor = Processor {
    name: "x86_64",
    target: "x86_64-unknown-linux-gnu",
    is_ours: cfg!(target_arch = "x86_64"),
};
pub(super) const AARCH64: Processor = Processor {
    name: "aarch64",
    target: "aarch64-unknown-linux-gnu",
    is_ours: cfg!(target_arch = "aarch64"),
};

const WORDS: &str = "\
riad VERSION: finds defects in pictures of products after seeing only good ones.

The program needs nothing but Linux of 2020 or later (GNU C library 2.31: Debian 11, Ubuntu 20.04).

    sudo install riad /usr/local/bin/
    sudo install -D -m 644 -t /usr/local/share/man/man1 man/*.1
    riad eval                       # makes a demo set, trains, and writes a report

Completions for bash, zsh and fish are in completions/. The licences are beside this file.
";

/// Makes the archive and, where there is such a package, the Debian package.
pub(super) fn make(release: &Release, processor: Processor) -> Result<()> {
    let program = build(release, processor)?;
    check_size(&program)?;
    check_needs(&program)?;
    let root = format!("riad-{VERSION}-{}-linux", processor.name);
    let stage = release.stage(&root)?;
    copy(&program, &stage)?;
    pages::man(&stage.join("man"))?;
    pages::completions(
        &stage.join("completions"),
        &[("bash", "riad.bash"), ("zsh", "_riad"), ("fish", "riad.fish")],
    )?;
    add_papers(&stage, processor.target, WORDS)?;
    archive::tar_xz(
        &stage,
        &root,
        release.date,
        &release.folder.join(format!("{root}.tar.xz")),
    )?;
    if processor.name == X86_64.name {
        package(release, processor, &stage)?;
    }
    Ok(())
}

/// Builds by zig, whose C compiler links with any version of the C library.
fn build(release: &Release, processor: Processor) -> Result<PathBuf> {
    let python = python::with("zig", &["ziglang==0.15.2", "cargo-zigbuild==0.24.1"])?;
    let zigbuild = python.with_file_name("cargo-zigbuild");
    let target = workspace_root().join("target").join("linux");
    let (major, minor) = GLIBC;
    let triple = format!("{}.{major}.{minor}", processor.target);
    let mut build = Command::new(zigbuild);
    build.current_dir(workspace_root()).args([
        "zigbuild",
        "--profile",
        PROFILE,
        "--locked",
        "-p",
        "riad-cli",
        "--target",
        &triple,
    ]);
    build
        .env("CARGO_ZIGBUILD_PYTHON_PATH", python)
        .env("CARGO_TARGET_DIR", &target);
    if !processor.is_ours {
        let compiler = debian::compiler().context("no Debian compiler with the standard library's source")?;
        build.arg("-Zbuild-std=std,panic_unwind");
        build.env("RUSTC", compiler).env("RUSTC_BOOTSTRAP", "1");
    }
    build.envs(release.environment(processor.target, &[]));
    run(&mut build)?;
    Ok(target.join(processor.target).join(PROFILE).join("riad"))
}

/// Checks which libraries a program needs, and of which version.
fn check_needs(program: &Path) -> Result<()> {
    let said = output(
        Command::new("readelf")
            .args(["--wide", "--dynamic", "--version-info"])
            .arg(program),
    )?;
    let (libraries, version) = needs(&said);
    eprintln!(
        "it needs {} and GLIBC_{}.{}",
        libraries.join(", "),
        version.0,
        version.1
    );
    let known = |library: &&String| {
        [
            "libc.so.",
            "libm.so.",
            "libpthread.so.",
            "libdl.so.",
            "librt.so.",
            "ld-linux",
        ]
        .iter()
        .any(|known| library.starts_with(known))
    };
    let strange: Vec<_> = libraries.iter().filter(|library| !known(library)).collect();
    ensure!(strange.is_empty(), "it needs more than the C library: {strange:?}");
    ensure!(
        version <= GLIBC,
        "it needs GLIBC_{}.{}, which is too new",
        version.0,
        version.1
    );
    Ok(())
}

/// The libraries, and the newest version of the C library, that readelf names.
fn needs(said: &str) -> (Vec<String>, (u32, u32)) {
    let libraries = said
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| {
            let (_, name) = line.split_once('[')?;
            Some(name.trim_end_matches(']').to_owned())
        });
    let versions = said.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let mut parts = rest[..end].split('.').filter_map(|part| part.parse().ok());
        Some((parts.next()?, parts.next()?))
    });
    (libraries.collect(), versions.max().unwrap_or_default())
}

/// Makes the Debian package of the same program and pages.
fn package(release: &Release, processor: Processor, stage: &Path) -> Result<()> {
    provide("cargo-deb@3.8.0", "cargo-deb")?;
    let common = release.stage("deb")?;
    // Named without the processor, because the manifest names them.
    for part in ["man", "completions"] {
        let to = common.join(part);
        std::fs::rename(stage.join(part), &to).with_context(|| format!("cannot move {}", to.display()))?;
    }
    copy(&stage.join("LICENSES-OTHERS.txt"), &common)?;
    let mut deb = process::cargo([
        "deb",
        "--no-build",
        "--no-strip",
        "--locked",
        "-p",
        "riad-cli",
        "--profile",
        PROFILE,
    ]);
    deb.args(["--target", processor.target, "--output"])
        .arg(&release.folder);
    deb.env("CARGO_TARGET_DIR", workspace_root().join("target").join("linux"));
    deb.env("SOURCE_DATE_EPOCH", release.date.to_string());
    run(&mut deb)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `readelf --wide --dynamic --version-info`.
    #[test]
    fn readelf_names_what_is_needed() {
        let said = " 0x0000000000000001 (NEEDED)             Shared library: [libm.so.6]\n \
                    0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]\n \
                    000:   0 (*local*)       2 (GLIBC_2.2.5)   3 (GLIBC_2.17)    4 (GLIBC_2.3.4)\n \
                    0x0010:   Name: GLIBC_2.9  Flags: none  Version: 9\n";
        let libraries = ["libm.so.6", "libc.so.6"].map(str::to_owned).to_vec();
        assert_eq!(needs(said), (libraries, (2, 17)));
    }
}
