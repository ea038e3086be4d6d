//! The kernels, which the driver compiles for the GPU at hand.

#![allow(unsafe_code, reason = "the driver is C; each block says why it may be called so")]

use std::{collections::HashMap, ffi::CString, ptr, sync::Arc};

use cudarc::driver::sys;

use super::queue::{Queue, check};
use crate::CudaError;

/// All kernels, in the assembly that the driver compiles.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));

/// The compiled kernels, and those that have been called by name.
pub(super) struct Kernels {
    functions: HashMap<&'static str, Function>,
    module: sys::CUmodule,
    queue: Arc<Queue>,
}

// SAFETY: the module is valid until it is dropped, and the driver takes it from any thread that has bound its context.
unsafe impl Send for Kernels {}

/// A kernel of a module that is loaded.
#[derive(Clone, Copy)]
pub(super) struct Function(sys::CUfunction);

// SAFETY: a name for the driver, which takes it from any thread that has bound its context.
unsafe impl Send for Function {}

impl Function {
    pub(super) fn raw(self) -> sys::CUfunction {
        self.0
    }
}

impl Kernels {
    pub(super) fn load(queue: &Arc<Queue>) -> Result<Self, CudaError> {
        const WHAT: &str = "loading the kernels";
        queue.bind()?;
        let text = CString::new(PTX.trim_end_matches('\0')).map_err(|error| CudaError::Failed {
            what: WHAT.into(),
            status: error.to_string(),
        })?;
        let mut module = ptr::null_mut();
        // SAFETY: the pointer is to a variable of the type that the driver writes; the text ends with a zero.
        let status = unsafe { sys::cuModuleLoadData(&mut module, text.as_ptr().cast()) };
        check(WHAT, status)?;
        Ok(Self {
            functions: HashMap::new(),
            module,
            queue: Arc::clone(queue),
        })
    }

    pub(super) fn function(&mut self, name: &'static str) -> Result<Function, CudaError> {
        if let Some(&function) = self.functions.get(name) {
            return Ok(function);
        }
        let what = || format!("finding the kernel {name}");
        let text = CString::new(name).map_err(|error| CudaError::Failed {
            what: what(),
            status: error.to_string(),
        })?;
        let mut function = ptr::null_mut();
        // SAFETY: the module is loaded, the text ends with a zero, and the pointer is to what the driver writes.
        let status = unsafe { sys::cuModuleGetFunction(&mut function, self.module, text.as_ptr()) };
        check(&what(), status)?;
        self.functions.insert(name, Function(function));
        Ok(Function(function))
    }
}

impl Drop for Kernels {
    /// Comes when the queue has run empty, or before anything was in it.
    fn drop(&mut self) {
        let _ = self.queue.bind();
        // SAFETY: it is loaded, none of its kernels runs, and nobody can call one any more.
        let _ = unsafe { sys::cuModuleUnload(self.module) };
    }
}
