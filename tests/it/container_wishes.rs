//! What is wanted of a container comes about, whoever dies or wishes otherwise meanwhile.

use std::sync::Arc;

use async_trait::async_trait;
use gangline::model::Job;
use gangline::protocol::job::{Reason, Status};
use gangline::protocol::{Attempt, ContainerId, JobId};
use gangline::store::documents::{Collection, DocumentWrite};
use gangline::store::error::AppendError;
use gangline::store::jobs::{Change, Claim};
use gangline::store::{Store, StoreError};
use serde_json::{Value, json};

use crate::container_frames::{about, comes_to, done, node, record, running, starts};
use crate::support::server::Stage;
use crate::support::store::{Fault, Gate, faulty};
use crate::support::{Assigned, Peer, TestServer, Worker, eventually};

/// The worker is told to end a start, and does.
async fn ends(worker: &mut Worker, start: &Assigned) {
    let cancel = worker.peer.until("job", "cancel").await;
    assert_eq!(cancel["jobId"], json!(start.job));
    worker.say(&cancelled(start)).await;
}

fn cancelled(start: &Assigned) -> Value {
    let mut end = start.report("end");
    (end["n"], end["exitCode"], end["reason"]) = (json!(1), json!(143), json!("cancelled"));
    end
}

/// The same worker, with a container that it ran all the while.
async fn comes_back(server: &TestServer, id: &str, start: &Assigned) -> Worker {
    node(server, id, &json!({"resume": [start.resume(0, "running")], "containers": [start.job]})).await
}

/// What is kept of a container's job.
async fn job(server: &TestServer, container: &str) -> Arc<Job> {
    let id: ContainerId = container.parse().expect("an id");
    server.dispatcher.store().job(id.job().into()).await.expect("the store answers").expect("it is there")
}

/// Nothing more is to come of a container, and nobody knows it any more.
async fn is_gone(server: &TestServer, peer: &mut Peer, container: &str) {
    peer.refused("container", &about("get", container), "not_found").await;
    let job = job(server, container).await;
    assert_eq!((job.status, job.reason), (Status::Cancelled, Some(Reason::Removed)));
}

/// A container that was stopped.
async fn stopped(peer: &mut Peer, worker: &mut Worker, more: &Value) -> String {
    let (id, start) = running(peer, worker, more).await;
    tokio::join!(done(peer, about("stop", &id)), ends(worker, &start));
    id
}

#[tokio::test]
async fn a_restart_that_a_dispatcher_died_over_comes_about_under_the_next() {
    for restart in ["no", "always"] {
        let server = TestServer::start().await;
        let mut peer = server.admin().await;
        let mut worker = node(&server, "w", &json!({})).await;
        let (id, start) = running(&mut peer, &mut worker, &json!({"restart": restart})).await;
        peer.say("container", &json!({"opt": "restart", "containerId": id, "graceSecs": 30})).await;
        worker.peer.until("job", "cancel").await;
        // The dispatcher dies within the grace.
        let dir = server.stop().await;

        let server = Stage::new().dir(dir).start().await;
        let mut peer = server.admin().await;
        let mut worker = comes_back(&server, "w", &start).await;
        ends(&mut worker, &start).await;
        let again = starts(&mut worker, json!([])).await;
        assert_eq!((again.job.as_str(), again.attempt), (id.as_str(), 2));
        comes_to(&mut peer, &id, "status", "running").await;
        // That was one restart: its next end is as any other.
        tokio::join!(done(&mut peer, about("stop", &id)), ends(&mut worker, &again));
        assert_eq!(record(&mut peer, &id).await["status"], "stopped");
    }
}

#[tokio::test]
async fn a_restart_while_the_worker_is_away_comes_about_when_it_is_back() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, start) = running(&mut peer, &mut worker, &json!({})).await;
    worker.peer.vanish();
    let error = peer.refused("container", &about("restart", &id), "conflict").await;
    assert_eq!(error["retry"], true);
    assert!(error["message"].as_str().unwrap().contains("restarted when that is back"), "{error}");
    let mut worker = comes_back(&server, "w", &start).await;
    ends(&mut worker, &start).await;
    assert_eq!(starts(&mut worker, json!([])).await.attempt, 2);
    comes_to(&mut peer, &id, "status", "running").await;
}

#[tokio::test]
async fn a_restart_of_what_was_lost_meanwhile_is_a_new_start_and_no_take_over() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, start) = running(&mut peer, &mut worker, &json!({})).await;
    worker.peer.vanish();
    peer.refused("container", &about("restart", &id), "conflict").await;
    server.pass_time(40).await;
    comes_to(&mut peer, &id, "status", "creating").await;
    let mut worker = comes_back(&server, "w", &start).await;
    assert_eq!(worker.registered["resume"][0]["verdict"], "drop");
    let again = starts(&mut worker, json!([])).await;
    assert_eq!((again.attempt, again.data.get("adopt")), (2, None), "what runs there is replaced");
    comes_to(&mut peer, &id, "status", "running").await;
}

#[tokio::test]
async fn a_stop_overrules_the_restart_before_it() {
    let server = TestServer::start().await;
    let (mut peer, mut other) = (server.user("ada").await, server.user("ada").await);
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, start) = running(&mut peer, &mut worker, &json!({"restart": "always"})).await;
    let stop = async {
        worker.peer.until("job", "cancel").await;
        tokio::join!(done(&mut other, about("stop", &id)), ends(&mut worker, &start));
    };
    let restart = about("restart", &id);
    let (_, ()) = tokio::join!(peer.refused("container", &restart, "conflict"), stop);
    assert_eq!(record(&mut peer, &id).await["status"], "stopped");
}

#[tokio::test]
async fn a_start_overrules_the_stop_before_it() {
    let server = TestServer::start().await;
    let (mut peer, mut other) = (server.user("ada").await, server.user("ada").await);
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, start) = running(&mut peer, &mut worker, &json!({})).await;
    let begin = async {
        worker.peer.until("job", "cancel").await;
        let again = async {
            // It is noted before its answer is waited for.
            server.settled().await;
            worker.say(&cancelled(&start)).await;
            starts(&mut worker, json!([])).await
        };
        tokio::join!(done(&mut other, about("start", &id)), again).1
    };
    let ((), again) = tokio::join!(done(&mut peer, about("stop", &id)), begin);
    assert_eq!(again.attempt, 2);
    assert_eq!(record(&mut peer, &id).await["status"], "running");
}

#[tokio::test]
async fn what_waits_for_its_worker_can_be_removed_for_good() {
    let server = TestServer::start().await;
    let (mut peer, mut other) = (server.user("ada").await, server.user("ada").await);
    let mut worker = node(&server, "w", &json!({})).await;
    let id = stopped(&mut peer, &mut worker, &json!({"name": "web"})).await;
    worker.peer.vanish();
    let remove = async {
        comes_to(&mut other, &id, "status", "creating").await;
        done(&mut other, about("remove", &id)).await;
    };
    let start = about("start", &id);
    let (error, ()) = tokio::join!(peer.refused("container", &start, "conflict"), remove);
    assert!(error["message"].as_str().unwrap().contains("removed"), "{error}");
    is_gone(&server, &mut peer, &id).await;

    let mut worker = node(&server, "w", &json!({"boot": 2, "containers": [id]})).await;
    assert_eq!(worker.peer.until("container", "forget").await["containerId"], json!(id));
    // The next that it is given is another one, under the name that is free.
    let (another, _) = running(&mut peer, &mut worker, &json!({"name": "web"})).await;
    assert_ne!(another, id);
}

#[tokio::test]
async fn a_start_and_a_remove_at_once_leave_nothing() {
    let server = TestServer::start().await;
    let (mut peer, mut other) = (server.user("ada").await, server.user("ada").await);
    let mut worker = node(&server, "w", &json!({})).await;
    for round in 0..16 {
        let id = stopped(&mut peer, &mut worker, &json!({"restart": "always"})).await;
        // Two connections, so that neither waits for the other.
        let (start, remove) = (about("start", &id), about("remove", &id));
        let (first, second) = if round % 2 == 0 { (start, remove) } else { (remove, start) };
        let answers = tokio::select! {
            (first, second) = async { tokio::join!(peer.ask("container", &first), other.ask("container", &second)) } => [first, second],
            () = does_as_told(&mut worker) => continue,
        };
        let [started, removed] = if round % 2 == 0 { answers.each_ref() } else { [&answers[1], &answers[0]] };
        let (said, why) = (&started["data"]["opt"], &started["data"]["code"]);
        assert!(said == "ok" || why == "conflict" || why == "not_found", "{started}");
        assert_eq!(removed["data"]["opt"], "ok", "{removed}");
        is_gone(&server, &mut peer, &id).await;
    }
    let list = peer.get("container", &json!({"opt": "list"}), "containers").await;
    assert_eq!(list["containers"], json!([]));
}

/// Starts and ends what it is told to, until this is dropped.
async fn does_as_told(worker: &mut Worker) {
    loop {
        let frame = worker.peer.next().await;
        let data = &frame["data"];
        match data["opt"].as_str() {
            Some("assign") => {
                let start = Assigned::of(data);
                worker.say(&start.report("accept")).await;
                let started =
                    json!({"opt": "started", "containerId": start.job, "attempt": start.attempt, "ports": []});
                worker.peer.say("container", &started).await;
            }
            Some("cancel") => worker.say(&cancelled(&Assigned::of(data))).await,
            _ => (),
        }
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_nobody_from_the_others() {
    let server = TestServer::start().await;
    let (mut peer, mut admin) = (server.user("ada").await, server.admin().await);
    let mut worker = node(&server, "w", &json!({})).await;
    let (broken, _) = running(&mut peer, &mut worker, &json!({})).await;
    let (id, start) = running(&mut peer, &mut worker, &json!({"restart": "always"})).await;
    let store = server.dispatcher.store();
    let document = store.document(Collection::Containers, &broken).await.expect("the store answers");
    let breaks = DocumentWrite {
        collection: Collection::Containers,
        key: broken.clone(),
        expected: document.map(|document| document.version),
        value: Some(r#"{"id":"#.to_owned()),
        expires_at: None,
    };
    assert!(store.write_documents(vec![breaks]).await.expect("the store answers"));
    worker.peer.vanish();

    // The same process, which does not know of the broken one's start any more.
    let resume = [start.resume(0, "running")];
    let mut worker = node(&server, "w", &json!({"resume": resume, "containers": [broken, id]})).await;
    tokio::join!(done(&mut peer, about("stop", &id)), ends(&mut worker, &start));
    tokio::join!(done(&mut peer, about("start", &id)), starts(&mut worker, json!([])));
    assert_eq!(record(&mut peer, &id).await["status"], "running");
    let list = admin.get("container", &json!({"opt": "list"}), "containers").await;
    assert_eq!(list["containers"].as_array().map(Vec::len), Some(1), "{list}");
}

/// Before a container goes back into the queue.
struct BeforeReopening(Arc<Gate>);

#[async_trait]
impl Fault for BeforeReopening {
    async fn reopen(
        &self,
        store: &dyn Store,
        container: JobId,
        attempt: Attempt,
    ) -> Result<Result<Change, AppendError>, StoreError> {
        self.0.pass().await;
        store.reopen(container, attempt).await
    }
}

#[tokio::test]
async fn a_start_by_itself_does_not_overrule_a_stop() {
    let gate = Gate::new();
    let fault = BeforeReopening(Arc::clone(&gate));
    let server = Stage::new().store(|store| faulty(store, fault)).start().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, first) = running(&mut peer, &mut worker, &json!({"restart": "always"})).await;
    worker.say(&first.end(1, 7)).await;
    gate.is_reached().await;
    // It rests, so there is nothing to end.
    done(&mut peer, about("stop", &id)).await;
    // Nobody takes it before it is looked at again.
    server.admin().await.get("worker", &json!({"opt": "drain", "workerId": "w"}), "ok").await;
    gate.open();
    comes_to(&mut peer, &id, "reason", "cancelled").await;
    assert_eq!(record(&mut peer, &id).await["status"], "stopped");
    let job = job(&server, &id).await;
    assert_eq!((job.status, job.attempt), (Status::Cancelled, 1));
}

/// After a job was claimed, before anybody hears of it.
struct AfterClaiming(Arc<Gate>);

#[async_trait]
impl Fault for AfterClaiming {
    async fn claim(&self, store: &dyn Store, claim: Claim) -> Result<Vec<Change>, StoreError> {
        let claimed = store.claim(claim).await?;
        if claimed.iter().any(|change| change.job.attempt == 2) {
            self.0.pass().await;
        }
        Ok(claimed)
    }
}

#[tokio::test]
async fn what_is_removed_while_it_is_handed_to_its_worker_ends_there() {
    let gate = Gate::new();
    let fault = AfterClaiming(Arc::clone(&gate));
    let server = Stage::new().store(|store| faulty(store, fault)).start().await;
    let (mut peer, mut other) = (server.user("ada").await, server.user("ada").await);
    let mut worker = node(&server, "w", &json!({})).await;
    let id = stopped(&mut peer, &mut worker, &json!({})).await;
    peer.say("container", &about("start", &id)).await;
    gate.is_reached().await;
    let told = async {
        let is_to_end = async || job(&server, &id).await.cancel_grace_ms.is_some().then_some(());
        eventually("the wish to be kept", is_to_end).await;
        gate.open();
        let start = worker.accepted().await;
        ends(&mut worker, &start).await;
    };
    tokio::join!(done(&mut other, about("remove", &id)), told);
    is_gone(&server, &mut other, &id).await;
}
