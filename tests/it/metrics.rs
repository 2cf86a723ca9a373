//! `GET /metrics` against its list, and against what happens; logs that say whose they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use gangline::store::Store;
use gangline::store::error::StoreError;
use gangline::store::jobs::{Change, Claim};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process::{Process, admin, free_address, gangline, token};
use crate::support::server::Stage;
use crate::support::store::{Fault, faulty};
use crate::support::{Peer, TestServer, Worker, eventually, fetch};

/// What was served: values by series, such as `gangline_workers{status="idle"}`, and types by name.
struct Scrape {
    values: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
    text: String,
}

impl Scrape {
    fn of(text: String) -> Self {
        let (mut values, mut types) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
                let value = value.parse().unwrap_or_else(|_| panic!("{line:?}"));
                assert!(values.insert(series.to_owned(), value).is_none(), "{series} twice");
            }
        }
        Self { values, types, text }
    }

    async fn from(address: SocketAddr) -> Self {
        let reply = fetch(address, "/metrics").await;
        assert_eq!(reply.headers()["content-type"], "text/plain; version=0.0.4");
        Self::of(reply.text().await.unwrap())
    }

    fn get(&self, series: &str) -> f64 {
        *self.values.get(&format!("gangline_{series}")).unwrap_or_else(|| panic!("no {series} in {}", self.text))
    }

    /// Names with their types and the names of their labels.
    fn shape(&self) -> BTreeSet<(String, String, Vec<String>)> {
        let shape = |(series, _): (&String, &f64)| {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(name, _)| name);
            let labels: Vec<String> = labels.filter(|name| *name != "le").map(str::to_owned).collect();
            let whole = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|part| name.strip_suffix(part))
                .find(|whole| self.types.get(*whole).is_some_and(|kind| kind == "histogram"))
                .unwrap_or(name);
            (whole.to_owned(), self.types[whole].clone(), labels)
        };
        self.values.iter().map(shape).collect()
    }
}

/// `docs/metrics.md` in the same form.
fn list() -> BTreeSet<(String, String, Vec<String>)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `gangline_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let &[_, name, kind, labels, what, _] = cells.as_slice() else { panic!("{row}") };
        assert!(!what.is_empty(), "{row}");
        let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned());
        (name.trim_matches('`').to_owned(), kind.to_owned(), labels.filter(|label| !label.is_empty()).collect())
    })
    .collect()
}

#[tokio::test]
async fn the_list_is_what_is_served() {
    let home = TempDir::new().unwrap();
    let address = free_address();
    let _server = Process::serve(home.path(), address, &[]).await;
    let scrape = Scrape::from(address).await;
    assert_eq!(scrape.shape(), list());
    assert_eq!(scrape.get(&format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
}

#[tokio::test]
async fn a_job_moves_the_figures_that_it_should_and_is_not_named() {
    let home = TempDir::new().unwrap();
    let address = free_address();
    let _server = Process::serve(home.path(), address, &[]).await;
    let worker_token = token(home.path(), "worker.token");
    let mut worker = Worker::register(address, &worker_token, "some-worker", &json!({})).await;
    let mut client = admin(home.path(), address).await;
    let before = Scrape::from(address).await;
    assert_eq!(before.get("workers{status=\"idle\"}"), 1.0);
    assert_eq!(before.get("websockets{role=\"worker\"}"), 1.0);
    assert_eq!(before.get("websockets{role=\"admin\"}"), 1.0);
    assert_eq!(before.get("jobs_pending"), 0.0);

    let job = client.submit(&json!({"command": "very-secret", "key": "k"})).await["jobId"].as_str().unwrap().to_owned();
    assert_eq!(client.queue(&json!({"command": "very-secret", "key": "k"})).await, job);
    client.refused("job", &json!({"opt": "submit", "command": "x", "timeoutSecs": -1}), "bad_frame").await;
    let assigned = worker.accepted().await;
    client.queue(&json!({"command": "waits"})).await;
    let during = Scrape::from(address).await;
    assert_eq!((during.get("jobs_running"), during.get("jobs_pending")), (1.0, 1.0));
    assert_eq!(during.get("workers{status=\"busy\"}"), 1.0);
    assert_eq!((during.get("followers"), during.get("followed_logs")), (1.0, 1.0));

    worker.run(&assigned, &"x".repeat(10_000)).await;
    client.until("job", "end").await;
    let at = format!("{}-1", assigned.attempt);
    Peer::with_token(address, &token(home.path(), "admin.token")).await.follow(&job, &at).await;
    drop(worker);
    let _back = Worker::register(address, &worker_token, "some-worker", &json!({})).await;

    let after = Scrape::from(address).await;
    let grown = |series: &str| after.get(series) - before.get(series);
    assert_eq!(grown("submits_total{result=\"accepted\"}"), 2.0);
    assert_eq!(grown("submits_total{result=\"duplicate\"}"), 1.0);
    assert_eq!(grown("submits_total{result=\"refused\"}"), 1.0);
    assert_eq!(grown("jobs_ended_total{reason=\"exit\"}"), 1.0);
    // One line and the end.
    assert_eq!(grown("entries_total"), 2.0);
    assert!(grown("job_wait_seconds_count") >= 1.0 && grown("claim_seconds_count") >= 1.0);
    assert!((1.0..=2.0).contains(&grown("append_seconds_count")));
    assert!(after.get("append_seconds_sum") > 0.0);
    assert!(grown("received_bytes_total") > 10_000.0 && grown("sent_bytes_total") > 10_000.0);
    assert_eq!(grown("reconnects_total{peer=\"worker\"}"), 1.0);
    assert_eq!(grown("reconnects_total{peer=\"follower\"}"), 1.0);
    assert_eq!(after.get("http_requests_total{route=\"/metrics\",status=\"200\"}"), 2.0);
    assert_eq!(grown("http_requests_total{route=\"/ws\",status=\"101\"}"), 2.0);
    assert_eq!(grown("store_errors_total{operation=\"append\"}"), 0.0);
    for name in [job.as_str(), "some-worker", "very-secret", "admin.token", &worker_token] {
        assert!(!after.text.contains(name), "{name}");
    }
}

#[tokio::test]
async fn paths_do_not_become_labels() {
    let server = TestServer::start().await;
    for path in ["/nowhere/1", "/nowhere/2", "/uploads/1/a", "/uploads/2/b"] {
        fetch(server.address, path).await;
    }
    let scrape = Scrape::of(server.dispatcher.measure().await);
    assert_eq!(scrape.get("http_requests_total{route=\"none\",status=\"404\"}"), 2.0);
    assert_eq!(scrape.get("http_requests_total{route=\"/uploads/{id}/{name}\",status=\"401\"}"), 2.0);
}

#[tokio::test]
async fn a_lost_lease_is_counted_and_a_queue_limit_is_none() {
    let server = TestServer::with_manual_clock().await;
    let mut worker = server.worker("w", &json!({})).await;
    let mut client = server.admin().await;
    let job = client.queue(&json!({"command": "x"})).await;
    worker.accepted().await;
    drop(worker);
    server.pass_time(40).await;
    client.job_is(&job, "failed").await;
    let scrape = Scrape::of(server.dispatcher.measure().await);
    assert_eq!(scrape.get("lease_losses_total"), 1.0);
    assert_eq!(scrape.get("jobs_ended_total{reason=\"worker_lost\"}"), 1.0);
    assert!(scrape.get("jobs_ended_total{reason=\"queue_timeout\"}") > 0.0, "those that pass the time");
    assert_eq!(scrape.get("workers{status=\"offline\"}"), 1.0);
}

/// Claims fail while this says so.
struct NoClaims(Arc<AtomicBool>);

#[async_trait]
impl Fault for NoClaims {
    async fn claim(&self, store: &dyn Store, claim: Claim) -> Result<Vec<Change>, StoreError> {
        match self.0.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("away".to_owned())),
            false => store.claim(claim).await,
        }
    }
}

#[tokio::test]
async fn what_the_store_does_not_answer_is_counted() {
    let fails = Arc::new(AtomicBool::new(true));
    let fault = NoClaims(Arc::clone(&fails));
    let server = Stage::new().store(|store| faulty(store, fault)).start().await;
    let mut worker = server.worker("w", &json!({})).await;
    server.admin().await.queue(&json!({"command": "x"})).await;
    eventually("a failed claim", async || {
        let scrape = Scrape::of(server.dispatcher.measure().await);
        (scrape.get("store_errors_total{operation=\"claim\"}") > 0.0).then_some(())
    })
    .await;
    fails.store(false, Ordering::SeqCst);
    worker.assigned().await;
}

/// The events that a process logged as JSON.
fn events(process: &Process) -> Vec<Value> {
    process.words().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn logs_say_whose_connection_and_which_job() {
    let home = TempDir::new().unwrap();
    let home = home.path();
    let address = free_address();
    let server = Process::serve(home, address, &["--log-format=json", "--log=gangline=debug"]).await;
    let url = format!("ws://{address}/ws");
    let args =
        ["worker", "--url", &url, "--data-dir", "data", "--id", "w7", "--log-format=json", "--log=gangline=debug"];
    let worker = Process::start(gangline(home, &args), home.join("worker.log"));
    let mut client = admin(home, address).await;
    let job = client.queue(&json!({"command": "true"})).await;
    client.job_is(&job, "completed").await;

    let found = eventually("the worker's registration to be logged", async || {
        events(&server).into_iter().find(|event| event["fields"]["message"] == "worker registered")
    })
    .await;
    let span = &found["span"];
    assert_eq!((&span["name"], &span["role"], &span["worker"]), (&json!("connection"), &json!("worker"), &json!("w7")));
    assert!(span["peer"].as_str().unwrap().starts_with("127.0.0.1:") && span["id"].is_u64(), "{found}");
    // Who asks reads the job's end in the store, maybe before it is logged.
    let messages = eventually("the job's way to be logged", async || {
        let of_job = events(&server).into_iter().filter(|event| event["fields"]["job"] == json!(job));
        let messages: BTreeSet<String> =
            of_job.filter_map(|event| event["fields"]["message"].as_str().map(str::to_owned)).collect();
        (messages.len() >= 3).then_some(messages)
    })
    .await;
    assert!(messages.iter().eq(["job claimed", "job ended", "job submitted"]), "{messages:?}");

    let ended = eventually("the job's end to be logged", async || {
        events(&worker).into_iter().find(|event| event["fields"]["message"] == "job ended")
    })
    .await;
    assert_eq!((&ended["span"]["name"], &ended["span"]["job"]), (&json!("job"), &json!(job)));
    for name in ["admin.token", "worker.token"] {
        let secret = token(home, name);
        assert!(!server.words().contains(&secret) && !worker.words().contains(&secret));
    }
}
