//! Containers, in a real engine: `jobs` with an image, `services`, which are more than jobs, and `programs` inside those.

mod jobs;
mod programs;
mod services;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::engine::TestEngine;
use crate::support::process::Process;
use crate::support::{Peer, TestServer, engine, eventually};

/// A dispatcher, a worker process with the engine, and somebody who gives it jobs.
struct Site {
    server: TestServer,
    user: Peer,
    worker: Process,
    id: String,
    home: TempDir,
}

/// What came of a job.
#[derive(Debug)]
struct Outcome {
    stdout: String,
    stderr: String,
    end: Value,
}

impl Site {
    async fn start() -> Self {
        Self::with(engine::address(), &[]).await
    }

    /// With a worker of these flags, and the engine at `address`.
    async fn with(address: &str, more: &[&str]) -> Self {
        Self::on(TestServer::start().await, address, more).await
    }

    /// With this dispatcher.
    async fn on(server: TestServer, address: &str, more: &[&str]) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        std::fs::create_dir(home.path().join("data")).expect("a directory");
        std::fs::write(home.path().join("data/worker.token"), server.worker_token()).expect("a token file");
        let id = format!("w-{}", uuid::Uuid::new_v4().simple());
        let worker = worker(&home, &server, &id, address, more);
        let user = server.admin().await;
        let mut site = Self { server, user, worker, id, home };
        site.worker_is_there().await;
        site
    }

    /// SIGKILL for the worker, and a new one in its place.
    async fn restart_worker(&mut self, address: &str) {
        self.worker.kill();
        self.start_worker(address);
        self.worker_is_there().await;
    }

    /// A new worker in the place of one that is gone.
    fn start_worker(&mut self, address: &str) {
        self.worker = worker(&self.home, &self.server, &self.id, address, &[]);
    }

    async fn worker_is_there(&mut self) {
        let get = json!({"opt": "get", "workerId": self.id});
        eventually("the worker to be there", async || {
            let reply = self.user.ask("worker", &get).await;
            let status = &reply["data"]["worker"]["status"];
            (status == "idle" || status == "busy").then_some(())
        })
        .await;
    }

    /// Submits, and follows to the end.
    async fn run(&mut self, spec: Value) -> Outcome {
        self.begin(spec).await;
        self.outcome().await
    }

    /// Submits and follows; returns the job's id.
    async fn begin(&mut self, mut spec: Value) -> String {
        spec["image"] = spec.get("image").cloned().unwrap_or(json!(engine::IMAGE));
        self.user.submit(&spec).await["jobId"].as_str().expect("a job id").to_owned()
    }

    /// What the followed job says up to its end.
    async fn outcome(&mut self) -> Outcome {
        let mut outcome = Outcome { stdout: String::new(), stderr: String::new(), end: Value::Null };
        loop {
            let data = self.user.next().await["data"].clone();
            match data["opt"].as_str() {
                Some("output") => outcome.take(&data),
                Some("end") => {
                    outcome.end = data;
                    return outcome;
                }
                _ => (),
            }
        }
    }

    /// Waits for output of the followed job that contains `wanted`.
    async fn until_said(&mut self, wanted: &str) {
        let mut said = String::new();
        while !said.contains(wanted) {
            let data = self.user.until("job", "output").await;
            said.push_str(data["text"].as_str().unwrap_or_default());
        }
    }

    /// Containers of this worker, running or not.
    fn containers(&self) -> String {
        engine::docker(&["ps", "-aq", "--filter", &format!("label=gangline.worker={}", self.id)])
    }
}

impl Outcome {
    fn take(&mut self, output: &Value) {
        let text = output["text"].as_str().unwrap_or_default();
        match output["stream"].as_str() {
            Some("stdout") => self.stdout.push_str(text),
            _ => self.stderr.push_str(text),
        }
    }

    fn reason(&self) -> (&str, Option<i64>) {
        (self.end["reason"].as_str().unwrap_or_default(), self.end["exitCode"].as_i64())
    }

    fn message(&self) -> &str {
        self.end["errorMessage"].as_str().unwrap_or_default()
    }
}

/// An engine whose containers are run by this script, which is in `dir`, instead of runc.
fn run_by(script: &str, dir: &TempDir) -> TestEngine {
    let runtime = dir.path().join("runtime");
    std::fs::write(&runtime, script).expect("a script");
    std::fs::set_permissions(&runtime, Permissions::from_mode(0o755)).expect("a program");
    let flag = format!("scripted={}", runtime.display());
    TestEngine::with(&["--add-runtime", &flag, "--default-runtime", "scripted"])
}

/// Does something to an engine that takes its time.
async fn apart(mut engine: TestEngine, act: impl FnOnce(&mut TestEngine) + Send + 'static) -> TestEngine {
    let act = move || {
        act(&mut engine);
        engine
    };
    tokio::task::spawn_blocking(act).await.expect("no panic")
}

fn worker(home: &TempDir, server: &TestServer, id: &str, address: &str, more: &[&str]) -> Process {
    let mut flags = vec!["--container-engine", address];
    flags.extend(more);
    Process::worker_with(home.path(), server.address, id, 8, &flags)
}
