//! Versions of a model.

use serde_json::{Value, json};

use crate::support::{bad, good, json as answer, png, served, served_in, until};

#[test]
fn a_version_is_made_of_audited_pictures_and_put_to_use_and_back() {
    let served = served(|options| options.audit = Some(1));
    let mut ids = Vec::new();
    for number in 200..224 {
        ids.push(served.caller.inspect(&png(&good(number)))["id"].as_i64().unwrap());
    }
    let defect = served.caller.inspect(&png(&bad(7)))["id"].as_i64().unwrap();
    let make = |ids: &[i64]| {
        let body = json!({"how": "recalibrate", "inspections": ids}).to_string();
        served.caller.post(
            "/v1/lines/lid/versions",
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
    };
    assert_eq!(make(&ids).status(), 409, "nobody has labelled them");
    for id in &ids {
        served.caller.label(*id, &json!("good"));
    }
    served.caller.label(defect, &json!("defective"));
    let few = answer(make(&ids[..5]));
    assert!(few["error"].as_str().unwrap().contains("takes 19"), "{few}");
    // One fewer than the first version's: else the two would be the same, byte by byte, if all scores were.
    let made = make(&ids[1..]);
    assert_eq!(made.status(), 202);
    assert_eq!(answer(made)["version"], json!(2));
    let newest = || served.caller.json("/v1/lines/lid/versions")["versions"][0].clone();
    until("it is made", || newest()["state"] != "making");
    let version = newest();
    assert_eq!(
        (&version["state"], &version["in_use"], &version["from"]),
        (&json!("ready"), &json!(false), &json!(1))
    );
    assert_eq!(version["trial"]["defects"], json!([1, 1, 1]), "{version}");
    assert_eq!(version["trial"]["false_alarms"][2], json!(24));

    let line = |path: &str| answer(served.caller.post(path, &[], b""));
    let before = served.caller.inspect(&png(&good(3)));
    assert_eq!(line("/v1/lines/lid/versions/2/use")["version"], json!(2));
    let after = served.caller.inspect(&png(&good(3)));
    assert_eq!((&before["score"], &before["version"]), (&after["score"], &json!(1)));
    assert_eq!((&after["version"], &after["model"]), (&json!(2), &version["model"]));
    assert_ne!(before["model"], after["model"]);
    assert_eq!(served.caller.json("/v1/lines/lid")["back"], json!(1));
    // What an old version judged is drawn by that version.
    let old = served
        .caller
        .get(&format!("/v1/lines/lid/inspections/{}/overlay", before["id"]));
    assert_eq!(old.status(), 200);
    assert_eq!(
        served.caller.post("/v1/lines/lid/versions/7/use", &[], b"").status(),
        404
    );

    // The last word holds after a restart.
    let served = served_in(served.end(), |_| {});
    let state = served.caller.json("/v1/lines/lid");
    assert_eq!((&state["version"], &state["back"]), (&json!(2), &json!(1)));
    assert_eq!(
        answer(served.caller.post("/v1/lines/lid/versions/1/use", &[], b""))["version"],
        json!(1)
    );
    assert_eq!(
        served.caller.json("/v1/lines/lid/versions")["versions"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    assert_ne!(
        served.caller.json("/v1/lines/lid/versions")["versions"][0]["trial"],
        Value::Null
    );
}
