//! What workers and containers used: kept for an hour, over restarts and over dispatchers. And who has a GPU.

use serde_json::{Value, json};

use crate::support::server::Stage;
use crate::support::{Assigned, Peer, TestServer, Worker, eventually};

/// What a worker says of itself with one GPU half busy.
fn usage(cpu: f64) -> Value {
    json!({
        "cpu": cpu, "memoryBytes": 100, "diskBytes": 200, "networkInBytes": 3, "networkOutBytes": 4,
        "gpus": [{"index": 0, "utilization": 0.5, "memoryBytes": 500, "temperature": 61, "powerWatts": 120.5}],
    })
}

/// A heartbeat with this usage, for what it holds.
async fn beats(worker: &mut Worker, cpu: f64, held: &[&Assigned], containers: &Value) {
    let jobs: Vec<Value> = held.iter().map(|held| json!([held.job, held.attempt])).collect();
    let beat = json!({"opt": "heartbeat", "usage": usage(cpu), "jobs": jobs, "containers": containers});
    worker.peer.get("worker", &beat, "heartbeat").await;
}

async fn history(peer: &mut Peer, worker: &str) -> Vec<Value> {
    let history = peer.get("worker", &json!({"opt": "history", "workerId": worker}), "history").await;
    assert_eq!((&history["workerId"], &history["everySecs"]), (&json!(worker), &json!(10)));
    history["samples"].as_array().expect("samples").clone()
}

async fn container_history(peer: &mut Peer, container: &str) -> Vec<Value> {
    let history = peer.get("container", &json!({"opt": "history", "containerId": container}), "history").await;
    assert_eq!((&history["containerId"], &history["everySecs"]), (&json!(container), &json!(10)));
    history["samples"].as_array().expect("samples").clone()
}

fn field<'a>(samples: &'a [Value], name: &str) -> Vec<&'a Value> {
    samples.iter().map(|sample| &sample[name]).collect()
}

/// A worker with a container engine, and a container that runs on it.
async fn running_container(server: &TestServer, owner: &mut Peer) -> (Worker, Assigned) {
    let mut worker = server.worker("w", &json!({"images": ["busybox"], "slots": 2})).await;
    let create = json!({"opt": "create", "imageId": "busybox"});
    let (_, assigned) = tokio::join!(owner.get("container", &create, "created"), async {
        let assigned = worker.accepted().await;
        let started = json!({"opt": "started", "containerId": assigned.job, "attempt": assigned.attempt, "ports": []});
        worker.peer.say("container", &started).await;
        assigned
    });
    (worker, assigned)
}

#[tokio::test]
async fn every_field_that_a_worker_reports_is_in_its_history() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.user("ada").await;
    let mut worker = server.worker("w", &json!({})).await;
    assert!(history(&mut peer, "w").await.is_empty(), "it has not said anything yet");
    let began = server.clock.now();
    beats(&mut worker, 0.25, &[], &json!([])).await;
    let mut expected = usage(0.25);
    expected["time"] = json!(began);
    assert_eq!(history(&mut peer, "w").await, [expected]);
    peer.refused("worker", &json!({"opt": "history", "workerId": "nobody"}), "not_found").await;
}

#[tokio::test]
async fn a_history_is_an_hour_long_however_often_a_worker_reports() {
    let server = TestServer::with_manual_clock().await;
    let mut worker = server.worker("w", &json!({})).await;
    // An hour and a half of heartbeats every five seconds.
    for nth in 0..1080_u32 {
        beats(&mut worker, f64::from(nth) / 1080.0, &[], &json!([])).await;
        server.advance(5);
    }
    let samples = history(&mut server.user("ada").await, "w").await;
    let times: Vec<u64> = samples.iter().map(|sample| sample["time"].as_u64().unwrap()).collect();
    let now = server.clock.now();
    assert_eq!(times.len(), 359, "all but the one that is an hour old by now");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 10_000), "{times:?}");
    assert!(now - times[0] < 3_600_000 && now - times[358] <= 10_000);
    // Silence is a gap, and what is an hour old is gone.
    server.advance(3_000);
    let later = history(&mut server.user("ada").await, "w").await;
    assert_eq!(later, samples[samples.len() - later.len()..]);
    assert_eq!(later.len(), 59);
}

#[tokio::test]
async fn a_graph_starts_full_after_the_dispatcher_was_started_again() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.user("ada").await;
    let (mut worker, container) = running_container(&server, &mut peer).await;
    let uses = json!([{"containerId": container.job, "usage": {"cpu": 1.5, "memoryBytes": 7, "pids": 3}}]);
    for nth in 0..5 {
        beats(&mut worker, f64::from(nth) / 10.0, &[&container], &uses).await;
        server.advance(10);
    }
    let clock = server.clock.clone();
    let dir = server.stop().await;
    let server = Stage::new().dir(dir).clock(clock).start().await;
    let mut peer = server.user("ada").await;
    assert_eq!(field(&history(&mut peer, "w").await, "cpu"), [0.0, 0.1, 0.2, 0.3, 0.4]);
    assert_eq!(field(&container_history(&mut peer, &container.job).await, "cpu"), [1.5; 5]);

    // It goes on where it was.
    let resume = json!({"images": ["busybox"], "slots": 2, "resume": [container.resume(0, "running")]});
    let mut worker = server.worker("w", &resume).await;
    beats(&mut worker, 0.9, &[&container], &uses).await;
    assert_eq!(field(&history(&mut peer, "w").await, "cpu"), [0.0, 0.1, 0.2, 0.3, 0.4, 0.9]);
    assert_eq!(container_history(&mut peer, &container.job).await.len(), 6);
}

#[tokio::test]
async fn a_worker_has_a_word_only_on_containers_that_it_holds() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.user("ada").await;
    let (mut worker, container) = running_container(&server, &mut peer).await;
    let uses = json!([{"containerId": container.job, "usage": {
        "cpu": 0.5, "memoryBytes": 1, "memoryLimitBytes": 2, "networkInBytes": 3, "networkOutBytes": 4,
        "diskReadBytes": 5, "diskWriteBytes": 6, "pids": 7,
    }}]);
    let mut other = server.worker("other", &json!({"images": []})).await;
    beats(&mut other, 0.0, &[], &uses).await;
    assert!(container_history(&mut peer, &container.job).await.is_empty());
    beats(&mut worker, 0.0, &[&container], &uses).await;
    let mut expected = uses[0]["usage"].clone();
    expected["time"] = json!(server.clock.now());
    assert_eq!(container_history(&mut peer, &container.job).await, [expected]);
    let mut stranger = server.user("bob").await;
    let asked = json!({"opt": "history", "containerId": container.job});
    stranger.refused("container", &asked, "not_found").await;
}

#[tokio::test]
async fn any_dispatcher_tells_the_history_of_any_worker() {
    let [first, second] = TestServer::pair().await;
    let mut worker = first.worker("w", &json!({})).await;
    let mut peer = second.user("ada").await;
    let heard = eventually("the other dispatcher to hear of it", async || {
        beats(&mut worker, 0.5, &[], &json!([])).await;
        let samples = peer.ask("worker", &json!({"opt": "history", "workerId": "w"})).await["data"]["samples"].clone();
        samples.as_array().filter(|samples| !samples.is_empty()).cloned()
    })
    .await;
    assert_eq!(field(&heard, "cpu"), [0.5]);
    // What the one has written the other reads, and takes for the same samples.
    let dir = first.stop().await;
    assert_eq!(history(&mut peer, "w").await.len(), 1);
    drop(dir);
}

#[tokio::test]
async fn a_gpu_is_one_jobs_or_one_containers_or_one_tasks() {
    let server = TestServer::start().await;
    let (mut peer, web, token) = (server.user("ada").await, server.web(), server.user_token("ada").await);
    let gpus: Value = (0..2).map(|index| json!({"index": index, "name": "g", "uuid": "u", "memoryBytes": 1})).collect();
    let mut worker = server.worker("w", &json!({"slots": 8, "gpus": gpus, "images": ["busybox"]})).await;
    let create = json!({"opt": "create", "imageId": "busybox", "gpus": 1});
    let (created, container) = tokio::join!(peer.get("container", &create, "created"), async {
        let assigned = worker.accepted().await;
        let started = json!({"opt": "started", "containerId": assigned.job, "attempt": assigned.attempt, "ports": []});
        worker.peer.say("container", &started).await;
        assigned
    });
    assert_eq!(container.data["gpuIds"], json!([0]), "{created}");
    let job = peer.queue(&json!({"command": "x", "requires": {"gpus": 1}})).await;
    let given = worker.accepted().await;
    assert_eq!((&given.job, &given.data["gpuIds"]), (&job, &json!([1])));

    // Nothing is left: what wants one waits, by whichever way it came. What runs inside the container does not want one.
    let task = json!({"machine_id": "w", "containername": "", "command": "train", "gpu_count": 1});
    assert_eq!(web.post("/api/task/request", &token, task).await.status, 200);
    let by_index = peer.queue(&json!({"command": "x", "requires": {"gpuIds": [0]}})).await;
    let exec = json!({"opt": "exec", "containerId": container.job, "command": "nvidia-smi", "follow": false});
    let inside = peer.ask("container", &exec).await["data"]["jobId"].clone();
    let next = worker.accepted().await;
    assert_eq!((&json!(next.job), &next.data["gpuIds"]), (&inside, &json!([])));
    let free = |record: &Value| record["status"] == "pending" && record["gpuIds"] == json!([]);
    assert!(free(&peer.job(&by_index).await));

    worker.run(&given, "done\n").await;
    let task = worker.accepted().await;
    assert_eq!(task.data["gpuIds"], json!([1]), "the task has what the job had");
    assert!(free(&peer.job(&by_index).await));
    let stop = json!({"opt": "stop", "containerId": container.job});
    let (_, freed) = tokio::join!(peer.get("container", &stop, "ok"), async {
        worker.peer.until("job", "cancel").await;
        worker.say(&container.end(1, 0)).await;
        worker.accepted().await
    });
    assert_eq!((&freed.job, &freed.data["gpuIds"]), (&by_index, &json!([0])));

    // A container is started again with the GPU that it had, once that is free.
    let start = json!({"opt": "start", "containerId": container.job});
    let (_, again) = tokio::join!(peer.get("container", &start, "ok"), async {
        worker.run(&freed, "done\n").await;
        let again = worker.accepted().await;
        let started = json!({"opt": "started", "containerId": again.job, "attempt": again.attempt, "ports": []});
        worker.peer.say("container", &started).await;
        again
    });
    assert_eq!((&again.job, &again.data["gpuIds"]), (&container.job, &json!([0])));
}
