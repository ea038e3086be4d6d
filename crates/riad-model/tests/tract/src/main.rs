//! `tract-run SIDE…`: runs model.onnx on the values in `input`, of this shape, and writes each output to `output.0`, ….

use std::{env, fs};

use tract_onnx::prelude::*;

fn main() -> TractResult<()> {
    let shape = env::args().skip(1).map(|side| side.parse()).collect::<Result<Vec<usize>, _>>()?;
    let bytes = fs::read("input")?;
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let input = Tensor::from_shape(&shape, &values)?;
    let model = tract_onnx::onnx()
        .model_for_path("model.onnx")?
        .with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), &shape))?
        .into_optimized()?
        .into_runnable()?;
    for (index, output) in model.run(tvec!(input.into()))?.iter().enumerate() {
        let values = output.to_plain_array_view::<f32>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs::write(format!("output.{index}"), bytes)?;
    }
    Ok(())
}
