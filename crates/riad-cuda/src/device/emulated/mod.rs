//! A GPU made of the CPU, to test the kernels and what launches them on machines without one: kernels/emulated.cpp runs
//! the kernels, riad-conv the convolutions.
//!
//! What a GPU would do wrongly and silently ends a test here: addresses outside of live allocations in copies and
//! convolutions are errors, writes beyond an allocation panic when it is dropped, reads beyond it find NaN.
#![allow(unsafe_code)] // Memory is addresses, as on a GPU, and kernels are C++.

mod convolution;
mod memory;

use std::{
    ffi::{CString, c_char, c_int, c_void},
    ptr,
    sync::Arc,
};

use self::{
    convolution::Convolution,
    memory::{Live, MEMORY, Memory, QUEUE, failed, lock, pointer},
};
use super::backend::{Allocation, Backend, Plan, Recorded};
use crate::{ConvolutionSpec, CudaError};

unsafe extern "C" {
    fn riad_emulated_launch(
        name: *const c_char,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block: u32,
        arguments: *const c_void,
    ) -> c_int;
}

/// The device.
pub(crate) struct Emulated {
    live: Arc<Live>,
}

impl Emulated {
    pub(crate) fn new() -> Self {
        Self {
            live: Arc::new(Live::default()),
        }
    }
}

impl Backend for Emulated {
    fn name(&self) -> String {
        "the CPU in a GPU's place".to_owned()
    }

    fn memory(&self) -> Result<(usize, usize), CudaError> {
        Ok((MEMORY, MEMORY))
    }

    fn peak_memory(&self) -> Result<usize, CudaError> {
        let (free, all) = self.memory()?;
        Ok(all - free)
    }

    fn allocate(&self, bytes: usize) -> Result<Allocation, CudaError> {
        let memory = Memory::new(bytes, &self.live)?;
        Ok(Allocation {
            pointer: memory.address(),
            _memory: Box::new(memory),
        })
    }

    unsafe fn write(&self, to: u64, from: &[u8]) -> Result<(), CudaError> {
        let _turn = lock(&QUEUE);
        self.live.check("a copy to it", to, from.len())?;
        // SAFETY: the bytes are of one live allocation, which the caller keeps alive, and kernels and copies of other
        // threads wait for the lock.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), pointer(to), from.len()) };
        Ok(())
    }

    unsafe fn read(&self, from: u64, to: &mut [u8]) -> Result<(), CudaError> {
        let _turn = lock(&QUEUE);
        self.live.check("a copy from it", from, to.len())?;
        // SAFETY: as in `write`.
        unsafe { ptr::copy_nonoverlapping(pointer(from).cast_const(), to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    unsafe fn launch(
        &self,
        name: &'static str,
        grid: [u32; 3],
        block: u32,
        arguments: *const c_void,
    ) -> Result<(), CudaError> {
        // What CUDA takes, and what the kernels are compiled for.
        let most = [i32::MAX as u32, 65535, 65535];
        if !(1..=256).contains(&block)
            || grid
                .iter()
                .zip(most)
                .any(|(&blocks, most)| blocks == 0 || blocks > most)
        {
            return Err(failed(
                name,
                format!("{grid:?} blocks of {block} threads are no launch"),
            ));
        }
        let text = CString::new(name).map_err(|error| failed(name, error))?;
        let _turn = lock(&QUEUE);
        let [x, y, z] = grid;
        // SAFETY: the name ends with a zero, the block has at most 256 threads, one launch runs at a time, and the caller
        // answers for the arguments.
        match unsafe { riad_emulated_launch(text.as_ptr(), x, y, z, block, arguments) } {
            0 => Ok(()),
            _ => Err(failed(name, "there is no kernel of this name")),
        }
    }

    fn begin_recording(&self) -> Result<bool, CudaError> {
        Ok(false)
    }

    fn end_recording(&self) -> Result<Box<dyn Recorded>, CudaError> {
        Err(CudaError::Failed {
            what: "recording".into(),
            status: "it was not begun".into(),
        })
    }

    fn plan(&self, spec: &ConvolutionSpec) -> Result<Box<dyn Plan>, CudaError> {
        Ok(Box::new(Convolution::new(spec, &self.live)?))
    }
}

#[cfg(test)]
mod tests;
