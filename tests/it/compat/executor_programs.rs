//! The distributed executor (family C) as programs use it: the document's own curl lines, and an agent on Node.js.

use std::fs;
use std::io::{Cursor, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::process::{Process, free_address, gangline};
use crate::support::{Reply, Web, eventually, soon};

/// A server that needs no token, and a directory to be in.
struct Open {
    home: TempDir,
    address: SocketAddr,
    server: Process,
}

impl Open {
    /// Without a worker.
    async fn serve() -> Self {
        let (home, address) = (TempDir::new().expect("a directory"), free_address());
        let server = Process::serve(home.path(), address, &["--open"]).await;
        Self { home, address, server }
    }

    /// With one.
    async fn up() -> Self {
        let (home, address) = (TempDir::new().expect("a directory"), free_address());
        let listen = address.to_string();
        let command = gangline(home.path(), &["up", "--open", "--listen", &listen, "--data-dir", "data"]);
        let server = Process::start(command, home.path().join("up.log"));
        let open = Self { home, address, server };
        let web = open.web();
        eventually("the server to have its worker", async || {
            // It does not listen yet at first.
            let asked = web.request("GET", "/api/workers/register").send().await.ok()?;
            (asked.json::<Value>().await.ok()?["workers"][0]["status"] == "idle").then_some(())
        })
        .await;
        open
    }

    fn web(&self) -> Web {
        Web::at(self.address)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, content).expect("a file");
        path
    }

    /// Runs a line of the document in a shell; its `localhost:3000` is this server.
    async fn types(&self, line: &str) -> String {
        let config = format!("silent\nshow-error\nconnect-to = \"localhost:3000:{}\"\nnoproxy = \"*\"\n", self.address);
        self.file(".curlrc", config.as_bytes());
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.home.path()).env("HOME", self.home.path()).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = soon("curl to end", output).await.expect("no panic").expect("a shell");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    async fn answers(&self, line: &str) -> Value {
        let text = self.types(line).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
    }

    async fn over(&self, job: &str) -> Value {
        let web = self.web();
        eventually("the job to be over", async || {
            let status = web.get(&format!("/api/jobs/status?jobId={job}"), "").await.json;
            status["completedAt"].is_u64().then_some(status)
        })
        .await
    }
}

/// A ZIP with these files.
fn packed(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).expect("a name");
        zip.write_all(text.as_bytes()).expect("memory");
    }
    zip.finish().expect("a whole ZIP").into_inner()
}

/// What the document's project may be.
fn project() -> Vec<u8> {
    packed(&[("package.json", r#"{"name": "p", "version": "1.0.0", "scripts": {"test": "echo all tests passed"}}"#)])
}

#[tokio::test]
async fn the_documents_lines_work_as_written() {
    let open = Open::serve().await;
    open.file("project.zip", &project());
    let registered = open
        .answers(
            r#"curl -X POST http://localhost:3000/api/workers/register \
  -H "Content-Type: application/json" \
  -d '{
    "workerId": "worker-abc123",
    "hostname": "my-pc",
    "os": "win32",
    "cpuCount": 4,
    "version": "1.0.0"
  }'"#,
        )
        .await;
    assert_eq!(registered["message"], "Worker worker-abc123 registered successfully");
    let heard = open
        .answers(
            r#"curl -X POST http://localhost:3000/api/workers/heartbeat \
  -H "Content-Type: application/json" \
  -d '{"workerId": "worker-abc123"}'"#,
        )
        .await;
    assert_eq!(heard["success"], true);
    assert_eq!(open.answers("curl http://localhost:3000/api/workers/register").await["count"], 1);
    let created = open
        .answers(
            r#"curl -X POST http://localhost:3000/api/jobs/create \
  -H "Content-Type: application/json" \
  -d '{
    "command": "npm install\nnpm test",
    "fileUrl": "/uploads/project-123456.zip",
    "filename": "project.zip"
  }'"#,
        )
        .await;
    assert_eq!(created["message"], "Job created successfully");
    let job = created["jobId"].as_str().expect("an id");
    let given = open.answers("curl http://localhost:3000/api/jobs/get-job").await;
    assert_eq!(given["job"]["jobId"], job);
    let status = open.answers(&format!(r#"curl "http://localhost:3000/api/jobs/status?jobId={job}""#)).await;
    assert_eq!(status["status"], "running");
    let unknown = open.answers(r#"curl "http://localhost:3000/api/jobs/status?jobId=job-1705329400000-abc123""#).await;
    assert_eq!(unknown["error"], "Job not found");
    let submitted = open
        .answers(&format!(
            r#"curl -X POST http://localhost:3000/api/jobs/submit-result \
  -H "Content-Type: application/json" \
  -d '{{
    "jobId": "{job}",
    "workerId": "worker-abc123",
    "stdout": "Test results...",
    "stderr": "",
    "exitCode": 0
  }}'"#
        ))
        .await;
    assert_eq!(submitted["message"], "Job result submitted successfully");
    assert_eq!(
        open.answers("curl http://localhost:3000/api/jobs/create").await["jobs"][0]["stdout"],
        "Test results..."
    );
    let executed = open
        .answers(
            r#"curl -X POST http://localhost:3000/api/execute \
  -F "file=@project.zip" \
  -F "commands=npm install\nnpm test" \
  -F "mode=distributed""#,
        )
        .await;
    let job = executed["jobId"].as_str().expect("an id");
    assert_eq!(
        executed,
        json!({"success": true, "jobId": job, "mode": "distributed",
            "message": "Job created. Waiting for idle worker to pick it up.",
            "checkStatusUrl": format!("/api/jobs/status?jobId={job}")})
    );
    let given = open.answers("curl http://localhost:3000/api/jobs/get-job").await["job"].clone();
    assert_eq!((&given["command"], &given["filename"]), (&json!("npm install\nnpm test"), &json!("project.zip")));
    open.types(&format!("curl -o fetched.zip http://localhost:3000{}", given["fileUrl"].as_str().expect("a path")))
        .await;
    assert_eq!(fs::read(open.home.path().join("fetched.zip")).expect("it is there"), project());
    let failed = open
        .answers(&format!(
            r#"curl -X PUT http://localhost:3000/api/jobs/submit-result \
  -H "Content-Type: application/json" \
  -d '{{
    "jobId": "{job}",
    "workerId": "worker-abc123",
    "errorMessage": "Network timeout"
  }}'"#
        ))
        .await;
    assert_eq!(failed["message"], "Job failure recorded successfully");
    let direct = r#"curl -X POST http://localhost:3000/api/execute -F "file=@project.zip" -F "commands=ls""#;
    assert_eq!(open.answers(direct).await["statusCode"], 503, "this server has no worker of its own");
}

#[tokio::test]
async fn commands_run_on_the_server_itself_and_are_watched() {
    let open = Open::up().await;
    open.file("project.zip", &project());
    let told = open
        .types(
            r#"curl -i -X POST http://localhost:3000/api/execute \
  -F "file=@project.zip" \
  -F "commands=npm install\nnpm test" \
  -F "mode=direct""#,
        )
        .await;
    let (head, body) = told.split_once("\r\n\r\n").expect("a head and a body");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("200 ok") && head.contains("content-type: text/event-stream"), "{head}");
    let job = head.lines().find_map(|line| line.strip_prefix("x-exec-id: ")).expect("it names the job");
    assert!(body.contains("all tests passed"), "{body}");
    assert!(body.contains("event: output") && body.contains("event: end") && body.contains("id: 1-1"), "{body}");
    let status = open.over(job).await;
    assert_eq!((&status["status"], &status["exitCode"]), (&json!("completed"), &json!(0)));
    // Direct is what is meant where nothing is said, and a part without a file is none.
    let form = open.types(r#"curl -X POST http://localhost:3000/api/execute -F "file=@project.zip" -F "commands=ls""#);
    assert!(form.await.contains("package.json"));
    for (line, said) in [
        (r#"-F "file=@project.zip""#, "file and commands are required"),
        (r#"-F "commands=ls""#, "file and commands are required"),
        (r#"-F "file=@project.zip" -F "commands=ls" -F "mode=elsewhere""#, "mode"),
        (r#"-F "file=@project.zip" -F "file=@project.zip" -F "commands=ls""#, "file is there twice"),
        (r#"-d "commands=ls""#, "multipart/form-data"),
        (r#"-H "Content-Type: multipart/form-data" -d "x""#, "boundary"),
    ] {
        let refused = open.answers(&format!("curl -X POST http://localhost:3000/api/execute {line}")).await;
        let error = refused["error"].as_str().expect("words");
        assert!(error.contains(said), "{line}: {error}");
    }
}

#[tokio::test]
async fn a_zip_that_means_harm_is_refused_by_the_worker() {
    let open = Open::up().await;
    let symlink = {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.add_symlink("out", "/etc", SimpleFileOptions::default()).expect("a link");
        zip.finish().expect("a whole ZIP").into_inner()
    };
    for (name, content, said) in [
        ("slip.zip", packed(&[("../../slipped", "x")]), "leads out"),
        ("absolute.zip", packed(&[("/tmp/slipped", "x")]), "leads out"),
        ("link.zip", symlink, "symbolic link"),
        ("none.zip", b"PK no zip at all".to_vec(), "no ZIP"),
    ] {
        open.file(name, &content);
        let line = format!(
            r#"curl -X POST http://localhost:3000/api/execute -F "file=@{name}" -F "commands=ls" -F "mode=distributed""#
        );
        let job = open.answers(&line).await["jobId"].as_str().expect("an id").to_owned();
        let status = open.over(&job).await;
        assert_eq!(status["status"], "failed", "{name}");
        let error = status["errorMessage"].as_str().expect("words");
        assert!(error.contains(said), "{name}: {error}");
    }
}

#[tokio::test]
async fn two_agents_on_node_share_the_work_from_one_address() {
    let open = Open::serve().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/polling-agent.mjs");
    let agent = |id: &str| {
        let mut command = Command::new("node");
        command.arg(&script).env("SERVER", format!("http://{}", open.address)).env("WORKER_ID", id);
        command.env("POLL_MS", "50").env("NO_PROXY", "*").stdin(Stdio::null()).stdout(Stdio::null());
        Process::start(command, open.home.path().join(format!("{id}.log")))
    };
    let _agents = [agent("node-a"), agent("node-b")];
    let web = open.web();
    eventually("both to register", async || {
        (web.get("/api/workers/register", "").await.json["count"] == 2).then_some(())
    })
    .await;
    open.file("project.zip", &packed(&[("input.txt", "from the archive\n")]));
    let mut jobs = Vec::new();
    for (commands, status, code) in [
        ("cat input.txt\\necho done", "completed", 0),
        ("echo half && exit 3", "failed", 3),
        ("cat input.txt >&2", "completed", 0),
        ("cat input.txt", "completed", 0),
    ] {
        let line = format!(
            r#"curl -X POST http://localhost:3000/api/execute -F "file=@project.zip" -F "commands={commands}" -F "mode=distributed""#
        );
        let job = open.answers(&line).await["jobId"].as_str().expect("an id").to_owned();
        jobs.push((job, status, code));
    }
    for (job, status, code) in &jobs {
        let over = open.over(job).await;
        assert_eq!((&over["status"], &over["exitCode"]), (&json!(status), &json!(code)), "{over}");
    }
    assert_eq!(open.over(&jobs[0].0).await["stdout"], "from the archive\ndone\n");
    assert_eq!(open.over(&jobs[1].0).await["stdout"], "half\n", "its output is kept");
    assert_eq!(open.over(&jobs[2].0).await["stderr"], "from the archive\n");
    let missing = json!({"command": "ls", "fileUrl": "/uploads/nothing.zip", "filename": "nothing.zip"});
    let job = web.post("/api/jobs/create", "", missing).await.json["jobId"].as_str().expect("an id").to_owned();
    let over = open.over(&job).await;
    assert!(over["errorMessage"].as_str().expect("words").contains("File download failed"), "{over}");
}

#[tokio::test]
async fn the_registry_survives_a_restart() {
    let mut open = Open::serve().await;
    let register = json!({"workerId": "w", "hostname": "h"});
    assert_eq!(open.web().post("/api/workers/register", "", register).await.status, 200);
    let job = json!({"command": "ls", "fileUrl": "/uploads/a.zip", "filename": "a.zip"});
    let job = open.web().post("/api/jobs/create", "", job).await.json["jobId"].clone();
    assert_eq!(open.web().get("/api/jobs/get-job", "").await.json["job"]["jobId"], job);

    open.server.kill();
    open.server = Process::serve(open.home.path(), open.address, &["--open"]).await;
    let web = open.web();
    assert_eq!(web.get("/api/workers/register", "").await.json["workers"][0]["status"], "busy");
    let heard = web.post("/api/workers/heartbeat", "", json!({"workerId": "w"})).await;
    assert_eq!(heard.status, 200, "{}", heard.text);
    let result = json!({"jobId": job, "workerId": "w", "stdout": "still there", "exitCode": 0});
    let reply: Reply = web.post("/api/jobs/submit-result", "", result).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let job = job.as_str().expect("an id");
    assert_eq!(open.over(job).await["stdout"], "still there");
}
