//! Any bytes as the settings of a run: opened or refused by the file's name, within the memory that there is, and without a panic; a
//! run agrees with options that ask for nothing.
//!
//! An input that begins with a brace is the file; others are changes of one that is whole. `@` stands for the folder that all lies in.

#![no_main]

use std::fs;
use std::path::{Component, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use riad::{Device, Method, Run, Size, TrainingOptions};
use riad_data::{Category, Layout};
use riad_fuzz::{changed, folder, seed};
use serde_json::Value;

struct Whole {
    /// Where all lies.
    folder: String,
    run: PathBuf,
    settings: Value,
}

static WHOLE: LazyLock<Whole> = LazyLock::new(|| {
    let place = folder("settings");
    let (images, run) = (place.join("images"), place.join("run"));
    fs::create_dir_all(&images).expect("a folder for images");
    for image in 0..4u8 {
        let header = b"P5 16 16 255\n";
        let pixels: Vec<u8> = (0..=255u8).map(|pixel| pixel.wrapping_mul(image + 1)).collect();
        fs::write(images.join(format!("{image}.pgm")), [&header[..], &pixels].concat()).expect("an image");
    }
    let category = Category::open_as(&images, Layout::Folder, None).expect("images");
    let options = TrainingOptions {
        method: Some(Method::RIAD),
        size: Some(Size::new(16, 16)),
        regions: Some(vec![2, 4]),
        calibration: Some(0.25),
        channels: Some(1),
        ..TrainingOptions::default()
    };
    Run::create(&run, &category, &options, &Device::CPU, &()).expect("a run");
    let text = fs::read_to_string(run.join("settings.json")).expect("its settings");
    let folder = place.to_str().expect("a name that is text").to_owned();
    let settings = serde_json::from_str(&text.replace(&folder, "@")).expect("its settings");
    Whole { folder, run, settings }
});

fuzz_target!(
    init: {
        let whole = WHOLE.settings.to_string();
        let bands = whole.replacen('{', r#"{"bands":"*_{0,1}.pgm","#, 1).replace("\"channels\":1", "\"channels\":2");
        seed(&[whole.into_bytes(), bands.into_bytes(), vec![0]]);
    },
    |bytes: &[u8]| {
        let Some((first, rest)) = bytes.split_first() else { return };
        let text = match first {
            b'{' => String::from_utf8_lossy(bytes).into_owned(),
            _ => changed(&WHOLE.settings, rest).to_string(),
        };
        let text = text.replace('@', &WHOLE.folder);
        fs::write(WHOLE.run.join("settings.json"), text).expect("a file that can be written");
        match Run::open(&WHOLE.run) {
            Ok(run) => {
                run.agree(&TrainingOptions::default(), None).expect("who asks for nothing gets no refusal");
                let data = run.data();
                let is_ours = data.starts_with(&WHOLE.folder) && !data.components().any(|part| part == Component::ParentDir);
                // Other folders of the machine may be large.
                if is_ours && let Ok(category) = run.category() {
                    _ = run.held_out(&category);
                }
                _ = run.seen();
            }
            Err(error) => assert!(error.to_string().contains("settings.json"), "{error}"),
        }
    }
);
