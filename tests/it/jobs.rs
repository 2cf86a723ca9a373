//! The contract's section on jobs as a client sees them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use gangline::store::Store;
use gangline::store::error::{StoreError, SubmitError};
use gangline::store::jobs::{Change, Claim, NewJob, QueueLimits, Submitted};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::server::Stage;
use crate::support::store::{Fault, faulty};
use crate::support::{Peer, TestServer};

/// The log of a job of one line, as [`Peer::log`] tells it.
fn one_line(text: &str) -> Vec<(String, String)> {
    [("1-0", "running".to_owned()), ("1-1", format!("stdout:{text}")), ("1-2", "completed/exit".to_owned())]
        .map(|(at, what)| (at.to_owned(), what))
        .to_vec()
}

fn without_live(log: Vec<(String, String)>) -> Vec<(String, String)> {
    log.into_iter().filter(|(_, what)| what != "live").collect()
}

#[tokio::test]
async fn a_submitter_follows_its_job_from_the_first_entry_to_the_end() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let submitted = peer.submit(&json!({"command": "echo hi"})).await;
    assert_eq!((&submitted["status"], &submitted["duplicate"]), (&json!("pending"), &json!(false)));
    assert!(submitted["jobId"].as_str().unwrap().starts_with("job-") && submitted["taskId"].is_u64(), "{submitted}");
    peer.is_quiet().await;

    let mut worker = server.worker("w", &json!({})).await;
    let assigned = worker.accepted().await;
    let status = peer.expect("job", "status").await;
    assert_eq!((&status["at"], &status["status"], &status["attempt"]), (&json!("1-0"), &json!("running"), &json!(1)));
    assert_eq!((&status["workerId"], &status["jobId"]), (&json!("w"), &submitted["jobId"]));
    assert_eq!(peer.expect("job", "live").await["at"], "1-0");

    worker.say(&assigned.output(1, "hi\n")).await;
    let output = peer.expect("job", "output").await;
    assert_eq!((&output["at"], &output["stream"], &output["offset"]), (&json!("1-1"), &json!("stdout"), &json!(0)));
    assert_eq!((&output["text"], output.get("base64")), (&json!("hi\n"), None));
    assert!(output["time"].is_u64());

    worker.say(&assigned.end(2, 0)).await;
    let end = peer.expect("job", "end").await;
    assert_eq!((&end["at"], &end["status"], &end["exitCode"]), (&json!("1-2"), &json!("completed"), &json!(0)));
    assert_eq!(end["reason"], "exit");
    peer.is_quiet().await;
}

#[tokio::test]
async fn a_submit_that_does_not_follow_hears_nothing_more() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.queue(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    worker.run(&assigned, "x").await;
    peer.is_quiet().await;
    assert_eq!(peer.job(&job).await["status"], "completed");
}

#[tokio::test]
async fn the_same_key_of_the_same_account_gives_the_same_job() {
    let server = TestServer::start().await;
    let (mut ada, mut bob) = (server.user("ada").await, server.user("bob").await);
    let spec = json!({"command": "x", "key": "nightly", "follow": false});
    let first = ada.submit(&spec).await;
    let again = ada.submit(&json!({"command": "y", "key": "nightly", "follow": false})).await;
    assert_eq!((&again["jobId"], &again["duplicate"]), (&first["jobId"], &json!(true)));
    let others = bob.submit(&spec).await;
    assert_eq!(others["duplicate"], false);
    assert_ne!(others["jobId"], first["jobId"]);
    assert_eq!(ada.get("job", &json!({"opt": "list"}), "jobs").await["jobs"].as_array().unwrap().len(), 1);

    // Even once it is over, and then it is replayed.
    let mut worker = server.worker("w", &json!({})).await;
    let assigned = worker.accepted().await;
    worker.run(&assigned, "hi\n").await;
    let over = ada.submit(&json!({"command": "x", "key": "nightly"})).await;
    assert_eq!((&over["status"], &over["duplicate"]), (&json!("completed"), &json!(true)));
    assert_eq!(ada.log().await, one_line("hi\n"));
    ada.is_quiet().await;
}

#[tokio::test]
async fn keys_survive_many_submits_at_once() {
    let server = TestServer::start().await;
    let mut peers = Vec::new();
    for _ in 0..8 {
        peers.push(server.admin().await);
    }
    let submit = json!({"opt": "submit", "command": "x", "key": "k", "follow": false});
    for peer in &mut peers {
        peer.say("job", &submit).await;
    }
    let mut fresh = 0;
    let mut jobs = Vec::new();
    for peer in &mut peers {
        let reply = peer.expect("job", "submitted").await;
        fresh += usize::from(reply["duplicate"] == false);
        jobs.push(reply["jobId"].clone());
    }
    jobs.dedup();
    assert_eq!((fresh, jobs.len()), (1, 1));
}

#[tokio::test]
async fn a_log_is_followed_from_any_place() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let job = peer.queue(&json!({"command": "x"})).await;
    let mut worker = server.worker("w", &json!({})).await;
    let assigned = worker.accepted().await;
    for n in 1..=5 {
        worker.say(&assigned.output(n, &format!("{n}\n"))).await;
    }
    worker.stored(&assigned, 5).await;

    // Each follower on a connection of its own, while the job runs.
    let mut running = Vec::new();
    for (after, from, first) in
        [("0", "0-0", 0), ("1-0", "1-0", 1), ("1-3", "1-3", 4), ("1-5", "1-5", 6), ("tail", "1-5", 6)]
    {
        let mut follower = server.admin().await;
        let following = follower.follow(&job, after).await;
        assert_eq!((&following["from"], &following["top"]), (&json!(from), &json!("1-5")), "{after}");
        assert_eq!((&following["status"], &following["jobId"]), (&json!("running"), &json!(job)));
        for n in first..=5 {
            assert_eq!(follower.next().await["data"]["at"], format!("1-{n}"), "{after}");
        }
        assert_eq!(follower.expect("job", "live").await["at"], "1-5", "{after}");
        follower.is_quiet().await;
        running.push(follower);
    }
    worker.say(&assigned.output(6, "6\n")).await;
    worker.say(&assigned.end(7, 3)).await;
    for follower in &mut running {
        let log = follower.log().await;
        let expected = [("1-6", "stdout:6\n"), ("1-7", "failed/exit")].map(|(at, what)| (at.into(), what.into()));
        assert_eq!(log, expected);
        follower.is_quiet().await;
    }

    // The same once it is over: a replay, and no `live`.
    for (after, first) in [("0", 0), ("1-0", 1), ("1-6", 7)] {
        let mut follower = server.admin().await;
        assert_eq!(follower.follow(&job, after).await["status"], "failed");
        let log = follower.log().await;
        let places: Vec<&str> = log.iter().map(|(at, _)| at.as_str()).collect();
        let expected: Vec<String> = (first..=7).map(|n| format!("1-{n}")).collect();
        assert_eq!(places, expected, "{after}");
        assert!(log.iter().all(|(_, what)| what != "live"), "{log:?}");
        follower.is_quiet().await;
    }
    for after in ["1-7", "tail"] {
        let mut follower = server.admin().await;
        let following = follower.follow(&job, after).await;
        assert_eq!((&following["from"], &following["top"]), (&json!("1-7"), &json!("1-7")), "{after}");
        follower.is_quiet().await;
    }
}

#[tokio::test]
async fn a_replay_has_the_same_entries_as_the_live_stream_had() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.submit(&json!({"command": "x"})).await["jobId"].as_str().unwrap().to_owned();
    let assigned = worker.accepted().await;
    let chunks = [("stdout", "a\r\n\u{1b}[1mé"), ("stderr", "\n\n"), ("stdout", "\u{1f600}"), ("stderr", "\t\"x\\")];
    for (n, (stream, text)) in (1..).zip(chunks) {
        let mut output = assigned.output(n, text);
        output["stream"] = json!(stream);
        output["time"] = json!(1000 + n);
        worker.say(&output).await;
    }
    let mut end = assigned.end(5, 137);
    end["reason"] = json!("signal");
    end["errorMessage"] = json!("killed");
    worker.say(&end).await;
    let entries = async |peer: &mut Peer| {
        let mut entries: Vec<Value> = Vec::new();
        loop {
            let frame = peer.next().await;
            match frame["data"]["opt"].as_str() {
                Some("live") => (),
                Some("end") => {
                    entries.push(frame);
                    return entries;
                }
                _ => entries.push(frame),
            }
        }
    };
    let live = entries(&mut peer).await;
    let offsets: Vec<u64> = live[1..5].iter().map(|entry| entry["data"]["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [0, 0, 9, 2]);
    let last = &live[5]["data"];
    assert_eq!(
        (&last["status"], &last["reason"], &last["exitCode"]),
        (&json!("failed"), &json!("signal"), &json!(137))
    );
    peer.follow(&job, "0").await;
    assert_eq!(entries(&mut peer).await, live);
    let record = peer.job(&job).await;
    assert_eq!((&record["stdoutBytes"], &record["stderrBytes"]), (&json!(13), &json!(6)));
    assert_eq!(record["errorMessage"], "killed");
}

#[tokio::test]
async fn bytes_that_are_no_text_come_as_base64() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    peer.submit(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    let mut output = assigned.output(1, "");
    output.as_object_mut().unwrap().remove("text");
    output["base64"] = json!("/wD/");
    worker.say(&output).await;
    worker.say(&assigned.output(2, "after")).await;
    let chunk = peer.until("job", "output").await;
    assert_eq!((&chunk["base64"], chunk.get("text")), (&json!("/wD/"), None));
    let chunk = peer.until("job", "output").await;
    assert_eq!((&chunk["text"], &chunk["offset"]), (&json!("after"), &json!(3)));
    worker.say(&assigned.output(3, &"\u{1}".repeat(100))).await;
    let chunk = peer.until("job", "output").await;
    assert!(chunk["base64"].is_string(), "JSON would blow this up: {chunk}");
}

#[tokio::test]
async fn a_queued_job_is_followed_before_it_starts() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let job = peer.queue(&json!({"command": "x"})).await;
    for after in ["0", "tail"] {
        let following = peer.follow(&job, after).await;
        assert_eq!((&following["from"], &following["top"]), (&json!("0-0"), &json!("0-0")));
        assert_eq!(following["status"], "pending");
        peer.is_quiet().await;
    }
    let mut worker = server.worker("w", &json!({})).await;
    let assigned = worker.accepted().await;
    worker.run(&assigned, "hi\n").await;
    assert_eq!(without_live(peer.log().await), one_line("hi\n"));
}

#[tokio::test]
async fn after_an_unfollow_nothing_comes() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.submit(&json!({"command": "x"})).await["jobId"].as_str().unwrap().to_owned();
    let assigned = worker.accepted().await;
    peer.until("job", "live").await;
    let ok = peer.get("job", &json!({"opt": "unfollow", "jobId": job}), "ok").await;
    assert_eq!(ok["of"], "unfollow");
    worker.run(&assigned, "hi\n").await;
    peer.is_quiet().await;
    // Not followed: harmless.
    peer.get("job", &json!({"opt": "unfollow", "jobId": job}), "ok").await;
    peer.follow(&job, "1-1").await;
    assert_eq!(peer.log().await, one_line("hi\n")[2..]);
}

#[tokio::test]
async fn the_129th_log_is_one_too_many_until_one_is_let_go() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut jobs = Vec::new();
    for _ in 0..129 {
        jobs.push(peer.queue(&json!({"command": "x"})).await);
    }
    for job in &jobs[..128] {
        peer.follow(job, "0").await;
    }
    peer.refused("job", &json!({"opt": "follow", "jobId": jobs[128]}), "limit_exceeded").await;
    peer.refused("job", &json!({"opt": "submit", "command": "x"}), "limit_exceeded").await;
    // To move a cursor takes no place.
    peer.follow(&jobs[5], "0").await;
    peer.get("job", &json!({"opt": "unfollow", "jobId": jobs[0]}), "ok").await;
    peer.follow(&jobs[128], "0").await;
    peer.refused("job", &json!({"opt": "follow", "jobId": jobs[0]}), "limit_exceeded").await;
    // A log that ends gives its place back.
    peer.get("job", &json!({"opt": "cancel", "jobId": jobs[1]}), "ok").await;
    peer.until("job", "end").await;
    peer.follow(&jobs[0], "0").await;
}

#[tokio::test]
async fn a_record_tells_all_that_is_known() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let spec = json!({
        "args": ["echo", "hi"], "name": "n", "tags": ["a", "b"], "env": {"K": "v"}, "cwd": "sub", "stdin": true,
        "tty": {"cols": 100, "rows": 30}, "requires": {"labels": {"zone": "eu"}, "cpus": 1.5, "gpus": 1},
        "priority": 3, "timeoutSecs": 600, "queueTimeoutSecs": 60, "graceSecs": 0.5, "onLost": "requeue",
        "maxAttempts": 2, "artifacts": ["*.txt"],
    });
    let job = peer.queue(&spec).await;
    let record = peer.job(&job).await;
    assert_eq!(record["status"], "pending");
    assert_eq!((&record["account"], &record["attempt"], &record["priority"]), (&json!("ada"), &json!(0), &json!(3)));
    assert_eq!((&record["name"], &record["tags"], &record["args"]), (&json!("n"), &json!(["a", "b"]), &spec["args"]));
    for null in ["reason", "command", "image", "workerId", "exitCode", "errorMessage", "startedAt", "completedAt"] {
        assert_eq!(record.get(null), Some(&Value::Null), "{null}");
    }
    assert!(record["createdAt"].is_u64() && record["waitingFor"].is_string(), "{record}");
    let mut kept = record["spec"].clone();
    for (key, value) in spec.as_object().unwrap() {
        let kept = kept.as_object_mut().unwrap().remove(key).unwrap_or_default();
        match (kept.as_f64(), value.as_f64()) {
            (Some(kept), Some(value)) => assert_eq!(kept, value, "{key}"),
            _ if key == "requires" => assert_eq!((&kept["cpus"], &kept["gpus"]), (&json!(1.5), &json!(1))),
            _ => assert_eq!(&kept, value, "{key}"),
        }
    }
    assert_eq!(kept, json!({}), "nothing was made up");

    let gpus = json!([{"index": 3, "name": "g", "uuid": "u", "memoryBytes": 1}]);
    let mut worker = server.worker("w", &json!({"labels": {"zone": "eu"}, "gpus": gpus})).await;
    let assigned = worker.accepted().await;
    assert_eq!(assigned.data["gpuIds"], json!([3]));
    assert_eq!(assigned.data["spec"], record["spec"], "the worker gets what was submitted");
    assert!(assigned.data["leaseSecs"] == 30 && assigned.data["windowBytes"].is_u64(), "{}", assigned.data);
    worker.run(&assigned, "hi\n").await;
    let record = peer.job(&job).await;
    assert_eq!(
        (&record["status"], &record["workerId"], &record["gpuIds"]),
        (&json!("completed"), &json!("w"), &json!([3]))
    );
    assert_eq!((&record["attempt"], &record["exitCode"], &record["stdoutBytes"]), (&json!(1), &json!(0), &json!(3)));
    assert_eq!((&record["reason"], &record["waitingFor"]), (&json!("exit"), &Value::Null));
    assert!(record["startedAt"].is_u64() && record["completedAt"].is_u64(), "{record}");
    assert!(peer.get("job", &json!({"opt": "list"}), "jobs").await["jobs"][0].get("spec").is_none());
}

#[tokio::test]
async fn pages_are_stable_while_jobs_are_added() {
    let server = TestServer::start().await;
    let (mut peer, mut other) = (server.user("ada").await, server.admin().await);
    let mut expected = Vec::new();
    for _ in 0..60 {
        expected.insert(0, peer.queue(&json!({"command": "x"})).await);
        other.queue(&json!({"command": "x"})).await;
    }
    let mut listed = Vec::new();
    let mut before = Value::Null;
    let mut sizes = Vec::new();
    loop {
        let mut list = json!({"opt": "list", "limit": 25});
        if !before.is_null() {
            list["before"] = before;
        }
        let page = peer.get("job", &list, "jobs").await;
        let jobs = page["jobs"].as_array().unwrap();
        sizes.push(jobs.len());
        listed.extend(jobs.iter().map(|job| job["jobId"].as_str().unwrap().to_owned()));
        peer.queue(&json!({"command": "added"})).await;
        before = page["next"].clone();
        if before.is_null() {
            break;
        }
    }
    assert_eq!(listed, expected);
    assert_eq!(sizes, [25, 25, 10]);

    // Fifty unless given; `before` takes any job by either name.
    let page = other.get("job", &json!({"opt": "list"}), "jobs").await;
    assert_eq!(page["jobs"].as_array().unwrap().len(), 50);
    let job = &page["jobs"][9];
    for before in [&job["jobId"], &job["taskId"]] {
        let next = other.get("job", &json!({"opt": "list", "before": before, "limit": 1}), "jobs").await;
        assert_eq!(next["jobs"][0]["jobId"], page["jobs"][10]["jobId"]);
    }
    let most = other.get("job", &json!({"opt": "list", "limit": 5000}), "jobs").await;
    assert_eq!((most["jobs"].as_array().unwrap().len(), &most["next"]), (123, &Value::Null));
}

#[tokio::test]
async fn a_list_is_filtered_by_status() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let done = peer.queue(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    worker.run(&assigned, "x").await;
    let running = peer.queue(&json!({"command": "x"})).await;
    worker.accepted().await;
    let pending = peer.queue(&json!({"command": "x"})).await;
    let cancelled = peer.queue(&json!({"command": "x"})).await;
    peer.get("job", &json!({"opt": "cancel", "jobId": cancelled}), "ok").await;
    let expected = [
        ("completed", Some(done)),
        ("running", Some(running)),
        ("pending", Some(pending)),
        ("cancelled", Some(cancelled)),
        ("failed", None),
    ];
    for (status, job) in expected {
        let page = peer.get("job", &json!({"opt": "list", "status": status}), "jobs").await;
        let jobs: Vec<&str> = page["jobs"].as_array().unwrap().iter().map(|j| j["jobId"].as_str().unwrap()).collect();
        assert_eq!(jobs, job.iter().map(String::as_str).collect::<Vec<_>>(), "{status}");
    }
}

#[tokio::test]
async fn a_watch_tells_every_change_of_ones_own_jobs() {
    let server = TestServer::start().await;
    let (mut ada, mut bob, mut admin) = (server.user("ada").await, server.user("bob").await, server.admin().await);
    for peer in [&mut ada, &mut bob, &mut admin] {
        assert_eq!(peer.get("job", &json!({"opt": "watch"}), "ok").await["of"], "watch");
    }
    let mut submitter = server.user("ada").await;
    let job = submitter.queue(&json!({"command": "x", "name": "n"})).await;
    for peer in [&mut ada, &mut admin] {
        let status = peer.expect("job", "status").await;
        assert_eq!((&status["jobId"], &status["status"]), (&json!(job), &json!("pending")));
        assert!(status.get("at").is_none(), "{status}");
        assert_eq!((&status["account"], &status["name"]), (&json!("ada"), &json!("n")));
    }
    let mut worker = server.worker("w", &json!({})).await;
    let assigned = worker.accepted().await;
    worker.run(&assigned, "hi\n").await;
    for peer in [&mut ada, &mut admin] {
        for status in ["running", "completed"] {
            assert_eq!(peer.expect("job", "status").await["status"], status);
        }
    }
    bob.is_quiet().await;
    assert_eq!(ada.get("job", &json!({"opt": "unwatch"}), "ok").await["of"], "unwatch");
    submitter.queue(&json!({"command": "x"})).await;
    ada.is_quiet().await;
    assert_eq!(admin.expect("job", "status").await["status"], "pending");
}

#[tokio::test]
async fn input_reaches_a_running_job_that_asked_for_it() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let job = peer.queue(&json!({"command": "cat", "stdin": true})).await;
    let input = |more: Value| {
        let mut data = json!({"opt": "input", "jobId": job});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    let early = peer.refused("job", &input(json!({"text": "x"})), "conflict").await;
    assert_eq!(early["retry"], true);

    let mut worker = server.worker("w", &json!({})).await;
    let assigned = worker.accepted().await;
    assert_eq!(assigned.data["spec"]["stdin"], true);
    // Without an id there is no answer, with one there is.
    peer.say("job", &input(json!({"text": "a\n"}))).await;
    assert_eq!(peer.get("job", &input(json!({"base64": "/w=="})), "ok").await["of"], "input");
    peer.get("job", &input(json!({"text": "", "eof": true})), "ok").await;
    peer.get("job", &input(json!({"eof": true})), "ok").await;
    peer.is_quiet().await;
    let first = worker.peer.until("job", "input").await;
    assert_eq!((&first["text"], &first["attempt"], &first["jobId"]), (&json!("a\n"), &json!(1), &json!(job)));
    assert_eq!(worker.peer.until("job", "input").await["base64"], "/w==");
    assert_eq!(worker.peer.until("job", "input").await["eof"], true);

    let error = peer.refused("job", &input(json!({})), "bad_frame").await;
    assert_eq!(error["field"], "text");
    let error = peer.refused("job", &input(json!({"base64": "*"})), "bad_frame").await;
    assert_eq!(error["field"], "base64");
    peer.refused("job", &json!({"opt": "resize", "jobId": job, "cols": 1, "rows": 1}), "conflict").await;
    worker.say(&assigned.end(1, 0)).await;
    peer.job_is(&job, "completed").await;
    // Failures are answered, id or not.
    peer.say("job", &input(json!({"text": "late"}))).await;
    assert_eq!(peer.next().await["data"]["code"], "conflict");

    let job = peer.queue(&json!({"command": "x"})).await;
    worker.accepted().await;
    let deaf = peer.refused("job", &json!({"opt": "input", "jobId": job, "text": "x"}), "conflict").await;
    assert_eq!(deaf["retry"], false);
}

#[tokio::test]
async fn a_terminal_is_resized_while_its_job_runs() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let job = peer.queue(&json!({"command": "vi", "tty": true})).await;
    let resize = json!({"opt": "resize", "jobId": job, "cols": 132, "rows": 43});
    assert_eq!(peer.refused("job", &resize, "conflict").await["retry"], true);
    let mut worker = server.worker("w", &json!({})).await;
    let assigned = worker.accepted().await;
    peer.say("job", &resize).await;
    assert_eq!(peer.get("job", &resize, "ok").await["of"], "resize");
    peer.is_quiet().await;
    let got = worker.peer.until("job", "resize").await;
    assert_eq!((&got["cols"], &got["rows"], &got["attempt"]), (&json!(132), &json!(43), &json!(1)));
    // A terminal takes keys without `stdin`.
    peer.get("job", &json!({"opt": "input", "jobId": job, "text": "q"}), "ok").await;
    for (field, cols, rows) in [("cols", 0, 1), ("rows", 1, 0), ("cols", 70_000, 1)] {
        let bad = json!({"opt": "resize", "jobId": job, "cols": cols, "rows": rows});
        assert_eq!(peer.refused("job", &bad, "bad_frame").await["field"], field);
    }
    worker.say(&assigned.end(1, 0)).await;
    peer.job_is(&job, "completed").await;
    peer.refused("job", &resize, "conflict").await;
}

#[tokio::test]
async fn a_pending_job_is_cancelled_at_once() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let job = peer.submit(&json!({"command": "x"})).await["jobId"].as_str().unwrap().to_owned();
    assert_eq!(peer.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await["of"], "cancel");
    let end = peer.expect("job", "end").await;
    assert_eq!((&end["at"], &end["status"], &end["reason"]), (&json!("0-1"), &json!("cancelled"), &json!("cancelled")));
    let mut worker = server.worker("w", &json!({})).await;
    worker.peer.is_quiet().await;
    peer.refused("job", &json!({"opt": "cancel", "jobId": job}), "conflict").await;
    peer.follow(&job, "0").await;
    assert_eq!(peer.log().await, [("0-1".to_owned(), "cancelled/cancelled".to_owned())]);
}

#[tokio::test]
async fn a_running_job_is_cancelled_by_its_worker() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.queue(&json!({"command": "x", "graceSecs": 4})).await;
    let assigned = worker.accepted().await;
    peer.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await;
    let cancel = worker.peer.until("job", "cancel").await;
    assert_eq!((&cancel["graceSecs"], &cancel["attempt"]), (&json!(4.0), &json!(1)));
    assert_eq!(peer.job(&job).await["status"], "running");
    peer.get("job", &json!({"opt": "cancel", "jobId": job, "graceSecs": 0.5}), "ok").await;
    assert_eq!(worker.peer.until("job", "cancel").await["graceSecs"], 0.5);
    let error = peer.refused("job", &json!({"opt": "cancel", "jobId": job, "graceSecs": -1}), "bad_frame").await;
    assert_eq!(error["field"], "graceSecs");
    let mut end = assigned.end(1, 143);
    end["reason"] = json!("cancelled");
    worker.say(&end).await;
    let record = peer.job_is(&job, "cancelled").await;
    assert_eq!((&record["reason"], &record["exitCode"]), (&json!("cancelled"), &json!(143)));
}

#[tokio::test]
async fn a_cancel_reaches_a_worker_that_was_away() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.queue(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    worker.peer.vanish();
    peer.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await;
    let mut worker = server.worker("w", &json!({"resume": [assigned.resume(0, "running")]})).await;
    assert_eq!(worker.peer.until("job", "cancel").await["jobId"], json!(job));
}

#[tokio::test]
async fn a_job_that_waits_too_long_ends() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    let job = peer.submit(&json!({"command": "x", "queueTimeoutSecs": 5})).await["jobId"].as_str().unwrap().to_owned();
    let patient = peer.queue(&json!({"command": "x"})).await;
    server.advance(4);
    peer.is_quiet().await;
    server.advance(2);
    let end = peer.expect("job", "end").await;
    assert_eq!(
        (&end["at"], &end["status"], &end["reason"]),
        (&json!("0-1"), &json!("failed"), &json!("queue_timeout"))
    );
    assert_eq!(peer.job(&job).await["reason"], "queue_timeout");
    assert_eq!(peer.job(&patient).await["status"], "pending");
}

#[tokio::test]
async fn the_limit_of_the_run_is_the_workers_and_at_last_the_dispatchers() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker_with_slots("w", 2).await;
    let kept = peer.queue(&json!({"command": "x", "timeoutSecs": 5, "graceSecs": 3})).await;
    let assigned = worker.accepted().await;
    assert_eq!(assigned.data["spec"]["timeoutSecs"], 5.0);
    let mut end = assigned.end(1, 143);
    end["reason"] = json!("timeout");
    worker.say(&end).await;
    let record = peer.job_is(&kept, "failed").await;
    assert_eq!((&record["reason"], &record["exitCode"]), (&json!("timeout"), &json!(143)));

    // A worker that does not keep it, though it says it is alive.
    let broken = peer.submit(&json!({"command": "x", "timeoutSecs": 5, "graceSecs": 3})).await;
    let assigned = worker.accepted().await;
    worker.say(&assigned.output(1, "still here\n")).await;
    worker.stored(&assigned, 1).await;
    server.pass_time(7).await;
    worker.beat(&[&assigned]).await;
    assert_eq!(peer.job(broken["jobId"].as_str().unwrap()).await["status"], "running");
    server.pass_time(10).await;
    let log = without_live(peer.log().await);
    assert_eq!(log.last().unwrap(), &("1-2".to_owned(), "failed/timeout".to_owned()));
    let lost = worker.peer.until("worker", "heartbeat").await;
    assert_eq!(lost["lost"], json!([[assigned.job, 1]]));
    worker.say(&assigned.output(2, "too late\n")).await;
    assert_eq!(worker.peer.until_error().await["code"], "stale_attempt");
}

#[tokio::test]
async fn higher_priority_first_and_then_first_come_first_served() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut expected = Vec::new();
    let priorities = [0, 5, -3, 5, 0, 2_000_000_000, -2_000_000_000, 0];
    for priority in priorities {
        let job = peer.queue(&json!({"command": "x", "priority": priority})).await;
        expected.push((std::cmp::Reverse(priority), job));
    }
    // Stable: equals stay in the order they came.
    expected.sort_by_key(|(priority, _)| *priority);
    let mut worker = server.worker("w", &json!({})).await;
    for (_, job) in expected {
        let assigned = worker.accepted().await;
        assert_eq!(assigned.job, job);
        worker.say(&assigned.end(1, 0)).await;
    }
}

#[tokio::test]
async fn priority_counts_over_all_requirements() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let low = peer.queue(&json!({"command": "x", "requires": {"labels": {"a": "1"}}})).await;
    let high = peer.queue(&json!({"command": "x", "priority": 1, "requires": {"cpus": 2}})).await;
    let middle = peer.queue(&json!({"command": "x"})).await;
    let mut worker = server.worker("w", &json!({"labels": {"a": "1"}})).await;
    for job in [high, low, middle] {
        let assigned = worker.accepted().await;
        assert_eq!(assigned.job, job);
        worker.say(&assigned.end(1, 0)).await;
    }
}

#[tokio::test]
async fn waiting_for_says_what_is_missing() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.admin().await;
    let plain = peer.queue(&json!({"command": "x"})).await;
    assert!(peer.job(&plain).await["waitingFor"].as_str().unwrap().contains("worker"), "nobody is there");
    let cases = [
        (json!({"labels": {"zone": "mars"}}), "zone=mars"),
        (json!({"gpus": 9}), "GPU"),
        (json!({"workerId": "elsewhere"}), "elsewhere"),
        (json!({"cpus": 64}), "CPU"),
        (json!({"memoryBytes": 1u64 << 50}), "memory"),
    ];
    let mut jobs = Vec::new();
    for (requires, word) in cases {
        jobs.push((peer.queue(&json!({"command": "x", "requires": requires})).await, word));
    }
    let mut worker = server.worker("w", &json!({})).await;
    assert_eq!(worker.accepted().await.job, plain);
    for (job, word) in jobs {
        let record = peer.job(&job).await;
        assert_eq!(record["status"], "pending");
        let why = record["waitingFor"].as_str().unwrap();
        assert!(why.contains(word), "{why:?} should speak of {word}");
    }
    let busy = peer.queue(&json!({"command": "x"})).await;
    let why = peer.job(&busy).await["waitingFor"].clone();
    assert!(why.as_str().unwrap().contains("slot") && why.as_str().unwrap().contains('w'), "{why}");
    peer.get("worker", &json!({"opt": "drain", "workerId": "w"}), "ok").await;
    let why = peer.job(&busy).await["waitingFor"].clone();
    assert!(why.as_str().unwrap().contains("drain"), "{why}");
}

#[tokio::test]
async fn others_jobs_are_not_found() {
    let server = TestServer::start().await;
    let (mut ada, mut bob, mut admin) = (server.user("ada").await, server.user("bob").await, server.admin().await);
    let job = ada.queue(&json!({"command": "x", "stdin": true, "tty": true})).await;
    let mut worker = server.worker("w", &json!({})).await;
    worker.accepted().await;
    let requests = [
        json!({"opt": "get"}),
        json!({"opt": "follow"}),
        json!({"opt": "unfollow"}),
        json!({"opt": "cancel"}),
        json!({"opt": "input", "text": "x"}),
        json!({"opt": "resize", "cols": 1, "rows": 1}),
    ];
    for request in requests {
        let of = |job: &str| {
            let mut data = request.clone();
            data["jobId"] = json!(job);
            data
        };
        let theirs = bob.refused("job", &of(&job), "not_found").await;
        let none = bob.refused("job", &of("job-999-00000000"), "not_found").await;
        assert_eq!(theirs["message"], none["message"], "that it exists must not show");
        let reply = admin.ask("job", &of(&job)).await;
        assert_eq!(reply["type"], "job", "{reply}");
    }
    assert_eq!(bob.get("job", &json!({"opt": "list"}), "jobs").await["jobs"], json!([]));
    // A number with another job's nonce names nothing.
    let forged = format!("{}-00000000", job.rsplit_once('-').unwrap().0);
    admin.refused("job", &json!({"opt": "get", "jobId": forged}), "not_found").await;
}

#[tokio::test]
async fn an_account_that_submits_too_fast_waits_and_others_do_not() {
    let server = TestServer::with(|settings| settings.limits.submits_per_second = NonZeroU32::MIN).await;
    let (mut ada, mut bob) = (server.user("ada").await, server.user("bob").await);
    let submit = json!({"opt": "submit", "command": "x", "follow": false});
    let began = Instant::now();
    let mut taken = 0;
    let error = loop {
        let reply = ada.ask("job", &submit).await;
        if reply["type"] == "error" {
            break reply["data"].clone();
        }
        taken += 1;
    };
    // Five at once, and one more each second.
    assert!((5..=6 + began.elapsed().as_secs()).contains(&taken), "{taken} in {:?}", began.elapsed());
    assert_eq!((&error["code"], &error["retry"]), (&json!("rate_limited"), &json!(true)));
    assert!((1..=1_000).contains(&error["retryAfterMs"].as_u64().unwrap()), "{error}");
    bob.get("job", &submit, "submitted").await;
}

#[tokio::test]
async fn a_full_queue_says_so_and_takes_jobs_again() {
    let server = TestServer::with(|settings| {
        settings.limits.queue = 4;
        settings.limits.account_queue = 3;
    })
    .await;
    let (mut ada, mut bob) = (server.user("ada").await, server.user("bob").await);
    let submit = json!({"opt": "submit", "command": "x", "follow": false});
    let mut first = Value::Null;
    for _ in 0..3 {
        first = ada.get("job", &submit, "submitted").await["jobId"].clone();
    }
    let error = ada.refused("job", &submit, "queue_full").await;
    assert_eq!(error["retry"], true);
    bob.get("job", &submit, "submitted").await;
    bob.refused("job", &submit, "queue_full").await;
    ada.get("job", &json!({"opt": "cancel", "jobId": first}), "ok").await;
    bob.get("job", &submit, "submitted").await;
}

#[tokio::test]
async fn what_the_output_cap_removes_is_named_exactly() {
    let server = TestServer::with(|settings| settings.limits.output_bytes = 600_000).await;
    let mut live = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = live.submit(&json!({"command": "x"})).await["jobId"].as_str().unwrap().to_owned();
    let assigned = worker.accepted().await;
    let chunk = |n: u64| format!("{n:05}{}", "x".repeat(9_995));
    for n in 1..=100 {
        worker.say(&assigned.output(n, &chunk(n))).await;
    }
    worker.say(&assigned.end(101, 0)).await;
    // Who follows live misses nothing.
    let expected: Vec<(String, String)> = std::iter::once(("1-0".to_owned(), "running".to_owned()))
        .chain((1..=100).map(|n| (format!("1-{n}"), format!("stdout:{}", chunk(n)))))
        .chain([("1-101".to_owned(), "completed/exit".to_owned())])
        .collect();
    assert_eq!(without_live(live.log().await), expected);

    let mut late = server.admin().await;
    late.follow(&job, "0").await;
    assert_eq!(late.expect("job", "status").await["at"], "1-0");
    let gone = late.expect("job", "truncated").await;
    assert_eq!((&gone["jobId"], &gone["from"]), (&json!(job), &json!("1-1")));
    let to: u64 = gone["to"].as_str().unwrap().strip_prefix("1-").unwrap().parse().unwrap();
    let mut kept = 0;
    for n in to + 1..=100 {
        let output = late.expect("job", "output").await;
        assert_eq!((&output["at"], &output["text"]), (&json!(format!("1-{n}")), &json!(chunk(n))));
        assert_eq!(output["offset"], (n - 1) * 10_000);
        kept += 10_000;
    }
    assert_eq!(late.expect("job", "end").await["at"], "1-101");
    assert!((300_000..=600_000).contains(&kept), "{kept} bytes are kept of 600,000");
    assert_eq!(late.job(&job).await["stdoutBytes"], 1_000_000);
    // From within what is gone.
    late.follow(&job, &format!("1-{}", to - 1)).await;
    let gone = late.expect("job", "truncated").await;
    assert_eq!((&gone["from"], &gone["to"]), (&json!(format!("1-{to}")), &json!(format!("1-{to}"))));
}

#[tokio::test]
async fn a_slow_follower_loses_nothing_and_holds_nobody_up() {
    let server = TestServer::start().await;
    let (mut slow, mut quick) = (server.admin().await, server.admin().await);
    let mut worker = server.worker("w", &json!({})).await;
    let job = slow.submit(&json!({"command": "x"})).await["jobId"].as_str().unwrap().to_owned();
    let assigned = worker.accepted().await;
    quick.follow(&job, "0").await;
    // Far more than the sockets' buffers and the tail hold.
    const CHUNKS: u64 = 300;
    let chunk = |n: u64| format!("{n:05}{}", "x".repeat(49_995));
    for n in 1..=CHUNKS {
        worker.say(&assigned.output(n, &chunk(n))).await;
    }
    worker.say(&assigned.end(CHUNKS + 1, 0)).await;
    let quick = without_live(quick.log().await);
    assert_eq!(quick.len() as u64, CHUNKS + 2);
    worker.stored(&assigned, CHUNKS + 1).await;
    // Only now does the slow one read.
    assert_eq!(without_live(slow.log().await), quick);
}

#[tokio::test]
async fn jobs_wait_through_a_restart_and_logs_go_on() {
    let server = TestServer::start().await;
    let mut peer = server.admin().await;
    let mut worker = server.worker("w", &json!({})).await;
    let running = peer.queue(&json!({"command": "x"})).await;
    let assigned = worker.accepted().await;
    worker.say(&assigned.output(1, "one\n")).await;
    worker.stored(&assigned, 1).await;
    let queued = peer.queue(&json!({"command": "x", "key": "k"})).await;
    let dir = server.stop().await;

    let server = Stage::new().dir(dir).start().await;
    let mut peer = server.admin().await;
    assert_eq!(peer.job(&running).await["status"], "running");
    assert_eq!(peer.submit(&json!({"command": "x", "key": "k", "follow": false})).await["jobId"], json!(queued));
    let following = peer.follow(&running, "1-1").await;
    assert_eq!((&following["top"], &following["status"]), (&json!("1-1"), &json!("running")));
    let mut worker = server.worker("w", &json!({"resume": [assigned.resume(2, "running")]})).await;
    assert_eq!(worker.registered["resume"][0]["nextN"], 2);
    worker.say(&assigned.output(2, "two\n")).await;
    worker.say(&assigned.end(3, 0)).await;
    let log = without_live(peer.log().await);
    assert_eq!(log, [("1-2".into(), "stdout:two\n".into()), ("1-3".into(), "completed/exit".to_owned())]);
    assert_eq!(worker.accepted().await.job, queued);
}

/// Answers a submit late, so that the job is claimed before its submitter hears of it.
struct LateAnswer {
    claims: Arc<Semaphore>,
}

#[async_trait]
impl Fault for LateAnswer {
    async fn submit(&self, store: &dyn Store, job: NewJob, limits: QueueLimits) -> Result<Submitted, SubmitError> {
        let submitted = store.submit(job, limits).await?;
        self.claims.acquire().await.expect("it is never closed").forget();
        Ok(submitted)
    }

    async fn claim(&self, store: &dyn Store, claim: Claim) -> Result<Vec<Change>, StoreError> {
        let changes = store.claim(claim).await?;
        self.claims.add_permits(changes.len());
        Ok(changes)
    }
}

#[tokio::test]
async fn a_job_that_is_claimed_before_its_submit_is_answered_is_followed_all_the_same() {
    let claims = Arc::new(Semaphore::new(0));
    let fault = LateAnswer { claims: Arc::clone(&claims) };
    let server = Stage::new().store(|store| faulty(store, fault)).start().await;
    let (mut peer, mut watcher) = (server.admin().await, server.admin().await);
    watcher.get("job", &json!({"opt": "watch"}), "ok").await;
    let mut worker = server.worker_with_slots("w", 2).await;
    // The queue is looked through from time to time, and finds the job before it was told of it.
    peer.submit(&json!({"command": "sleep 1000"})).await;
    assert_eq!(peer.expect("job", "status").await["at"], "1-0");
    peer.expect("job", "live").await;
    assert_eq!(watcher.expect("job", "status").await["status"], "pending");
    assert_eq!(watcher.expect("job", "status").await["status"], "running");
    worker.accepted().await;
}
