//! Versions of a model.

use serde_json::{Value, json};

use crate::support::{Served, bad, good, json as answer, png, served, served_in, until};

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

#[test]
fn versions_are_switched_while_pictures_come() {
    let (first, model) = two_versions();
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (caller, ends) = (&first.caller, &ends);
            scope.spawn(move || {
                while !ends.load(std::sync::atomic::Ordering::SeqCst) {
                    assert_eq!(caller.inspect(&png(&good(number)))["verdict"], "good");
                }
            });
        }
        for turn in 0..60 {
            let path = format!("/v1/lines/lid/versions/{}/use", 1 + turn % 2);
            assert_eq!(first.caller.post(&path, &[], b"").status(), 200);
            assert_eq!(first.caller.post("/v1/lines/lid/shift", &[], b"").status(), 200);
        }
        ends.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    let used = first.caller.json("/v1/lines/lid")["version"].clone();
    let again = served_in(first.end(), |options| options.lines[0].model = model.clone());
    assert_eq!(
        again.caller.json("/v1/lines/lid")["version"],
        used,
        "the store knows what was used last"
    );
}

#[test]
fn naming_an_older_run_goes_back_to_its_model() {
    let (second, _) = two_versions();
    let third = served_in(second.end(), |_| {});
    assert_eq!(third.caller.json("/v1/lines/lid")["version"], json!(1));
}

#[test]
fn what_an_older_version_judged_is_drawn_whatever_rate_it_is_calibrated_for() {
    let first = served(|_| {});
    let key = [("idempotency-key", "once")];
    let sent = |served: &Served| {
        let sent = served
            .caller
            .post("/v1/lines/lid/inspect?maps=npy", &key, &png(&bad(3)));
        (sent.status().as_u16(), answer(sent))
    };
    let files = ["heat-map", "overlay", "overlay?for=page", "map.npy", "map.tiff"];
    let drawn = |served: &Served| {
        files.map(|file| {
            let mut drawn = served.caller.get(&format!("/v1/lines/lid/inspections/1/{file}"));
            (drawn.status().as_u16(), drawn.body_mut().read_to_vec().unwrap())
        })
    };
    let (judged, before) = (sent(&first), drawn(&first));
    assert!(judged.0 == 200 && before.iter().all(|(status, _)| *status == 200));
    // A rate of 0.02 takes 49 scores, and the first version has 24.
    let model = first.folder.path().join("other.safetensors");
    let mut checkpoint = riad::Checkpoint::open(crate::support::run()).unwrap();
    let scores = checkpoint.header.calibration.as_ref().unwrap().scores().repeat(3);
    checkpoint.header.calibration = Some(riad::Calibration::new(scores).unwrap());
    checkpoint.save(&model).unwrap();
    let second = served_in(first.end(), |options| {
        options.lines[0].model = model;
        options.rate = riad::FalsePositiveRate::new(0.02);
    });
    assert_eq!(second.caller.json("/v1/lines/lid")["version"], json!(2));
    assert!(drawn(&second) == before, "all is drawn as before");
    assert_eq!(sent(&second), judged);
    // But it cannot judge.
    let (status, refused) = second.caller.send("/v1/lines/lid/versions/1/use", &json!({}));
    assert!(
        status == 409 && refused["error"].as_str().unwrap().contains("24"),
        "{status} {refused}"
    );
}

/// A service whose line was opened with one model and then with another, and that other one.
fn two_versions() -> (Served, std::path::PathBuf) {
    let first = served(|_| {});
    let model = first.folder.path().join("other.safetensors");
    let mut checkpoint = riad::Checkpoint::open(crate::support::run()).unwrap();
    let mut scores = checkpoint.header.calibration.as_ref().unwrap().scores().to_vec();
    scores.pop();
    checkpoint.header.calibration = Some(riad::Calibration::new(scores).unwrap());
    checkpoint.save(&model).unwrap();
    let second = served_in(first.end(), |options| options.lines[0].model = model.clone());
    assert_eq!(second.caller.json("/v1/lines/lid")["version"], json!(2));
    (second, model)
}
