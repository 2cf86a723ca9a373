//! The contract's section on workers: who gets what, and who may still write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gangline::protocol::{Attempt, JobId, WorkerId};
use gangline::store::Store;
use gangline::store::error::{StoreError, SubmitError};
use gangline::store::jobs::{Change, NewJob, QueueLimits, Submitted};
use gangline::store::log::AttemptWrite;
use serde_json::{Value, json};

use crate::support::server::Stage;
use crate::support::store::{AppendResults, Fault, faulty};
use crate::support::{Assigned, Peer, TestServer, Worker, eventually, soon};

fn gpus(count: u64) -> Value {
    (0..count)
        .map(|index| json!({"index": index, "name": "g", "uuid": format!("u{index}"), "memoryBytes": 1}))
        .collect()
}

/// Rejects what it is given.
async fn reject(worker: &mut Worker, assigned: &Assigned) {
    let mut data = assigned.report("reject");
    data["reason"] = json!("no space left");
    worker.say(&data).await;
}

#[tokio::test]
async fn a_worker_registers_and_shows_in_the_list() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let more = json!({"labels": {"zone": "eu"}, "gpus": gpus(2), "slots": 3, "version": "9.9"});
    let worker = server.worker("w", &more).await;
    assert_eq!((&worker.registered["workerId"], &worker.registered["heartbeatSecs"]), (&json!("w"), &json!(10)));
    assert_eq!(worker.registered["resume"], json!([]));
    let record = peer.get("worker", &json!({"opt": "get", "workerId": "w"}), "worker").await["worker"].clone();
    for (field, value) in [
        ("workerId", json!("w")),
        ("status", json!("idle")),
        ("draining", json!(false)),
        ("labels", json!({"zone": "eu"})),
        ("slots", json!(3)),
        ("running", json!(0)),
        ("cpuCount", json!(4)),
        ("version", json!("9.9")),
        ("hostname", json!("h")),
    ] {
        assert_eq!(record[field], value, "{field}");
    }
    assert_eq!(record["gpus"].as_array().unwrap().len(), 2);
    let list = peer.get("worker", &json!({"opt": "list"}), "workers").await;
    assert_eq!((&list["workers"], &list["next"]), (&json!([record]), &Value::Null));
    peer.refused("worker", &json!({"opt": "get", "workerId": "nobody"}), "not_found").await;
    let error = peer.refused("worker", &json!({"opt": "get"}), "bad_frame").await;
    assert_eq!(error["field"], "workerId");
}

#[tokio::test]
async fn only_a_registered_worker_reports() {
    let server = TestServer::start().await;
    let mut peer = Peer::with_token(server.address, server.worker_token()).await;
    for (noun, data) in [
        ("worker", json!({"opt": "heartbeat", "jobs": []})),
        ("job", json!({"opt": "accept", "jobId": "job-1-00000000", "attempt": 1})),
    ] {
        let error = peer.ask(noun, &data).await;
        assert_eq!(error["type"], "error", "{error}");
    }
    let mut bad = Worker::registration("w", &json!({}));
    bad.as_object_mut().unwrap().remove("boot");
    assert_eq!(peer.refused("worker", &bad, "bad_frame").await["field"], "boot");
    let bad = Worker::registration("../up", &json!({}));
    assert_eq!(peer.refused("worker", &bad, "bad_frame").await["field"], "workerId");
    let bad = Worker::registration("w", &json!({"slots": 0}));
    assert_eq!(peer.refused("worker", &bad, "bad_frame").await["field"], "slots");
    peer.get("worker", &Worker::registration("w", &json!({})), "registered").await;
    peer.refused("worker", &Worker::registration("w", &json!({})), "conflict").await;
}

#[tokio::test]
async fn watchers_of_workers_hear_of_status_and_usage() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    assert_eq!(peer.get("worker", &json!({"opt": "watch"}), "ok").await["of"], "watch");
    let mut worker = server.worker("w", &json!({})).await;
    let status = async |peer: &mut Peer| {
        let worker = peer.expect("worker", "status").await["worker"].clone();
        (worker["status"].as_str().unwrap().to_owned(), worker["draining"].as_bool().unwrap())
    };
    assert_eq!(status(&mut peer).await, ("idle".to_owned(), false));
    worker.beat(&[]).await;
    let usage = peer.expect("worker", "usage").await;
    assert_eq!((&usage["workerId"], &usage["usage"]["cpu"]), (&json!("w"), &json!(0.5)));
    let mut admin = server.admin().await;
    admin.queue(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    assert_eq!(status(&mut peer).await, ("busy".to_owned(), false));
    admin.get("worker", &json!({"opt": "drain", "workerId": "w"}), "ok").await;
    assert_eq!(status(&mut peer).await, ("busy".to_owned(), true));
    worker.run(&assigned, "x").await;
    assert_eq!(status(&mut peer).await, ("idle".to_owned(), true));
    peer.get("worker", &json!({"opt": "unwatch"}), "ok").await;
    admin.get("worker", &json!({"opt": "undrain", "workerId": "w"}), "ok").await;
    peer.is_quiet().await;
}

#[tokio::test]
async fn jobs_go_where_their_requirements_are_met() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut eu = server.worker("eu", &json!({"labels": {"zone": "eu", "disk": "ssd"}, "slots": 8})).await;
    let mut us = server.worker("us", &json!({"labels": {"zone": "us"}, "slots": 8, "cpuCount": 16})).await;
    let cases = [
        (json!({"labels": {"zone": "us"}}), "us"),
        (json!({"labels": {"zone": "eu", "disk": "ssd"}}), "eu"),
        (json!({"labels": {}, "workerId": "eu"}), "eu"),
        (json!({"cpus": 8}), "us"),
        (json!({"cpus": 5.5}), "us"),
    ];
    for (requires, place) in cases {
        let job = peer.queue(&json!({"command": "x", "requires": requires})).await;
        let worker = if place == "eu" { &mut eu } else { &mut us };
        assert_eq!(worker.accepted().await.job, job, "{requires}");
    }
    for unmet in [json!({"labels": {"zone": "us", "disk": "ssd"}}), json!({"workerId": "us", "labels": {"zone": "eu"}})]
    {
        let job = peer.queue(&json!({"command": "x", "requires": unmet})).await;
        eu.peer.is_quiet().await;
        us.peer.is_quiet().await;
        assert_eq!(peer.job(&job).await["status"], "pending");
    }
}

#[tokio::test]
async fn cpus_and_memory_are_not_given_twice() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({"slots": 8, "cpuCount": 4, "memoryBytes": 1000})).await;
    let first = peer.queue(&json!({"command": "x", "requires": {"cpus": 2.5}})).await;
    let first = (worker.accepted().await, first);
    assert_eq!(first.0.job, first.1);
    let too_much = peer.queue(&json!({"command": "x", "requires": {"cpus": 2}})).await;
    let fits = peer.queue(&json!({"command": "x", "requires": {"cpus": 1.5, "memoryBytes": 600}})).await;
    assert_eq!(worker.accepted().await.job, fits);
    let memory = peer.queue(&json!({"command": "x", "requires": {"memoryBytes": 500}})).await;
    let plain = peer.queue(&json!({"command": "x"})).await;
    assert_eq!(worker.accepted().await.job, plain);
    worker.peer.is_quiet().await;
    worker.run(&first.0, "x").await;
    assert_eq!(worker.accepted().await.job, too_much);
    assert_eq!(peer.job(&memory).await["status"], "pending");
}

#[tokio::test]
async fn gpus_are_given_by_count_and_by_id() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({"slots": 8, "gpus": gpus(4)})).await;
    let by_id = peer.queue(&json!({"command": "x", "requires": {"gpuIds": [2, 1]}})).await;
    let by_id = (worker.accepted().await, by_id);
    assert_eq!((&by_id.0.job, &by_id.0.data["gpuIds"]), (&by_id.1, &json!([1, 2])));
    let two = peer.queue(&json!({"command": "x", "requires": {"gpus": 2}})).await;
    let two_given = worker.accepted().await;
    assert_eq!((&two_given.job, &two_given.data["gpuIds"]), (&two, &json!([0, 3])));
    let waits = peer.queue(&json!({"command": "x", "requires": {"gpus": 1}})).await;
    let waits_too = peer.queue(&json!({"command": "x", "requires": {"gpuIds": [3]}})).await;
    worker.peer.is_quiet().await;
    worker.run(&by_id.0, "x").await;
    let given = worker.accepted().await;
    assert_eq!((&given.job, &given.data["gpuIds"]), (&waits, &json!([1])));
    worker.peer.is_quiet().await;
    worker.run(&two_given, "x").await;
    assert_eq!(worker.accepted().await.job, waits_too);
    let both = json!({"opt": "submit", "command": "x", "requires": {"gpus": 1, "gpuIds": [0]}});
    assert_eq!(peer.refused("job", &both, "bad_frame").await["field"], "requires.gpuIds");
}

#[tokio::test]
async fn a_gpu_is_never_given_twice_however_many_ask() {
    let server = TestServer::start().await;
    let mut submitters = Vec::new();
    for _ in 0..4 {
        submitters.push(server.admin().await);
    }
    let mut worker = server.worker("w", &json!({"slots": 64, "gpus": gpus(8)})).await;
    const JOBS: usize = 200;
    for index in 0..JOBS {
        let requires = match index % 4 {
            0 => json!({"gpus": 1}),
            1 => json!({"gpus": 3}),
            2 => json!({"gpuIds": [index % 8]}),
            _ => json!({"gpus": 2, "cpus": 0.01}),
        };
        let submit = json!({"opt": "submit", "command": "x", "follow": false, "requires": requires});
        submitters[index % 4].say("job", &submit).await;
    }
    let ids =
        |ids: &Value| -> BTreeSet<u64> { ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect() };
    let mut held: BTreeMap<String, (Assigned, BTreeSet<u64>)> = BTreeMap::new();
    let (mut done, mut most) = (0, 0);
    soon("all jobs to run", async {
        while done < JOBS {
            for frame in worker.peer.on_its_way().await {
                if frame["data"]["opt"] != "assign" {
                    continue;
                }
                let assigned = Assigned::of(&frame["data"]);
                let given = ids(&assigned.data["gpuIds"]);
                let wanted = &assigned.data["spec"]["requires"];
                match wanted.get("gpuIds") {
                    Some(wanted) => assert_eq!(given, ids(wanted)),
                    None => assert_eq!(Some(given.len() as u64), wanted["gpus"].as_u64()),
                }
                for (other, taken) in held.values() {
                    assert!(taken.is_disjoint(&given), "{given:?} given to {assigned:?} beside {other:?}");
                }
                held.insert(assigned.job.clone(), (assigned, given));
            }
            most = most.max(held.len());
            // The first goes on until another runs beside it: no job here takes more than three GPUs. Then not in the order they
            // came, so that GPUs come back in every order.
            if most > 1
                && let Some(job) = held.keys().nth(done % held.len().max(1)).cloned()
            {
                let (assigned, _) = held.remove(&job).unwrap();
                worker.say(&assigned.end(1, 0)).await;
                done += 1;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn five_rejections_end_a_job_and_none_is_charged() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.submit(&json!({"command": "x", "onLost": "requeue", "maxAttempts": 1})).await["jobId"].clone();
    for attempt in 1..=5 {
        let assigned = worker.assigned().await;
        assert_eq!((&json!(assigned.job), assigned.attempt), (&job, attempt));
        reject(&mut worker, &assigned).await;
    }
    let log: Vec<(String, String)> = peer.log().await.into_iter().filter(|(_, what)| what != "live").collect();
    let mut expected = Vec::new();
    for attempt in 1..=5 {
        expected.push((format!("{attempt}-0"), "running".to_owned()));
        expected.push((format!("{attempt}-1"), "pending".to_owned()));
    }
    expected[9].1 = "failed/rejected".to_owned();
    assert_eq!(log, expected);
    let record = peer.job(job.as_str().unwrap()).await;
    assert_eq!((&record["status"], &record["reason"]), (&json!("failed"), &json!("rejected")));
    assert!(record["errorMessage"].as_str().unwrap().contains("no space left"), "{record}");
    worker.peer.is_quiet().await;
}

#[tokio::test]
async fn a_rejected_job_runs_when_it_is_taken_at_last() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.queue(&json!({"command": "x", "onLost": "requeue", "maxAttempts": 2})).await;
    for _ in 0..4 {
        let assigned = worker.assigned().await;
        reject(&mut worker, &assigned).await;
        // Again: it is someone's no more.
        worker.say(&assigned.report("reject")).await;
        assert_eq!(worker.peer.until_error().await["code"], "stale_attempt");
    }
    // Two runs are left of two: one is lost, the next goes through.
    let lost = worker.accepted().await;
    assert_eq!(lost.attempt, 5);
    worker.peer.vanish();
    server.pass_time(31).await;
    peer.job_is(&job, "pending").await;
    let mut worker = server.worker("w2", &json!({})).await;
    let assigned = worker.accepted().await;
    assert_eq!(assigned.attempt, 6);
    worker.run(&assigned, "hi\n").await;
    peer.job_is(&job, "completed").await;
}

#[tokio::test]
async fn a_newer_connection_of_the_same_worker_closes_the_older() {
    let server = TestServer::start().await;
    let mut first = server.worker("w", &json!({"boot": 5})).await;
    let mut same = server.worker("w", &json!({"boot": 5})).await;
    assert_eq!(first.peer.closed().await, 4509);
    let mut larger = server.worker("w", &json!({"boot": 6})).await;
    assert_eq!(same.peer.closed().await, 4509);

    let mut late = Peer::with_token(server.address, server.worker_token()).await;
    late.refused("worker", &Worker::registration("w", &json!({"boot": 5})), "conflict").await;
    larger.peer.is_quiet().await;
    let mut peer = server.admin().await;
    let job = peer.queue(&json!({"command": "x"})).await;
    assert_eq!(larger.accepted().await.job, job);
}

#[tokio::test]
async fn an_assignment_without_an_answer_comes_again_on_reconnect() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.queue(&json!({"command": "x"})).await;
    let first = worker.assigned().await;
    worker.peer.vanish();
    let mut worker = server.worker("w", &json!({})).await;
    let again = worker.accepted().await;
    assert_eq!((&again.job, again.attempt, &again.data), (&job, 1, &first.data));
    worker.run(&again, "hi\n").await;
    assert_eq!(peer.job_is(&job, "completed").await["attempt"], 1);
}

#[tokio::test]
async fn no_order_comes_before_the_reply_to_register() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    // Jobs keep coming while workers register, so that the queue is looked through at every moment.
    for round in 0..40 {
        let submits = (0..8)
            .map(|_| json!({"type": "job", "data": {"opt": "submit", "command": "x", "follow": false}}).to_string());
        let mut worker = Peer::with_token(server.address, server.worker_token()).await;
        let register = Worker::registration(&format!("w{round}"), &json!({"slots": 8}));
        tokio::join!(peer.say_all(submits), worker.say("worker", &register));
        assert_eq!(worker.next().await["data"]["opt"], "registered");
        assert_eq!(worker.next().await["data"]["opt"], "assign");
    }
}

#[tokio::test]
async fn a_worker_that_comes_back_goes_on_where_the_log_ends() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker_with_slots("w", 4).await;
    let job = peer.submit(&json!({"command": "x"})).await["jobId"].clone();
    let runs = worker.accepted().await;
    let other = peer.queue(&json!({"command": "x"})).await;
    let over = worker.accepted().await;
    worker.say(&runs.output(1, "1\n")).await;
    worker.say(&runs.output(2, "2\n")).await;
    worker.stored(&runs, 2).await;
    worker.run(&over, "x").await;
    worker.peer.vanish();

    let stranger = json!({"jobId": "job-77-00000000", "attempt": 1, "lastN": 3, "state": "running"});
    let older = json!({"jobId": runs.job, "attempt": 7, "lastN": 3, "state": "running"});
    let resume = json!([runs.resume(5, "running"), over.resume(2, "ended"), stranger, older]);
    let mut worker = server.worker("w", &json!({"slots": 4, "resume": resume})).await;
    let verdicts = worker.registered["resume"].as_array().unwrap().clone();
    assert_eq!(verdicts[0], json!({"jobId": runs.job, "attempt": 1, "verdict": "continue", "nextN": 3}));
    let words: Vec<&str> = verdicts.iter().map(|verdict| verdict["verdict"].as_str().unwrap()).collect();
    assert_eq!(words, ["continue", "drop", "drop", "drop"]);
    // What it holds is not assigned again.
    worker.peer.is_quiet().await;

    // It may send again what is stored: that is passed over.
    for n in 1..=5 {
        worker.say(&runs.output(n, &format!("{n}\n"))).await;
    }
    worker.say(&runs.end(6, 0)).await;
    worker.stored(&runs, 6).await;
    let log: Vec<(String, String)> = peer.log().await.into_iter().filter(|(_, what)| what != "live").collect();
    let expected: Vec<(String, String)> = std::iter::once(("1-0".to_owned(), "running".to_owned()))
        .chain((1..=5).map(|n| (format!("1-{n}"), format!("stdout:{n}\n"))))
        .chain([("1-6".to_owned(), "completed/exit".to_owned())])
        .collect();
    assert_eq!(log, expected);
    assert_eq!(peer.job(&other).await["status"], "completed");
    assert_eq!(json!(runs.job), job);
}

#[tokio::test]
async fn an_end_whose_ack_was_lost_may_be_said_again() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.queue(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    worker.run(&assigned, "hi\n").await;
    worker.say(&assigned.output(1, "hi\n")).await;
    worker.say(&assigned.end(2, 0)).await;
    worker.stored(&assigned, 2).await;
    // Another end is no repeat.
    worker.say(&assigned.end(2, 1)).await;
    assert_eq!(worker.peer.until_error().await["code"], "stale_attempt");
    assert_eq!(peer.job(&job).await["exitCode"], 0);
}

#[tokio::test]
async fn a_hole_is_answered_with_nack_and_a_repeat_is_dropped() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    peer.submit(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    worker.say(&assigned.output(1, "1\n")).await;
    worker.stored(&assigned, 1).await;
    worker.say(&assigned.output(3, "3\n")).await;
    let nack = worker.peer.until("job", "nack").await;
    assert_eq!((&nack["expect"], &nack["jobId"], &nack["attempt"]), (&json!(2), &json!(assigned.job), &json!(1)));
    worker.say(&assigned.end(3, 0)).await;
    assert_eq!(worker.peer.until("job", "nack").await["expect"], 2);
    for n in [1, 2, 2, 3, 1, 3] {
        worker.say(&assigned.output(n, &format!("{n}\n"))).await;
    }
    worker.say(&assigned.end(4, 0)).await;
    worker.stored(&assigned, 4).await;
    let text: String =
        peer.log().await.into_iter().filter_map(|(_, what)| Some(what.strip_prefix("stdout:")?.to_owned())).collect();
    assert_eq!(text, "1\n2\n3\n");
    // `n` counts from 1; the first of all is the status.
    let mut zero = assigned.output(0, "x");
    zero["n"] = json!(0);
    worker.say(&zero).await;
    assert_eq!(worker.peer.until_error().await["field"], "n");
}

#[tokio::test]
async fn a_lost_worker_fails_its_job_and_can_write_nothing_more() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.submit(&json!({"command": "x"})).await["jobId"].as_str().unwrap().to_owned();
    let assigned = worker.accepted().await;
    worker.say(&assigned.output(1, "before\n")).await;
    worker.stored(&assigned, 1).await;
    server.pass_time(31).await;
    let log: Vec<(String, String)> = peer.log().await.into_iter().filter(|(_, what)| what != "live").collect();
    assert_eq!(log.last().unwrap(), &("1-2".to_owned(), "failed/worker_lost".to_owned()));
    // The store says so here, and the answer still names the frame.
    worker.peer.refused("job", &assigned.output(2, "after\n"), "stale_attempt").await;
    worker.peer.refused("job", &assigned.end(2, 0), "stale_attempt").await;
    assert_eq!(worker.beat(&[&assigned]).await, json!([[job, 1]]));
    peer.follow(&job, "0").await;
    assert_eq!(peer.log().await, log);
    assert_eq!(peer.job(&job).await["reason"], "worker_lost");
}

#[tokio::test]
async fn a_job_to_requeue_runs_again_elsewhere_and_the_first_attempt_is_fenced_off() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    let mut stale = server.worker("a", &json!({})).await;
    let job = peer.submit(&json!({"command": "x", "onLost": "requeue"})).await["jobId"].as_str().unwrap().to_owned();
    let first = stale.accepted().await;
    stale.say(&first.output(1, "first\n")).await;
    stale.stored(&first, 1).await;
    server.pass_time(31).await;
    let record = peer.job_is(&job, "pending").await;
    assert_eq!((&record["workerId"], &record["startedAt"]), (&Value::Null, &Value::Null), "{record}");
    // It is heard of again, but what it held is not its own any more: it may even get it anew.
    assert_eq!(stale.beat(&[&first]).await, json!([[job, 1]]));
    let second = stale.accepted().await;
    assert_eq!((&second.job, second.attempt), (&job, 2));
    stale.say(&first.output(2, "stale\n")).await;
    assert_eq!(stale.peer.until_error().await["code"], "stale_attempt");
    stale.run(&second, "second\n").await;
    let log: Vec<(String, String)> = peer.log().await.into_iter().filter(|(_, what)| what != "live").collect();
    let expected = [
        ("1-0", "running"),
        ("1-1", "stdout:first\n"),
        ("1-2", "pending"),
        ("2-0", "running"),
        ("2-1", "stdout:second\n"),
        ("2-2", "completed/exit"),
    ];
    assert_eq!(log, expected.map(|(at, what)| (at.to_owned(), what.to_owned())));
    // A follower that was at the first attempt's end goes on with the second.
    peer.follow(&job, "1-2").await;
    assert_eq!(peer.log().await, log[3..]);
}

#[tokio::test]
async fn max_attempts_bounds_the_runs() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    let job = peer.queue(&json!({"command": "x", "onLost": "requeue", "maxAttempts": 2})).await;
    for attempt in 1..=2 {
        let mut worker = server.worker(&format!("w{attempt}"), &json!({})).await;
        assert_eq!(worker.accepted().await.attempt, attempt);
        worker.peer.vanish();
        server.pass_time(31).await;
        peer.job_is(&job, if attempt == 1 { "pending" } else { "failed" }).await;
    }
    let record = peer.job(&job).await;
    assert_eq!((&record["reason"], &record["attempt"]), (&json!("worker_lost"), &json!(2)));
}

#[tokio::test]
async fn a_restarted_agent_has_lost_what_it_ran() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker_with_slots("w", 2).await;
    let fails = peer.queue(&json!({"command": "x"})).await;
    worker.accepted().await;
    let again = peer.queue(&json!({"command": "x", "onLost": "requeue"})).await;
    worker.accepted().await;
    worker.peer.vanish();
    // A larger boot is another process: nobody needs to wait for the lease.
    let mut worker = server.worker("w", &json!({"slots": 2, "boot": 2})).await;
    let assigned = worker.accepted().await;
    assert_eq!((&assigned.job, assigned.attempt), (&again, 2));
    assert_eq!(peer.job(&fails).await["reason"], "worker_lost");
}

#[tokio::test]
async fn heartbeats_keep_jobs_and_nothing_else_does() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker_with_slots("w", 2).await;
    let job = peer.queue(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    for _ in 0..2 {
        server.pass_time(18).await;
        assert_eq!(worker.beat(&[&assigned]).await, json!([]));
    }
    assert_eq!(peer.job(&job).await["status"], "running");
    // Output alone does not renew the lease.
    server.pass_time(18).await;
    worker.say(&assigned.output(1, "x")).await;
    worker.stored(&assigned, 1).await;
    server.pass_time(13).await;
    assert_eq!(peer.job_is(&job, "failed").await["reason"], "worker_lost");
}

#[tokio::test]
async fn a_silent_worker_is_offline_gets_nothing_and_may_come_back() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker_with_slots("w", 4).await;
    peer.get("worker", &json!({"opt": "watch"}), "ok").await;
    server.pass_time(31).await;
    let status = peer.expect("worker", "status").await;
    assert_eq!(status["worker"]["status"], "offline");
    // Its socket is still open, but a job given to it now would be lost.
    let job = peer.queue(&json!({"command": "x"})).await;
    worker.peer.is_quiet().await;
    let record = peer.job(&job).await;
    assert_eq!(record["status"], "pending");
    assert!(record["waitingFor"].as_str().unwrap().contains("offline"), "{record}");
    worker.beat(&[]).await;
    let status = peer.until("worker", "status").await;
    assert_eq!(status["worker"]["status"], "idle");
    assert_eq!(worker.accepted().await.job, job);
}

#[tokio::test]
async fn a_worker_writes_only_to_jobs_of_its_own() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut owner = server.worker("owner", &json!({})).await;
    let job = peer.submit(&json!({"command": "x"})).await["jobId"].as_str().unwrap().to_owned();
    let assigned = owner.accepted().await;
    let mut thief = server.worker("thief", &json!({})).await;
    let reports =
        [assigned.report("accept"), assigned.report("reject"), assigned.output(1, "forged\n"), assigned.end(1, 0)];
    for report in reports {
        thief.peer.refused("job", &report, "stale_attempt").await;
    }
    assert_eq!(thief.beat(&[&assigned]).await, json!([[job, 1]]));
    owner.run(&assigned, "true\n").await;
    let text: Vec<String> =
        peer.log().await.into_iter().filter(|(_, what)| what.starts_with("stdout")).map(|e| e.1).collect();
    assert_eq!(text, ["stdout:true\n"]);
}

#[tokio::test]
async fn a_drained_worker_finishes_and_takes_nothing_until_undrained() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker_with_slots("w", 2).await;
    peer.queue(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    assert_eq!(peer.get("worker", &json!({"opt": "drain", "workerId": "w"}), "ok").await["of"], "drain");
    worker.peer.until("worker", "drain").await;
    let job = peer.queue(&json!({"command": "x"})).await;
    worker.run(&assigned, "x").await;
    worker.peer.is_quiet().await;
    assert_eq!(peer.job(&job).await["status"], "pending");

    // A drain is kept over a reconnect.
    worker.peer.vanish();
    let mut worker = server.worker_with_slots("w", 2).await;
    worker.peer.expect("worker", "drain").await;
    worker.peer.is_quiet().await;
    let get = json!({"opt": "get", "workerId": "w"});
    assert_eq!(peer.get("worker", &get, "worker").await["worker"]["draining"], true);
    // Nor can the worker take it back, by undoing its own or by starting anew.
    worker.peer.get("worker", &json!({"opt": "drain"}), "drain").await;
    worker.peer.get("worker", &json!({"opt": "undrain"}), "drain").await;
    worker.peer.vanish();
    let mut worker = server.worker("w", &json!({"slots": 2, "boot": 2})).await;
    worker.peer.expect("worker", "drain").await;
    assert_eq!(peer.get("worker", &get, "worker").await["worker"]["draining"], true);
    peer.get("worker", &json!({"opt": "undrain", "workerId": "w"}), "ok").await;
    worker.peer.until("worker", "undrain").await;
    assert_eq!(worker.accepted().await.job, job);

    // A worker may drain itself.
    worker.peer.get("worker", &json!({"opt": "drain"}), "drain").await;
    peer.queue(&json!({"command": "x"})).await;
    worker.peer.is_quiet().await;
    assert_eq!(peer.get("worker", &get, "worker").await["worker"]["draining"], true);
    worker.peer.get("worker", &json!({"opt": "undrain"}), "undrain").await;
    worker.accepted().await;
    // That ends with its connection: its next start takes jobs.
    worker.peer.get("worker", &json!({"opt": "drain"}), "drain").await;
    worker.peer.vanish();
    let mut worker = server.worker("w", &json!({"slots": 2, "boot": 3})).await;
    worker.peer.is_quiet().await;
    assert_eq!(peer.get("worker", &get, "worker").await["worker"]["draining"], false);
    peer.refused("worker", &json!({"opt": "drain", "workerId": "nobody"}), "not_found").await;
}

#[tokio::test]
async fn an_outage_of_the_dispatcher_is_no_reason_to_lose_a_job() {
    let server = Stage::new().manual_clock().start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.queue(&json!({"command": "x", "timeoutSecs": 60})).await;
    let assigned = worker.accepted().await;
    let waits = peer.queue(&json!({"command": "x", "queueTimeoutSecs": 60})).await;
    worker.say(&assigned.output(1, "before\n")).await;
    worker.stored(&assigned, 1).await;
    let clock = server.clock.clone();
    let dir = server.stop().await;

    // An hour later: lease, queue limit and the limit of the run all lie in the past.
    clock.advance(Duration::from_secs(3600));
    let server = Stage::new().clock(clock).dir(dir).start().await;
    let mut peer = server.admin().await;
    server.settled().await;
    assert_eq!(peer.job(&job).await["status"], "running");
    assert_eq!(peer.job(&waits).await["status"], "pending");
    let mut worker = server.worker("w", &json!({"resume": [assigned.resume(2, "ended")]})).await;
    assert_eq!(worker.registered["resume"][0]["verdict"], "continue");
    server.settled().await;
    worker.say(&assigned.output(2, "after\n")).await;
    worker.say(&assigned.end(3, 0)).await;
    worker.stored(&assigned, 3).await;
    assert_eq!(peer.job(&job).await["status"], "completed");
    assert_eq!(worker.accepted().await.job, waits);
}

#[tokio::test]
async fn a_dispatcher_that_stood_still_gives_its_workers_time() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.queue(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    let waits = peer.queue(&json!({"command": "x", "queueTimeoutSecs": 60})).await;
    // As after SIGSTOP, or on a laptop that slept: time has passed, and nobody could say anything.
    server.advance(3600);
    server.settled().await;
    let mut peer = server.admin().await;
    assert_eq!(peer.job(&job).await["status"], "running");
    let mut worker = server.worker("w", &json!({"resume": [assigned.resume(0, "running")]})).await;
    assert_eq!(worker.registered["resume"][0]["verdict"], "continue");
    assert_eq!(peer.job(&waits).await["status"], "pending");
    worker.run(&assigned, "hi\n").await;
    peer.job_is(&job, "completed").await;
    assert_eq!(worker.accepted().await.job, waits);
}

#[tokio::test]
async fn many_workers_share_the_queue() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut workers = Vec::new();
    for index in 0..4 {
        workers.push(server.worker_with_slots(&format!("w{index}"), 4).await);
    }
    let mut expected = BTreeSet::new();
    for _ in 0..16 {
        expected.insert(peer.queue(&json!({"command": "x"})).await);
    }
    let mut given = BTreeSet::new();
    for worker in &mut workers {
        for _ in 0..4 {
            let assigned = soon("each worker to get its share", worker.accepted()).await;
            assert!(given.insert(assigned.job.clone()), "{} given twice", assigned.job);
        }
    }
    assert_eq!(given, expected);
}

/// A store that can be away.
struct Away(Arc<AtomicBool>);

impl Away {
    fn check(&self) -> Result<(), StoreError> {
        if self.0.load(Ordering::Relaxed) { Err(StoreError::Unavailable("away".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Fault for Away {
    async fn submit(&self, store: &dyn Store, job: NewJob, limits: QueueLimits) -> Result<Submitted, SubmitError> {
        self.check()?;
        store.submit(job, limits).await
    }

    async fn append(&self, store: &dyn Store, writes: Vec<AttemptWrite>) -> Result<AppendResults, StoreError> {
        self.check()?;
        store.append(writes).await
    }

    async fn expire(&self, store: &dyn Store) -> Result<Vec<Change>, StoreError> {
        self.check()?;
        store.expire().await
    }

    async fn renew(
        &self,
        store: &dyn Store,
        worker: &WorkerId,
        held: &[(JobId, Attempt)],
        lease: Duration,
    ) -> Result<Vec<(JobId, Attempt)>, StoreError> {
        self.check()?;
        store.renew(worker, held, lease).await
    }

    async fn start_anew(&self, store: &dyn Store, lease: Duration) -> Result<(), StoreError> {
        self.check()?;
        store.start_anew(lease).await
    }
}

#[tokio::test]
async fn an_outage_of_the_store_is_no_reason_to_lose_a_job() {
    let away = Arc::new(AtomicBool::new(false));
    let fault = Away(Arc::clone(&away));
    let server = Stage::new().manual_clock().store(|store| faulty(store, fault)).start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.submit(&json!({"command": "x"})).await["jobId"].as_str().unwrap().to_owned();
    let assigned = worker.accepted().await;

    away.store(true, Ordering::Relaxed);
    let submit = json!({"opt": "submit", "command": "x", "key": "k", "follow": false, "queueTimeoutSecs": 40});
    assert_eq!(peer.refused("job", &submit, "store_unavailable").await["retry"], true);
    // A whole lease goes by in which no heartbeat counts.
    for _ in 0..5 {
        server.advance(9);
        let beat = json!({"opt": "heartbeat", "jobs": [[assigned.job, assigned.attempt]]});
        worker.peer.refused("worker", &beat, "store_unavailable").await;
    }
    worker.say(&assigned.output(1, "meanwhile\n")).await;
    worker.say(&assigned.end(2, 0)).await;
    worker.peer.is_quiet().await;

    away.store(false, Ordering::Relaxed);
    server.settled().await;
    worker.stored(&assigned, 2).await;
    let log: Vec<String> = peer.log().await.into_iter().map(|(_, what)| what).filter(|what| what != "live").collect();
    assert_eq!(log, ["running", "stdout:meanwhile\n", "completed/exit"]);
    assert_eq!(peer.job(&job).await["status"], "completed");
    peer.get("job", &submit, "submitted").await;
}

#[tokio::test]
async fn containers_need_an_engine_and_say_so_at_once() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let _worker = server.worker("w", &json!({})).await;
    let error = peer.ask("container", &json!({"opt": "create", "imageId": "debian"})).await;
    assert_eq!(error["type"], "error", "{error}");
    // A job may wait for one.
    let job = peer.queue(&json!({"command": "x", "image": "debian"})).await;
    let record = peer.job(&job).await;
    assert_eq!((&record["status"], &record["image"]), (&json!("pending"), &json!("debian")));
    assert!(record["waitingFor"].as_str().unwrap().contains("container engine"), "{record}");
}

#[tokio::test]
async fn a_worker_that_lost_its_connection_is_busy_while_its_job_runs() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker_with_slots("w", 2).await;
    peer.queue(&json!({"command": "x"})).await;
    worker.accepted().await;
    worker.peer.vanish();
    let get = json!({"opt": "get", "workerId": "w"});
    let record = eventually("the connection to be gone", async || {
        let record = peer.get("worker", &get, "worker").await["worker"].clone();
        record["connectedAt"].is_null().then_some(record)
    })
    .await;
    assert_eq!((&record["status"], &record["running"]), (&json!("busy"), &json!(1)), "{record}");
    assert_eq!(peer.get("worker", &json!({"opt": "list"}), "workers").await["workers"][0], record);
    server.pass_time(31).await;
    let record = peer.get("worker", &get, "worker").await["worker"].clone();
    assert_eq!((&record["status"], &record["running"]), (&json!("offline"), &json!(0)), "{record}");
}
