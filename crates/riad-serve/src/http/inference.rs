//! The Open Inference Protocol, version 2 (<https://github.com/kserve/open-inference-protocol>), so that clients of KServe and Triton
//! work. A line is a model of it, and each call is an inspection like any other.
//!
//! The input `image` is an encoded picture (`BYTES`) or its pixels (`UINT8`, `UINT16`, or `FP32` from 0 to 1) of the shape
//! [height, width, channels], or with a 1 in front. Outputs are given in JSON; the binary extension is understood in requests.

use std::io::Write;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    MOST_JSON,
    answer::{Problem, Refused},
    blocking,
    body::{Begun, beginning, next},
    extract::Path,
    inspect::{Came, judge, room, room_in_memory, text_of},
    line_of,
};
use crate::{
    Error,
    line::Picture,
    shared::Shared,
    store::{Origin, Verdict},
};

/// Says how long the JSON in front of the binary parts is.
const HEAD: &str = "inference-header-content-length";

/// What the server is
#[utoipa::path(get, path = "/v2", tag = "inference protocol", responses((status = 200, body = Value)))]
pub(super) async fn server() -> Json<Value> {
    Json(json!({"name": "riad", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data"]}))
}

/// 200 while the program runs
#[utoipa::path(get, path = "/v2/health/live", tag = "inference protocol", responses((status = 200, body = Value)))]
pub(super) async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

/// 200 if pictures are judged and stored
#[utoipa::path(
    get, path = "/v2/health/ready", tag = "inference protocol", responses((status = 200, body = Value), (status = 503, body = Value))
)]
pub(super) async fn ready(State(shared): State<Shared>) -> (StatusCode, Json<Value>) {
    let is_ready = !shared.is_ending() && !shared.lines.all().iter().any(|line| line.live().cannot_store());
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(json!({"ready": is_ready})))
}

/// What a line takes and gives
#[utoipa::path(
    get, path = "/v2/models/{line}", tag = "inference protocol", params(("line" = String, Path, description = "The line's name")),
    responses((status = 200, body = Value), (status = 404, body = Problem))
)]
pub(super) async fn model(State(shared): State<Shared>, Path(line): Path<String>) -> Result<Json<Value>, Refused> {
    let line = line_of(&shared, &line)?;
    let model = line.model();
    let channels = model.detector.reader().channels;
    Ok(Json(json!({
        "name": line.name,
        "versions": [model.version.to_string()],
        "platform": "riad",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, channels]}],
        "outputs": OUTPUTS.map(|(name, datatype)| json!({"name": name, "datatype": datatype, "shape": [1]})),
    })))
}

/// 200 if the line is there
#[utoipa::path(
    get, path = "/v2/models/{line}/ready", tag = "inference protocol",
    params(("line" = String, Path, description = "The line's name")),
    responses((status = 200, body = Value), (status = 404, body = Problem))
)]
pub(super) async fn model_ready(
    State(shared): State<Shared>,
    Path(line): Path<String>,
) -> Result<Json<Value>, Refused> {
    line_of(&shared, &line).map(|line| Json(json!({"name": line.name, "ready": true})))
}

/// What each call gives.
const OUTPUTS: [(&str, &str); 6] = [
    ("score", "FP32"),
    ("p_value", "FP64"),
    ("threshold", "FP32"),
    ("verdict", "BYTES"),
    ("inspection", "INT64"),
    ("regions", "BYTES"),
];

/// A call, as far as it is understood. Parameters are accepted and have no effect, but for the size of binary data.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Call {
    id: Option<String>,
    inputs: Vec<Tensor>,
    /// The outputs that are wanted; all if there is none.
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct Output {
    name: String,
}

#[derive(Debug, Deserialize, ToSchema)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: Parameters,
    #[schema(value_type = Vec<Object>)]
    data: Option<Value>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
struct Parameters {
    binary_data_size: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Inferred {
    model_name: String,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[schema(value_type = Vec<Object>)]
    outputs: Vec<Value>,
}

/// Look at a picture
#[utoipa::path(
    post, path = "/v2/models/{line}/infer", tag = "inference protocol",
    params(("line" = String, Path, description = "The line's name")), request_body = Call,
    responses(
        (status = 200, body = Inferred), (status = 400, body = Problem), (status = 404, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem), (status = 504, body = Problem),
    )
)]
pub(super) async fn infer(
    State(shared): State<Shared>,
    Extension(begun): Extension<Begun>,
    Path(line): Path<String>,
    request: Request,
) -> Result<Json<Inferred>, Refused> {
    let line = line_of(&shared, &line)?;
    let headers = request.headers().clone();
    let key = text_of(&headers, "idempotency-key")?;
    // JSON with numbers is several times as long as the file that it stands for.
    let most = usize::try_from(shared.most_bytes)
        .unwrap_or(usize::MAX)
        .saturating_add(MOST_JSON);
    let mut pieces = request.into_body().into_data_stream();
    let mut body = beginning(&mut pieces, begun).await?;
    let room = room(&shared, Some(&line))?;
    // The body is in memory, and so are its numbers.
    let memory = room_in_memory(&shared)?;
    while let Some(piece) = next(&mut pieces, begun).await? {
        if body.len() + piece.len() > most {
            return Err(Refused::too_large(shared.most_bytes));
        }
        body.extend_from_slice(&piece);
    }
    let body = Bytes::from(body);
    let begin = shared.clone();
    let (call, picture) = blocking(move || {
        let (call, binary) = split(&headers, &body)?;
        let unknown = |output: &&Output| OUTPUTS.iter().all(|(name, _)| *name != output.name);
        if let Some(unknown) = call.outputs.iter().find(unknown) {
            return Err(Refused::bad_request(format!("there is no output {:?}", unknown.name)));
        }
        let bytes = file_of(&call, &binary)?;
        let written = begin.store.pictures().incoming().and_then(|path| {
            std::fs::write(&path, &bytes).map_err(Error::file("write", path.to_path_buf()))?;
            Ok(path)
        });
        match written {
            Ok(path) => Ok((call, Picture::File(path))),
            Err(error) if error.is_full() => Ok((call, Picture::Memory { bytes, _room: memory })),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    let came = Came {
        picture,
        name: call
            .id
            .clone()
            .map(|id| id.chars().filter(|c| !c.is_control()).take(200).collect()),
    };
    let judged = judge(&shared, &line, (came, room), (Origin::Http, key, None), begun).await?;
    if let Some(error) = judged.not_stored {
        return Err(error.into());
    }
    let found = judged.inspection;
    if found.verdict == Verdict::Error {
        return Err(Refused::unreadable(found.reason.unwrap_or_default()));
    }
    let value = |name: &str| match name {
        "score" => json!([found.score.map(short)]),
        "p_value" => json!([found.p_value]),
        "threshold" => json!([found.threshold.map(short)]),
        "verdict" => json!([found.verdict.name()]),
        "inspection" => json!([found.id]),
        _ => json!([serde_json::to_string(&found.regions).unwrap_or_default()]),
    };
    let mut outputs = Vec::new();
    for (name, datatype) in OUTPUTS {
        if call.outputs.is_empty() || call.outputs.iter().any(|output| output.name == name) {
            outputs.push(json!({"name": name, "datatype": datatype, "shape": [1], "data": value(name)}));
        }
    }
    Ok(Json(Inferred {
        model_name: line.name.clone(),
        model_version: found.version.to_string(),
        id: call.id,
        outputs,
    }))
}

/// The number that has the fewest digits of those that are this one in f32, as elsewhere.
fn short(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// The JSON of a call, and what is binary behind it.
fn split(headers: &HeaderMap, body: &Bytes) -> Result<(Call, Bytes), Refused> {
    let length = match headers.get(HEAD) {
        None => body.len(),
        Some(length) => {
            let length = length.to_str().ok().and_then(|length| length.parse().ok());
            length
                .filter(|length| *length <= body.len())
                .ok_or_else(|| Refused::bad_request(format!("{HEAD} does not fit the body")))?
        }
    };
    let call = serde_json::from_slice(&body[..length]);
    let call = call.map_err(|error| Refused::bad_request(format!("the body is no inference request: {error}")))?;
    Ok((call, body.slice(length..)))
}

/// The file that a call's picture is: as it came, or an array of its pixels.
fn file_of(call: &Call, binary: &[u8]) -> Result<Vec<u8>, Refused> {
    let wrong = |words: String| Err(Refused::bad_request(words));
    let [input] = call.inputs.as_slice() else {
        return wrong(format!("a call has one input, image, and not {}", call.inputs.len()));
    };
    if input.name != "image" {
        return wrong(format!("the input is called image, and not {:?}", input.name));
    }
    let raw = match input.parameters.binary_data_size {
        None => None,
        Some(size) if size == binary.len() => Some(binary),
        Some(size) => {
            return wrong(format!(
                "the input has {size} bytes, and {} follow the JSON",
                binary.len()
            ));
        }
    };
    let elements = input
        .shape
        .iter()
        .try_fold(1usize, |product, side| product.checked_mul(*side));
    let Some(elements) = elements.filter(|elements| *elements > 0) else {
        return wrong(format!("an input of the shape {:?} has no element", input.shape));
    };
    if input.datatype == "BYTES" {
        return encoded(input, elements, raw);
    }
    let shape = match input.shape.as_slice() {
        [height, width, channels] | [1, height, width, channels] => [*height, *width, *channels],
        other => {
            return wrong(format!(
                "pixels have the shape [height, width, channels], and not {other:?}"
            ));
        }
    };
    let (kind, width) = match input.datatype.as_str() {
        "UINT8" => ("|u1", 1),
        "UINT16" => ("<u2", 2),
        "FP32" => ("<f4", 4),
        other => {
            return wrong(format!(
                "the datatype of image is BYTES, UINT8, UINT16 or FP32, and not {other:?}"
            ));
        }
    };
    let values = match (raw, &input.data) {
        (Some(raw), _) => raw.to_vec(),
        (None, Some(data)) => {
            let mut values = Vec::new();
            flatten(data, kind, &mut values).map_err(Refused::bad_request)?;
            values
        }
        (None, None) => return wrong("the input has no data".to_owned()),
    };
    if elements.checked_mul(width) != Some(values.len()) {
        return wrong(format!(
            "the shape {:?} does not fit the {} bytes of data",
            input.shape,
            values.len()
        ));
    }
    Ok(array(kind, shape, &values))
}

/// An encoded picture: in JSON as base64, binary with its length in front.
fn encoded(input: &Tensor, elements: usize, raw: Option<&[u8]>) -> Result<Vec<u8>, Refused> {
    if elements != 1 {
        return Err(Refused::bad_request(format!(
            "a call has one picture, and not {elements}"
        )));
    }
    let found = match (raw, &input.data) {
        (Some(raw), _) => {
            let length = raw.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
            length
                .filter(|length| length + 4 == raw.len())
                .map(|_| raw[4..].to_vec())
        }
        (None, Some(data)) => {
            let text = match data {
                Value::Array(list) => list.first().and_then(Value::as_str),
                other => other.as_str(),
            };
            text.and_then(|text| BASE64_STANDARD.decode(text).ok())
        }
        (None, None) => None,
    };
    found.ok_or_else(|| {
        Refused::bad_request("the picture is neither base64 in JSON nor binary data with its length in front")
    })
}

/// Numbers in JSON, nested or not, one after the other.
fn flatten(data: &Value, kind: &str, values: &mut Vec<u8>) -> Result<(), String> {
    // The reader of JSON bounds how deep it nests.
    if let Value::Array(list) = data {
        return list.iter().try_for_each(|value| flatten(value, kind, values));
    }
    let whole = |most: u64| {
        data.as_u64()
            .filter(|value| *value <= most)
            .ok_or_else(|| format!("{data} is no pixel of {kind}"))
    };
    match kind {
        "|u1" => values.push(whole(u64::from(u8::MAX))? as u8),
        "<u2" => values.extend((whole(u64::from(u16::MAX))? as u16).to_le_bytes()),
        _ => {
            let value = data.as_f64().ok_or_else(|| format!("{data} is no number"))?;
            values.extend((value as f32).to_le_bytes());
        }
    }
    Ok(())
}

/// A NumPy array, format 1.0 (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).
fn array(kind: &str, [height, width, channels]: [usize; 3], values: &[u8]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({height}, {width}, {channels}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = Vec::with_capacity(10 + header.len() + values.len());
    let length = u16::try_from(header.len()).unwrap_or_default().to_le_bytes();
    for part in [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), values] {
        // A vector takes all that memory takes.
        let _ = file.write_all(part);
    }
    file
}
