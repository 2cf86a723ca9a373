//! Pages of logs, back and on, against what a follower of the same log is sent.

use serde_json::{Value, json};

use crate::support::{Peer, TestServer};

fn read(job: &str, more: &Value) -> Value {
    let mut data = json!({"opt": "read", "jobId": job});
    for (key, value) in more.as_object().expect("fields") {
        data[key] = value.clone();
    }
    data
}

/// What a follower is sent from the log's beginning on, up to the end of the job; `truncated` as `removed` of a page is.
async fn followed(peer: &mut Peer, job: &str) -> Vec<Value> {
    peer.follow(job, "0").await;
    let mut told = Vec::new();
    loop {
        let data = peer.next().await["data"].clone();
        match data["opt"].as_str() {
            Some("truncated") => told.push(json!({"from": data["from"], "to": data["to"]})),
            Some("end") => {
                told.push(data);
                return told;
            }
            _ => told.push(data),
        }
    }
}

/// The same from pages back.
async fn paged_back(peer: &mut Peer, job: &str, max_bytes: usize) -> Vec<Value> {
    let (mut told, mut before) = (Vec::new(), json!("end"));
    loop {
        let page = peer.get("job", &read(job, &json!({"before": before, "maxBytes": max_bytes})), "page").await;
        let entries = page["entries"].as_array().unwrap();
        told.extend(entries.iter().rev().cloned());
        before = if page["removed"].is_null() { entries[0]["at"].clone() } else { page["removed"]["from"].clone() };
        told.extend(Some(page["removed"].clone()).filter(|removed| !removed.is_null()));
        if page["more"] == false {
            told.reverse();
            return told;
        }
    }
}

/// The same from pages on.
async fn paged_on(peer: &mut Peer, job: &str, max_bytes: usize) -> Vec<Value> {
    let (mut told, mut after) = (Vec::new(), json!("0"));
    loop {
        let page = peer.get("job", &read(job, &json!({"after": after, "max_bytes": max_bytes})), "page").await;
        let entries = page["entries"].as_array().unwrap();
        told.extend(Some(page["removed"].clone()).filter(|removed| !removed.is_null()));
        told.extend(entries.iter().cloned());
        after = entries.last().unwrap()["at"].clone();
        if page["more"] == false {
            return told;
        }
    }
}

#[tokio::test]
async fn paging_through_several_attempts_with_removed_entries_gives_what_following_gives() {
    let server = TestServer::with(|settings| settings.limits.output_bytes = 400_000).await;
    let mut peer = server.user("ada").await;
    let job = peer.queue(&json!({"command": "x", "onLost": "requeue", "maxAttempts": 9})).await;
    // Small and large chunks, many and few, and attempts that write nothing; the oldest output is removed on the way.
    for (boot, chunks, size) in [(1, 700, 3), (2, 30, 20_000), (3, 0, 0), (4, 3, 9), (5, 0, 0), (6, 60, 5_000)] {
        let mut worker = server.worker("w", &json!({"boot": boot})).await;
        let assigned = worker.accepted().await;
        assert_eq!(assigned.attempt, boot);
        for n in 1..=chunks {
            worker.say(&assigned.output(n, &format!("{n:0size$}"))).await;
        }
        if boot == 6 {
            worker.say(&assigned.end(chunks + 1, 0)).await;
        }
        if chunks > 0 {
            worker.stored(&assigned, chunks).await;
        }
    }
    peer.job_is(&job, "completed").await;
    let followed = followed(&mut peer, &job).await;
    assert!(followed.iter().any(|told| told.get("from").is_some()), "something was removed");
    assert_eq!(followed.iter().filter(|told| told["opt"] == "status").count(), 11);
    for max_bytes in [1, 30_000, 524_288] {
        assert_eq!(paged_back(&mut peer, &job, max_bytes).await, followed, "back by {max_bytes} bytes");
        assert_eq!(paged_on(&mut peer, &job, max_bytes).await, followed, "on by {max_bytes} bytes");
    }

    let page = peer.get("job", &read(&job, &json!({"before": "2-0", "maxBytes": 1})), "page").await;
    assert_eq!((&page["entries"][0]["at"], &page["entries"][0]["reason"]), (&json!("1-701"), &json!("worker_lost")));
    assert_eq!((&page["top"], &page["status"], &page["jobId"]), (&json!("6-61"), &json!("completed"), &json!(job)));
    let page = peer.get("job", &read(&job, &json!({"before": "1-0"})), "page").await;
    assert_eq!((&page["entries"], &page["removed"], &page["more"]), (&json!([]), &Value::Null, &json!(false)));
    let page = peer.get("job", &read(&job, &json!({"after": "6-61"})), "page").await;
    assert_eq!((&page["entries"], &page["more"]), (&json!([]), &json!(false)));
    let page = peer.get("job", &read(&job, &json!({"maxBytes": 1_000_000_000})), "page").await;
    assert_eq!(page["entries"][0]["at"], "1-0", "from the beginning, and no more than there may be");
}

#[tokio::test]
async fn a_log_without_output_has_pages_too() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let job = peer.queue(&json!({"command": "x"})).await;
    let empty = json!({
        "opt": "page", "jobId": job, "entries": [], "removed": null, "top": "0-0", "status": "pending", "more": false,
    });
    for place in [json!({}), json!({"after": "0"}), json!({"after": "tail"}), json!({"before": "end"})] {
        assert_eq!(peer.get("job", &read(&job, &place), "page").await, empty, "{place}");
    }
    peer.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await;
    for place in [json!({}), json!({"before": "end"}), json!({"before": "7-7"})] {
        let page = peer.get("job", &read(&job, &place), "page").await;
        assert_eq!((&page["entries"][0]["at"], &page["status"]), (&json!("0-1"), &json!("cancelled")), "{place}");
        assert_eq!((page["entries"].as_array().unwrap().len(), &page["more"]), (1, &json!(false)), "{place}");
    }
}

#[tokio::test]
async fn reading_a_page_leaves_what_is_followed_alone() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut worker = server.worker("w", &json!({})).await;
    let job = peer.submit(&json!({"command": "x"})).await["jobId"].as_str().unwrap().to_owned();
    let assigned = worker.accepted().await;
    worker.say(&assigned.output(1, "one\n")).await;
    assert_eq!(peer.until("job", "output").await["at"], "1-1");
    let page = peer.get("job", &read(&job, &json!({"before": "end"})), "page").await;
    assert_eq!(page["entries"].as_array().unwrap().len(), 2);
    assert_eq!((&page["top"], &page["status"], &page["more"]), (&json!("1-1"), &json!("running"), &json!(false)));
    worker.say(&assigned.output(2, "two\n")).await;
    let output = peer.expect("job", "output").await;
    assert_eq!(output["at"], "1-2");
    let page = peer.get("job", &read(&job, &json!({"after": "1-1"})), "page").await;
    assert_eq!(page["entries"], json!([output]), "an entry is the same wherever it comes from");
    peer.is_quiet().await;
}

#[tokio::test]
async fn a_page_that_makes_no_sense_or_is_another_s_is_refused() {
    let server = TestServer::start().await;
    let (mut ada, mut bob, mut admin) = (server.user("ada").await, server.user("bob").await, server.admin().await);
    let job = ada.queue(&json!({"command": "x"})).await;
    bob.refused("job", &read(&job, &json!({})), "not_found").await;
    bob.refused("job", &read(&job, &json!({"before": "end"})), "not_found").await;
    admin.get("job", &read(&job, &json!({})), "page").await;
    for (wrong, field) in [
        (json!({"after": "0", "before": "end"}), "before"),
        (json!({"before": "0"}), "before"),
        (json!({"before": 7}), "before"),
        (json!({"after": "x"}), "after"),
        (json!({"maxBytes": 0}), "maxBytes"),
        (json!({"maxBytes": "many"}), "maxBytes"),
    ] {
        let error = ada.refused("job", &read(&job, &wrong), "bad_frame").await;
        assert_eq!(error["field"], field, "{wrong}");
    }
    ada.refused("job", &json!({"opt": "read", "jobId": "ctr-1-c51f0c33"}), "not_found").await;
}
