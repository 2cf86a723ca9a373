//! Files and finished logs of several dispatchers on one Redis: in a bucket of S3, in a directory that
//! they share, and on the disk of one of them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process::{Process, admin, free_address, gangline, token};
use crate::support::{Peer, eventually, moto, redis};

/// 300 KB that compress badly enough for several segments, the same at every run.
const NOISE: &str = "seq 1 60000; echo late >&2";

/// What [`NOISE`] writes to standard output.
fn noise() -> String {
    (1..=60_000).map(|number| format!("{number}\n")).collect()
}

/// Some dispatchers and a worker at the first of them.
struct Site {
    dispatchers: Vec<Dispatcher>,
    worker: Option<Process>,
    prefix: String,
    more: Vec<String>,
    env: Vec<(&'static str, String)>,
    http: reqwest::Client,
    home: TempDir,
}

struct Dispatcher {
    address: SocketAddr,
    home: PathBuf,
    process: Process,
}

impl Site {
    /// So many dispatchers, each with a directory of its own, that were told `more`.
    async fn start(count: usize, more: &[String], env: &[(&'static str, String)]) -> Self {
        let home = TempDir::new().unwrap();
        let prefix = home.path().file_name().unwrap().to_string_lossy().into_owned();
        // Nobody else in this process has said yet which cryptography is meant.
        gangline::base::tls::provider();
        let http = reqwest::Client::builder().no_proxy().timeout(crate::support::SOON).build().unwrap();
        let (more, env) = (more.to_vec(), env.to_vec());
        let mut site = Self { dispatchers: Vec::new(), worker: None, prefix, more, env, http, home };
        for index in 0..count {
            let dispatcher = site.dispatcher(&site.home.path().join(index.to_string()), free_address()).await;
            site.dispatchers.push(dispatcher);
        }
        let first = &site.dispatchers[0];
        site.worker = Some(Process::worker(&first.home, first.address, "w", 2));
        site
    }

    async fn dispatcher(&self, home: &Path, address: SocketAddr) -> Dispatcher {
        std::fs::create_dir_all(home).unwrap();
        let listen = address.to_string();
        let mut args = vec!["serve", "--data-dir", "data", "--listen", &listen, "--archive-after", "0s"];
        let url = redis::url();
        args.extend(["--redis", &url, "--redis-prefix", &self.prefix]);
        args.extend(self.more.iter().map(String::as_str));
        let mut command: Command = gangline(home, &args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let process = Process::start(command, home.join("serve.log"));
        eventually("the dispatcher to say hello", async || Peer::dial(address, &[]).await.ok()).await;
        Dispatcher { address, home: home.to_owned(), process }
    }

    async fn admin(&self, index: usize) -> Peer {
        let Dispatcher { home, address, .. } = &self.dispatchers[index];
        admin(home, *address).await
    }

    fn request(&self, index: usize, method: Method, path: &str) -> RequestBuilder {
        let Dispatcher { home, address, .. } = &self.dispatchers[index];
        self.http.request(method, format!("http://{address}{path}")).bearer_auth(token(home, "admin.token"))
    }

    fn get(&self, index: usize, path: &str) -> RequestBuilder {
        self.request(index, Method::GET, path)
    }

    async fn text(&self, index: usize, path: &str) -> String {
        let reply = self.get(index, path).send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK, "{path} at {index}");
        reply.text().await.unwrap()
    }

    async fn text_if_ok(&self, index: usize, path: &str) -> Option<String> {
        let reply = self.get(index, path).send().await.ok()?;
        if reply.status() == StatusCode::OK { reply.text().await.ok() } else { None }
    }

    /// Kills a dispatcher, and starts it again where it was.
    async fn restart(&mut self, index: usize) {
        self.dispatchers[index].process.kill();
        let Dispatcher { address, home, .. } = &self.dispatchers[index];
        self.dispatchers[index] = self.dispatcher(&home.clone(), *address).await;
    }

    /// Waits until the worker is at the first dispatcher: it takes its time to come back where that was killed.
    async fn worker_is_there(&self) {
        let mut peer = self.admin(0).await;
        eventually("the worker to be there", async || {
            let list = peer.get("worker", &json!({"opt": "list"}), "workers").await;
            list["workers"][0]["connectedAt"].as_u64()
        })
        .await;
    }

    /// Runs a job to its end.
    async fn run(&self, spec: &Value) -> String {
        let mut peer = self.admin(0).await;
        let job = peer.queue(spec).await;
        peer.job_is(&job, "completed").await;
        job
    }

    /// Waits until no finished log is left in Redis but those that are packed with their record.
    async fn archived(&self) {
        let mut redis = Redis::connect().await;
        let finished = format!("{}:{{0}}:finished", self.prefix);
        let count = async || (redis.ask(&["ZCARD", &finished]).await == 0).then_some(());
        eventually("finished logs to leave Redis", count).await;
    }

    /// Uploads, artifacts and a finished log are the same at every dispatcher.
    async fn everything_is_everywhere(&self) {
        let upload = self.request(0, Method::POST, "/api/uploads?filename=in.txt").body(noise());
        let upload: Value = upload.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
        let spec = json!({"command": format!("{NOISE}; echo made > out.txt"), "artifacts": ["*.txt"], "follow": false});
        let job = self.run(&spec).await;
        let log = self.log(0, &job).await;
        self.archived().await;
        for index in 0..self.dispatchers.len() {
            assert_eq!(self.text(index, upload["fileUrl"].as_str().unwrap()).await, noise());
            assert_eq!(self.text(index, &format!("/api/jobs/{job}/output")).await, noise());
            assert_eq!(self.text(index, &format!("/api/jobs/{job}/output?stream=stderr")).await, "late\n");
            for (range, expected) in
                [("bytes=200000-200009", 200_000..200_010), ("bytes=-7", noise().len() - 7..noise().len())]
            {
                let part = self.get(index, &format!("/api/jobs/{job}/output")).header(header::RANGE, range);
                let part = part.send().await.unwrap();
                assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
                assert_eq!(part.text().await.unwrap(), noise()[expected]);
            }
            let artifacts = self.text(index, &format!("/api/jobs/{job}/artifacts")).await;
            assert!(artifacts.contains(r#""path":"out.txt""#), "{artifacts}");
            assert_eq!(self.text(index, &format!("/api/jobs/{job}/artifacts/out.txt")).await, "made\n");
            // The log has the same entries under the same cursors as before, from any of them on.
            assert_eq!(self.log(index, &job).await, log);
            let mut peer = self.admin(index).await;
            let (at, _) = &log[log.len() / 2];
            peer.follow(&job, at).await;
            assert_eq!(peer.log().await, log[log.len() / 2 + 1..]);
        }
    }

    /// All entries of a finished job.
    async fn log(&self, index: usize, job: &str) -> Vec<(String, String)> {
        let mut peer = self.admin(index).await;
        peer.follow(job, "0").await;
        peer.log().await
    }
}

/// A connection to Redis for a question in its own words.
struct Redis(tokio::net::TcpStream);

impl Redis {
    async fn connect() -> Self {
        let url = redis::url();
        let address = url.strip_prefix("redis://").expect("its scheme");
        Self(tokio::net::TcpStream::connect(address).await.expect("it listens"))
    }

    /// The answer to a command that answers with a number.
    async fn ask(&mut self, words: &[&str]) -> i64 {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let line = format!("{}\r\n", words.join(" "));
        self.0.write_all(line.as_bytes()).await.expect("it takes a command");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            answer.push(self.0.read_u8().await.expect("it answers"));
        }
        let answer = String::from_utf8(answer).expect("text");
        answer.trim().trim_start_matches(':').parse().unwrap_or_else(|_| panic!("{words:?} was answered {answer:?}"))
    }
}

#[tokio::test]
async fn a_bucket_holds_files_and_finished_logs() {
    let env = moto::bucket("files");
    let site = Site::start(2, &["--blobs".to_owned(), "s3://files/some/prefix".to_owned()], &env).await;
    site.everything_is_everywhere().await;
    // Larger than a part of an upload.
    let large = "0123456789abcdef".repeat(1_300_000);
    let upload = site.request(0, Method::POST, "/api/uploads?filename=large").body(large.clone());
    let upload: Value = upload.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let path = upload["fileUrl"].as_str().unwrap();
    let part = site.get(1, path).header(header::RANGE, "bytes=8388600-8388615").send().await.unwrap();
    assert_eq!(part.text().await.unwrap(), large[8_388_600..=8_388_615]);
    assert!(site.text(1, path).await == large);
}

#[tokio::test]
async fn a_bucket_that_cannot_be_had_is_said_at_the_start() {
    let home = TempDir::new().unwrap();
    let mut command = gangline(home.path(), &["serve", "--listen", "127.0.0.1:0", "--blobs", "s3://nowhere"]);
    command.envs(moto::bucket("somewhere"));
    command.env("AWS_ENDPOINT_URL", format!("http://{}", free_address()));
    let ended = crate::support::process::run(command).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("files cannot be kept in s3://nowhere"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_shared_directory_outlives_the_dispatcher_that_wrote() {
    let dir = TempDir::new().unwrap();
    let mut site = Site::start(2, &["--blobs".to_owned(), format!("file://{}", dir.path().display())], &[]).await;
    site.everything_is_everywhere().await;
    let job = site.run(&json!({"command": NOISE, "follow": false})).await;
    site.archived().await;
    site.dispatchers[0].process.kill();
    assert_eq!(site.text(1, &format!("/api/jobs/{job}/output")).await, noise());
}

#[tokio::test]
async fn what_is_on_one_disk_is_served_by_all() {
    let mut site = Site::start(3, &[], &[]).await;
    site.everything_is_everywhere().await;
    assert!(site.dispatchers[1].process.words().contains("on this machine's disk"));

    // One that is away takes its files along, and brings them back. Meanwhile nobody claims that they never were.
    let job = site
        .run(&json!({"command": format!("{NOISE}; echo made > out.txt"), "artifacts": ["*.txt"], "follow": false}))
        .await;
    site.archived().await;
    let log = format!("/api/jobs/{job}/output");
    let holder = (0..3).find(|index| holds(&site.dispatchers[*index].home, &job)).expect("one has the log");
    let other = (holder + 1) % 3;
    site.dispatchers[holder].process.kill();
    let away = site.get(other, &log).send().await.unwrap();
    assert_eq!(away.status(), StatusCode::SERVICE_UNAVAILABLE);
    site.restart(holder).await;
    let back = async || (site.text_if_ok(other, &log).await? == noise()).then_some(());
    eventually("the log to be there again", back).await;
}

/// Whether a dispatcher has the log of a job on its disk.
fn holds(home: &Path, job: &str) -> bool {
    home.join("data/blobs/logs").join(job).exists()
}

#[tokio::test]
async fn what_dispatchers_fetch_from_each_other_is_for_nobody_else() {
    let site = Site::start(1, &[], &[]).await;
    let job = site.run(&json!({"command": NOISE, "follow": false})).await;
    site.archived().await;
    assert!(holds(&site.dispatchers[0].home, &job));
    for path in [format!("/internal/files/logs/{job}"), "/internal/files?below=logs".to_owned()] {
        for token in ["", "Bearer x", "Dispatcher ", "Dispatcher 0000"] {
            let address = site.dispatchers[0].address;
            let reply = site
                .http
                .get(format!("http://{address}{path}"))
                .header(header::AUTHORIZATION, token)
                .send()
                .await
                .unwrap();
            assert_eq!(reply.status(), StatusCode::NOT_FOUND, "{path} {token}");
        }
        assert_eq!(
            site.get(0, &path).send().await.unwrap().status(),
            StatusCode::NOT_FOUND,
            "an administrator's token"
        );
    }
}

#[tokio::test]
async fn nothing_is_lost_when_who_moves_logs_is_killed_again_and_again() {
    let dir = TempDir::new().unwrap();
    let mut site = Site::start(2, &["--blobs".to_owned(), format!("file://{}", dir.path().display())], &[]).await;
    let mut peer = site.admin(1).await;
    let mut jobs = Vec::new();
    for _ in 0..30 {
        jobs.push(peer.queue(&json!({"command": NOISE, "follow": false})).await);
    }
    for round in 1..=3 {
        site.worker_is_there().await;
        peer.job_is(&jobs[round * 9], "completed").await;
        site.restart(0).await;
    }
    site.worker_is_there().await;
    for job in &jobs {
        peer.job_is(job, "completed").await;
    }
    site.archived().await;
    for job in &jobs {
        let log = site.log(0, job).await;
        let text: String = log.iter().filter_map(|(_, entry)| entry.strip_prefix("stdout:")).collect();
        assert!(text == noise(), "{job}");
        for pair in log.windows(2) {
            let n = |at: &str| at.split_once('-').unwrap().1.parse::<u64>().unwrap();
            assert_eq!(n(&pair[0].0) + 1, n(&pair[1].0), "{job}");
        }
    }
}

#[tokio::test]
async fn removed_jobs_leave_no_files() {
    let dir = TempDir::new().unwrap();
    let more =
        ["--blobs".to_owned(), format!("file://{}", dir.path().display()), "--limits-retention-jobs=0".to_owned()];
    let site = Site::start(2, &more, &[]).await;
    let mut peer = site.admin(0).await;
    let spec = json!({"command": format!("{NOISE}; echo made > out.txt"), "artifacts": ["*.txt"], "follow": false});
    peer.queue(&spec).await;
    // A directory that was listed a moment ago may be gone.
    let is_gone = |error: &walkdir::Error| error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound);
    let files = || {
        let entries = walkdir::WalkDir::new(dir.path()).into_iter();
        let there = entries.filter(|entry| !entry.as_ref().is_err_and(is_gone));
        there.filter(|entry| entry.as_ref().unwrap().file_type().is_file()).count()
    };
    eventually("the artifact", async || (files() > 0).then_some(())).await;
    eventually("the files to go", async || (files() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_slow_follower_sees_no_gap_while_the_log_is_moved() {
    let dir = TempDir::new().unwrap();
    let site = Site::start(1, &["--blobs".to_owned(), format!("file://{}", dir.path().display())], &[]).await;
    let mut peer = site.admin(0).await;
    let job = peer.queue(&json!({"command": "seq 1 1000000", "follow": false})).await;
    let Dispatcher { address, home, .. } = &site.dispatchers[0];
    let mut slow = Peer::holding_little(*address, &token(home, "admin.token")).await;
    slow.follow(&job, "0").await;
    peer.job_is(&job, "completed").await;
    site.archived().await;
    let text: String = slow.log().await.iter().filter_map(|(_, entry)| entry.strip_prefix("stdout:")).collect();
    let expected: String = (1..=1_000_000).map(|number| format!("{number}\n")).collect();
    assert!(text == expected);
}
