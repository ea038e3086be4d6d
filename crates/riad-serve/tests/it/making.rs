//! Lines that are made from nothing.

use std::{fs, path::Path};

use image::{Rgb, RgbImage};
use riad_serve::{Options, Service};
use serde_json::{Value, json};

use crate::{
    forms::{FORM, form},
    support::{Caller, Served, bad, good, json as answer, png, served, served_in, until},
};

/// As many as a training takes at a rate of 0.05.
pub(crate) const NEEDED: usize = 29;

/// A service without a line.
pub(crate) fn empty(change: impl FnOnce(&mut Options)) -> Served {
    served(|options| {
        options.lines.clear();
        change(options);
    })
}

pub(crate) fn begin(caller: &Caller, name: &str) {
    let (status, begun) = caller.send("/v1/lines", &json!({ "name": name }));
    assert_eq!((status, &begun["state"]), (201, &json!("collecting")), "{begun}");
}

pub(crate) fn add(caller: &Caller, line: &str, name: &str, bytes: &[u8]) -> (u16, Value) {
    let sent = caller.post(&format!("/v1/lines/{line}/pictures"), &[("x-filename", name)], bytes);
    (sent.status().as_u16(), answer(sent))
}

/// Gives a line so many good pictures.
pub(crate) fn fill(caller: &Caller, line: &str, count: usize) {
    for number in 0..count as u32 {
        let (status, added) = add(caller, line, &format!("{number}.png"), &png(&good(number)));
        assert_eq!((status, &added["left_out"]), (200, &json!([])), "{added}");
    }
}

pub(crate) fn making(caller: &Caller, line: &str) -> Value {
    caller.json(&format!("/v1/lines/{line}/making"))
}

pub(crate) fn plan(epochs: usize) -> Value {
    json!({"preset": "tiny", "size": 32, "epochs": epochs})
}

/// Trains a line's model until it is in another state.
pub(crate) fn train(caller: &Caller, line: &str, epochs: usize) -> Value {
    train_by(caller, line, &plan(epochs))
}

/// The same by a plan.
pub(crate) fn train_by(caller: &Caller, line: &str, plan: &Value) -> Value {
    let (status, begun) = caller.send(&format!("/v1/lines/{line}/train"), plan);
    assert_eq!((status, &begun["state"]), (202, &json!("training")), "{begun}");
    until("it is trained", || making(caller, line)["state"] != "training");
    making(caller, line)
}

/// The files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_line_is_made_of_good_pictures_and_judges_after_a_restart_too() {
    let first = empty(|_| {});
    let caller = &first.caller;
    assert_eq!(caller.json("/v1/lines"), json!({"lines": [], "being_made": []}));
    assert_eq!(caller.get("/readyz").status(), 200);
    begin(caller, "lid");
    let refused = caller.post("/v1/lines/lid/inspect", &[], &png(&good(1)));
    assert_eq!(refused.status(), 409);
    let words = answer(refused)["error"].to_string();
    assert!(
        words.contains("being made") && words.contains("give it good pictures"),
        "{words}"
    );

    let count = NEEDED + 20;
    fill(caller, "lid", count);
    // What is no picture is named and left out, and what is there already counts once.
    let (_, broken) = add(caller, "lid", "notes.txt", b"no picture");
    assert_eq!(broken["left_out"][0]["name"], json!("notes.txt"));
    let reason = broken["left_out"][0]["reason"].as_str().unwrap();
    assert!(!reason.contains("incoming") && !reason.is_empty(), "{reason}");
    let (_, again) = add(caller, "lid", "again.png", &png(&good(3)));
    assert_eq!(
        (&again["taken"][0]["name"], &again["making"]["pictures"]),
        (&json!("3.png"), &json!(count))
    );
    let odd = png(&RgbImage::from_pixel(64, 48, Rgb([90; 3])));
    let form = form(&[("folder/odd.png", &odd), ("cut.png", &png(&good(77))[..60])]);
    let added = answer(caller.post("/v1/lines/lid/pictures", &FORM, &form));
    let odd = added["taken"][0].clone();
    assert_eq!(
        (&odd["name"], &odd["width"], &odd["height"]),
        (&json!("folder/odd.png"), &json!(64), &json!(48))
    );
    assert_eq!(added["left_out"][0]["name"], json!("cut.png"));

    let suspects = caller.json("/v1/lines/lid/suspects");
    let found = suspects["suspects"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["id"] == odd["id"]);
    let reason = found.unwrap()["reason"].as_str().unwrap();
    assert!(reason.contains("48x64 pixels"), "{reason}");
    assert_eq!(suspects["looked_at"], json!(count + 1));
    let small = caller.get(odd["thumbnail"].as_str().unwrap());
    let tag = small.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(small.headers()["content-type"], "image/jpeg");
    let request = caller
        .agent
        .get(format!("{}{}", caller.base, odd["thumbnail"].as_str().unwrap()));
    assert_eq!(request.header("if-none-match", &tag).call().unwrap().status(), 304);
    let removed = caller.delete(&format!("/v1/lines/lid/pictures/{}", odd["id"]));
    assert_eq!(answer(removed)["pictures"], json!(count));
    assert_eq!(
        caller.delete(&format!("/v1/lines/lid/pictures/{}", odd["id"])).status(),
        404
    );
    let page = caller.json("/v1/lines/lid/pictures?limit=30");
    let next = caller.json(page["next"].as_str().unwrap());
    assert_eq!(
        (next["pictures"].as_array().unwrap().len(), &next["next"]),
        (count - 30, &json!(null))
    );

    let plans = caller.json("/v1/lines/lid/plans?size=32");
    let offers = plans["plans"].as_array().unwrap();
    assert_eq!(offers.len(), 3, "{plans}");
    assert!(offers.is_sorted_by_key(|offer| offer["seconds"].as_f64().unwrap()));
    assert_eq!(offers.iter().filter(|offer| offer["advised"] == true).count(), 1);
    assert_eq!(
        (&plans["pictures"][2], &offers[0]["preset"]),
        (&json!(19), &json!("tiny"))
    );

    let trained = train(caller, "lid", 60);
    assert_eq!(trained["state"], json!("trained"), "{trained}");
    assert_eq!(trained["training"]["losses"].as_array().unwrap().len(), 60);
    let found = &trained["found"];
    assert!(
        found["sentence"].as_str().unwrap().starts_with("Made-up defects"),
        "{found}"
    );
    // 19 are for the limit alone. With restoration it also comes from the 5 that watch the training.
    assert!(
        found["promise"].as_str().unwrap().starts_with("24 good images"),
        "{found}"
    );
    assert_eq!((&found["rate"], &found["smallest_rate"]), (&json!(0.05), &json!(0.04)));
    let lengths = found["lengths"].as_array().unwrap().len();
    let kinds = found["kinds"].as_array().unwrap();
    assert!(
        !kinds.is_empty()
            && kinds
                .iter()
                .all(|kind| kind["found"].as_array().unwrap().len() == lengths)
    );

    let (status, line) = caller.send("/v1/lines/lid/use", &json!({}));
    assert_eq!(
        (status, &line["name"], &line["version"]),
        (200, &json!("lid"), &json!(1)),
        "{line}"
    );
    assert_eq!(caller.send("/v1/lines/lid/use", &json!({})).0, 409);
    let judged = caller.inspect(&png(&bad(3)));
    assert_eq!(
        (&judged["id"], &judged["verdict"]),
        (&json!(1), &json!("defective")),
        "{judged}"
    );
    // Its pictures are what a version of it learned from.
    assert_eq!(add(caller, "lid", "late.png", &png(&good(500))).0, 409);

    let folder = first.end();
    let inbox = folder.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    let watching = |options: &mut Options, name: &str| {
        options.lines.clear();
        options.watch = vec![(name.to_owned(), inbox.clone())];
    };
    let mut wrong = Options::new(Vec::new(), folder.path().join("store"));
    wrong.listen = ([127, 0, 0, 1], 0).into();
    watching(&mut wrong, "cap");
    let refused = Service::start(wrong).unwrap_err().to_string();
    assert!(refused.contains("cap") && refused.contains("no --line"), "{refused}");
    let second = served_in(folder, |options| watching(options, "lid"));
    let caller = &second.caller;
    assert_eq!(second.service.as_ref().unwrap().lines(), ["lid"]);
    let again = caller.inspect(&png(&bad(3)));
    assert_eq!(
        (&again["score"], &again["model"], &again["version"]),
        (&judged["score"], &judged["model"], &json!(1))
    );
    assert_eq!(caller.json("/v1/lines/lid")["watch"], json!(inbox.to_str().unwrap()));
    assert_eq!(caller.delete("/v1/lines/lid").status(), 409, "pictures come in");
    let third = served_in(second.end(), |options| options.lines.clear());
    let kept = third.caller.delete("/v1/lines/lid");
    assert_eq!(kept.status(), 409);
    assert!(answer(kept)["error"].to_string().contains("judged 2 pictures"));
}

#[test]
fn a_training_that_was_broken_off_goes_on_after_a_restart() {
    let first = empty(|_| {});
    begin(&first.caller, "lid");
    fill(&first.caller, "lid", NEEDED);
    // More than is done while the rest of this test is.
    let wanted = plan(10_000);
    assert_eq!(first.caller.send("/v1/lines/lid/train", &wanted).0, 202);
    until("some epochs are done", || {
        making(&first.caller, "lid")["training"]["epoch"].as_u64() >= Some(2)
    });
    // Meanwhile all stays as it is, and nothing else is trained.
    assert_eq!(add(&first.caller, "lid", "late.png", &png(&good(500))).0, 409);
    begin(&first.caller, "cap");
    fill(&first.caller, "cap", NEEDED);
    let (status, busy) = first.caller.send("/v1/lines/cap/train", &plan(1));
    assert!(
        status == 409 && busy["error"].to_string().contains("another model"),
        "{busy}"
    );
    assert_eq!(first.caller.delete("/v1/lines/cap").status(), 204);
    let folder = first.end();

    let second = served_in(folder, |options| options.lines.clear());
    let caller = &second.caller;
    let stopped = making(caller, "lid");
    assert_eq!(
        (&stopped["state"], &stopped["plan"]),
        (&json!("stopped"), &wanted),
        "{stopped}"
    );
    let before = stopped["training"]["epoch"].as_u64().unwrap();
    assert!(before >= 2, "its losses are there: {stopped}");
    let (_, begun) = caller.send("/v1/lines/lid/train", &wanted);
    assert!(
        begun["training"]["epoch"].as_u64() >= Some(before),
        "it goes on: {begun}"
    );
    until("it goes on", || {
        making(caller, "lid")["training"]["epoch"].as_u64() > Some(before)
    });
    // A person stops it, and takes another plan.
    assert_eq!(caller.delete("/v1/lines/lid/train").status(), 202);
    until("it stops", || making(caller, "lid")["state"] == "stopped");
    let trained = train(caller, "lid", 3);
    assert_eq!(
        (&trained["state"], &trained["training"]["epoch"]),
        (&json!("trained"), &json!(3)),
        "{trained}"
    );
    // Other pictures make another model.
    let first = caller.json("/v1/lines/lid/pictures?limit=1")["pictures"][0]["id"].clone();
    let changed = answer(caller.delete(&format!("/v1/lines/lid/pictures/{first}")));
    assert_eq!(
        (&changed["state"], &changed["found"]),
        (&json!("collecting"), &json!(null))
    );
    assert_eq!(caller.send("/v1/lines/lid/use", &json!({})).0, 409);
    let (status, few) = caller.send("/v1/lines/lid/train", &plan(3));
    let words = few["error"].to_string();
    assert!(
        status == 409 && words.contains("at least 29") && words.contains("add 1 more"),
        "{words}"
    );
}

#[test]
fn what_a_kill_left_half_done_is_put_in_order() {
    let first = empty(|_| {});
    begin(&first.caller, "lid");
    fill(&first.caller, "lid", 3);
    let folder = first.end();
    let lines = folder.path().join("store/lines");
    let pictures = lines.join("lid/good");
    // A picture without its row, one that a person has removed, and a line without its row.
    fs::write(pictures.join("half.png"), "half").unwrap();
    fs::remove_file(pictures.join(&files(&pictures)[0])).unwrap();
    fs::create_dir_all(lines.join("gone/good")).unwrap();
    fs::create_dir_all(folder.path().join("store/models/gone")).unwrap();
    let second = served_in(folder, |options| options.lines.clear());
    assert_eq!(making(&second.caller, "lid")["pictures"], json!(2));
    let store = second.folder.path().join("store");
    assert_eq!(files(&store.join("lines/lid/good")).len(), 2);
    assert_eq!(files(&store.join("lines")), ["lid"]);
    // Nothing of it is removed: after a database was put back, it may be what counts.
    let lost = files(&store.join("lost"));
    assert!(
        lost.len() == 3 && lost[1].starts_with("line-gone-") && lost[2].starts_with("models-gone-"),
        "{lost:?}"
    );
    assert!(lost[0].starts_with("good-lid-"));
    assert_eq!(files(&store.join("lost").join(&lost[0])), ["half.png"]);
}

#[test]
fn names_are_only_names() {
    let served = served(|_| {});
    let caller = &served.caller;
    for name in ["", "..", "a/b", "a b", "é", "a\u{0}", &"a".repeat(41)] {
        assert_eq!(caller.send("/v1/lines", &json!({ "name": name })).0, 400, "{name}");
    }
    // Of a line that is there, also in other letters: some file systems take them for the same.
    for name in ["lid", "LID"] {
        assert_eq!(caller.send("/v1/lines", &json!({ "name": name })).0, 409, "{name}");
    }
    begin(caller, "cap");
    assert_eq!(caller.send("/v1/lines", &json!({"name": "Cap"})).0, 409);
    for (number, name) in [
        "../../../evil.png",
        "/etc/passwd",
        "C:\\evil.png",
        "%00%1b[31m.png",
        "a/../../b.png",
    ]
    .into_iter()
    .enumerate()
    {
        let (status, added) = add(caller, "cap", name, &png(&good(number as u32)));
        assert_eq!(
            (status, added["taken"].as_array().unwrap().len()),
            (200, 1),
            "{name}: {added}"
        );
        let shown = added["taken"][0]["name"].as_str().unwrap();
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
    let store = served.folder.path().join("store");
    let names = files(&store.join("lines/cap/good"));
    assert_eq!(names.len(), 5);
    assert!(
        names.iter().all(|name| name.len() == 36 && name.ends_with(".png")),
        "{names:?}"
    );
    assert_eq!(files(&store.join("lines/cap")), ["good"]);
    assert!(!served.folder.path().join("evil.png").exists() && !store.join("evil.png").exists());
    for path in [
        "/v1/lines/..%2f..%2fx/making",
        "/v1/lines/nothing/making",
        "/v1/lines/cap/pictures/999/thumbnail",
    ] {
        assert_eq!(caller.get(path).status(), 404, "{path}");
    }
    // What was not made here is not deleted here.
    assert_eq!(caller.delete("/v1/lines/lid").status(), 409);
    assert_eq!(caller.get("/v1/lines/lid/making").status(), 409);
    assert_eq!(caller.delete("/v1/lines/cap").status(), 204);
    assert!(!store.join("lines/cap").exists());
    assert_eq!(caller.get("/v1/lines/cap/making").status(), 404);
    begin(caller, "cap");
}

#[test]
fn all_has_an_end() {
    let served = empty(|options| {
        options.most_good = (3, 1 << 20);
        options.most_bytes = 20_000;
    });
    let caller = &served.caller;
    begin(caller, "lid");
    fill(caller, "lid", 3);
    let (_, full) = add(caller, "lid", "fourth.png", &png(&good(4)));
    assert!(
        full["left_out"][0]["reason"]
            .to_string()
            .contains("3 pictures, which is the most"),
        "{full}"
    );
    // One that is there is no fourth.
    assert_eq!(add(caller, "lid", "again.png", &png(&good(1))).1["left_out"], json!([]));
    assert_eq!(add(caller, "lid", "large.png", &[0; 30_000]).0, 413);
    assert_eq!(add(caller, "lid", "empty.png", b"").0, 400);
    // Too few pictures are told before what is wrong with the plan.
    let wrong = json!({"preset": "tiny", "size": 100_000});
    assert_eq!(caller.send("/v1/lines/lid/train", &wrong).0, 409);
    assert_eq!(caller.get("/v1/lines/lid/plans?size=9999").status(), 400);
    assert_eq!(caller.get("/v1/lines/lid/plans").status(), 409);
    for number in 1..20 {
        begin(caller, &format!("line-{number}"));
    }
    let (status, many) = caller.send("/v1/lines", &json!({"name": "one-more"}));
    assert!(
        status == 409 && many["error"].to_string().contains("20 lines"),
        "{many}"
    );
}

#[test]
fn bytes_have_an_end_too() {
    let picture = png(&good(0)).len() as u64;
    let served = empty(|options| options.most_good = (100, picture + picture / 2));
    begin(&served.caller, "lid");
    fill(&served.caller, "lid", 1);
    let (_, full) = add(&served.caller, "lid", "second.png", &png(&good(1)));
    assert!(full["left_out"][0]["reason"].to_string().contains("at most"), "{full}");
}

#[test]
fn a_plan_that_cannot_be_meant_is_refused() {
    let served = empty(|_| {});
    let caller = &served.caller;
    begin(caller, "lid");
    fill(caller, "lid", NEEDED);
    for (wrong, word) in [
        (json!({"preset": "tiny", "size": 100_000}), "pixels"),
        (json!({"preset": "tiny", "size": 31}), "pixels"),
        (json!({"preset": "huge", "size": 128}), "huge"),
        (json!({"preset": "tiny", "size": 128, "epochs": 0}), "epochs"),
        (json!({"preset": "tiny", "size": 128, "epochs": 10_001}), "epochs"),
        (json!({"preset": "tiny", "size": 128, "steps": 3}), "steps"),
        (json!({"size": 128}), "preset"),
    ] {
        let (status, refused) = caller.send("/v1/lines/lid/train", &wrong);
        let words = refused["error"].as_str().unwrap();
        assert!(status == 400 && words.contains(word), "{wrong}: {status}, {words}");
    }
    assert_eq!(making(caller, "lid")["state"], json!("collecting"));
}

#[test]
fn a_line_that_is_made_lives_beside_those_that_are_given() {
    let first = served(|_| {});
    let caller = &first.caller;
    begin(caller, "cap");
    fill(caller, "cap", NEEDED);
    let lines = caller.json("/v1/lines");
    assert_eq!(
        (&lines["lines"][0]["name"], &lines["being_made"][0]["name"]),
        (&json!("lid"), &json!("cap"))
    );
    assert_eq!(train(caller, "cap", 3)["state"], json!("trained"));
    assert_eq!(caller.send("/v1/lines/cap/use", &json!({})).0, 200);
    // It can be deleted as long as it has judged nothing, and is made again from the start.
    assert_eq!(caller.delete("/v1/lines/cap").status(), 204);
    assert_eq!(caller.get("/v1/lines/cap").status(), 404);
    assert_eq!(caller.inspect(&png(&good(1)))["verdict"], json!("good"));
    begin(caller, "cap");
    fill(caller, "cap", NEEDED);
    assert_eq!(train(caller, "cap", 3)["state"], json!("trained"));
    let folder = first.end();
    // A line that is given is not taken for one that is being made.
    let store = folder.path().join("store");
    let refused = |name: &str| {
        let line = riad_serve::LineOptions {
            name: name.to_owned(),
            model: crate::support::run().to_owned(),
        };
        let mut options = Options::new(vec![line], &store);
        options.listen = ([127, 0, 0, 1], 0).into();
        Service::start(options).unwrap_err().to_string()
    };
    for name in ["cap", "Cap"] {
        let refused = refused(name);
        assert!(refused.contains("cap is being made"), "{refused}");
    }
    let second = served_in(folder, |_| {});
    assert_eq!(second.caller.send("/v1/lines/cap/use", &json!({})).0, 200);
    let sent = second.caller.post("/v1/lines/cap/inspect", &[], &png(&good(7)));
    assert_eq!(sent.status(), 200);
    assert_eq!(second.caller.inspect(&png(&good(1)))["line"], json!("lid"));
    assert_eq!(second.service.as_ref().unwrap().lines(), ["lid", "cap"]);
    let _folder = second.end();
    assert!(refused("Cap").contains("by capitals alone"));
}

#[test]
fn nobody_makes_a_line_without_the_token_or_from_elsewhere() {
    let token = "a-token-of-some-length";
    let served = empty(|options| options.token = Some(token.to_owned()));
    let caller = &served.caller;
    let bearer = format!("Bearer {token}");
    let begin = |headers: &[(&str, &str)]| {
        let all = [&[("content-type", "application/json")], headers].concat();
        caller.post("/v1/lines", &all, b"{\"name\": \"lid\"}").status().as_u16()
    };
    assert_eq!(begin(&[]), 401);
    assert_eq!(
        begin(&[("authorization", &bearer), ("origin", "https://evil.example")]),
        403
    );
    assert_eq!(begin(&[("authorization", &bearer)]), 201);
    assert_eq!(add(caller, "lid", "a.png", &png(&good(1))).0, 401);
    assert_eq!(caller.delete("/v1/lines/lid").status(), 401);
}
