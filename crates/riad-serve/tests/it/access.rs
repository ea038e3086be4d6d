//! Who may ask, and for what.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use riad_serve::{Destination, LineOptions, Options, Service, SinkOptions};

use crate::support::{good, png, run, served, until};

const TOKEN: &str = "a-token-of-some-length";

#[test]
fn with_a_token_nobody_gets_anything_without_it() {
    let served = served(|options| options.token = Some(TOKEN.to_owned()));
    for path in [
        "/v1/lines",
        "/v1/events",
        "/metrics",
        "/readyz",
        "/openapi.json",
        "/v2",
        "/assets/main.js",
    ] {
        assert_eq!(served.caller.get(path).status(), 401, "{path}");
    }
    let bearer = format!("Bearer {TOKEN}");
    let with = |value: &str| {
        served
            .caller
            .post("/v1/lines/lid/inspect", &[("authorization", value)], &png(&good(1)))
    };
    assert_eq!(with(&bearer).status(), 200);
    assert_eq!(with("Bearer another-token-of-a-length").status(), 401);
    assert_eq!(with(&format!("Bearer {TOKEN}x")).status(), 401);
    for open in ["/healthz", "/login"] {
        assert_eq!(served.caller.get(open).status(), 200, "{open}");
    }
}

#[test]
fn a_person_types_the_token_once() {
    let served = served(|options| options.token = Some(TOKEN.to_owned()));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let wrong = served.caller.post("/login", &form, b"token=nonsense");
    assert_eq!(
        (wrong.status().as_u16(), wrong.headers()["location"].to_str().unwrap()),
        (303, "/login#wrong")
    );
    assert!(!wrong.headers().contains_key("set-cookie"));
    let right = served.caller.post("/login", &form, format!("token={TOKEN}").as_bytes());
    let cookie = right.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(TOKEN),
        "{cookie}"
    );
    let pair = cookie.split(';').next().unwrap();
    let request = served.caller.agent.get(format!("{}/v1/lines", served.caller.base));
    assert_eq!(request.header("cookie", pair).call().unwrap().status(), 200);
}

#[test]
fn without_a_token_it_listens_and_answers_to_this_machine_only() {
    let line = LineOptions {
        name: "lid".to_owned(),
        model: run().to_owned(),
    };
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(vec![line], folder.path().join("store"));
    options.listen = ([0, 0, 0, 0], 0).into();
    let refused = Service::start(options).unwrap_err().to_string();
    assert!(refused.contains("other machines"), "{refused}");

    let served = served(|_| {});
    let ask = |head: &str| {
        let mut stream = TcpStream::connect(served.caller.base.trim_start_matches("http://")).unwrap();
        stream
            .write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask("GET /v1/lines HTTP/1.1\r\nHost: localhost"), "200");
    // A page from elsewhere whose name leads here.
    assert_eq!(ask("GET /v1/lines HTTP/1.1\r\nHost: evil.example"), "403");
    let post = "POST /v1/lines/lid/shift HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0";
    assert_eq!(ask(&format!("{post}\r\nOrigin: https://evil.example")), "403");
    assert_eq!(ask(&format!("{post}\r\nOrigin: http://localhost")), "200");
}

#[test]
fn a_time_that_no_clock_can_count_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let set: [fn(&mut Options); 4] = [
        |options| options.deadline = Duration::MAX,
        |options| options.settle = Duration::MAX,
        |options| options.interval = Duration::MAX,
        |options| {
            options.sinks = vec![SinkOptions::new(Destination::ModbusServer {
                address: ([127, 0, 0, 1], 0).into(),
                valid: Some(Duration::MAX),
            })];
        },
    ];
    for set in set {
        let mut options = Options::new(Vec::new(), folder.path().join("store"));
        options.listen = ([127, 0, 0, 1], 0).into();
        set(&mut options);
        let refused = Service::start(options).unwrap_err().to_string();
        assert!(refused.contains("100 years"), "{refused}");
    }
}

#[test]
fn pages_may_load_nothing_from_elsewhere() {
    let served = served(|_| {});
    let response = served.caller.get("/");
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    for path in [
        "/assets/..%2f..%2fCargo.toml",
        "/assets/nothing.js",
        "/../etc/passwd",
        "/v1/lines/lid/inspections/1/..%2fx",
    ] {
        assert_eq!(served.caller.get(path).status(), 404, "{path}");
    }
}

#[test]
fn a_slow_sender_is_given_up_and_keeps_nobody_waiting() {
    let served = served(|options| options.deadline = Duration::from_secs(6));
    let mut slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(served.caller.base.trim_start_matches("http://")).unwrap();
            let head = b"POST /v1/lines/lid/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf";
            stream.write_all(head).unwrap();
            stream
        })
        .collect();
    assert_eq!(served.caller.inspect(&png(&good(1)))["verdict"], "good");
    let mut answer = String::new();
    slow[0].read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

/// Begins so many requests with a body of 200 kB, sends 65 KiB of it, and then nothing.
fn stalled(base: &str, path: &str, count: usize) -> Vec<TcpStream> {
    let begin = |_| {
        let mut stream = TcpStream::connect(base.trim_start_matches("http://")).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&[b' '; 65 << 10]).unwrap();
        stream
    };
    (0..count).map(begin).collect()
}

#[test]
fn senders_that_stall_give_their_room_back_long_before_the_deadline() {
    let served = served(|options| options.deadline = Duration::from_secs(3600));
    // More than a line has room for.
    let mut stalled = stalled(&served.caller.base, "/v1/lines/lid/inspect", 140);
    let mut answer = String::new();
    stalled[0].set_read_timeout(Some(Duration::from_secs(300))).unwrap();
    stalled[0].read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    until("there is room", || {
        served
            .caller
            .post("/v1/lines/lid/inspect", &[], &png(&good(1)))
            .status()
            == 200
    });
}

#[test]
fn calls_that_stall_keep_nobody_from_calling() {
    let served = served(|options| options.deadline = Duration::from_secs(3600));
    let _stalled = stalled(&served.caller.base, "/v2/models/lid/infer", 20);
    let incoming = served.folder.path().join("store/incoming");
    until("they have room for what they send", || {
        incoming.read_dir().unwrap().count() >= 8
    });
    let input = serde_json::json!({"name": "image", "datatype": "UINT8", "shape": [8, 8, 3], "data": vec![7; 192]});
    let call = serde_json::json!({"inputs": [input]});
    for _ in 0..20 {
        let (status, said) = served.caller.send("/v2/models/lid/infer", &call);
        assert_eq!(status, 200, "{said}");
    }
}

#[test]
fn no_body_may_take_longer_than_a_request() {
    let served = served(|options| options.deadline = Duration::from_secs(4));
    served.caller.inspect(&png(&good(1)));
    // As slow as can be, after one byte.
    for place in [
        "POST /v1/lines/lid/inspect",
        "PUT /v1/lines/lid/inspections/1/label",
        "POST /v2/models/lid/infer",
    ] {
        let mut slow = TcpStream::connect(served.caller.base.trim_start_matches("http://")).unwrap();
        let kind = "Content-Type: application/json\r\nContent-Length: 1000";
        write!(slow, "{place} HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n\r\n{{").unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 4"), "{place}: {answer}");
    }
}

#[test]
fn connections_beyond_the_limit_are_closed_and_the_others_go_on() {
    let served = served(|options| options.connections = 20);
    let place = served.caller.base.trim_start_matches("http://").to_owned();
    let answers = || {
        let mut stream = TcpStream::connect(&place).unwrap();
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        // What is closed may have been reset.
        let _ = stream.read_to_string(&mut answer);
        answer.starts_with("HTTP/1.1 200")
    };
    // Each is answered once, so it counts before the next comes: connections that come together are counted in any order.
    let idle: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(&place).unwrap();
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .unwrap();
            let mut answer = [0; 4096];
            let length = stream.read(&mut answer).unwrap();
            assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
            stream
        })
        .collect();
    assert!(!answers(), "one connection too many is closed");
    drop(idle);
    until("connections that ended make room", answers);
}

#[test]
fn a_body_that_nobody_reads_costs_no_connection() {
    let served = served(|_| ());
    let mut stream = TcpStream::connect(served.caller.base.trim_start_matches("http://")).unwrap();
    for _ in 0..3 {
        let head = b"POST /v1/lines/lid/versions/1/use HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n";
        stream.write_all(head).unwrap();
        // The body comes later than its head.
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"{}").unwrap();
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).unwrap();
        assert!(
            answer[..length].starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer[..length])
        );
    }
}
