//! Finding images and masks by their names.

use std::fs;
use std::path::{Path, PathBuf};

use riad_data::{Category, DataError, Layout, image_files};
use tempfile::TempDir;

/// A folder with empty files in it: which files are images is told by their names.
fn tree(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    folder
}

const MVTEC: [&str; 8] = [
    "train/good/000.png",
    "train/good/001.png",
    "test/good/000.png",
    "test/cut/10.png",
    "test/cut/9.png",
    "test/bent/000.png",
    "ground_truth/cut/9_mask.png",
    "ground_truth/bent/000_mask.png",
];

fn with(more: &[&'static str]) -> TempDir {
    tree(&[&MVTEC, more].concat())
}

fn names(root: &Path, paths: &[PathBuf]) -> Vec<String> {
    paths
        .iter()
        .map(|path| path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/"))
        .collect()
}

/// The layout error's text, which must name `file`.
fn layout_error<T: std::fmt::Debug>(result: Result<T, DataError>, file: &Path) -> String {
    match result {
        Err(DataError::Layout { path, reason }) => {
            assert_eq!(path, file, "{reason}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn mvtec_layout() {
    let folder = with(&[
        "ground_truth/cut/10_mask.png",
        "test/cut/Thumbs.db",
        "test/cut/.hidden.png",
        "readme.txt",
    ]);
    let category = Category::open(folder.path(), None).unwrap();
    assert_eq!(category.name, folder.path().file_name().unwrap().to_str().unwrap());
    assert_eq!(
        names(folder.path(), &category.train),
        ["train/good/000.png", "train/good/001.png"]
    );
    let test: Vec<_> = category
        .test
        .iter()
        .map(|item| {
            let mask = names(folder.path(), &item.masks).pop();
            (
                names(folder.path(), std::slice::from_ref(&item.path)).remove(0),
                item.defect.clone(),
                mask,
            )
        })
        .collect();
    let item = |path: &str, defect: Option<&str>, mask: Option<&str>| {
        (path.to_owned(), defect.map(str::to_owned), mask.map(str::to_owned))
    };
    assert_eq!(
        test,
        [
            item("test/good/000.png", None, None),
            item(
                "test/bent/000.png",
                Some("bent"),
                Some("ground_truth/bent/000_mask.png")
            ),
            item("test/cut/9.png", Some("cut"), Some("ground_truth/cut/9_mask.png")),
            item("test/cut/10.png", Some("cut"), Some("ground_truth/cut/10_mask.png")),
        ]
    );
    assert!(!category.test[0].is_defective() && category.test[1].is_defective());
}

#[test]
fn masks_pair_by_name_whatever_the_ending() {
    let folder = tree(&[
        "train/good/a.png",
        "test/cut/1.jpg",
        "test/cut/2.JPG",
        "test/cut/3_mask.bmp",
        "ground_truth/cut/1.png",
        "ground_truth/cut/2_mask.tif",
        "ground_truth/cut/3_mask_mask.png",
    ]);
    let category = Category::open(folder.path(), None).unwrap();
    let masks: Vec<_> = category.test.iter().map(|item| item.masks[0].clone()).collect();
    let expected = [
        "ground_truth/cut/1.png",
        "ground_truth/cut/2_mask.tif",
        "ground_truth/cut/3_mask_mask.png",
    ];
    assert_eq!(names(folder.path(), &masks), expected);
}

/// The text of the only fault, which must be at `file`.
#[track_caller]
fn fault(faults: &[DataError], file: &Path) -> String {
    match faults {
        [DataError::Layout { path, reason }] => {
            assert_eq!(path, file, "{reason}");
            reason.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_defect_without_its_mask_counts_as_an_image() {
    let folder = with(&[]);
    let category = Category::open(folder.path(), None).unwrap();
    let masks: Vec<_> = category.test.iter().map(|item| item.masks.len()).collect();
    assert_eq!(masks, [0, 1, 1, 0]);
    assert!(category.train_faults.is_empty() && category.test_faults.is_empty());
    // And without any folder of masks.
    let folder = tree(&["train/good/0.png", "test/cut/0.png"]);
    let category = Category::open(folder.path(), None).unwrap();
    assert!(category.test[0].is_defective() && category.test[0].masks.is_empty());
    assert!(category.test_faults.is_empty());
}

#[test]
fn good_images_may_have_masks() {
    let folder = with(&["ground_truth/good/000_mask.png"]);
    let category = Category::open(folder.path(), None).unwrap();
    assert_eq!(
        names(folder.path(), &category.test[0].masks),
        ["ground_truth/good/000_mask.png"]
    );
    assert!(!category.test[0].is_defective() && category.test_faults.is_empty());
}

#[test]
fn a_mask_without_its_image() {
    for mask in [
        "ground_truth/cut/11_mask.png",
        "ground_truth/dent/000_mask.png",
        "ground_truth/good/001_mask.png",
    ] {
        let folder = with(&["ground_truth/cut/10_mask.png", mask]);
        let category = Category::open(folder.path(), None).unwrap();
        let reason = fault(&category.test_faults, &folder.path().join(mask));
        assert!(reason.contains("belongs to no image"), "{reason}");
        // It keeps nothing else from being used.
        assert!(category.train_faults.is_empty());
        assert_eq!(category.test.len(), 4);
        assert!(category.test[1..].iter().all(|item| item.masks.len() == 1));
    }
}

#[test]
fn names_that_are_not_unique() {
    let folder = with(&["ground_truth/cut/10_mask.png", "ground_truth/cut/10.png"]);
    let category = Category::open(folder.path(), None).unwrap();
    fault(
        &category.test_faults,
        &folder.path().join("ground_truth/cut/10_mask.png"),
    );
    let folder = with(&["ground_truth/cut/10_mask.png", "test/cut/10.bmp"]);
    let category = Category::open(folder.path(), None).unwrap();
    fault(&category.test_faults, &folder.path().join("test/cut/10.png"));
    // The mask could be of either, so it is of neither.
    let of_cut = category
        .test
        .iter()
        .filter(|item| item.defect.as_deref() == Some("cut"));
    assert_eq!(of_cut.map(|item| item.masks.len()).collect::<Vec<_>>(), [1, 0, 0]);
}

#[test]
fn empty_folders() {
    let no_training = tree(&["train/good/notes.txt", "test/good/000.png"]);
    let category = Category::open(no_training.path(), None).unwrap();
    fault(&category.train_faults, &no_training.path().join("train/good"));
    assert_eq!((category.test.len(), category.test_faults.len()), (1, 0));
    let no_good = tree(&["train/fine/000.png"]);
    let reason = layout_error(Category::open(no_good.path(), None), no_good.path());
    assert!(
        reason.contains("train/good (mvtec)") && reason.contains("Found: the folders train; 0 images"),
        "{reason}"
    );
    let category = Category::open_as(no_good.path(), Layout::Mvtec, None).unwrap();
    let reason = fault(&category.train_faults, &no_good.path().join("train/good"));
    assert!(reason.contains("good images are in train/good"), "{reason}");
    let no_defects = with(&["ground_truth/cut/10_mask.png", "test/dent/notes.txt"]);
    let category = Category::open(no_defects.path(), None).unwrap();
    fault(&category.test_faults, &no_defects.path().join("test/dent"));
    assert_eq!((category.test.len(), category.train.len()), (4, 2));
    let nothing = tempfile::tempdir().unwrap();
    let reason = layout_error(Category::open(nothing.path(), None), nothing.path());
    assert!(reason.contains("train/good"), "{reason}");
    layout_error(Layout::of(nothing.path()), nothing.path());
    layout_error(Layout::Mvtec.categories(nothing.path()), nothing.path());
    fault(&image_files(nothing.path(), None).faults, nothing.path());
    let absent = nothing.path().join("absent");
    assert!(matches!(Category::open(&absent, None), Err(DataError::Io { path, .. }) if path == absent));
}

/// What macOS, Windows, Synology, QNAP and Linux leave in folders, with pictures in it where they do so.
#[test]
fn what_operating_systems_add_is_no_part_of_anything() {
    let added = [
        "__MACOSX/train/good/0.png",
        "@eaDir/000.png/SYNOPHOTO_THUMB_M.jpg",
        "#recycle/a.png",
        "@Recycle/a.png",
        "$RECYCLE.BIN/S-1-5-18/$R0.png",
        "System Volume Information/a.png",
        "lost+found/a.png",
        ".Trash-1000/files/a.png",
        ".ipynb_checkpoints/a-checkpoint.png",
        "._000.png",
        ".DS_Store",
        "Thumbs.db",
    ];
    for place in ["", "train/good", "test", "test/cut", "ground_truth", "ground_truth/cut"] {
        let more: Vec<String> = added.iter().map(|file| format!("{place}/{file}")).collect();
        let more = more.iter().map(|file| file.trim_start_matches('/'));
        let files: Vec<&str> = MVTEC
            .into_iter()
            .chain(["ground_truth/cut/10_mask.png"])
            .chain(more)
            .collect();
        let folder = tree(&files);
        let category = Category::open(folder.path(), None).unwrap();
        assert_eq!((category.train.len(), category.test.len()), (2, 4), "{place}");
        assert!(
            category.train_faults.is_empty() && category.test_faults.is_empty(),
            "{place}"
        );
        let found = image_files(folder.path(), None);
        assert_eq!((found.images.len(), found.faults.len()), (9, 0), "{place}");
        assert_eq!(find_categories(folder.path()), [folder.path()]);
    }
    let root = tree(&[
        "tile/train/good/0.png",
        "__MACOSX/tile/train/good/0.png",
        "@eaDir/train/good/0.png",
    ]);
    assert_eq!(names(root.path(), &find_categories(root.path())), ["tile"]);
}

#[test]
fn training_images_alone_are_a_category() {
    let folder = tree(&["train/good/000.png"]);
    assert_eq!(Category::open(folder.path(), None).unwrap().test, []);
    let plain = tree(&["b.png", "a.webp", "notes.txt", "sub/c.png"]);
    let category = Category::open(plain.path(), None).unwrap();
    assert_eq!(names(plain.path(), &category.train), ["a.webp", "b.png"]);
    assert_eq!(category.test, []);
}

#[test]
fn plain_folders() {
    let folder = tree(&[
        "ok/1.png",
        "ok_test/2.png",
        "bad/3.png",
        "bad/4.png",
        "masks/3.png",
        "masks/4_mask.png",
    ]);
    let at = |name: &str| folder.path().join(name);
    let open = |masks: Option<&Path>| {
        Category::from_folders(&at("ok"), Some(&at("ok_test")), Some(&at("bad")), masks, None)
            .unwrap()
            .test
    };
    let test = open(Some(&at("masks")));
    assert_eq!(test[0].path, at("ok_test/2.png"));
    assert_eq!(test[1].defect.as_deref(), Some("bad"));
    assert_eq!(test[2].masks, [at("masks/4_mask.png")]);
    assert!(open(None).iter().all(|item| item.masks.is_empty()));
    let masks_alone = Category::from_folders(&at("ok"), None, None, Some(&at("masks")), None);
    assert!(matches!(masks_alone, Err(DataError::Parameter(_))));
}

#[test]
fn a_folder_that_says_only_that_it_is_good_has_the_name_of_the_one_around_it() {
    let folder = tree(&["lid/good/1.png", "cap/train/Good/1.png", "rim/1.png", "good_ones/1.png"]);
    for (photos, name) in [
        ("lid/good", "lid"),
        ("cap/train/Good", "cap"),
        ("rim", "rim"),
        ("good_ones", "good_ones"),
    ] {
        assert_eq!(Category::open(&folder.path().join(photos), None).unwrap().name, name);
    }
}

fn find_categories(root: &Path) -> Vec<PathBuf> {
    Layout::of(root).unwrap().categories(root).unwrap()
}

#[test]
fn categories_under_a_root() {
    let root = tree(&[
        "tile/train/good/0.png",
        "bottle/train/good/0.png",
        "docs/a.png",
        "licence.txt",
    ]);
    assert_eq!(names(root.path(), &find_categories(root.path())), ["bottle", "tile"]);
    let category = root.path().join("tile");
    assert_eq!(find_categories(&category), [category]);
    let plain = tree(&["a.png"]);
    assert_eq!(find_categories(plain.path()), [plain.path()]);
    // A category that lacks something is not passed over: it is the one to open that tells what.
    let root = tree(&["tile/train/good/0.png", "wood/train/0.png"]);
    assert_eq!(names(root.path(), &find_categories(root.path())), ["tile", "wood"]);
}

#[test]
fn images_to_score() {
    let folder = tree(&[
        "10.png",
        "9.PNG",
        "b/c/1.tiff",
        "b/2.jpeg",
        ".trash/3.png",
        "b/Thumbs.db",
        "b/4.txt",
    ]);
    let found = image_files(folder.path(), None);
    assert!(found.faults.is_empty());
    assert_eq!(
        names(folder.path(), &found.images),
        ["9.PNG", "10.png", "b/2.jpeg", "b/c/1.tiff"]
    );
    let file = folder.path().join("b/4.txt");
    assert_eq!(image_files(&file, None).images, [file]);
    let hidden = folder.path().join(".trash");
    assert_eq!(image_files(&hidden, None).images, [hidden.join("3.png")]);
    let absent = folder.path().join("absent");
    let faults = image_files(&absent, None).faults;
    assert!(matches!(faults.as_slice(), [DataError::Io { path, .. }] if *path == absent));
}

#[test]
fn pictures_of_kinds_that_are_not_read_are_named_once_for_each() {
    let folder = tree(&[
        "1.png",
        "2.pbm",
        "3.dib",
        "4.PAM",
        "5.mpo",
        "b/10.HEIC",
        "b/9.heic",
        "c.avif",
        // A camera's samples beside its JPEG.
        "d/1.jpg",
        "d/1.CR2",
        ".trash/3.heic",
        "notes.txt",
    ]);
    let found = image_files(folder.path(), None);
    assert_eq!(
        names(folder.path(), &found.images),
        ["1.png", "2.pbm", "3.dib", "4.PAM", "5.mpo", "d/1.jpg"]
    );
    let told: Vec<_> = found.faults.iter().map(ToString::to_string).collect();
    let [avif, heic] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert!(
        avif.contains("c.avif is not read: it ends in .avif; save such pictures as PNG"),
        "{avif}"
    );
    assert!(
        heic.contains("2 files that end in .heic are not read, such as b/9.heic;"),
        "{heic}"
    );
    assert_eq!(riad_data::walk_images(folder.path()).filter(Result::is_err).count(), 2);

    // Without a picture that can be read, this is the reason.
    let alone = tree(&["1.heic"]);
    let reason = fault(&image_files(alone.path(), None).faults, alone.path());
    assert!(reason.contains("1.heic is not read"), "{reason}");
    let category = Category::open_as(alone.path(), Layout::Folder, None).unwrap();
    assert!(fault(&category.train_faults, alone.path()).contains("1.heic is not read"));
    let reason = layout_error(Category::open(alone.path(), None), alone.path());
    assert!(reason.contains("1.heic is not read"), "{reason}");

    let folder = with(&[
        "test/cut/11.png",
        "ground_truth/cut/10_mask.pbm",
        "ground_truth/cut/11_mask.psd",
    ]);
    let category = Category::open(folder.path(), None).unwrap();
    let with_masks = category.test.iter().filter(|item| !item.masks.is_empty());
    assert_eq!(with_masks.count(), 3);
    let reason = fault(&category.test_faults, &folder.path().join("ground_truth/cut"));
    assert!(reason.contains("11_mask.psd is not read"), "{reason}");
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn names_need_not_be_unicode() {
        let folder = tree(&["train/good/0.png"]);
        for (sub, name) in [("test", &b"\xFF1.png"[..]), ("ground_truth", &b"\xFF1_mask.png"[..])] {
            let sub = folder.path().join(sub).join(OsStr::from_bytes(b"c\xFEt"));
            fs::create_dir_all(&sub).unwrap();
            fs::write(sub.join(OsStr::from_bytes(name)), b"").unwrap();
        }
        let test = Category::open(folder.path(), None).unwrap().test;
        assert_eq!(test.len(), 1);
        assert!(test[0].masks[0].as_os_str().as_bytes().ends_with(b"\xFF1_mask.png"));
        assert_eq!(image_files(folder.path(), None).images.len(), 3);
    }

    #[test]
    fn links_that_lead_nowhere_or_round_in_circles_keep_nothing_else_from_being_found() {
        let folder = tree(&["a.png"]);
        let link = folder.path().join("b.png");
        symlink("nowhere", &link).unwrap();
        let found = image_files(folder.path(), None);
        assert_eq!(names(folder.path(), &found.images), ["a.png"]);
        let reason = fault(&found.faults, &link);
        assert!(reason.contains("leads to nowhere, which does not exist"), "{reason}");
        let category = Category::open(folder.path(), None).unwrap();
        assert_eq!(category.train.len(), 1);
        fault(&category.train_faults, &link);
        // What editors leave is hidden, and no image.
        symlink("me@here.1", folder.path().join(".#a.png")).unwrap();
        assert_eq!(image_files(folder.path(), None).faults.len(), 1);

        let folder = tree(&["a.png", "sub/b.png", "z.png"]);
        symlink("..", folder.path().join("sub/loop")).unwrap();
        let found = image_files(folder.path(), None);
        assert_eq!(names(folder.path(), &found.images), ["a.png", "sub/b.png", "z.png"]);
        let reason = fault(&found.faults, &folder.path().join("sub/loop"));
        assert!(reason.contains("leads back to"), "{reason}");
        // A link to itself leads nowhere that could be named.
        let itself = folder.path().join("self.png");
        symlink("self.png", &itself).unwrap();
        let found = image_files(folder.path(), None);
        assert_eq!((found.images.len(), found.faults.len()), (3, 2));
        assert!(found.faults.iter().any(|fault| fault.path() == Some(&itself)));
        let reason = fault(&image_files(&itself, None).faults, &itself);
        assert!(reason.contains("leads back to itself"), "{reason}");
        let told: Vec<_> = found.faults.iter().map(ToString::to_string).collect();
        assert!(
            told.iter().any(|text| text.contains("leads back to itself")),
            "{told:?}"
        );
    }

    #[test]
    fn a_category_that_cannot_be_opened_is_one_of_them() {
        let root = tree(&["a/train/good/0.png", "c/train/good/0.png"]);
        symlink("nowhere", root.path().join("b")).unwrap();
        let categories = find_categories(root.path());
        assert_eq!(names(root.path(), &categories), ["a", "b", "c"]);
        let reason = layout_error(Category::open_as(&categories[1], Layout::Mvtec, None), &categories[1]);
        assert!(reason.contains("leads to nowhere"), "{reason}");
    }

    #[test]
    fn faults_of_one_part_are_not_those_of_the_other() {
        let folder = with(&["ground_truth/cut/10_mask.png"]);
        for link in ["test/cut/11.png", "test/dent", "ground_truth/cut/12.png"] {
            symlink("nowhere", folder.path().join(link)).unwrap();
        }
        let category = Category::open(folder.path(), None).unwrap();
        assert_eq!((category.train.len(), category.train_faults.len()), (2, 0));
        assert_eq!((category.test.len(), category.test_faults.len()), (4, 3));
        let folder = with(&["ground_truth/cut/10_mask.png"]);
        symlink("nowhere", folder.path().join("train/good/002.png")).unwrap();
        let category = Category::open(folder.path(), None).unwrap();
        assert_eq!((category.train.len(), category.train_faults.len()), (2, 1));
        assert_eq!((category.test.len(), category.test_faults.len()), (4, 0));
    }

    #[test]
    fn links_are_followed() {
        let folder = tree(&["elsewhere/a.png", "set/b.png"]);
        symlink("../elsewhere", folder.path().join("set/more")).unwrap();
        assert_eq!(image_files(&folder.path().join("set"), None).images.len(), 2);
    }
}

#[test]
fn bottle_is_read_whole() {
    let Some(root) = riad_testing::data("mvtec_bottle_256") else {
        return;
    };
    assert_eq!(find_categories(&root), [root.join("bottle")]);
    let bottle = Category::open(&root.join("bottle"), None).unwrap();
    let defective = bottle.test.iter().filter(|item| item.is_defective());
    assert_eq!(
        (bottle.train.len(), bottle.test.len(), defective.clone().count()),
        (209, 83, 63)
    );
    assert!(defective.into_iter().all(|item| item.masks.len() == 1));
    assert_eq!(bottle.name, "bottle");
}
