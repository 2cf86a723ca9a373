//! Jobs with an image: what a program finds there, what it may not do, and how it ends.

use std::fs::File;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::{Site, apart, run_by};
use crate::support::engine::{self, SPEAKING_IMAGE, TestEngine};
use crate::support::eventually;

#[tokio::test]
async fn a_job_with_an_image_streams_like_any_other_and_leaves_no_container() {
    let mut site = Site::start().await;
    let done = site.run(json!({"command": "echo out; echo err >&2; exit 3"})).await;
    assert_eq!((&*done.stdout, &*done.stderr), ("out\n", "err\n"));
    assert_eq!(done.reason(), ("exit", Some(3)));
    let done = site.run(json!({"args": ["echo", "a  b", "$HOME"]})).await;
    assert_eq!(done.stdout, "a  b $HOME\n");
    assert_eq!(site.containers(), "");
}

#[tokio::test]
async fn an_image_runs_its_own_command_where_it_wants_to() {
    let mut site = Site::start().await;
    let done = site.run(json!({"image": SPEAKING_IMAGE})).await;
    assert_eq!(done.stdout, "I am in /srv\n", "{done:?}");
    let done = site.run(json!({"image": SPEAKING_IMAGE, "command": "pwd"})).await;
    assert_eq!(done.stdout, "/workspace\n", "{done:?}");
}

#[tokio::test]
async fn the_workspace_is_the_jobs_own_and_its_artifacts_are_kept() {
    let mut site = Site::start().await;
    let spec =
        json!({"command": "pwd; id -u; echo kept > result; ls ..|wc -l", "cwd": "deep/er", "artifacts": ["deep/er/*"]});
    let job = site.begin(spec).await;
    let done = site.outcome().await;
    let uid = nix::unistd::Uid::current();
    assert!(done.stdout.starts_with(&format!("/workspace/deep/er\n{uid}\n")), "{done:?}");
    assert_eq!(done.reason(), ("exit", Some(0)), "{done:?}");
    let kept =
        site.server.web().get(&format!("/api/jobs/{job}/artifacts/deep/er/result"), site.server.admin_token()).await;
    assert_eq!(kept.text, "kept\n");
}

#[tokio::test]
async fn a_job_finds_its_variables_and_input() {
    let mut site = Site::start().await;
    let command = "echo ready; read go; echo $OWN $GANGLINE_JOB_ID $GANGLINE_ATTEMPT $GANGLINE_WORKER_ID $GANGLINE_WORKSPACE; cat";
    let job = site.begin(json!({"command": command, "env": {"OWN": "mine"}, "stdin": true})).await;
    site.until_said("ready").await;
    site.user.say("job", &json!({"opt": "input", "jobId": job, "text": "go\ntyped\n", "eof": true})).await;
    let done = site.outcome().await;
    assert_eq!(done.stdout, format!("mine {job} 1 {} /workspace\ntyped\n", site.id));
    assert_eq!(done.reason(), ("exit", Some(0)));
}

#[tokio::test]
async fn a_job_on_a_terminal_has_its_size_and_may_write_any_byte() {
    let mut site = Site::start().await;
    // What is typed goes to the program, its size to the engine: neither waits for the other.
    let command = "stty size; printf '\\000\\001\\002'; echo; read line; \
        until stty size | grep '20 90'; do sleep 0.05; done; echo $TERM";
    let job = site.begin(json!({"command": command, "tty": {"cols": 100, "rows": 30}})).await;
    site.until_said("30 100").await;
    site.user.get("job", &json!({"opt": "resize", "jobId": job, "cols": 90, "rows": 20}), "ok").await;
    site.user.say("job", &json!({"opt": "input", "jobId": job, "text": "\u{10}\u{11}x\n"})).await;
    let done = site.outcome().await;
    assert!(done.stdout.contains("20 90\r\nxterm-256color"), "{done:?}");
    let raw = site.server.web().get(&format!("/api/jobs/{job}/output?stream=stdout"), site.server.admin_token()).await;
    assert!(raw.text.starts_with("30 100\r\n\0\u{1}\u{2}\r\n"), "{:?}", raw.text);
}

#[tokio::test]
async fn a_job_has_no_privileges_no_network_and_nowhere_else_to_write() {
    let mut site = Site::start().await;
    let command = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; ls /sys/class/net; touch /x; touch /tmp/y && touch z \
        && echo written; mount -t tmpfs x /tmp; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max; cat /proc/1/comm";
    let done = site.run(json!({"command": command})).await;
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "lo\n", "written", "1024"]
    {
        assert!(done.stdout.contains(line), "{line}: {done:?}");
    }
    assert!(!done.stdout.contains("eth"), "{done:?}");
    assert!(done.stderr.contains("/x: Read-only file system") && done.stderr.contains("mount:"), "{done:?}");
}

#[tokio::test]
async fn only_the_workers_settings_lift_what_is_forbidden() {
    let flags = [
        "--container-read-only",
        "false",
        "--container-capability",
        "CHOWN,KILL",
        "--container-network",
        "bridge",
        "--container-pids-limit",
        "77",
        "--container-new-privileges",
        "true",
    ];
    let mut site = Site::with(engine::address(), &flags).await;
    let command = "grep -E 'CapEff|NoNewPrivs' /proc/self/status; ls /sys/class/net; touch /x && echo written; \
        cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max";
    let done = site.run(json!({"command": command})).await;
    for line in ["CapEff:\t0000000000000021", "NoNewPrivs:\t0", "eth0", "written", "77"] {
        assert!(done.stdout.contains(line), "{line}: {done:?}");
    }
}

#[tokio::test]
async fn a_job_ends_as_processes_do() {
    let mut site = Site::start().await;
    // Its time begins before there is a container, and must not be over before its program runs. The others end meanwhile.
    let slow = site.begin(json!({"command": "echo ready; sleep 1000", "timeoutSecs": 10})).await;
    site.until_said("ready").await;
    site.user.get("job", &json!({"opt": "unfollow", "jobId": slow}), "ok").await;
    let done = site.run(json!({"command": "kill -9 $$"})).await;
    assert_eq!(done.reason(), ("signal", Some(137)), "{done:?}");
    let done = site.run(json!({"args": ["no-such-program"]})).await;
    assert_eq!(done.reason(), ("spawn_error", Some(127)), "{done:?}");
    assert!(done.message().contains("no-such-program"), "{done:?}");
    let done = site.run(json!({"args": ["/etc"]})).await;
    assert_eq!(done.reason(), ("spawn_error", Some(126)), "{done:?}");
    site.user.follow(&slow, "0").await;
    let done = site.outcome().await;
    assert_eq!(done.reason(), ("timeout", Some(143)), "{done:?}");
    assert_eq!(site.containers(), "");
}

#[tokio::test]
async fn a_job_that_uses_too_much_memory_is_told_apart() {
    let mut site = Site::start().await;
    let eater = json!({"command": "echo ready; read go; exec dd if=/dev/zero of=/dev/null bs=200M count=1", "stdin": true,
        "requires": {"memoryBytes": 32 << 20}});
    let job = site.begin(eater).await;
    site.until_said("ready").await;
    site.user.say("job", &json!({"opt": "input", "jobId": job, "text": "go\n"})).await;
    let done = site.outcome().await;
    assert_eq!(done.reason(), ("out_of_memory", Some(137)), "{done:?}");
    let killed = json!({"command": "sleep 1000 & kill -9 $!; wait $!", "requires": {"memoryBytes": 32 << 20}});
    let done = site.run(killed).await;
    assert_ne!(done.reason().0, "out_of_memory", "another kill is not taken for it: {done:?}");
    assert_eq!(done.reason().1, Some(137), "{done:?}");
    assert_eq!(site.containers(), "");
}

/// An engine asks to be told of memory only when a program runs already. Here that is made to take longer than the program.
/// The kernel's log, where it may be read, says what the engine cannot know.
#[tokio::test]
async fn memory_that_runs_out_before_the_engine_looks_is_told_apart_too() {
    let dir = TempDir::new().expect("a temporary directory");
    let script = r#"#!/bin/bash
        PATH=$PATH:/usr/sbin
        runc "$@" || exit
        [[ " $* " != *" start "* ]] || until runc "${@/#start/state}" | grep -q '"status": "stopped"'; do sleep 0.01; done"#;
    let engine = run_by(script, &dir);
    let mut site = Site::with(engine.address(), &["--label", "late=yes"]).await;
    let eater = json!({"args": ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"],
        "requires": {"memoryBytes": 32 << 20, "labels": {"late": "yes"}}});
    let done = site.run(eater).await;
    let known = if File::open("/dev/kmsg").is_ok() { "out_of_memory" } else { "signal" };
    assert_eq!(done.reason(), (known, Some(137)), "{done:?}");
    assert_eq!(engine.docker(&["ps", "-aq"]), "");
}

#[tokio::test]
async fn a_cancelled_job_may_say_goodbye_and_is_killed_if_it_does_not_go() {
    let mut site = Site::start().await;
    let job = site.begin(json!({"command": "trap 'echo bye; exit 4' TERM; echo ready; sleep 1000"})).await;
    site.until_said("ready").await;
    site.user.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await;
    let done = site.outcome().await;
    assert_eq!((&*done.stdout, done.reason()), ("bye\n", ("cancelled", Some(4))), "{done:?}");

    let job = site.begin(json!({"command": "trap '' TERM; echo ready; while :; do sleep 1; done"})).await;
    site.until_said("ready").await;
    site.user.get("job", &json!({"opt": "cancel", "jobId": job, "graceSecs": 0.2}), "ok").await;
    assert_eq!(site.outcome().await.reason(), ("cancelled", Some(137)));
    assert_eq!(site.containers(), "");
}

#[tokio::test]
async fn an_unknown_image_is_said_and_leaves_nothing() {
    let mut site = Site::start().await;
    let done = site.run(json!({"image": "127.0.0.1:1/nowhere:1", "command": "true"})).await;
    assert_eq!(done.reason(), ("spawn_error", None), "{done:?}");
    assert!(done.message().contains("127.0.0.1:1/nowhere:1"), "{done:?}");
    assert_eq!(done.stderr, "pulling image 127.0.0.1:1/nowhere:1\n");
    assert_eq!(site.containers(), "");
}

#[tokio::test]
async fn much_output_comes_out_whole() {
    let mut site = Site::start().await;
    let command = "head -c 3000000 /dev/zero | tr '\\0' x | fold -w 79; head -c 2000000 /dev/zero | tr '\\0' y >&2";
    let done = site.run(json!({"command": command})).await;
    assert_eq!((done.stdout.matches('x').count(), done.stderr.matches('y').count()), (3_000_000, 2_000_000));
}

#[tokio::test]
async fn a_killed_workers_containers_are_removed_by_the_next() {
    let mut site = Site::start().await;
    site.begin(json!({"command": "echo ready; sleep 1000"})).await;
    site.until_said("ready").await;
    assert_ne!(site.containers(), "");
    site.restart_worker(engine::address()).await;
    assert_eq!(site.outcome().await.reason().0, "worker_lost");
    assert_eq!(site.containers(), "");
}

#[tokio::test]
async fn jobs_wait_for_an_engine_and_one_that_goes_ends_them_with_a_word() {
    let engine = TestEngine::private();
    let mut site = Site::with(engine.address(), &["--label", "private=yes"]).await;
    let get = json!({"opt": "get", "workerId": site.id});
    let connected_at = site.user.get("worker", &get, "worker").await["worker"]["connectedAt"].clone();
    let spec = json!({"command": "echo ready; sleep 1000", "requires": {"labels": {"private": "yes"}}});
    site.begin(spec.clone()).await;
    site.until_said("ready").await;
    let engine = apart(engine, TestEngine::stop).await;
    // Whoever has noticed says so by connecting anew.
    eventually("the worker to notice", async || {
        let now = site.user.get("worker", &get, "worker").await["worker"]["connectedAt"].clone();
        (now.is_u64() && now != connected_at).then_some(())
    })
    .await;
    let waiting = site.server.admin().await.queue(&json!({"image": engine::IMAGE, "command": "echo again"})).await;
    let engine = apart(engine, TestEngine::start_again).await;
    let done = site.outcome().await;
    assert!(done.message().contains("container engine"), "{done:?}");
    assert_eq!(done.reason().0, "signal", "{done:?}");
    let record = eventually("the other job to end", async || {
        let record = site.user.job(&waiting).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        (record["status"] == "completed" || record["status"] == "failed").then_some(record)
    })
    .await;
    assert_eq!(record["status"], "completed", "{record}");
    assert_eq!(engine.docker(&["ps", "-aq"]), "");
}
