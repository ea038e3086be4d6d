//! How the pictures of a line that is being made are looked at: where, in tiles, and what is white.

use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage};
use riad::Detector;
use serde_json::{Value, json};

use crate::{
    making::{NEEDED, add, begin, empty, fill, making, plan, train, train_by},
    support::{Caller, bad, good, json as answer, png, served_in},
};

/// A mask that is white from a column on.
fn mask(width: u32, height: u32, from: u32) -> Vec<u8> {
    encoded(&GrayImage::from_fn(width, height, |x, _| Luma([255 * u8::from(x >= from)])).into())
}

fn encoded(picture: &image::DynamicImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Of a camera of 12 bits that writes files of 16.
fn dark(number: u32) -> Vec<u8> {
    let eight = good(number);
    let twelve = ImageBuffer::<Luma<u16>, _>::from_fn(32, 32, |x, y| Luma([u16::from(eight.get_pixel(x, y)[0]) * 16]));
    encoded(&twelve.into())
}

/// More than two tiles of 32 pixels wide.
fn large(number: u32) -> Vec<u8> {
    let small = good(number);
    png(&RgbImage::from_fn(66, 32, |x, y| *small.get_pixel(x % 32, y % 32)))
}

fn set_region(caller: &Caller, mask: &[u8]) -> (u16, Value) {
    caller.put("/v1/lines/cap/region", "image/png", mask)
}

fn set_white(caller: &Caller, level: &Value) -> (u16, Value) {
    let body = json!({ "white_level": level }).to_string();
    caller.put("/v1/lines/cap/white-level", "application/json", body.as_bytes())
}

fn words((status, problem): (u16, Value), wanted: u16) -> String {
    assert_eq!(status, wanted, "{problem}");
    problem["error"].as_str().unwrap().to_owned()
}

#[test]
fn defects_are_looked_for_where_a_mask_says() {
    let first = empty(|_| {});
    let caller = &first.caller;
    begin(caller, "cap");
    let early = words(set_region(caller, &mask(32, 32, 16)), 409);
    assert!(early.contains("no pictures yet"), "{early}");
    fill(caller, "cap", NEEDED);
    assert_eq!(making(caller, "cap")["region"], json!(null));
    assert_eq!(caller.get("/v1/lines/cap/region").status(), 404);
    // A mask at another scale is brought to the size of the pictures.
    let (status, state) = set_region(caller, &mask(64, 64, 32));
    assert_eq!((status, &state["region"]["share"]), (200, &json!(0.5)), "{state}");
    let address = state["region"]["mask"].as_str().unwrap().to_owned();
    let mut kept = caller.get(&address);
    let tag = kept.headers()["etag"].to_str().unwrap().to_owned();
    let drawn = image::load_from_memory(&kept.body_mut().read_to_vec().unwrap()).unwrap();
    assert_eq!(
        drawn.into_luma8().as_raw(),
        image::load_from_memory(&mask(32, 32, 16)).unwrap().as_bytes()
    );
    let again = caller.agent.get(format!("{}{address}", caller.base));
    assert_eq!(again.header("if-none-match", &tag).call().unwrap().status(), 304);

    let photo = RgbImage::from_fn(32, 32, |x, y| Rgb([8 * x as u8, 7 * y as u8, (5 * x + 3 * y) as u8]));
    for (body, status, reason) in [
        (mask(32, 32, 32), 400, "black everywhere"),
        (mask(32, 16, 8), 400, "16x32"),
        (png(&photo), 400, "not a mask"),
        (b"no picture".to_vec(), 400, "the mask cannot be used"),
        (vec![0; (4 << 20) + 1], 413, ""),
    ] {
        let said = words(set_region(caller, &body), status);
        assert!(said.contains(reason) && !said.contains("incoming"), "{said}");
    }
    assert_eq!(
        making(caller, "cap")["region"]["mask"],
        json!(address),
        "it stays as it was"
    );
    let (_, odd) = add(caller, "cap", "odd.png", &png(&RgbImage::new(32, 20)));
    let unfit = words(caller.send("/v1/lines/cap/train", &plan(2)), 409);
    assert!(unfit.contains("odd.png") && unfit.contains("another shape"), "{unfit}");
    assert!(words(set_region(caller, &mask(32, 32, 8)), 409).contains("odd.png"));
    let odd = odd["taken"][0]["id"].clone();
    assert_eq!(caller.delete(&format!("/v1/lines/cap/pictures/{odd}")).status(), 200);

    let second = served_in(first.end(), |options| options.lines.clear());
    let caller = &second.caller;
    assert_eq!(
        making(caller, "cap")["region"]["mask"],
        json!(address),
        "it is there after a restart"
    );
    assert_eq!(train(caller, "cap", 20)["state"], json!("trained"));
    let run = second.folder.path().join("store/lines/cap/run");
    assert_eq!(Detector::open(&run).unwrap().roi().unwrap().share(), 0.5);
    // Another region makes another model.
    let (_, changed) = set_region(caller, &mask(32, 32, 30));
    assert_eq!(
        (&changed["state"], &changed["found"]),
        (&json!("collecting"), &json!(null))
    );
    assert_eq!(train(caller, "cap", 20)["state"], json!("trained"));
    assert_eq!(caller.send("/v1/lines/cap/use", &json!({})).0, 200);
    // Its defect is from column 8 to 21, where nobody looks.
    let judged = answer(caller.post("/v1/lines/cap/inspect", &[], &png(&bad(3))));
    let regions = judged["regions"].as_array().unwrap();
    assert!(
        regions.iter().all(|region| region["x"].as_u64() >= Some(30)),
        "{judged}"
    );
    assert_eq!(
        words(set_region(caller, &mask(32, 32, 16)), 409),
        words(caller.put("/v1/lines/cap/white-level", "application/json", b"{}"), 409)
    );
}

#[test]
fn a_region_is_taken_away_again() {
    let served = empty(|_| {});
    let caller = &served.caller;
    begin(caller, "cap");
    fill(caller, "cap", NEEDED);
    assert_eq!(set_region(caller, &mask(32, 32, 16)).0, 200);
    assert_eq!(train(caller, "cap", 2)["state"], json!("trained"));
    let removed = answer(caller.delete("/v1/lines/cap/region"));
    assert_eq!(
        (&removed["region"], &removed["state"]),
        (&json!(null), &json!("collecting"))
    );
    assert_eq!(train(caller, "cap", 2)["state"], json!("trained"));
    let run = served.folder.path().join("store/lines/cap/run");
    assert!(Detector::open(&run).unwrap().roi().is_none());
}

#[test]
fn dark_pictures_are_told_and_read_with_the_white_of_their_camera() {
    let first = empty(|_| {});
    let caller = &first.caller;
    begin(caller, "cap");
    for number in 0..NEEDED as u32 {
        add(caller, "cap", &format!("{number}.png"), &dark(number));
    }
    let state = making(caller, "cap");
    assert_eq!(state["white_level"], json!(null));
    let brightest = (0..NEEDED as u32)
        .flat_map(|number| good(number).pixels().map(|pixel| pixel[0]).collect::<Vec<_>>())
        .max();
    let likely = json!({"level": 4095, "brightest": u16::from(brightest.unwrap()) * 16, "full": 65535});
    assert_eq!(state["likely_white"], likely);
    let page = caller.json("/v1/lines/cap/pictures?limit=1");
    let thumbnail = page["pictures"][0]["thumbnail"].as_str().unwrap();
    let seen = || {
        let mut response = caller.get(thumbnail);
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        let drawn = image::load_from_memory(&response.body_mut().read_to_vec().unwrap()).unwrap();
        (tag, drawn.to_luma8().as_raw().iter().copied().max().unwrap())
    };
    let (before, dim) = seen();
    assert!(dim < 20, "{dim}");

    assert!(words(set_white(caller, &json!(1023)), 409).starts_with("0.png: "));
    assert_eq!(set_white(caller, &json!(0)).0, 400);
    assert_eq!(set_white(caller, &json!(70_000)).0, 400);
    let (status, set) = set_white(caller, &json!(4095));
    assert_eq!(
        (status, &set["white_level"], &set["likely_white"]),
        (200, &json!(4095), &json!(null))
    );
    let (after, bright) = seen();
    assert!(bright > 150 && before != after, "{bright}");
    // Of another camera.
    let (_, other) = add(caller, "cap", "other.png", &png(&good(500)));
    let reason = other["left_out"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("4095") && !reason.contains("incoming"), "{reason}");

    let second = served_in(first.end(), |options| options.lines.clear());
    let caller = &second.caller;
    assert_eq!(making(caller, "cap")["white_level"], json!(4095));
    assert_eq!(train(caller, "cap", 2)["state"], json!("trained"));
    let run = second.folder.path().join("store/lines/cap/run");
    assert_eq!(Detector::open(&run).unwrap().header().scoring.white_level, Some(4095));
    let (_, back) = set_white(caller, &json!(null));
    assert_eq!(
        (&back["white_level"], &back["likely_white"], &back["state"]),
        (&json!(null), &likely, &json!("collecting"))
    );
    // A brighter one of the same files says that they are not dark.
    let bright = ImageBuffer::<Luma<u16>, _>::from_pixel(32, 32, Luma([60_000]));
    let (_, added) = add(caller, "cap", "bright.png", &encoded(&bright.into()));
    assert_eq!(added["making"]["likely_white"], json!(null));
    let id = added["taken"][0]["id"].clone();
    let without = answer(caller.delete(&format!("/v1/lines/cap/pictures/{id}")));
    assert_eq!(without["likely_white"], likely);
}

#[test]
fn pictures_of_8_bits_have_their_own_white() {
    let served = empty(|_| {});
    begin(&served.caller, "cap");
    fill(&served.caller, "cap", 2);
    assert_eq!(making(&served.caller, "cap")["likely_white"], json!(null));
    let said = words(set_white(&served.caller, &json!(4095)), 409);
    assert!(said.starts_with("0.png: ") && said.contains("255"), "{said}");
}

#[test]
fn large_pictures_may_be_cut_into_tiles() {
    let served = empty(|_| {});
    let caller = &served.caller;
    begin(caller, "cap");
    for number in 0..NEEDED as u32 {
        add(caller, "cap", &format!("{number}.png"), &large(number));
    }
    let plans = caller.json("/v1/lines/cap/plans?size=32");
    let offers = plans["plans"].as_array().unwrap();
    let tiled: Vec<_> = offers.iter().filter(|offer| offer["tile"] == true).collect();
    assert_eq!((offers.len(), tiled.len()), (6, 3), "{plans}");
    for offer in tiled {
        assert_eq!(
            (&offer["method"], &offer["ends_early"], &offer["advised"]),
            (&json!("riad"), &json!(true), &json!(false))
        );
    }
    let in_tiles = json!({"preset": "tiny", "size": 32, "tile": true, "method": "autoencoder", "epochs": 1});
    // A region must have their size then, and it has.
    assert_eq!(set_region(caller, &mask(66, 32, 33)).0, 200);
    let trained = train_by(caller, "cap", &in_tiles);
    assert_eq!(
        (&trained["state"], &trained["plan"]),
        (&json!("trained"), &in_tiles),
        "{trained}"
    );
    let detector = Detector::open(served.folder.path().join("store/lines/cap/run")).unwrap();
    let scoring = &detector.header().scoring;
    assert!(scoring.tiling.is_some() && scoring.size() == riad::Size::new(32, 32));
    assert_eq!(detector.roi().unwrap().size(), riad::Size::new(32, 66));

    // One that is not much larger keeps all from being offered, and one that is smaller from being cut.
    let (_, small) = add(caller, "cap", "small.png", &png(&RgbImage::new(30, 20)));
    assert_eq!(answer(caller.delete("/v1/lines/cap/region"))["region"], json!(null));
    let offers = caller.json("/v1/lines/cap/plans?size=32");
    assert_eq!(offers["plans"].as_array().unwrap().len(), 3);
    let said = words(caller.send("/v1/lines/cap/train", &in_tiles), 409);
    assert!(
        said.contains("small.png") && said.contains("smaller than a tile"),
        "{said}"
    );
    let id = small["taken"][0]["id"].clone();
    assert_eq!(caller.delete(&format!("/v1/lines/cap/pictures/{id}")).status(), 200);
}
