//! Pictures of something else, and training on.

use std::fs;

use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use crate::support::{Served, bad, good, json as answer, png, served, served_in, until};

#[test]
fn a_picture_of_something_else_is_no_defect_and_makes_the_line_amber() {
    let served = served(|_| {});
    let judged = |picture: &RgbImage| served.caller.inspect(&png(picture));
    assert_eq!(judged(&good(300))["verdict"], json!("good"));
    // A defect is one, however bad.
    assert_eq!(judged(&bad(300))["verdict"], json!("defective"));
    for (level, reason) in [(0, "too dark"), (255, "too bright")] {
        let strange = judged(&RgbImage::from_pixel(32, 32, Rgb([level; 3])));
        assert_eq!(strange["verdict"], json!("not_this_product"), "{strange}");
        let words = strange["reason"].as_str().unwrap();
        assert!(words.contains("none of the") && words.contains(reason), "{words}");
        assert!(
            strange["score"].is_number() && strange["p_value"].is_number(),
            "{strange}"
        );
    }
    assert_ne!(served.caller.json("/v1/lines/lid")["state"], json!("amber"));
    judged(&RgbImage::new(64, 48));
    let line = served.caller.json("/v1/lines/lid");
    assert_eq!(line["state"], json!("amber"), "three in a row: {line}");
    assert_eq!(line["shift"]["not_this_product"], json!(3));
}

/// Good pictures that are labelled, those drawn for an audit first.
fn labelled(served: &Served, audited: usize, others: usize) -> [Vec<i64>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    for number in 400.. {
        if found[0].len() == audited && found[1].len() == others {
            break;
        }
        let inspection = served.caller.inspect(&png(&good(number)));
        let (kind, most) = match inspection["audit"] == json!(true) {
            true => (0, audited),
            false => (1, others),
        };
        if found[kind].len() < most {
            let id = inspection["id"].as_i64().unwrap();
            served.caller.label(id, &json!("good"));
            found[kind].push(id);
        }
    }
    found
}

fn make(served: &Served, how: &str, ids: &[i64]) -> (u16, Value) {
    let body = json!({"how": how, "inspections": ids}).to_string();
    let path = "/v1/lines/lid/versions";
    let made = served
        .caller
        .post(path, &[("content-type", "application/json")], body.as_bytes());
    (made.status().as_u16(), answer(made))
}

fn newest(served: &Served) -> Value {
    served.caller.json("/v1/lines/lid/versions")["versions"][0].clone()
}

/// Has the newest version made and put to use.
fn used(served: &Served) -> Value {
    until("it is made", || newest(served)["state"] != "making");
    let version = newest(served);
    assert_eq!(version["state"], json!("ready"), "{version}");
    let path = format!("/v1/lines/lid/versions/{}/use", version["version"]);
    assert_eq!(served.caller.post(&path, &[], b"").status(), 200);
    version
}

#[test]
fn weights_learn_on_and_thresholds_never_come_of_what_they_learned_from() {
    let served = served(|options| options.audit = Some(2));
    let [audited, others] = labelled(&served, 24, 3);
    let defect = served.caller.inspect(&png(&bad(7)))["id"].as_i64().unwrap();
    served.caller.label(defect, &json!("defective"));

    // The run held out no pictures of its own: they were calibrated with others.
    let (status, few) = make(&served, "train", &others);
    assert_eq!(status, 409, "{few}");
    let words = few["error"].as_str().unwrap();
    assert!(words.contains("takes 19") && words.contains("0 are there"), "{words}");
    let (status, nothing) = make(&served, "train", &[defect]);
    assert!(
        status == 409 && nothing["error"].as_str().unwrap().contains("labelled good"),
        "{nothing}"
    );

    let (status, begun) = make(&served, "train", &[audited.clone(), others].concat());
    assert_eq!(
        (status, &begun["state"], &begun["made"]),
        (202, &json!("making"), &json!("trained"))
    );
    // One at a time.
    assert!(make(&served, "recalibrate", &audited).0 == 409 || newest(&served)["state"] != "making");
    let version = used(&served);
    assert_eq!((&version["from"], &version["progress"]), (&json!(1), &json!(1.0)));
    let note = version["note"].as_str().unwrap();
    assert_eq!(
        note,
        "from 3 selected good pictures and 12 from before; threshold from 24 audited good pictures"
    );
    assert_eq!(
        (&version["trial"]["false_alarms"][2], &version["trial"]["defects"][2]),
        (&json!(27), &json!(1))
    );
    let judged = served.caller.inspect(&png(&good(2)));
    assert_eq!((&judged["version"], &judged["model"]), (&json!(2), &version["model"]));
    assert!(!served.folder.path().join("store/models/lid/2.training").exists());

    // Too few audited ones for a threshold are learned from, and it comes of those that were held out before. One of those has come once
    // more, and is learned from.
    let again = sent_again(&served, audited[23]);
    let (status, begun) = make(&served, "train", &[&audited[..3], &[again]].concat());
    assert_eq!(status, 202, "{begun}");
    let version = used(&served);
    let note = version["note"].as_str().unwrap();
    assert_eq!(
        note,
        "from 4 selected good pictures and 15 from before; threshold from 20 that the run held out"
    );
    // From then on they are none for a threshold, wherever they lie.
    let (status, refused) = make(&served, "recalibrate", &audited[..20]);
    assert!(
        status == 409 && refused["error"].as_str().unwrap().contains("learned from 3"),
        "{refused}"
    );
    let (status, refused) = make(&served, "train", &audited[3..5]);
    assert!(
        status == 409 && refused["error"].as_str().unwrap().contains("18 are there"),
        "{refused}"
    );
}

#[test]
fn a_selected_picture_that_is_damaged_is_left_out_and_named() {
    let served = served(|options| options.audit = Some(2));
    let [audited, others] = labelled(&served, 20, 2);
    for id in [audited[3], others[1]] {
        let row = served.caller.json(&format!("/v1/lines/lid/inspections/{id}"));
        let mut image = served.caller.get(row["links"]["image"].as_str().unwrap());
        fs::write(file_of(&served, &image.body_mut().read_to_vec().unwrap()), "damaged").unwrap();
    }
    let named = |version: &Value, id: i64| {
        let note = version["note"].as_str().unwrap();
        assert!(
            note.contains(&format!("; left out: the picture of inspection {id} (")) && !note.contains("store"),
            "{note}"
        );
    };
    assert_eq!(make(&served, "recalibrate", &audited).0, 202);
    named(&used(&served), audited[3]);
    let both = [&audited[..3], &audited[4..], &others].concat();
    assert_eq!(make(&served, "train", &both).0, 202);
    let version = used(&served);
    named(&version, others[1]);
    assert!(
        version["note"].as_str().unwrap().starts_with("from 2 selected"),
        "{version}"
    );
    // Too few are left.
    let few = [&audited[..3], &audited[4..19], &[audited[3]], &others[..1]].concat();
    assert_eq!(make(&served, "recalibrate", &few).0, 202);
    until("it has failed", || newest(&served)["state"] == "failed");
    let version = newest(&served);
    let note = version["note"].as_str().unwrap();
    assert!(
        note.starts_with("the threshold takes 19 audited pictures, and 18"),
        "{note}"
    );
    named(&version, audited[3]);
}

/// The file in the store that holds this.
fn file_of(served: &Served, bytes: &[u8]) -> std::path::PathBuf {
    let line = served.folder.path().join("store/pictures/lid");
    let days = fs::read_dir(line).unwrap().map(|day| day.unwrap().path());
    let mut files = days.flat_map(|day| fs::read_dir(day).unwrap().map(|file| file.unwrap().path()));
    files.find(|file| fs::read(file).unwrap() == bytes).unwrap()
}

/// The picture of an inspection, sent again until it is not drawn for an audit, and labelled.
fn sent_again(served: &Served, id: i64) -> i64 {
    let mut image = served.caller.get(&format!("/v1/lines/lid/inspections/{id}/image"));
    let picture = image.body_mut().read_to_vec().unwrap();
    loop {
        let inspection = served.caller.inspect(&picture);
        if inspection["audit"] == json!(false) {
            let id = inspection["id"].as_i64().unwrap();
            served.caller.label(id, &json!("good"));
            return id;
        }
    }
}

#[test]
fn a_picture_that_came_twice_is_not_both_learned_from_and_held_out() {
    let served = served(|options| options.audit = Some(2));
    let [mut selected, _] = labelled(&served, 19, 0);
    selected.push(sent_again(&served, selected[0]));
    let (status, refused) = make(&served, "train", &selected);
    assert_eq!(status, 409, "18 are left for a threshold that takes 19: {refused}");
}

#[test]
fn a_training_that_is_broken_off_leaves_nothing_behind() {
    let first = served(|options| options.audit = Some(1));
    let [audited, _] = labelled(&first, 24, 0);
    assert_eq!(make(&first, "train", &audited).0, 202);
    let folder = first.end();
    let models = folder.path().join("store/models/lid");
    let left = || {
        fs::read_dir(&models)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
    };
    assert!(
        left().all(|name| !name.starts_with("2.")),
        "{:?}",
        left().collect::<Vec<_>>()
    );
    // As a kill would have left it.
    fs::create_dir_all(models.join("2.training/run")).unwrap();
    let again = served_in(folder, |_| {});
    let version = newest(&again);
    assert_eq!(
        (&version["state"], &version["in_use"]),
        (&json!("failed"), &json!(false))
    );
    assert!(
        version["note"].as_str().unwrap().contains("the service ended"),
        "{version}"
    );
    assert!(!models.join("2.training").exists());
    assert_eq!(again.caller.inspect(&png(&good(1)))["version"], json!(1));
    assert_eq!(
        again.caller.post("/v1/lines/lid/versions/2/use", &[], b"").status(),
        409
    );
}
