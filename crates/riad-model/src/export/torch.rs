//! PyTorch: a state dict in the format of `torch.save`. Since 1.6 it is a zip archive with a pickle and one file per
//! tensor.

use std::io::{Cursor, Write};

use zip::{CompressionMethod, ZipWriter, result::ZipError, write::SimpleFileOptions};

use crate::{
    Result,
    error::ModelError,
    network::{TensorSpec, Weights},
};

/// A `.pt` file with the network's state dict, under the names that both public implementations of RIAD use. Its
/// network loads it with `load_state_dict(torch.load(path, weights_only=True))`, also with `strict`: without
/// `num_batches_tracked` in the state dict, PyTorch begins to count batches from 0.
///
/// It holds only weights. The network needs images normalised by the checkpoint's
/// [`ScoringSettings`](crate::ScoringSettings). Masks, maps and thresholds are not in the file.
///
/// # Errors
/// If a tensor has more than 4 GiB, the limit of an entry in a plain archive.
pub fn torch_state_dict(weights: &Weights) -> Result<Vec<u8>> {
    archive(weights).map_err(|error| ModelError::Archive(error.into()))
}

fn archive(weights: &Weights) -> std::result::Result<Vec<u8>, ZipError> {
    let tensors = weights.network().tensors();
    // Without a time, so that equal weights are equal files.
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: &str, bytes: &[u8]| -> std::result::Result<(), ZipError> {
        zip.start_file(format!("archive/{name}"), stored)?;
        Ok(zip.write_all(bytes)?)
    };
    add("data.pkl", &pickle(&tensors))?;
    add("byteorder", b"little")?;
    for (index, TensorSpec { name, .. }) in tensors.iter().enumerate() {
        let values = weights.get(name).iter();
        let bytes: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
        add(&format!("data/{index}"), &bytes)?;
    }
    add("version", b"3\n")?;
    Ok(zip.finish()?.into_inner())
}

/// The opcodes of Python's pickles that a state dict takes, protocol 2.
mod op {
    pub(super) const PROTOCOL_2: &[u8] = b"\x80\x02";
    /// Followed by module and name, a line each: a class or function.
    pub(super) const GLOBAL: u8 = b'c';
    pub(super) const EMPTY_TUPLE: u8 = b')';
    /// Where a tuple or the items of a dictionary begin.
    pub(super) const MARK: u8 = b'(';
    pub(super) const TUPLE: u8 = b't';
    pub(super) const SET_ITEMS: u8 = b'u';
    /// Followed by a length of 4 bytes and UTF-8.
    pub(super) const UNICODE: u8 = b'X';
    /// Followed by 4 bytes, signed.
    pub(super) const INT: u8 = b'J';
    /// Followed by a length N of 1 byte, and N bytes, signed.
    pub(super) const LONG: u8 = 0x8a;
    pub(super) const FALSE: u8 = 0x89;
    /// Calls what lies below with the tuple on top.
    pub(super) const REDUCE: u8 = b'R';
    /// The object that a tuple stands for, which lies outside: a storage.
    pub(super) const PERSISTENT: u8 = b'Q';
    pub(super) const STOP: u8 = b'.';
}

/// An ordered dictionary of tensors; tensor i is all of storage i.
fn pickle(tensors: &[TensorSpec]) -> Vec<u8> {
    let mut out = op::PROTOCOL_2.to_vec();
    ordered_dict(&mut out);
    out.push(op::MARK);
    for (index, TensorSpec { name, shape, .. }) in tensors.iter().enumerate() {
        text(&mut out, name);
        global(&mut out, "torch._utils", "_rebuild_tensor_v2");
        out.push(op::MARK);

        out.push(op::MARK);
        text(&mut out, "storage");
        global(&mut out, "torch", "FloatStorage");
        text(&mut out, &index.to_string());
        text(&mut out, "cpu");
        long(&mut out, shape.iter().product());
        out.extend([op::TUPLE, op::PERSISTENT]);

        integer(&mut out, 0); // where in the storage it begins
        integers(&mut out, shape.iter().copied());
        integers(
            &mut out,
            (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()),
        );
        out.push(op::FALSE); // no gradient wanted
        ordered_dict(&mut out); // no hooks
        out.extend([op::TUPLE, op::REDUCE]);
    }
    out.extend([op::SET_ITEMS, op::STOP]);
    out
}

fn global(out: &mut Vec<u8>, module: &str, name: &str) {
    out.push(op::GLOBAL);
    out.extend(format!("{module}\n{name}\n").bytes());
}

/// An empty one.
fn ordered_dict(out: &mut Vec<u8>) {
    global(out, "collections", "OrderedDict");
    out.extend([op::EMPTY_TUPLE, op::REDUCE]);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(op::UNICODE);
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.bytes());
}

fn integers(out: &mut Vec<u8>, values: impl Iterator<Item = usize>) {
    out.push(op::MARK);
    values.for_each(|value| integer(out, value));
    out.push(op::TUPLE);
}

/// A tensor's side or stride, which are far below 2³¹.
fn integer(out: &mut Vec<u8>, value: usize) {
    out.push(op::INT);
    out.extend((value as i32).to_le_bytes());
}

fn long(out: &mut Vec<u8>, value: usize) {
    out.extend([op::LONG, 8]);
    out.extend((value as i64).to_le_bytes());
}
