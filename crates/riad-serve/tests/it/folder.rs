//! Pictures that come into a folder.

use std::{fs, time::Duration};

use serde_json::json;

use crate::support::{bad, good, png, served_in, until};

#[test]
fn each_picture_of_a_folder_gets_one_row_whatever_ends_between() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    let watching = |folder| {
        served_in(folder, |options| {
            options.watch = vec![("lid".to_owned(), inbox.clone())];
            options.settle = Duration::from_millis(50);
            options.interval = Duration::from_millis(50);
        })
    };
    for number in 0..5 {
        fs::write(inbox.join(format!("{number}.png")), png(&good(number))).unwrap();
    }
    fs::write(inbox.join("not-a-picture.png"), "hello").unwrap();
    fs::write(inbox.join("notes.txt"), "hello").unwrap();
    let served = watching(folder);
    let rows = |caller: &crate::support::Caller| {
        caller.json("/v1/lines/lid/inspections")["inspections"]
            .as_array()
            .unwrap()
            .clone()
    };
    until("six files have rows", || rows(&served.caller).len() == 6);
    let served = watching(served.end());
    fs::write(inbox.join("late.png"), png(&bad(1))).unwrap();
    // Another picture under a name that was there.
    fs::write(inbox.join("0.png"), png(&bad(2))).unwrap();
    until("two more have rows", || rows(&served.caller).len() == 8);
    let rows = rows(&served.caller);
    let named = |name: &str| rows.iter().filter(|row| row["name"] == name).count();
    assert_eq!((named("0.png"), named("1.png"), named("late.png")), (2, 1, 1));
    assert!(rows.iter().all(|row| row["source"] == "folder"));
    let errors: Vec<_> = rows
        .iter()
        .filter(|row| row["verdict"] == "error")
        .map(|row| row["name"].clone())
        .collect();
    assert_eq!(errors, [json!("not-a-picture.png")]);
    assert!(inbox.join("late.png").exists(), "pictures stay where they are");
}
