//! A GPU, its memory, and what all calls of kernels share.
#![allow(unsafe_code)] // Hands addresses of checked length to kernels and copies.

use std::{
    collections::HashMap,
    ffi::c_void,
    fmt,
    marker::PhantomData,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    CudaError, Precision,
    backend::{Allocation, Backend, Plan},
    convolution::{ConvolutionSpec, Epilogue, Kind},
    recording::Recordings,
};

/// Threads of a block, of every kernel.
pub(crate) const THREADS: u32 = 256;

/// A GPU with one queue: calls return before the GPU has done what they ask for, and it does so in their order. A clone is
/// the same GPU and queue.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    backend: Box<dyn Backend>,
    /// Convolutions prepared before: it takes long.
    plans: Mutex<HashMap<ConvolutionSpec, Arc<dyn Plan>>>,
    recordings: Recordings,
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gpu").field(&self.0.backend.name()).finish()
    }
}

impl PartialEq for Gpu {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A number that lies in device memory.
pub trait Number: Copy + Default + private::Plain {}
impl Number for u8 {}
impl Number for f32 {}
impl Number for f64 {}
impl Number for half::bf16 {}

mod private {
    /// Any bits are a value, and a value has no byte that is not set.
    pub trait Plain {}
    impl Plain for u8 {}
    impl Plain for f32 {}
    impl Plain for f64 {}
    impl Plain for half::bf16 {}
}

/// Device memory, zero at first.
pub struct Buffer {
    gpu: Gpu,
    number: u64,
    /// There until it is dropped.
    allocation: Option<Allocation>,
    pointer: u64,
    bytes: usize,
}

/// A part of a [`Buffer`].
#[derive(Clone, Copy)]
pub struct Span<'a> {
    pointer: u64,
    bytes: usize,
    buffer: PhantomData<&'a Buffer>,
}

/// Activations or a gradient: `count` pixels of `channels` values, `pixel` values from one pixel to the next.
#[derive(Clone, Copy)]
pub struct Pixels<'a> {
    span: Span<'a>,
    pub(crate) precision: Precision,
    pub(crate) count: usize,
    pub(crate) channels: usize,
    pub(crate) pixel: usize,
}

impl Gpu {
    /// Opens the CUDA device of this number.
    ///
    /// # Errors
    /// [`CudaError::Device`] with the reason and the way out.
    #[cfg(feature = "cuda")]
    pub fn open(index: usize) -> Result<Self, CudaError> {
        Ok(Self::new(Box::new(crate::backend::cuda::Cuda::open(index)?)))
    }

    /// The CPU in a GPU's place: slow, and for tests.
    #[cfg(feature = "emulated")]
    pub fn emulated() -> Self {
        Self::new(Box::new(crate::backend::emulated::Emulated::new()))
    }

    #[cfg(any(feature = "cuda", feature = "emulated"))]
    fn new(backend: Box<dyn Backend>) -> Self {
        Self(Arc::new(Inner {
            backend,
            plans: Mutex::default(),
            recordings: Recordings::default(),
        }))
    }

    pub(crate) fn recordings(&self) -> &Recordings {
        &self.0.recordings
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.0.backend
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.0.backend.name()
    }

    /// Bytes of its memory: free, and all.
    ///
    /// # Errors
    /// If the device fails.
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        self.0.backend.memory()
    }

    /// Bytes of its memory that this program has had allocated at once, at most.
    ///
    /// # Errors
    /// If the device fails.
    pub fn peak_memory(&self) -> Result<usize, CudaError> {
        self.0.backend.peak_memory()
    }

    /// Zeroed memory for `bytes` bytes.
    ///
    /// # Errors
    /// [`CudaError::Memory`] where there is not enough.
    pub fn buffer(&self, bytes: usize) -> Result<Buffer, CudaError> {
        let _turn = self.0.recordings.turn();
        let allocation = self.0.backend.allocate(bytes.max(1))?;
        Ok(Buffer {
            gpu: self.clone(),
            number: self.0.recordings.number(),
            pointer: allocation.pointer,
            allocation: Some(allocation),
            bytes,
        })
    }

    /// A copy of `values` on the device.
    ///
    /// # Errors
    /// [`CudaError::Memory`] where there is not enough.
    pub fn upload<T: Number>(&self, values: &[T]) -> Result<Buffer, CudaError> {
        let buffer = self.buffer(mem::size_of_val(values))?;
        buffer.write(0, values)?;
        Ok(buffer)
    }

    /// Prepares a convolution, once for each spec.
    ///
    /// # Errors
    /// If cuDNN cannot do it.
    pub fn convolution(&self, spec: ConvolutionSpec) -> Result<Convolution, CudaError> {
        // A plan goes in whole or not at all.
        let _turn = self.0.recordings.turn();
        let mut plans = self.0.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = match plans.get(&spec) {
            Some(plan) => Arc::clone(plan),
            None => {
                let plan: Arc<dyn Plan> = self.0.backend.plan(&spec)?.into();
                plans.insert(spec, Arc::clone(&plan));
                plan
            }
        };
        Ok(Convolution {
            gpu: self.clone(),
            plan,
            spec,
        })
    }

    /// Runs the kernel `name` on blocks of [`THREADS`] threads.
    ///
    /// # Safety
    /// As of [`Backend::launch`], with `A` the kernel's struct.
    pub(crate) unsafe fn launch<A>(&self, name: &'static str, grid: [u32; 3], arguments: &A) -> Result<(), CudaError> {
        if grid.contains(&0) {
            return Ok(());
        }
        let arguments = std::ptr::from_ref(arguments).cast::<c_void>();
        let _turn = self.0.recordings.turn();
        // SAFETY: the caller's.
        unsafe { self.0.backend.launch(name, grid, THREADS, arguments) }
    }
}

impl Buffer {
    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of it.
    pub fn span(&self) -> Span<'_> {
        Span {
            pointer: self.pointer,
            bytes: self.bytes,
            buffer: PhantomData,
        }
    }

    /// `count` numbers from the number `first` on.
    ///
    /// # Panics
    /// If they are not all within the buffer.
    pub fn part<T: Number>(&self, first: usize, count: usize) -> Span<'_> {
        let size = size_of::<T>();
        self.span().bytes(first * size, count * size)
    }

    /// Pixels from the start on.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub fn pixels(&self, precision: Precision, count: usize, channels: usize) -> Pixels<'_> {
        Pixels {
            span: self.span().bytes(0, count * channels * precision.bytes()),
            precision,
            count,
            channels,
            pixel: channels,
        }
    }

    /// Overwrites the numbers from `first` on.
    ///
    /// # Errors
    /// If the buffer is shorter, or the device fails.
    pub fn write<T: Number>(&self, first: usize, values: &[T]) -> Result<(), CudaError> {
        let (offset, bytes) = (first * size_of::<T>(), mem::size_of_val(values));
        check("what is written", self.bytes.saturating_sub(offset), bytes)?;
        // SAFETY: a `Number` has no byte that is not set, and as many bytes are read as the slice has.
        let from = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), bytes) };
        let _turn = self.gpu.0.recordings.turn();
        // SAFETY: checked above to lie within the allocation.
        unsafe { self.gpu.0.backend.write(self.pointer + offset as u64, from) }
    }

    /// Waits for all that the GPU has been asked to do, and reads `count` numbers from `first` on.
    ///
    /// # Errors
    /// If the buffer is shorter, or the device fails.
    pub fn read<T: Number>(&self, first: usize, count: usize) -> Result<Vec<T>, CudaError> {
        let mut values = vec![T::default(); count];
        let (offset, bytes) = (first * size_of::<T>(), mem::size_of_val(values.as_slice()));
        check("what is read", self.bytes.saturating_sub(offset), bytes)?;
        // SAFETY: any bytes are a `Number`, and as many are written as the vector has.
        let to = unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), bytes) };
        let _turn = self.gpu.0.recordings.turn();
        // SAFETY: checked above to lie within the allocation.
        unsafe { self.gpu.0.backend.read(self.pointer + offset as u64, to) }?;
        Ok(values)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(allocation) = self.allocation.take() {
            let _turn = self.gpu.0.recordings.turn();
            self.gpu.0.recordings.free(self.number, allocation);
        }
    }
}

impl<'a> Span<'a> {
    pub(crate) fn pointer(self) -> u64 {
        self.pointer
    }

    fn bytes(self, offset: usize, bytes: usize) -> Self {
        assert!(
            offset <= self.bytes && bytes <= self.bytes - offset,
            "bytes {offset}..{} of a buffer of {}",
            offset + bytes,
            self.bytes
        );
        Self {
            pointer: self.pointer + offset as u64,
            bytes,
            ..self
        }
    }

    /// Its address, if it holds `count` numbers.
    pub(crate) fn of<T: Number>(self, what: &'static str, count: usize) -> Result<u64, CudaError> {
        check(what, self.bytes, count * size_of::<T>())?;
        Ok(self.pointer)
    }
}

impl<'a> Pixels<'a> {
    /// The same memory with `channels` values from `first` of each pixel.
    ///
    /// # Panics
    /// If the pixels have fewer.
    pub fn channels(self, first: usize, channels: usize) -> Self {
        assert!(
            first + channels <= self.channels,
            "channels {first}..{}",
            first + channels
        );
        let offset = first * self.precision.bytes();
        Self {
            span: self.span.bytes(offset, self.span.bytes - offset),
            channels,
            ..self
        }
    }

    /// `count` pixels from `first` on.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn part(self, first: usize, count: usize) -> Self {
        assert!(
            first + count <= self.count,
            "pixels {first}..{} of {}",
            first + count,
            self.count
        );
        let offset = first * self.pixel * self.precision.bytes();
        Self {
            span: self.span.bytes(offset, self.span.bytes - offset),
            count,
            ..self
        }
    }

    /// Number of pixels.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(self) -> usize {
        self.count
    }

    /// Values of a pixel that are in use.
    pub fn channel_count(self) -> usize {
        self.channels
    }

    pub(crate) fn pointer(self) -> u64 {
        self.span.pointer
    }

    /// Refuses pixels that are not as many, or not of as many channels.
    pub(crate) fn like(self, what: &'static str, other: Pixels<'_>) -> Result<Self, CudaError> {
        let bytes = |pixels: Pixels<'_>| pixels.count * pixels.channels * pixels.precision.bytes();
        if self.precision.bytes() != other.precision.bytes() || self.channels != other.channels {
            return Err(CudaError::Length {
                what,
                expected: bytes(other),
                found: bytes(self),
            });
        }
        check(what, bytes(self), bytes(other))?;
        Ok(self)
    }
}

fn check(what: &'static str, found: usize, expected: usize) -> Result<(), CudaError> {
    if found >= expected {
        return Ok(());
    }
    Err(CudaError::Length { what, expected, found })
}

/// A convolution that is ready to run.
pub struct Convolution {
    gpu: Gpu,
    plan: Arc<dyn Plan>,
    spec: ConvolutionSpec,
}

impl Convolution {
    /// What it computes.
    pub fn spec(&self) -> &ConvolutionSpec {
        &self.spec
    }

    /// Computes the tensor that the spec's [`Kind`] names from the other two. `bias` is read where there is an epilogue.
    ///
    /// # Errors
    /// If a tensor is not as the spec says, or the device fails.
    pub fn run(&self, x: Pixels<'_>, w: Span<'_>, y: Pixels<'_>, bias: Option<Span<'_>>) -> Result<(), CudaError> {
        let ConvolutionSpec {
            kind,
            precision,
            images,
            height,
            width,
            inputs,
            outputs,
            kernel,
            x_pixel,
            y_pixel,
            epilogue,
            ..
        } = self.spec;
        let (y_height, y_width) = self.spec.y_size();
        for (what, pixels, count, channels, pixel) in [
            ("a convolution's x", x, images * height * width, inputs, x_pixel),
            ("a convolution's y", y, images * y_height * y_width, outputs, y_pixel),
        ] {
            if (pixels.precision.bytes(), pixels.channels, pixels.pixel) != (precision.bytes(), channels, pixel) {
                return Err(CudaError::Failed {
                    what: what.into(),
                    status: format!(
                        "it has {} of {} channels, not {channels} of {pixel}",
                        pixels.channels, pixels.pixel
                    ),
                });
            }
            check(what, pixels.count, count)?;
        }
        check(
            "a convolution's weights",
            w.bytes,
            outputs * kernel * kernel * inputs * precision.bytes(),
        )?;
        let bias = match (epilogue, bias) {
            (Epilogue::None, _) => 0,
            (Epilogue::BiasRelu, Some(bias)) => bias.of::<f32>("a convolution's bias", outputs)?,
            (Epilogue::BiasRelu, None) => {
                return Err(CudaError::Length {
                    what: "a convolution's bias",
                    expected: outputs * size_of::<f32>(),
                    found: 0,
                });
            }
        };
        debug_assert!(kind == Kind::Forward || epilogue == Epilogue::None);
        let _turn = self.gpu.0.recordings.turn();
        // SAFETY: shapes and lengths were checked above against the spec.
        unsafe {
            self.plan
                .run(&*self.gpu.0.backend, x.pointer(), w.pointer, y.pointer(), bias)
        }
    }
}

/// Blocks of [`THREADS`] that give each of `count` elements a thread.
pub(crate) fn one_thread_each(count: usize) -> [u32; 3] {
    [count.div_ceil(THREADS as usize) as u32, 1, 1]
}

/// The name of a kernel that there is for each type of activations.
macro_rules! kernel {
    ($name:literal, $precision:expr) => {
        match $precision.bytes() {
            2 => concat!($name, "_bf16"),
            _ => concat!($name, "_f32"),
        }
    };
}
pub(crate) use kernel;
