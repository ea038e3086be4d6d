//! Weights from the public PyTorch code: a zip archive with a pickle that describes the tensors, and a file with the
//! values of each.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read, Seek},
    path::Path,
};

use half::{bf16, f16};
use zip::{CompressionMethod, ZipArchive};

use super::{
    checkpoint::invalid,
    files::open_file,
    pickle::{Id, Pickle, Value},
};
use crate::{Result, error::ModelError, network::NamedTensors};

/// Keys under which training scripts nest the state dict.
const NESTED: [&str; 3] = ["model", "state_dict", "model_state_dict"];

/// Dimensions that a tensor has, at most.
const MOST_DIMENSIONS: usize = 8;

/// Reads every tensor of a `.pt`/`.pth` file (PyTorch 1.6 and later), the state dict itself or nested under one of
/// [`NESTED`]. Names lose the `module.` that `DataParallel` puts before them.
///
/// What this takes in memory and time is in proportion to the file, whatever it says.
pub(super) fn read_pytorch(path: &Path) -> Result<NamedTensors> {
    let file = open_file(path).map_err(ModelError::io(path))?;
    let tensors = read(file).map_err(|reason| {
        invalid(
            path,
            format!("its PyTorch state dict cannot be read: {reason}; save model.state_dict() again with torch.save"),
        )
    })?;
    if tensors.is_empty() {
        return Err(invalid(
            path,
            format!(
                "no state dict was found in it, neither directly nor under {}; save model.state_dict() with torch.save",
                NESTED.join(", ")
            ),
        ));
    }
    Ok(tensors)
}

/// Why a file cannot be read, in words.
type Reason = String;

fn read(file: File) -> Result<NamedTensors, Reason> {
    let bytes = file.metadata().map_err(|error| error.to_string())?.len();
    let archive = ZipArchive::new(BufReader::new(file)).map_err(|error| format!("its archive is damaged ({error})"))?;
    let suffix = "data.pkl";
    let names: Vec<String> = archive
        .file_names()
        .filter_map(|name| Some(name.ok()?.into_owned()))
        .collect();
    let is_pickle = |name: &&String| {
        let folder = name.strip_suffix(suffix);
        folder.is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
    };
    let pickle = names.iter().find(is_pickle);
    let pickle = pickle.ok_or("its archive has no data.pkl")?;
    let folder = pickle.strip_suffix(suffix).unwrap_or_default().to_owned();
    let mut storages = Storages {
        archive,
        folder,
        read: HashMap::new(),
        bytes_left: bytes,
        values_left: bytes,
    };
    let order = format!("{}byteorder", storages.folder);
    if names.contains(&order) && storages.bytes("byteorder")? != b"little" {
        return Err("it was saved on a machine with the other order of bytes".into());
    }
    let pickle = Pickle::parse(&storages.bytes(suffix)?)?;
    let Value::Dictionary(entries) = pickle.get(pickle.root) else {
        return Ok(NamedTensors::new());
    };
    let direct = storages.tensors(&pickle, entries)?;
    if !direct.is_empty() {
        return Ok(direct);
    }
    for key in NESTED {
        let nested = entries.iter().find(|(name, _)| pickle.text(*name) == Some(key));
        if let Some(&(_, nested)) = nested
            && let Value::Dictionary(entries) = pickle.get(nested)
        {
            let tensors = storages.tensors(&pickle, entries)?;
            if !tensors.is_empty() {
                return Ok(tensors);
            }
        }
    }
    Ok(NamedTensors::new())
}

/// The archive, out of which values are read.
struct Storages<R> {
    archive: ZipArchive<R>,
    /// The folder in it that all lies in, with its slash.
    folder: String,
    /// The values of files that were read: tensors may share them.
    read: HashMap<String, Vec<f32>>,
    /// Bytes that may still be read: an archive can name one place of it many times.
    bytes_left: u64,
    /// Values and bytes of names that tensors may still have: a pickle can name one file or one text many times, and each takes a
    /// byte or more of the archive.
    values_left: u64,
}

/// A tensor, as the pickle says.
struct Tensor<'a> {
    /// The kind of the values, such as `FloatStorage`.
    kind: &'a str,
    /// The name of the file with the values.
    key: &'a str,
    /// How many values that file has.
    count: usize,
    /// Where in it the tensor begins.
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl<R: Read + Seek> Storages<R> {
    /// A file of the archive. PyTorch does not compress, so that none is larger than the archive.
    fn bytes(&mut self, name: &str) -> Result<Vec<u8>, Reason> {
        let damaged = |error: &dyn std::fmt::Display| format!("its archive's {name} is damaged ({error})");
        let file = self
            .archive
            .by_name(&format!("{}{name}", self.folder))
            .map_err(|error| damaged(&error))?;
        if file.compression() != CompressionMethod::Stored {
            return Err(format!("its archive's {name} is compressed, which PyTorch never does"));
        }
        let mut bytes = Vec::new();
        let size = file.size();
        self.bytes_left = self
            .bytes_left
            .checked_sub(size)
            .ok_or("its archive names the same bytes many times")?;
        // Nothing is set aside for a size that is only claimed.
        file.take(size)
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(&error))?;
        Ok(bytes)
    }

    /// The tensors of a dictionary; what else it may hold is passed over.
    fn tensors(&mut self, pickle: &Pickle, entries: &[(Id, Id)]) -> Result<NamedTensors, Reason> {
        let mut values = NamedTensors::new();
        for &(name, value) in entries {
            if let (Some(name), Some(tensor)) = (pickle.text(name), tensor(pickle, value)) {
                self.take(name.len())?;
                let read = self
                    .values(&tensor)
                    .map_err(|reason| format!("the tensor {name}: {reason}"))?;
                let name = name.strip_prefix("module.").unwrap_or(name);
                values.insert(name.to_owned(), (tensor.shape, read));
            }
        }
        Ok(values)
    }

    /// Counts values or bytes that tensors have.
    fn take(&mut self, count: usize) -> Result<(), Reason> {
        let left = self.values_left.checked_sub(count as u64);
        self.values_left = left.ok_or("it names more values than the file can hold")?;
        Ok(())
    }

    fn values(&mut self, tensor: &Tensor<'_>) -> Result<Vec<f32>, Reason> {
        let Tensor {
            kind,
            key,
            count,
            offset,
            shape,
            strides,
        } = tensor;
        if shape.len() != strides.len() || shape.len() > MOST_DIMENSIONS {
            return Err(format!(
                "it has {} dimensions and {} strides",
                shape.len(),
                strides.len()
            ));
        }
        let beyond = || format!("its shape {shape:?} does not fit its {count} values");
        let product = |values: &[usize]| {
            values
                .iter()
                .try_fold(1usize, |product, &side| product.checked_mul(side))
        };
        let elements = product(shape).ok_or_else(beyond)?;
        let last = shape.iter().zip(strides).try_fold(*offset, |last, (side, stride)| {
            last.checked_add(side.saturating_sub(1).checked_mul(*stride)?)
        });
        if elements > 0 && last.is_none_or(|last| last >= *count) {
            return Err(beyond());
        }
        self.take(elements)?;
        if !self.read.contains_key(*key) {
            let values = decode(kind, &self.bytes(&format!("data/{key}"))?)?;
            self.read.insert((*key).to_owned(), values);
        }
        let stored = self.read.get(*key).ok_or_else(beyond)?;
        if stored.len() != *count {
            return Err(format!("it names {count} values, and the file has {}", stored.len()));
        }
        let mut values = Vec::with_capacity(elements);
        let mut index = vec![0; shape.len()];
        for _ in 0..elements {
            let place: usize = index.iter().zip(strides).map(|(at, stride)| at * stride).sum();
            values.push(stored.get(offset + place).copied().ok_or_else(beyond)?);
            for (at, side) in index.iter_mut().zip(shape).rev() {
                *at += 1;
                if *at < *side {
                    break;
                }
                *at = 0;
            }
        }
        Ok(values)
    }
}

/// The tensor that a value is, if it is one: bare, or as a parameter of a network.
fn tensor(pickle: &Pickle, id: Id) -> Option<Tensor<'_>> {
    let call = |id: Id, wanted: &str| match pickle.get(id) {
        Value::Call { function, arguments } if pickle.global(*function) == Some(("torch._utils", wanted)) => {
            pickle.items(*arguments)
        }
        _ => None,
    };
    let id = call(id, "_rebuild_parameter")
        .and_then(|arguments| arguments.first().copied())
        .unwrap_or(id);
    let [storage, offset, shape, strides, ..] = *call(id, "_rebuild_tensor_v2")? else {
        return None;
    };
    let Value::Persistent(storage) = *pickle.get(storage) else {
        return None;
    };
    // ("storage", class, key, device, number of values)
    let [_, kind, key, _, count] = *pickle.items(storage)? else {
        return None;
    };
    let (_, kind) = pickle.global(kind)?;
    // One more than there may be, so that it is refused. Many tensors can name one long tuple.
    let counts = |id: Id| {
        pickle
            .items(id)?
            .iter()
            .take(MOST_DIMENSIONS + 1)
            .map(|&side| pickle.count(side))
            .collect::<Option<Vec<_>>>()
    };
    Some(Tensor {
        kind,
        key: pickle.text(key)?,
        count: pickle.count(count)?,
        offset: pickle.count(offset)?,
        shape: counts(shape)?,
        strides: counts(strides)?,
    })
}

fn decode(kind: &str, bytes: &[u8]) -> Result<Vec<f32>, Reason> {
    fn each<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&bytes| convert(bytes)).collect()
    }
    Ok(match kind {
        "FloatStorage" => each(bytes, f32::from_le_bytes),
        "DoubleStorage" => each(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        "HalfStorage" => each(bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
        "BFloat16Storage" => each(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        "LongStorage" => each(bytes, |bytes| i64::from_le_bytes(bytes) as f32),
        "IntStorage" => each(bytes, |bytes| i32::from_le_bytes(bytes) as f32),
        "ByteStorage" | "BoolStorage" => each(bytes, |[byte]| f32::from(byte)),
        other => {
            return Err(format!(
                "it holds values of the kind {other}; save the weights as float32"
            ));
        }
    })
}

#[cfg(test)]
#[cfg(feature = "candle")]
mod tests {
    use std::{io::Write, path::Path};

    use proptest::prelude::*;
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;
    use crate::{Checkpoint, ScoringSettings, backend::tests::filled_weights};

    /// The file that `tests/reference/parity.py` wrote.
    #[test]
    fn a_checkpoint_of_the_public_code_is_imported_from_where_it_is_nested() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/nested.pth");
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.weights, filled_weights(1));
        assert_eq!(checkpoint.header.scoring, ScoringSettings::default());
        assert_eq!(checkpoint.header.training, None);
    }

    /// An archive with this pickle and 4 values.
    fn archive(pickle: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut zip = ZipWriter::new(file.reopen().unwrap());
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, bytes) in [("data.pkl", pickle), ("data/0", [0u8; 16].as_slice())] {
            zip.start_file(format!("archive/{name}"), options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
        file
    }

    fn refusal(pickle: &[u8]) -> String {
        let file = archive(pickle);
        let error = read_pytorch(file.path()).unwrap_err().to_string();
        assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
        error
    }

    /// `{"w": tensor}` of 4 values, with these numbers (each below 256) for what it says of itself.
    fn tensor_of(count: &[u8], offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
        let numbers = |numbers: &[u8]| -> Vec<u8> {
            let items = numbers.iter().flat_map(|&number| [b'K', number]);
            [b'('].into_iter().chain(items).chain([b't']).collect()
        };
        let storage = b"}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu";
        let parts = [
            &storage[..],
            count,
            b"tQK",
            &[offset],
            &numbers(shape),
            &numbers(strides),
            b"\x89}tRs.",
        ];
        parts.concat()
    }

    #[test]
    fn what_a_tensor_says_of_itself_is_checked() {
        let whole = archive(&tensor_of(b"K\x04", 1, &[3], &[1]));
        assert_eq!(read_pytorch(whole.path()).unwrap()["w"], (vec![3], vec![0.0; 3]));
        for (pickle, expected) in [
            (tensor_of(b"K\x04", 2, &[3], &[1]), "does not fit its 4 values"),
            (tensor_of(b"K\x04", 0, &[2, 3], &[3, 1]), "does not fit its 4 values"),
            (
                tensor_of(b"K\x05", 0, &[5], &[1]),
                "it names 5 values, and the file has 4",
            ),
            (tensor_of(b"K\x04", 0, &[3], &[1, 1]), "1 dimensions and 2 strides"),
            // The most that 64 bits can count, and a tensor of 255^8 values that are all the same one.
            (
                tensor_of(b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", 0, &[255; 8], &[255; 8]),
                "than the file can hold",
            ),
            (tensor_of(b"K\x04", 0, &[255; 9], &[0; 9]), "9 dimensions"),
            // No more sides are looked at than it takes to refuse them: many tensors can name one long tuple.
            (
                tensor_of(b"K\x04", 0, &[255; 1000], &[0; 1000]),
                "9 dimensions and 9 strides",
            ),
            (tensor_of(b"K\x04", 0, &[255; 8], &[0; 8]), "than the file can hold"),
            (tensor_of(b"K\x04", 0, &[255; 7], &[0; 7]), "than the file can hold"),
            (b"\x80\x02}".to_vec(), "cut off"),
            (b"\x80\x02}.".to_vec(), "no state dict was found"),
            (b"\x80\x02(ios\nsystem\n.".to_vec(), "operation 0x69"),
            (
                [&b")"[..], &b"\x85".repeat(100_000), b"."].concat(),
                "no state dict was found",
            ),
        ] {
            let reason = refusal(&pickle);
            assert!(reason.contains(expected), "{reason}");
        }
        // A tensor without values takes as little by a hundred thousand names, if these are not one text.
        let tensor = tensor_of(b"K\x04", 0, &[0], &[1]);
        let tensor = &tensor[7..tensor.len() - 2];
        let name = [&b"X\xa0\x86\x01\0"[..], &b"a".repeat(100_000), b"q\x000"].concat();
        let entries = b"h\x00h\x01s".repeat(100_000);
        let named = [&name[..], tensor, b"q\x010}", &entries, b"."].concat();
        assert!(refusal(&named).contains("than the file can hold"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"PK\x03\x04 no archive").unwrap();
        let reason = read_pytorch(file.path()).unwrap_err().to_string();
        assert!(reason.contains("its archive is damaged"), "{reason}");
    }

    proptest! {
        #[test]
        fn no_pickle_is_more_than_an_error(count: u8, offset: u8, shape: Vec<u8>, strides: Vec<u8>) {
            let file = archive(&tensor_of(&[b'K', count], offset, &shape, &strides));
            _ = read_pytorch(file.path());
        }
    }
}
