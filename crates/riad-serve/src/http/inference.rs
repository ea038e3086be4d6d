//! The Open Inference Protocol, version 2 (<https://github.com/kserve/open-inference-protocol>), so that clients of KServe and Triton
//! work. A line is a model of it, and each call is an inspection like any other.
//!
//! The input `image` is an encoded picture (`BYTES`) or its pixels (`UINT8`, `UINT16`, or `FP32` from 0 to 1) of the shape
//! [height, width, channels], or with a 1 in front. Outputs are given in JSON; the binary extension is understood in requests.

use std::fmt;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error as _, IgnoredAny, SeqAccess, Unexpected, Visitor},
};
use serde_json::{Value, json, value::RawValue};
use utoipa::ToSchema;

use super::{
    MOST_JSON,
    answer::{Problem, Refused},
    blocking,
    body::{Begun, beginning, next},
    extract::Path,
    inspect::{Came, judge, room, room_in_memory, sent_before, text_of},
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
    params(("line" = String, Path, description = "The line's name")), request_body = Call,
    responses(
        (status = 200, body = Inferred), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 413, body = Problem),
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
    // The body is in memory, and so is the file that is made of it.
    let memory = room_in_memory(&shared)?;
    while let Some(piece) = next(&mut pieces, begun).await? {
        if body.len() + piece.len() > most {
            return Err(Refused::too_large(shared.most_bytes));
        }
        body.extend_from_slice(&piece);
    }
    let body = Bytes::from(body);
    let (begin, of) = (shared.clone(), line.clone());
    let (id, wanted, picture) = blocking(move || {
        let (call, binary) = split(&headers, &body)?;
        let unknown = |output: &&Output| OUTPUTS.iter().all(|(name, _)| *name != output.name);
        if let Some(unknown) = call.outputs.iter().find(unknown) {
            return Err(Refused::bad_request(format!("there is no output {:?}", unknown.name)));
        }
        let bytes = file_of(&call, binary)?;
        let (id, wanted) = (call.id, call.outputs);
        let written = begin.store.pictures().incoming().and_then(|path| {
            std::fs::write(&path, &bytes).map_err(Error::file("write", path.to_path_buf()))?;
            Ok(path)
        });
        let error = match written {
            Ok(path) => return Ok((id, wanted, Picture::File(path))),
            Err(error) => error,
        };
        of.live().could_not_store();
        match error.is_full() {
            true => Ok((id, wanted, Picture::Memory { bytes, _room: memory })),
            false => Err(error.into()),
        }
    })
    .await?;
    let came = Came {
        picture,
        name: id
            .as_ref()
            .map(|id| id.chars().filter(|c| !c.is_control()).take(200).collect()),
    };
    let (came, key, first) = sent_before(&shared, &line, came, key).await?;
    let found = match first {
        Some(first) => first,
        None => {
            let judged = judge(&shared, &line, (came, room), (Origin::Http, key, None), begun).await?;
            if let Some(error) = judged.not_stored {
                return Err(error.into());
            }
            judged.inspection
        }
    };
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
        if wanted.is_empty() || wanted.iter().any(|output| output.name == name) {
            outputs.push(json!({"name": name, "datatype": datatype, "shape": [1], "data": value(name)}));
        }
    }
    Ok(Json(Inferred {
        model_name: line.name.clone(),
        model_version: found.version.to_string(),
        id,
        outputs,
    }))
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

/// What a pixel's values are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    U8,
    U16,
    F32,
}

impl Kind {
    /// As NumPy writes it.
    fn name(self) -> &'static str {
        match self {
            Self::U8 => "|u1",
            Self::U16 => "<u2",
            Self::F32 => "<f4",
        }
    }

    /// Bytes of a value.
    fn width(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::F32 => 4,
        }
    }
}

/// Numbers in JSON, nested or not, which go to the end of a file one after the other. The reader of JSON bounds how deep they nest.
struct Numbers<'a> {
    kind: Kind,
    file: &'a mut Vec<u8>,
    /// The bytes that the file may have.
    room: usize,
}

impl Numbers<'_> {
    fn push<E: serde::de::Error>(&mut self, bytes: &[u8]) -> Result<(), E> {
        if self.file.len() + bytes.len() > self.room {
            return Err(E::custom("there are more numbers than its shape has"));
        }
        self.file.extend_from_slice(bytes);
        Ok(())
    }

    fn refused<E: serde::de::Error>(&self, number: Unexpected<'_>) -> Result<(), E> {
        Err(E::invalid_value(number, self))
    }
}

impl<'de> DeserializeSeed<'de> for Numbers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a pixel of {}", self.kind.name())
    }

    fn visit_u64<E: serde::de::Error>(mut self, number: u64) -> Result<(), E> {
        match self.kind {
            Kind::U8 => match u8::try_from(number) {
                Ok(value) => self.push(&[value]),
                Err(_) => self.refused(Unexpected::Unsigned(number)),
            },
            Kind::U16 => match u16::try_from(number) {
                Ok(value) => self.push(&value.to_le_bytes()),
                Err(_) => self.refused(Unexpected::Unsigned(number)),
            },
            Kind::F32 => self.push(&(number as f32).to_le_bytes()),
        }
    }

    fn visit_i64<E: serde::de::Error>(mut self, number: i64) -> Result<(), E> {
        match self.kind {
            Kind::F32 => self.push(&(number as f32).to_le_bytes()),
            Kind::U8 | Kind::U16 => self.refused(Unexpected::Signed(number)),
        }
    }

    fn visit_f64<E: serde::de::Error>(mut self, number: f64) -> Result<(), E> {
        match self.kind {
            Kind::F32 => self.push(&(number as f32).to_le_bytes()),
            Kind::U8 | Kind::U16 => self.refused(Unexpected::Float(number)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { kind, file, room } = self;
        while list.next_element_seed(Numbers { kind, file, room })?.is_some() {}
        Ok(())
    }
}

/// The beginning of a NumPy array, format 1.0 (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>). Its values
/// follow.
fn header(kind: Kind, [height, width, channels]: [usize; 3]) -> Vec<u8> {
    let kind = kind.name();
    let mut header =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({height}, {width}, {channels}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap_or_default().to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(kind: Kind, room: usize, json: &str) -> Result<Vec<u8>, String> {
        let mut file = Vec::new();
        let numbers = Numbers {
            kind,
            file: &mut file,
            room,
        };
        let read = numbers.deserialize(&mut serde_json::Deserializer::from_str(json));
        read.map(|()| file).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_become_bytes_as_they_are_read() {
        assert_eq!(numbers(Kind::U8, 4, "[[0, 1], [[254]], 255]"), Ok(vec![0, 1, 254, 255]));
        assert_eq!(numbers(Kind::U16, 4, "[1, 65535]"), Ok(vec![1, 0, 255, 255]));
        let floats: Vec<u8> = [0.5_f32, -2.0, 3.0]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(numbers(Kind::F32, 12, "[0.5, [-2, 3]]"), Ok(floats));
        for (kind, json) in [
            (Kind::U8, "[256]"),
            (Kind::U8, "[-1]"),
            (Kind::U8, "[1.0]"),
            (Kind::U8, "[\"1\"]"),
            (Kind::U8, "[null]"),
            (Kind::U8, "{\"a\": 1}"),
            (Kind::U16, "[65536]"),
            (Kind::F32, "[true]"),
        ] {
            let error = numbers(kind, 8, json).unwrap_err();
            assert!(
                error.contains(&format!("expected a pixel of {}", kind.name())),
                "{error}"
            );
        }
    }

    /// No more is taken than the shape has, and nothing nests until the stack ends.
    #[test]
    fn numbers_take_a_bounded_room() {
        let error = numbers(Kind::U16, 4, "[1, 2, 3, what is this").unwrap_err();
        assert!(error.contains("more numbers than its shape has"), "{error}");
        let error = numbers(Kind::U8, 4, &"[".repeat(1_000_000)).unwrap_err();
        assert!(error.contains("recursion limit"), "{error}");
    }

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
