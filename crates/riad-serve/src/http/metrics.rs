//! Whether it works, and numbers of how, for those who look after many services.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use crate::{service::Shared, store::Verdict};

/// Upper ends of the histogram's parts, in seconds.
const ENDS: [f64; 12] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// What is counted of requests.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    parts: [AtomicU64; ENDS.len()],
    requests: AtomicU64,
    micros: AtomicU64,
    busy: AtomicU64,
    late: AtomicU64,
}

impl Metrics {
    /// A picture was judged, or given up.
    pub(super) fn took(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(part) = ENDS.iter().position(|end| seconds <= *end) {
            self.parts[part].fetch_add(1, Ordering::Relaxed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// A picture was refused because too many wait.
    pub(super) fn busy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// A picture was not judged in time.
    pub(super) fn late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }
}

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
    for line in &shared.lines {
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
        let lines = shared.lines.iter();
        lines
            .filter_map(|line| Some((format!("{{line=\"{}\"}}", line.name), value(line)?)))
            .collect()
    };
    let mut verdicts = Vec::new();
    for line in &shared.lines {
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
    let metrics = &shared.metrics;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    family(
        "busy_total",
        "counter",
        "Pictures refused because too many wait.",
        &[(String::new(), load(&metrics.busy))],
    );
    family(
        "late_total",
        "counter",
        "Pictures not judged in time.",
        &[(String::new(), load(&metrics.late))],
    );
    let mut below = 0.0;
    let mut parts: Vec<(String, f64)> = Vec::new();
    for (end, part) in ENDS.iter().zip(&metrics.parts) {
        below += load(part);
        parts.push((format!("_bucket{{le=\"{end}\"}}"), below));
    }
    parts.push(("_bucket{le=\"+Inf\"}".to_owned(), load(&metrics.requests)));
    parts.push(("_sum".to_owned(), load(&metrics.micros) / 1e6));
    parts.push(("_count".to_owned(), load(&metrics.requests)));
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
