//! `container stats`: rows that come and go with their containers.

use gangline::base::clock::Clock;
use serde_json::{Value, json};
use tokio::io::Lines;
use tokio::process::ChildStdout;

use super::containers::up;
use super::*;
use crate::support::engine::{self, IMAGE};
use crate::support::process::free_address;
use crate::support::{TestServer, Worker};

/// `container stats`, read line by line.
struct Stats {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Stats {
    fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> Option<String> {
        timeout(WITHIN, self.lines.next_line()).await.unwrap().unwrap()
    }

    /// The next report of a container, under `--json`. No report of any is one of zeros.
    async fn report(&mut self, container: &str) -> Value {
        loop {
            let line = self.line().await.expect("it goes on");
            let report: Value = serde_json::from_str(&line).unwrap();
            assert!(report["memoryBytes"].as_u64() > Some(0), "{report}");
            if report["containerId"] == container {
                return report;
            }
        }
    }

    /// Reads on to a line of the table in which all these words are.
    async fn row(&mut self, words: &[&str]) -> String {
        loop {
            let line = self.line().await.expect("it goes on");
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    /// Reads on to a picture of which no line has this word.
    async fn picture_without(&mut self, word: &str) {
        let mut found = true;
        loop {
            let line = self.line().await.expect("it goes on");
            if line.starts_with("CONTAINER ") {
                if !found {
                    return;
                }
                found = false;
            }
            found |= line.contains(word);
        }
    }
}

#[tokio::test]
async fn named_ones_are_shown_while_they_run_until_the_last_is_removed() {
    let up = up().await;
    let mut ids = Vec::new();
    for name in ["one", "two"] {
        ids.push(up.container(&["--name", name], "exec sleep 1000").await);
    }
    let (one, two) = (ids[0].as_str(), ids[1].as_str());
    let mut reports = Stats::of(up.command(&["container", "stats", "--json", "one", two, one]));
    let mut table = Stats::of(up.command(&["container", "stats", "one", "two"]));
    reports.report(one).await;
    reports.report(two).await;
    table.row(&[one, "one", " B / "]).await;

    up.text(&["container", "stop", "--grace", "0s", "one"]).await;
    let stopped = table.row(&[one, "stopped"]).await;
    assert_eq!(stopped.matches('–').count(), 4, "{stopped}");
    for _ in 0..3 {
        reports.report(two).await;
    }
    up.text(&["container", "start", "one"]).await;
    reports.report(one).await;
    table.row(&[one, "one", " B / "]).await;

    up.text(&["container", "rm", "one"]).await;
    table.picture_without(one).await;
    table.row(&[two, "two", " B / "]).await;
    up.text(&["container", "rm", "two"]).await;
    while reports.line().await.is_some() {}
    while table.line().await.is_some() {}
    assert_eq!((status(reports.child).await, status(table.child).await), (Some(0), Some(0)));
    assert_eq!(up.call(&["container", "stats", "one"]).await.status.code(), Some(1), "there is none");
    up.end().await;
}

#[tokio::test]
async fn without_names_what_runs_comes_and_goes() {
    let up = up().await;
    let mut table = Stats::of(up.command(&["container", "stats"]));
    assert!(table.line().await.unwrap().starts_with("CONTAINER "), "none runs");
    let early = up.container(&["--name", "early"], "exec sleep 1000").await;
    table.row(&[&early, "early", " B / "]).await;
    let late = up.container(&["--name", "late"], "exec sleep 1000").await;
    table.row(&[&late, "late", " B / "]).await;
    up.text(&["container", "stop", "--grace", "0s", "early"]).await;
    table.picture_without(&early).await;
    up.text(&["container", "start", "early"]).await;
    table.row(&[&early, "early"]).await;
    up.text(&["container", "rm", "early", "late"]).await;
    table.picture_without("ctr-").await;
    table.child.kill().await.unwrap();
    up.end().await;
}

#[tokio::test]
async fn stats_outlive_the_dispatchers_death() {
    let home = Home::new();
    let address = free_address().to_string();
    let url = format!("ws://{address}/ws");
    let mut dispatcher = serve(&home, &address).await;
    let worker = ["worker", "--url", &url, "--container-engine", engine::address()];
    let _worker = home.command(&worker).stderr(Stdio::null()).spawn().unwrap();
    while !output(home.command(&["workers", "--url", &url])).await.stdout.windows(4).any(|word| word == b"idle") {}
    let create = ["container", "create", IMAGE, "--url", &url, "--name", "box", "--", "exec sleep 1000"];
    let created = output(home.command(&create)).await;
    let id = String::from_utf8(created.stdout).unwrap();
    let mut named = Stats::of(home.command(&["container", "stats", "--url", &url, "--json", "box"]));
    let mut any = Stats::of(home.command(&["container", "stats", "--url", &url, "--json"]));
    named.report(id.trim()).await;
    any.report(id.trim()).await;

    dispatcher.kill().await.unwrap();
    let killed = Clock::default().now();
    let _dispatcher = serve(&home, &address).await;
    for stats in [&mut named, &mut any] {
        while stats.report(id.trim()).await["time"].as_u64() <= Some(killed) {}
    }
    let removed = output(home.command(&["container", "rm", "box", "--url", &url])).await;
    assert!(removed.status.success(), "{removed:?}");
    while named.line().await.is_some() {}
    assert_eq!(status(named.child).await, Some(0));
    any.child.kill().await.unwrap();
}

#[tokio::test]
async fn a_container_with_gpus_shows_what_they_do() {
    let home = Home::new();
    let server = TestServer::start().await;
    let gpus: Vec<Value> =
        (0..2).map(|index| json!({"index": index, "name": "g", "uuid": "u", "memoryBytes": 1})).collect();
    let mut worker: Worker = server.worker("w", &json!({"images": [], "gpus": gpus})).await;
    let mut ada = server.user("ada").await;
    let create = json!({"opt": "create", "imageId": "train", "gpuIds": [1]});
    let starts = async {
        let assigned = worker.accepted().await;
        let started = json!({"opt": "started", "containerId": assigned.job, "attempt": assigned.attempt, "ports": []});
        worker.peer.say("container", &started).await;
        assigned
    };
    let (_, assigned) = tokio::join!(ada.get("container", &create, "created"), starts);

    let mut command = home.command(&["container", "stats", "--url", &format!("ws://{}/ws", server.address)]);
    command.env("GANGLINE_TOKEN", server.user_token("ada").await);
    let mut table = Stats::of(command);
    worker.peer.until("container", "measure").await;
    let gpu = json!({"index": 1, "utilization": 0.97, "memoryBytes": 12_u64 << 30});
    let usage = json!({"opt": "usage", "containerId": assigned.job, "usage": {"cpu": 0.5, "gpus": [gpu]}});
    worker.peer.say("container", &usage).await;
    let row = table.row(&["ctr-", "50%"]).await;
    assert!(row.ends_with("1: 97% 12 GiB"), "{row}");
    table.child.kill().await.unwrap();

    // The past of it, as it was kept.
    let usage = json!({"containerId": assigned.job, "usage": {"cpu": 0.5, "gpus": [gpu]}});
    let jobs = json!([[assigned.job, assigned.attempt]]);
    worker.peer.say("worker", &json!({"opt": "heartbeat", "jobs": jobs, "containers": [usage]})).await;
    let asked = json!({"opt": "history", "containerId": assigned.job});
    let kept = async || {
        let history = ada.get("container", &asked, "history").await;
        history["samples"].as_array()?.last().cloned()
    };
    let mut kept = kept;
    let sample = loop {
        if let Some(sample) = kept().await {
            break sample;
        }
    };
    assert_eq!(sample["gpus"], json!([gpu]));
}
