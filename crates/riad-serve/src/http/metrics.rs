//! Whether it works, and numbers of how, for those who look after many services.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use crate::{counters::ENDS, shared::Shared, status::Status, store::Verdict};

/// 200 while the program runs
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)))]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// 200 if pictures are judged and stored, or else 503 with the reasons
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = String), (status = 503, body = String)))]
pub(super) async fn ready(State(shared): State<Shared>) -> (StatusCode, String) {
    let mut reasons = String::new();
    if shared.is_ending() {
        reasons.push_str("the service is ending\n");
    }
    for line in shared.lines.all() {
        if line.live().cannot_store() {
            let _ = writeln!(reasons, "pictures of line {} cannot be stored", line.name);
        }
    }
    match reasons.is_empty() {
        true => (StatusCode::OK, "ready\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, reasons),
    }
}

/// Numbers in Prometheus' text format
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
        let _ = writeln!(text, "# HELP riad_{name} {help}\n# TYPE riad_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "riad_{name}{labels} {value}");
        }
    };
    let of_lines = |value: &dyn Fn(&crate::line::Line) -> Option<f64>| -> Vec<(String, f64)> {
        let lines = shared.lines.all();
        lines
            .iter()
            .filter_map(|line| Some((format!("{{line=\"{}\"}}", line.name), value(line)?)))
            .collect()
    };
    let mut verdicts = Vec::new();
    for line in shared.lines.all() {
        for (verdict, count) in Verdict::ALL.iter().zip(line.live().total()) {
            let labels = format!("{{line=\"{}\",verdict=\"{}\"}}", line.name, verdict.name());
            verdicts.push((labels, count as f64));
        }
    }
    family(
        "inspections_total",
        "counter",
        "Pictures judged since the service was started.",
        &verdicts,
    );
    let waiting = of_lines(&|line| Some(shared.queue.waiting(line.index) as f64));
    family("queue_length", "gauge", "Pictures that wait.", &waiting);
    let age = of_lines(&|line| line.live().since_last().map(|time| time.as_secs_f64()));
    family(
        "last_picture_age_seconds",
        "gauge",
        "Time since the last picture.",
        &age,
    );
    let drift = of_lines(&|line| line.state(0).drift);
    let help = "How likely the last good scores differ as much from the calibration's if nothing has changed.";
    family("drift_p_value", "gauge", help, &drift);
    let newest = *shared.events.newest().borrow();
    let of_sinks = |value: &dyn Fn(&Status) -> f64| -> Vec<(String, f64)> {
        let sinks = shared.sinks.iter();
        sinks
            .map(|sink| (format!("{{sink=\"{}\"}}", sink.name()), value(sink)))
            .collect()
    };
    let up = of_sinks(&|sink| f64::from(u8::from(sink.is_up())));
    family(
        "sink_up",
        "gauge",
        "0 if the sink's peer is not there or did not take what it was given last.",
        &up,
    );
    let behind = of_sinks(&|sink| sink.behind(newest) as f64);
    family(
        "sink_behind",
        "gauge",
        "Inspections that a sink has not delivered yet.",
        &behind,
    );
    let dropped = of_sinks(&|sink| sink.dropped() as f64);
    family(
        "sink_dropped_total",
        "counter",
        "Inspections that a sink gave up since it was new.",
        &dropped,
    );
    let counters = &shared.counters;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    family(
        "busy_total",
        "counter",
        "Pictures refused because too many wait.",
        &[(String::new(), load(&counters.busy))],
    );
    family(
        "late_total",
        "counter",
        "Pictures not judged in time.",
        &[(String::new(), load(&counters.late))],
    );
    let mut below = 0.0;
    let mut parts: Vec<(String, f64)> = Vec::new();
    for (end, part) in ENDS.iter().zip(&counters.parts) {
        below += load(part);
        parts.push((format!("_bucket{{le=\"{end}\"}}"), below));
    }
    parts.push(("_bucket{le=\"+Inf\"}".to_owned(), load(&counters.requests)));
    parts.push(("_sum".to_owned(), load(&counters.micros) / 1e6));
    parts.push(("_count".to_owned(), load(&counters.requests)));
    family(
        "request_seconds",
        "histogram",
        "Time from a request's first byte until its answer.",
        &parts,
    );
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
}
