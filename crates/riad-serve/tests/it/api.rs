//! Pictures in, inspections out.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use riad::Detector;
use serde_json::{Value, json};

use crate::support::{bad, good, json as answer, png, run, served};

#[test]
fn a_picture_gets_the_score_that_the_library_gives_it() {
    let served = served(|_| {});
    let picture = png(&bad(3));
    let said = served.caller.inspect(&picture);
    let file = served.folder.path().join("bad.png");
    std::fs::write(&file, &picture).unwrap();
    let detector = Detector::open(run()).unwrap();
    let found = detector.inspect_file(&file).unwrap();
    let number = |name: &str| said[name].as_f64().unwrap();
    assert_eq!(number("score") as f32, found.score());
    assert_eq!(number("p_value"), found.p_value().unwrap());
    assert_eq!(number("threshold") as f32, detector.threshold(0.05).unwrap().value());
    assert_eq!(said["verdict"], json!("defective"), "{said}");
    let regions = found.regions(0.05).unwrap();
    assert_eq!(said["regions"].as_array().unwrap().len(), regions.len());
    assert_eq!(said["regions"][0]["x"], json!(regions[0].x));
    assert_eq!((&said["width"], &said["height"]), (&json!(32), &json!(32)));
    // What was said is what is kept, digit by digit.
    assert_eq!(served.caller.json("/v1/lines/lid/inspections/1"), said);
    let good = served.caller.inspect(&png(&good(5)));
    assert_eq!(
        (&good["id"], &good["verdict"], &good["regions"]),
        (&json!(2), &json!("good"), &json!([]))
    );
}

#[test]
fn pictures_that_are_not_judged_are_counted() {
    let served = served(|_| {});
    let tiff = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../riad-data/tests/tiff/files/two_of_three_pages.tif"
    );
    // One of its three pages is a thumbnail.
    for (picture, pictures) in [(std::fs::read(tiff).unwrap(), 2), (png(&good(5)), 1)] {
        let said = served.caller.inspect(&picture);
        assert_eq!(said["pictures"], json!(pictures), "{said}");
        let kept = served.caller.json(&format!("/v1/lines/lid/inspections/{}", said["id"]));
        assert_eq!(kept, said);
    }
}

#[test]
fn forms_and_paths_are_taken_as_well() {
    let allowed = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let served = served(|options| options.allow = vec![allowed.path().to_owned()]);
    let picture = png(&bad(3));
    let scored = served.caller.inspect(&picture)["score"].clone();

    let mut form = b"--cut\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--cut\r\nContent-Disposition: form-data; \
                     name=\"f\"; filename=\"a b.png\"\r\n\r\n"
        .to_vec();
    form.extend(&picture);
    form.extend(b"\r\n--cut--\r\n");
    let said = answer(served.caller.post(
        "/v1/lines/lid/inspect",
        &[("content-type", "multipart/form-data; boundary=cut")],
        &form,
    ));
    assert_eq!((&said["score"], &said["name"]), (&scored, &json!("a b.png")));

    std::fs::write(allowed.path().join("in.png"), &picture).unwrap();
    std::fs::write(other.path().join("out.png"), &picture).unwrap();
    let named = |path: &str| {
        let body = json!({ "path": path }).to_string();
        served.caller.post(
            "/v1/lines/lid/inspect",
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
    };
    assert_eq!(answer(named("in.png"))["score"], scored);
    let whole = allowed.path().join("in.png");
    assert_eq!(answer(named(whole.to_str().unwrap()))["score"], scored);
    let outside = other.path().join("out.png");
    let up = format!("../{}/out.png", other.path().file_name().unwrap().to_str().unwrap());
    for path in [outside.to_str().unwrap(), &up, "/etc/passwd", "..", "", "missing.png"] {
        assert_eq!(named(path).status(), 403, "{path}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&outside, allowed.path().join("link.png")).unwrap();
        assert_eq!(named("link.png").status(), 403, "a link leads out");
    }
}

#[test]
fn a_request_that_is_sent_again_counts_once() {
    let served = served(|_| {});
    let send = |key: &str| {
        answer(
            served
                .caller
                .post("/v1/lines/lid/inspect", &[("idempotency-key", key)], &png(&good(1))),
        )
    };
    let (first, again, other) = (send("a"), send("a"), send("b"));
    assert_eq!(first, again);
    assert_eq!((&first["id"], &other["id"]), (&json!(1), &json!(2)));
    assert_eq!(served.caller.json("/v1/lines/lid")["shift"]["good"], json!(2));
    // A camera that counts from 1 again must not get the verdict of another picture.
    let key = [("idempotency-key", "a")];
    let reused = served.caller.post("/v1/lines/lid/inspect", &key, &png(&good(2)));
    assert_eq!(reused.status(), 409);
    let said = answer(reused).to_string();
    assert!(
        said.contains("Idempotency-Key") && said.contains("inspection 1"),
        "{said}"
    );
    let incoming = served.folder.path().join("store/incoming");
    assert_eq!(std::fs::read_dir(incoming).unwrap().count(), 0);
}

#[test]
fn of_two_pictures_that_come_at_once_with_the_same_key_one_is_refused() {
    const PAIRS: usize = 20;
    let served = served(|_| {});
    let address = served.caller.base.trim_start_matches("http://");
    let pictures = [("good", png(&good(1))), ("defective", png(&bad(1)))];
    for pair in 0..PAIRS {
        // Each picture is there but for its last byte, so that both are judged at about the same time. What is expected holds in any order.
        let mut connections = pictures.each_ref().map(|(_, picture)| {
            let mut connection = TcpStream::connect(address).unwrap();
            let head = format!(
                "POST /v1/lines/lid/inspect HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nIdempotency-Key: {pair}\r\nContent-Length: \
                 {}\r\n\r\n",
                picture.len()
            );
            connection.write_all(head.as_bytes()).unwrap();
            connection.write_all(&picture[..picture.len() - 1]).unwrap();
            connection
        });
        for (connection, (_, picture)) in connections.iter_mut().zip(&pictures) {
            connection.write_all(&picture[picture.len() - 1..]).unwrap();
        }
        let mut judged = 0;
        for (connection, (verdict, _)) in connections.iter_mut().zip(&pictures) {
            let mut said = String::new();
            connection.read_to_string(&mut said).unwrap();
            if said.starts_with("HTTP/1.1 200") {
                judged += 1;
                assert!(said.contains(&format!("\"verdict\":\"{verdict}\"")), "{said}");
            } else {
                assert!(
                    said.starts_with("HTTP/1.1 409") && said.contains("Idempotency-Key"),
                    "{said}"
                );
            }
        }
        assert_eq!(judged, 1);
    }
    let rows = served.caller.json("/v1/lines/lid/inspections?limit=500");
    assert_eq!(rows["inspections"].as_array().unwrap().len(), PAIRS);
    // Nothing is left of those that were refused.
    let store = served.folder.path().join("store");
    let days = std::fs::read_dir(store.join("pictures/lid")).unwrap();
    let kept = days.map(|day| std::fs::read_dir(day.unwrap().path()).unwrap().count());
    assert_eq!(kept.sum::<usize>(), PAIRS);
    assert_eq!(std::fs::read_dir(store.join("incoming")).unwrap().count(), 0);
}

#[test]
fn what_is_no_picture_is_answered_and_counted_as_such() {
    let served = served(|options| options.most_bytes = 10_000);
    let response = served.caller.post("/v1/lines/lid/inspect", &[], b"hello");
    assert_eq!(response.status(), 422);
    let said = answer(response);
    assert_eq!((&said["verdict"], &said["score"]), (&json!("error"), &Value::Null));
    let reason = said["reason"].as_str().unwrap();
    assert!(
        reason.contains("the picture") && !reason.contains("incoming"),
        "{reason}"
    );
    assert_eq!(served.caller.post("/v1/lines/lid/inspect", &[], b"").status(), 400);
    assert_eq!(
        served.caller.post("/v1/lines/lid/inspect", &[], &[7; 10_001]).status(),
        413
    );
    assert_eq!(
        served.caller.post("/v1/lines/lid/inspect?maps=bmp", &[], b"x").status(),
        400
    );
    assert_eq!(served.caller.post("/v1/lines/cap/inspect", &[], b"x").status(), 404);
    assert_eq!(served.caller.get("/v1/lines/lid/inspect").status(), 405);
    let counts = served.caller.json("/v1/lines/lid")["shift"].clone();
    assert_eq!((&counts["error"], &counts["good"]), (&json!(1), &json!(0)));
    // Nothing is left of what was refused.
    let incoming = served.folder.path().join("store/incoming");
    assert_eq!(std::fs::read_dir(incoming).unwrap().count(), 0);
}

#[test]
fn inspections_are_listed_page_by_page_and_by_what_is_asked_for() {
    let served = served(|_| {});
    for number in 0..3 {
        served.caller.inspect(&png(&good(number)));
        served.caller.inspect(&png(&bad(number)));
    }
    let ids = |path: &str| -> (Vec<i64>, Value) {
        let page = served.caller.json(path);
        let ids = page["inspections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_i64().unwrap());
        (ids.collect(), page["next"].clone())
    };
    let (first, next) = ids("/v1/lines/lid/inspections?limit=4");
    let (rest, end) = ids(next.as_str().unwrap());
    assert_eq!((first, rest, end), (vec![6, 5, 4, 3], vec![2, 1], Value::Null));
    assert_eq!(ids("/v1/lines/lid/inspections?verdict=defective").0, [6, 4, 2]);
    assert_eq!(served.caller.label(4, &json!("good"))["label"], json!("good"));
    assert_eq!(ids("/v1/lines/lid/inspections?label=good").0, [4]);
    assert_eq!(ids("/v1/lines/lid/inspections?label=any").0, [4]);
    assert_eq!(ids("/v1/lines/lid/inspections?unanswered=true").0, [6, 2]);
    assert_eq!(
        ids("/v1/lines/lid/inspections?from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z").0,
        Vec::<i64>::new()
    );
    let line = served.caller.json("/v1/lines/lid");
    assert_eq!(line["unanswered"], json!(2));
    assert_eq!(line["measured"]["false_alarms"][0], json!(1));
    assert_eq!(served.caller.label(4, &Value::Null)["label"], Value::Null);
    assert_eq!(served.caller.json("/v1/lines/lid")["unanswered"], json!(3));
    for wrong in ["limit=0", "limit=501", "verdict=bad", "from=yesterday", "colour=red"] {
        let path = format!("/v1/lines/lid/inspections?{wrong}");
        assert_eq!(served.caller.get(&path).status(), 400, "{wrong}");
    }
    assert_eq!(
        served.caller.json("/v1/lines/lid/scores")["scores"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
}

#[test]
fn a_picture_that_a_person_only_tries_counts_nowhere() {
    let served = served(|options| options.audit = Some(1));
    let tried = answer(
        served
            .caller
            .post("/v1/lines/lid/inspect?source=page", &[], &png(&bad(1))),
    );
    assert_eq!((&tried["source"], &tried["audit"]), (&json!("page"), &json!(false)));
    let line = served.caller.json("/v1/lines/lid");
    assert_eq!(
        (&line["state"], &line["last"], &line["unanswered"]),
        (&json!("idle"), &Value::Null, &json!(0))
    );
    assert_eq!(line["shift"]["defective"], json!(0));
    assert_eq!(served.caller.json("/v1/lines/lid/scores")["scores"], json!([]));
    assert_eq!(
        served.caller.inspect(&png(&good(1)))["audit"],
        json!(true),
        "one in one is drawn"
    );
}

#[test]
fn what_happens_is_told_as_it_happens() {
    let served = served(|_| {});
    let mut stream = TcpStream::connect(served.caller.base.trim_start_matches("http://")).unwrap();
    stream
        .write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    // The answer's head says that it listens.
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    let mut read_until = |wanted: &str| {
        while !String::from_utf8_lossy(&text).contains(wanted) {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "it ended before {wanted}: {}", String::from_utf8_lossy(&text));
            text.extend(&piece[..read]);
        }
    };
    read_until("text/event-stream");
    served.caller.inspect(&png(&bad(1)));
    read_until("event: inspection\ndata: {\"id\":1,");
    served.caller.label(1, &json!("defective"));
    read_until("event: label\ndata: {\"id\":1,");
    read_until("event: line\n");
    // It ends although somebody listens.
    served.end();
}

#[test]
fn numbers_are_there_for_those_who_look_after_services() {
    let served = served(|_| {});
    served.caller.inspect(&png(&good(1)));
    let text = served.caller.get("/metrics").body_mut().read_to_string().unwrap();
    for line in [
        "riad_inspections_total{line=\"lid\",verdict=\"good\"} 1",
        "riad_request_seconds_count 1",
        "riad_queue_length{line=\"lid\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(served.caller.get("/readyz").status(), 200);
    assert_eq!(served.caller.get("/healthz").status(), 200);
    let described = served.caller.json("/openapi.json");
    assert!(described["paths"]["/v1/lines/{line}/inspect"]["post"].is_object());
}
