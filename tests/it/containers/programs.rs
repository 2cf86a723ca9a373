//! Programs in a container that runs anyway: how they begin, how they end, and what they leave, which is nothing.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{Site, apart, run_by};
use crate::support::engine::{self, TestEngine};
use crate::support::eventually;

/// How long the end of a program that never began may take: less than it takes until its engine is asked in any case.
const AT_ONCE: Duration = Duration::from_secs(4);

impl Site {
    /// Starts a program in a container, and follows it; returns its job.
    async fn exec(&mut self, container: &str, mut spec: Value) -> String {
        spec["opt"] = json!("exec");
        spec["containerId"] = json!(container);
        let submitted = self.user.ask("container", &spec).await;
        assert_eq!(submitted["data"]["opt"], "submitted", "{submitted}");
        submitted["data"]["jobId"].as_str().expect("a job id").to_owned()
    }

    /// What runs in this worker's only container.
    fn processes(&self) -> String {
        engine::docker(&["top", &self.containers()])
    }
}

#[tokio::test]
async fn programs_run_inside_a_running_container() {
    let mut site = Site::start().await;
    let (id, _) = site.create(json!({"command": "echo mine > /tmp/f; sleep 1000", "env": {"OWN": "yes"}})).await;
    let exec = |more: Value| {
        let mut data = more;
        data["opt"] = json!("exec");
        data["containerId"] = json!(id);
        data
    };
    let submitted =
        site.user.ask("container", &exec(json!({"command": "cat /tmp/f; echo $OWN; echo e >&2; exit 4"}))).await;
    assert_eq!(submitted["data"]["opt"], "submitted", "{submitted}");
    let done = site.outcome().await;
    assert_eq!((&*done.stdout, &*done.stderr, done.reason()), ("mine\nyes\n", "e\n", ("exit", Some(4))), "{done:?}");

    site.user.ask("container", &exec(json!({"args": ["no-such-program"]}))).await;
    let done = site.outcome().await;
    assert_eq!(done.reason(), ("spawn_error", Some(127)), "{done:?}");

    let tty = json!({"command": "stty size; read x; echo got $x", "tty": {"cols": 70, "rows": 20}});
    let job = site.user.ask("container", &exec(tty)).await["data"]["jobId"].clone();
    site.until_said("20 70").await;
    site.user.say("job", &json!({"opt": "input", "jobId": job, "text": "it\n"})).await;
    let done = site.outcome().await;
    assert!(done.stdout.ends_with("got it\r\n") && done.reason().1 == Some(0), "{done:?}");

    let stubborn = json!({"command": "sleep 7777 & trap '' TERM; echo ready; while :; do sleep 1; done"});
    let job = site.user.ask("container", &exec(stubborn)).await["data"]["jobId"].clone();
    site.until_said("ready").await;
    site.user.get("job", &json!({"opt": "cancel", "jobId": job, "graceSecs": 0.3}), "ok").await;
    assert_eq!(site.outcome().await.reason(), ("cancelled", Some(137)));
    let left = engine::docker(&["top", &site.containers()]);
    assert!(!left.contains("7777"), "what it started goes with it: {left}");
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn a_program_that_cannot_start_ends_at_once_whatever_else_goes_on() {
    let mut site = Site::start().await;
    let (id, _) = site.create(json!({"command": "sleep 1000"})).await;
    let docker = site.containers();
    // As a health check does, again and again.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let others = tokio::task::spawn_blocking(move || {
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            engine::docker(&["exec", &docker, "true"]);
        }
    });
    for (spec, exit_code, message) in [
        (json!({"args": ["nope"]}), 127, "cannot start \"nope\": executable file not found in $PATH"),
        (json!({"args": ["/etc"]}), 126, "cannot start \"/etc\": permission denied"),
        (json!({"args": ["pwd"], "cwd": "/nonexist"}), 127, "cannot start in \"/nonexist\": no such file or directory"),
        (json!({"args": ["nope"], "tty": true}), 127, "cannot start \"nope\": executable file not found in $PATH"),
    ] {
        site.exec(&id, spec.clone()).await;
        let done = timeout(AT_ONCE, site.outcome()).await.unwrap_or_else(|_| panic!("{spec} has not ended"));
        assert_eq!((done.reason(), done.message()), (("spawn_error", Some(exit_code)), message), "{spec}: {done:?}");
    }
    stop.send(()).expect("it goes on");
    others.await.expect("no panic");
    site.exec(&id, json!({"command": "pwd", "cwd": "/tmp"})).await;
    assert_eq!(site.outcome().await.stdout, "/tmp\n");
    let spec = json!({"opt": "exec", "containerId": id, "args": ["pwd"], "cwd": "tmp"});
    assert_eq!(site.user.refused("container", &spec, "bad_frame").await["field"], "cwd");
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn a_program_that_closes_its_output_goes_on_to_its_end() {
    let mut site = Site::start().await;
    let (id, _) = site.create(json!({"command": "sleep 1000"})).await;
    site.exec(&id, json!({"command": "echo done; exec >&- 2>&-; sleep 2; exit 3"})).await;
    let done = site.outcome().await;
    assert_eq!((&*done.stdout, done.reason()), ("done\n", ("exit", Some(3))), "{done:?}");
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn a_program_that_sheds_its_environment_ends_when_it_must() {
    let mut site = Site::start().await;
    let (id, _) = site.create(json!({"command": "sleep 1000"})).await;
    let bare = |script: &str| json!({"args": ["env", "-i", "/bin/sh", "-c", script]});

    // Its time is over while the others end, or later.
    let mut slow = bare("echo ready; exec sleep 8883");
    slow["timeoutSecs"] = json!(5);
    let slow = site.exec(&id, slow).await;
    site.until_said("ready").await;
    site.user.get("job", &json!({"opt": "unfollow", "jobId": slow}), "ok").await;

    let job = site.exec(&id, bare("echo ready; exec sleep 8881")).await;
    site.until_said("ready").await;
    site.user.get("job", &json!({"opt": "cancel", "jobId": job, "graceSecs": 600}), "ok").await;
    assert_eq!(site.outcome().await.reason(), ("cancelled", Some(143)), "it is asked to end, and does");

    let stubborn = "trap '' TERM; sleep 8882 & echo ready; while :; do sleep 1; done";
    let job = site.exec(&id, bare(stubborn)).await;
    site.until_said("ready").await;
    site.user.get("job", &json!({"opt": "cancel", "jobId": job, "graceSecs": 0.3}), "ok").await;
    assert_eq!(site.outcome().await.reason(), ("cancelled", Some(137)));

    site.user.follow(&slow, "0").await;
    assert_eq!(site.outcome().await.reason(), ("timeout", Some(143)));

    let left = site.processes();
    assert!(!left.contains("888") && left.contains("sleep 1000"), "what it started goes, and nothing else: {left}");
    site.remove_all(&[id]).await;
}

/// An engine says that it starts a program before it does. Here that is made to take as long as is wanted.
#[tokio::test]
async fn a_program_that_must_end_before_it_is_there_is_asked_to_once_it_is() {
    let dir = TempDir::new().expect("a temporary directory");
    let script = r#"#!/bin/bash
        PATH=$PATH:/usr/sbin
        if [[ " $* " == *" exec "* ]]; then
            touch "${0%/*}/asked"
            while [ -e "$0" ] && ! [ -e "${0%/*}/go" ]; do sleep 0.01; done
        fi
        exec runc "$@""#;
    let engine = run_by(script, &dir);
    let mut site = Site::with(engine.address(), &[]).await;
    let (id, _) = site.create(json!({"command": "sleep 1000"})).await;
    let job = site.exec(&id, json!({"args": ["sleep", "1000"]})).await;
    eventually("it to be started", async || dir.path().join("asked").exists().then_some(())).await;
    site.user.get("job", &json!({"opt": "cancel", "jobId": job, "graceSecs": 600}), "ok").await;
    std::fs::write(dir.path().join("go"), "").expect("a file");
    let done = site.outcome().await;
    // Or the engine's word is there no sooner than the wish.
    assert!(matches!(done.reason(), ("cancelled", Some(143) | None)), "{done:?}");
    site.do_it("remove", &id).await;
}

#[tokio::test]
async fn a_program_that_a_silent_engine_does_not_start_can_be_cancelled() {
    let engine = TestEngine::private();
    let mut site = Site::with(engine.address(), &[]).await;
    let (id, _) = site.create(json!({"command": "sleep 1000"})).await;
    let frozen = engine.freeze();
    let job = site.exec(&id, json!({"command": "echo never"})).await;
    site.user.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await;
    assert_eq!(site.outcome().await.reason(), ("cancelled", None));
    drop(frozen);
    site.exec(&id, json!({"command": "echo now"})).await;
    assert_eq!(site.outcome().await.stdout, "now\n");
    site.do_it("remove", &id).await;
}

#[tokio::test]
async fn what_a_killed_worker_ran_in_a_container_goes_and_the_container_stays() {
    let mut site = Site::start().await;
    // A worker in the container may have jobs of its own.
    let command = "GANGLINE_JOB_ID=job-1-00000001 GANGLINE_WORKER_ID=inside sleep 5555 & sleep 1000";
    let (id, _) = site.create(json!({"command": command})).await;
    site.exec(&id, json!({"command": "sleep 6666 & while :; do echo ex; sleep 1; done"})).await;
    site.until_said("ex").await;
    assert!(site.processes().contains("sleep 6666"), "{}", site.processes());
    site.restart_worker(engine::address()).await;
    assert_eq!(site.outcome().await.reason().0, "worker_lost");
    // It was to be gone before the worker was there.
    let left = site.processes();
    assert!(!left.contains("6666") && !left.contains("echo ex"), "{left}");
    assert!(left.contains("sleep 5555") && left.contains("sleep 1000"), "{left}");
    // What is started now is not taken for what was left.
    site.exec(&id, json!({"command": "echo new; exit 4"})).await;
    let done = site.outcome().await;
    assert_eq!((&*done.stdout, done.reason()), ("new\n", ("exit", Some(4))), "{done:?}");
    assert_eq!(site.record(&id).await["attempt"], 1, "it never ended");
    site.remove_all(&[id]).await;
}

#[tokio::test]
async fn what_a_killed_worker_ran_goes_when_the_engine_is_there_again() {
    let mut engine = TestEngine::with(&["--live-restore"]);
    let mut site = Site::with(engine.address(), &[]).await;
    let (id, _) = site.create(json!({"command": "sleep 1000"})).await;
    site.exec(&id, json!({"command": "sleep 6666 & while :; do echo ex; sleep 1; done"})).await;
    site.until_said("ex").await;
    site.worker.kill();
    engine = apart(engine, TestEngine::stop).await;
    site.start_worker(engine.address());
    assert_eq!(site.outcome().await.reason().0, "worker_lost", "the new worker is there without an engine");
    engine = apart(engine, TestEngine::start_again).await;
    let docker = engine.docker(&["ps", "-q"]);
    eventually("the program to go", async || {
        let left = engine.docker(&["top", &docker]);
        assert!(left.contains("sleep 1000"), "{left}");
        (!left.contains("6666") && !left.contains("echo ex")).then_some(())
    })
    .await;
    site.status_is(&id, "running").await;
    site.do_it("remove", &id).await;
}

#[tokio::test]
async fn what_runs_inside_a_container_has_its_gpus_whatever_it_asks_for() {
    let mut site = Site::with(engine::address(), &["--gpus", "2"]).await;
    let (id, _) = site.create(json!({"command": "sleep 1000", "gpuIds": [1]})).await;
    let env = json!({"CUDA_VISIBLE_DEVICES": "0", "OTHER": "kept"});
    site.exec(&id, json!({"command": "echo $CUDA_VISIBLE_DEVICES $OTHER", "env": env})).await;
    assert_eq!(site.outcome().await.stdout, "1 kept\n");
    site.remove_all(&[id]).await;
}
