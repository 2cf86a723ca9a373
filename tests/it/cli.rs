//! The binary as people use it: real processes, real pipes, real signals.

mod containers;
mod stats;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::process::free_address;

/// Far beyond what any step takes, so that a defect shows as a failure and not as a hang.
const WITHIN: Duration = Duration::from_secs(60);

/// A home of its own, in which nothing of this machine's settings is seen.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// `gangline` with `args`, all three streams piped.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gangline"));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.0.path())
            .env("GANGLINE_DATA_DIR", self.data())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// A running `gangline up`.
struct Up {
    home: Home,
    url: String,
    process: Child,
}

impl Up {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(flags: &[&str]) -> Self {
        Self::start_at(IpAddr::V4(Ipv4Addr::LOCALHOST), flags).await
    }

    async fn start_at(ip: IpAddr, flags: &[&str]) -> Self {
        let home = Home::new();
        let listen = SocketAddr::new(ip, 0).to_string();
        let command = home.command(&[&["up", "--listen", &listen], flags].concat());
        Self::start_given(home, command).await
    }

    async fn start_given(home: Home, mut command: Command) -> Self {
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = loop {
            let line = timeout(WITHIN, lines.next_line()).await.unwrap().unwrap().expect("`up` ended");
            if let Some((_, rest)) = line.split_once("up at http://") {
                let address = rest.split([';', ',']).next().unwrap();
                break format!("ws://{address}/ws");
            }
        };
        // Read on, so that `up` never writes into a pipe that nobody holds.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { home, url, process }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.home.command(args);
        command.env("GANGLINE_URL", &self.url);
        command
    }

    async fn call(&self, args: &[&str]) -> Output {
        output(self.command(args)).await
    }

    /// What a command that succeeds writes.
    async fn text(&self, args: &[&str]) -> String {
        let output = self.call(args).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The record of a job.
    async fn show(&self, job: &str) -> Value {
        serde_json::from_str(&self.text(&["show", job, "--json"]).await).unwrap()
    }

    /// Waits until a job would begin at once.
    async fn has_a_worker(&self) {
        while !self.text(&["workers"]).await.contains("idle") {}
    }

    async fn end(mut self) {
        signal(&self.process, Signal::SIGTERM);
        let status = timeout(WITHIN, self.process.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
}

async fn output(mut command: Command) -> Output {
    timeout(WITHIN, command.output()).await.expect("the command hangs").unwrap()
}

fn signal(process: &Child, signal: Signal) {
    let pid = i32::try_from(process.id().expect("it runs")).unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Starts `run` with a script that says `ready` when it runs, and waits for that word.
async fn run_until_ready(up: &Up, args: &[&str]) -> (Child, BufReader<tokio::process::ChildStdout>) {
    let mut run = up.command(&[&["run"], args].concat()).spawn().unwrap();
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    timeout(WITHIN, stdout.read_line(&mut line)).await.unwrap().unwrap();
    assert_eq!(line, "ready\n");
    (run, stdout)
}

async fn status(mut run: Child) -> Option<i32> {
    timeout(WITHIN, run.wait()).await.expect("`run` hangs").unwrap().code()
}

#[tokio::test]
async fn a_run_gives_every_byte_where_the_program_wrote_it() {
    let up = Up::start().await;
    up.has_a_worker().await;
    let script = r"printf 'a\r\n\n\033[1m\303\251'; printf 'e\tr\n' >&2; printf '\377\000\376'";
    let run = up.call(&["run", script]).await;
    assert_eq!(run.stdout, b"a\r\n\n\x1b[1m\xc3\xa9\xff\x00\xfe");
    assert_eq!(run.stderr, b"e\tr\n");
    assert_eq!(run.status.code(), Some(0));

    // Several words are a program and its arguments, which no shell touches.
    let run = up.call(&["run", "--", "printf", "%s|", "a b", "$HOME", "*"]).await;
    assert_eq!(run.stdout, b"a b|$HOME|*|");
    up.end().await;
}

/// The address by which this machine would reach others. No packet is sent.
fn own_address() -> std::io::Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect("192.0.2.1:9")?;
    Ok(socket.local_addr()?.ip())
}

#[tokio::test]
async fn up_and_its_clients_find_their_tokens_at_any_address_of_this_machine() {
    // A machine without a network has no other address than this one.
    let ip = own_address().unwrap_or(Ipv4Addr::LOCALHOST.into());
    let up = Up::start_at(ip, &[]).await;
    assert_eq!(up.call(&["run", "--", "echo", "hi"]).await.stdout, b"hi\n");
    up.end().await;
}

#[tokio::test]
async fn a_run_exits_as_its_job_did() {
    let up = Up::start().await;
    let cases: [(&[&str], i32); 6] = [
        (&["exit 7"], 7),
        (&["kill -TERM $$"], 143),
        (&["--timeout", "1s", "--grace", "1s", "--", "sleep", "60"], 124),
        (&["--worker", "nobody", "--queue-timeout", "1s", "--", "true"], 124),
        (&["--cwd", "../..", "--", "true"], 125),
        (&["--token", "wrong", "--", "true"], 125),
    ];
    for (args, expected) in cases {
        let run = up.call(&[&["run"], args].concat()).await;
        assert_eq!(run.status.code(), Some(expected), "{args:?}: {}", String::from_utf8_lossy(&run.stderr));
    }
    let job = up.text(&["run", "--detach", "exit 5"]).await;
    let waited = up.call(&["wait", job.trim()]).await;
    assert_eq!((waited.status.code(), waited.stdout), (Some(5), Vec::new()));
    // And once more, now that it has long been over.
    assert_eq!(up.call(&["wait", job.trim()]).await.status.code(), Some(5));
    assert_eq!(up.call(&["wait", "job-9-00000000"]).await.status.code(), Some(125));
    up.end().await;
}

#[tokio::test]
async fn without_a_token_everything_fails_at_once_and_says_where_one_was_looked_for() {
    let up = Up::start().await;
    let began = std::time::Instant::now();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["ps"], 1, "other/admin.token"),
        (&["run", "--", "true"], 125, "other/admin.token"),
        (&["wait", "1"], 1, "other/admin.token"),
        (&["artifacts", "job-1-00000000"], 1, "other/admin.token"),
        (&["worker"], 1, "other/worker.token"),
    ];
    for (args, status, sought) in cases {
        let failed = up.call(&[&["--data-dir", "other"], args].concat()).await;
        let words = String::from_utf8_lossy(&failed.stderr);
        assert_eq!(failed.status.code(), Some(status), "{args:?}: {words}");
        for word in ["no token", "--token-file", "GANGLINE_TOKEN_FILE", sought] {
            assert!(words.contains(word), "{args:?}: {word:?} is missing in {words}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(10), "none waited for the dispatcher to lose patience");
    up.end().await;
}

#[tokio::test]
async fn nobody_there_is_tried_for_ten_seconds_by_run_and_once_by_others() {
    let home = Home::new();
    let began = std::time::Instant::now();
    let mut said = std::collections::BTreeSet::new();
    for args in [
        &["ps"][..],
        &["artifacts", "job-1-00000000"],
        &["bench", "stream"],
        &["container", "attach", "web"],
        &["container", "stats", "web"],
        &["container", "exec", "web", "--", "true"],
    ] {
        let failed = output(home.command(&[&["--url", "ws://127.0.0.1:1", "--json"], args].concat())).await;
        assert_eq!(failed.status.code(), Some(1), "{args:?}");
        let error: Value = serde_json::from_slice(&failed.stderr).unwrap();
        assert_eq!(error["error"]["code"], "unreachable", "{args:?}");
        said.insert(error["error"]["message"].as_str().unwrap().to_owned());
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(said.len(), 1, "all say it in the same words: {said:?}");
    assert_eq!(said.first().unwrap().matches("refused").count(), 1, "{said:?}");

    let wait = output(home.command(&["wait", "1", "--url", "ws://127.0.0.1:1"])).await;
    assert_eq!(wait.status.code(), Some(1), "125 is a dispatcher's refusal");

    let began = std::time::Instant::now();
    let run = output(home.command(&["run", "--url", "ws://127.0.0.1:1", "--", "true"])).await;
    assert_eq!(run.status.code(), Some(125));
    assert!(began.elapsed() >= Duration::from_secs(10));
}

#[tokio::test]
async fn after_a_cursor_that_never_was_comes_nothing_and_that_is_said() {
    let up = Up::start().await;
    up.text(&["run", "--", "echo", "hi"]).await;
    for follow in [&["logs", "--after", "9-9", "1"][..], &["logs", "-f", "--after", "9-9", "1"]] {
        let logs = up.call(follow).await;
        assert_eq!((logs.status.code(), logs.stdout), (Some(0), Vec::new()));
        let words = String::from_utf8(logs.stderr).unwrap();
        assert!(words.contains("9-9 lies past the newest entry, 1-2"), "{words}");
    }
    let last = up.call(&["logs", "--after", "1-2", "1"]).await;
    assert_eq!((last.status.code(), last.stderr), (Some(0), Vec::new()), "the newest itself is where one goes on");
    up.end().await;
}

#[tokio::test]
async fn ctrl_c_cancels_the_job_and_a_second_one_leaves_it() {
    let up = Up::start().await;
    let (run, _stdout) = run_until_ready(&up, &["echo ready; sleep 60"]).await;
    signal(&run, Signal::SIGINT);
    assert_eq!(status(run).await, Some(130));
    assert_eq!(up.show("1").await["status"], "cancelled");

    // It says that it heard, and goes on: only a second Ctrl-C gets the prompt back.
    // The numbers are there before it is ready: a signal that met `seq` would leave none of them.
    let stubborn = "trap 'echo heard' TERM; n=$(seq 300); echo ready; for i in $n; do sleep 0.1; done";
    let (mut run, mut stdout) = run_until_ready(&up, &["--grace", "60s", stubborn]).await;
    signal(&run, Signal::SIGINT);
    let mut line = String::new();
    timeout(WITHIN, stdout.read_line(&mut line)).await.unwrap().unwrap();
    assert_eq!(line, "heard\n");
    signal(&run, Signal::SIGINT);
    let mut stderr = run.stderr.take().unwrap();
    assert_eq!(status(run).await, Some(130));
    let mut words = String::new();
    stderr.read_to_string(&mut words).await.unwrap();
    assert!(words.contains("gangline logs -f job-2-"), "{words}");
    assert_eq!(up.show("2").await["status"], "running");
}

#[tokio::test]
async fn one_signal_is_enough_where_the_jobs_end_never_comes() {
    let up = Up::start().await;
    let (mut run, _stdout) = run_until_ready(&up, &["--grace", "1s", "echo ready; sleep 60"]).await;
    signal(&up.process, Signal::SIGSTOP);
    signal(&run, Signal::SIGTERM);
    let mut stderr = run.stderr.take().unwrap();
    assert_eq!(timeout(Duration::from_secs(20), run.wait()).await.expect("it leaves").unwrap().code(), Some(130));
    let mut words = String::new();
    stderr.read_to_string(&mut words).await.unwrap();
    assert!(words.contains("goes on; gangline logs -f job-1-"), "{words}");
    signal(&up.process, Signal::SIGCONT);
    // The first cancel may have arrived by now; then this one is refused.
    up.call(&["cancel", "1"]).await;
    assert_eq!(up.call(&["wait", "1"]).await.status.code(), Some(130));
    up.end().await;
}

#[tokio::test]
async fn a_run_that_waits_says_what_for_and_when_that_changes() {
    let up = Up::start_with(&["--id", "here", "--slots", "1"]).await;
    up.has_a_worker().await;
    up.text(&["run", "--detach", "--", "sleep", "60"]).await;
    let mut run = up.command(&["run", "--", "true"]).spawn().unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let mut says = async |word: &str| {
        let line = timeout(WITHIN, lines.next_line()).await.unwrap().unwrap().unwrap_or_default();
        assert!(line.starts_with("gangline: job-2-") && line.contains(" waits for "), "{line}");
        assert!(line.contains(word), "{word:?} is missing in {line}");
    };
    says("a free slot on worker here").await;
    up.text(&["drain", "here"]).await;
    says("not draining").await;

    // With --json a note is an object on a line of its own, as is all that is said on the way out.
    let other = up.command(&["run", "--json", "--", "true"]).spawn().unwrap();
    leaves_when_it_waits(other, "not draining").await;
    up.text(&["cancel", "1"]).await;
    up.text(&["undrain", "here"]).await;
    assert_eq!(status(run).await, Some(0));
    up.end().await;
}

/// Leaves a run once it has said what it waits for; every line of its own is JSON.
async fn leaves_when_it_waits(mut run: Child, reason: &str) {
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let mut notes = Vec::new();
    while let Some(line) = timeout(WITHIN, lines.next_line()).await.unwrap().unwrap() {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        notes.push(line["note"]["message"].as_str().unwrap_or_else(|| panic!("no note: {line}")).to_owned());
        if notes.len() == 1 {
            signal(&run, Signal::SIGHUP);
        }
    }
    assert_eq!(status(run).await, Some(130));
    assert!(notes[0].contains(" waits for ") && notes[0].contains(reason), "{notes:?}");
    assert!(notes[1].contains(" goes on; "), "{notes:?}");
}

#[tokio::test]
async fn up_says_all_it_says_as_json_where_it_is_asked_to() {
    let home = Home::new();
    let mut up = home.command(&["up", "--json", "--listen", "127.0.0.1:0", "--log", "info"]).spawn().unwrap();
    let mut lines = BufReader::new(up.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(line) = timeout(WITHIN, lines.next_line()).await.unwrap().unwrap() {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        if line["up"]["url"].as_str().is_some_and(|url| url.starts_with("ws://127.0.0.1:")) {
            signal(&up, Signal::SIGTERM);
        }
        said.push(line);
    }
    assert!(timeout(WITHIN, up.wait()).await.unwrap().unwrap().success());
    assert!(said.iter().any(|line| line["note"]["message"].as_str().is_some_and(|it| it.starts_with("draining"))));
    assert!(said.iter().any(|line| line["level"] == "INFO"), "its log, too");
}

#[tokio::test]
async fn standard_input_reaches_the_job_whole() {
    let up = Up::start().await;
    let input: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let mut run = up.command(&["run", "-i", "--", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = run.stdin.take().unwrap();
    let sent = input.clone();
    let feeding = tokio::spawn(async move { stdin.write_all(&sent).await });
    let run = timeout(WITHIN, run.wait_with_output()).await.unwrap().unwrap();
    feeding.await.unwrap().unwrap();
    assert_eq!(run.stdout.len(), input.len());
    assert!(run.stdout == input);
    assert_eq!(run.status.code(), Some(0));

    // Without -i the job has nothing to read, and does not wait for it.
    assert_eq!(up.call(&["run", "--", "cat"]).await.stdout, b"");
    up.end().await;
}

#[tokio::test]
async fn a_terminal_gets_keys_and_its_size() {
    let up = Up::start().await;
    let (mut pty, pts) = pty_process::open().unwrap();
    pty.resize(pty_process::Size::new(31, 101)).unwrap();
    let run = up.command(&["run", "-t", "stty size; read line; echo \"got $line\"; exit 4"]);
    let args: Vec<_> = run.as_std().get_args().collect();
    let mut command = pty_process::Command::new(run.as_std().get_program()).args(args).kill_on_drop(true);
    for (name, value) in run.as_std().get_envs() {
        command = command.env(name, value.unwrap_or_default());
    }
    let mut child = command.current_dir(up.home.0.path()).spawn(pts).unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    let mut typed = false;
    loop {
        // A terminal whose other side is closed reads as an error.
        let len = timeout(WITHIN, pty.read(&mut buffer)).await.unwrap().unwrap_or(0);
        if len == 0 {
            break;
        }
        seen.push_str(&String::from_utf8_lossy(&buffer[..len]));
        if !typed && seen.contains("31 101") {
            typed = true;
            pty.write_all(b"hello\r").await.unwrap();
        }
    }
    assert!(seen.contains("got hello\r\n"), "{seen:?}");
    assert_eq!(timeout(WITHIN, child.wait()).await.unwrap().unwrap().code(), Some(4));
    up.end().await;
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_job() {
    let up = Up::start().await;
    let (run, stdout) = run_until_ready(&up, &["echo ready; yes"]).await;
    drop(stdout);
    assert_eq!(status(run).await, Some(141));
    assert_eq!(up.call(&["wait", "1"]).await.status.code(), Some(130));

    // So it does where the input is at its end.
    let (run, stdout) = run_until_ready(&up, &["-i", "cat; echo ready; while echo on; do sleep 0.1; done"]).await;
    drop(stdout);
    assert_eq!(status(run).await, Some(141));
    assert_eq!(up.call(&["wait", "2"]).await.status.code(), Some(130));

    // What only looks on goes quietly.
    let job = up.text(&["run", "--detach", "seq 100000"]).await;
    up.call(&["wait", job.trim()]).await;
    let mut logs = up.command(&["logs", job.trim()]).spawn().unwrap();
    drop(logs.stdout.take());
    let logs = timeout(WITHIN, logs.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((logs.status.code(), logs.stderr), (Some(0), Vec::new()));
    up.end().await;
}

#[tokio::test]
async fn logs_show_what_is_there_or_go_on() {
    let up = Up::start().await;
    let job = up.text(&["run", "--detach", "seq 5; echo oops >&2; read line; echo \"$line\"", "-i"]).await;
    assert_eq!(job.matches("job-1-").count(), 1, "{job}");
    let run = up.call(&["run", "seq 10; echo oops >&2"]).await;
    assert_eq!(run.status.code(), Some(0));
    assert_eq!(up.text(&["logs", "--stdout", "--tail", "3", "2"]).await, "8\n9\n10\n");
    let errors = up.call(&["logs", "--stderr", "2"]).await;
    assert_eq!((errors.stdout, errors.stderr), (Vec::new(), b"oops\n".to_vec()));
    let frames = up.text(&["logs", "--json", "2"]).await;
    let frames: Vec<Value> = frames.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&frames[0]["opt"], &frames[0]["at"]), (&"status".into(), &"1-0".into()));
    assert_eq!(frames.last().unwrap()["opt"], "end");
    // Lines are counted, not frames, and the same ones as without --json.
    let tail = up.text(&["logs", "--json", "--stdout", "--tail", "3", "2"]).await;
    let tail: Vec<Value> = tail.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tail.iter().filter_map(|frame| frame["text"].as_str()).collect::<String>(), "8\n9\n10\n");
    assert_eq!(tail.last().unwrap()["opt"], "end");
    let last = frames.last().unwrap()["at"].as_str().unwrap();
    assert_eq!(up.text(&["logs", "--after", last, "2"]).await, "");
    up.end().await;
}

#[tokio::test]
async fn jobs_are_listed_shown_and_run_again() {
    let up = Up::start().await;
    up.call(&["run", "--name", "first", "--tag", "a", "--", "true"]).await;
    up.call(&["run", "exit 3"]).await;
    let rows = up.text(&["ps", "--json"]).await;
    let jobs: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(jobs.iter().map(|job| job["taskId"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((&jobs[0]["exitCode"], &jobs[1]["name"]), (&3.into(), &"first".into()));
    let table = up.text(&["ps", "--status", "failed"]).await;
    assert!(table.starts_with("JOB ") && table.contains("failed (3)") && !table.contains("first"), "{table}");
    assert!(!table.contains('\x1b'), "no colours where no terminal is");

    let again = up.text(&["rerun", "2"]).await;
    assert_eq!(up.call(&["wait", again.trim()]).await.status.code(), Some(3));
    let missing = up.call(&["show", "99", "--json"]).await;
    let error: Value = serde_json::from_slice(&missing.stderr).unwrap();
    assert_eq!((missing.status.code(), &error["error"]["code"]), (Some(1), &"not_found".into()));
    assert!(up.text(&["workers"]).await.contains("idle"));
    up.end().await;
}

#[tokio::test]
async fn a_template_is_run_by_its_name() {
    let up = Up::start().await;
    let drawn = up.call(&["run", "--template", "fractal", "--param", "width=20", "--param", "height=10"]).await;
    assert_eq!((drawn.status.code(), drawn.stdout.ends_with(b"100%\n")), (Some(0), true), "{drawn:?}");
    assert!(up.text(&["artifacts", "1"]).await.contains("fractal.png"));
    let again = up.text(&["rerun", "1"]).await;
    assert_eq!(up.call(&["wait", again.trim()]).await.status.code(), Some(0));
    let wrong = up.call(&["run", "--template", "fractal", "--param", "width=wide"]).await;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(125));
    assert!(said.contains("params.width must be an integer from 1 to 8192"), "{said}");
    up.end().await;
}

#[tokio::test]
async fn accounts_and_tokens_are_managed() {
    let up = Up::start().await;
    let secret = up.home.0.path().join("secret");
    std::fs::write(&secret, "correct horse battery\n").unwrap();
    up.text(&["user", "add", "ada", "--email", "ada@example.org", "--password-file", secret.to_str().unwrap()]).await;
    assert!(up.text(&["user", "ls"]).await.contains("ada@example.org"));
    assert_eq!(up.call(&["user", "add", "ada"]).await.status.code(), Some(1));

    let token = up.text(&["token", "create", "--role", "user", "--account", "ada", "--ttl", "1h"]).await;
    assert_eq!(token.lines().count(), 1);
    let as_ada = |args: &[&str]| {
        let mut command = up.command(args);
        command.env("GANGLINE_TOKEN", token.trim());
        output(command)
    };
    assert_eq!(as_ada(&["run", "echo", "hi"]).await.stdout, b"hi\n");
    assert_eq!(up.show("1").await["account"], "ada");
    assert_eq!(as_ada(&["user", "ls"]).await.status.code(), Some(1));
    let own = as_ada(&["token", "create", "--role", "user", "--name", "ci"]).await;
    assert!(String::from_utf8(own.stdout).unwrap().starts_with("gl_"));
    let listed = String::from_utf8(as_ada(&["token", "ls"]).await.stdout).unwrap();
    assert!(listed.contains("ci") && !listed.contains("admin"), "{listed}");
    assert_eq!(as_ada(&["token", "create", "--role", "admin"]).await.status.code(), Some(1));
    up.text(&["token", "revoke", token.trim()]).await;
    assert_eq!(as_ada(&["ps"]).await.status.code(), Some(1));
    up.text(&["user", "rm", "ada"]).await;
    assert!(!up.text(&["user", "ls"]).await.contains("ada"));
    up.end().await;
}

#[tokio::test]
async fn a_directory_goes_there_and_artifacts_come_back() {
    let up = Up::start().await;
    let project = up.home.0.path().join("project");
    std::fs::create_dir_all(project.join("sub")).unwrap();
    std::fs::write(project.join("sub/in.txt"), "from here").unwrap();
    let args = [
        "run",
        "--file",
        "project",
        "--artifact",
        "out/*",
        "mkdir out; rev sub/in.txt > out/a; head -c 70000 /dev/zero > out/b",
    ];
    let run = up.call(&args).await;
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(up.text(&["artifacts", "1"]).await.contains("out/a"));
    up.text(&["artifacts", "1", "--output", "got"]).await;
    let got = |name: &str| std::fs::read(up.home.0.path().join("got/out").join(name)).unwrap();
    assert_eq!(got("a"), b"ereh morf");
    assert_eq!(got("b"), [0; 70_000]);
    up.end().await;
}

#[tokio::test]
async fn a_mistake_in_the_settings_is_named_with_its_place() {
    let home = Home::new();
    let file = |text: &str| std::fs::write(home.0.path().join("gangline.toml"), text).unwrap();
    let fails = async |command: Command, words: &[&str]| {
        let output = output(command).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "{word:?} is missing in {stderr}");
        }
    };
    file("[server]\nlissten = '127.0.0.1:3000'\n");
    fails(home.command(&["ps"]), &["gangline.toml, line 2", "lissten", "listen"]).await;
    file("[limits]\nqueue = 'many'\n");
    fails(home.command(&["serve"]), &["gangline.toml, line 2", "limits.queue", "\"many\""]).await;
    file("");
    let mut command = home.command(&["serve"]);
    command.env("GANGLINE_LISTEN", "here");
    fails(command, &["--listen", "GANGLINE_LISTEN", "such as 127.0.0.1:3000"]).await;
    file("log = '!!bad['\n");
    fails(home.command(&["ps"]), &["gangline.toml, line 1", "log", "such as info"]).await;
    file("");
    fails(home.command(&["ps", "--log", "!!bad["]), &["--log", "such as info"]).await;
    let mut command = home.command(&["ps"]);
    command.env("GANGLINE_LOG", "!!bad[");
    fails(command, &["--log", "GANGLINE_LOG", "such as info"]).await;
    fails(home.command(&["ps", "--token-file", "nowhere"]), &["cannot read nowhere"]).await;
    fails(home.command(&["run"]), &["CMD"]).await;
}

#[tokio::test]
async fn a_variable_that_is_set_to_nothing_is_not_set() {
    let home = Home::new();
    // Every variable that the help of any command names.
    let mut names = std::collections::BTreeSet::new();
    for command in ["serve", "worker", "run", "up"] {
        let help = String::from_utf8(output(home.command(&[command, "--help"])).await.stdout).unwrap();
        let words = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        names.extend(words.filter(|word| word.starts_with("GANGLINE_")).map(str::to_owned));
    }
    assert!(names.len() > 30 && names.contains("GANGLINE_OPEN"), "{names:?}");
    let but_needed = names.iter().filter(|name| !["GANGLINE_DATA_DIR", "GANGLINE_URL"].contains(&name.as_str()));
    let nothing: Vec<(&String, &str)> = but_needed.map(|name| (name, "")).collect();
    let mut command = home.command(&["up", "--listen", "127.0.0.1:0"]);
    command.envs(nothing.clone()).env("GANGLINE_URL", "");
    let up = Up::start_given(home, command).await;
    for args in [&["ps"][..], &["run", "--", "true"]] {
        let mut command = up.command(args);
        command.envs(nothing.clone());
        let output = output(command).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    up.end().await;
}

#[tokio::test]
async fn a_variable_says_yes_in_all_the_usual_words() {
    for yes in ["1", "yes", "on", "true"] {
        let home = Home::new();
        let mut command = home.command(&["up", "--listen", "127.0.0.1:0"]);
        command.env("GANGLINE_OPEN", yes);
        let up = Up::start_given(home, command).await;
        // Without a token, that is.
        up.text(&["ps", "--data-dir", "elsewhere"]).await;
        up.end().await;
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let up = Up::start().await;
    let address = up.url.trim_start_matches("ws://").trim_end_matches("/ws").to_owned();
    let fails = async |args: &[&str], word: &str| {
        let output = up.call(args).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(word), "{word:?} is missing in {stderr}");
    };
    fails(&["serve", "--listen", &address], "in use").await;
    fails(&["serve", "--listen", "127.0.0.1:0"], "in use by another process").await;
    let file = up.home.0.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("data");
    fails(&["serve", "--listen", "127.0.0.1:0", "--data-dir", below.to_str().unwrap()], "data").await;
    fails(&["serve", "--listen", "0.0.0.0:0", "--open", "--data-dir", "other"], "--open").await;
    up.end().await;
}

/// A dispatcher at a fixed address, which can die and come back.
async fn serve(home: &Home, address: &str) -> Child {
    let mut process = home.command(&["serve", "--listen", address]).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    while !timeout(WITHIN, lines.next_line()).await.unwrap().unwrap().expect("it ended").contains("serving") {}
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    process
}

#[tokio::test]
async fn a_run_outlives_the_dispatchers_death() {
    let home = Home::new();
    let address = free_address().to_string();
    let url = format!("ws://{address}/ws");
    let mut dispatcher = serve(&home, &address).await;
    let _worker = home.command(&["worker", "--url", &url]).stderr(Stdio::null()).spawn().unwrap();
    // The job itself says when to go on: a file appears once the dispatcher is gone.
    let flag = home.0.path().join("go");
    let script = format!("seq 1000; while ! test -e {}; do sleep 0.02; done; seq 1001 2000", quoted(&flag));
    let mut run = home.command(&["run", "--url", &url, &script]).spawn().unwrap();
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.ends_with("\n1000\n") {
        timeout(WITHIN, stdout.read_line(&mut seen)).await.unwrap().unwrap();
    }
    dispatcher.kill().await.unwrap();
    std::fs::write(&flag, "").unwrap();
    let _dispatcher = serve(&home, &address).await;
    timeout(WITHIN, stdout.read_to_string(&mut seen)).await.unwrap().unwrap();
    let expected: String = (1..=2000).map(|n| format!("{n}\n")).collect();
    assert!(seen == expected, "{} bytes of {}", seen.len(), expected.len());
    assert_eq!(status(run).await, Some(0));
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}
