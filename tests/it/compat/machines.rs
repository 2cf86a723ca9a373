//! Family B, from "a machine is a worker" on: the inventory, tasks with GPUs, and lists of them.

use std::collections::BTreeSet;

use gangline::protocol::auth::{Role, UserAdd};
use serde_json::{Value, json};

use crate::support::{Assigned, Reply, TestServer, Web, Worker, eventually};

const REQUEST: &str = "/api/task/request";

fn gpus(count: u64) -> Value {
    (0..count)
        .map(|index| json!({"index": index, "name": "H200", "uuid": format!("u{index}"), "memoryBytes": 7}))
        .collect()
}

/// A machine with so many GPUs and slots.
async fn machine(server: &TestServer, id: &str, gpu_count: u64, slots: u32) -> Worker {
    server.worker(id, &json!({"gpus": gpus(gpu_count), "slots": slots, "diskBytes": 9})).await
}

/// A task on machine `m`, with more or other fields.
fn task(more: &Value) -> Value {
    let mut body = json!({"machine_id": "m", "containername": "", "command": "train", "duration": 60, "gpu_count": 1});
    for (field, value) in more.as_object().expect("fields") {
        if value.is_null() {
            body.as_object_mut().expect("fields").remove(field);
        } else {
            body[field] = value.clone();
        }
    }
    body
}

fn refused(reply: &Reply, status: u16, message: &str) {
    assert_eq!(reply.status, status, "{}", reply.text);
    let said = reply.json["message"].as_str().unwrap_or_else(|| panic!("no message in {:?}", reply.text));
    assert!(said.contains(message), "{said:?} does not say {message:?}");
}

fn ids(assigned: &Assigned) -> Vec<u64> {
    assigned.data["gpuIds"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

#[tokio::test]
async fn machines_are_listed_with_what_they_have() {
    let server = TestServer::start().await;
    let (web, ada) = (server.web(), server.user_token("ada").await);
    assert_eq!(web.get("/api/machines/info", &ada).await.json, json!([]));
    let mut worker = machine(&server, "m", 2, 4).await;
    let gone = server.worker("a", &json!({})).await;
    web.post(REQUEST, &ada, task(&json!({"gpus": [1], "gpu_count": null}))).await;
    worker.accepted().await;

    let reply = web.get("/api/machines/info", &ada).await;
    let [away, machine] = reply.json.as_array().unwrap().as_slice() else { panic!("{}", reply.text) };
    assert_eq!(
        *machine,
        json!({
            "id": "m", "ip": "127.0.0.1", "hostname": "h", "cpu": 4, "memory": 1 << 30, "disk": 9, "online": true,
            "gpu": [{"index": 0, "name": "H200", "memory": 7, "status": "free"},
                    {"index": 1, "name": "H200", "memory": 7, "status": "busy"}],
        })
    );
    assert_eq!((&away["id"], &away["gpu"], &away["online"]), (&json!("a"), &json!([]), &json!(true)));
    drop(gone);
}

#[tokio::test]
async fn a_machine_that_was_not_heard_of_is_not_online() {
    let server = TestServer::with_manual_clock().await;
    machine(&server, "m", 1, 1).await.peer.vanish();
    let web = server.web();
    server.pass_time(40).await;
    eventually("the machine to be offline", async || {
        (web.get("/api/machines/info", server.admin_token()).await.json[0]["online"] == false).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_task_is_a_job_on_its_machine() {
    let server = TestServer::start().await;
    let (web, ada) = (server.web(), server.user_token("ada").await);
    let mut other = machine(&server, "other", 4, 4).await;
    let mut worker = machine(&server, "m", 4, 4).await;
    let mut watcher = server.user("ada").await;

    for method in ["POST", "PUT"] {
        let reply = web.send(method, REQUEST, &ada, task(&json!({"duration": "30m", "gpu_count": 2}))).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let number = reply.json["task_id"].as_u64().unwrap();
        assert_eq!((&reply.json["taskId"], &reply.json["status"]), (&json!(number), &json!("pending")));
        let assigned = worker.accepted().await;
        assert_eq!(reply.json["jobId"], json!(assigned.job));
        assert_eq!(ids(&assigned).len(), 2);
        assert_eq!(assigned.data["spec"]["command"], "train");
        assert_eq!(assigned.data["spec"]["timeoutSecs"], 1800.0);
        assert_eq!(assigned.data["spec"].get("image"), None, "an empty name means a plain process");
        // It is a job like any other.
        let job = watcher.job(&assigned.job).await;
        assert_eq!((&job["taskId"], &job["workerId"]), (&json!(number), &json!("m")));
    }
    other.peer.is_quiet().await;
    let image = web.post(REQUEST, &ada, task(&json!({"containername": "pytorch", "gpu_count": null}))).await;
    let job = watcher.job(image.json["jobId"].as_str().unwrap()).await;
    assert_eq!((&job["image"], &job["status"]), (&json!("pytorch"), &json!("pending")));
}

#[tokio::test]
async fn a_busy_gpu_makes_a_task_wait() {
    let server = TestServer::start().await;
    let (web, ada) = (server.web(), server.user_token("ada").await);
    let mut worker = machine(&server, "m", 2, 8).await;
    web.post(REQUEST, &ada, task(&json!({"gpus": [1], "gpu_count": null}))).await;
    let first = worker.accepted().await;
    assert_eq!(ids(&first), [1]);
    let second = web.post(REQUEST, &ada, task(&json!({"gpus": [1], "gpu_count": null}))).await;
    web.post(REQUEST, &ada, task(&json!({"gpu_count": 1}))).await;
    let third = worker.accepted().await;
    assert_eq!(ids(&third), [0], "the free one");
    let waiting = web.get("/api/task/machine/m", &ada).await;
    assert_eq!((&waiting.json[1]["status"], &waiting.json[1]["start_time"]), (&json!("pending"), &Value::Null));

    worker.say(&first.end(1, 0)).await;
    let next = worker.accepted().await;
    assert_eq!((json!(next.job), ids(&next)), (second.json["jobId"].clone(), vec![1]));
}

#[tokio::test]
async fn the_duration_limits_the_run() {
    let server = TestServer::with_manual_clock().await;
    let (web, ada) = (server.web(), server.user_token("ada").await);
    let mut worker = machine(&server, "m", 1, 2).await;
    web.post(REQUEST, &ada, task(&json!({"duration": 5}))).await;
    web.post(REQUEST, &ada, task(&json!({"duration": "1h"}))).await;
    let first = worker.accepted().await;
    assert_eq!(first.data["spec"]["timeoutSecs"], 5.0);
    // This worker forgets the limit; the dispatcher does not, and the GPU is free again.
    server.pass_time(9).await;
    worker.beat(&[&first]).await;
    server.pass_time(9).await;
    let second = worker.accepted().await;
    assert_eq!(ids(&second), [0]);
    let job = server.user("ada").await.job(&first.job).await;
    assert_eq!((&job["status"], &job["reason"]), (&json!("failed"), &json!("timeout")));
}

#[tokio::test]
async fn what_a_machine_does_not_have_is_refused() {
    let server = TestServer::start().await;
    let (web, ada) = (server.web(), server.user_token("ada").await);
    let _worker = machine(&server, "m", 2, 1).await;
    let ask = async |more: Value| web.post(REQUEST, &ada, task(&more)).await;
    refused(&ask(json!({"machine_id": "nobody"})).await, 404, "no such machine");
    refused(&ask(json!({"machine_id": "../m"})).await, 404, "no such machine");
    for (more, field) in [
        (json!({"gpus": [0, 2], "gpu_count": null}), "gpus"),
        (json!({"gpus": [4_000_000_000u32], "gpu_count": null}), "gpus"),
        (json!({"gpus": [-1], "gpu_count": null}), "gpus[0]"),
        (json!({"gpus": "0", "gpu_count": null}), "gpus"),
        (json!({"gpu_count": 3}), "gpu_count"),
        (json!({"gpu_count": -1}), "gpu_count"),
        (json!({"gpu_count": 1.5}), "gpu_count"),
        (json!({"gpu_count": 1e300}), "gpu_count"),
        (json!({"gpu_count": 2, "gpus": [0]}), "gpu_count"),
        (json!({"machine_id": null}), "machine_id"),
        (json!({"machine_id": 7}), "machine_id"),
        (json!({"command": null}), "command"),
        (json!({"command": "  "}), "command"),
        (json!({"command": ["a"]}), "command"),
        (json!({"duration": -1}), "duration"),
        (json!({"duration": 0}), "duration"),
        (json!({"duration": "soon"}), "duration"),
        (json!({"duration": 1e300}), "duration"),
        (json!({"containername": {"a": 1}}), "containername"),
    ] {
        let reply = ask(more.clone()).await;
        refused(&reply, 400, "");
        assert_eq!(reply.json["field"], field, "{more}: {}", reply.text);
    }
    for (status, request) in [
        (400, web.request("POST", REQUEST).bearer_auth(&ada).header("content-type", "application/json").body("{")),
        (415, web.request("POST", REQUEST).bearer_auth(&ada).header("content-type", "text/plain").body("{}")),
        (413, web.request("POST", REQUEST).bearer_auth(&ada).body(" ".repeat(2 << 20))),
        (403, web.request("POST", REQUEST).bearer_auth(server.worker_token()).json(&task(&json!({})))),
    ] {
        refused(&Reply::to(request).await, status, "");
    }
    let reply = web.send("DELETE", REQUEST, &ada, json!({})).await;
    assert_eq!((reply.status, reply.headers["allow"].to_str().unwrap()), (405, "POST,PUT"));
    // Nothing of all this was submitted.
    assert_eq!(web.get("/api/task/user/ada", &ada).await.json, json!([]));
}

#[tokio::test]
async fn every_way_to_have_no_token_has_its_own_words() {
    let server = TestServer::start().await;
    let web = server.web();
    let path = "/api/machines/info";
    let with = async |value: &str| Reply::to(web.request("GET", path).header("authorization", value)).await;
    let words = |reply: &Reply| (reply.status, reply.json["message"].as_str().unwrap_or_default().to_owned());
    let expected = |text: &str| (401, text.to_owned());
    assert_eq!(words(&web.get(path, "").await), expected("Token Not Found"));
    for none in ["", "Bearer", "Bearer ", "Basic YTpi"] {
        assert_eq!(words(&with(none).await), expected("Token Not Found"), "{none:?}");
    }
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiIsImV4cCI6OTk5OTk5OTk5OTl9.";
    for wrong in ["x", "gl_1_2", "a.b.c", unsigned, "' OR 1=1 --", "*", "{\"$gt\":\"\"}", "größe"] {
        let reply = with(&format!("Bearer {wrong}")).await;
        let message = words(&reply);
        assert!(message == expected("Invalid token") || message == expected("Token Not Found"), "{wrong}: {message:?}");
    }
    let good = server.admin_token();
    for value in [good.to_owned(), format!("bearer {good}"), format!("BEARER {good}")] {
        assert_eq!(with(&value).await.status, 200);
    }
}

#[tokio::test]
async fn a_login_that_ended_is_told_how() {
    let server = TestServer::with_manual_clock().await;
    let web = server.web();
    let auth = server.dispatcher.auth();
    for name in ["ada", "bob"] {
        let (account, password) = (name.to_owned(), Some("correct horse".to_owned()));
        auth.add_user(UserAdd { account, role: Some(Role::User), email: None, password }).await.unwrap();
    }
    let (_, ada) = auth.login("ada", "correct horse", &server.address.ip().into()).await.unwrap();
    let (_, bob) = auth.login("bob", "correct horse", &server.address.ip().into()).await.unwrap();
    let path = "/api/machines/info";
    assert_eq!(web.get(path, &ada).await.status, 200);
    let _ = auth.remove_user("bob").await.unwrap();
    assert_eq!(web.get(path, &bob).await.json["message"], "User not include");
    server.advance(2 * 3600);
    let late = web.get(path, &ada).await;
    assert_eq!((late.status, &late.json["message"]), (401, &json!("Token expired")));
    // A server whose clock is far behind the one that issued it.
    let behind = TestServer::start().await;
    assert_eq!(behind.web().get(path, &ada).await.json["message"], "Invalid token");
}

#[tokio::test]
async fn a_task_is_cancelled_on_its_own_machine_only() {
    let server = TestServer::start().await;
    let (web, ada, eve) = (server.web(), server.user_token("ada").await, server.user_token("eve").await);
    let mut worker = machine(&server, "m", 1, 1).await;
    let _other = machine(&server, "other", 1, 1).await;
    let number = web.post(REQUEST, &ada, task(&json!({}))).await.json["task_id"].clone();
    let running = worker.accepted().await;
    let cancel = async |token: &str, body: Value| web.post("/api/task/cancel", token, body).await;

    refused(&cancel(&ada, json!({"task_id": number, "machine_id": "other"})).await, 404, "");
    refused(&cancel(&ada, json!({"task_id": number, "machine_id": "nobody"})).await, 404, "");
    refused(&cancel(&eve, json!({"task_id": number, "machine_id": "m"})).await, 404, "");
    refused(&cancel(&ada, json!({"task_id": 999_999, "machine_id": "m"})).await, 404, "");
    for (body, field) in [
        (json!({"machine_id": "m"}), "task_id"),
        (json!({"task_id": "1; DROP TABLE jobs", "machine_id": "m"}), "task_id"),
        (json!({"task_id": -1, "machine_id": "m"}), "task_id"),
        (json!({"task_id": number}), "machine_id"),
    ] {
        let reply = cancel(&ada, body).await;
        assert_eq!((reply.status, &reply.json["field"]), (400, &json!(field)));
    }

    let reply = cancel(&ada, json!({"task_id": number, "machine_id": "m"})).await;
    assert_eq!((reply.status, &reply.json["task_id"], &reply.json["status"]), (200, &number, &json!("running")));
    let order = worker.peer.until("job", "cancel").await;
    assert_eq!(order["jobId"], json!(running.job));
    let mut end = running.end(1, 0);
    end["exitCode"] = Value::Null;
    end["reason"] = json!("cancelled");
    worker.say(&end).await;
    worker.stored(&running, 1).await;
    refused(&cancel(&ada, json!({"task_id": number, "machine_id": "m"})).await, 409, "over");
}

#[tokio::test]
async fn lists_show_tasks_and_hide_the_commands_of_others() {
    let server = TestServer::start().await;
    let (web, ada, eve) = (server.web(), server.user_token("ada").await, server.user_token("eve").await);
    let mut worker = machine(&server, "m", 4, 1).await;
    let first = web.post(REQUEST, &ada, task(&json!({"gpu_count": 2, "duration": "2h"}))).await.json["task_id"].clone();
    let running = worker.accepted().await;
    let second = web.post(REQUEST, &eve, task(&json!({"gpus": [3], "gpu_count": null, "duration": null}))).await;
    let second = second.json["task_id"].clone();

    let of_ada = web.get("/api/task/user/ada", &ada).await.json;
    let start_time = of_ada[0]["start_time"].as_u64().expect("it was started");
    let mut shown = json!([{
        "taskId": first, "jobId": running.job, "user_id": "ada", "machine_id": "m", "containername": "", "command": "train",
        "duration": 7200, "gpu_count": 2, "gpu_ids": running.data["gpuIds"], "start_time": start_time, "status": "running",
    }]);
    assert_eq!(of_ada, shown);
    refused(&web.get("/api/task/user/eve", &ada).await, 403, "");
    refused(&web.get("/api/task/user/nobody", &ada).await, 403, "");
    refused(&web.get("/api/task/user/nobody", server.admin_token()).await, 404, "");
    assert_eq!(web.get("/api/task/user/ada", server.admin_token()).await.json, shown);
    assert_eq!(web.get("/api/task/user/%2e%2e%2fada%20*", server.admin_token()).await.status, 404);

    let mut theirs = json!({
        "taskId": second, "jobId": null, "user_id": "eve", "machine_id": "m", "containername": "", "command": "train",
        "duration": null, "gpu_count": 1, "gpu_ids": [3], "start_time": null, "status": "pending",
    });
    let on_machine = async |token: &str| {
        let mut list = web.get("/api/task/machine/m", token).await.json;
        list[0]["jobId"] = Value::Null;
        list
    };
    assert_eq!(on_machine(server.admin_token()).await, json!([theirs, shown[0]]));
    shown[0]["command"] = json!("");
    assert_eq!(on_machine(&eve).await, json!([theirs, shown[0]]));
    (shown[0]["command"], theirs["command"]) = (json!("train"), json!(""));
    assert_eq!(on_machine(&ada).await, json!([theirs, shown[0]]));
    refused(&web.get("/api/task/machine/nobody", &ada).await, 404, "no such machine");
    refused(&web.get("/api/task/machine/a%20b", &ada).await, 404, "no such machine");
}

#[tokio::test]
async fn an_open_server_needs_no_token() {
    let server = TestServer::with(|settings| settings.open = true).await;
    let web = server.web();
    let mut worker = machine(&server, "m", 1, 1).await;
    assert_eq!(web.post(REQUEST, "", task(&json!({}))).await.status, 200);
    worker.accepted().await;
    assert_eq!(web.get("/api/task/user/anonymous", "").await.json[0]["user_id"], "anonymous");
    let page = web.request("GET", "/api/machines/info").header("origin", "http://evil.example");
    refused(&Reply::to(page).await, 403, "origin");
}

/// Runs `total` waiting tasks to their ends, and sees to it that no two have the same GPU at once.
async fn run_all(worker: &mut Worker, total: usize) {
    let mut running: Vec<Assigned> = Vec::new();
    // No GPU stays free while tasks wait that take any.
    while in_use(&running) < 4 {
        running.push(worker.accepted().await);
    }
    for _ in 0..total {
        if running.is_empty() {
            running.push(worker.accepted().await);
        }
        let ended = running.remove(0);
        worker.say(&ended.end(1, 0)).await;
        for frame in worker.peer.on_its_way().await.iter().filter(|frame| frame["data"]["opt"] == "assign") {
            running.push(Assigned::of(&frame["data"]));
            in_use(&running);
        }
    }
    assert!(running.is_empty());
}

/// How many GPUs these have, each its own.
fn in_use(running: &[Assigned]) -> usize {
    let given: Vec<u64> = running.iter().flat_map(ids).collect();
    let distinct: BTreeSet<u64> = given.iter().copied().collect();
    assert_eq!(given.len(), distinct.len(), "a GPU is given twice: {given:?}");
    given.len()
}

async fn ask_for_fifty(webs: &[Web], token: &str) {
    let asks = (0..50u64).map(|n| {
        let more = match n % 3 {
            0 => json!({"gpu_count": 1 + n % 2}),
            1 => json!({"gpus": [n % 4], "gpu_count": null}),
            _ => json!({"gpus": [0, 3], "gpu_count": null}),
        };
        let web = &webs[n as usize % webs.len()];
        async move { web.post(REQUEST, token, task(&more)).await }
    });
    for reply in futures_util::future::join_all(asks).await {
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
}

#[tokio::test]
async fn fifty_tasks_at_once_never_share_a_gpu() {
    let server = TestServer::start().await;
    let ada = server.user_token("ada").await;
    let mut worker = machine(&server, "m", 4, 50).await;
    ask_for_fifty(&[server.web()], &ada).await;
    run_all(&mut worker, 50).await;
}

#[tokio::test]
async fn fifty_tasks_of_two_dispatchers_never_share_a_gpu() {
    let [a, b] = TestServer::pair().await;
    let ada = a.user_token("ada").await;
    let mut worker = machine(&a, "m", 4, 50).await;
    ask_for_fifty(&[a.web(), b.web()], &ada).await;
    run_all(&mut worker, 50).await;
}

#[tokio::test]
async fn a_machine_of_one_dispatcher_is_a_machine_of_the_other() {
    let [a, b] = TestServer::pair().await;
    let ada = a.user_token("ada").await;
    let mut worker = machine(&a, "m", 1, 1).await;
    let web = b.web();
    eventually("the machine to be known", async || {
        let machines = web.get("/api/machines/info", &ada).await.json;
        (machines[0]["id"] == "m" && machines[0]["online"] == true).then_some(())
    })
    .await;
    let number = web.post(REQUEST, &ada, task(&json!({}))).await.json["task_id"].clone();
    let running = worker.accepted().await;
    assert_eq!(web.get("/api/machines/info", &ada).await.json[0]["gpu"][0]["status"], "busy");
    assert_eq!(web.get("/api/task/machine/m", &ada).await.json[0]["status"], "running");
    let cancelled = web.post("/api/task/cancel", &ada, json!({"task_id": number, "machine_id": "m"})).await;
    assert_eq!(cancelled.status, 200);
    assert_eq!(worker.peer.until("job", "cancel").await["jobId"], json!(running.job));
}
