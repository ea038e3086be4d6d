//! Batches of images, and ranges of their channels.

use std::ops::Range;

use crate::ConvError;
use crate::shape::{self, Dims};

/// A batch of images, channels last, or a range of its channels.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    values: &'a [f32],
    place: Place,
}

/// [`Batch`], to be written.
#[derive(Debug)]
pub struct BatchMut<'a> {
    values: &'a mut [f32],
    place: Place,
}

/// Where a batch's values lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Its shape, with the channels of the range.
    pub(crate) dims: Dims,
    /// Values from one pixel to the next.
    pub(crate) pixel: usize,
    /// The first channel.
    pub(crate) channel: usize,
}

impl Place {
    fn whole(dims: Dims, values: &[f32]) -> Result<Self, ConvError> {
        shape::length("batch", dims.values()?, values.len())?;
        Ok(Self {
            dims,
            pixel: dims.channels,
            channel: 0,
        })
    }

    fn channels(self, range: Range<usize>) -> Result<Self, ConvError> {
        let channels = range.end.saturating_sub(range.start);
        shape::nonzero("number of channels", channels)?;
        if range.end > self.dims.channels {
            return Err(ConvError::Mismatch {
                what: "end of the range of channels",
                expected: self.dims.channels,
                found: range.end,
            });
        }
        Ok(Self {
            dims: Dims { channels, ..self.dims },
            channel: self.channel + range.start,
            ..self
        })
    }
}

impl<'a> Batch<'a> {
    /// All of a batch of shape `dims`.
    ///
    /// # Errors
    /// If the number of `values` does not match `dims`, or if a size is 0.
    pub fn new(values: &'a [f32], dims: Dims) -> Result<Self, ConvError> {
        let place = Place::whole(dims, values)?;
        Ok(Self { values, place })
    }

    /// The batch's channels in `range` alone, where they lie.
    ///
    /// # Errors
    /// If the range is empty, or the batch has fewer channels.
    pub fn channels(self, range: Range<usize>) -> Result<Self, ConvError> {
        let place = self.place.channels(range)?;
        Ok(Self { place, ..self })
    }

    /// The shape, with the channels of the range.
    pub fn dims(&self) -> Dims {
        self.place.dims
    }

    /// The pixels of row `y` of `image`: the first channel of the first pixel comes first, pixels are
    /// [`Self::pixel`] values apart, and the last one ends the slice.
    pub(crate) fn row(&self, image: usize, y: usize) -> &'a [f32] {
        let Place { dims, pixel, channel } = self.place;
        let first = (image * dims.height + y) * dims.width * pixel + channel;
        &self.values[first..first + (dims.width - 1) * pixel + dims.channels]
    }

    /// Values from one pixel to the next.
    pub(crate) fn pixel(&self) -> usize {
        self.place.pixel
    }
}

impl<'a> BatchMut<'a> {
    /// All of a batch of shape `dims`.
    ///
    /// # Errors
    /// As [`Batch::new`].
    pub fn new(values: &'a mut [f32], dims: Dims) -> Result<Self, ConvError> {
        let place = Place::whole(dims, values)?;
        Ok(Self { values, place })
    }

    /// Only the batch's channels in `range`, in place. The others are never touched, so several layers can write into
    /// one concatenation.
    ///
    /// # Errors
    /// As [`Batch::channels`].
    pub fn channels(self, range: Range<usize>) -> Result<Self, ConvError> {
        let place = self.place.channels(range)?;
        Ok(Self { place, ..self })
    }

    /// The shape, with the channels of the range.
    pub fn dims(&self) -> Dims {
        self.place.dims
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The start of all values, of which [`Self::place`] tells the channels to write.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.values.as_mut_ptr()
    }
}
