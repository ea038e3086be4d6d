//! Compiles the kernels: by nvcc for GPUs, as C++ for the CPU.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernels");
    #[cfg(feature = "cuda")]
    if let Err(message) = cuda::compile() {
        println!("cargo::error={message}");
    }
    #[cfg(feature = "emulated")]
    emulated::compile();
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::env;
    use std::io::ErrorKind;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// Makes `kernels.ptx` in `OUT_DIR`. PTX of a GPU runs on all newer ones too: the driver compiles it.
    pub(crate) fn compile() -> Result<(), String> {
        println!("cargo::rerun-if-env-changed=CUDA_HOME");
        println!("cargo::rerun-if-env-changed=CUDA_COMPUTE_CAP");
        let home = env::var_os("CUDA_HOME").map(PathBuf::from);
        let from_home = home.as_deref().map(|home| home.join("bin").join("nvcc"));
        let nvcc = from_home.filter(|nvcc| nvcc.exists()).unwrap_or_else(|| "nvcc".into());
        let out = env::var_os("OUT_DIR").ok_or("cargo has not set OUT_DIR")?;

        let mut command = Command::new(nvcc);
        command.args(["--ptx", "-O3", "-std=c++17"]);
        command.arg(format!("-arch=compute_{}", compute_cap()?));
        command.arg("-Ikernels");
        if let Some(home) = home {
            command.arg("-I").arg(home.join("include"));
        }
        command.arg("kernels/kernels.cu").arg("-o");
        command.arg(Path::new(&out).join("kernels.ptx"));
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
    pub(crate) fn compile() {
        let mut build = cc::Build::new();
        build
            .cpp(true)
            .std("c++17")
            .opt_level(2)
            .warnings(false)
            .define("RIAD_EMULATED", None)
            .include("kernels")
            .file("kernels/emulated.cpp");
        // nvcc's C++ reads a float4 from where floats were written.
        build.flag("-w").flag("-fno-strict-aliasing").flag("-ffp-contract=off");
        // A GPU neither checks indices nor reads a float4 across its alignment: here both end in a trap.
        for flag in ["-fsanitize=bounds,alignment", "-fsanitize-undefined-trap-on-error"] {
            build.flag(flag);
        }
        build.compile("riad_emulated");
    }
}
