//! Archives that stand in for the CUDA libraries at link time, and load these when they are first called.
//!
//! riad-cuda has cudarc link them dynamically, so that a program does not start where one is missing, be it for `--help`.
//! `on_demand.c` defers that to the first call. Its list of functions is that of cudarc's bindings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{cargo, output, run};

const SOURCE: &str = include_str!("on_demand.c");

/// A library that cudarc binds.
struct Library {
    /// Its name to the linker.
    name: &'static str,
    /// Its name to the loader, of the version that the toolkit's headers are of.
    file: &'static str,
    /// cudarc's module.
    module: &'static str,
    /// What its functions return while it is absent.
    absent: u32,
}

const LIBRARIES: [Library; 2] = [
    Library {
        name: "cuda",
        file: "libcuda.so.1",
        module: "driver",
        absent: 303, // CUDA_ERROR_SHARED_OBJECT_INIT_FAILED
    },
    Library {
        name: "cudnn",
        file: "libcudnn.so.9",
        module: "cudnn",
        absent: 1001, // CUDNN_STATUS_NOT_INITIALIZED
    },
];

/// What the archives are made from, in words that change with it.
pub(super) fn made_from() -> Result<String> {
    let names = LIBRARIES.map(|library| library.file).join(" ");
    Ok(format!(
        "{}\n{names}\n{SOURCE}",
        cudarc()?.file_name().unwrap_or_default().display()
    ))
}

/// Puts an archive for each library into `lib`; `work` is for what is left over.
pub(super) fn make_archives(lib: &Path, work: &Path) -> Result<()> {
    let bindings = cudarc()?.join("src");
    let source = work.join("on_demand.c");
    fs::write(&source, SOURCE).with_context(|| format!("cannot write {}", source.display()))?;
    for library in &LIBRARIES {
        let path = bindings.join(library.module).join("sys").join("mod.rs");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let list = functions(&text);
        ensure!(
            !list.is_empty(),
            "{} binds no function: cudarc has changed",
            path.display()
        );
        let functions = work.join(library.name).with_extension("functions");
        fs::write(&functions, list).with_context(|| format!("cannot write {}", functions.display()))?;
        let object = work.join(library.name).with_extension("o");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-fPIC", "-c"])
            .arg(format!("-DLIBRARY=\"{}\"", library.file))
            .arg(format!("-DABSENT={}", library.absent))
            .arg(format!("-DFUNCTIONS=\"{}\"", functions.display()))
            .arg(&source)
            .arg("-o")
            .arg(&object);
        run(&mut cc).context("it takes a C compiler (Debian: build-essential)")?;
        let mut ar = Command::new("ar");
        ar.arg("rcsD")
            .arg(lib.join(format!("lib{}.a", library.name)))
            .arg(&object);
        run(&mut ar)?;
    }
    Ok(())
}

/// The folder of the cudarc that riad-cuda uses.
fn cudarc() -> Result<PathBuf> {
    let mut metadata = cargo(["metadata", "--format-version=1", "--locked", "--all-features"]);
    let printed = output(metadata.arg("--filter-platform=x86_64-unknown-linux-gnu"))?;
    let metadata: Value = serde_json::from_str(&printed).context("cannot read cargo's metadata")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == "cudarc")
        .find_map(|package| Path::new(package["manifest_path"].as_str()?).parent())
        .context("candle no longer depends on cudarc: this command needs another list of CUDA's functions")?;
    Ok(manifest.to_owned())
}

/// The functions that one of cudarc's modules binds, as `on_demand.c` takes them.
fn functions(bindings: &str) -> String {
    // By name, since some are bound once for each of two versions.
    let mut kinds = BTreeMap::new();
    for line in bindings.lines() {
        let Some((name, rest)) = line
            .strip_prefix("pub unsafe fn ")
            .and_then(|signature| signature.split_once('('))
        else {
            continue;
        };
        // These are cudarc's own: they find and load the library.
        if name == "culib" || name == "is_culib_present" {
            continue;
        }
        let returned = rest.rsplit_once(") -> ").map_or("", |(_, returned)| returned);
        let kind = match returned.trim_end_matches(" {") {
            "" | "usize" => "nothing",
            "*const ::core::ffi::c_char" => "text",
            _ => "status",
        };
        kinds.insert(name, kind);
    }
    let lines = kinds.iter().enumerate();
    lines
        .map(|(number, (name, kind))| format!("FUNCTION({name}, {number}, {kind})\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_those_bound_by_what_they_return() {
        let bindings = "\
pub unsafe fn cuInit(Flags: ::core::ffi::c_uint) -> CUresult {
            fn cuInit(Flags: ::core::ffi::c_uint) -> CUresult;
pub unsafe fn cudnnGetErrorString(status: cudnnStatus_t) -> *const ::core::ffi::c_char {
pub unsafe fn cudnnGetVersion() -> usize {
pub unsafe fn cudnnGetLastErrorString(message: *mut ::core::ffi::c_char, max_size: usize) {
pub unsafe fn cuInit(Flags: ::core::ffi::c_uint) -> CUresult {
pub unsafe fn is_culib_present() -> bool {
pub unsafe fn culib() -> &'static ::libloading::Library {
";
        let expected = "\
FUNCTION(cuInit, 0, status)
FUNCTION(cudnnGetErrorString, 1, text)
FUNCTION(cudnnGetLastErrorString, 2, nothing)
FUNCTION(cudnnGetVersion, 3, nothing)
";
        assert_eq!(functions(bindings), expected);
    }

    /// Stands in for zlib and libm, which are everywhere, and for a library that is nowhere.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn a_library_is_loaded_when_first_called_and_missed_without_harm() {
        const PROGRAM: &str = r#"
            #include <stdio.h>
            double pow(double, double);
            int unknown(void);
            int version(void);
            const char *describe(int);
            int main(void) {
                volatile double two = 2, ten = 10;
                printf("%g %g %d\n", pow(two, ten), pow(ten, two), unknown());
                printf("%d %s\n", version(), describe(1));
            }"#;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("main.c"), PROGRAM).unwrap();
        fs::write(at("source.c"), SOURCE).unwrap();
        let there = "FUNCTION(pow, 0, status)\nFUNCTION(unknown, 1, status)\n";
        let absent = "FUNCTION(version, 0, nothing)\nFUNCTION(describe, 1, text)\n";
        for (name, functions) in [("libm.so.6", there), ("libnone.so.1", absent)] {
            let list = at(name);
            fs::write(&list, functions).unwrap();
            let mut cc = Command::new("cc");
            cc.args(["-c", "-fPIC", "-DABSENT=303"])
                .arg(format!("-DLIBRARY=\"{name}\""))
                .arg(format!("-DFUNCTIONS=\"{}\"", list.display()))
                .arg(at("source.c"))
                .arg("-o")
                .arg(at(name).with_extension("o"));
            run(&mut cc).unwrap();
        }
        let mut cc = Command::new("cc");
        cc.arg("-fno-builtin")
            .arg(at("main.c"))
            .args(["libm.so.o", "libnone.so.o"].map(at));
        cc.arg("-o").arg(at("main"));
        run(&mut cc).unwrap();
        let output = Command::new(at("main")).output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "1024 100 303\n0 libnone.so.1 is not there\n"
        );
    }
}
