//! A GPU made of the CPU, to test the kernels and what launches them on machines without one: kernels/emulated.cpp runs
//! the kernels, riad-conv the convolutions.
//!
//! What a GPU would do wrongly and silently ends a test here: addresses outside of live allocations in copies and
//! convolutions are errors, writes beyond an allocation panic when it is dropped, reads beyond it find NaN.
#![allow(unsafe_code)] // Memory is addresses, as on a GPU, and kernels are C++.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use half::bf16;
use riad_conv::{Batch, BatchMut, ConvError, Dims, Geometry, conv2d, conv2d_grad_input, conv2d_grad_weight};

use crate::backend::{Allocation, Backend, Plan, Recorded};
use crate::{ConvolutionSpec, CudaError, Epilogue, Kind, Precision};

/// Bytes on both sides of an allocation that nothing may write, which also keep its start aligned.
const GUARD: usize = 256;

/// What they repeat: a NaN as f32 and as bf16, and a signalling one, which comes out changed from any calculation.
const PATTERN: [u8; 2] = [0xa5, 0xff];

/// Bytes that the device says it has.
const MEMORY: usize = 4_000_000_000;

/// The device's one queue: kernels keep their state in static variables, and what callers on other threads ask for must
/// not meet halfway.
static QUEUE: Mutex<()> = Mutex::new(());

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

fn failed(what: &str, status: impl ToString) -> CudaError {
    CudaError::Failed {
        what: what.to_owned(),
        status: status.to_string(),
    }
}

/// A lock that outlives a panic: what it guards is whole at all times.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pointer(address: u64) -> *mut u8 {
    ptr::with_exposed_provenance_mut(address as usize)
}

/// Where allocations begin that have not been given back, and how long they are.
#[derive(Default)]
struct Live(Mutex<BTreeMap<u64, usize>>);

impl Live {
    /// Whether the bytes are of one allocation.
    fn check(&self, what: &str, address: u64, bytes: usize) -> Result<(), CudaError> {
        let live = lock(&self.0);
        let holds = |(&start, &length): (&u64, &usize)| {
            let from = address - start;
            from.checked_add(bytes as u64).is_some_and(|end| end <= length as u64)
        };
        if bytes == 0 || live.range(..=address).next_back().is_some_and(holds) {
            Ok(())
        } else {
            Err(failed(
                what,
                format!("no allocation holds the {bytes} bytes at {address:#x}"),
            ))
        }
    }
}

/// Zeros between guards.
struct Memory {
    /// Of the first guard.
    base: u64,
    bytes: usize,
    live: Arc<Live>,
}

impl Memory {
    fn new(bytes: usize, live: &Arc<Live>) -> Result<Self, CudaError> {
        let no_memory = CudaError::Memory { bytes };
        if bytes > MEMORY {
            return Err(no_memory);
        }
        let layout = Self::layout(bytes).ok_or(no_memory.clone())?;
        // SAFETY: the layout has the guards' bytes at least.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return Err(no_memory);
        }
        let memory = Self {
            base: base.expose_provenance() as u64,
            bytes,
            live: Arc::clone(live),
        };
        for guard in memory.guards() {
            for (i, address) in guard.enumerate() {
                // SAFETY: the address is in the memory that was just allocated.
                unsafe { pointer(address).write(PATTERN[i % PATTERN.len()]) };
            }
        }
        lock(&live.0).insert(memory.address(), bytes);
        Ok(memory)
    }

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes.checked_add(2 * GUARD)?, GUARD).ok()
    }

    fn address(&self) -> u64 {
        self.base + GUARD as u64
    }

    fn guards(&self) -> [std::ops::Range<u64>; 2] {
        let guard = |start: u64| start..start + GUARD as u64;
        [guard(self.base), guard(self.address() + self.bytes as u64)]
    }

    /// The first byte of the guards that has been written, counted from the allocation's start.
    fn damage(&self) -> Option<i64> {
        let damaged = |(i, address): &(usize, u64)| {
            // SAFETY: the address is in this memory, which is initialised.
            let value = unsafe { pointer(*address).read() };
            value != PATTERN[i % PATTERN.len()]
        };
        let mut addresses = self.guards().into_iter().flat_map(|guard| guard.enumerate());
        let (_, address) = addresses.find(damaged)?;
        Some(address.wrapping_sub(self.address()) as i64)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _turn = lock(&QUEUE);
        lock(&self.live.0).remove(&self.address());
        let damage = self.damage();
        if let Some(layout) = Self::layout(self.bytes) {
            // SAFETY: it was allocated with the layout of as many bytes, and is not used after this.
            unsafe { dealloc(pointer(self.base), layout) };
        }
        if let Some(at) = damage {
            let message = format!(
                "byte {at} of an allocation of {} bytes has been written: a kernel writes beyond what it was given",
                self.bytes
            );
            if std::thread::panicking() {
                eprintln!("{message}");
            } else {
                panic!("{message}");
            }
        }
    }
}

/// A convolution by riad-conv.
struct Convolution {
    spec: ConvolutionSpec,
    geometry: Geometry,
    /// Of x and y, without what lies between their pixels.
    x: Dims,
    y: Dims,
    live: Arc<Live>,
}

impl Convolution {
    fn new(spec: &ConvolutionSpec, live: &Arc<Live>) -> Result<Self, CudaError> {
        let no_spec = |status: &str| Err(failed("a convolution", format!("{status}: {spec:?}")));
        let multiples = [spec.inputs, spec.outputs, spec.x_pixel, spec.y_pixel];
        if multiples.iter().any(|&values| values == 0 || values % 8 != 0) {
            return no_spec("channels and pixels must be multiples of 8");
        }
        if spec.x_pixel < spec.inputs || spec.y_pixel < spec.outputs {
            return no_spec("a pixel has fewer values than channels");
        }
        if spec.epilogue != Epilogue::None && spec.kind != Kind::Forward {
            return no_spec("only what computes y has an epilogue");
        }
        if spec.images == 0 {
            return no_spec("there are no images");
        }
        let geometry = Geometry::new(spec.kernel, spec.stride, spec.padding);
        let x = Dims::new(spec.images, spec.height, spec.width, spec.inputs);
        let y = x.conv2d(spec.outputs, geometry).map_err(refused)?;
        Ok(Self {
            spec: *spec,
            geometry,
            x,
            y,
            live: Arc::clone(live),
        })
    }

    fn tensor(&self, what: &'static str, address: u64, dims: Dims, pixel: usize) -> Result<Tensor, CudaError> {
        let tensor = Tensor {
            address,
            pixels: dims.images * dims.height * dims.width,
            channels: dims.channels,
            pixel,
            precision: self.spec.precision,
        };
        if !address.is_multiple_of(16) {
            return Err(failed(
                what,
                format!("its address {address:#x} is not aligned to 16 bytes"),
            ));
        }
        self.live.check(what, address, tensor.bytes())?;
        Ok(tensor)
    }

    fn bias(&self, address: u64) -> Result<Option<Vec<f32>>, CudaError> {
        match self.spec.epilogue {
            Epilogue::None => Ok(None),
            Epilogue::BiasRelu => {
                let dims = Dims::new(1, 1, 1, self.spec.outputs);
                let bias = Tensor {
                    precision: Precision::F32,
                    ..self.tensor("a convolution's bias", address, dims, self.spec.outputs)?
                };
                self.live.check("a convolution's bias", address, bias.bytes())?;
                Ok(Some(bias.load()))
            }
        }
    }
}

impl Plan for Convolution {
    unsafe fn run(&self, _: &dyn Backend, x: u64, w: u64, y: u64, bias: u64) -> Result<(), CudaError> {
        let spec = &self.spec;
        let x = self.tensor("a convolution's x", x, self.x, spec.x_pixel)?;
        let w_dims = Dims::new(spec.outputs, spec.kernel, spec.kernel, spec.inputs);
        let w = self.tensor("a convolution's w", w, w_dims, spec.inputs)?;
        let y = self.tensor("a convolution's y", y, self.y, spec.y_pixel)?;

        // riad-conv's threads may take up other work meanwhile, which may wait for the queue: it is ours for the copies
        // alone.
        let turn = lock(&QUEUE);
        let bias = self.bias(bias)?;
        let written = match spec.kind {
            Kind::Forward => {
                let (from, weight) = (x.load(), oihw_from_ohwi(&w.load(), w_dims));
                drop(turn);
                let mut to = vec![0.0; y.values()];
                let out = BatchMut::new(&mut to, self.y).map_err(refused)?;
                let from = Batch::new(&from, self.x).map_err(refused)?;
                conv2d(from, &weight, bias.as_deref(), self.geometry, out).map_err(refused)?;
                if spec.epilogue == Epilogue::BiasRelu {
                    // Unlike f32::max, this lets NaN through.
                    to.iter_mut()
                        .filter(|value| **value < 0.0)
                        .for_each(|value| *value = 0.0);
                }
                (y, to)
            }
            Kind::GradInput => {
                let (from, weight) = (y.load(), oihw_from_ohwi(&w.load(), w_dims));
                drop(turn);
                let mut to = vec![0.0; x.values()];
                let out = BatchMut::new(&mut to, self.x).map_err(refused)?;
                let from = Batch::new(&from, self.y).map_err(refused)?;
                conv2d_grad_input(from, &weight, self.geometry, out).map_err(refused)?;
                (x, to)
            }
            Kind::GradWeight => {
                let (images, gradient) = (x.load(), y.load());
                drop(turn);
                let mut to = vec![0.0; w.values()];
                let images = Batch::new(&images, self.x).map_err(refused)?;
                let gradient = Batch::new(&gradient, self.y).map_err(refused)?;
                conv2d_grad_weight(images, gradient, self.geometry, &mut to).map_err(refused)?;
                (w, ohwi_from_oihw(&to, w_dims))
            }
        };
        let _turn = lock(&QUEUE);
        let (tensor, values) = written;
        tensor.store(&values);
        Ok(())
    }
}

fn refused(error: ConvError) -> CudaError {
    failed("a convolution", error)
}

/// For each value of weights `[outputs, inputs, height, width]`, in order, its place in `[outputs, height, width, inputs]`.
fn places(w: Dims) -> impl Iterator<Item = usize> {
    let area = w.height * w.width;
    let of_output = move |output| {
        (0..w.channels).flat_map(move |input| (0..area).map(move |tap| (output * area + tap) * w.channels + input))
    };
    (0..w.images).flat_map(of_output)
}

fn oihw_from_ohwi(values: &[f32], w: Dims) -> Vec<f32> {
    places(w).map(|place| values[place]).collect()
}

fn ohwi_from_oihw(values: &[f32], w: Dims) -> Vec<f32> {
    let mut to = vec![0.0; values.len()];
    for (place, &value) in places(w).zip(values) {
        to[place] = value;
    }
    to
}

/// A tensor where it lies: in live memory, aligned, which [`Convolution::tensor`] has checked.
struct Tensor {
    address: u64,
    pixels: usize,
    channels: usize,
    /// Values from one pixel to the next.
    pixel: usize,
    precision: Precision,
}

impl Tensor {
    fn values(&self) -> usize {
        self.pixels * self.channels
    }

    /// From the first value to the last.
    fn bytes(&self) -> usize {
        ((self.pixels - 1) * self.pixel + self.channels) * self.precision.bytes()
    }

    /// Each value's address.
    fn addresses(&self) -> impl Iterator<Item = *mut u8> {
        let (address, bytes) = (self.address, self.precision.bytes());
        let of_pixel = move |at: usize| (0..self.channels).map(move |channel| (at * self.pixel + channel) * bytes);
        (0..self.pixels)
            .flat_map(of_pixel)
            .map(move |offset| pointer(address + offset as u64))
    }

    /// The values, as factors.
    fn load(&self) -> Vec<f32> {
        // SAFETY: the tensor has been checked, its values are aligned, and all bits are a value.
        let load = |at: *mut u8| unsafe {
            match self.precision {
                Precision::F32 => at.cast::<f32>().read(),
                Precision::Tf32 => tf32(at.cast::<f32>().read()),
                Precision::Bf16 => at.cast::<bf16>().read().to_f32(),
            }
        };
        self.addresses().map(load).collect()
    }

    fn store(&self, values: &[f32]) {
        for (at, &value) in self.addresses().zip(values) {
            // SAFETY: as in `load`.
            unsafe {
                match self.precision {
                    Precision::F32 | Precision::Tf32 => at.cast::<f32>().write(value),
                    Precision::Bf16 => at.cast::<bf16>().write(bf16::from_f32(value)),
                }
            }
        }
    }
}

/// `value` with 10 bits of mantissa: the nearest, of two the even one.
fn tf32(value: f32) -> f32 {
    if value.is_nan() {
        return value;
    }
    let bits = value.to_bits();
    // A carry out of the mantissa is right: it leads to the next exponent, at last to infinity.
    f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
}

#[cfg(test)]
mod tests;
