//! Compiles the kernels: by nvcc for GPUs, as C++ for the CPU. With them goes a header that compares what they take with what
//! Rust gives them.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-changed=src/ops/arguments.rs");
    #[cfg(feature = "cuda")]
    if let Err(message) = cuda::compile() {
        println!("cargo::error={message}");
    }
    #[cfg(feature = "emulated")]
    if let Err(message) = emulated::compile() {
        println!("cargo::error={message}");
    }
}

/// Rust's side of what kernels take, from the file that the crate has it from.
#[cfg(any(feature = "cuda", feature = "emulated"))]
mod layout {
    #![allow(dead_code)] // Only layouts matter here.

    use std::env;
    use std::fmt::Write as _;
    use std::fs;
    use std::mem::offset_of;
    use std::path::PathBuf;

    macro_rules! constants {
        ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr;)*) => {
            $(const $name: $type = $value;)*

            fn write_constants(text: &mut String) {
                $(let _ = writeln!(text, "static_assert({0} == {1}, \"{0} differs\");", stringify!($name), $name);)*
            }
        };
    }

    macro_rules! arguments {
        ($($name:ident { $($field:ident: $type:ty),* })*) => {
            $(
                #[repr(C)]
                struct $name { $($field: $type),* }
            )*

            fn write_arguments(text: &mut String) {
                $(
                    let (name, bytes) = (stringify!($name), size_of::<$name>());
                    let _ = writeln!(text, "static_assert(sizeof({name}) == {bytes}, \"{name} differs\");");
                    $(
                        let (field, at, bytes) = (stringify!($field), offset_of!($name, $field), size_of::<$type>());
                        let _ = writeln!(
                            text,
                            "static_assert(offsetof({name}, {field}) == {at} && sizeof({name}::{field}) == {bytes}, \
                             \"{name}::{field} differs\");"
                        );
                    )*
                )*
            }
        };
    }

    include!("src/ops/arguments.rs");

    /// Writes `layout.h`, which the kernels end with, and returns its folder.
    pub(crate) fn write() -> Result<PathBuf, String> {
        let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo has not set OUT_DIR")?);
        let mut text = "// Made by build.rs of src/ops/arguments.rs.\n#include <stddef.h>\n".to_owned();
        write_constants(&mut text);
        write_arguments(&mut text);
        let path = out.join("layout.h");
        fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(out)
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::env;
    use std::io::ErrorKind;
    use std::path::PathBuf;
    use std::process::Command;

    /// Makes `kernels.ptx` in `OUT_DIR`. PTX of a GPU runs on all newer ones too: the driver compiles it.
    pub(crate) fn compile() -> Result<(), String> {
        println!("cargo::rerun-if-env-changed=CUDA_HOME");
        println!("cargo::rerun-if-env-changed=CUDA_COMPUTE_CAP");
        let home = env::var_os("CUDA_HOME").map(PathBuf::from);
        let from_home = home.as_deref().map(|home| home.join("bin").join("nvcc"));
        let nvcc = from_home.filter(|nvcc| nvcc.exists()).unwrap_or_else(|| "nvcc".into());
        let out = super::layout::write()?;

        let mut command = Command::new(nvcc);
        command.args(["--ptx", "-O3", "-std=c++17"]);
        command.arg(format!("-arch=compute_{}", compute_cap()?));
        command.arg("-Ikernels").arg("-I").arg(&out);
        if let Some(home) = home {
            command.arg("-I").arg(home.join("include"));
        }
        command.arg("kernels/kernels.cu").arg("-o").arg(out.join("kernels.ptx"));
        let status = command.status().map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                "riad-cuda's feature `cuda` needs CUDA's compiler: install CUDA and set CUDA_HOME, or \
                                    run eval \"$(cargo xtask cuda-toolkit)\""
                    .to_owned()
            }
            _ => format!("cannot start nvcc: {error}"),
        })?;
        if !status.success() {
            return Err(format!("nvcc could not compile riad-cuda's kernels ({status})"));
        }
        Ok(())
    }

    /// The oldest GPUs that the kernels are for. An `a` behind the number would bind them to that family.
    fn compute_cap() -> Result<String, String> {
        let value = env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "80".to_owned());
        let number = value.trim().trim_end_matches('a').replace('.', "");
        if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(format!("CUDA_COMPUTE_CAP is {value:?}; set it to a number such as 80"));
        }
        Ok(number)
    }
}

#[cfg(feature = "emulated")]
mod emulated {
    use std::env;

    /// Compiles the kernels as C++, for Linux: what runs them switches between stacks by its C library. Elsewhere there is no
    /// emulation, and nothing to compile; what counts is where the program is to run, not where it is built.
    pub(crate) fn compile() -> Result<(), String> {
        if env::var_os("CARGO_CFG_TARGET_OS").is_none_or(|target| target != "linux") {
            return Ok(());
        }
        let mut build = cc::Build::new();
        build
            .cpp(true)
            .std("c++17")
            .opt_level(2)
            .warnings(false)
            .define("RIAD_EMULATED", None)
            .include("kernels")
            .include(super::layout::write()?)
            .file("kernels/emulated.cpp");
        // nvcc's C++ reads a float4 from where floats were written.
        build.flag("-w").flag("-fno-strict-aliasing").flag("-ffp-contract=off");
        // A GPU neither checks indices nor reads a float4 across its alignment: here both end in a trap.
        for flag in ["-fsanitize=bounds,alignment", "-fsanitize-undefined-trap-on-error"] {
            build.flag(flag);
        }
        build.compile("riad_emulated");
        Ok(())
    }
}
