//! cuDNN's descriptors: objects with attributes, of which each has a type that must be named as it is set or asked for.

#![allow(
    unsafe_code,
    reason = "attributes are untyped pointers; each block says what they point to"
)]

use std::{
    ffi::{CStr, c_char, c_void},
    ptr,
};

use cudarc::cudnn::sys::{
    self, cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Object, cudnnBackendNumericalNote_t as Note, cudnnStatus_t,
};

use crate::CudaError;

/// A descriptor, destroyed when dropped. Those that it was made from may go before it.
pub(super) struct Descriptor {
    raw: sys::cudnnBackendDescriptor_t,
    object: Object,
}

// SAFETY: it is cuDNN's memory on the host, which belongs to no thread; only `&mut` and a plan's lock let it be changed.
unsafe impl Send for Descriptor {}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it was created, and nobody has it any more.
        let _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.raw) };
    }
}

/// What attributes are made of, by the type that cuDNN knows it as.
///
/// # Safety
/// Values have the layout of that type.
pub(super) unsafe trait Attribute: Copy {
    const TYPE: Type;
}

macro_rules! attributes {
    ($($value:ty: $name:ident),* $(,)?) => {
        $(
            // SAFETY: cuDNN's header says so, of which these are cudarc's bindings.
            unsafe impl Attribute for $value {
                const TYPE: Type = Type::$name;
            }
        )*
    };
}

attributes! {
    i64: CUDNN_TYPE_INT64,
    f32: CUDNN_TYPE_FLOAT,
    bool: CUDNN_TYPE_BOOLEAN,
    sys::cudnnHandle_t: CUDNN_TYPE_HANDLE,
    sys::cudnnDataType_t: CUDNN_TYPE_DATA_TYPE,
    sys::cudnnConvolutionMode_t: CUDNN_TYPE_CONVOLUTION_MODE,
    sys::cudnnPointwiseMode_t: CUDNN_TYPE_POINTWISE_MODE,
    sys::cudnnBackendHeurMode_t: CUDNN_TYPE_HEUR_MODE,
}

impl Descriptor {
    pub(super) fn new(object: Object) -> Result<Self, CudaError> {
        let mut raw = ptr::null_mut();
        // SAFETY: the pointer is to a variable of the type that cuDNN writes.
        let status = unsafe { sys::cudnnBackendCreateDescriptor(object, &mut raw) };
        checked(|| format!("making a {object:?}"), status)?;
        Ok(Self { raw, object })
    }

    pub(super) fn raw(&self) -> sys::cudnnBackendDescriptor_t {
        self.raw
    }

    /// Sets an attribute.
    pub(super) fn with<T: Attribute>(self, name: Name, values: &[T]) -> Result<Self, CudaError> {
        // SAFETY: the pointer is to as many values of the type; handles among them are valid, since nobody keeps others.
        unsafe { self.set(name, T::TYPE, values.len(), values.as_ptr().cast()) }
    }

    /// Sets an attribute that is made of other descriptors.
    pub(super) fn with_descriptors(self, name: Name, values: &[&Self]) -> Result<Self, CudaError> {
        let values: Vec<_> = values.iter().map(|value| value.raw).collect();
        // SAFETY: the pointer is to as many descriptors, which are valid while they are borrowed.
        unsafe {
            self.set(
                name,
                Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
                values.len(),
                values.as_ptr().cast(),
            )
        }
    }

    /// Sets an attribute that is made of addresses on the GPU.
    pub(super) fn with_addresses(self, name: Name, values: &[u64]) -> Result<Self, CudaError> {
        let values: Vec<_> = values.iter().map(|&value| value as *mut c_void).collect();
        // SAFETY: the pointer is to as many addresses; cuDNN keeps them, and what uses them answers for them.
        unsafe { self.set(name, Type::CUDNN_TYPE_VOID_PTR, values.len(), values.as_ptr().cast()) }
    }

    /// # Safety
    /// `values` points to `count` values of `kind`.
    unsafe fn set(self, name: Name, kind: Type, count: usize, values: *const c_void) -> Result<Self, CudaError> {
        // SAFETY: the descriptor is valid, and the caller vouches for the rest. cuDNN copies.
        let status = unsafe { sys::cudnnBackendSetAttribute(self.raw, name, kind, count as i64, values) };
        checked(|| format!("setting {name:?}"), status)?;
        Ok(self)
    }

    /// Has cuDNN look at what was set; after this, it can be used.
    pub(super) fn finalized(self) -> Result<Self, CudaError> {
        // SAFETY: the descriptor is valid.
        let status = unsafe { sys::cudnnBackendFinalize(self.raw) };
        checked(|| format!("finalizing a {:?}", self.object), status)?;
        Ok(self)
    }

    /// An attribute that is one number.
    pub(super) fn number(&self, name: Name) -> Result<i64, CudaError> {
        let mut number = 0i64;
        // SAFETY: the pointer is to one value of the type.
        unsafe { self.get(name, Type::CUDNN_TYPE_INT64, 1, (&raw mut number).cast())? };
        Ok(number)
    }

    /// How many descriptors an attribute is made of.
    pub(super) fn count(&self, name: Name) -> Result<usize, CudaError> {
        // SAFETY: no value is asked for.
        unsafe { self.get(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, ptr::null_mut()) }
    }

    /// Fills new descriptors with those that an attribute is made of; says how many there were.
    pub(super) fn descriptors(&self, name: Name, into: &[Self]) -> Result<usize, CudaError> {
        let mut raw: Vec<_> = into.iter().map(|descriptor| descriptor.raw).collect();
        let pointer = raw.as_mut_ptr().cast();
        // SAFETY: the pointer is to as many descriptors of the object that the attribute holds. It is what they stand for
        // that cuDNN fills.
        unsafe { self.get(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, raw.len(), pointer) }
    }

    /// An engine's numerical notes, as numbers: newer versions of cuDNN may have more than are known here.
    pub(super) fn notes(&self) -> Result<Vec<i32>, CudaError> {
        let mut notes = vec![-1i32; Note::CUDNN_NUMERICAL_NOTE_TYPE_COUNT as usize];
        let pointer = notes.as_mut_ptr().cast();
        let (name, kind) = (Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, Type::CUDNN_TYPE_NUMERICAL_NOTE);
        // SAFETY: the pointer is to as many values; C's enumerations are as wide as i32, and all bits make an i32.
        let count = unsafe { self.get(name, kind, notes.len(), pointer)? };
        notes.truncate(count);
        Ok(notes)
    }

    /// Writes what an attribute is made of, and returns of how many values it is.
    ///
    /// # Safety
    /// `values` points to `count` values of `kind`, which cuDNN may overwrite.
    unsafe fn get(&self, name: Name, kind: Type, count: usize, values: *mut c_void) -> Result<usize, CudaError> {
        let mut found = 0i64;
        // SAFETY: the descriptor is valid, and the caller vouches for the rest. cuDNN writes no more than is asked for.
        let status = unsafe { sys::cudnnBackendGetAttribute(self.raw, name, kind, count as i64, &mut found, values) };
        checked(|| format!("asking for {name:?}"), status)?;
        Ok(usize::try_from(found).unwrap_or(0))
    }
}

/// Makes cuDNN's status an error, if it is one.
pub(super) fn check(what: &str, status: cudnnStatus_t) -> Result<(), CudaError> {
    checked(|| what.into(), status)
}

fn checked(what: impl FnOnce() -> String, status: cudnnStatus_t) -> Result<(), CudaError> {
    if status == cudnnStatus_t::CUDNN_STATUS_SUCCESS {
        return Ok(());
    }
    let mut text = [0 as c_char; 512];
    // SAFETY: cuDNN writes as many bytes at most. Where it is missing, what stands in for it writes none.
    unsafe { sys::cudnnGetLastErrorString(text.as_mut_ptr(), text.len()) };
    text[text.len() - 1] = 0;
    // SAFETY: there is a zero at the end, if not before.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy();
    // In one line.
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let status = if words.is_empty() {
        format!("{status:?}")
    } else {
        format!("{status:?} ({words})")
    };
    Err(CudaError::Failed { what: what(), status })
}
