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
