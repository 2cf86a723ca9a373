//! The contract's section on containers, as the dispatcher keeps it: with workers that do as they are told.

use gangline::protocol::auth::Role;
use serde_json::{Value, json};

use crate::support::{Assigned, Peer, TestServer, Worker, eventually};

/// A worker with a container engine.
pub(crate) async fn node(server: &TestServer, id: &str, more: &Value) -> Worker {
    let mut fields = json!({"images": ["busybox:latest"]});
    for (key, value) in more.as_object().expect("fields") {
        fields[key] = value.clone();
    }
    server.worker(id, &fields).await
}

pub(crate) fn create(more: &Value) -> Value {
    let mut data = json!({"opt": "create", "imageId": "busybox"});
    for (key, value) in more.as_object().expect("fields") {
        data[key] = value.clone();
    }
    data
}

pub(crate) fn about(opt: &str, container: &str) -> Value {
    json!({"opt": opt, "containerId": container})
}

/// The worker takes the next container and says that it runs.
pub(crate) async fn starts(worker: &mut Worker, ports: Value) -> Assigned {
    let assigned = worker.accepted().await;
    let started = json!({"opt": "started", "containerId": assigned.job, "attempt": assigned.attempt, "ports": ports});
    worker.peer.say("container", &started).await;
    assigned
}

/// A container that runs.
pub(crate) async fn running(peer: &mut Peer, worker: &mut Worker, more: &Value) -> (String, Assigned) {
    let data = create(more);
    let (created, assigned) = tokio::join!(peer.get("container", &data, "created"), starts(worker, json!([])));
    assert_eq!(created["containerId"], json!(assigned.job));
    (assigned.job.clone(), assigned)
}

/// Asks, and is answered once it is done.
pub(crate) async fn done(peer: &mut Peer, data: Value) {
    peer.get("container", &data, "ok").await;
}

pub(crate) async fn record(peer: &mut Peer, container: &str) -> Value {
    peer.get("container", &about("get", container), "container").await["container"].clone()
}

/// Waits until a field of the record is so.
pub(crate) async fn comes_to(peer: &mut Peer, container: &str, field: &str, value: &str) {
    eventually(&format!("{field} {value}"), async || (record(peer, container).await[field] == value).then_some(()))
        .await;
}

#[tokio::test]
async fn the_frame_of_the_old_document_is_enough_for_a_reachable_service() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let asked = json!({"opt": "create", "image_id": "web", "port": 8080});
    let ports = json!([{"container": 8080, "host": 32_768}]);
    let (created, assigned) = tokio::join!(peer.get("container", &asked, "created"), starts(&mut worker, ports));
    let id = created["containerId"].as_str().unwrap().to_owned();
    assert!(id.starts_with("ctr-"), "{id}");
    assert_eq!(created["workerId"], "w");
    let port = &created["ports"][0];
    assert_eq!((&port["container"], &port["host"]), (&json!(8080), &json!(32_768)));
    assert_eq!(port["address"], "127.0.0.1:32768");
    assert_eq!(assigned.data["spec"]["image"], "web");
    assert_eq!(assigned.data["spec"]["service"]["ports"], json!([{"container": 8080}]));
    assert_eq!(assigned.data["spec"]["stdin"], true, "a console can be written to");

    let seen = record(&mut peer, &id).await;
    for (field, value) in [
        ("status", json!("running")),
        ("imageId", json!("web")),
        ("workerId", json!("w")),
        ("account", json!("ada")),
        ("attempt", json!(1)),
        ("restart", json!("no")),
    ] {
        assert_eq!(seen[field], value, "{field}");
    }
    let list = peer.get("container", &json!({"opt": "list"}), "containers").await;
    assert_eq!((&list["containers"], &list["next"]), (&json!([seen]), &Value::Null));
}

#[tokio::test]
async fn a_console_is_a_log_over_all_starts() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, first) = running(&mut peer, &mut worker, &json!({"name": "web"})).await;
    worker.run(&first, "up\n").await;
    let (_, second) = tokio::join!(done(&mut peer, about("start", "web")), starts(&mut worker, json!([])));
    assert_eq!((second.job.as_str(), second.attempt), (id.as_str(), 2));
    worker.say(&second.output(1, "again\n")).await;
    worker.stored(&second, 1).await;

    let mut reader = server.user("ada").await;
    let following = reader.get("container", &json!({"opt": "follow", "containerId": id}), "following").await;
    assert_eq!((&following["from"], &following["status"]), (&json!("0-0"), &json!("running")));
    let mut told = Vec::new();
    while told.last().is_none_or(|last: &Value| last["opt"] != "live") {
        let frame = reader.next().await;
        assert_eq!(frame["type"], "container", "{frame}");
        assert_eq!(frame["data"]["containerId"], json!(id), "{frame}");
        told.push(frame["data"].clone());
    }
    let words: Vec<String> = told
        .iter()
        .map(|entry| {
            let what = entry["text"].as_str().or(entry["status"].as_str()).unwrap_or("");
            format!("{} {} {}", entry["at"].as_str().unwrap(), entry["opt"].as_str().unwrap(), what.trim_end())
        })
        .collect();
    let expected = [
        "1-0 status running",
        "1-1 output up",
        "1-2 end stopped",
        "1-3 status creating",
        "2-0 status running",
        "2-1 output again",
        "2-1 live ",
    ];
    assert_eq!(words, expected);

    // The same by pages, by its number or its name.
    let told: Vec<Value> = told.into_iter().filter(|entry| entry["opt"] != "live").collect();
    let page = reader.get("container", &json!({"opt": "read", "containerId": "web", "before": "2-0"}), "page").await;
    assert_eq!((&page["entries"], &page["removed"]), (&json!(told[..4]), &Value::Null));
    assert_eq!((&page["containerId"], &page["top"]), (&json!(id), &json!("2-1")));
    assert_eq!((&page["status"], &page["more"]), (&json!("running"), &json!(false)));
    let page = reader.get("container", &json!({"opt": "read", "containerId": 1, "after": "1-3"}), "page").await;
    assert_eq!(page["entries"], json!(told[4..]));
    let mut bob = server.user("bob").await;
    bob.refused("container", &json!({"opt": "read", "containerId": id}), "not_found").await;

    // What is typed into it goes to its worker; the follower stays over the end, until it is removed.
    peer.say("container", &json!({"opt": "input", "containerId": "web", "text": "ls\n"})).await;
    let input = worker.peer.until("job", "input").await;
    assert_eq!((&input["jobId"], &input["text"]), (&json!(id), &json!("ls\n")));
    worker.say(&second.end(2, 1)).await;
    let end = reader.until("container", "end").await;
    assert_eq!((&end["status"], &end["exitCode"], &end["reason"]), (&json!("failed"), &json!(1), &json!("exit")));
    peer.get("container", &about("remove", "web"), "ok").await;
    let end = reader.until("container", "end").await;
    assert_eq!((&end["at"], &end["status"]), (&json!("2-3"), &json!("removed")));
    peer.refused("container", &about("get", &id), "not_found").await;
    assert_eq!(worker.peer.until("container", "forget").await["containerId"], json!(id));
}

#[tokio::test]
async fn what_cannot_be_started_is_told_and_leaves_nothing() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let nowhere = peer.refused("container", &create(&json!({})), "unsatisfiable").await;
    assert_eq!(nowhere["retry"], true);
    let mut worker = node(&server, "w", &json!({})).await;
    let data = create(&json!({"name": "web"}));
    let fails = async {
        let assigned = worker.accepted().await;
        let error = json!({"opt": "failed", "containerId": assigned.job, "attempt": 1, "code": "not_found",
            "message": "no image busybox", "field": "imageId"});
        worker.peer.say("container", &error).await;
        let mut end = assigned.report("end");
        (end["n"], end["reason"]) = (json!(1), json!("spawn_error"));
        worker.say(&end).await;
        worker.peer.until("container", "forget").await
    };
    let (error, forgotten) = tokio::join!(peer.refused("container", &data, "not_found"), fails);
    assert_eq!((&error["field"], &error["message"]), (&json!("imageId"), &json!("no image busybox")));
    assert!(forgotten["containerId"].as_str().unwrap().starts_with("ctr-"));
    let list = peer.get("container", &json!({"opt": "list"}), "containers").await;
    assert_eq!(list["containers"], json!([]));
    // Its name is free again.
    running(&mut peer, &mut worker, &json!({"name": "web"})).await;
    let taken = peer.refused("container", &data, "conflict").await;
    assert_eq!(taken["field"], "name");
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let _worker = node(&server, "w", &json!({})).await;
    for (more, field) in [
        (json!({"imageId": null}), "imageId"),
        (json!({"imageId": "a b"}), "imageId"),
        (json!({"port": 0}), "port"),
        (json!({"ports": [8080, "http"]}), "ports[1]"),
        (json!({"ports": ["80:8080", "80:9090"]}), "ports[1]"),
        (json!({"ports": (1..=129).collect::<Vec<_>>()}), "ports"),
        (json!({"mounts": vec![json!({"volume": "up", "path": "/a"}); 129]}), "mounts"),
        (json!({"mounts": [{"volume": "../up", "path": "/a"}]}), "mounts[0].volume"),
        (json!({"mounts": [{"volume": "up", "path": "a"}]}), "mounts[0].path"),
        (json!({"mounts": [{"volume": "up", "path": "/data/"}]}), "mounts[0].path"),
        (json!({"env": {"a=b": "c"}}), "env"),
        (json!({"cpus": -1}), "cpus"),
        (json!({"memoryBytes": "much"}), "memoryBytes"),
        (json!({"restart": "sometimes"}), "restart"),
        (json!({"name": "17"}), "name"),
        (json!({"graceSecs": -1}), "graceSecs"),
        (json!({"command": "a", "args": ["b"]}), "args"),
        (json!({"workerId": "w", "requires": {"workerId": "x"}}), "workerId"),
        (json!({"cpus": 1, "requires": {"cpus": 2}}), "cpus"),
        (json!({"memoryBytes": 1024, "requires": {"memoryBytes": 2048}}), "memoryBytes"),
        (json!({"gpus": 1, "requires": {"gpus": 2}}), "gpus"),
        (json!({"gpuIds": [0], "requires": {"gpuIds": [1]}}), "gpuIds"),
        (json!({"gpuIds": [0], "requires": {"gpus": 1}}), "gpuIds"),
    ] {
        let error = peer.refused("container", &create(&more), "bad_frame").await;
        assert_eq!(error["field"], json!(field), "{more}: {error}");
    }
    // In words that whoever asks knows, too.
    for (more, field, words) in [
        (json!({"restart": true}), "restart", "`true`, expected one of `no`, `on-failure`"),
        (json!({"requires": 5}), "requires", "integer `5`, expected an object such as {\"gpus\":1"),
        (json!({"mounts": ["a:/b"]}), "mounts[0]", "expected an object such as {\"volume\":\"world\",\"path\":"),
    ] {
        let error = peer.refused("container", &create(&more), "bad_frame").await;
        assert_eq!(error["field"], json!(field), "{more}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(words)), "{error}");
    }
    for (data, code) in [
        (about("get", "ctr-9-c5000000"), "not_found"),
        (about("start", "nobody"), "not_found"),
        (json!({"opt": "exec", "args": ["ls"]}), "bad_frame"),
        (json!({"opt": "fly"}), "unknown_type"),
    ] {
        peer.refused("container", &data, code).await;
    }
    let reserved = json!({"opt": "submit", "args": ["ls"], "container": "ctr-9-c5000000"});
    assert_eq!(peer.refused("job", &reserved, "bad_frame").await["field"], "container");
}

#[tokio::test]
async fn a_stop_is_answered_when_it_has_come_about() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, start) = running(&mut peer, &mut worker, &json!({"restart": "always"})).await;
    let stops = async |worker: &mut Worker, start: &Assigned, grace: f64| {
        let cancel = worker.peer.until("job", "cancel").await;
        assert_eq!((&cancel["jobId"], &cancel["graceSecs"]), (&json!(start.job), &json!(grace)));
        let mut end = start.report("end");
        (end["n"], end["exitCode"], end["reason"]) = (json!(1), json!(143), json!("cancelled"));
        worker.say(&end).await;
    };
    let stop = json!({"opt": "stop", "containerId": id, "graceSecs": 3});
    tokio::join!(done(&mut peer, stop.clone()), stops(&mut worker, &start, 3.0));
    let seen = record(&mut peer, &id).await;
    assert_eq!((&seen["status"], &seen["exitCode"]), (&json!("stopped"), &json!(143)));
    // It stays so, whatever its policy, and a repeat is fine.
    peer.get("container", &stop, "ok").await;
    peer.refused("container", &about("kill", &id), "conflict").await;
    peer.refused("container", &json!({"opt": "input", "containerId": id, "text": "x"}), "conflict").await;

    let (_, start) = tokio::join!(done(&mut peer, about("start", &id)), starts(&mut worker, json!([])));
    assert_eq!(start.attempt, 2);
    peer.get("container", &about("start", &id), "ok").await;
    let restarted = async {
        stops(&mut worker, &start, 10.0).await;
        starts(&mut worker, json!([])).await
    };
    let (_, start) = tokio::join!(done(&mut peer, about("restart", &id)), restarted);
    assert_eq!(start.attempt, 3);
    tokio::join!(done(&mut peer, about("kill", &id)), stops(&mut worker, &start, 0.0));
    assert_eq!(record(&mut peer, &id).await["status"], "stopped");
}

#[tokio::test]
async fn one_that_dies_starts_again_by_its_policy() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, first) = running(&mut peer, &mut worker, &json!({"restart": "on-failure"})).await;
    worker.say(&first.end(1, 7)).await;
    let second = starts(&mut worker, json!([])).await;
    assert_eq!((second.job.as_str(), second.attempt), (id.as_str(), 2));
    worker.say(&second.end(1, 0)).await;
    comes_to(&mut peer, &id, "status", "stopped").await;
}

#[tokio::test]
async fn what_a_lost_worker_still_runs_is_taken_over() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, first) = running(&mut peer, &mut worker, &json!({})).await;
    worker.say(&first.output(1, "four")).await;
    worker.stored(&first, 1).await;
    drop(worker);
    server.pass_time(40).await;
    comes_to(&mut peer, &id, "reason", "worker_lost").await;

    let more = json!({"boot": 2, "resume": [first.resume(0, "running")], "containers": [id]});
    let mut worker = node(&server, "w", &more).await;
    assert_eq!(worker.registered["resume"][0]["verdict"], "drop");
    let second = starts(&mut worker, json!([])).await;
    assert_eq!(second.attempt, 2);
    assert_eq!(second.data["adopt"], json!({"attempt": 1, "stdoutBytes": 4, "stderrBytes": 0}));
    comes_to(&mut peer, &id, "status", "running").await;
}

#[tokio::test]
async fn an_agent_that_was_killed_goes_on_after_what_is_stored() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, first) = running(&mut peer, &mut worker, &json!({})).await;
    worker.say(&first.output(1, "four")).await;
    worker.stored(&first, 1).await;
    drop(worker);
    let more = json!({"boot": 2, "resume": [first.resume(0, "running")], "containers": [id]});
    let mut worker = node(&server, "w", &more).await;
    let verdict = &worker.registered["resume"][0];
    assert_eq!((&verdict["verdict"], &verdict["nextN"]), (&json!("continue"), &json!(2)));
    assert_eq!((&verdict["stdoutBytes"], &verdict["stderrBytes"]), (&json!(4), &json!(0)));
    worker.say(&first.output(2, "more")).await;
    worker.stored(&first, 2).await;
    assert_eq!(record(&mut peer, &id).await["attempt"], 1);
}

#[tokio::test]
async fn a_worker_that_comes_back_lets_go_of_what_is_not_to_be() {
    let server = TestServer::with_manual_clock().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let (removed, _) = running(&mut peer, &mut worker, &json!({})).await;
    let (stopped, _) = running(&mut peer, &mut worker, &json!({})).await;
    drop(worker);
    server.pass_time(40).await;
    comes_to(&mut peer, &stopped, "status", "failed").await;
    peer.get("container", &about("remove", &removed), "ok").await;
    peer.get("container", &about("stop", &stopped), "ok").await;
    let more = json!({"boot": 2, "containers": [removed, stopped, "ctr-99-c5000000"]});
    let mut worker = node(&server, "w", &more).await;
    assert_eq!(worker.peer.until("container", "forget").await["containerId"], json!(removed));
    assert_eq!(worker.peer.until("container", "halt").await["containerId"], json!(stopped));
    assert_eq!(worker.peer.until("container", "forget").await["containerId"], "ctr-99-c5000000");
}

#[tokio::test]
async fn containers_are_their_owners_own_and_no_jobs() {
    let server = TestServer::start().await;
    let mut ada = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({"slots": 1})).await;
    let (id, _) = running(&mut ada, &mut worker, &json!({"name": "web"})).await;
    // It takes no slot.
    running(&mut ada, &mut worker, &json!({})).await;
    let job = ada.get("job", &json!({"opt": "submit", "command": "true", "follow": false}), "submitted").await;
    assert_eq!(worker.accepted().await.job, job["jobId"].as_str().unwrap());
    let jobs = ada.get("job", &json!({"opt": "list"}), "jobs").await;
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
    ada.refused("job", &json!({"opt": "get", "jobId": id}), "not_found").await;
    let number = record(&mut ada, &id).await["number"].clone();
    ada.refused("job", &json!({"opt": "cancel", "jobId": number}), "not_found").await;
    assert_eq!(record(&mut ada, "web").await["number"], number);
    assert_eq!(record(&mut ada, &number.to_string()).await["containerId"], json!(id));
    ada.refused("container", &about("get", &job["taskId"].to_string()), "not_found").await;

    let mut eve = server.user("eve").await;
    for data in [about("get", &id), about("remove", "web"), json!({"opt": "follow", "containerId": number})] {
        eve.refused("container", &data, "not_found").await;
    }
    assert_eq!(eve.get("container", &json!({"opt": "list"}), "containers").await["containers"], json!([]));
    let mut admin = server.admin().await;
    assert_eq!(record(&mut admin, "web").await["account"], "ada");
    running(&mut admin, &mut worker, &json!({"name": "web"})).await;
    assert_eq!(record(&mut admin, "web").await["account"], "admin", "one's own comes first");
    assert_eq!(record(&mut admin, &number.to_string()).await["account"], "ada");
}

#[tokio::test]
async fn a_program_runs_inside_a_container_as_a_job() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({"slots": 1})).await;
    let (id, start) = running(&mut peer, &mut worker, &json!({})).await;
    let exec = json!({"opt": "exec", "containerId": id, "args": ["ls", "/"], "cwd": "/tmp", "tty": true});
    let submitted = peer.ask("container", &exec).await;
    assert_eq!((&submitted["type"], &submitted["data"]["opt"]), (&json!("job"), &json!("submitted")));
    let inside = worker.accepted().await;
    assert_eq!(inside.data["spec"]["container"], json!(id));
    worker.run(&inside, "bin\n").await;
    assert_eq!(peer.until("job", "end").await["exitCode"], 0);

    worker.say(&start.end(1, 0)).await;
    comes_to(&mut peer, &id, "status", "stopped").await;
    peer.refused("container", &exec, "conflict").await;
}

#[tokio::test]
async fn watchers_and_those_who_look_hear_of_containers() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut watcher = server.user("ada").await;
    watcher.get("container", &json!({"opt": "watch"}), "ok").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, start) = running(&mut peer, &mut worker, &json!({})).await;
    let told = async |watcher: &mut Peer, status: &str| loop {
        let event = watcher.until("container", "status").await;
        if event["status"] == status {
            return event;
        }
    };
    assert_eq!(told(&mut watcher, "creating").await["container"]["account"], "ada");
    assert_eq!(told(&mut watcher, "running").await["containerId"], json!(id));

    watcher.get("container", &about("stats", &id), "ok").await;
    assert_eq!(worker.peer.until("container", "measure").await["containerId"], json!(id));
    let usage = json!({"opt": "usage", "containerId": id, "usage": {"cpu": 0.5, "memoryBytes": 7}});
    // A worker has no say on another's.
    let mut other = node(&server, "other", &json!({})).await;
    other.peer.say("container", &json!({"opt": "usage", "containerId": id, "usage": {"cpu": 9.0}})).await;
    other.beat(&[]).await;
    worker.peer.say("container", &usage).await;
    let stats = watcher.until("container", "stats").await;
    assert_eq!((&stats["cpu"], &stats["memoryBytes"]), (&json!(0.5), &json!(7)));
    watcher.get("container", &about("unstats", &id), "ok").await;
    worker.peer.say("container", &usage).await;
    worker.say(&start.end(1, 1)).await;
    assert_eq!(told(&mut watcher, "failed").await["container"]["exitCode"], 1);
}

#[tokio::test]
async fn who_looks_at_too_many_containers_is_told_once() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    for _ in 0..128 {
        let (id, _) = running(&mut peer, &mut worker, &json!({})).await;
        done(&mut peer, about("stats", &id)).await;
    }
    let (one_more, _) = running(&mut peer, &mut worker, &json!({})).await;
    peer.say("container", &about("stats", &one_more)).await;
    peer.say("container", &about("get", &one_more)).await;
    let refused = peer.next().await;
    assert_eq!(refused["data"]["code"], "limit_exceeded", "{refused}");
    peer.expect("container", "container").await;
}

#[tokio::test]
async fn a_jobs_image_is_checked_like_a_containers() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let (web, ada) = (server.web(), server.token(Role::User, "ada").await);
    let _worker = node(&server, "w", &json!({})).await;
    for image in ["", "a b", "a\n", &"a".repeat(256)] {
        let submit = json!({"opt": "submit", "image": image, "args": ["true"]});
        let error = peer.refused("job", &submit, "bad_frame").await;
        assert_eq!(error["field"], "image", "{image:?}: {error}");
        let task = json!({"machine_id": "w", "containername": image, "command": "true"});
        let asked = web.post("/api/task/request", &ada, task).await;
        // There, an empty name is none.
        assert_eq!(asked.status == 200, image.is_empty(), "{image:?}: {}", asked.text);
    }
}

#[tokio::test]
async fn a_container_whose_worker_is_away_takes_no_input() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let (id, _) = running(&mut peer, &mut worker, &json!({})).await;
    worker.peer.vanish();
    let input = json!({"opt": "input", "containerId": id, "text": "hello"});
    let error = eventually("the worker to be missed", async || {
        let reply = peer.ask("container", &input).await;
        (reply["type"] == "error").then(|| reply["data"].clone())
    })
    .await;
    assert_eq!(error["message"], "the container's worker is away", "{error}");
}

#[tokio::test]
async fn what_nobody_has_room_for_is_refused_at_once() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let gpus = json!([{"index": 0, "name": "g", "uuid": "u", "memoryBytes": 1}]);
    let mut worker = node(&server, "w", &json!({"gpus": gpus})).await;
    let more = json!({"gpus": 1});
    let (_, assigned) = running(&mut peer, &mut worker, &more).await;
    assert_eq!(assigned.data["gpuIds"], json!([0]));
    for more in [json!({"gpus": 1}), json!({"gpus": 2}), json!({"workerId": "elsewhere"})] {
        peer.refused("container", &create(&more), "unsatisfiable").await;
    }
}

#[tokio::test]
async fn what_is_asked_for_twice_alike_is_asked_for_once() {
    let server = TestServer::start().await;
    let mut peer = server.user("ada").await;
    let mut worker = node(&server, "w", &json!({})).await;
    let both = json!({"workerId": "w", "cpus": 1.5, "memoryBytes": 1024});
    let more = json!({"workerId": "w", "cpus": 1.5, "memoryBytes": 1024, "requires": both});
    let (_, assigned) = running(&mut peer, &mut worker, &more).await;
    assert_eq!(assigned.data["spec"]["requires"], both);
}

#[tokio::test]
async fn containers_that_are_asked_for_together_do_not_count_on_the_same_gpu() {
    let server = TestServer::start().await;
    let (mut ada, mut eve) = (server.user("ada").await, server.user("eve").await);
    let gpus = json!({"gpus": [{"index": 0, "name": "g", "uuid": "u", "memoryBytes": 1}]});
    let mut worker = node(&server, "a", &gpus).await;
    for (ask, number) in [(json!({"gpus": 1}), 1), (json!({"gpuIds": [0]}), 2)] {
        // Before the worker has said a word: it has taken neither of them yet.
        let (mut one, mut other) = (server.user("ada").await, server.user("ada").await);
        let data = create(&ask);
        let (one, other) = tokio::join!(one.ask("container", &data), async {
            let reply = tokio::select! {
                reply = other.ask("container", &data) => Some(reply),
                _ = starts(&mut worker, json!([])) => None,
            };
            match reply {
                Some(reply) => {
                    starts(&mut worker, json!([])).await;
                    reply
                }
                None => other.next().await,
            }
        });
        let mut opts = [&one, &other].map(|reply| reply["data"]["opt"].as_str().or(reply["data"]["code"].as_str()));
        opts.sort_unstable();
        assert_eq!(opts, [Some("created"), Some("unsatisfiable")], "{number}: {one} {other}");
        let created = if one["data"]["opt"] == "created" { one } else { other };
        let id = created["data"]["containerId"].as_str().expect("an id");
        let ends = async {
            let cancel = worker.peer.until("job", "cancel").await;
            let end = json!({"opt": "end", "jobId": cancel["jobId"], "attempt": cancel["attempt"], "n": 1, "reason": "cancelled"});
            worker.say(&end).await;
        };
        tokio::join!(done(&mut ada, about("remove", id)), ends);
    }
    // Where there is another worker, it comes there.
    let mut second = node(&server, "b", &gpus).await;
    let data = create(&json!({"gpus": 1}));
    let (one, other, _, _) = tokio::join!(
        ada.get("container", &data, "created"),
        eve.get("container", &data, "created"),
        starts(&mut worker, json!([])),
        starts(&mut second, json!([])),
    );
    assert_ne!(one["workerId"], other["workerId"]);
}

#[tokio::test]
async fn what_a_worker_of_another_dispatcher_runs_is_counted() {
    let [here, there] = TestServer::pair().await;
    let gpus = json!([{"index": 0, "name": "g", "uuid": "u", "memoryBytes": 1}]);
    let mut worker = node(&here, "w", &json!({"gpus": gpus})).await;
    let mut peer = here.user("ada").await;
    running(&mut peer, &mut worker, &json!({"gpus": 1})).await;
    let mut peer = there.user("ada").await;
    eventually("the worker is known", async || {
        let list = peer.get("worker", &json!({"opt": "list"}), "workers").await;
        (list["workers"][0]["status"] == "idle").then_some(())
    })
    .await;
    peer.refused("container", &create(&json!({"gpus": 1})), "unsatisfiable").await;
}

#[tokio::test]
async fn an_older_task_runs_inside_a_container_by_its_name() {
    let server = TestServer::start().await;
    let (mut peer, mut worker) = (server.user("ada").await, node(&server, "w", &json!({})).await);
    let (id, _) = running(&mut peer, &mut worker, &json!({"name": "lab"})).await;
    let (web, ada) = (server.web(), server.token(Role::User, "ada").await);
    let task = |container: &str| json!({"machine_id": "w", "containername": container, "command": "train"});
    let asked = web.post("/api/task/request", &ada, task("lab")).await;
    let inside = worker.accepted().await;
    assert_eq!(asked.json["jobId"], json!(inside.job));
    assert_eq!((&inside.data["spec"]["container"], &inside.data["spec"].get("image")), (&json!(id), &None));
    let tasks = web.get("/api/task/user/ada", &ada).await;
    assert_eq!(tasks.json[0]["containername"], "lab");
    // Another's container is none.
    let eve = server.user_token("eve").await;
    web.post("/api/task/request", &eve, task("lab")).await;
    assert_eq!(worker.accepted().await.data["spec"]["image"], "lab");
}

#[tokio::test]
async fn any_dispatcher_deals_with_any_container() {
    let [here, there] = TestServer::pair().await;
    let mut worker = node(&here, "w", &json!({})).await;
    let mut peer = there.user("ada").await;
    // The other one hears of the worker when it is told, or looks.
    eventually("an engine is known", async || {
        let list = peer.get("worker", &json!({"opt": "list"}), "workers").await;
        (list["workers"][0]["status"] == "idle").then_some(())
    })
    .await;
    let (id, start) = running(&mut peer, &mut worker, &json!({"name": "web"})).await;
    let mut reader = there.user("ada").await;
    reader.get("container", &about("follow", &id), "following").await;
    worker.say(&start.output(1, "hello\n")).await;
    assert_eq!(reader.until("container", "output").await["text"], "hello\n");
    peer.say("container", &json!({"opt": "input", "containerId": "web", "text": "x"})).await;
    assert_eq!(worker.peer.until("job", "input").await["text"], "x");

    reader.get("container", &about("stats", &id), "ok").await;
    worker.peer.until("container", "measure").await;
    let usage = json!({"opt": "usage", "containerId": id, "usage": {"cpu": 2.0}});
    worker.peer.say("container", &usage).await;
    assert_eq!(reader.until("container", "stats").await["cpu"], 2.0);

    let ends = async |worker: &mut Worker, start: &Assigned, n: u64| {
        worker.peer.until("job", "cancel").await;
        let mut end = start.report("end");
        (end["n"], end["reason"]) = (json!(n), json!("cancelled"));
        worker.say(&end).await;
    };
    tokio::join!(done(&mut peer, about("stop", &id)), ends(&mut worker, &start, 2));
    assert_eq!(reader.until("container", "end").await["status"], "stopped");
    let (_, start) = tokio::join!(done(&mut peer, about("start", &id)), starts(&mut worker, json!([])));
    tokio::join!(done(&mut peer, about("remove", &id)), ends(&mut worker, &start, 1));
    loop {
        let end = reader.until("container", "end").await;
        if end["status"] == "removed" {
            break;
        }
    }
    assert_eq!(worker.peer.until("container", "forget").await["containerId"], json!(id));
}
