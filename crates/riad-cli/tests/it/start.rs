//! Training that starts from the weights of another run.

use std::fs;

use crate::support::{demo, riad, run_bytes, stderr};

#[test]
fn a_run_starts_from_another_and_goes_on_without_it() {
    let root = demo();
    let root = root.path();
    let train = |arguments: &[&str], code: i32| stderr(root, &[&["train", "data"], arguments].concat(), code);
    let first = ["--category", "badge", "--size", "32", "--epochs", "1", "--out", "first"];
    train(&[&first[..], &["--method", "restore"]].concat(), 0);
    let further = ["--category", "badge", "--from", "first", "--epochs", "2"];
    train(&[&further[..], &["--out", "second"]].concat(), 0);
    // What is not given is as there, whatever suits the images.
    let info = riad(root).args(["info", "second"]).assert().success();
    let info = String::from_utf8(info.get_output().stdout.clone()).unwrap();
    assert!(
        info.contains("edges of each channel") && info.contains("32x32"),
        "{info}"
    );

    // It is stopped at once, the first run is gone, and it ends in the same bytes.
    train(&[&further[..], &["--out", "third", "--max-time", "1ms"]].concat(), 0);
    fs::rename(root.join("first"), root.join("elsewhere")).unwrap();
    stderr(root, &["train", "--resume", "third"], 0);
    assert!(run_bytes(&root.join("third")) == run_bytes(&root.join("second")));
    assert!(!root.join("third/start.safetensors").exists());
    // The same weights may be named again, wherever they lie; others may not.
    stderr(root, &["train", "--resume", "third", "--from", "elsewhere"], 0);
    let said = stderr(root, &["train", "--resume", "third", "--from", "second"], 2);
    assert!(said.contains("another --from"), "{said}");

    for (arguments, words) in [
        (["--preset", "small"], "its preset is tiny, not small"),
        (["--method", "riad"], "its method is restore, not riad"),
        (["--channels", "1"], "its number of channels is 3, not 1"),
    ] {
        let from = ["--category", "badge", "--from", "elsewhere", "--out", "fourth"];
        let said = train(&[&from[..], &arguments].concat(), 2);
        assert!(
            said.contains("cannot start from elsewhere") && said.contains(words),
            "{said}"
        );
        assert!(!root.join("fourth").exists());
    }
}
