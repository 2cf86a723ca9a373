//! The distributed executor (family C), route by route as its document has it.

use std::time::Duration;

use gangline::model::Requires;
use gangline::protocol::WorkerId;
use gangline::store::jobs::Claim;
use serde_json::{Value, json};

use crate::support::{Reply, TestServer, Web, soon};

/// A job that polling workers can run.
fn create() -> Value {
    json!({"command": "npm install\nnpm test", "fileUrl": "/uploads/project-123456.zip", "filename": "project.zip"})
}

async fn open() -> TestServer {
    TestServer::with(|settings| settings.open = true).await
}

/// A family's refusal: its shape, its status twice, and words.
#[track_caller]
fn refused(reply: &Reply, status: u16, words: &str) {
    assert_eq!(reply.status, status, "{}", reply.text);
    let mut keys: Vec<&String> = reply.json.as_object().expect("an object").keys().collect();
    keys.sort();
    assert_eq!(keys, ["error", "statusCode"], "{}", reply.text);
    assert_eq!(reply.json["statusCode"], status);
    let said = reply.json["error"].as_str().expect("words");
    assert!(said.contains(words), "{said:?} does not say {words:?}");
}

/// Somebody who speaks the document.
struct Site {
    web: Web,
    token: String,
}

impl Site {
    fn of(server: &TestServer) -> Self {
        Self { web: server.web(), token: String::new() }
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.web.post(path, &self.token, body).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.web.get(path, &self.token).await
    }

    async fn register(&self, id: &str) {
        let reply = self.post("/api/workers/register", json!({"workerId": id, "hostname": "pc-1"})).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }

    async fn create(&self) -> String {
        let reply = self.post("/api/jobs/create", create()).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json["jobId"].as_str().expect("an id").to_owned()
    }

    async fn status(&self, job: &str) -> Value {
        let reply = self.get(&format!("/api/jobs/status?jobId={job}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json
    }

    /// Asks for a job and is given one.
    async fn poll(&self) -> Value {
        let reply = self.get("/api/jobs/get-job").await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json["job"].clone()
    }

    async fn submit(&self, job: &str, worker: &str, code: i32) -> Reply {
        let result = json!({"jobId": job, "workerId": worker, "stdout": "out", "stderr": "err", "exitCode": code});
        self.post("/api/jobs/submit-result", result).await
    }
}

#[tokio::test]
async fn the_document_holds_route_by_route() {
    let server = open().await;
    let site = Site::of(&server);
    let full =
        json!({"workerId": "worker-abc123", "hostname": "pc-1", "os": "win32", "cpuCount": 4, "version": "1.0.0"});
    let reply = site.post("/api/workers/register", full).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.json,
        json!({"success": true, "workerId": "worker-abc123", "message": "Worker worker-abc123 registered successfully"})
    );
    let reply = site.post("/api/workers/heartbeat", json!({"workerId": "worker-abc123"})).await;
    let timestamp = reply.json["timestamp"].as_u64().expect("milliseconds");
    assert_eq!(reply.json, json!({"success": true, "workerId": "worker-abc123", "timestamp": timestamp}));
    let reply = site.get("/api/workers/register").await;
    assert_eq!(
        reply.json,
        json!({"workers": [{
            "workerId": "worker-abc123", "hostname": "pc-1", "os": "win32", "cpuCount": 4, "status": "idle",
            "lastHeartbeat": timestamp, "version": "1.0.0",
        }], "count": 1})
    );

    let reply = site.get("/api/jobs/get-job").await;
    assert_eq!(
        (reply.status, reply.json),
        (202, json!({"success": false, "message": "No idle workers available", "job": null}))
    );
    let reply = site.post("/api/jobs/create", create()).await;
    let job = reply.json["jobId"].as_str().expect("an id").to_owned();
    assert_eq!(reply.json, json!({"success": true, "jobId": job, "message": "Job created successfully"}));
    let mut expected = json!({
        "jobId": job, "status": "pending", "workerId": null, "command": "npm install\nnpm test",
        "filename": "project.zip", "stdout": "", "stderr": "", "exitCode": null, "errorMessage": null,
        "startedAt": null, "completedAt": null,
    });
    let status = site.status(&job).await;
    expected["createdAt"] = status["createdAt"].clone();
    assert_eq!(status, expected);

    let given = site.poll().await;
    assert_eq!(
        given,
        json!({"jobId": job, "command": "npm install\nnpm test", "fileUrl": "/uploads/project-123456.zip",
            "filename": "project.zip"})
    );
    let status = site.status(&job).await;
    expected["status"] = json!("running");
    expected["workerId"] = json!("worker-abc123");
    expected["startedAt"] = json!(status["startedAt"].as_u64().expect("milliseconds"));
    assert_eq!(status, expected);
    assert_eq!(site.get("/api/workers/register").await.json["workers"][0]["status"], "busy");

    let reply = site.submit(&job, "worker-abc123", 0).await;
    assert_eq!(reply.json, json!({"success": true, "jobId": job, "message": "Job result submitted successfully"}));
    let status = site.status(&job).await;
    expected["status"] = json!("completed");
    expected["stdout"] = json!("out");
    expected["stderr"] = json!("err");
    expected["exitCode"] = json!(0);
    expected["completedAt"] = json!(status["completedAt"].as_u64().expect("milliseconds"));
    assert_eq!(status, expected);
    assert_eq!(site.get("/api/jobs/create").await.json, json!({"jobs": [expected], "count": 1}));
    assert_eq!(site.get("/api/workers/register").await.json["workers"][0]["status"], "idle");

    let second = site.create().await;
    site.poll().await;
    let failure = json!({"jobId": second, "workerId": "worker-abc123", "errorMessage": "Network timeout"});
    let reply = site.web.send("PUT", "/api/jobs/submit-result", "", failure).await;
    assert_eq!(reply.json, json!({"success": true, "jobId": second, "message": "Job failure recorded successfully"}));
    let status = site.status(&second).await;
    assert_eq!((&status["status"], &status["errorMessage"]), (&json!("failed"), &json!("Network timeout")));
    assert_eq!(status["exitCode"], Value::Null);
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_said_in_the_documents_words() {
    let server = open().await;
    let site = Site::of(&server);
    site.register("w").await;
    let job = site.create().await;
    for (path, body, status, words) in [
        ("/api/workers/register", json!({"workerId": "w"}), 400, "workerId and hostname are required"),
        ("/api/workers/register", json!({"hostname": ""}), 400, "workerId and hostname are required"),
        ("/api/workers/register", json!({"workerId": "../x", "hostname": "h"}), 400, "workerId"),
        ("/api/workers/register", json!({"workerId": 7, "hostname": "h"}), 400, "workerId"),
        ("/api/workers/register", json!({"workerId": "x", "hostname": "h", "cpuCount": -1}), 400, "cpuCount"),
        ("/api/workers/register", json!({"workerId": "x", "hostname": "h", "cpuCount": 1e300}), 400, "cpuCount"),
        ("/api/workers/register", json!({"workerId": "x", "hostname": "h\u{0}"}), 400, "hostname"),
        ("/api/workers/heartbeat", json!({}), 400, "workerId"),
        ("/api/workers/heartbeat", json!({"workerId": "nobody"}), 404, "Worker not found"),
        ("/api/workers/heartbeat", json!({"workerId": "'; DROP TABLE workers; --"}), 404, "Worker not found"),
        ("/api/workers/heartbeat", json!({"workerId": "*\r\nFLUSHALL\r\n"}), 404, "Worker not found"),
        ("/api/jobs/create", json!({"command": "x"}), 400, "command, fileUrl, and filename are required"),
        ("/api/jobs/create", json!({"command": ["x"], "fileUrl": "/uploads/a", "filename": "a"}), 400, "command"),
        ("/api/jobs/create", json!({"command": "x\u{0}", "fileUrl": "/uploads/a", "filename": "a"}), 400, "command"),
        ("/api/jobs/create", json!([]), 400, "Create"),
        ("/api/jobs/submit-result", json!({"jobId": job}), 400, "jobId, workerId, and exitCode are required"),
        ("/api/jobs/submit-result", json!({"jobId": job, "workerId": "w", "exitCode": "0"}), 400, "exitCode"),
        ("/api/jobs/submit-result", json!({"jobId": job, "workerId": "w", "exitCode": 1e20}), 400, "exitCode"),
        ("/api/jobs/submit-result", json!({"jobId": "job-x", "workerId": "w", "exitCode": 0}), 404, "Job not found"),
        ("/api/jobs/submit-result", json!({"jobId": "99", "workerId": "w", "exitCode": 0}), 404, "Job not found"),
        (
            "/api/jobs/submit-result",
            json!({"jobId": job, "workerId": "w", "exitCode": 0}),
            403,
            "Worker is not assigned to this job",
        ),
    ] {
        let reply = site.post(path, body.clone()).await;
        let said = if words == "Create" { "" } else { words };
        refused(&reply, status, said);
    }
    for url in [
        "file:///etc/passwd",
        "ftp://h/a.zip",
        "javascript:alert(1)",
        "/etc/passwd",
        "/uploads/../api/jobs/1/output",
        "/api/jobs/1/output",
        "uploads/a.zip",
        "//evil.example/a.zip",
        "http://",
        "http:///a",
        "/uploads/a\\b",
        "/uploads/a b",
    ] {
        let body = json!({"command": "x", "fileUrl": url, "filename": "a.zip"});
        refused(&site.post("/api/jobs/create", body).await, 400, "fileUrl");
    }
    for (path, status, words) in [
        ("/api/jobs/status", 400, "jobId is required"),
        ("/api/jobs/status?jobId=", 400, "jobId is required"),
        ("/api/jobs/status?jobId=job-1-00000000", 404, "Job not found"),
        ("/api/jobs/status?jobId=%27%20OR%201=1", 404, "Job not found"),
        ("/api/jobs/stream?jobId=nothing", 404, "Job not found"),
        ("/api/jobs/stream", 400, "jobId is required"),
        ("/api/jobs/create?limit=0", 400, "limit"),
        ("/api/jobs/create?limit=many", 400, "limit"),
        ("/api/jobs/create?before=x", 400, "before"),
        ("/api/workers/register?before=nobody", 400, "before"),
        ("/api/jobs/get-job?workerId=nobody", 404, "Worker not found"),
    ] {
        refused(&site.get(path).await, status, words);
    }
    let text = site.web.request("POST", "/api/jobs/create").header("content-type", "text/plain").body("x");
    refused(&Reply::to(text).await, 415, "application/json");
    let broken =
        site.web.request("POST", "/api/jobs/create").header("content-type", "application/json").body("{\"a\":");
    assert_eq!(Reply::to(broken).await.status, 400);
    let large = json!({"command": "x".repeat(2 << 20), "fileUrl": "/uploads/a", "filename": "a"});
    refused(&site.post("/api/jobs/create", large).await, 413, "larger");
    let wrong = Reply::to(site.web.request("DELETE", "/api/jobs/create")).await;
    refused(&wrong, 405, "not allowed");
    let allowed = wrong.headers["allow"].to_str().expect("text");
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
}

#[tokio::test]
async fn two_anonymous_agents_behind_one_address_both_get_on() {
    let server = open().await;
    let site = Site::of(&server);
    site.register("a").await;
    site.register("b").await;
    let jobs = [site.create().await, site.create().await];
    // Neither says who it is, and each brings back what it was given.
    for job in &jobs {
        assert_eq!(site.poll().await["jobId"], *job);
    }
    assert_eq!(site.get("/api/jobs/get-job").await.status, 202, "both are busy");
    assert_eq!(site.submit(&jobs[0], "b", 0).await.status, 200);
    assert_eq!(site.submit(&jobs[1], "a", 3).await.status, 200);
    let [first, second] = [site.status(&jobs[0]).await, site.status(&jobs[1]).await];
    assert_eq!((&first["workerId"], &first["status"]), (&json!("a"), &json!("completed")));
    assert_eq!((&second["workerId"], &second["status"]), (&json!("b"), &json!("failed")));
    assert_eq!((&second["exitCode"], &second["stdout"]), (&json!(3), &json!("out")), "its output is kept");
}

#[tokio::test]
async fn who_says_who_it_is_is_taken_at_its_word() {
    let server = open().await;
    let site = Site::of(&server);
    site.register("a").await;
    site.register("b").await;
    let job = site.create().await;
    let given = site.get("/api/jobs/get-job?workerId=b").await;
    assert_eq!((given.status, &given.json["job"]["jobId"]), (200, &json!(job)));
    refused(&site.submit(&job, "a", 0).await, 403, "Worker is not assigned to this job");
    refused(&site.submit(&job, "nobody", 0).await, 403, "Worker is not assigned to this job");
    assert_eq!(site.submit(&job, "b", 0).await.status, 200);
    // The answer was lost, and the worker says it again.
    assert_eq!(site.submit(&job, "b", 0).await.status, 200);
    refused(&site.submit(&job, "b", 1).await, 409, "another result");
    refused(&site.submit(&job, "a", 0).await, 403, "Worker is not assigned to this job");
}

#[tokio::test]
async fn many_polls_at_once_never_give_a_worker_two_jobs() {
    let server = open().await;
    let site = Site::of(&server);
    for id in ["a", "b", "c"] {
        site.register(id).await;
    }
    for _ in 0..10 {
        site.create().await;
    }
    let polls = (0..20).map(|_| site.get("/api/jobs/get-job"));
    let given = futures_util::future::join_all(polls).await.into_iter().filter(|reply| reply.status == 200).count();
    let running = server.admin().await.get("job", &json!({"opt": "list", "status": "running"}), "jobs").await;
    let running = running["jobs"].as_array().expect("a page");
    assert!((1..=3).contains(&given) && running.len() == given, "{given} given, {} run", running.len());
    let mut workers: Vec<&Value> = running.iter().map(|job| &job["workerId"]).collect();
    workers.dedup();
    assert_eq!(workers.len(), given, "each has one: {workers:?}");
}

#[tokio::test]
async fn a_job_that_was_claimed_and_never_handed_out_is_handed_out_at_the_next_poll() {
    let server = open().await;
    let site = Site::of(&server);
    site.register("w").await;
    let job = site.create().await;
    // As an instance leaves it that dies before it answers.
    let worker: WorkerId = "w".parse().expect("a name");
    let classes = vec![(Requires { polled: true, ..Requires::default() }, Vec::new())];
    let claim = Claim { worker, classes, limit: 1, lease: Duration::from_secs(30) };
    assert_eq!(server.dispatcher.store().claim(claim).await.expect("the store answers").len(), 1);
    assert_eq!(site.poll().await["jobId"], job);
    assert_eq!(site.get("/api/jobs/get-job").await.status, 202, "now it was handed out");
}

#[tokio::test]
async fn a_cancelled_job_is_over_and_its_late_result_is_refused() {
    let server = open().await;
    let site = Site::of(&server);
    site.register("w").await;
    let job = site.create().await;
    site.poll().await;
    let mut admin = server.admin().await;
    admin.get("job", &json!({"opt": "cancel", "jobId": job}), "ok").await;
    assert_eq!(admin.job(&job).await["status"], "cancelled");
    assert_eq!(site.status(&job).await["status"], "failed", "the document has no other word");
    assert_eq!(site.status(&job).await["errorMessage"], "Job was cancelled");
    refused(&site.submit(&job, "w", 0).await, 409, "Job was cancelled");
    let next = site.create().await;
    assert_eq!(site.poll().await["jobId"], next, "the worker is idle again");
}

#[tokio::test]
async fn a_silent_worker_is_offline_and_loses_its_job() {
    let server = crate::support::server::Stage::new().manual_clock().settings(|to| to.open = true).start().await;
    let site = Site::of(&server);
    site.register("loud").await;
    site.register("silent").await;
    let jobs = [site.create().await, site.create().await];
    for (worker, job) in ["loud", "silent"].iter().zip(&jobs) {
        let given = site.get(&format!("/api/jobs/get-job?workerId={worker}")).await;
        assert_eq!(given.json["job"]["jobId"], *job);
    }
    for _ in 0..5 {
        server.pass_time(8).await;
        assert_eq!(site.post("/api/workers/heartbeat", json!({"workerId": "loud"})).await.status, 200);
    }
    let workers = site.get("/api/workers/register").await.json;
    let standing = |id: &str| {
        let all = workers["workers"].as_array().expect("workers");
        all.iter().find(|worker| worker["workerId"] == id).expect("it is listed")["status"].clone()
    };
    assert_eq!([standing("loud"), standing("silent")], ["busy", "offline"]);
    assert_eq!(site.status(&jobs[0]).await["status"], "running");
    let lost = site.status(&jobs[1]).await;
    assert_eq!(lost["status"], "failed");
    assert!(lost["errorMessage"].as_str().unwrap().contains("lost"));
    refused(&site.submit(&jobs[1], "silent", 0).await, 409, "another result");
}

#[tokio::test]
async fn a_polled_job_is_a_job_like_any_other() {
    let server = open().await;
    let site = Site::of(&server);
    let mut admin = server.admin().await;
    site.register("w").await;
    let job = site.create().await;
    admin.follow(&job, "0").await;
    site.poll().await;
    assert_eq!(admin.until("job", "status").await["workerId"], "w");
    let text = "ö✓".repeat(100_000);
    let result = json!({"jobId": job, "workerId": "w", "stdout": text, "stderr": "warned", "exitCode": 0});
    assert_eq!(site.post("/api/jobs/submit-result", result).await.status, 200);
    let mut followed = String::new();
    let end = loop {
        let frame = admin.next().await["data"].clone();
        match frame["opt"].as_str() {
            Some("output") if frame["stream"] == "stdout" => followed += frame["text"].as_str().expect("text"),
            Some("end") => break frame,
            _ => (),
        }
    };
    assert_eq!(followed, text);
    assert_eq!((&end["status"], &end["exitCode"]), (&json!("completed"), &json!(0)));
    assert_eq!(site.status(&job).await["stdout"], text);
    let workers = admin.get("worker", &json!({"opt": "list"}), "workers").await;
    assert_eq!((&workers["workers"][0]["workerId"], &workers["workers"][0]["slots"]), (&json!("w"), &json!(1)));
}

#[tokio::test]
async fn a_polling_worker_gets_only_what_it_can_do() {
    let server = open().await;
    let site = Site::of(&server);
    let mut admin = server.admin().await;
    site.register("w").await;
    let zip = json!({"command": "x", "fileUrl": "/uploads/a/b.zip", "filename": "b.zip"});
    for more in [
        json!({"env": {"A": "b"}}),
        json!({"cwd": "src"}),
        json!({"stdin": true}),
        json!({"tty": true}),
        json!({"timeoutSecs": 5}),
        json!({"artifacts": ["*.txt"]}),
        json!({"requires": {"labels": {"zone": "eu"}}}),
        json!({"requires": {"workerId": "other"}}),
    ] {
        let mut spec = zip.clone();
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        admin.queue(&spec).await;
    }
    let plain = admin.queue(&json!({"command": "true"})).await;
    assert_eq!(site.get("/api/jobs/get-job").await.status, 202);
    let waiting = admin.job(&plain).await["waitingFor"].clone();
    assert!(waiting.as_str().expect("words").contains("poll"), "{waiting}");

    let mut pinned = zip.clone();
    pinned["requires"] = json!({"workerId": "w"});
    let pinned = admin.queue(&pinned).await;
    assert_eq!(site.poll().await["jobId"], pinned, "a pin is kept");
}

#[tokio::test]
async fn connected_workers_take_the_same_jobs() {
    let server = open().await;
    let site = Site::of(&server);
    let mut worker = server.worker_with_slots("ws", 1).await;
    refused(&site.post("/api/workers/register", json!({"workerId": "ws", "hostname": "h"})).await, 409, "WebSocket");
    refused(&site.post("/api/workers/heartbeat", json!({"workerId": "ws"})).await, 404, "Worker not found");
    let job = site.create().await;
    let assigned = worker.accepted().await;
    refused(&site.submit(&job, "ws", 0).await, 403, "Worker is not assigned to this job");
    worker.run(&assigned, "hello").await;
    let status = site.status(&job).await;
    assert_eq!((&status["status"], &status["stdout"]), (&json!("completed"), &json!("hello")));
}

#[tokio::test]
async fn lists_are_paged_from_new_to_old() {
    let server = open().await;
    let site = Site::of(&server);
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(site.create().await);
    }
    let page = async |query: &str| {
        let reply = site.get(&format!("/api/jobs/create?{query}")).await.json;
        assert_eq!(reply["count"], 5);
        let page: Vec<String> = reply["jobs"]
            .as_array()
            .expect("jobs")
            .iter()
            .map(|job| job["jobId"].as_str().unwrap().to_owned())
            .collect();
        page
    };
    jobs.reverse();
    assert_eq!(page("").await, jobs);
    assert_eq!(page("limit=2").await, jobs[..2]);
    assert_eq!(page(&format!("limit=2&before={}", jobs[1])).await, jobs[2..4]);
    assert_eq!(page(&format!("before={}", jobs[4])).await, [""; 0]);
    assert_eq!(page("limit=99999999999999999999").await, jobs);

    for id in ["z", "a", "m"] {
        site.register(id).await;
    }
    let workers = async |query: &str| {
        let reply = site.get(&format!("/api/workers/register?{query}")).await.json;
        assert_eq!(reply["count"], 3);
        reply["workers"].as_array().expect("workers").len()
    };
    assert_eq!(workers("").await, 3);
    assert_eq!(workers("limit=2").await, 2);
    assert_eq!(workers("limit=2&before=z").await + workers("limit=2&before=a").await + workers("before=m").await, 3);
}

#[tokio::test]
async fn every_route_wants_the_right_role() {
    let server = TestServer::start().await;
    let (user, worker) = (server.user_token("ada").await, server.worker_token().to_owned());
    let of = |token: &str| Site { web: server.web(), token: token.to_owned() };
    let (nobody, ada, pat) = (of(""), of(&user), of(&worker));
    let register = json!({"workerId": "w", "hostname": "h"});
    for (path, body) in [
        ("/api/workers/register", register.clone()),
        ("/api/workers/heartbeat", json!({"workerId": "w"})),
        ("/api/jobs/create", create()),
        ("/api/jobs/submit-result", json!({"jobId": "1", "workerId": "w", "exitCode": 0})),
    ] {
        refused(&nobody.post(path, body.clone()).await, 401, "token");
        for wrong in ["gl_1_2", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "x"] {
            refused(&of(wrong).post(path, body.clone()).await, 401, "");
        }
    }
    for path in [
        "/api/jobs/create",
        "/api/jobs/get-job",
        "/api/jobs/status?jobId=1",
        "/api/workers/register",
        "/api/jobs/stream?jobId=1",
    ] {
        refused(&nobody.get(path).await, 401, "token");
    }
    refused(&Reply::to(nobody.web.request("POST", "/api/execute")).await, 401, "token");
    refused(&ada.post("/api/workers/register", register.clone()).await, 403, "workers");
    refused(&ada.get("/api/jobs/get-job").await, 403, "workers");
    refused(&pat.post("/api/jobs/create", create()).await, 403, "users");
    refused(&pat.get("/api/jobs/create").await, 403, "users");

    pat.register("w").await;
    let job = ada.create().await;
    let eve = of(&server.user_token("eve").await);
    refused(&eve.get(&format!("/api/jobs/status?jobId={job}")).await, 404, "Job not found");
    refused(&eve.get(&format!("/api/jobs/stream?jobId={job}")).await, 404, "Job not found");
    assert_eq!(eve.get("/api/jobs/create").await.json, json!({"jobs": [], "count": 0}));
    assert_eq!(pat.poll().await["jobId"], job);
    assert_eq!(pat.submit(&job, "w", 0).await.status, 200);
    assert_eq!(ada.status(&job).await["status"], "completed");
}

#[tokio::test]
async fn what_one_dispatcher_hears_the_other_knows() {
    let [one, other] = TestServer::pair().await;
    let (admin, worker) = (one.admin_token().to_owned(), one.worker_token().to_owned());
    let of = |server: &TestServer, token: &str| Site { web: server.web(), token: token.to_owned() };
    of(&one, &worker).register("w").await;
    let job = of(&one, &admin).create().await;
    assert_eq!(of(&other, &worker).poll().await["jobId"], job);
    assert_eq!(of(&one, &worker).get("/api/jobs/get-job").await.status, 202, "it is busy there, too");
    assert_eq!(of(&other, &worker).post("/api/workers/heartbeat", json!({"workerId": "w"})).await.status, 200);
    let following = of(&one, &admin);
    let following = tokio::spawn(async move { following.get(&format!("/api/jobs/stream?jobId={job}")).await.text });
    let job = of(&other, &admin).get("/api/jobs/create").await.json["jobs"][0]["jobId"].as_str().unwrap().to_owned();
    assert_eq!(of(&one, &worker).submit(&job, "w", 0).await.status, 200);
    assert_eq!(of(&other, &admin).status(&job).await["stdout"], "out");
    let events = soon("the end", following).await.expect("no panic");
    assert!(events.contains("event: end"), "{events}");
}

#[tokio::test]
async fn events_come_as_they_happen_and_go_on_where_they_were_left() {
    let server = open().await;
    let site = Site::of(&server);
    let mut worker = server.worker_with_slots("ws", 1).await;
    let job = site.create().await;
    let path = format!("/api/jobs/stream?jobId={job}");
    let mut live = site.web.request("GET", &path).send().await.expect("an answer");
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    let assigned = worker.accepted().await;
    worker.say(&assigned.output(1, "one\n")).await;
    let mut seen = String::new();
    while !seen.contains("\n\n") {
        let chunk = soon("the first output", live.chunk()).await.expect("it goes on").expect("more");
        seen += std::str::from_utf8(&chunk).expect("text");
    }
    let first = events(&seen).remove(0);
    assert_eq!((first.id.as_str(), first.name.as_str()), ("1-1", "output"));
    assert_eq!((&first.data["stream"], &first.data["text"]), (&json!("stdout"), &json!("one\n")));
    worker.say(&assigned.output(2, "two\n")).await;
    worker.say(&assigned.end(3, 0)).await;
    while let Some(chunk) = soon("the end", live.chunk()).await.expect("it goes on") {
        seen += std::str::from_utf8(&chunk).expect("text");
    }
    let names: Vec<_> = events(&seen).into_iter().map(|event| (event.id, event.name)).collect();
    let expected =
        [("1-1", "output"), ("1-2", "output"), ("1-3", "end")].map(|(id, name)| (id.to_owned(), name.to_owned()));
    assert_eq!(names, expected);

    let from = async |id: &str| Reply::to(site.web.request("GET", &path).header("Last-Event-ID", id)).await;
    let rest: Vec<String> = events(&from("1-1").await.text).into_iter().map(|event| event.id).collect();
    assert_eq!(rest, ["1-2", "1-3"]);
    assert_eq!(from("1-3").await.status, 204, "an event source is told to stay away");
    refused(&from("yesterday").await, 400, "Last-Event-ID");
    let again = events(&site.get(&path).await.text);
    assert_eq!(again.len(), 3, "a replay is the same");
    assert_eq!(again[2].data["exitCode"], 0);
}

/// One server-sent event.
struct Event {
    id: String,
    name: String,
    data: Value,
}

fn events(text: &str) -> Vec<Event> {
    let field = |event: &str, name: &str| {
        let found = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_default().to_owned()
    };
    let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let events = whole.split("\n\n").filter(|event| !event.starts_with(':') && !event.is_empty());
    events
        .map(|event| Event {
            id: field(event, "id"),
            name: field(event, "event"),
            data: serde_json::from_str(&field(event, "data")).expect("JSON"),
        })
        .collect()
}

#[tokio::test]
async fn a_crowd_that_asks_at_once_is_answered_as_if_each_had_asked_alone() {
    let server = open().await;
    let site = Site::of(&server);
    site.register("w").await;
    for _ in 0..5 {
        let job = site.create().await;
        site.poll().await;
        let crowd = async || {
            let asked = (0..50).map(|_| site.status(&job));
            futures_util::future::join_all(asked)
                .await
                .iter()
                .map(|status| status["status"].clone())
                .collect::<Vec<_>>()
        };
        let (before, submitted) = tokio::join!(crowd(), site.submit(&job, "w", 0));
        assert_eq!(submitted.status, 200);
        assert!(before.iter().all(|status| *status == "running" || *status == "completed"), "{before:?}");
        // Whoever asks after the answer sees what it said.
        assert!(crowd().await.iter().all(|status| *status == "completed"));
    }
}
