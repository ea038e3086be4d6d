//! Forms with several files, and senders of too much.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::json;

use crate::{
    making::{begin, empty, making},
    support::{good, json as answer, png, served},
};

/// A form with these files.
pub(crate) fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, bytes) in files {
        let head = format!("--cut\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n\r\n");
        form.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    form.extend(b"--cut--\r\n");
    form
}

pub(crate) const FORM: [(&str, &str); 1] = [("content-type", "multipart/form-data; boundary=cut")];

#[test]
fn a_form_that_goes_wrong_in_its_middle_is_answered_like_all_else() {
    let served = served(|options| options.most_bytes = 100_000);
    let caller = &served.caller;
    begin(caller, "cap");
    let (first, large) = (png(&good(1)), vec![7; 100_000]);
    let broken = |to: &str, body: &[u8]| {
        let sent = caller.post(to, &FORM, body);
        (sent.status().as_u16(), answer(sent))
    };
    let many: Vec<_> = (0..200).map(|_| ("large.png", &large[..])).collect();
    let cut = form(&[("first.png", &first), ("second.png", &large)]);
    for (what, body, status, kind) in [
        (
            "one picture is too large",
            form(&[("a.png", &first), ("b.png", &[7; 100_001])]),
            413,
            "too_large",
        ),
        // All of them are more than a form may have, and that is noticed within one.
        ("there are too many", form(&many), 413, "too_large"),
        ("its end is missing", cut[..90_000].to_vec(), 400, "bad_request"),
        (
            "a head is missing",
            [&cut[..first.len() + 90], b"--cut\r\nnonsense", &large[..]].concat(),
            400,
            "bad_request",
        ),
    ] {
        let (found, problem) = broken("/v1/lines/cap/pictures", &body);
        assert_eq!((found, &problem["kind"]), (status, &json!(kind)), "{what}: {problem}");
        assert!(
            problem["error"].as_str().is_some_and(|words| !words.is_empty()),
            "{problem}"
        );
    }
    // What came before is there; it counts once if it is sent again.
    assert_eq!(making(caller, "cap")["pictures"], json!(1));
    // Of what is refused, 16 times the most bytes are still read, so that its sender hears the answer.
    let (found, problem) = broken("/v1/lines/lid/inspect", &form(&[("large.png", &vec![7; 1_500_000])]));
    assert_eq!((found, &problem["kind"]), (413, &json!("too_large")), "{problem}");
}

#[test]
fn a_sender_of_too_much_hears_so_though_it_sends_all_before_it_listens() {
    let served = empty(|options| options.most_bytes = 2_000_000);
    begin(&served.caller, "cap");
    let body = vec![7; 20_000_000];
    let head = format!(
        "POST /v1/lines/cap/pictures HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for _ in 0..5 {
        let mut stream = TcpStream::connect(served.caller.base.trim_start_matches("http://")).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
}
