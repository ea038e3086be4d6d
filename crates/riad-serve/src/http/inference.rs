//! The Open Inference Protocol, version 2 (<https://github.com/kserve/open-inference-protocol>), so that clients of KServe and Triton
//! work. A line is a model of it, and each call is an inspection like any other.
//!
//! The input `image` is an encoded picture (`BYTES`) or its pixels (`UINT8`, `UINT16`, or `FP32` from 0 to 1) of the shape
//! [height, width, channels], or with a 1 in front. Outputs are given in JSON; the binary extension is understood in requests.

use std::{fmt, fs, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error as _, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};
use tokio::{sync::OwnedSemaphorePermit, time::timeout_at};
use utoipa::ToSchema;

use super::{
    MOST_JSON,
    answer::{Problem, Refused},
    blocking,
    body::Begun,
    extract::Path,
    inspect::{Came, judge, received, room_in_memory, sent_before, shown, text_of},
    line_of,
    pixels::{Kind, Numbers, header},
};
use crate::{
    Error,
    line::{Line, Picture},
    shared::Shared,
    store::{Inspection, Origin, Verdict},
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
pub(super) struct Call<'a> {
    id: Option<String>,
    #[serde(borrow)]
    inputs: Vec<Tensor<'a>>,
    /// The outputs that are wanted; all if there is none.
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct Output {
    name: String,
}

#[derive(Debug, Deserialize, ToSchema)]
struct Tensor<'a> {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: Parameters,
    /// As it stands in the body: numbers of JSON would take many times its memory.
    #[serde(borrow)]
    #[schema(value_type = Vec<Object>)]
    data: Option<&'a RawValue>,
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
    params(
        ("line" = String, Path, description = "The line's name"),
        ("Idempotency-Key" = Option<String>, Header, description = "The sender's key for this picture"),
    ),
    request_body = Call,
    responses(
        (status = 200, body = Inferred), (status = 400, body = Problem), (status = 404, body = Problem), (status = 408, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
        (status = 504, body = Problem),
        (status = 507, description = "Judged, but not stored: the disk is full. The output `inspection` is 0", body = Inferred),
    )
)]
pub(super) async fn infer(
    State(shared): State<Shared>,
    Extension(begun): Extension<Begun>,
    Path(line): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Inferred>), Refused> {
    let line = line_of(&shared, &line)?;
    let headers = request.headers().clone();
    let key = text_of(&headers, "idempotency-key")?;
    // JSON with numbers is several times as long as the file that it stands for.
    let most = shared.most_bytes.saturating_add(MOST_JSON as u64);
    let (body, room) = received(&shared, Some(&line), request.into_body().into_data_stream(), most).await?;
    let Asked { id, wanted, picture } = asked(&shared, &line, (headers, body), begun).await?;
    let name = id.as_deref().map(shown);
    let (came, key, first) = sent_before(&shared, &line, Came { picture, name }, key).await?;
    let (found, status) = match first {
        Some(first) => (first, StatusCode::OK),
        None => {
            let judged = judge(&shared, &line, (came, room), (Origin::Http, key, None), begun).await?;
            // Its verdict stands all the same.
            let status = match judged.not_stored {
                None => StatusCode::OK,
                Some(_) => StatusCode::INSUFFICIENT_STORAGE,
            };
            (judged.inspection, status)
        }
    };
    if found.verdict == Verdict::Error {
        return Err(Refused::unreadable(found.reason.unwrap_or_default()));
    }
    Ok((status, Json(inferred(&line, id, &wanted, &found))))
}

/// What a call asks for.
struct Asked {
    id: Option<String>,
    wanted: Vec<Output>,
    picture: Picture,
}

/// Reads a call that has come in, and brings its picture to its place. Only now it is in memory, as a whole and once more as a file, and so
/// only a few are at once: a sender that is slow keeps nobody else from it.
async fn asked(
    shared: &Shared,
    line: &Arc<Line>,
    (headers, body): (HeaderMap, Picture),
    begun: Begun,
) -> Result<Asked, Refused> {
    let turn = timeout_at(begun.deadline, shared.inferring.acquire()).await;
    let _turn = turn.map_err(|_| Refused::late())?.map_err(|_| Refused::internal())?;
    let (shared, line) = (shared.clone(), line.clone());
    blocking(move || {
        let (body, memory) = match body {
            Picture::File(file) => (fs::read(&file).map_err(Error::file("read", &*file))?, None),
            Picture::Memory { bytes, _room: room } => (bytes, Some(room)),
        };
        let (call, binary) = split(&headers, &body)?;
        let unknown = |output: &&Output| OUTPUTS.iter().all(|(name, _)| *name != output.name);
        if let Some(unknown) = call.outputs.iter().find(unknown) {
            return Err(Refused::bad_request(format!("there is no output {:?}", unknown.name)));
        }
        let bytes = file_of(&call, binary)?;
        let (id, wanted) = (call.id, call.outputs);
        let picture = placed(&shared, &line, bytes, memory)?;
        Ok(Asked { id, wanted, picture })
    })
    .await
}

/// Brings the picture of a call into the store. If the disk is full, it stays in memory, where the call may have had room already.
fn placed(
    shared: &Shared,
    line: &Line,
    bytes: Vec<u8>,
    memory: Option<OwnedSemaphorePermit>,
) -> Result<Picture, Refused> {
    let written = shared.store.pictures().incoming().and_then(|path| {
        fs::write(&path, &bytes).map_err(Error::file("write", path.to_path_buf()))?;
        Ok(path)
    });
    let error = match written {
        Ok(path) => return Ok(Picture::File(path)),
        Err(error) => error,
    };
    line.live().could_not_store();
    if !error.is_full() {
        return Err(error.into());
    }
    let room = memory.map_or_else(|| room_in_memory(shared), Ok)?;
    Ok(Picture::Memory { bytes, _room: room })
}

/// The outputs that are wanted; all if none is named.
fn inferred(line: &Line, id: Option<String>, wanted: &[Output], found: &Inspection) -> Inferred {
    let value = |name: &str| match name {
        "score" => json!([found.score.map(short)]),
        "p_value" => json!([found.p_value]),
        "threshold" => json!([found.threshold.map(short)]),
        "verdict" => json!([found.verdict.name()]),
        "inspection" => json!([found.id]),
        _ => json!([serde_json::to_string(&found.regions).unwrap_or_default()]),
    };
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|output| output.name == name);
    let outputs = OUTPUTS.iter().filter(|(name, _)| is_wanted(name));
    Inferred {
        model_name: line.name.clone(),
        model_version: found.version.to_string(),
        id,
        outputs: outputs
            .map(|(name, datatype)| json!({"name": name, "datatype": datatype, "shape": [1], "data": value(name)}))
            .collect(),
    }
}

/// The number that has the fewest digits of those that are this one in f32, as elsewhere.
fn short(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// The JSON of a call, and what is binary behind it.
fn split<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<(Call<'a>, &'a [u8]), Refused> {
    let length = match headers.get(HEAD) {
        None => body.len(),
        Some(length) => {
            let length = length.to_str().ok().and_then(|length| length.parse().ok());
            length
                .filter(|length| *length <= body.len())
                .ok_or_else(|| Refused::bad_request(format!("{HEAD} does not fit the body")))?
        }
    };
    let (head, binary) = body.split_at(length);
    let call = serde_json::from_slice(head);
    let call = call.map_err(|error| Refused::bad_request(format!("the body is no inference request: {error}")))?;
    Ok((call, binary))
}

/// The file that a call's picture is: as it came, or an array of its pixels.
fn file_of(call: &Call<'_>, binary: &[u8]) -> Result<Vec<u8>, Refused> {
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
    let kind = match input.datatype.as_str() {
        "UINT8" => Kind::U8,
        "UINT16" => Kind::U16,
        "FP32" => Kind::F32,
        other => {
            return wrong(format!(
                "the datatype of image is BYTES, UINT8, UINT16 or FP32, and not {other:?}"
            ));
        }
    };
    let mut file = header(kind, shape);
    let begin = file.len();
    match (raw, input.data) {
        (Some(raw), _) => file.extend_from_slice(raw),
        (None, Some(data)) => {
            let room = elements.saturating_mul(kind.width()).saturating_add(begin);
            let numbers = Numbers {
                kind,
                file: &mut file,
                room,
            };
            let read = numbers.deserialize(&mut serde_json::Deserializer::from_str(data.get()));
            read.map_err(|error| Refused::bad_request(format!("the data of image: {error}")))?;
        }
        (None, None) => return wrong("the input has no data".to_owned()),
    };
    let found = file.len() - begin;
    if elements.checked_mul(kind.width()) != Some(found) {
        return wrong(format!(
            "the shape {:?} does not fit the {found} bytes of data",
            input.shape
        ));
    }
    Ok(file)
}

/// An encoded picture: in JSON as base64, binary with its length in front.
fn encoded(input: &Tensor<'_>, elements: usize, raw: Option<&[u8]>) -> Result<Vec<u8>, Refused> {
    if elements != 1 {
        return Err(Refused::bad_request(format!(
            "a call has one picture, and not {elements}"
        )));
    }
    let found = match (raw, input.data) {
        (Some(raw), _) => {
            let length = raw.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
            length
                .filter(|length| length + 4 == raw.len())
                .map(|_| raw[4..].to_vec())
        }
        (None, Some(data)) => Encoded
            .deserialize(&mut serde_json::Deserializer::from_str(data.get()))
            .ok(),
        (None, None) => None,
    };
    found.ok_or_else(|| {
        Refused::bad_request("the picture is neither base64 in JSON nor binary data with its length in front")
    })
}

/// A picture in JSON: base64, or a list of which it is the first.
struct Encoded;

impl<'de> DeserializeSeed<'de> for Encoded {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Encoded {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a picture as base64")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        BASE64_STANDARD.decode(text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u8>, A::Error> {
        let first = list.next_element_seed(Encoded)?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        first.ok_or_else(|| A::Error::invalid_length(0, &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_a_call_stay_as_they_came() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let body =
            format!(r#"{{"inputs": [{{"name": "image", "shape": [1], "datatype": "UINT8", "data": {deep}}}]}}more"#);
        let mut headers = HeaderMap::new();
        headers.insert(HEAD, (body.len() - 4).into());
        let Ok((call, binary)) = split(&headers, body.as_bytes()) else {
            panic!("it is a call");
        };
        let data = call.inputs[0].data.unwrap().get();
        assert_eq!((data, binary), (deep.as_str(), b"more".as_slice()));
        assert!(body.as_bytes().as_ptr_range().contains(&data.as_ptr()), "not a copy");
    }
}
