//! Errors of this crate. A variant says whose fault it is.

use std::{
    error::Error as StdError,
    io,
    path::{Path, PathBuf},
};

use riad_core::CalibrationError;
use riad_data::{DataError, in_part};
use riad_model::ModelError;

use crate::rate::FalsePositiveRate;

/// This crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a library below. Its type is not part of the interface. Use only its words.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Errors of this crate.
///
/// A message names the file, the cause and the way out, if there is one. The cause is part of the message. It is not the source
/// as well, so a caller that prints the chain of sources repeats nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Images could not be found, read or made.
    #[error(transparent)]
    Data(#[from] DataError),

    /// The network, a checkpoint or the device reported an error.
    #[error(transparent)]
    Model(#[from] ModelError),

    /// An image cannot be scored.
    #[error("{}: {cause}", path.display())]
    Image {
        /// Its file.
        path: PathBuf,
        /// Why not.
        cause: ModelError,
    },

    /// An image in memory cannot be scored: it has other channels than the model, or values outside of [0, 1].
    #[error("{0}")]
    Pixels(String),

    /// A mask contradicts the folder of its image.
    #[error("{}: {reason}", file.display())]
    Mask {
        /// The mask.
        file: PathBuf,
        /// What is wrong, and the way out.
        reason: String,
    },

    /// A file or folder cannot be used.
    #[error("cannot {doing} {}: {cause}", path.display())]
    File {
        /// The action that failed: read, write, make.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// A file of a run does not have the content that was written.
    #[error("{} is damaged: {cause}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: Cause,
    },

    /// A request has no meaning, or settings contradict each other. The caller must correct it.
    #[error("{0}")]
    Request(String),

    /// The method does not have a setting.
    #[error("{reason}")]
    NotOfMethod {
        /// The method.
        method: riad_model::Method,
        /// The settings that it does not have, by their names in [`TrainingOptions`](crate::TrainingOptions).
        settings: &'static [&'static str],
        /// Why it does not.
        reason: String,
    },

    /// Another run cannot start in a folder that already holds one.
    #[error("{} already holds a run; go on with it, or choose another folder", folder.display())]
    RunExists {
        /// The folder.
        folder: PathBuf,
    },

    /// There is no run in a folder.
    #[error("{} holds no run that can be resumed: cannot read {}: {cause}", folder.display(), folder.join("settings.json").display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
        /// Why its settings cannot be read.
        cause: io::Error,
    },

    /// A run was started with another value of a setting than the one that is given now.
    #[error("the run in {} was started with another value of {setting}; leave it out, or start another run in another folder", folder.display())]
    Differs {
        /// The run's folder.
        folder: PathBuf,
        /// The setting's name in [`TrainingOptions`](crate::TrainingOptions).
        setting: &'static str,
    },

    /// The images of a run are not the images that it was started with.
    #[error(
        "{}: {reason}; a run goes on only with the images that it was started with: bring them back, or start another run in another \
         folder",
        root.display()
    )]
    OtherImages {
        /// The folder of the images.
        root: PathBuf,
        /// Which are missing, were added, or have changed.
        reason: String,
    },

    /// The images of a run cannot be read.
    #[error("cannot read the images of the run in {}: {cause}", folder.display())]
    ImagesGone {
        /// The run's folder.
        folder: PathBuf,
        /// Why not.
        cause: DataError,
    },

    /// Training images have faults. Training starts only after they are corrected or removed.
    #[error("{}", faults_in_words(.0))]
    Faults(Vec<Error>),

    /// A file names an image that is not there.
    #[error(
        "{} names {name}, but no good image has that name{}; correct the line or remove it",
        file.display(),
        root.as_ref().map_or_else(String::new, |root| format!(" below {}", root.display()))
    )]
    UnknownName {
        /// The file.
        file: PathBuf,
        /// The name.
        name: String,
        /// The folder of the images, if names are paths below it.
        root: Option<PathBuf>,
    },

    /// The work was cancelled before there was a result.
    #[error("cancelled")]
    Cancelled,

    /// An action needs an image, and there is none.
    #[error("{0}")]
    NoImages(String),

    /// A category has nothing to measure on.
    #[error("{} has no test images; in MVTec AD's layout they are in test/good and test/<defect>", root.display())]
    NoTestImages {
        /// The category's folder.
        root: PathBuf,
    },

    /// A category has no test images, and the run held none out.
    #[error("{} has no test images, and the run in {} held out no images", root.display(), run.display())]
    NothingHeldOut {
        /// The category's folder.
        root: PathBuf,
        /// The run's folder.
        run: PathBuf,
    },

    /// Runs to compare have different test images.
    #[error("{} and {} have different test images: {reason}; give the same pictures for both", one.display(), other.display())]
    OtherTestImages {
        /// A run's folder.
        one: PathBuf,
        /// The other's.
        other: PathBuf,
        /// The first image that differs, and how.
        reason: String,
    },

    /// There are no good pictures to make up defects on.
    #[error("{}name good pictures, because defects are made up on them", reason.as_ref().map_or_else(String::new, |reason| format!("{reason}; ")))]
    NoGoodPictures {
        /// Why the pictures that the run held out cannot be used. `None` if the model is not in a run.
        reason: Option<String>,
    },

    /// A model has no threshold: it is not calibrated.
    #[error(
        "{} is not calibrated, so it has no threshold; calibrate it with at least {needed} good images that it was not trained \
         with, for {rate}",
        model.display()
    )]
    NotCalibrated {
        /// The model's file or folder.
        model: PathBuf,
        /// The number of good images that the rate needs.
        needed: usize,
        /// The rate.
        rate: FalsePositiveRate,
    },

    /// A model is calibrated with too few images for the rate.
    #[error("{}: {cause}; calibrate it with more images that it was not trained with", model.display())]
    TooFew {
        /// The model's file or folder.
        model: PathBuf,
        /// The number that it has, and the number that it needs.
        cause: CalibrationError,
    },

    /// The images cannot calibrate a model, because the model was trained with one.
    #[error("{0}")]
    Calibration(String),

    /// The output lies in a folder where images are looked for.
    #[error("{} lies in {}, where images are looked for; choose a folder beside it", out.display(), data.display())]
    Inside {
        /// The output.
        out: PathBuf,
        /// The folder where images are looked for.
        data: PathBuf,
    },

    /// One folder lies in the other, so output in one would be taken for images in the other.
    #[error("one of {} and {} lies in the other, so results would be taken for images; choose a folder outside of it", folder.display(), other.display())]
    Within {
        /// The folder for output.
        folder: PathBuf,
        /// The folder of images.
        other: PathBuf,
    },

    /// Output would replace a file of another kind.
    #[error("{} is there, and what is to be written ends in .{}; choose another name", path.display(), endings.join(" or ."))]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// The endings of what is to be written.
        endings: &'static [&'static str],
    },

    /// A file of lines is used by another process.
    #[error("another process writes to {}; end it, or choose another file", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },

    /// A file of lines was written by something else.
    #[error("{} does not hold results of watching; choose another file", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },

    /// A file of lines was moved or removed, so nobody would find new lines.
    #[error("{} was moved or removed while it was in use; start again to begin a new file", path.display())]
    Gone {
        /// Where it was.
        path: PathBuf,
    },

    /// A link leads from the watched folder into a folder of results.
    #[error(
        "{} leads into {}, where results are written, so its images are passed over; remove it from the watched folder",
        link.display(),
        folder.display()
    )]
    LinkToResults {
        /// The link, or the folder that it makes of another one.
        link: PathBuf,
        /// The folder for defects or the folder for maps.
        folder: PathBuf,
    },

    /// An image in the watched folder keeps changing.
    #[error("{} keeps changing, so it is left out; watch the folder again when it is complete", file.display())]
    Restless {
        /// The image's file.
        file: PathBuf,
    },

    /// A defect cannot be put into the folder for defects.
    #[error("cannot put {} into {}: {cause}", file.display(), folder.display())]
    Aside {
        /// The image's file.
        file: PathBuf,
        /// The folder for defects.
        folder: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// A defect cannot be linked into the folder for defects.
    #[error("cannot link {} into {}: {cause}", file.display(), folder.display())]
    Link {
        /// The image's file.
        file: PathBuf,
        /// The folder for defects.
        folder: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// A defect is in the folder for defects, but cannot be removed from the watched folder.
    #[error("{} is in {}, but cannot be removed from the watched folder: {cause}", file.display(), folder.display())]
    Remove {
        /// The image's file.
        file: PathBuf,
        /// The folder for defects.
        folder: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// A picture, a page or a table cannot be made. This is a bug of this crate, or a size that no format has.
    #[error("{what} cannot be made: {cause}")]
    Render {
        /// What.
        what: &'static str,
        /// Why not.
        cause: Cause,
    },
}

impl Error {
    /// Whether an error of this library, or of a library below, says that the caller's request is at fault, and not a file or the
    /// machine.
    pub fn blames_request(error: &(dyn StdError + 'static)) -> bool {
        if let Some(error) = error.downcast_ref::<Self>() {
            return error.is_usage();
        }
        match error.downcast_ref() {
            Some(ModelError::Images(cause)) => Self::blames_request(cause.as_ref()),
            Some(error) => error.is_usage(),
            None => matches!(error.downcast_ref(), Some(DataError::Parameter(_))),
        }
    }

    /// Whether the caller's request is at fault, and not a file or the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Data(error) => Self::blames_request(error),
            Self::Model(error) => Self::blames_request(error),
            Self::Request(_)
            | Self::NotOfMethod { .. }
            | Self::RunExists { .. }
            | Self::Differs { .. }
            | Self::NoGoodPictures { .. }
            | Self::NoTestImages { .. }
            | Self::NothingHeldOut { .. }
            | Self::OtherTestImages { .. }
            | Self::NotCalibrated { .. }
            | Self::TooFew { .. }
            | Self::Calibration(_)
            | Self::Inside { .. }
            | Self::Within { .. }
            | Self::OtherFile { .. }
            | Self::Busy { .. }
            | Self::NotOurs { .. } => true,
            _ => false,
        }
    }

    /// Whether the error is no image's and no file's, but of the device, the request or the program: then no other image can be looked
    /// at either.
    pub fn stops_everything(&self) -> bool {
        match self {
            Self::Model(error) => error.stops_everything(),
            Self::Request(_)
            | Self::NotOfMethod { .. }
            | Self::Cancelled
            | Self::NoGoodPictures { .. }
            | Self::NotCalibrated { .. }
            | Self::TooFew { .. } => true,
            Self::Data(_)
            | Self::Image { .. }
            | Self::Pixels(_)
            | Self::Mask { .. }
            | Self::File { .. }
            | Self::Damaged { .. }
            | Self::RunExists { .. }
            | Self::NoRun { .. }
            | Self::Differs { .. }
            | Self::OtherImages { .. }
            | Self::ImagesGone { .. }
            | Self::Faults(_)
            | Self::UnknownName { .. }
            | Self::NoImages(_)
            | Self::NoTestImages { .. }
            | Self::NothingHeldOut { .. }
            | Self::OtherTestImages { .. }
            | Self::Calibration(_)
            | Self::Inside { .. }
            | Self::Within { .. }
            | Self::OtherFile { .. }
            | Self::Busy { .. }
            | Self::NotOurs { .. }
            | Self::Gone { .. }
            | Self::LinkToResults { .. }
            | Self::Restless { .. }
            | Self::Aside { .. }
            | Self::Link { .. }
            | Self::Remove { .. }
            | Self::Render { .. } => false,
        }
    }

    /// The file or folder that is at fault, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Data(error) => error.path(),
            Self::Model(error) => error.path(),
            Self::Busy { path }
            | Self::OtherFile { path, .. }
            | Self::NotOurs { path }
            | Self::Gone { path }
            | Self::Image { path, .. }
            | Self::File { path, .. }
            | Self::Damaged { path, .. } => Some(path),
            Self::RunExists { folder }
            | Self::NoRun { folder, .. }
            | Self::Differs { folder, .. }
            | Self::ImagesGone { folder, .. } => Some(folder),
            Self::OtherImages { root, .. } | Self::NoTestImages { root } | Self::NothingHeldOut { root, .. } => {
                Some(root)
            }
            Self::Aside { file, .. }
            | Self::Link { file, .. }
            | Self::Remove { file, .. }
            | Self::Mask { file, .. }
            | Self::UnknownName { file, .. } => Some(file),
            Self::LinkToResults { link: path, .. } | Self::Restless { file: path } => Some(path),
            Self::Inside { out, .. } => Some(out),
            Self::Within { folder, .. } => Some(folder),
            _ => None,
        }
    }

    pub(crate) fn request(reason: impl ToString) -> Self {
        Self::Request(reason.to_string())
    }

    pub(crate) fn file<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + Copy + 'a {
        move |cause| Self::File {
            doing,
            path: path.to_owned(),
            cause,
        }
    }

    pub(crate) fn damaged<E: Into<Cause>>(path: &Path) -> impl FnOnce(E) -> Self + '_ {
        |cause| Self::Damaged {
            path: path.to_owned(),
            cause: cause.into(),
        }
    }

    pub(crate) fn render<E: Into<Cause>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Render {
            what,
            cause: cause.into(),
        }
    }

    /// An image was refused.
    pub(crate) fn of_image(path: &Path, cause: ModelError) -> Self {
        Self::Image {
            path: path.to_owned(),
            cause,
        }
    }

    /// An image could not be loaded. Its file is named, also where the cause does not name it.
    pub(crate) fn of_loading(path: &Path, cause: DataError) -> Self {
        match cause {
            DataError::Parameter(_) => Self::of_image(path, ModelError::Images(cause.into())),
            cause => cause.into(),
        }
    }

    /// Refuses training images if any of them has a fault. It names all faults, so the user can correct them at once.
    ///
    /// # Errors
    /// The one fault, or [`Error::Faults`].
    pub fn refuse(mut faults: Vec<Error>) -> Result<()> {
        match faults.len() {
            0 => Ok(()),
            1 => Err(faults.remove(0)),
            _ => Err(Self::Faults(faults)),
        }
    }
}

fn faults_in_words(faults: &[Error]) -> String {
    format!(
        "{} faults in the training images; correct or remove these images, then start again\n{}",
        faults.len(),
        in_part(faults, "\n")
    )
}
