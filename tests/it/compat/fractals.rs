//! Family E: sign up, sign in, add tasks, look at them, download what they rendered.

use serde_json::{Value, json};

use crate::support::process::{Process, free_address, token};
use crate::support::{Assigned, Reply, TestServer, Web, Worker, eventually};

/// As small as a PNG can be, and whole.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82";

/// Signs somebody up and in.
async fn user(web: &Web, name: &str) -> String {
    let credentials = json!({"username": name, "password": "correct horse"});
    let reply = web.post("/sign-up", "", credentials.clone()).await;
    assert_eq!((reply.status, &reply.json["username"]), (201, &json!(name)), "{}", reply.text);
    web.post("/sign-in", "", credentials).await.json["jwt"].as_str().expect("a token").to_owned()
}

fn refused(reply: &Reply, status: u16, error: &str) {
    assert_eq!(reply.status, status, "{}", reply.text);
    let said = reply.json["error"].as_str().unwrap_or_else(|| panic!("no error in {:?}", reply.text));
    assert!(said.contains(error), "{said:?} does not say {error:?}");
}

/// Keeps a file of a job that runs.
async fn keep(server: &TestServer, assigned: &Assigned, name: &str, bytes: &'static [u8]) {
    let path = format!("/api/jobs/{}/artifacts/{name}?attempt={}", assigned.job, assigned.attempt);
    let put = server.web().request("PUT", &path).bearer_auth(server.worker_token()).body(bytes);
    assert_eq!(Reply::to(put).await.status, 201);
}

async fn end(worker: &mut Worker, assigned: &Assigned) {
    worker.say(&assigned.end(1, 0)).await;
    worker.stored(assigned, 1).await;
}

#[tokio::test]
async fn a_name_and_a_password_buy_a_token() {
    let server = TestServer::start().await;
    let web = server.web();
    let good = json!({"username": "ada", "password": "correct horse"});
    user(&web, "ada").await;
    refused(&web.post("/sign-up", "", good.clone()).await, 409, "taken");
    for (body, field) in [
        (json!({"password": "correct horse"}), "username"),
        (json!({"username": "bob"}), "password"),
        (json!({"username": ["bob"], "password": "correct horse"}), "username"),
        (json!({"username": "a b", "password": "correct horse"}), "account"),
    ] {
        let reply = web.post("/sign-up", "", body).await;
        assert_eq!((reply.status, &reply.json["field"]), (400, &json!(field)), "{}", reply.text);
    }

    // The old system took any password.
    assert_eq!(web.post("/sign-up", "", json!({"username": "short", "password": "x"})).await.status, 201);

    let by_body = web.send("GET", "/sign-in", "", good.clone()).await;
    let by_basic = Reply::to(web.request("GET", "/sign-in").basic_auth("ada", Some("correct horse"))).await;
    let by_post = web.post("/sign-in", "", good).await;
    for reply in [by_body, by_basic, by_post] {
        assert_eq!((reply.status, &reply.json["username"]), (200, &json!("ada")), "{}", reply.text);
        assert_eq!(reply.json["jwt"], reply.json["token"]);
        assert_eq!(web.get("/tasks", reply.json["jwt"].as_str().unwrap()).await.json, json!([]));
    }
    refused(&web.post("/sign-in", "", json!({"username": "ada", "password": "wrong horse"})).await, 401, "wrong");
    refused(&web.post("/sign-in", "", json!({"username": "nobody", "password": "wrong horse"})).await, 401, "wrong");
    refused(&Reply::to(web.request("GET", "/sign-in").basic_auth("ada", Some("no"))).await, 401, "wrong");
    refused(&Reply::to(web.request("GET", "/sign-in")).await, 400, "username");
    let reply = web.send("PUT", "/sign-in", "", json!({})).await;
    assert_eq!((reply.status, reply.headers["allow"].to_str().unwrap()), (405, "GET,HEAD,POST"));
}

#[tokio::test]
async fn the_token_comes_in_the_header_or_in_the_body() {
    let server = TestServer::start().await;
    let web = server.web();
    let ada = user(&web, "ada").await;
    let eve = user(&web, "eve").await;
    let task = |jwt: &Value| json!({"task": "true", "jwt": jwt});
    assert_eq!(web.post("/add", "", task(&json!(ada))).await.status, 200);
    assert_eq!(web.send("GET", "/tasks", "", json!({"jwt": ada})).await.json.as_array().unwrap().len(), 1);
    // The header counts where both are there.
    assert_eq!(web.post("/add", &eve, task(&json!(ada))).await.status, 200);
    assert_eq!(web.get("/tasks", &eve).await.json.as_array().unwrap().len(), 1);
    refused(&web.post("/add", "wrong", task(&json!(ada))).await, 401, "wrong token");
    refused(&web.post("/add", "", task(&Value::Null)).await, 401, "token");
    refused(&web.post("/add", "", task(&json!("eyJhbGciOiJub25lIn0.e30."))).await, 401, "wrong token");
    refused(&web.post("/add", "", task(&json!({"$ne": 1}))).await, 400, "jwt");
    // In the address it is nothing: addresses are logged.
    refused(&web.get(&format!("/tasks?jwt={ada}"), "").await, 401, "token");
    refused(&web.post("/add", server.worker_token(), task(&Value::Null)).await, 403, "role");
}

#[tokio::test]
async fn a_task_is_a_command_a_spec_or_a_template() {
    let server = TestServer::start().await;
    let web = server.web();
    let ada = user(&web, "ada").await;
    let mut worker = server.worker_with_slots("w", 8).await;
    for (body, expected) in [
        (json!({"task": "echo hi"}), json!({"command": "echo hi"})),
        (
            json!({"task": {"args": ["make", "-j4"], "name": "build"}}),
            json!({"args": ["make", "-j4"], "name": "build"}),
        ),
        (json!({"task": {"template": "fractal", "params": {"width": 64}}}), json!({"name": "fractal"})),
        (json!({"task": "fractal"}), json!({"name": "fractal"})),
        (json!({"task": "fractal", "params": {"height": "64"}}), json!({"artifacts": ["fractal.png"]})),
    ] {
        let reply = web.post("/add", &ada, body.clone()).await;
        assert_eq!(reply.status, 200, "{body}: {}", reply.text);
        let assigned = worker.accepted().await;
        assert_eq!(reply.json["jobId"], json!(assigned.job));
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(assigned.data["spec"][field], *value, "{body}");
        }
        assert_eq!(assigned.data["spec"].get("template"), None, "a worker is told what to run");
    }
    for (body, status, field) in [
        (json!({}), 400, "task"),
        (json!({"task": 5}), 400, "task"),
        (json!({"task": null}), 400, "task"),
        (json!({"task": ["a"]}), 400, "task"),
        (json!({"task": ""}), 400, "command"),
        (json!({"task": {"command": 5}}), 400, "task.command"),
        (json!({"task": {"args": ["a"], "requires": {"gpus": -1}}}), 400, "task.requires.gpus"),
        (json!({"task": {"template": "nope"}}), 404, "template"),
        (json!({"task": "nope", "params": {}}), 404, "template"),
        (json!({"task": "fractal", "params": []}), 400, "params"),
        (json!({"task": {"template": "fractal", "params": {"width": 0}}}), 400, "params.width"),
        (json!({"task": {"template": "fractal", "params": {"width": "wide"}}}), 400, "params.width"),
        (json!({"task": {"template": "fractal", "params": {"shell": "rm"}}}), 400, "params.shell"),
        (json!({"task": {"template": "fractal", "command": "rm"}}), 400, "command"),
    ] {
        let reply = web.post("/add", &ada, body.clone()).await;
        refused(&reply, status, "");
        assert_eq!(reply.json["field"], field, "{body}: {}", reply.text);
    }
    assert_eq!(web.get("/tasks", &ada).await.json.as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn an_image_is_there_once_its_task_is_finished() {
    let server = TestServer::start().await;
    let web = server.web();
    let (ada, eve) = (user(&web, "ada").await, user(&web, "eve").await);
    let mut worker = server.worker("w", &json!({})).await;
    let number = web.post("/add", &ada, json!({"task": "fractal"})).await.json["task_id"].clone();
    let path = format!("/download?task_id={number}");
    refused(&web.get(&path, &ada).await, 409, "not finished");
    let assigned = worker.accepted().await;
    keep(&server, &assigned, "a.log", b"drawing").await;
    keep(&server, &assigned, "fractal.png", PNG).await;
    refused(&web.get(&path, &ada).await, 409, "not finished");
    end(&mut worker, &assigned).await;

    let whole = web.request("GET", &path).bearer_auth(&ada).send().await.unwrap();
    assert_eq!((whole.status().as_u16(), &whole.headers()["content-type"]), (200, &"image/png".parse().unwrap()));
    let etag = whole.headers()["etag"].clone();
    assert_eq!(whole.bytes().await.unwrap(), PNG);
    let same = web.request("GET", &path).bearer_auth(&ada).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(same.status().as_u16(), 304);
    let part = web.request("GET", &path).bearer_auth(&ada).header("range", "bytes=1-3").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.text().await.unwrap().as_str()), (206, "PNG"));
    let beyond = web.request("GET", &path).bearer_auth(&ada).header("range", "bytes=9999-").send().await.unwrap();
    assert_eq!(beyond.status().as_u16(), 416);
    let by_id = web.get(&format!("/download?task_id={}", assigned.job), &ada).await;
    assert_eq!(by_id.status, 200);

    refused(&web.get(&path, "").await, 401, "token");
    refused(&web.get(&path, &eve).await, 404, "no such");
    for other in ["999999", "-1", "1e9", "..%2f..%2fetc", "1%20OR%201=1", "*"] {
        refused(&web.get(&format!("/download?task_id={other}"), &ada).await, 404, "no such");
    }
    refused(&web.get("/download", &ada).await, 400, "task_id");
}

#[tokio::test]
async fn a_task_without_an_image_has_none_to_wait_for() {
    let server = TestServer::start().await;
    let web = server.web();
    let ada = user(&web, "ada").await;
    let mut worker = server.worker("w", &json!({})).await;
    let number = web.post("/add", &ada, json!({"task": "true"})).await.json["task_id"].clone();
    let assigned = worker.accepted().await;
    end(&mut worker, &assigned).await;
    refused(&web.get(&format!("/download?task_id={number}"), &ada).await, 410, "no image");
}

#[tokio::test]
async fn a_deleted_task_is_cancelled_and_off_the_list() {
    let server = TestServer::start().await;
    let web = server.web();
    let (ada, eve) = (user(&web, "ada").await, user(&web, "eve").await);
    let mut worker = server.worker("w", &json!({})).await;
    let add = async |task: &str| web.post("/add", &ada, json!({ "task": task })).await.json["task_id"].clone();
    let (first, second, third) = (add("sleep 1").await, add("sleep 2").await, add("sleep 3").await);
    let running = worker.accepted().await;
    let listed = async || {
        let tasks = web.get("/tasks", &ada).await.json;
        let tasks = tasks.as_array().unwrap().iter().map(|task| (task["task_id"].clone(), task["status"].clone()));
        tasks.collect::<Vec<_>>()
    };
    let (pending, runs) = (json!("pending"), json!("running"));
    let all = [(third.clone(), pending.clone()), (second.clone(), pending.clone()), (first.clone(), runs)];
    assert_eq!(listed().await, all);

    refused(&web.post("/delete", &eve, json!({"task_id": first})).await, 404, "no such");
    refused(&web.post("/delete", &ada, json!({"task_id": 999_999})).await, 404, "no such");
    refused(&web.post("/delete", &ada, json!({"task_id": "x'; --"})).await, 400, "task_id");
    refused(&web.post("/delete", &ada, json!({})).await, 400, "task_id");
    let waiting = web.post("/delete", &ada, json!({"task_id": second})).await;
    assert_eq!((waiting.status, &waiting.json["status"]), (200, &json!("cancelled")));
    assert_eq!(web.post("/delete", "", json!({"task_id": first, "jwt": ada})).await.status, 200);
    assert_eq!(worker.peer.until("job", "cancel").await["jobId"], json!(running.job));
    assert_eq!(listed().await, [(third, pending)]);
    refused(&web.post("/delete", &ada, json!({"task_id": second})).await, 404, "no such");
    refused(&web.get(&format!("/download?task_id={second}"), &ada).await, 410, "deleted");
    // It is still a job like any other.
    assert_eq!(server.user("ada").await.job(&running.job).await["taskId"], first);
}

#[tokio::test]
async fn many_deletions_at_once_all_count() {
    let server = TestServer::start().await;
    let web = server.web();
    let ada = user(&web, "ada").await;
    let adds = (0..20).map(|_| web.post("/add", &ada, json!({"task": "true"})));
    let numbers: Vec<Value> =
        futures_util::future::join_all(adds).await.iter().map(|reply| reply.json["task_id"].clone()).collect();
    let deletes = numbers.iter().map(|number| web.post("/delete", &ada, json!({"task_id": number})));
    for reply in futures_util::future::join_all(deletes).await {
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    assert_eq!(web.get("/tasks", &ada).await.json, json!([]));
}

#[tokio::test]
async fn a_list_goes_on_where_the_page_before_ended() {
    let server = TestServer::start().await;
    let web = server.web();
    let ada = user(&web, "ada").await;
    let mut numbers = Vec::new();
    for _ in 0..3 {
        numbers.push(web.post("/add", &ada, json!({"task": "true"})).await.json["task_id"].clone());
    }
    let older = web.get(&format!("/tasks?before={}", numbers[1]), &ada).await.json;
    assert_eq!((&older[0]["task_id"], older.as_array().unwrap().len()), (&numbers[0], 1));
    refused(&web.get("/tasks?before=x", &ada).await, 400, "before");
    // An administrator's own list is no list of everybody's.
    assert_eq!(web.get("/tasks", server.admin_token()).await.json, json!([]));
}

#[tokio::test]
async fn what_is_begun_on_one_dispatcher_goes_on_on_the_other() {
    let [a, b] = TestServer::pair().await;
    let ada = user(&a.web(), "ada").await;
    let mut worker = b.worker("w", &json!({})).await;
    let number = a.web().post("/add", &ada, json!({"task": "fractal"})).await.json["task_id"].clone();
    let assigned = worker.accepted().await;
    keep(&b, &assigned, "fractal.png", PNG).await;
    end(&mut worker, &assigned).await;
    for server in [&a, &b] {
        assert_eq!(server.web().get("/tasks", &ada).await.json[0]["status"], "completed");
    }
    assert_eq!(b.web().get(&format!("/download?task_id={number}"), &ada).await.status, 200);
    assert_eq!(b.web().post("/delete", &ada, json!({"task_id": number})).await.status, 200);
    assert_eq!(a.web().get("/tasks", &ada).await.json, json!([]));
    refused(&a.web().get(&format!("/download?task_id={number}"), &ada).await, 410, "deleted");
}

#[tokio::test]
async fn templates_come_from_a_directory_and_change_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(dir.path().join("greet.toml"), text).unwrap();
    write("args = ['echo', 'hello {who}']\n[params.who]\ntype = 'string'");
    let server = TestServer::with(|settings| settings.templates = Some(dir.path().to_owned())).await;
    let mut ada = server.user("ada").await;
    let mut worker = server.worker_with_slots("w", 9).await;
    let greet = json!({"opt": "submit", "template": "greet", "params": {"who": "$(id)"}, "follow": false});

    let submitted = ada.get("job", &greet, "submitted").await;
    let assigned = worker.accepted().await;
    assert_eq!(assigned.data["spec"]["args"], json!(["echo", "hello $(id)"]));
    assert_eq!(assigned.data["spec"]["env"], json!({"GANGLINE_PARAM_WHO": "$(id)"}));
    let job = ada.job(&assigned.job).await;
    assert_eq!((&job["jobId"], &job["args"]), (&submitted["jobId"], &json!(["echo", "hello $(id)"])));
    assert_eq!((&job["spec"]["template"], &job["spec"]["params"]), (&json!("greet"), &json!({"who": "$(id)"})));

    let no_template = ada.refused("job", &json!({"opt": "submit", "template": "nope"}), "not_found").await;
    assert_eq!(no_template["field"], "template");
    let wrong = ada.refused("job", &json!({"opt": "submit", "template": "greet"}), "bad_frame").await;
    assert_eq!(
        (&wrong["field"], wrong["message"].as_str()),
        (&json!("params.who"), Some("params.who is required: a string of at most 4096 bytes"))
    );

    // What is wrong is not taken over, and what is right is.
    write("args = ['echo', '{whom}']");
    write("args = ['echo', 'goodbye {who}']\n[params.who]\ntype = 'string'");
    eventually("the new template", async || {
        ada.get("job", &greet, "submitted").await;
        let assigned = worker.accepted().await;
        let args = assigned.data["spec"]["args"].clone();
        end(&mut worker, &assigned).await;
        (args == json!(["echo", "goodbye $(id)"])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_fractal_template_renders_a_picture_out_of_the_box() {
    let home = tempfile::tempdir().unwrap();
    let address = free_address();
    let _server = Process::serve(home.path(), address, &[]).await;
    let _worker = Process::worker(home.path(), address, "painter", 1);
    let web = Web::at(address);
    let admin = token(home.path(), "admin.token");
    let params = json!({"width": 40, "height": 30, "x": -0.7, "scale": 2.5, "iterations": 50});
    let number = web.post("/add", &admin, json!({"task": {"template": "fractal", "params": params}})).await;
    let number = number.json["task_id"].clone();
    eventually("the picture to be drawn", async || {
        let task = web.get("/tasks", &admin).await.json[0].clone();
        assert_ne!(task["status"], "failed", "{task}");
        (task["status"] == "completed").then_some(())
    })
    .await;
    let reply = web.request("GET", &format!("/download?task_id={number}")).bearer_auth(&admin).send().await.unwrap();
    assert_eq!(reply.headers()["content-type"], "image/png");
    let bytes = reply.bytes().await.unwrap();
    let mut picture = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; picture.output_buffer_size().unwrap()];
    let info = picture.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (40, 30));
    assert!(pixels.chunks(3).any(|pixel| pixel == [0, 0, 0]), "something belongs to the set");
    assert!(pixels.chunks(3).any(|pixel| pixel != [0, 0, 0]), "and something does not");
}

#[tokio::test]
async fn an_open_server_lets_anyone_draw() {
    let server = TestServer::with(|settings| settings.open = true).await;
    let web = server.web();
    assert_eq!(web.post("/add", "", json!({"task": "true"})).await.status, 200);
    assert_eq!(web.get("/tasks", "").await.json.as_array().unwrap().len(), 1);
    let page = web.request("POST", "/add").header("origin", "http://evil.example").json(&json!({"task": "true"}));
    refused(&Reply::to(page).await, 403, "origin");
}
