//! What a network, its loss and its maps are made of, each as functions of a [`Gpu`](crate::Gpu): they check shapes and
//! lengths, then launch kernels.

/// Numbers that kernels share.
macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[$doc])* pub(super) const $name: $type = $value;)*
    };
}

/// Structs that kernels take.
macro_rules! arguments {
    ($($name:ident { $($field:ident: $type:ty),* })*) => {
        /// What a kernel takes: laid out as there, which the build checks.
        pub(super) trait Arguments {}
        $(
            #[repr(C)]
            #[derive(Clone, Copy)]
            pub(super) struct $name { $(pub(super) $field: $type),* }
            impl Arguments for $name {}
        )*
    };
}

mod adam;
mod arguments;
mod convolution;
mod images;
mod launch;
mod loss;
mod maps;
mod norm;
mod pixels;
mod pyramid;

pub use adam::{AdamSettings, Trained};
pub use convolution::Convolution;
pub use images::{Copies, padded_channels};
pub use loss::{LossMemory, TERMS, Weights};
pub use maps::{MapMemory, MapSettings, Planes};
pub use norm::Norm;
pub use pixels::scratch_bytes;
