//! What is kept, and who may keep it.

use riad_serve::{LineOptions, Options, Service};

use crate::support::{bad, good, png, run, served, served_in};

#[test]
fn a_store_serves_one_process_at_a_time() {
    let served = served(|_| {});
    let line = LineOptions {
        name: "lid".to_owned(),
        model: run().to_owned(),
    };
    let mut options = Options::new(vec![line], served.folder.path().join("store"));
    options.listen = ([127, 0, 0, 1], 0).into();
    let refused = Service::start(options.clone()).unwrap_err().to_string();
    assert!(refused.contains("another process uses"), "{refused}");
    let folder = served.end();
    Service::start(options).unwrap().stop();
    drop(folder);
}

#[test]
fn all_is_there_again_after_a_restart() {
    let first = served(|_| {});
    for number in 0..4 {
        first.caller.inspect(&png(&good(number)));
    }
    first.caller.inspect(&png(&bad(1)));
    first.caller.label(5, &"defective".into());
    let before = first.caller.json("/v1/lines/lid/inspections");
    let folder = first.end();
    // A kill between a picture and its row leaves a file that no row names.
    let day = std::fs::read_dir(folder.path().join("store/pictures/lid"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let orphan = day.join("000000000-000000");
    std::fs::write(&orphan, "orphan").unwrap();
    let second = served_in(folder, |_| {});
    assert_eq!(second.caller.json("/v1/lines/lid/inspections"), before);
    assert!(!orphan.exists());
    let line = second.caller.json("/v1/lines/lid");
    assert_eq!(
        (&line["shift"]["good"], &line["shift"]["defective"]),
        (&4.into(), &1.into())
    );
    assert_eq!(
        (&line["state"], &line["version"], &line["unanswered"]),
        (&"idle".into(), &1.into(), &0.into())
    );
    assert_eq!(second.caller.inspect(&png(&good(9)))["id"], 6);
}

#[test]
fn names_and_models_that_cannot_be_meant_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, model: &std::path::Path| {
        let line = LineOptions {
            name: name.to_owned(),
            model: model.to_owned(),
        };
        let mut options = Options::new(vec![line], folder.path().join("store"));
        options.listen = ([127, 0, 0, 1], 0).into();
        Service::start(options).unwrap_err().to_string()
    };
    for name in ["", "..", "a/b", "a b", "é", &"a".repeat(41)] {
        assert!(refused(name, run()).contains("a line's name"), "{name}");
    }
    let missing = refused("lid", &folder.path().join("nothing"));
    assert!(missing.contains("nothing"), "{missing}");
}

#[test]
fn a_name_in_other_capitals_than_in_the_store_is_refused() {
    let first = served(|_| {});
    first.caller.inspect(&png(&good(1)));
    let folder = first.end();
    let line = LineOptions {
        name: "LID".to_owned(),
        model: run().to_owned(),
    };
    let mut options = Options::new(vec![line], folder.path().join("store"));
    options.listen = ([127, 0, 0, 1], 0).into();
    let refused = Service::start(options).unwrap_err().to_string();
    assert!(
        refused.contains("a line lid") && refused.contains("write lid"),
        "{refused}"
    );
    assert!(!folder.path().join("store/models/LID").exists());
    let second = served_in(folder, |_| {});
    assert_eq!(second.caller.get("/v1/lines/lid/inspections/1/image").status(), 200);
}
