//! What can go wrong, by whose fault it is.

use std::{
    io,
    path::{Path, PathBuf},
};

use riad_core::CalibrationError;
use riad_data::{DataError, in_part};
use riad_model::ModelError;

use crate::asked::{Asked, By};

/// This crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a library below said, whatever its type: only its words are meant for anyone.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong.
///
/// A message names the file, the cause and the way out in a caller's words, as far as there are such. The cause is part of the message, and not
/// its source as well, so that nothing is repeated if a caller prints a chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Images could not be found, read or made.
    #[error(transparent)]
    Data(#[from] DataError),

    /// The network, a checkpoint or the device refused.
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

    /// A mask contradicts the folder that its image lies in.
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
        /// What was to be done: read, write, make.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// A file of a run is not what it was written as.
    #[error("{} is damaged: {cause}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: Cause,
    },

    /// What was asked for has no meaning, or settings contradict each other: the caller's to mend.
    #[error("{0}")]
    Request(String),

    /// A setting that the method does not have.
    #[error("{reason}")]
    NotOfMethod {
        /// The method.
        method: riad_model::Method,
        /// The settings that it does not have, by their names in [`TrainingOptions`](crate::TrainingOptions).
        settings: &'static [&'static str],
        /// Why it does not.
        reason: String,
    },

    /// A folder holds a run, and another was to be started there.
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

    /// A run was started with another setting than one that is given now.
    #[error("the run in {} was started with a different value of {setting}; leave that out, or start another run in another folder", folder.display())]
    Differs {
        /// The run's folder.
        folder: PathBuf,
        /// The setting's name in [`TrainingOptions`](crate::TrainingOptions).
        setting: &'static str,
    },

    /// The images of a run are not those that it was started with.
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

    /// The images of a run cannot be had.
    #[error("the images of the run in {} cannot be had: {cause}", folder.display())]
    ImagesGone {
        /// The run's folder.
        folder: PathBuf,
        /// Why not.
        cause: DataError,
    },

    /// Images to learn from have faults; nothing is trained before they are mended or removed.
    #[error("{}", faults_in_words(.0))]
    Faults(Vec<Error>),

    /// A file names an image that is not there.
    #[error(
        "{} names {name}, and there is no good image of that name{}; correct the line or remove it",
        file.display(),
        root.as_ref().map_or_else(String::new, |root| format!(" below {}", root.display()))
    )]
    UnknownName {
        /// The file.
        file: PathBuf,
        /// The name.
        name: String,
        /// Where the images lie, if names are paths below it.
        root: Option<PathBuf>,
    },

    /// The work was cancelled before there was a result.
    #[error("cancelled")]
    Cancelled,

    /// There is no image to do something with.
    #[error("{0}")]
    NoImages(String),

    /// A category has nothing to measure on.
    #[error("{} has no test images to measure on; MVTec AD's layout keeps them in test/good and test/<defect>", root.display())]
    NoTestImages {
        /// The category's folder.
        root: PathBuf,
    },

    /// A category has nothing to measure on, and the run none that it held out.
    #[error("{} has no test images, and the run in {} held out none of its images to show instead", root.display(), run.display())]
    NothingHeldOut {
        /// The category's folder.
        root: PathBuf,
        /// The run's folder.
        run: PathBuf,
    },

    /// Runs that are to be compared have other test images each.
    #[error("{} and {} have different test images: {reason}; give both the same pictures", one.display(), other.display())]
    OtherTestImages {
        /// A run's folder.
        one: PathBuf,
        /// The other's.
        other: PathBuf,
        /// The first image that differs, and how.
        reason: String,
    },

    /// There are no good pictures to make up defects on.
    #[error("{}name good pictures; defects are made up on them", reason.as_ref().map_or_else(String::new, |reason| format!("{reason}; ")))]
    NoGoodPictures {
        /// Why those that the run held out will not do; `None` if the model lies in no run.
        reason: Option<String>,
    },

    /// A model has no threshold: it is not calibrated.
    #[error(
        "{} is not calibrated, so it has no threshold; give it {needed} or more good images that it was not trained with, for \
         {asked}",
        model.display()
    )]
    NotCalibrated {
        /// The model's file or folder.
        model: PathBuf,
        /// How many good images the rate takes.
        needed: usize,
        /// The rate.
        asked: Asked,
    },

    /// A model is calibrated with too few images for the rate.
    #[error("{}: {cause}; give it more that it was not trained with", model.display())]
    TooFew {
        /// The model's file or folder.
        model: PathBuf,
        /// How many it has, and how many it takes.
        cause: CalibrationError,
    },

    /// The images cannot be calibrated with: one is given twice, or the model was trained with one.
    #[error("{0}")]
    Calibration(String),

    /// What would be written lies where images are looked for.
    #[error("{} lies in {}, where images are looked for; choose a folder beside it", out.display(), data.display())]
    Inside {
        /// What would be written.
        out: PathBuf,
        /// Where images are looked for.
        data: PathBuf,
    },

    /// Two folders lie in each other, and what is written to one would be taken for what the other has.
    #[error("one of {} and {} lies in the other, so that what is written would be looked at; choose a folder outside of it", folder.display(), other.display())]
    Within {
        /// What would be written to.
        folder: PathBuf,
        /// What is looked at.
        other: PathBuf,
    },

    /// A file of lines is used by another process.
    #[error("another process writes to {}; end it, or choose another file", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },

    /// A file of lines was written by something else.
    #[error("{} holds something else than results of watching; choose another file", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },

    /// A file of lines is no longer where it was: nobody would find what is added to it.
    #[error("{} was moved or removed while lines are added to it; start again to begin another", path.display())]
    Gone {
        /// Where it was.
        path: PathBuf,
    },

    /// A link leads from the watched folder to where results are written.
    #[error(
        "{} leads into {}, where results are written, so its images are passed over; take it out of the watched folder",
        link.display(),
        folder.display()
    )]
    LinkToResults {
        /// The link, or the folder that it makes of another one.
        link: PathBuf,
        /// The folder for defects, or that of maps.
        folder: PathBuf,
    },

    /// An image in the watched folder keeps changing.
    #[error("{} keeps changing, so it is not waited for; watch the folder again when it is whole", file.display())]
    Restless {
        /// The image's file.
        file: PathBuf,
    },

    /// A defect cannot be set aside.
    #[error("cannot set {} aside in {}: {cause}", file.display(), folder.display())]
    Aside {
        /// The image's file.
        file: PathBuf,
        /// The folder for defects.
        folder: PathBuf,
        /// How it was to get there.
        by: By,
        /// What the system said.
        cause: io::Error,
    },

    /// A defect that was set aside cannot be removed from where it was.
    #[error("{} is in {}, but cannot be removed from where it was: {cause}", file.display(), folder.display())]
    Remove {
        /// The image's file.
        file: PathBuf,
        /// The folder for defects.
        folder: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// A picture, a page or a table cannot be made: a bug of ours, or a size that no format has.
    #[error("{what} cannot be made: {cause}")]
    Render {
        /// What.
        what: &'static str,
        /// Why not.
        cause: Cause,
    },
}

impl Error {
    /// Whether the caller asked for what cannot be, rather than a file or the machine being at fault.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Data(error) => matches!(error, DataError::Parameter(_)),
            Self::Model(ModelError::Images(cause)) => {
                matches!(cause.downcast_ref(), Some(DataError::Parameter(_)))
            }
            Self::Model(error) => error.is_usage(),
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
            | Self::Busy { .. }
            | Self::NotOurs { .. } => true,
            _ => false,
        }
    }

    /// The file or folder that is at fault, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Data(error) => error.path(),
            Self::Model(error) => error.path(),
            Self::Busy { path }
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

    /// The network refused an image.
    pub(crate) fn of_image(path: &Path, cause: ModelError) -> Self {
        Self::Image {
            path: path.to_owned(),
            cause,
        }
    }

    /// Refuses images to learn from if anything is wrong with them, so that all can be mended at once.
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
        "{} faults in the images to learn from; nothing is trained before they are mended or removed\n{}",
        faults.len(),
        in_part(faults, "\n")
    )
}
