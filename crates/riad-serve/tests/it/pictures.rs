//! Pictures of inspections.

use riad::Detector;
use riad_serve::Keep;

use crate::support::{bad, good, json as answer, png, run, served, served_in};

#[test]
fn what_is_drawn_is_what_the_library_draws() {
    let served = served(|_| {});
    let picture = png(&bad(3));
    served.caller.inspect(&picture);
    let get = |file: &str| {
        let path = format!("/v1/lines/lid/inspections/1/{file}");
        let mut response = served.caller.get(&path);
        assert_eq!(response.status(), 200, "{file}");
        // A browser asks whether it has the right one: another store may have another picture of this number.
        assert_eq!(response.headers()["cache-control"], "private, no-cache", "{file}");
        let tag = response.headers()["etag"].clone();
        let again = served.caller.agent.get(format!("{}{path}", served.caller.base));
        assert_eq!(
            again.header("if-none-match", tag).call().unwrap().status(),
            304,
            "{file}"
        );
        let other = served.caller.agent.get(format!("{}{path}", served.caller.base));
        assert_eq!(
            other.header("if-none-match", "\"other\"").call().unwrap().status(),
            200,
            "{file}"
        );
        response.body_mut().read_to_vec().unwrap()
    };
    assert_eq!(get("image"), picture);
    let file = served.folder.path().join("bad.png");
    std::fs::write(&file, &picture).unwrap();
    let found = Detector::open(run()).unwrap().inspect_file(&file).unwrap();
    let drawn = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().to_rgb8();
    assert_eq!(drawn(&get("heat-map")), found.heat_map().unwrap());
    assert_eq!(drawn(&get("overlay")), found.overlay_at(0.05).unwrap());
    assert_eq!(drawn(&get("thumbnail")).height(), 160);
    assert_eq!(drawn(&get("image?for=page")).dimensions(), (32, 32));
    let map = found.map();
    let npy = get("map.npy");
    let values: Vec<u8> = map.values().iter().flat_map(|value| value.to_le_bytes()).collect();
    assert!(npy.starts_with(b"\x93NUMPY") && npy.ends_with(&values));
    let with_map = answer(served.caller.post("/v1/lines/lid/inspect?maps=npy", &[], &picture));
    assert_eq!(with_map["map"]["format"], "npy");
    // A request that is sent again gets the map, too.
    let key = [("idempotency-key", "once")];
    let sent = || answer(served.caller.post("/v1/lines/lid/inspect?maps=npy", &key, &picture));
    let first = sent();
    assert!(first["map"]["base64"].is_string(), "{first}");
    assert_eq!(sent(), first);
    assert_eq!(served.caller.get("/v1/lines/lid/inspections/1/map.bmp").status(), 404);
    assert_eq!(served.caller.get("/v1/lines/lid/inspections/9/image").status(), 404);
    assert_eq!(served.caller.get("/v1/lines/lid/inspections/-1/image").status(), 404);
    assert_eq!(served.caller.get("/v1/lines/lid/inspections/x/image").status(), 404);
}

#[test]
fn pictures_beyond_what_is_kept_go_the_good_ones_first_and_the_labelled_ones_last() {
    let first = served(|_| {});
    for number in 0..3 {
        first.caller.inspect(&png(&good(number)));
        first.caller.inspect(&png(&bad(number)));
    }
    first.caller.label(1, &"good".into());
    let bytes = png(&good(0)).len() as u64;
    // Tidied when it starts.
    let keep = Keep {
        time: None,
        bytes: Some(3 * bytes + bytes / 2),
    };
    let second = served_in(first.end(), |options| options.keep = keep);
    let kept = || -> Vec<i64> {
        let page = second.caller.json("/v1/lines/lid/inspections");
        let rows = page["inspections"].as_array().unwrap().iter();
        rows.filter(|row| row["kept"] == true)
            .map(|row| row["id"].as_i64().unwrap())
            .collect()
    };
    crate::support::until("pictures are deleted", || kept().len() < 6);
    let left = kept();
    assert!(
        left.contains(&1) && !left.contains(&3) && !left.contains(&5),
        "{left:?}"
    );
    assert!(
        left.iter().all(|id| *id == 1 || id % 2 == 0),
        "good ones went first: {left:?}"
    );
    assert_eq!(second.caller.get("/v1/lines/lid/inspections/3/image").status(), 404);
    assert_eq!(second.caller.json("/v1/lines/lid/inspections/3")["kept"], false);
}

#[test]
fn a_picture_whose_file_is_gone_is_not_kept_any_more() {
    let served = served(|_| {});
    served.caller.inspect(&png(&bad(1)));
    std::fs::remove_dir_all(served.folder.path().join("store/pictures/lid")).unwrap();
    for file in ["image", "image?for=page", "thumbnail", "heat-map", "overlay", "map.npy"] {
        let gone = served.caller.get(&format!("/v1/lines/lid/inspections/1/{file}"));
        assert_eq!(gone.status(), 404, "{file}");
        let words = answer(gone)["error"].to_string();
        assert!(words.contains("inspection 1 is not kept any more"), "{file}: {words}");
    }
}
