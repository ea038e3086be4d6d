//! Training in TensorBoard: losses and learning rate after every epoch, and sometimes the reconstructions of some
//! validation images.

mod events;

use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use image::{ImageFormat, RgbImage, imageops};
use riad_data::Reader;
use riad_model::{
    Checkpoint, Device, EpochRecord, ImageSource, Keep, LossTerms, ModelError, Scorer, TrainConfig, Weights,
};

use self::events::{EventFile, Image, Value};
use crate::{
    Error, Event, Observer, Result,
    render::{Plane, Scale, drawn},
    source::Source,
};

/// Validation images that are shown.
const SHOWN: usize = 3;

/// How often they are shown in a run of all its epochs. It takes a fraction of one validation each time.
const TIMES: usize = 20;

/// Writes a run's events into its folder. Where that fails it says so once and gives up: training is what matters.
pub(crate) struct TensorBoard<'a> {
    observer: &'a dyn Observer,
    folder: &'a Path,
    device: &'a Device,
    config: TrainConfig,
    /// Paths of the images shown.
    shown: Vec<PathBuf>,
    /// How they are read.
    reader: Reader,
    /// Made with the first event, so that a session of no epoch leaves none.
    file: Option<EventFile>,
    has_failed: bool,
}

impl<'a> TensorBoard<'a> {
    /// Shows some of the `validation` images, which `reader` reads.
    pub(crate) fn new(
        folder: &'a Path,
        config: &TrainConfig,
        validation: Vec<PathBuf>,
        reader: Reader,
        device: &'a Device,
        observer: &'a dyn Observer,
    ) -> Self {
        let step = validation.len().div_ceil(SHOWN).max(1);
        Self {
            observer,
            folder,
            device,
            config: config.clone(),
            shown: validation.into_iter().step_by(step).collect(),
            reader,
            file: None,
            has_failed: false,
        }
    }

    /// Writes down an epoch that has ended with these weights, which are asked for only now and then.
    pub(crate) fn epoch(&mut self, record: &EpochRecord, weights: impl FnOnce() -> riad_model::Result<Weights>) {
        if self.has_failed {
            return;
        }
        if let Err(error) = self.append(record, weights) {
            self.observer.event(&Event::LeftOut {
                what: "the events for TensorBoard",
                cause: &error,
            });
            self.has_failed = true;
        }
    }

    fn append(&mut self, record: &EpochRecord, weights: impl FnOnce() -> riad_model::Result<Weights>) -> Result<()> {
        let every = self.config.epochs.div_ceil(TIMES);
        let mut values = scalars(record);
        if record.epoch == 1 || record.epoch.is_multiple_of(every) {
            values.extend(self.pictures(weights()?)?);
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(EventFile::create(self.folder, record.epoch)?),
        };
        file.summary(record.epoch, values)
    }

    /// Each image shown, its reconstruction and its map in a row.
    fn pictures(&self, weights: Weights) -> Result<Vec<Value>> {
        let scoring = &self.config.scoring;
        let size = scoring.size();
        let checkpoint = Checkpoint::new(weights, scoring.clone(), None, None);
        let scorer = Scorer::new(&checkpoint, self.device, self.config.precision)?;
        let scale = Scale::default();
        let mut values = Vec::new();
        // Tiled as in training, and the same tiles each time.
        let source = Source::of(self.shown.clone(), self.reader.clone(), scoring);
        let order = (0..self.shown.len()).collect();
        for (path, pixels) in self.shown.iter().zip(source.batches(order, 1, 0)) {
            let pixels = pixels.map_err(ModelError::Images)?.images;
            for scored in scorer.score(&pixels, Keep::All)? {
                let cells = [
                    drawn(&pixels, size)?,
                    drawn(&scored.reconstruction, size)?,
                    scale.heat(&Plane::new(scored.map)?),
                ];
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                values.push(Value {
                    tag: format!("validation/{name}"),
                    simple_value: None,
                    image: Some(encoded(&row(&cells))?),
                });
            }
        }
        Ok(values)
    }
}

fn scalars(record: &EpochRecord) -> Vec<Value> {
    let scalar = |tag: String, value: f64| Value {
        tag,
        simple_value: Some(value as f32),
        image: None,
    };
    let mut values = vec![scalar("learning_rate".to_owned(), record.learning_rate)];
    for (whose, terms) in [("train", Some(record.train)), ("validation", record.validation)] {
        if let Some(LossTerms {
            l2,
            l1,
            ssim,
            msgms,
            total,
            ..
        }) = terms
        {
            let named = [
                ("loss", total),
                ("l2", l2),
                ("l1", l1),
                ("ssim", ssim),
                ("msgms", msgms),
            ];
            values.extend(named.map(|(term, value)| scalar(format!("{term}/{whose}"), value)));
        }
    }
    values
}

/// Pictures of one size, side by side.
fn row(cells: &[RgbImage; 3]) -> RgbImage {
    let (width, height) = cells[0].dimensions();
    let mut row = RgbImage::new(3 * width, height);
    for (cell, left) in cells.iter().zip((0..).step_by(width as usize)) {
        imageops::replace(&mut row, cell, left, 0);
    }
    row
}

fn encoded(picture: &RgbImage) -> Result<Image> {
    let mut png = Cursor::new(Vec::new());
    picture
        .write_to(&mut png, ImageFormat::Png)
        .map_err(Error::render("a picture for TensorBoard"))?;
    Ok(Image {
        height: picture.height() as i32,
        width: picture.width() as i32,
        colorspace: 3,
        encoded_image_string: png.into_inner(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use riad_model::{Architecture, ScoringSettings};

    use super::*;

    /// Two sessions of a run of 40 epochs: the first is killed after epoch 3 and was last saved after epoch 1.
    fn two_sessions(folder: &Path) {
        let architecture = Architecture::u_net(2);
        let weights = Weights::initial(architecture, 1).unwrap();
        let mut config = TrainConfig::published(architecture, ScoringSettings::for_size(32, 32));
        config.epochs = 40;
        let image = folder.join("a.png");
        RgbImage::from_fn(40, 40, |x, y| image::Rgb([x as u8 * 6, y as u8 * 6, 99]))
            .save(&image)
            .unwrap();
        for (session, epochs) in [(0, 1..=3), (1, 2..=4)] {
            let shown = vec![image.clone()];
            let mut log = TensorBoard::new(folder, &config, shown, Reader::default(), &Device::CPU, &());
            for epoch in epochs {
                let terms = |total| {
                    let mut terms = LossTerms::default();
                    terms.total = total;
                    terms
                };
                let mut record = EpochRecord::default();
                (record.epoch, record.learning_rate) = (epoch, 1e-3);
                record.train = terms((10 * session + epoch) as f64);
                record.validation = (session == 1).then(|| terms(0.5));
                log.epoch(&record, || Ok(weights.clone()));
                assert!(!log.has_failed);
            }
        }
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.retain(|file| file.to_string_lossy().contains("tfevents"));
        files.sort();
        files
    }

    #[test]
    fn a_resumed_session_takes_back_what_it_repeats() {
        let folder = tempfile::tempdir().unwrap();
        two_sessions(folder.path());
        let [first, second] = files(folder.path()).try_into().unwrap();
        let [first, second] = [first, second].map(|file| events::tests::read(&file));
        let steps = |events: &[events::Event]| events.iter().map(|event| event.step).collect::<Vec<_>>();
        assert_eq!(
            (steps(&first), steps(&second)),
            (vec![1, 1, 1, 2, 3], vec![2, 2, 2, 3, 4])
        );
        assert_eq!(second[1].session_log.as_ref().unwrap().status, events::START);

        let tags = |event: &events::Event| -> Vec<String> {
            let values = event.summary.as_ref().unwrap().value.iter();
            values.map(|value| value.tag.clone()).collect()
        };
        let train = [
            "learning_rate",
            "loss/train",
            "l2/train",
            "l1/train",
            "ssim/train",
            "msgms/train",
        ];
        assert_eq!(tags(&first[2]), [&train[..], &["validation/a.png"]].concat());
        assert_eq!(tags(&first[3])[6..], ["validation/a.png"], "every 2nd of 40 epochs");
        let validation = [
            "loss/validation",
            "l2/validation",
            "l1/validation",
            "ssim/validation",
            "msgms/validation",
        ];
        assert_eq!(tags(&second[3]), [&train[..], &validation].concat());
        let shown = &first[2].summary.as_ref().unwrap().value[6];
        let picture = image::load_from_memory(&shown.image.as_ref().unwrap().encoded_image_string).unwrap();
        assert_eq!((picture.width(), picture.height()), (96, 32));
    }

    #[test]
    fn tensorboard_reads_each_step_once() {
        let folder = tempfile::tempdir().unwrap();
        two_sessions(folder.path());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tensorboard_read.py");
        let arguments = [script.as_path(), folder.path()];
        if let Some(read) = riad_testing::python(folder.path(), &arguments) {
            assert_eq!(
                read.trim(),
                "[[1, 1.0], [2, 12.0], [3, 13.0], [4, 14.0]] [1, 2, 4] [32, 96]"
            );
        }
    }
}
