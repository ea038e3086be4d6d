//! How the file of a defect gets into the folder for defects.

use std::str::FromStr;

use crate::{Error, Result, names::one_of};

/// How the file of a defect gets into the folder for defects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transfer {
    /// As a copy.
    #[default]
    Copy,
    /// As a hard link: a second name of the same file, on the same disk. If the file is written later, both names show
    /// it.
    Link,
    /// As a link, or as a copy if a link is not possible. The image is removed from the watched folder when its line is
    /// written.
    Move,
}

impl Transfer {
    /// All ways.
    pub const ALL: &[Self] = &[Self::Copy, Self::Link, Self::Move];

    /// `copy`, `link` or `move`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Link => "link",
            Self::Move => "move",
        }
    }

    /// What it does, in words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Copy => "A copy",
            Self::Link => {
                "A hard link: a second name of the same file, on the same disk. If the file is written later, both names show it"
            }
            Self::Move => {
                "A link, or a copy if a link is not possible. The image is removed from the watched folder when its line is written"
            }
        }
    }
}

impl FromStr for Transfer {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        one_of("transfer", Self::ALL, Self::name, name)
    }
}
