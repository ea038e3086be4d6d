//! Versions of a model.

use std::path::PathBuf;

use riad_serve::{LineOptions, Options, Service};
use serde_json::{Value, json};
use ureq::{Body, http::Response};

use crate::support::{Caller, Served, bad, good, json as answer, png, run, served, served_in, until};

#[test]
fn a_version_is_made_of_audited_pictures_and_put_to_use_and_back() {
    let served = served(|options| options.audit = Some(1));
    let ids = audited(&served.caller);
    let defect = served.caller.inspect(&png(&bad(7)))["id"].as_i64().unwrap();
    let make = |ids: &[i64]| make(&served.caller, ids);
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
fn a_start_uses_what_was_used_last_of_the_run_that_it_names() {
    let (second, other) = two_versions();
    let mut folder = second.end();
    // 1 is of this run, 2 is of the other one, and 3 is made of 1.
    let this = run();
    for (run, expected, then) in [
        (this, 1, Some(3)),
        (this, 3, None),
        (other.as_path(), 2, None),
        (&other, 2, None),
        (this, 3, None),
        // A choice on the page holds as long as the same run is named, whatever it was made of.
        (this, 3, Some(2)),
        (this, 2, None),
        (&other, 2, Some(1)),
        (&other, 1, None),
        (this, 1, None),
        (&other, 2, None),
    ] {
        let served = served_in(folder, |options| {
            options.audit = Some(1);
            options.lines[0].model = run.to_owned();
        });
        assert_eq!(served.caller.json("/v1/lines/lid")["version"], json!(expected));
        if let Some(then) = then {
            if then == 3 {
                recalibrate(&served.caller);
            }
            let path = format!("/v1/lines/lid/versions/{then}/use");
            assert_eq!(answer(served.caller.post(&path, &[], b""))["version"], json!(then));
        }
        folder = served.end();
    }
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
    let mut checkpoint = riad::Checkpoint::open(run()).unwrap();
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

#[test]
fn no_other_file_judges_or_draws_in_the_name_of_a_version() {
    let (second, model) = two_versions();
    let judged = second.caller.inspect(&png(&bad(3)));
    assert_eq!(judged["version"], json!(2));
    let first = |served: &Served| {
        let path = "/v1/lines/lid/versions/1/use";
        served.caller.post(path, &[], b"").status().as_u16()
    };
    let folder = second.end();
    let file = |version: u32| folder.path().join(format!("store/models/lid/{version}.safetensors"));
    let [one, two] = [1, 2].map(|version| std::fs::read(file(version)).unwrap());
    std::fs::write(file(1), &two).unwrap();
    std::fs::write(file(2), &one).unwrap();
    let line = LineOptions {
        name: "lid".to_owned(),
        model: model.clone(),
    };
    let mut options = Options::new(vec![line], folder.path().join("store"));
    options.listen = ([127, 0, 0, 1], 0).into();
    let refused = Service::start(options).unwrap_err().to_string();
    assert!(
        refused.contains("2.safetensors is not version 2 of line lid"),
        "{refused}"
    );
    std::fs::write(file(2), &two).unwrap();
    let third = served_in(folder, |options| options.lines[0].model = model);
    assert_eq!(first(&third), 500, "version 1 is still the file of version 2");
}

#[test]
fn a_version_that_has_no_threshold_for_the_rate_is_not_the_runs_fault() {
    let served = served(|options| options.audit = Some(1));
    let ids = audited(&served.caller);
    for id in &ids {
        served.caller.label(*id, &json!("good"));
    }
    assert_eq!(make(&served.caller, &ids[4..]).status(), 202);
    until("it is made", || {
        served.caller.json("/v1/lines/lid/versions")["versions"][0]["state"] == "ready"
    });
    assert_eq!(served.caller.send("/v1/lines/lid/versions/2/use", &json!({})).0, 200);
    let folder = served.end();
    let line = LineOptions {
        name: "lid".to_owned(),
        model: run().to_owned(),
    };
    let mut options = Options::new(vec![line], folder.path().join("store"));
    options.listen = ([127, 0, 0, 1], 0).into();
    // It takes 22 pictures. The run has 24, and version 2 has 20.
    options.rate = riad::FalsePositiveRate::new(0.0435);
    let refused = Service::start(options).unwrap_err().to_string();
    assert!(
        refused.contains("its version 2") && refused.contains("on the page") && !refused.contains(".safetensors"),
        "{refused}"
    );
}

/// The numbers of 24 good pictures, judged now.
fn audited(caller: &Caller) -> Vec<i64> {
    let judged = (200..224).map(|number| caller.inspect(&png(&good(number)))["id"].as_i64().unwrap());
    judged.collect()
}

fn make(caller: &Caller, ids: &[i64]) -> Response<Body> {
    let body = json!({"how": "recalibrate", "inspections": ids}).to_string();
    let kind = [("content-type", "application/json")];
    caller.post("/v1/lines/lid/versions", &kind, body.as_bytes())
}

/// Makes a version of the one in use.
fn recalibrate(caller: &Caller) {
    let ids = audited(caller);
    for id in &ids {
        caller.label(*id, &json!("good"));
    }
    assert_eq!(make(caller, &ids).status(), 202);
    let newest = || caller.json("/v1/lines/lid/versions")["versions"][0]["state"].clone();
    until("it is made", || newest() != "making");
    assert_eq!(newest(), "ready");
}

/// A service whose line was opened with one model and then with another, and that other one.
fn two_versions() -> (Served, PathBuf) {
    let first = served(|_| {});
    let model = first.folder.path().join("other.safetensors");
    let mut checkpoint = riad::Checkpoint::open(run()).unwrap();
    let mut scores = checkpoint.header.calibration.as_ref().unwrap().scores().to_vec();
    scores.pop();
    checkpoint.header.calibration = Some(riad::Calibration::new(scores).unwrap());
    checkpoint.save(&model).unwrap();
    let second = served_in(first.end(), |options| options.lines[0].model = model.clone());
    assert_eq!(second.caller.json("/v1/lines/lid")["version"], json!(2));
    (second, model)
}
