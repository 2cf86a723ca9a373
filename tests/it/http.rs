//! What goes over HTTP beside the WebSocket: health, files, raw output.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use gangline::base::secret::Secret;
use gangline::base::shutdown::Shutdown;
use gangline::base::tls::Trust;
use gangline::config::ServerSettings;
use gangline::link::{LinkReceiver, LinkSender, dial};
use gangline::server::{ServeError, Server};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

#[tokio::test]
async fn anyone_may_ask_how_it_is() {
    let site = Site::start().await;
    for (path, expected) in [("/healthz", "ok"), ("/readyz", "ready"), ("/metrics", "gangline_jobs_pending 0")] {
        let reply = site.get(path).send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK, "{path}");
        assert_eq!(reply.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(reply.text().await.unwrap().contains(expected), "{path}");
    }
    site.end().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let site = Site::start().await;
    site.refuses(site.get("/api/nothing"), 404, "not_found").await;
    let headers = site.refuses(site.request(Method::POST, "/healthz"), 405, "unknown_type").await;
    assert_eq!(headers[header::ALLOW], "GET,HEAD");
    for job in ["1", "job-1-00000000", "nonsense", "-1", "%00"] {
        site.refuses(site.admin(site.get(&format!("/api/jobs/{job}/output"))), 404, "not_found").await;
    }
    site.refuses(site.admin(site.get("/api/jobs/%ff/output")), 400, "bad_frame").await;
    site.end().await;
}

#[tokio::test]
async fn only_a_good_token_opens_the_door() {
    let site = Site::start().await;
    let path = "/api/jobs/1/artifacts";
    let headers = site.refuses(site.get(path), 401, "unauthorized").await;
    assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer");
    for wrong in ["Bearer gl_1_2", "Bearer", "Basic YWRtaW46", "", "x.y.z"] {
        site.refuses(site.get(path).header(header::AUTHORIZATION, wrong), 401, "unauthorized").await;
    }
    let token = &site.admin_token;
    for good in [format!("Bearer {token}"), format!("bEARER  {token}"), token.clone()] {
        site.refuses(site.get(path).header(header::AUTHORIZATION, good), 404, "not_found").await;
    }
    let foreign = site.admin(site.get(path)).header(header::ORIGIN, "http://evil.example");
    site.refuses(foreign, 403, "forbidden").await;
    let own = site.admin(site.get(path)).header(header::ORIGIN, &site.url);
    site.refuses(own, 404, "not_found").await;
    site.end().await;
}

#[tokio::test]
async fn a_form_that_declares_more_than_may_come_is_refused_before_it_comes() {
    let site = Site::start().await;
    for route in ["/api/uploads", "/api/execute"] {
        let mut socket = TcpStream::connect(site.url.strip_prefix("http://").unwrap()).await.unwrap();
        let token = &site.admin_token;
        let head = format!(
            "POST {route} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: multipart/form-data; boundary=X\r\n\
             content-length: 10000000000\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        // Nothing else is sent, and nothing else will be: what was declared is enough.
        socket.shutdown().await.unwrap();
        let mut status = [0; 12];
        socket.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 413", "{route}");
    }
    site.end().await;
}

#[tokio::test]
async fn too_many_requests_from_one_address_wait() {
    let site = Site::with(|settings| {
        settings.limits.requests_per_second = NonZeroU32::MIN;
        settings.limits.request_burst = NonZeroU32::new(3).unwrap();
        settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let began = Instant::now();
    let mut served = 0;
    let refused = loop {
        let reply = site.get("/api/nothing").send().await.unwrap();
        if reply.status() != 404 {
            break reply;
        }
        served += 1;
    };
    // Three at once, and one more each second.
    assert!((3..=4 + began.elapsed().as_secs()).contains(&served), "{served} in {:?}", began.elapsed());
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()[header::RETRY_AFTER]),
        (429, &HeaderValue::from_static("1"))
    );
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "rate_limited");
    let elsewhere = site.get("/api/nothing").header("x-forwarded-for", "198.51.100.7");
    site.refuses(elsewhere, 404, "not_found").await;
    assert_eq!(site.get("/readyz").send().await.unwrap().status(), 200, "probes are not counted");
    site.end().await;
}

#[tokio::test]
async fn an_upload_comes_back_as_it_was() {
    let site = Site::start().await;
    let raw = site.admin(site.request(Method::POST, "/api/uploads?filename=my%20project.zip")).body("PK34");
    let multipart = site
        .admin(site.request(Method::POST, "/api/uploads"))
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=XX")
        .body(form(&[("note", None, "first"), ("file", Some("my project.zip"), "PK34")]));
    for request in [raw, multipart] {
        let reply: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
        assert_eq!((&reply["filename"], &reply["bytes"]), (&json!("my project.zip"), &json!(4)));
        let url = reply["fileUrl"].as_str().unwrap();
        assert!(url.starts_with("/uploads/"), "{url}");

        site.refuses(site.get(url), 401, "unauthorized").await;
        let worker = site.get(url).bearer_auth(&site.worker_token).send().await.unwrap();
        assert_eq!(worker.headers()[header::CONTENT_TYPE], "application/zip");
        assert_eq!(worker.text().await.unwrap(), "PK34");
    }
    site.end().await;
}

#[tokio::test]
async fn a_bad_upload_is_refused_by_field_and_size() {
    let site = Site::with(|settings| settings.limits.upload_bytes = 1000).await;
    let upload = |query: &str| site.admin(site.request(Method::POST, &format!("/api/uploads{query}")));
    let multipart =
        |body: String| upload("").header(header::CONTENT_TYPE, "multipart/form-data; boundary=XX").body(body);

    assert_eq!(site.fault(upload("").body("x"), 400).await["field"], "filename");
    assert_eq!(site.fault(multipart(form(&[("note", None, "x")])), 400).await["field"], "file");
    let no_boundary = upload("").header(header::CONTENT_TYPE, "multipart/form-data").body("x");
    assert_eq!(site.fault(no_boundary, 400).await["field"], "content-type");
    site.refuses(
        multipart("--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nbroken".to_owned()),
        400,
        "bad_frame",
    )
    .await;

    let large = "x".repeat(1001);
    site.refuses(upload("?filename=a").body(large.clone()), 413, "too_large").await;
    site.refuses(upload("?filename=a").body(chunked(&large, 100)), 413, "too_large").await;
    site.refuses(multipart(form(&[("file", Some("a"), &large)])), 413, "too_large").await;
    // No header of a part may be gathered without end.
    let endless = format!("--XX\r\nX: {}", "x".repeat(8 << 20));
    let undeclared =
        upload("").header(header::CONTENT_TYPE, "multipart/form-data; boundary=XX").body(chunked(&endless, 64 * 1024));
    site.refuses(undeclared, 400, "bad_frame").await;
    site.refuses(multipart(endless), 413, "too_large").await;
    site.refuses(
        site.request(Method::POST, "/api/uploads?filename=a").bearer_auth(&site.worker_token).body("x"),
        403,
        "forbidden",
    )
    .await;
    site.end().await;
}

#[tokio::test]
async fn output_is_there_while_the_job_runs_and_after() {
    let site = Site::start().await;
    let mut worker = site.worker().await;
    let job = site.submit("make").await;
    worker.take(&job).await;
    worker.output(&job, 1, "stdout", 0, "one\ntwo\n").await;
    worker.output(&job, 2, "stderr", 0, "warning\n").await;
    worker.output(&job, 3, "stdout", 8, "three\n").await;

    let output = |query: &str| site.admin(site.get(&format!("/api/jobs/{job}/output{query}")));
    let text = async |query: &str| output(query).send().await.unwrap().text().await.unwrap();
    assert_eq!(text("?stream=stdout").await, "one\ntwo\nthree\n");
    assert_eq!(text("").await, "one\ntwo\nthree\n", "standard output unless asked otherwise");
    assert_eq!(text("?stream=stderr").await, "warning\n");
    assert_eq!(site.fault(output("?stream=stdin"), 400).await["field"], "stream");

    worker.output(&job, 4, "stdout", 14, "four").await;
    worker.end(&job, 5).await;
    for (range, expected, content_range) in [
        ("bytes=0-2", "one", "bytes 0-2/18"),
        ("bytes=6-9", "o\nth", "bytes 6-9/18"),
        ("bytes=10-", "ree\nfour", "bytes 10-17/18"),
        ("bytes=-4", "four", "bytes 14-17/18"),
    ] {
        let reply = output("?stream=stdout").header(header::RANGE, range).send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(reply.headers()[header::CONTENT_RANGE], content_range);
        assert_eq!(reply.text().await.unwrap(), expected, "{range}");
    }
    let whole = output("?stream=stdout").send().await.unwrap();
    assert_eq!(
        (&whole.headers()[header::ACCEPT_RANGES], whole.content_length()),
        (&"bytes".parse().unwrap(), Some(18))
    );
    let headers = site.refuses(output("").header(header::RANGE, "bytes=18-"), 416, "bad_frame").await;
    assert_eq!(headers[header::CONTENT_RANGE], "bytes */18");

    let by_number = job.split('-').nth(1).unwrap();
    let reply = site.admin(site.get(&format!("/api/jobs/{by_number}/output"))).send().await.unwrap();
    assert_eq!(reply.text().await.unwrap(), "one\ntwo\nthree\nfour");
    site.end().await;
}

#[tokio::test]
async fn output_that_was_removed_is_not_passed_over() {
    let site = Site::with(|settings| settings.limits.output_bytes = 100_000).await;
    let mut worker = site.worker().await;
    let job = site.submit("yes").await;
    worker.take(&job).await;
    let chunk = "y\n".repeat(10_000);
    for n in 0..20 {
        worker.output(&job, n + 1, "stdout", n * 20_000, &chunk).await;
    }
    worker.output(&job, 21, "stderr", 0, "late").await;
    worker.end(&job, 22).await;

    let reply = site.admin(site.get(&format!("/api/jobs/{job}/output"))).send().await.unwrap();
    let removed: u64 = reply.headers()["gangline-removed-bytes"].to_str().unwrap().parse().unwrap();
    let left = reply.text().await.unwrap();
    assert!(removed > 0 && !left.is_empty());
    assert_eq!(removed + left.len() as u64, 400_000);
    let stderr = site.admin(site.get(&format!("/api/jobs/{job}/output?stream=stderr"))).send().await.unwrap();
    assert!(stderr.headers().get("gangline-removed-bytes").is_none());
    assert_eq!(stderr.text().await.unwrap(), "late");
    site.end().await;
}

#[tokio::test]
async fn artifacts_keep_names_bytes_and_hashes() {
    let site = Site::start().await;
    let mut worker = site.worker().await;
    let job = site.submit("make").await;
    worker.take(&job).await;
    let at = |path: &str| format!("/api/jobs/{job}/artifacts/{path}");
    let names = ["report.html", "out/größe 100%25.bin", "a%23b%3F.txt", ".hidden/x"];
    for name in names {
        let put = site.request(Method::PUT, &format!("{}?attempt=1", at(name))).bearer_auth(&site.worker_token);
        assert_eq!(put.body("hello").send().await.unwrap().status(), StatusCode::CREATED, "{name}");
    }

    let list = site.admin(site.get(&format!("/api/jobs/{job}/artifacts"))).send().await.unwrap();
    let list: Value = list.json().await.unwrap();
    let paths: Vec<&str> = list["artifacts"].as_array().unwrap().iter().map(|a| a["path"].as_str().unwrap()).collect();
    assert_eq!(paths, [".hidden/x", "a#b?.txt", "out/größe 100%.bin", "report.html"]);
    const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(
        list["artifacts"][3],
        json!({ "path": "report.html", "bytes": 5, "contentType": "text/html", "sha256": SHA256 })
    );

    for name in names {
        assert_eq!(site.admin(site.get(&at(name))).send().await.unwrap().text().await.unwrap(), "hello", "{name}");
    }
    let reply = site.admin(site.get(&at("report.html"))).send().await.unwrap();
    let headers = reply.headers();
    assert_eq!(headers[header::CONTENT_TYPE], "text/html");
    assert_eq!(headers[header::ETAG], format!("\"{SHA256}\""));
    // A page that a job wrote must not run as one of this server's.
    assert!(headers[header::CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment"));
    assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("sandbox"));

    let known = site.admin(site.get(&at("report.html"))).header(header::IF_NONE_MATCH, format!("\"{SHA256}\""));
    assert_eq!(known.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    let part = site.admin(site.get(&at("report.html"))).header(header::RANGE, "bytes=1-2").send().await.unwrap();
    assert_eq!((part.status(), part.text().await.unwrap()), (StatusCode::PARTIAL_CONTENT, "el".to_owned()));
    site.refuses(site.admin(site.get(&at("other"))), 404, "not_found").await;
    site.end().await;
}

#[tokio::test]
async fn artifacts_are_taken_only_from_the_attempt_that_runs() {
    let site = Site::with(|settings| settings.limits.upload_bytes = 1000).await;
    let job = site.submit("make").await;
    let put = |path: &str, query: &str, token: &str| {
        site.request(Method::PUT, &format!("/api/jobs/{job}/artifacts/{path}{query}")).bearer_auth(token).body("x")
    };
    let token = &site.worker_token;
    site.refuses(put("a", "?attempt=1", token), 409, "stale_attempt").await;
    let mut worker = site.worker().await;
    worker.take(&job).await;
    site.refuses(put("a", "?attempt=0", token), 409, "stale_attempt").await;
    site.refuses(put("a", "?attempt=2", token), 409, "stale_attempt").await;
    for query in ["", "?attempt=", "?attempt=one", "?attempt=-1"] {
        assert_eq!(site.fault(put("a", query, token), 400).await["field"], "attempt", "{query:?}");
    }
    for path in ["..%2Fa", "a%2F..%2F..%2Fb", "%2Fetc", "a%2F%2Fb", "a%0Ab", "a%00"] {
        assert_eq!(site.fault(put(path, "?attempt=1", token), 400).await["field"], "path", "{path}");
    }
    let large = put("a", "?attempt=1", token).body("x".repeat(1001));
    site.refuses(large, 413, "too_large").await;
    site.refuses(put("a", "?attempt=1", &site.user("ada").await), 403, "forbidden").await;

    worker.end(&job, 1).await;
    site.refuses(put("a", "?attempt=1", token), 409, "stale_attempt").await;
    let list = site.admin(site.get(&format!("/api/jobs/{job}/artifacts"))).send().await.unwrap();
    assert_eq!(list.json::<Value>().await.unwrap(), json!({ "artifacts": [] }));
    site.end().await;
}

#[tokio::test]
async fn a_users_jobs_are_nobody_elses() {
    let site = Site::start().await;
    let (ada, grace) = (site.user("ada").await, site.user("grace").await);
    let job = site.submit_as(&ada, "make").await;
    for path in ["output", "artifacts", "artifacts/a"] {
        let path = format!("/api/jobs/{job}/{path}");
        site.refuses(site.get(&path).bearer_auth(&grace), 404, "not_found").await;
    }
    for token in [&ada, &site.admin_token, &site.worker_token] {
        let reply = site.get(&format!("/api/jobs/{job}/output")).bearer_auth(token).send().await.unwrap();
        assert_eq!((reply.status(), reply.text().await.unwrap()), (StatusCode::OK, String::new()));
    }
    site.end().await;
}

#[tokio::test]
async fn an_open_server_asks_for_no_token_but_minds_the_page() {
    let site = Site::with(|settings| settings.open = true).await;
    let upload = || site.request(Method::POST, "/api/uploads?filename=a").body("x");
    assert_eq!(upload().send().await.unwrap().status(), StatusCode::OK);
    site.refuses(upload().header(header::ORIGIN, "http://evil.example"), 403, "forbidden").await;
    // A page whose own name was pointed at this machine after it was loaded.
    let rebound = upload().header(header::ORIGIN, "http://evil.example:80").header(header::HOST, "evil.example:80");
    site.refuses(rebound, 403, "forbidden").await;
    site.refuses(upload().bearer_auth("wrong"), 401, "unauthorized").await;
    site.end().await;
}

/// A server of its own for one test.
struct Site {
    url: String,
    http: reqwest::Client,
    admin_token: String,
    worker_token: String,
    shutdown: Shutdown,
    serving: JoinHandle<Result<(), ServeError>>,
    _dir: TempDir,
}

impl Site {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(adjust: impl FnOnce(&mut ServerSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = ServerSettings { data_dir: dir.path().to_owned(), ..ServerSettings::default() };
        settings.listen.set_port(0);
        adjust(&mut settings);
        let server = Server::bind(settings).await.unwrap();
        let url = format!("http://{}", server.local_addr());
        let token = |file| std::fs::read_to_string(dir.path().join(file)).unwrap().trim().to_owned();
        let (admin_token, worker_token) = (token("admin.token"), token("worker.token"));
        let shutdown = Shutdown::new();
        let serving = tokio::spawn(server.run(shutdown.clone()));
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Self { url, http, admin_token, worker_token, shutdown, serving, _dir: dir }
    }

    async fn end(self) {
        self.shutdown.start_cut();
        self.serving.await.unwrap().unwrap();
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    fn admin(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(&self.admin_token)
    }

    /// The error that a request ends with.
    async fn fault(&self, request: RequestBuilder, status: u16) -> Value {
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), status);
        reply.json::<Value>().await.unwrap()["error"].take()
    }

    /// The headers of a refusal with this status and code.
    async fn refuses(&self, request: RequestBuilder, status: u16, code: &str) -> HeaderMap {
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), status);
        let headers = reply.headers().clone();
        let error = reply.json::<Value>().await.unwrap()["error"].take();
        assert_eq!(error["code"], code, "{error}");
        assert!(!error["message"].as_str().unwrap().is_empty());
        headers
    }

    async fn socket(&self, token: &str) -> Socket {
        let address = format!("{}/ws", self.url.replace("http", "ws")).parse().unwrap();
        let link = dial(&address, Some(&Secret::new(token)), &Trust::default()).await.unwrap();
        Socket { sender: link.sender, receiver: link.receiver }
    }

    /// An account of role `user`; returns a token of its.
    async fn user(&self, name: &str) -> String {
        let mut admin = self.socket(&self.admin_token).await;
        admin.say(json!({ "type": "auth", "data": { "opt": "userAdd", "account": name } })).await;
        admin.hear("auth", "ok").await;
        let create = json!({ "opt": "tokenCreate", "role": "user", "account": name });
        admin.say(json!({ "type": "auth", "id": 1, "data": create })).await;
        admin.hear("auth", "token").await["token"].as_str().unwrap().to_owned()
    }

    async fn submit(&self, command: &str) -> String {
        self.submit_as(&self.admin_token, command).await
    }

    /// The id of a new job.
    async fn submit_as(&self, token: &str, command: &str) -> String {
        let mut client = self.socket(token).await;
        let submit = json!({ "opt": "submit", "command": command, "follow": false });
        client.say(json!({ "type": "job", "data": submit })).await;
        client.hear("job", "submitted").await["jobId"].as_str().unwrap().to_owned()
    }

    /// A worker that does as it is told by the test.
    async fn worker(&self) -> Socket {
        let mut worker = self.socket(&self.worker_token).await;
        let register = json!({
            "opt": "register", "workerId": "w", "boot": 1, "hostname": "h", "os": "linux", "arch": "x86_64", "cpuCount": 1,
            "memoryBytes": 1, "diskBytes": 1, "gpus": [], "slots": 1, "labels": {}, "version": "0", "resume": []
        });
        worker.say(json!({ "type": "worker", "data": register })).await;
        worker.hear("worker", "registered").await;
        worker
    }
}

/// One side of a WebSocket, frame by frame.
struct Socket {
    sender: LinkSender,
    receiver: LinkReceiver,
}

impl Socket {
    async fn say(&mut self, frame: Value) {
        self.sender.send(frame.to_string()).await.unwrap();
    }

    /// `data` of the next frame of this kind; others are passed over, but not errors.
    async fn hear(&mut self, noun: &str, opt: &str) -> Value {
        let listen = async {
            loop {
                let mut frame: Value = serde_json::from_str(&self.receiver.recv().await.unwrap()).unwrap();
                assert_ne!(frame["type"], "error", "{frame}");
                if frame["type"] == noun && frame["data"]["opt"] == opt {
                    return frame["data"].take();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), listen).await.unwrap_or_else(|_| panic!("no {noun} {opt}"))
    }

    async fn take(&mut self, job: &str) {
        let assign = self.hear("job", "assign").await;
        assert_eq!((&assign["jobId"], &assign["attempt"]), (&json!(job), &json!(1)));
        self.say(json!({ "type": "job", "data": { "opt": "accept", "jobId": job, "attempt": 1 } })).await;
    }

    /// Sends a chunk and waits until it is stored.
    async fn output(&mut self, job: &str, n: u64, stream: &str, offset: u64, text: &str) {
        let data = json!({
            "opt": "output", "jobId": job, "attempt": 1, "n": n, "stream": stream, "offset": offset, "text": text, "time": 1
        });
        self.say(json!({ "type": "job", "data": data })).await;
        self.acked(n).await;
    }

    /// Ends the job well and waits until that is stored.
    async fn end(&mut self, job: &str, n: u64) {
        let data = json!({ "opt": "end", "jobId": job, "attempt": 1, "n": n, "exitCode": 0, "reason": "exit" });
        self.say(json!({ "type": "job", "data": data })).await;
        self.acked(n).await;
    }

    async fn acked(&mut self, n: u64) {
        while self.hear("job", "ack").await["n"].as_u64().unwrap() < n {}
    }
}

/// A multipart body with the boundary `XX`: name, file name, content.
fn form(fields: &[(&str, Option<&str>, &str)]) -> String {
    let mut body = String::new();
    for (name, filename, content) in fields {
        let filename = filename.map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
        body += &format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n{content}\r\n");
    }
    body + "--XX--\r\n"
}

/// A body that does not say beforehand how long it is.
fn chunked(text: &str, bytes: usize) -> reqwest::Body {
    let pieces: Vec<_> = text.as_bytes().chunks(bytes).map(|piece| std::io::Result::Ok(piece.to_vec())).collect();
    reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
}
