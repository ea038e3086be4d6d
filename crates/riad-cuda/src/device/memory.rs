//! Memory of a GPU: buffers, and views of them that know how long they are.
#![allow(unsafe_code)] // Copies to and from addresses of checked length.

use std::{marker::PhantomData, mem};

use super::{Gpu, backend::Allocation};
use crate::{
    CudaError, Precision,
    lengths::{check, count, product},
};

/// Bytes that kernels and cuDNN take at a time, at addresses that are multiples of as many.
const VECTOR: usize = 16;

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
    /// Zeroed memory for `bytes` bytes.
    ///
    /// # Errors
    /// [`CudaError::Memory`] if there is not enough.
    pub fn buffer(&self, bytes: usize) -> Result<Buffer, CudaError> {
        let _turn = self.recordings().turn();
        let allocation = self.backend().allocate(bytes.max(1))?;
        Ok(Buffer {
            gpu: self.clone(),
            number: self.recordings().number(),
            pointer: allocation.pointer,
            allocation: Some(allocation),
            bytes,
        })
    }

    /// A copy of `values` on the device.
    ///
    /// # Errors
    /// [`CudaError::Memory`] if there is not enough.
    pub fn upload<T: Number>(&self, values: &[T]) -> Result<Buffer, CudaError> {
        let buffer = self.buffer(mem::size_of_val(values))?;
        buffer.write(0, values)?;
        Ok(buffer)
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
    /// # Errors
    /// [`CudaError::Length`] if they are not all within the buffer.
    pub fn part<T: Number>(&self, first: usize, count: usize) -> Result<Span<'_>, CudaError> {
        let [offset, bytes] = [first, count].map(|numbers| product(&[numbers, size_of::<T>()]));
        self.span().part("a part of a buffer", offset, bytes)
    }

    /// The first `count` dense pixels of `channels` values.
    ///
    /// # Errors
    /// [`CudaError::Length`] if the buffer is shorter.
    pub fn pixels(&self, precision: Precision, count: usize, channels: usize) -> Result<Pixels<'_>, CudaError> {
        let bytes = product(&[count, channels, precision.bytes()]);
        Ok(Pixels {
            span: self.span().part("a buffer of pixels", 0, bytes)?,
            precision,
            count,
            channels,
            pixel: channels,
        })
    }

    /// Overwrites the numbers from `first` on.
    ///
    /// # Errors
    /// If the buffer is shorter, or the device fails.
    pub fn write<T: Number>(&self, first: usize, values: &[T]) -> Result<(), CudaError> {
        let bytes = mem::size_of_val(values);
        let to = self.part::<T>(first, values.len())?;
        // SAFETY: a `Number` has no byte that is not set, and as many bytes are read as the slice has.
        let from = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), bytes) };
        let _turn = self.gpu.recordings().turn();
        // SAFETY: checked above to lie within the allocation.
        unsafe { self.gpu.backend().write(to.pointer, from) }
    }

    /// Waits for all that the GPU has been asked to do, and reads `count` numbers from `first` on.
    ///
    /// # Errors
    /// If the buffer is shorter, or the device fails.
    pub fn read<T: Number>(&self, first: usize, count: usize) -> Result<Vec<T>, CudaError> {
        let from = self.part::<T>(first, count)?;
        let mut values = vec![T::default(); count];
        let bytes = mem::size_of_val(values.as_slice());
        // SAFETY: any bytes are a `Number`, and as many are written as the vector has.
        let to = unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), bytes) };
        let _turn = self.gpu.recordings().turn();
        // SAFETY: checked above to lie within the allocation.
        unsafe { self.gpu.backend().read(from.pointer, to) }?;
        Ok(values)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(allocation) = self.allocation.take() {
            let _turn = self.gpu.recordings().turn();
            self.gpu.recordings().free(self.number, allocation);
        }
    }
}

impl<'a> Span<'a> {
    pub(crate) fn pointer(self) -> u64 {
        self.pointer
    }

    fn part(self, what: &'static str, offset: usize, bytes: usize) -> Result<Self, CudaError> {
        check(what, self.bytes, offset.saturating_add(bytes))?;
        Ok(Self {
            pointer: self.pointer + offset as u64,
            bytes,
            ..self
        })
    }

    /// Its address, if it holds `count` numbers from a place for such on.
    pub(crate) fn of<T: Number>(self, what: &'static str, count: usize) -> Result<u64, CudaError> {
        check(what, self.bytes, product(&[count, size_of::<T>()]))?;
        self.aligned(what, size_of::<T>())
    }

    /// The same, if kernels can take 16 bytes at a time from there on.
    pub(crate) fn vectors<T: Number>(self, what: &'static str, count: usize) -> Result<u64, CudaError> {
        self.of::<T>(what, count)?;
        self.aligned(what, VECTOR)
    }

    fn aligned(self, what: &'static str, bytes: usize) -> Result<u64, CudaError> {
        if self.pointer.is_multiple_of(bytes as u64) {
            return Ok(self.pointer);
        }
        Err(CudaError::Unsupported {
            what,
            reason: format!("it does not begin at a multiple of {bytes} bytes"),
        })
    }
}

impl<'a> Pixels<'a> {
    /// The same pixels with the `channels` values from `first` on alone, and the same distance from one to the next.
    ///
    /// # Errors
    /// [`CudaError::Length`] if they have fewer.
    pub fn channels(self, first: usize, channels: usize) -> Result<Self, CudaError> {
        let bytes = self.precision.bytes();
        let [found, last] = [self.channels, first.saturating_add(channels)].map(|values| product(&[values, bytes]));
        check("a pixel", found, last)?;
        let offset = first * bytes;
        Ok(Self {
            span: self
                .span
                .part("a pixel", offset, self.span.bytes.saturating_sub(offset))?,
            channels,
            ..self
        })
    }

    /// `count` pixels from `first` on.
    ///
    /// # Errors
    /// [`CudaError::Length`] if there are fewer.
    pub fn part(self, first: usize, count: usize) -> Result<Self, CudaError> {
        let pixel = product(&[self.pixel, self.precision.bytes()]);
        let [found, last] = [self.count, first.saturating_add(count)].map(|pixels| product(&[pixels, pixel]));
        check("a part of the pixels", found, last)?;
        let offset = first * pixel;
        Ok(Self {
            span: self
                .span
                .part("a part of the pixels", offset, self.span.bytes.saturating_sub(offset))?,
            count,
            ..self
        })
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

    /// Its address, if kernels can take eight values at a time from there on.
    pub(crate) fn vectors(self, what: &'static str) -> Result<u64, CudaError> {
        if self.channels > 0 && self.channels.is_multiple_of(8) && self.pixel.is_multiple_of(8) {
            return self.span.aligned(what, VECTOR);
        }
        Err(CudaError::Unsupported {
            what,
            reason: format!(
                "channels come in groups of eight, not {} of pixels of {} values",
                self.channels, self.pixel
            ),
        })
    }

    /// Its address and the values from one pixel to the next, if there are as many pixels as of `other` at least, of as many
    /// channels in the same precision.
    pub(crate) fn like(self, what: &'static str, other: Pixels<'_>) -> Result<(u64, u32), CudaError> {
        let bytes = |pixels: Pixels<'_>| product(&[pixels.count, pixels.channels, pixels.precision.bytes()]);
        if self.precision.bytes() != other.precision.bytes() || self.channels != other.channels {
            return Err(CudaError::Length {
                what,
                expected: bytes(other),
                found: bytes(self),
            });
        }
        check(what, bytes(self), bytes(other))?;
        Ok((self.vectors(what)?, count(what, self.pixel)?))
    }
}
