use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use riad_serve::{Destination, Service};

use crate::support::{Program, Receiver, free_port, get, options, plant, post_none, until, url};

/// A service in a process of its own, which sends to an address.
pub(crate) fn service(store: &std::path::Path, sink: &str, certificates: Option<PathBuf>) -> (Program, SocketAddr) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "killed::serve_in_a_process_of_its_own",
        "--nocapture",
        "--test-threads=1",
    ]);
    command
        .env("RIAD_SINKS_STORE", store)
        .env("RIAD_SINKS_PLANT", plant())
        .env("RIAD_SINKS_TO", sink);
    if let Some(certificates) = certificates {
        command.env("SSL_CERT_FILE", certificates);
    }
    let program = Program::start(command.stderr(Stdio::inherit())).unwrap();
    let mut address = None;
    until("it serves", || {
        let lines = program.lines();
        address = lines
            .iter()
            .find_map(|line| line.rsplit_once("serving at ")?.1.parse().ok());
        address.is_some()
    });
    (program, address.unwrap())
}

/// Not a test by itself: what [`service`] starts.
#[test]
fn serve_in_a_process_of_its_own() {
    let Some(store) = std::env::var_os("RIAD_SINKS_STORE") else {
        return;
    };
    let url = std::env::var("RIAD_SINKS_TO").unwrap();
    let to = if url.starts_with("mqtt") {
        let password = url.contains('@').then(|| "secret".to_owned());
        Destination::Mqtt { url, password }
    } else {
        Destination::Webhook { url, secret: None }
    };
    let options = options(&PathBuf::from(store), [to]);
    let service = Service::start(options).unwrap();
    println!("\nserving at {}", service.address());
    thread::sleep(Duration::from_secs(600));
}

#[test]
fn every_answered_inspection_is_delivered_however_often_the_service_is_killed() {
    let (store, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut answered = Vec::new();
    // The first one finds no receiver.
    let (program, address) = service(store.path(), &url(port), None);
    answered.extend((0..5).map(|_| post_none(address)));
    drop(program);
    let receiver = Receiver::start(port);
    for round in 0..6 {
        let (program, address) = service(store.path(), &url(port), None);
        receiver
            .status
            .store(if round % 3 == 2 { 503 } else { 200 }, Ordering::SeqCst);
        answered.extend((0..8).map(|_| post_none(address)));
        // Killed at once, or after a moment, and while it delivers.
        thread::sleep(Duration::from_millis(40 * round));
        drop(program);
    }
    receiver.status.store(200, Ordering::SeqCst);
    let (_program, address) = service(store.path(), &url(port), None);
    until("nothing is left", || {
        let metrics = get(address, "/metrics");
        metrics
            .lines()
            .any(|line| line.starts_with("riad_sink_behind{") && line.ends_with(" 0"))
    });
    let came = receiver.ids();
    let mut once = came.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once, answered, "each of them came");
    // What came twice came as a repeated stretch: a number is never left out on the way.
    let mut highest = came[0] - 1;
    for id in came {
        assert!(id <= highest + 1, "{id} came after {highest}");
        highest = highest.max(id);
    }
}
