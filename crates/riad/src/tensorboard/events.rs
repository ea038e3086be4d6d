//! TensorBoard's event files: TFRecords of the messages in `event.proto` and `summary.proto`. Only the fields that are
//! used here are defined.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crc::{CRC_32_ISCSI, Crc};
use prost::Message;

use crate::{Error, Result};

/// By this part of the name TensorBoard knows its files.
const PREFIX: &str = "events.out.tfevents.";

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub(super) wall_time: f64,
    #[prost(int64, tag = "2")]
    pub(super) step: i64,
    #[prost(string, optional, tag = "3")]
    pub(super) file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(super) summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    pub(super) session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionLog {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

/// [`SessionLog::status`] where what earlier files say of this step and later ones no longer holds.
pub(super) const START: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(super) value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub(super) tag: String,
    #[prost(float, optional, tag = "2")]
    pub(super) simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    pub(super) image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(int32, tag = "1")]
    pub(super) height: i32,
    #[prost(int32, tag = "2")]
    pub(super) width: i32,
    /// 3 for RGB.
    #[prost(int32, tag = "3")]
    pub(super) colorspace: i32,
    /// PNG.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) encoded_image_string: Vec<u8>,
}

/// The events of one session of a run. A session that goes on from an earlier one has a file of its own.
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a file in `folder` that follows those there. What they say of `first_step` and later steps no longer holds:
    /// a run that was killed repeats the steps since it was last saved.
    pub(super) fn create(folder: &Path, first_step: usize) -> Result<Self> {
        let path = folder.join(next_name(folder)?);
        let file = File::create_new(&path).map_err(Error::file("make", &path))?;
        let mut events = Self { path, file };
        events.append(first_step, |event| {
            event.file_version = Some("brain.Event:2".to_owned())
        })?;
        events.append(first_step, |event| {
            event.session_log = Some(SessionLog { status: START })
        })?;
        Ok(events)
    }

    /// Appends a summary.
    pub(super) fn summary(&mut self, step: usize, value: Vec<Value>) -> Result<()> {
        self.append(step, |event| event.summary = Some(Summary { value }))
    }

    /// A record goes to the system whole and at once, so that readers see it and a kill leaves at most a record cut off,
    /// which they pass over.
    fn append(&mut self, step: usize, fill: impl FnOnce(&mut Event)) -> Result<()> {
        let mut event = Event {
            wall_time: since_1970().as_secs_f64(),
            step: step as i64,
            ..Event::default()
        };
        fill(&mut event);
        let write = self.file.write_all(&record(&event.encode_to_vec()));
        write.map_err(Error::file("write", &self.path))
    }
}

fn since_1970() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A name that sorts after those of the event files in `folder`, whatever the clock says: TensorBoard reads them in the
/// order of their names.
fn next_name(folder: &Path) -> Result<String> {
    let mut number = since_1970().as_secs();
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))? {
        let name = entry.map_err(Error::file("read", folder))?.file_name();
        let earlier = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok());
        number = number.max(earlier.map_or(0, |earlier: u64| earlier.saturating_add(1)));
    }
    Ok(format!("{PREFIX}{number:010}.riad"))
}

/// A TFRecord: length, checksum of the length, data, checksum of the data.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_checksum(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_checksum(data).to_le_bytes());
    record
}

/// CRC-32C, rotated and moved: a checksum of data that holds checksums would be weak.
fn masked_checksum(data: &[u8]) -> u32 {
    static CRC_32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
    CRC_32C.checksum(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The events of a file, every record's checksums checked; of one that was cut off, those before.
    pub(in super::super) fn read(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let length = u64::from_le_bytes(*length) as usize;
            let Some(data) = after.get(4..4 + length) else { break };
            let whole = record(data);
            if rest.len() < whole.len() {
                break;
            }
            assert!(rest.starts_with(&whole), "a checksum is wrong");
            events.push(Event::decode(data).unwrap());
            rest = &rest[whole.len()..];
        }
        events
    }

    /// `RecordWriter(file).write(b"riad")` of PyPI's tensorboard 2.21.
    #[test]
    fn records_are_framed_as_tensorboard_frames_them() {
        let framed: String = record(b"riad").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(framed, "0400000000000000424552047269616441c45e9b");
    }

    #[test]
    fn a_file_follows_those_that_are_there_and_a_cut_one_is_read_to_the_cut() {
        let folder = tempfile::tempdir().unwrap();
        // From a machine whose clock is ahead.
        fs::write(folder.path().join("events.out.tfevents.9999999990.riad"), "").unwrap();
        let mut file = EventFile::create(folder.path(), 7).unwrap();
        assert!(file.path.ends_with("events.out.tfevents.9999999991.riad"));
        file.summary(7, vec![]).unwrap();
        file.summary(8, vec![]).unwrap();
        let events = read(&file.path);
        let steps: Vec<_> = events.iter().map(|event| event.step).collect();
        assert_eq!(steps, [7, 7, 7, 8]);
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!(events[1].session_log, Some(SessionLog { status: START }));
        let whole = fs::read(&file.path).unwrap();
        fs::write(&file.path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(read(&file.path), events[..3]);
    }
}
