//! What a dispatcher counts, for Prometheus. `docs/metrics.md` is the list, and a test holds it to this.
//!
//! Guards: counting costs an atomic operation, never a lock or an allocation, except for
//! requests over HTTP, which are rare. Labels have few values, all known here: no job, account, worker or
//! token is ever among them. There is no global state: each dispatcher has its own.
//!
//! Not here: what can be looked up when it is asked for, such as the length of the queue; the
//! front door sets those before it shows all.

mod labels;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TEXT_FORMAT,
    TextEncoder,
};

use crate::protocol::auth::Role;
use crate::protocol::job::Reason;
pub use labels::{Label, Operation, PluginCall, PluginNews, Returned, Submit, WorkerState};

/// Media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = TEXT_FORMAT;

/// Upper bounds, in seconds, for what the store does: from a commit in memory to a disk in trouble.
const STORE_SECONDS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Upper bounds, in seconds, for waits in the queue: from an idle fleet to a night.
const WAIT_SECONDS: &[f64] =
    &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0];

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Connections, from accepting to their end.
    pub connections: IntGauge,
    /// Connections ever accepted.
    pub accepted: IntCounter,
    /// TLS handshakes that came to nothing.
    pub failed_handshakes: IntCounter,
    /// Bytes read from connections, inside TLS.
    pub bytes_received: IntCounter,
    /// Bytes written to connections, inside TLS.
    pub bytes_sent: IntCounter,
    /// Open sockets of clients and workers; `None` is one that has not shown a token yet.
    pub websockets: By<Option<Role>, IntGauge>,
    /// Submits.
    pub submits: By<Submit, IntCounter>,
    /// Jobs that ended.
    pub ended: By<Reason, IntCounter>,
    /// What a claim took, one for each question to the store.
    pub claim_seconds: Histogram,
    /// How long jobs waited for their first attempt.
    pub wait_seconds: Histogram,
    /// What an append took, one for each batch.
    pub append_seconds: Histogram,
    /// Entries that were new in the store.
    pub entries: IntCounter,
    /// Peers that went on where a lost connection had left them.
    pub returned: By<Returned, IntCounter>,
    /// Attempts whose lease ran out.
    pub lost_leases: IntCounter,
    /// Questions to the store that it did not answer.
    pub store_errors: By<Operation, IntCounter>,
    /// Questions to plugins.
    pub plugin_calls: By<PluginCall, IntCounter>,
    /// News for plugins.
    pub plugin_news: By<PluginNews, IntCounter>,
    /// Acts that are not in the audit log.
    pub audit_lost: IntCounter,
    /// Jobs that wait.
    pub pending: IntGauge,
    /// Jobs that workers connected here hold.
    pub running: IntGauge,
    /// Workers.
    pub workers: By<WorkerState, IntGauge>,
    /// Logs that are followed.
    pub followed_logs: IntGauge,
    /// Followers of logs.
    pub followers: IntGauge,
    requests: IntCounterVec,
}

/// One metric for each value of a label, found without a lock.
#[derive(Debug)]
pub struct By<L, M> {
    each: Vec<M>,
    label: std::marker::PhantomData<L>,
}

impl<L: Label, M> By<L, M> {
    /// The metric of `label`.
    pub fn of(&self, label: L) -> &M {
        &self.each[label.index()]
    }
}

/// Counts one for as long as it lives.
#[derive(Debug)]
pub struct Presence(IntGauge);

impl Presence {
    /// Counts one more in `gauge`.
    pub fn of(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let r = Registry::new();
        let build = gauges(&r, "gangline_build_info", "The version that runs, as a label; always 1.", "version");
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let websockets = gauges(&r, "gangline_websockets", "WebSockets that are open, by role.", "role");
        let workers = gauges(&r, "gangline_workers", "Workers that are known, by status.", "status");
        let submits = counters(&r, "gangline_submits_total", "Submits, by what came of them.", &["result"]);
        let ended = counters(&r, "gangline_jobs_ended_total", "Jobs that ended, by reason.", &["reason"]);
        let returned =
            counters(&r, "gangline_reconnects_total", "Peers that came back and went on, by kind.", &["peer"]);
        let errors =
            counters(&r, "gangline_store_errors_total", "Failures of the store, by what it was asked.", &["operation"]);
        let calls =
            counters(&r, "gangline_plugin_calls_total", "Questions to plugins, by what came of them.", &["outcome"]);
        let news =
            counters(&r, "gangline_plugin_events_total", "Events for plugins, by whether they were told.", &["result"]);
        Self {
            connections: gauge(&r, "gangline_connections", "Connections that are open."),
            accepted: counter(&r, "gangline_connections_total", "Connections that were accepted."),
            failed_handshakes: counter(&r, "gangline_tls_handshakes_failed_total", "TLS handshakes that failed."),
            bytes_received: counter(&r, "gangline_received_bytes_total", "Bytes read from connections, inside TLS."),
            bytes_sent: counter(&r, "gangline_sent_bytes_total", "Bytes written to connections, inside TLS."),
            websockets: by(|name| websockets.with_label_values(&[name])),
            submits: by(|name| submits.with_label_values(&[name])),
            ended: by(|name| ended.with_label_values(&[name])),
            claim_seconds: histogram(&r, "gangline_claim_seconds", "Time of a claim in the store.", STORE_SECONDS),
            wait_seconds: histogram(
                &r,
                "gangline_job_wait_seconds",
                "Time from a job's submit to its first attempt.",
                WAIT_SECONDS,
            ),
            append_seconds: histogram(&r, "gangline_append_seconds", "Time of an append in the store.", STORE_SECONDS),
            entries: counter(&r, "gangline_entries_total", "Entries of logs that workers wrote."),
            returned: by(|name| returned.with_label_values(&[name])),
            lost_leases: counter(&r, "gangline_lease_losses_total", "Attempts given up because their lease ran out."),
            store_errors: by(|name| errors.with_label_values(&[name])),
            plugin_calls: by(|name| calls.with_label_values(&[name])),
            plugin_news: by(|name| news.with_label_values(&[name])),
            audit_lost: counter(&r, "gangline_audit_lost_total", "Acts that could not be written into the audit log."),
            pending: gauge(&r, "gangline_jobs_pending", "Jobs that wait for a worker."),
            running: gauge(&r, "gangline_jobs_running", "Jobs on workers that are connected to this instance."),
            workers: by(|name| workers.with_label_values(&[name])),
            followed_logs: gauge(&r, "gangline_followed_logs", "Logs that are followed through this instance."),
            followers: gauge(&r, "gangline_followers", "Followers of logs through this instance."),
            requests: counters(
                &r,
                "gangline_http_requests_total",
                "Requests that were answered, by route and status.",
                &["route", "status"],
            ),
            registry: r,
        }
    }
}

impl Metrics {
    /// Counts a request. `route` is the pattern that it matched, never its path.
    pub fn request(&self, route: &str, status: u16) {
        self.requests.with_label_values(&[route, status.to_string().as_str()]).inc();
    }

    /// All of it, in the text format of Prometheus, see [`CONTENT_TYPE`].
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

fn gauges(registry: &Registry, name: &str, help: &str, label: &str) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name, help), &[label]))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn histogram(registry: &Registry, name: &str, help: &str, bounds: &[f64]) -> Histogram {
    register(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec())))
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<M>) -> M {
    let metric = metric.expect("names and bounds are constants of this file that every start tries");
    registry.register(Box::new(metric.clone())).expect("each name stands in this file once");
    metric
}

fn by<L: Label, M>(make: impl Fn(&str) -> M) -> By<L, M> {
    By { each: L::ALL.iter().map(|label| make(label.name())).collect(), label: std::marker::PhantomData }
}
