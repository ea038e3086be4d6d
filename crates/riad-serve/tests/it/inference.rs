//! The Open Inference Protocol, as its clients speak it.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::support::{Served, bad, json as answer, png, served};

fn infer(served: &Served, call: &Value) -> (u16, Value) {
    let response = served.caller.post(
        "/v2/models/lid/infer",
        &[("content-type", "application/json")],
        call.to_string().as_bytes(),
    );
    (response.status().as_u16(), answer(response))
}

fn output<'a>(said: &'a Value, name: &str) -> &'a Value {
    let outputs = said["outputs"].as_array().unwrap();
    &outputs.iter().find(|output| output["name"] == name).unwrap()["data"][0]
}

#[test]
fn pixels_and_pictures_score_as_the_file_does() {
    let served = served(|_| {});
    let picture = bad(3);
    let file = png(&picture);
    let expected = served.caller.inspect(&file)["score"].clone();
    let pixels: Vec<u8> = picture.pixels().flat_map(|pixel| pixel.0).collect();
    let shape = [picture.height(), picture.width(), 3];
    let of = |input: Value| json!({"id": "part 7", "inputs": [input]});

    let encoded =
        of(json!({"name": "image", "datatype": "BYTES", "shape": [1], "data": [BASE64_STANDARD.encode(&file)]}));
    let (status, said) = infer(&served, &encoded);
    assert_eq!(
        (status, output(&said, "score"), &said["id"]),
        (200, &expected, &json!("part 7"))
    );
    assert_eq!(output(&said, "verdict"), "defective");

    let flat = of(json!({"name": "image", "datatype": "UINT8", "shape": shape, "data": pixels}));
    assert_eq!(output(&infer(&served, &flat).1, "score"), &expected);
    let batched =
        of(json!({"name": "image", "datatype": "UINT8", "shape": [1, shape[0], shape[1], 3], "data": [pixels]}));
    assert_eq!(output(&infer(&served, &batched).1, "score"), &expected);
    let shares: Vec<f32> = pixels.iter().map(|value| f32::from(*value) / 255.0).collect();
    let floats = of(json!({"name": "image", "datatype": "FP32", "shape": shape, "data": shares}));
    let score = output(&infer(&served, &floats).1, "score").as_f64().unwrap();
    assert!((score - expected.as_f64().unwrap()).abs() < 1e-6, "{score}");

    // The binary extension: JSON, then bytes.
    let head = of(
        json!({"name": "image", "datatype": "UINT8", "shape": shape, "parameters": {"binary_data_size": pixels.len()}}),
    );
    let mut body = head.to_string().into_bytes();
    let length = body.len().to_string();
    body.extend(&pixels);
    let response = served.caller.post(
        "/v2/models/lid/infer",
        &[("inference-header-content-length", &length)],
        &body,
    );
    assert_eq!(output(&answer(response), "score"), &expected);
}

#[test]
fn what_does_not_fit_is_answered_in_words() {
    let served = served(|_| {});
    let of = |datatype: &str, shape: Value, data: Value| {
        let call = json!({"inputs": [{"name": "image", "datatype": datatype, "shape": shape, "data": data}]});
        infer(&served, &call)
    };
    for (datatype, shape, data) in [
        ("UINT8", json!([2, 2, 3]), json!([1, 2, 3])),
        ("UINT8", json!([1, 1, 3]), json!([1, 2, 256])),
        ("UINT8", json!([1, 1, 3]), json!([1, 2, "3"])),
        ("UINT8", json!([4_294_967_296u64, 4_294_967_296u64, 3]), json!([1])),
        ("UINT8", json!([0, 1, 3]), json!([])),
        ("FP64", json!([1, 1, 3]), json!([1, 2, 3])),
        ("BYTES", json!([2]), json!(["", ""])),
        ("BYTES", json!([1]), json!(["%"])),
    ] {
        let (status, said) = of(datatype, shape.clone(), data);
        assert_eq!(status, 400, "{datatype} {shape}: {said}");
    }
    // It fits the protocol, but not the model.
    let (status, said) = of("FP32", json!([1, 1, 3]), json!([0.5, 2.0, 0.5]));
    assert_eq!(status, 422, "{said}");
    assert_eq!(infer(&served, &json!({"inputs": []})).0, 400);
    let rows = served.caller.json("/v1/lines/lid/inspections")["inspections"]
        .as_array()
        .unwrap()
        .len();
    let pixel = json!([{"name": "image", "datatype": "UINT8", "shape": [1, 1, 3], "data": [1, 2, 3]}]);
    assert_eq!(
        infer(&served, &json!({"inputs": pixel, "outputs": [{"name": "colour"}]})).0,
        400
    );
    let now = served.caller.json("/v1/lines/lid/inspections")["inspections"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(now, rows, "what is refused is not judged");
    let described = served.caller.json("/v2/models/lid");
    assert_eq!(described["inputs"][0]["shape"], json!([-1, -1, 3]));
    assert_eq!(served.caller.get("/v2/models/cap/ready").status(), 404);
    assert_eq!(served.caller.json("/v2/health/ready"), json!({"ready": true}));
}
