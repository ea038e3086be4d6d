//! Weights that the public PyTorch code saved.

use std::{panic::catch_unwind, path::Path};

use candle_core::{DType, pickle::PthTensors};

use crate::{Result, error::ModelError, network::NamedTensors};

/// Keys under which training scripts nest the state dict.
const NESTED: [&str; 3] = ["model", "state_dict", "model_state_dict"];

/// Reads every tensor of a `.pt`/`.pth` file (PyTorch 1.6 and later), the state dict itself or nested under one of
/// [`NESTED`]. Names lose the `module.` that `DataParallel` puts before them.
pub(super) fn read_pytorch(path: &Path) -> Result<NamedTensors> {
    let refuse = |reason: String| ModelError::Checkpoint {
        path: path.to_owned(),
        reason,
    };
    // candle's unpickler indexes into what the file says, and so panics on some malformed files.
    let read = catch_unwind(|| {
        let mut tensors = PthTensors::new(path, None)?;
        for key in NESTED {
            if tensors.tensor_infos().is_empty()
                && let Ok(nested) = PthTensors::new(path, Some(key))
            {
                tensors = nested;
            }
        }
        let mut values = NamedTensors::new();
        for name in tensors.tensor_infos().keys() {
            if let Some(tensor) = tensors.get(name)? {
                let shape = tensor.dims().to_vec();
                let name = name.strip_prefix("module.").unwrap_or(name).to_owned();
                values.insert(
                    name,
                    (shape, tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?),
                );
            }
        }
        Ok::<_, candle_core::Error>(values)
    });
    let values = match read {
        Ok(Ok(values)) => values,
        Ok(Err(error)) => return Err(refuse(format!("its PyTorch state dict cannot be read: {error}"))),
        Err(_) => return Err(refuse("its PyTorch state dict is malformed".into())),
    };
    if values.is_empty() {
        return Err(refuse(format!(
            "no state dict was found in it, neither directly nor under {NESTED:?}; save model.state_dict() with torch.save"
        )));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
}
