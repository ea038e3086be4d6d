//! The losses of a run's training, from its `history.csv`.

use std::{io, path::Path};

use anyhow::{Context, Result};
use riad_model::{EpochRecord, Header, LossTerms};
use serde::Deserialize;

/// A line, with the columns' names that the trainer gives them.
#[derive(Deserialize)]
struct Line {
    epoch: usize,
    learning_rate: f64,
    train: f64,
    train_l2: f64,
    /// Runs begun before there was this term have no column for it.
    #[serde(default)]
    train_l1: f64,
    train_ssim: f64,
    train_msgms: f64,
    validation: Option<f64>,
    validation_l2: Option<f64>,
    #[serde(default)]
    validation_l1: Option<f64>,
    validation_ssim: Option<f64>,
    validation_msgms: Option<f64>,
}

impl From<Line> for EpochRecord {
    fn from(line: Line) -> Self {
        let validation = line
            .validation
            .zip(line.validation_l2)
            .zip(line.validation_ssim)
            .zip(line.validation_msgms);
        let mut record = Self::default();
        (record.epoch, record.learning_rate) = (line.epoch, line.learning_rate);
        record.train = terms([
            line.train,
            line.train_l2,
            line.train_l1,
            line.train_ssim,
            line.train_msgms,
        ]);
        record.validation = validation.map(|(((total, l2), ssim), msgms)| {
            terms([total, l2, line.validation_l1.unwrap_or_default(), ssim, msgms])
        });
        record
    }
}

fn terms([total, l2, l1, ssim, msgms]: [f64; 5]) -> LossTerms {
    let mut terms = LossTerms::default();
    (terms.total, terms.l2, terms.l1, terms.ssim, terms.msgms) = (total, l2, l1, ssim, msgms);
    terms
}

/// Every epoch of the run in the folder `model`; of a checkpoint elsewhere, the epochs up to its own, which is all that
/// it knows of.
///
/// # Errors
/// If the file cannot be read, or is damaged.
pub(crate) fn read(model: &Path, header: &Header) -> Result<Vec<EpochRecord>> {
    let path = model.join("history.csv");
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        // A checkpoint is no folder, and a folder may hold nothing but a checkpoint.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(header
                .progress
                .as_ref()
                .map_or_else(Vec::new, |progress| progress.history.clone()));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    parse(file).with_context(|| format!("{} is damaged; without it, the losses are left out", path.display()))
}

fn parse(text: impl io::Read) -> Result<Vec<EpochRecord>, csv::Error> {
    csv::Reader::from_reader(text)
        .deserialize::<Line>()
        .map(|line| line.map(EpochRecord::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_without_validation_and_older_ones_are_read() {
        let header = "epoch,learning_rate,train,train_l2,train_l1,train_ssim,train_msgms,\
                      validation,validation_l2,validation_l1,validation_ssim,validation_msgms\n";
        let records = parse(format!("{header}1,0.001,0.9,0.1,0.3,0.2,0.6,0.8,0.2,0.4,0.1,0.5\n").as_bytes()).unwrap();
        assert_eq!(
            (records.len(), records[0].epoch, records[0].learning_rate),
            (1, 1, 0.001)
        );
        assert_eq!(records[0].train, terms([0.9, 0.1, 0.3, 0.2, 0.6]));
        assert_eq!(records[0].validation, Some(terms([0.8, 0.2, 0.4, 0.1, 0.5])));
        let without = parse(format!("{header}1,0.001,0.9,0.1,0.3,0.2,0.6,,,,,\n").as_bytes()).unwrap();
        assert_eq!(without[0].validation, None);

        let older = "epoch,learning_rate,train,train_l2,train_ssim,train_msgms,\
                     validation,validation_l2,validation_ssim,validation_msgms\n\
                     7,0.001,0.9,0.1,0.2,0.6,0.8,0.2,0.1,0.5\n";
        let records = parse(older.as_bytes()).unwrap();
        assert_eq!(records[0].train, terms([0.9, 0.1, 0.0, 0.2, 0.6]));
        assert_eq!(records[0].validation, Some(terms([0.8, 0.2, 0.0, 0.1, 0.5])));
        assert!(parse("epoch,learning_rate,train\n1,0.001,x\n".as_bytes()).is_err());
    }
}
