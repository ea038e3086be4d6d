//! Debian's packages: tools that no registry of Rust has.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::workspace_root;

/// Whether a program starts.
pub(crate) fn starts(program: impl AsRef<OsStr>) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

/// Installs packages; whether that worked. It needs Debian, its network and the rights.
pub(crate) fn install(packages: &[&str]) -> bool {
    let apt = |arguments: &[&str]| {
        let status = Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments)
            .status();
        status.is_ok_and(|status| status.success())
    };
    apt(&["update", "-qq"]) && apt(&[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat())
}

/// Whether a program is there, or could be installed from these packages.
pub(crate) fn provide(program: &str, packages: &[&str]) -> bool {
    starts(program) || (install(packages) && starts(program))
}

/// Debian's compiler for the web, which comes with the standard library's source; installed where that is possible.
pub(crate) fn compiler() -> Option<&'static str> {
    const COMPILER: &str = "/usr/bin/rustc";
    let has_source = || Path::new(COMPILER).exists() && Path::new("/usr/share/doc/rust-web-src").exists();
    if !has_source() && !install(&["rustc-web", "rust-web-src"]) {
        return None;
    }
    has_source().then_some(COMPILER)
}

/// The target folder of that compiler, which can use nothing that another one has built. What it builds for one system serves the next:
/// macros and build scripts run here.
pub(crate) fn target_folder() -> PathBuf {
    workspace_root().join("target").join("debian")
}
