//! The losses of a run's training, from its `history.csv`.

use std::{io, path::Path};

use riad_model::{EpochRecord, Header, LossTerms};
use serde::Deserialize;

use crate::{Error, Event, Observer};

/// A line, with the columns' names that the trainer gives them.
#[derive(Deserialize)]
struct Line {
    epoch: usize,
    learning_rate: f64,
    train: f64,
    train_l2: f64,
    train_l1: f64,
    train_ssim: f64,
    train_msgms: f64,
    validation: Option<f64>,
    validation_l2: Option<f64>,
    validation_l1: Option<f64>,
    validation_ssim: Option<f64>,
    validation_msgms: Option<f64>,
}

impl From<Line> for EpochRecord {
    fn from(line: Line) -> Self {
        let validation = line
            .validation
            .zip(line.validation_l2)
            .zip(line.validation_l1)
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
        record.validation = validation.map(|((((total, l2), l1), ssim), msgms)| terms([total, l2, l1, ssim, msgms]));
        record
    }
}

fn terms([total, l2, l1, ssim, msgms]: [f64; 5]) -> LossTerms {
    let mut terms = LossTerms::default();
    (terms.total, terms.l2, terms.l1, terms.ssim, terms.msgms) = (total, l2, l1, ssim, msgms);
    terms
}

/// Every epoch of the run in the folder `model`; of a checkpoint elsewhere, the epochs up to its own, which is all that
/// it knows of. A file that cannot be read, or is damaged, is told to the observer and left out.
pub(crate) fn read(model: &Path, header: &Header, observer: &dyn Observer) -> Vec<EpochRecord> {
    let path = model.join("history.csv");
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        // A checkpoint is no folder, and a folder may hold nothing but a checkpoint.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            let progress = header.progress.as_ref();
            return progress.map_or_else(Vec::new, |progress| progress.history.clone());
        }
        Err(cause) => {
            let cause = &Error::file("read", &path)(cause);
            let what = "the losses of the training";
            observer.event(&Event::LeftOut { what, cause });
            return Vec::new();
        }
    };
    parse(file).unwrap_or_else(|reason| {
        let cause = &Error::damaged(&path)(reason);
        let what = "the losses of the training";
        observer.event(&Event::LeftOut { what, cause });
        Vec::new()
    })
}

/// Reads the lines of a table, which must be those of all epochs from the first on.
fn parse(text: impl io::Read) -> Result<Vec<EpochRecord>, String> {
    let mut records = Vec::new();
    for line in csv::Reader::from_reader(text).deserialize::<Line>() {
        let record = EpochRecord::from(line.map_err(|error| error.to_string())?);
        let wanted = records.len() + 1;
        if record.epoch != wanted {
            return Err(format!("where epoch {wanted} must be, it has {}", record.epoch));
        }
        let losses = [Some(record.train), record.validation];
        let numbers = losses
            .iter()
            .flatten()
            .flat_map(|loss| [loss.total, loss.l2, loss.l1, loss.ssim, loss.msgms]);
        if !numbers.chain([record.learning_rate]).all(f64::is_finite) {
            return Err(format!("epoch {wanted} has a value that is no number"));
        }
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_are_read_with_validation_and_without() {
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

        assert!(parse("epoch,learning_rate,train\n1,0.001,x\n".as_bytes()).is_err());
    }

    #[test]
    fn what_no_trainer_writes_is_damaged() {
        let header = "epoch,learning_rate,train,train_l2,train_l1,train_ssim,train_msgms,\
                      validation,validation_l2,validation_l1,validation_ssim,validation_msgms\n";
        for (lines, expected) in [
            ("70000,0.001,1,0,0,0,1,,,,,\n", "where epoch 1 must be, it has 70000"),
            ("18446744073709551615,0.001,1,0,0,0,1,,,,,\n", "18446744073709551615"),
            ("18446744073709551616,0.001,1,0,0,0,1,,,,,\n", "field 0"),
            (
                "1,0.001,1,0,0,0,1,,,,,\n1,0.001,1,0,0,0,1,,,,,\n",
                "where epoch 2 must be, it has 1",
            ),
            ("1,0.001,NaN,0,0,0,1,,,,,\n", "no number"),
            ("1,0.001,1,0,0,0,1,1e999,0,0,0,0\n", "no number"),
            ("1,0.001\n", "2 fields"),
        ] {
            let error = parse(format!("{header}{lines}").as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
