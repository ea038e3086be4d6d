//! Programs for Windows, built on Debian and run by Wine.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{debian, process::cargo};

/// What is built for.
pub(crate) const TARGET: &str = "x86_64-pc-windows-gnu";

/// mingw's compilers with POSIX threads, which is what Rust's standard library is linked with.
const GCC: &str = "x86_64-w64-mingw32-gcc-posix";
const GXX: &str = "x86_64-w64-mingw32-g++-posix";

/// Debian's Wine has no bcryptprimitives.dll, which the standard library takes random numbers from. Windows has it, so that this one
/// is for Wine alone.
const PRIMITIVES: &str = "
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T length)
{
    return SystemFunction036(bytes, (ULONG)length);
}
";

/// What is needed to build for Windows.
#[derive(Debug)]
pub(crate) struct Windows {
    compiler: &'static str,
    target: PathBuf,
}

impl Windows {
    /// Finds or installs it; `None` where that cannot be.
    pub(crate) fn provide() -> Option<Self> {
        let compiler = debian::compiler()?;
        // The standard library's C++ is not needed, but some crates' C++ is.
        let has_mingw = debian::provide(GCC, &["gcc-mingw-w64-x86-64-posix"])
            && debian::provide(GXX, &["g++-mingw-w64-x86-64-posix"]);
        has_mingw.then(|| Self {
            compiler,
            target: debian::target_folder(),
        })
    }

    /// Cargo at work for Windows, in a target folder of its own: `command` and the standard library's source, then `arguments`.
    pub(crate) fn cargo(&self, command: &str, arguments: &str) -> Command {
        // No toolchain for Windows is at hand, so the standard library comes from source.
        let mut cargo = cargo([command, "-Zbuild-std=std,panic_unwind", "--target", TARGET, "--locked"]);
        cargo.args(arguments.split(' '));
        cargo.env("RUSTC", self.compiler).env("RUSTC_BOOTSTRAP", "1");
        cargo.env("CARGO_TARGET_DIR", &self.target);
        cargo.env("CC_x86_64_pc_windows_gnu", GCC);
        cargo.env("CXX_x86_64_pc_windows_gnu", GXX);
        cargo.env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", GCC);
        cargo
    }

    /// Where a profile's programs lie.
    pub(crate) fn programs(&self, profile: &str) -> PathBuf {
        self.target.join(TARGET).join(profile)
    }

    /// What Wine is run with, so that it runs these programs and asks nothing; `None` where there is no Wine.
    ///
    /// # Errors
    /// If its folders cannot be made.
    pub(crate) fn wine(&self) -> Result<Option<Vec<(&'static str, OsString)>>> {
        if !debian::provide("wine", &["wine64", "wine"]) {
            return Ok(None);
        }
        let folder = self.target.join("wine");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        primitives(&folder)?;
        // As Wine calls it.
        let here = format!("Z:{}", folder.display()).replace('/', r"\");
        Ok(Some(vec![
            ("WINEPREFIX", folder.join("prefix").into()),
            ("WINEDEBUG", "-all".into()),
            ("WINEDLLOVERRIDES", "mscoree,mshtml=".into()),
            ("WINEPATH", here.into()),
        ]))
    }
}

/// Makes bcryptprimitives.dll in a folder.
fn primitives(folder: &Path) -> Result<()> {
    let source = folder.join("bcryptprimitives.c");
    fs::write(&source, PRIMITIVES).with_context(|| format!("cannot write {}", source.display()))?;
    let status = Command::new(GCC)
        .args(["-shared", "-O2", "-o"])
        .arg(folder.join("bcryptprimitives.dll"))
        .arg(&source)
        .arg("-ladvapi32")
        .status()
        .with_context(|| format!("cannot start {GCC}"))?;
    ensure!(status.success(), "{} cannot be compiled", source.display());
    Ok(())
}
