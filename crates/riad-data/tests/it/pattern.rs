//! Files that make one image together, found by their names.

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma};
use proptest::prelude::*;
use riad_data::{Category, DataError, Layout, Pattern, image_files, walk_images};
use tempfile::TempDir;

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

/// A folder with these files, all empty.
fn tree(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    folder
}

fn names(root: &Path, paths: &[PathBuf]) -> Vec<String> {
    let below = |path: &PathBuf| path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
    paths.iter().map(below).collect()
}

#[test]
fn a_pattern_names_files_in_the_order_of_its_list() {
    for (text, file, name, files) in [
        (
            "*_light{0,1,2}.png",
            "a_light1.png",
            "a",
            ["a_light0.png", "a_light1.png", "a_light2.png"],
        ),
        (
            "*_light{0..2}.png",
            "a_light1.png",
            "a",
            ["a_light0.png", "a_light1.png", "a_light2.png"],
        ),
        (
            "{9..11}-*.tif",
            "11-x-y.tif",
            "x-y",
            ["9-x-y.tif", "10-x-y.tif", "11-x-y.tif"],
        ),
        (
            "b{008..010}_*",
            "b009_ä.png",
            "ä.png",
            ["b008_ä.png", "b009_ä.png", "b010_ä.png"],
        ),
        (
            "*.{top,left,right}.npy",
            "1.left.npy",
            "1",
            ["1.top.npy", "1.left.npy", "1.right.npy"],
        ),
    ] {
        let pattern = pattern(text);
        let at = |name: &str| Path::new("some/where").join(name);
        assert_eq!(pattern.name(&at(file)), Some(name), "{text}");
        assert_eq!(pattern.files(&at(file)).unwrap(), files.map(at), "{text}");
        assert_eq!(pattern.files_of_an_image(), 3);
        assert_eq!(pattern.to_string(), text);
        let json = serde_json::to_string(&pattern).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Pattern>(&json).unwrap(), pattern);
    }
    let lights = pattern("*_light{0..2}.png");
    for other in [
        "a_light3.png",
        "a_light00.png",
        "_light0.png",
        "a_light0.PNG",
        "a.png",
        "a_light0.png.png",
    ] {
        assert_eq!(lights.name(Path::new(other)), None, "{other}");
        assert!(
            matches!(lights.files(Path::new(other)), Err(DataError::Layout { path, .. }) if path == Path::new(other))
        );
    }
}

#[test]
fn patterns_that_mean_nothing_or_two_things_are_refused() {
    for (text, words) in [
        ("", "braces"),
        ("*.png", "braces"),
        ("*{0,1", "braces"),
        ("*}0,1{", "braces"),
        ("*{0,1}{2,3}.png", "braces"),
        ("a{0,1}.png", "one *"),
        ("*a*{0,1}.png", "one *"),
        ("a{*,1}.png", "one *"),
        ("*_{0}.png", "two words or more"),
        ("*_{0,0}.png", "all different"),
        ("*_{0,,1}.png", "two words or more"),
        ("*_{1..1}.png", "two words or more"),
        ("*_{3..0}.png", "a range of numbers"),
        ("*_{-1..2}.png", "a range of numbers"),
        ("*_{0..99999999999999999999}.png", "a range of numbers"),
        ("*_{0..99999999}.png", "a range of numbers"),
        ("light{0,1}/*.png", "names a folder"),
        ("light{0,1}\\*.png", "names a folder"),
        ("*{1..11}.png", "separates them"),
        ("{a,ab}*.png", "separates them"),
    ] {
        let error = text.parse::<Pattern>().unwrap_err();
        assert!(matches!(error, DataError::Parameter(_)));
        let message = error.to_string();
        assert!(message.contains(words) && message.contains(text), "{text}: {message}");
        assert!(serde_json::from_value::<Pattern>(text.into()).is_err());
    }
    // Their files' names would take more memory than the text by far, or could not be written at all.
    let zeros = "0".repeat(70_000);
    let long = "a".repeat(2000);
    for text in [
        format!("*_{{{zeros}0..{zeros}1}}.png"),
        format!("*_{{{zeros}0,{zeros}1}}.png"),
        format!("{long}*_{{0..4095}}.png"),
        format!("*_{{0..4095}}{long}"),
    ] {
        let message = text.parse::<Pattern>().unwrap_err().to_string();
        assert!(message.contains("more than 1024 bytes"), "{message}");
    }
    // With something in between they are told apart.
    assert_eq!(pattern("*_{1..11}.png").name(Path::new("a1_11.png")), Some("a1"));
}

proptest! {
    /// A pattern is refused, or each file that it names has one place in one image: that from which its name was made.
    #[test]
    fn no_file_has_two_places(
        [before, between, behind] in prop::array::uniform3("[01ab_]{0,2}"),
        words in prop::collection::vec("[01ab]{1,2}", 2..5),
        own in "[01ab_.]{1,4}",
        is_own_first: bool,
    ) {
        let file = |own: &str, word: &str| {
            let (first, last) = if is_own_first { (own, word) } else { (word, own) };
            format!("{before}{first}{between}{last}{behind}")
        };
        let text = file("*", &format!("{{{}}}", words.join(",")));
        let Ok(pattern) = text.parse::<Pattern>() else { return Ok(()) };
        for (index, word) in words.iter().enumerate() {
            let file = PathBuf::from(file(&own, word));
            prop_assert_eq!(pattern.name(&file), Some(own.as_str()), "{} by {}", file.display(), text);
            prop_assert_eq!(&pattern.files(&file).unwrap()[index], &file);
        }
    }

    #[test]
    fn any_text_is_a_pattern_or_refused(text in "[*{},.01ab_]{0,14}") {
        if let Ok(pattern) = text.parse::<Pattern>() {
            prop_assert_eq!(pattern.to_string(), text);
        }
    }

    /// An image's own name comes back from each of its files.
    #[test]
    fn names_come_back(name in "[a-z0-9_.é]{1,8}", at in 0usize..4) {
        let pattern = pattern("x*_light{0..3}.png");
        let file = format!("x{name}_light{at}.png");
        prop_assert_eq!(pattern.name(Path::new(&file)), Some(name.as_str()));
        prop_assert_eq!(&pattern.files(Path::new(&file)).unwrap()[at], Path::new(&file));
    }
}

const PARTS: [&str; 6] = [
    "p10_a.png",
    "p10_b.png",
    "p2_a.png",
    "p2_b.png",
    "more/p1_a.png",
    "more/p1_b.png",
];

#[test]
fn a_folder_lists_each_image_once() {
    let folder = tree(&PARTS);
    let ab = pattern("*_{a,b}.png");
    let images = image_files(folder.path(), Some(&ab)).images;
    assert_eq!(
        names(folder.path(), &images),
        ["more/p1_a.png", "p2_a.png", "p10_a.png"]
    );
    // A file gives its image, by whichever of its files it is named.
    for file in ["p2_a.png", "p2_b.png"] {
        let image = image_files(&folder.path().join(file), Some(&ab)).images;
        assert_eq!(names(folder.path(), &image), ["p2_a.png"]);
    }
    assert_eq!(walk_images(folder.path()).count(), 6);
    assert_eq!(image_files(folder.path(), None).images.len(), 6);
}

/// The text of the only fault, which must be at `file` and say `words`.
#[track_caller]
fn refused(faults: &[DataError], file: &Path, words: &str) -> String {
    match faults {
        [DataError::Layout { path, reason }] => {
            assert!(path == file && reason.contains(words), "{path:?}: {reason}");
            reason.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_or_extra_file_is_named() {
    let ab = pattern("*_{a,b}.png");
    let folder = tree(&PARTS);
    let at = |file: &str| folder.path().join(file);
    let whole = image_files(folder.path(), Some(&ab)).images;
    for extra in ["p2_c.png", "overview.jpg"] {
        fs::write(at(extra), "").unwrap();
        let found = image_files(folder.path(), Some(&ab));
        refused(&found.faults, &at(extra), "does not fit the pattern *_{a,b}.png");
        assert_eq!(found.images, whole);
        fs::remove_file(at(extra)).unwrap();
    }
    for (missing, there) in [("p2_a.png", "p2_b.png"), ("more/p1_b.png", "p1_a.png")] {
        fs::remove_file(at(missing)).unwrap();
        let found = image_files(folder.path(), Some(&ab));
        let text = refused(&found.faults, &at(missing), "this file is missing");
        assert!(text.contains(there), "{text}");
        assert_eq!(found.images.len(), whole.len() - 1);
        fs::write(at(missing), "").unwrap();
    }
    let none = image_files(&at("more"), Some(&pattern("*_{c,d}.png")));
    assert!(none.images.is_empty());
    assert_eq!(none.faults.len(), 2);
}

#[test]
fn categories_hold_images_of_several_files() {
    let files = [
        "train/good/01_0.png",
        "train/good/01_1.png",
        "train/good/02_0.png",
        "train/good/02_1.png",
        "test/good/03_0.png",
        "test/good/03_1.png",
        "test/cut/04_0.png",
        "test/cut/04_1.png",
        "test/cut/05_0.png",
        "test/cut/05_1.png",
        "ground_truth/cut/04_mask.png",
        "ground_truth/cut/05.png",
    ];
    let set = tree(&files);
    let root = set.path();
    let lights = pattern("*_{0,1}.png");
    let category = Category::open(root, Some(&lights)).unwrap();
    assert_eq!(
        names(root, &category.train),
        ["train/good/01_0.png", "train/good/02_0.png"]
    );
    let test: Vec<_> = category
        .test
        .iter()
        .map(|item| {
            (
                names(root, std::slice::from_ref(&item.path)).remove(0),
                names(root, &item.masks),
            )
        })
        .collect();
    let item = |path: &str, masks: &[&str]| (path.to_owned(), masks.iter().map(|&mask| mask.to_owned()).collect());
    assert_eq!(
        test,
        [
            item("test/good/03_0.png", &[]),
            item("test/cut/04_0.png", &["ground_truth/cut/04_mask.png"]),
            item("test/cut/05_0.png", &["ground_truth/cut/05.png"]),
        ]
    );
    fs::remove_file(root.join("test/cut/05_1.png")).unwrap();
    fs::remove_file(root.join("ground_truth/cut/05.png")).unwrap();
    let faults = Category::open(root, Some(&lights)).unwrap().test_faults;
    refused(&faults, &root.join("test/cut/05_1.png"), "missing");
    fs::write(root.join("test/cut/05_1.png"), "").unwrap();

    let at = |folder: &str| root.join(folder);
    fs::write(root.join("ground_truth/cut/05.png"), "").unwrap();
    let (good, cut, masks) = (at("train/good"), at("test/cut"), at("ground_truth/cut"));
    let category = Category::from_folders(&good, None, Some(&cut), Some(&masks), Some(&lights)).unwrap();
    assert_eq!((category.train.len(), category.test.len()), (2, 2));
    assert!(category.test.iter().all(|item| item.masks.len() == 1));
}

#[test]
fn labels_and_folders_of_masks_are_named_after_the_image() {
    let label = |path: PathBuf, value: u8| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_pixel(4, 2, Luma([value])).save(path).unwrap();
    };
    let lights = pattern("*_{0,1}.png");
    let set = tree(&["train/1_0.png", "train/1_1.png", "test/2_0.png", "test/2_1.png"]);
    label(set.path().join("train/1_GT.png"), 0);
    label(set.path().join("test/2_GT.png"), 1);
    let category = Category::open_as(set.path(), Layout::Kolektor2, Some(&lights)).unwrap();
    assert_eq!(names(set.path(), &category.train), ["train/1_0.png"]);
    assert_eq!(names(set.path(), &category.test[0].masks), ["test/2_GT.png"]);

    let set = tree(&[
        "train/good/1_0.png",
        "train/good/1_1.png",
        "test/logical_anomalies/2_0.png",
        "test/logical_anomalies/2_1.png",
        "ground_truth/logical_anomalies/2/000.png",
    ]);
    let category = Category::open_as(set.path(), Layout::Loco, Some(&lights)).unwrap();
    let masks = names(set.path(), &category.test[0].masks);
    assert_eq!(masks, ["ground_truth/logical_anomalies/2/000.png"]);

    let visa = Category::open_as(set.path(), Layout::Visa, Some(&lights));
    assert!(matches!(visa, Err(DataError::Parameter(reason)) if reason.contains("VisA")));
}
