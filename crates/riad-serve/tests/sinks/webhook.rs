use std::{sync::atomic::Ordering, time::Instant};

use riad_serve::{Destination, Service};
use serde_json::Value;

use crate::support::{
    LINE, Receiver, free_port, get, good, metric, options, post, post_none, post_tried, python, until, url,
};

const SECRET: &str = "a secret of the plant";

fn to(url: String) -> Destination {
    Destination::Webhook {
        url,
        secret: Some(SECRET.to_owned()),
    }
}

#[test]
fn a_receiver_gets_each_inspection_once_in_order_and_as_the_api_gives_it() {
    let (store, receiver) = (tempfile::tempdir().unwrap(), Receiver::start(0));
    let service = Service::start(options(store.path(), [to(receiver.url())])).unwrap();
    let address = service.address();
    let picture = good(address);
    let (first, second) = (post(address, &picture), post(address, &picture));
    post_tried(address);
    let none = post_none(address);
    until("all came", || receiver.came().len() == 3);
    let expected = [first["id"].as_i64().unwrap(), second["id"].as_i64().unwrap(), none];
    assert_eq!(receiver.ids(), expected, "what was only tried is not sent");
    for came in receiver.came() {
        let given = get(address, &format!("/v1/lines/{LINE}/inspections/{}", came.id()));
        let (given, sent): (Value, Value) = (
            serde_json::from_str(&given).unwrap(),
            serde_json::from_str(&came.body).unwrap(),
        );
        assert_eq!(sent, given);
        assert_eq!(came.head["content-type"], "application/json");
    }
    until("nothing is left", || metric(address, "behind") == 0.0);
    assert_eq!((metric(address, "up"), metric(address, "dropped_total")), (1.0, 0.0));
    let metrics = get(address, "/metrics");
    assert!(!metrics.contains("hidden"), "{metrics}");
}

/// The judge is Python's hmac, by the code in docs/plc.md.
#[test]
fn a_receiver_can_tell_who_sent_it() {
    let (store, receiver) = (tempfile::tempdir().unwrap(), Receiver::start(0));
    let service = Service::start(options(store.path(), [to(receiver.url())])).unwrap();
    post_none(service.address());
    until("it came", || receiver.came().len() == 1);
    let came = receiver.came().remove(0);
    let page = include_str!("../../../../docs/plc.md");
    let code = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let script = format!("import sys\n{code}\nprint(is_ours(sys.argv[1].encode(), sys.argv[2], sys.argv[3].encode()))");
    let judge = |secret: &str, body: &str| {
        python(&["-c", &script, secret, &came.head["riad-signature"], body]).map(|said| said.trim().to_owned())
    };
    let Some(said) = judge(SECRET, &came.body) else {
        return;
    };
    assert_eq!(said, "True");
    assert_eq!(judge("another secret", &came.body).unwrap(), "False");
    assert_eq!(judge(SECRET, &came.body.replace("error", "good!")).unwrap(), "False");
}

#[test]
fn nothing_is_lost_while_a_receiver_is_gone_or_refuses() {
    let (store, port) = (tempfile::tempdir().unwrap(), free_port());
    let service = Service::start(options(store.path(), [to(url(port))])).unwrap();
    let address = service.address();
    // More than one batch.
    let mut expected: Vec<_> = (0..40).map(|_| post_none(address)).collect();
    until("it is behind", || {
        metric(address, "behind") == 40.0 && metric(address, "up") == 0.0
    });
    let receiver = Receiver::start(port);
    until("the first ones come", || !receiver.came().is_empty());
    receiver.status.store(500, Ordering::SeqCst);
    expected.extend((0..10).map(|_| post_none(address)));
    until("it is refused", || metric(address, "up") == 0.0);
    receiver.status.store(200, Ordering::SeqCst);
    until("all came", || metric(address, "behind") == 0.0);
    assert_eq!(receiver.ids(), expected);
    assert_eq!((metric(address, "up"), metric(address, "dropped_total")), (1.0, 0.0));
}

#[test]
fn a_receiver_that_hangs_keeps_nothing_else_from_working() {
    let store = tempfile::tempdir().unwrap();
    let (hung, well) = (Receiver::start(0), Receiver::start(0));
    hung.status.store(0, Ordering::SeqCst);
    let service = Service::start(options(store.path(), [to(hung.url()), to(well.url())])).unwrap();
    let expected: Vec<_> = (0..5).map(|_| post_none(service.address())).collect();
    until("the other got all", || well.ids() == expected);
    let begun = Instant::now();
    service.stop();
    assert!(
        begun.elapsed().as_secs() < 9,
        "less than the time that one call may hang"
    );
    // The store is free again, and what was not delivered is still there.
    hung.status.store(200, Ordering::SeqCst);
    let again = Service::start(options(store.path(), [to(hung.url()), to(well.url())])).unwrap();
    until("it got all", || hung.ids() == expected);
    assert_eq!(well.ids(), expected, "an end in good order delivers nothing twice");
    again.stop();
}

#[test]
fn the_oldest_are_given_up_beyond_the_limit() {
    let (store, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut options = options(store.path(), [to(url(port))]);
    options.sinks[0].most_behind = 5;
    let service = Service::start(options).unwrap();
    let address = service.address();
    let ids: Vec<_> = (0..12).map(|_| post_none(address)).collect();
    until("the oldest are given up", || metric(address, "dropped_total") == 7.0);
    let receiver = Receiver::start(port);
    until("the rest came", || metric(address, "behind") == 0.0);
    assert_eq!(receiver.ids(), ids[7..]);
    assert_eq!(metric(address, "dropped_total"), 7.0);
}

#[test]
fn a_sink_that_is_new_gets_what_comes_from_then_on() {
    let (store, receiver) = (tempfile::tempdir().unwrap(), Receiver::start(0));
    let service = Service::start(options(store.path(), [])).unwrap();
    post_none(service.address());
    service.stop();
    let service = Service::start(options(store.path(), [to(receiver.url())])).unwrap();
    let second = post_none(service.address());
    until("it came", || !receiver.came().is_empty());
    assert_eq!(receiver.ids(), [second]);
}

#[test]
fn two_sinks_need_two_addresses() {
    let store = tempfile::tempdir().unwrap();
    let error = Service::start(options(store.path(), [to(url(1)), to(url(1))]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("two sinks are called webhook:127.0.0.1:1:") && !error.contains("hidden"),
        "{error}"
    );
}
