//! What was left behind while lines were made: files without a row, and trainings and lines that failed.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use riad::FalsePositiveRate;
use riad_serve::{Destination, LineOptions, SinkOptions};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    making::{NEEDED, begin, empty, files, fill, train},
    support::{Served, bad, good, json as answer, png, served, served_in, until},
};

/// Changes the database of a store that no service uses.
fn change(store: &Path, sql: &str) {
    let database = Connection::open(store.join("riad.sqlite")).unwrap();
    database.execute_batch(sql).unwrap();
}

/// How many folders that are called so were put aside.
fn lost(store: &Path, kind: &str) -> usize {
    let names = files(&store.join("lost"));
    names.iter().filter(|name| name.starts_with(kind)).count()
}

#[test]
fn only_pictures_with_a_row_are_learned_from() {
    let served = empty(|_| {});
    let caller = &served.caller;
    let store = served.folder.path().join("store");
    let pictures = store.join("lines/cap/good");
    // An earlier line of this name could not be removed.
    fs::create_dir_all(&pictures).unwrap();
    fs::write(pictures.join("old.png"), png(&bad(1))).unwrap();
    fs::create_dir_all(store.join("models/cap")).unwrap();
    begin(caller, "cap");
    assert!(files(&pictures).is_empty() && !store.join("models/cap").exists());
    assert_eq!((lost(&store, "line-cap-"), lost(&store, "models-cap-")), (1, 1));
    fill(caller, "cap", NEEDED);
    // One that was taken out could not be removed, or one that came got no row.
    fs::write(pictures.join("stray.png"), png(&bad(2))).unwrap();
    assert_eq!(train(caller, "cap", 2)["state"], json!("trained"));
    assert_eq!(files(&pictures).len(), NEEDED);
    assert_eq!(lost(&store, "good-cap-"), 1);
    let settings = fs::read_to_string(store.join("lines/cap/run/settings.json")).unwrap();
    assert!(!settings.contains("stray.png"));

    // A version that never came to be has left a list of other pictures.
    let list = store.join("models/cap/1.pictures.json");
    fs::create_dir_all(list.parent().unwrap()).unwrap();
    fs::write(&list, "[]").unwrap();
    assert_eq!(caller.send("/v1/lines/cap/use", &json!({})).0, 200);
    let kept: Vec<Value> = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
    assert_eq!(kept.len(), NEEDED);

    assert_eq!(caller.delete("/v1/lines/cap").status(), 204);
    assert!(!store.join("lines/cap").exists() && !store.join("models/cap").exists());
    assert_eq!((lost(&store, "line-cap-"), lost(&store, "models-cap-")), (1, 1));
}

#[test]
fn a_training_that_failed_goes_on_from_what_is_there() {
    let first = empty(|_| {});
    begin(&first.caller, "cap");
    fill(&first.caller, "cap", NEEDED);
    assert_eq!(train(&first.caller, "cap", 3)["state"], json!("trained"));
    let folder = first.end();
    let store = folder.path().join("store");
    let run = store.join("lines/cap/run");
    let fail = || change(&store, "UPDATE draft SET state = 'failed', note = 'full', found = NULL");
    // It stays as long as the run is the same.
    let mark = run.join("mark");
    fs::write(&mark, "").unwrap();
    // The trial fails, as what it needs is not to be read.
    fs::rename(run.join("suspects.txt"), run.join("kept.txt")).unwrap_or_default();
    fs::create_dir(run.join("suspects.txt")).unwrap();
    fail();

    let second = served_in(folder, |options| options.lines.clear());
    let caller = &second.caller;
    let untried = train(caller, "cap", 3);
    assert_eq!(
        (&untried["state"], &untried["found"]),
        (&json!("trained"), &json!(null)),
        "{untried}"
    );
    let note = untried["note"].as_str().unwrap();
    assert!(note.contains("could not be tried"), "{note}");
    fs::remove_dir(run.join("suspects.txt")).unwrap();
    let tried = train(caller, "cap", 3);
    assert!(tried["state"] == "trained" && tried["note"].is_null(), "{tried}");
    assert!(tried["found"].is_object() && mark.exists(), "{tried}");

    // A run that is damaged is no use any more.
    let folder = second.end();
    fs::write(run.join("last.safetensors"), "damaged").unwrap();
    fail();
    let third = served_in(folder, |options| options.lines.clear());
    let again = train(&third.caller, "cap", 3);
    assert!(again["found"].is_object() && !mark.exists(), "{again}");
    assert_eq!(again["training"]["losses"].as_array().unwrap().len(), 3);
}

#[test]
fn a_made_line_that_cannot_be_opened_keeps_no_service_from_starting() {
    let first = served(|_| {});
    begin(&first.caller, "cap");
    fill(&first.caller, "cap", NEEDED);
    train(&first.caller, "cap", 2);
    let (status, used) = first.caller.send("/v1/lines/cap/use", &json!({}));
    assert_eq!(status, 200, "{used}");

    // Its calibration allows no such rate.
    let mut folder = first.end();
    let second = served_in(folder, |options| {
        options.lines.clear();
        options.rate = FalsePositiveRate::new(0.01);
    });
    assert!(second.service.as_ref().unwrap().lines().is_empty());
    let refused = second.caller.get("/v1/lines/cap");
    assert_eq!(refused.status(), 409);
    let words = answer(refused)["error"].to_string();
    assert!(words.contains("could not be opened"), "{words}");

    // Its run is gone, and its versions are there.
    folder = second.end();
    fs::remove_dir_all(folder.path().join("store/lines/cap/run")).unwrap();
    let third = served_in(folder, |_| {});
    assert_eq!(third.service.as_ref().unwrap().lines(), ["lid", "cap"]);
    let line = third.caller.json("/v1/lines/cap");
    assert_eq!((&line["version"], &line["model"]), (&json!(1), &used["model"]));
    let judged = answer(third.caller.post("/v1/lines/cap/inspect", &[], &png(&good(7))));
    assert_eq!((&judged["line"], &judged["version"]), (&json!("cap"), &json!(1)));
}

/// Holding registers from 0 on, as a PLC reads them.
fn registers(address: SocketAddr, count: u8) -> Vec<u16> {
    let mut plc = TcpStream::connect(address).unwrap();
    plc.write_all(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, count]).unwrap();
    let mut answer = vec![0; 9 + 2 * usize::from(count)];
    plc.read_exact(&mut answer).unwrap();
    let values = answer[9..].chunks_exact(2);
    values.map(|two| u16::from_be_bytes([two[0], two[1]])).collect()
}

/// Where PLCs read.
fn for_plcs() -> Vec<SinkOptions> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let valid = Some(Duration::from_secs(60));
    vec![SinkOptions::new(Destination::ModbusServer { address, valid })]
}

/// Has a line judge a picture, and waits until PLCs see it in this place.
fn see(served: &Served, line: &str, place: usize) {
    let plc = served.service.as_ref().unwrap().modbus()[0];
    let judged = answer(
        served
            .caller
            .post(&format!("/v1/lines/{line}/inspect"), &[], &png(&good(7))),
    );
    let id = judged["id"].as_i64().unwrap() as u16;
    let shown = || registers(plc, 48)[16 * place..][..9].to_vec();
    until("the inspection is shown", || shown()[7] == id);
    until("its heart beats", || shown()[0] != 0);
}

#[test]
fn a_line_keeps_its_place_for_plcs_whatever_becomes_of_others() {
    let first = empty(|_| {});
    for line in ["cap", "hat"] {
        begin(&first.caller, line);
        fill(&first.caller, line, NEEDED);
        train(&first.caller, line, 2);
        let (status, used) = first.caller.send(&format!("/v1/lines/{line}/use"), &json!({}));
        assert_eq!(status, 200, "{used}");
    }
    let folder = first.end();
    let run = folder.path().join("store/lines/cap");
    let mut folders = vec![run];
    while let Some(within) = folders.pop() {
        for entry in fs::read_dir(within).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "safetensors") {
                fs::write(path, "damaged").unwrap();
            }
        }
    }
    let with_plcs = |folder, lines: &[&str]| {
        served_in(folder, |options| {
            let given = options.lines.remove(0);
            options.lines = lines
                .iter()
                .map(|name| LineOptions {
                    name: (*name).to_owned(),
                    ..given.clone()
                })
                .collect();
            options.sinks = for_plcs();
        })
    };
    // The first one cannot be opened.
    let second = with_plcs(folder, &["lid"]);
    let service = second.service.as_ref().unwrap();
    assert_eq!(service.lines(), ["lid", "hat"]);
    assert_eq!(service.places(), ["lid", "cap", "hat"]);
    see(&second, "hat", 2);
    let shown = registers(service.modbus()[0], 32);
    assert_eq!(shown[16..], [0; 16], "nothing is shown of it, and its heart stands");

    // It is deleted, a line is given no longer, and another one comes.
    assert_eq!(second.caller.delete("/v1/lines/cap").status(), 204);
    let third = with_plcs(second.end(), &["lid-2"]);
    assert_eq!(third.service.as_ref().unwrap().places(), ["lid", "cap", "hat", "lid-2"]);
    see(&third, "hat", 2);
    let shown = registers(third.service.as_ref().unwrap().modbus()[0], 32);
    assert_eq!(shown, [0; 32]);
    let fourth = with_plcs(third.end(), &["lid-2", "lid"]);
    for (line, place) in [("lid", 0), ("hat", 2)] {
        see(&fourth, line, place);
    }
}

#[test]
fn a_name_that_has_verdicts_is_not_taken_again() {
    let first = served(|_| {});
    assert_eq!(first.caller.inspect(&png(&good(1)))["verdict"], json!("good"));
    let folder = first.end();
    change(&folder.path().join("store"), "DELETE FROM line; DELETE FROM version");
    let second = served_in(folder, |options| options.lines.clear());
    for name in ["lid", "Lid"] {
        let (status, refused) = second.caller.send("/v1/lines", &json!({ "name": name }));
        let words = refused["error"].to_string();
        assert!(status == 409 && words.contains("earlier line"), "{words}");
    }
    begin(&second.caller, "cap");
}
