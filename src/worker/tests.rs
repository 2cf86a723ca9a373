//! The agent against a dispatcher that is a script.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;

use super::*;
use crate::base::shutdown::Shutdown;
use crate::config::WorkerSettings;
use crate::protocol::chunk::bytes_of;

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(20);
const WINDOW: u64 = 4 * 1024 * 1024;

/// An agent, and the port that its dispatcher listens on.
struct Stage {
    listener: TcpListener,
    shutdown: Shutdown,
    agent: JoinHandle<Result<(), WorkerError>>,
    dir: tempfile::TempDir,
}

/// The dispatcher's end of a connection whose worker has registered.
struct Connection {
    socket: WebSocketStream<TcpStream>,
    register: Value,
}

impl Stage {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut WorkerSettings)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut settings = WorkerSettings {
            url: listener.local_addr().unwrap().to_string(),
            id: Some("w".parse().unwrap()),
            slots: 2,
            gpus: Some(2),
            data_dir: dir.path().to_owned(),
            ..WorkerSettings::default()
        };
        change(&mut settings);
        let shutdown = Shutdown::new();
        let agent = tokio::spawn(run(settings, shutdown.clone()));
        Self { listener, shutdown, agent, dir }
    }

    /// Takes the agent's next connection, and its `register`.
    async fn connect(&self) -> Connection {
        let (tcp, _) = timeout(SOON, self.listener.accept()).await.unwrap().unwrap();
        let socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
        let mut connection = Connection { socket, register: Value::Null };
        connection
            .send(json!({"type": "hello", "data": {"protocol": 1, "server": "script", "instance": "i", "now": 1,
                "auth": "open", "pingSecs": 25, "maxFrameBytes": 1_048_576}}))
            .await;
        connection.register = connection.expect("register").await;
        connection
    }

    /// The same, and takes it in with these verdicts.
    async fn register(&self, verdicts: Value) -> Connection {
        let mut connection = self.connect().await;
        connection
            .order("worker", json!({"opt": "registered", "workerId": "w", "heartbeatSecs": 10, "resume": verdicts}))
            .await;
        connection
    }

    fn workspaces(&self) -> PathBuf {
        self.dir.path().join("workers/w/work")
    }

    /// Ends the agent and returns how it ended.
    async fn end(self) -> Result<(), WorkerError> {
        timeout(SOON, self.agent).await.unwrap().unwrap()
    }
}

impl Connection {
    async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn order(&mut self, noun: &str, data: Value) {
        self.send(json!({"type": noun, "data": data})).await;
    }

    /// What the program writes up to the end of a line.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        while !line.ends_with('\n') {
            line += self.expect("output").await["text"].as_str().unwrap();
        }
        line
    }

    /// The next frame that is no heartbeat.
    async fn next(&mut self) -> Value {
        loop {
            let message = timeout(SOON, self.socket.next()).await.expect("the worker said nothing");
            let Message::Text(text) = message.expect("the worker hung up").unwrap() else { continue };
            let mut frame: Value = serde_json::from_str(&text).unwrap();
            let data = frame["data"].take();
            if data["opt"] != "heartbeat" {
                return data;
            }
        }
    }

    async fn expect(&mut self, opt: &str) -> Value {
        let data = self.next().await;
        assert_eq!(data["opt"], opt, "{data}");
        data
    }

    async fn assign(&mut self, job: &str, spec: Value) {
        self.assign_with(job, spec, WINDOW).await;
    }

    async fn assign_with(&mut self, job: &str, spec: Value, window: u64) {
        let mut assign =
            json!({"opt": "assign", "jobId": job, "attempt": 1, "gpuIds": [], "leaseSecs": 30, "windowBytes": window});
        assign["spec"] = spec;
        self.order("job", assign).await;
    }

    async fn ack(&mut self, job: &str, n: u64, stable: u64) {
        self.order(
            "job",
            json!({"opt": "ack", "jobId": job, "attempt": 1, "n": n, "stable": stable, "windowBytes": WINDOW}),
        )
        .await;
    }

    /// Reads output to the end of the job, acknowledging all of it.
    async fn read(&mut self, job: &str) -> Told {
        let mut told = Told::default();
        loop {
            let data = self.next().await;
            assert_eq!(data["jobId"], job);
            told.last_n += 1;
            assert_eq!(data["n"], told.last_n, "{data}");
            if data["opt"] == "end" {
                self.ack(job, told.last_n, told.last_n).await;
                told.end = data;
                return told;
            }
            self.ack(job, told.last_n, told.last_n).await;
            let bytes = bytes_of(data["text"].as_str(), data["base64"].as_str()).unwrap();
            let stream = if data["stream"] == "stdout" { &mut told.stdout } else { &mut told.stderr };
            assert_eq!(data["offset"], stream.len());
            stream.extend(bytes);
        }
    }

    /// Runs a job to its end.
    async fn run(&mut self, job: &str, spec: Value) -> Told {
        self.assign(job, spec).await;
        self.expect("accept").await;
        self.read(job).await
    }
}

#[derive(Debug, Default)]
struct Told {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    last_n: u64,
    end: Value,
}

impl Told {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

const JOB: &str = "job-1-00000001";
const OTHER: &str = "job-2-00000002";
const THIRD: &str = "job-3-00000003";

#[tokio::test]
async fn a_job_is_accepted_run_and_told_byte_for_byte() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    assert_eq!(dispatcher.register["slots"], 2);
    assert_eq!(dispatcher.register["gpus"].as_array().unwrap().len(), 2);
    let told = dispatcher.run(JOB, json!({"command": "printf 'a\\r\\n\\377'; echo oops >&2; exit 3"})).await;
    assert_eq!((told.stdout.as_slice(), told.stderr.as_slice()), (&b"a\r\n\xff"[..], &b"oops\n"[..]));
    assert_eq!((&told.end["exitCode"], &told.end["reason"]), (&json!(3), &json!("exit")));
    let told = dispatcher.run(OTHER, json!({"args": ["/bin/echo", "-n", "$HOME"]})).await;
    assert_eq!(told.text(), "$HOME");
}

#[tokio::test]
async fn a_job_knows_itself_and_sees_no_gpu_that_is_not_its_own() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    let script = "echo $GANGLINE_JOB_ID $GANGLINE_ATTEMPT $GANGLINE_WORKER_ID [$CUDA_VISIBLE_DEVICES] $X; pwd; ls -A";
    let told = dispatcher.run(JOB, json!({"command": script, "env": {"X": "y", "GANGLINE_JOB_ID": "forged"}})).await;
    let workspace = stage.workspaces().canonicalize().unwrap().join("0");
    assert_eq!(told.text(), format!("{JOB} 1 w [] y\n{}\n", workspace.display()));
}

#[tokio::test]
async fn a_gpu_that_another_job_has_is_waited_for() {
    let stage = Stage::with(|settings| settings.slots = 3).await;
    let mut dispatcher = stage.register(json!([])).await;
    let give = |job: &str, gpus: Value, spec: Value| {
        json!({"opt": "assign", "jobId": job, "attempt": 1, "spec": spec,
        "gpuIds": gpus, "leaseSecs": 30, "windowBytes": WINDOW})
    };
    let has = json!({"command": "echo $CUDA_VISIBLE_DEVICES; read x; sleep 0.1", "stdin": true});
    dispatcher.order("job", give(JOB, json!([0, 1]), has)).await;
    dispatcher.expect("accept").await;
    assert_eq!(dispatcher.expect("output").await["text"], "0,1\n");
    // A dispatcher that gives a GPU twice, or takes a job away: both wait, and one is cancelled meanwhile.
    dispatcher.order("job", give(OTHER, json!([1]), json!({"command": "echo $CUDA_VISIBLE_DEVICES"}))).await;
    dispatcher.order("job", give(THIRD, json!([0]), json!({"command": "echo no"}))).await;
    dispatcher.order("job", json!({"opt": "cancel", "jobId": THIRD, "attempt": 1, "graceSecs": 0})).await;
    let answer = dispatcher.expect("accept").await;
    assert_eq!(answer["jobId"], THIRD);
    let end = dispatcher.expect("end").await;
    assert_eq!((&end["jobId"], &end["reason"], &end["n"]), (&json!(THIRD), &json!("cancelled"), &json!(1)));
    dispatcher.order("job", json!({"opt": "input", "jobId": JOB, "attempt": 1, "text": "\n"})).await;
    assert_eq!(dispatcher.expect("end").await["jobId"], JOB);
    assert_eq!(dispatcher.expect("accept").await["jobId"], OTHER);
    assert_eq!(dispatcher.expect("output").await["text"], "1\n");
}

#[tokio::test]
async fn a_job_ends_with_its_command_and_leaves_nothing() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    let told =
        dispatcher.run(JOB, json!({"command": "sleep 1000 & setsid sleep 1000 & echo $$ > file; echo done"})).await;
    assert_eq!((told.text(), &told.end["reason"]), ("done\n", &json!("exit")));
    assert_eq!(std::fs::read_dir(stage.workspaces()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_repeated_assignment_is_answered_and_not_started_again() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    let spec = json!({"command": "echo started; read x; echo $x", "stdin": true});
    dispatcher.assign(JOB, spec.clone()).await;
    dispatcher.expect("accept").await;
    assert_eq!(dispatcher.expect("output").await["text"], "started\n");
    dispatcher.assign(JOB, spec).await;
    dispatcher.expect("accept").await;
    dispatcher.order("job", json!({"opt": "input", "jobId": JOB, "attempt": 1, "text": "héllo\n"})).await;
    assert_eq!(dispatcher.expect("output").await["text"], "héllo\n");
    assert_eq!(dispatcher.expect("end").await["n"], 3);
}

#[tokio::test]
async fn full_slots_and_strange_specs_are_refused_with_a_reason() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    for job in [JOB, OTHER] {
        dispatcher.assign(job, json!({"command": "sleep 1000"})).await;
        dispatcher.expect("accept").await;
    }
    dispatcher.assign(THIRD, json!({"command": "true"})).await;
    let reject = dispatcher.expect("reject").await;
    assert_eq!((&reject["jobId"], &reject["reason"]), (&json!(THIRD), &json!("every slot of the worker is taken")));
    dispatcher.order("job", json!({"opt": "cancel", "jobId": JOB, "attempt": 1, "graceSecs": 5})).await;
    let end = dispatcher.expect("end").await;
    assert_eq!((&end["reason"], &end["exitCode"]), (&json!("cancelled"), &json!(143)));
    dispatcher.assign(THIRD, json!({"image": "alpine"})).await;
    dispatcher.expect("reject").await;
    // The slot is free although the end is not acknowledged yet.
    dispatcher.assign(THIRD, json!({"command": "true"})).await;
    dispatcher.expect("accept").await;
}

#[tokio::test]
async fn time_limits_and_grace_are_kept() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    let told = dispatcher.run(JOB, json!({"command": "sleep 1000", "timeoutSecs": 0.1})).await;
    assert_eq!((&told.end["reason"], &told.end["exitCode"]), (&json!("timeout"), &json!(143)));
    let stubborn = json!({"command": "trap '' TERM; echo ready; while :; do sleep 1; done"});
    dispatcher.assign(OTHER, stubborn).await;
    dispatcher.expect("accept").await;
    dispatcher.expect("output").await;
    dispatcher.order("job", json!({"opt": "cancel", "jobId": OTHER, "attempt": 1, "graceSecs": 0.05})).await;
    let end = dispatcher.expect("end").await;
    assert_eq!((&end["reason"], &end["exitCode"]), (&json!("cancelled"), &json!(137)));
}

#[tokio::test]
async fn a_program_that_will_neither_stop_nor_be_silent_is_killed_in_time() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    for number in 1..=5 {
        let job = format!("job-{number}-00000001");
        dispatcher.assign(&job, json!({"command": "trap '' TERM; while :; do echo no; done"})).await;
        dispatcher.expect("accept").await;
        dispatcher.order("job", json!({"opt": "cancel", "jobId": job, "attempt": 1, "graceSecs": 0.02})).await;
        let told = timeout(SOON, dispatcher.read(&job)).await.expect("it was never killed");
        // SIGTERM may come before the trap is set.
        assert!([json!(137), json!(143)].contains(&told.end["exitCode"]), "{}", told.end);
    }
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    let told = dispatcher.run(JOB, json!({"args": ["no-such-program"]})).await;
    assert_eq!((&told.end["reason"], &told.end["exitCode"]), (&json!("spawn_error"), &json!(127)));
    assert!(told.end["errorMessage"].as_str().unwrap().contains("no-such-program"), "{}", told.end);

    dispatcher.assign(OTHER, json!({"command": "pwd", "fileUrl": "/uploads/x.zip"})).await;
    dispatcher.expect("accept").await;
    let (mut http, _) = stage.listener.accept().await.unwrap();
    let mut request = [0; 1024];
    let bytes = http.read(&mut request).await.unwrap();
    assert!(request[..bytes].starts_with(b"GET /uploads/x.zip HTTP/1.1\r\n"));
    http.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let told = dispatcher.read(OTHER).await;
    assert_eq!((&told.end["reason"], &told.end["exitCode"]), (&json!("spawn_error"), &json!(null)));
    assert_eq!(told.end["errorMessage"], "cannot fetch /uploads/x.zip: the server answered 404 Not Found");
}

#[tokio::test]
async fn the_window_stops_the_program_and_acknowledgements_let_it_go_on() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    let script = "i=0; while [ $i -lt 1000 ]; do printf '%0100d' $i; i=$((i+1)); done";
    dispatcher.assign_with(JOB, json!({"command": script}), 10_000).await;
    dispatcher.expect("accept").await;
    let (mut bytes, mut n) = (0, 0);
    while bytes < 10_000 {
        let data = dispatcher.expect("output").await;
        (bytes, n) = (bytes + data["text"].as_str().unwrap().len(), data["n"].as_u64().unwrap());
    }
    assert_eq!(bytes, 10_000, "not a byte over the window");
    // Held back: nothing but heartbeats comes until room is made.
    assert!(timeout(Duration::from_millis(200), dispatcher.next()).await.is_err());
    dispatcher.ack(JOB, n, n).await;
    while bytes < 100_000 {
        let data = dispatcher.expect("output").await;
        bytes += data["text"].as_str().unwrap().len();
        dispatcher.ack(JOB, data["n"].as_u64().unwrap(), 0).await;
    }
    assert_eq!(bytes, 100_000);
    dispatcher.expect("end").await;
}

#[tokio::test]
async fn after_a_reconnect_the_rest_is_sent_the_same_to_the_byte() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    let boot = dispatcher.register["boot"].clone();
    dispatcher.assign(JOB, json!({"command": "echo one; read x; echo two; read x", "stdin": true})).await;
    dispatcher.expect("accept").await;
    let one = dispatcher.expect("output").await;
    drop(dispatcher);

    let mut dispatcher = stage.connect().await;
    assert_eq!(dispatcher.register["boot"], boot);
    assert_eq!(dispatcher.register["resume"], json!([{"jobId": JOB, "attempt": 1, "lastN": 1, "state": "running"}]));
    let go_on = json!([{"jobId": JOB, "attempt": 1, "verdict": "continue", "nextN": 1}]);
    dispatcher
        .order("worker", json!({"opt": "registered", "workerId": "w", "heartbeatSecs": 10, "resume": go_on}))
        .await;
    assert_eq!(dispatcher.expect("output").await, one);
    dispatcher.order("job", json!({"opt": "input", "jobId": JOB, "attempt": 1, "text": "\n"})).await;
    let two = dispatcher.expect("output").await;
    assert_eq!((&two["n"], &two["text"], &two["offset"]), (&json!(2), &json!("two\n"), &json!(4)));
    dispatcher.order("job", json!({"opt": "nack", "jobId": JOB, "attempt": 1, "expect": 1})).await;
    assert_eq!((dispatcher.expect("output").await, dispatcher.expect("output").await), (one, two));
    dispatcher.order("job", json!({"opt": "input", "jobId": JOB, "attempt": 1, "eof": true})).await;
    assert_eq!(dispatcher.expect("end").await["n"], 3);
    drop(dispatcher);

    // The end was not acknowledged: it is still told, and forgotten once it is stored.
    let mut dispatcher = stage.register(json!([{"jobId": JOB, "attempt": 1, "verdict": "continue", "nextN": 3}])).await;
    assert_eq!(dispatcher.register["resume"][0]["state"], "ended");
    dispatcher.expect("end").await;
    dispatcher.ack(JOB, 3, 3).await;
    drop(dispatcher);
    assert_eq!(stage.connect().await.register["resume"], json!([]));
}

#[tokio::test]
async fn jobs_that_are_someone_elses_die_in_silence() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    for job in [JOB, OTHER] {
        dispatcher.assign(job, json!({"command": "echo started; exec sleep 1000"})).await;
        dispatcher.expect("accept").await;
        dispatcher.expect("output").await;
    }
    dispatcher.order("worker", json!({"opt": "heartbeat", "lost": [[JOB, 1]]})).await;
    drop(dispatcher);
    let mut dispatcher = stage.register(json!([{"jobId": OTHER, "attempt": 1, "verdict": "drop", "nextN": 0}])).await;
    assert_eq!(dispatcher.register["resume"].as_array().unwrap().len(), 1);
    // Both slots are free again, and nothing was said of either.
    let told = dispatcher.run(THIRD, json!({"command": "echo hi"})).await;
    assert_eq!(told.text(), "hi\n");
}

#[tokio::test]
async fn what_was_let_go_of_after_its_end_is_told_again_and_not_run_again() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    let program = json!({"command": "echo $$"});
    dispatcher.assign(JOB, program.clone()).await;
    dispatcher.expect("accept").await;
    let (said, end) = (dispatcher.expect("output").await, dispatcher.expect("end").await);
    drop(dispatcher);
    // The store had the end, its acknowledgement was lost; then the store has lost it, too.
    let mut dispatcher = stage.register(json!([{"jobId": JOB, "attempt": 1, "verdict": "drop", "nextN": 0}])).await;
    dispatcher.assign(JOB, program).await;
    dispatcher.expect("accept").await;
    assert_eq!((dispatcher.expect("output").await, dispatcher.expect("end").await), (said, end));
}

#[tokio::test]
async fn a_terminal_has_a_size_takes_keys_and_ends_input_with_a_key() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    let script =
        "stty -echo; trap 'stty size' WINCH; echo ready; while ! read x; do :; done; echo got $x; cat; echo over";
    dispatcher.assign(JOB, json!({"command": script, "tty": {"cols": 100, "rows": 30}})).await;
    dispatcher.expect("accept").await;
    assert_eq!(dispatcher.line().await, "ready\r\n");
    dispatcher.order("job", json!({"opt": "resize", "jobId": JOB, "attempt": 1, "cols": 90, "rows": 20})).await;
    assert_eq!(dispatcher.line().await, "20 90\r\n");
    dispatcher.order("job", json!({"opt": "input", "jobId": JOB, "attempt": 1, "text": "key\n", "eof": true})).await;
    let mut text = String::new();
    let end = loop {
        let data = dispatcher.next().await;
        match data["text"].as_str() {
            Some(more) => text += more,
            None => break data,
        }
    };
    assert_eq!((text.as_str(), &end["exitCode"]), ("got key\r\nover\r\n", &json!(0)));
}

#[tokio::test]
async fn a_signal_drains_jobs_finish_and_their_ends_are_told() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    dispatcher.assign(JOB, json!({"command": "read x; echo $x", "stdin": true})).await;
    dispatcher.expect("accept").await;
    stage.shutdown.start_drain();
    dispatcher.expect("drain").await;
    dispatcher.assign(OTHER, json!({"command": "true"})).await;
    assert_eq!(dispatcher.expect("reject").await["reason"], "the worker is draining");
    dispatcher.order("job", json!({"opt": "input", "jobId": JOB, "attempt": 1, "text": "last\n"})).await;
    assert_eq!(dispatcher.read(JOB).await.text(), "last\n");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn jobs_that_outlast_the_drain_are_stopped_and_told() {
    let stage = Stage::with(|settings| settings.drain_timeout = Duration::from_millis(50)).await;
    let mut dispatcher = stage.register(json!([])).await;
    dispatcher.assign(JOB, json!({"command": "sleep 1000"})).await;
    dispatcher.expect("accept").await;
    stage.shutdown.start_drain();
    dispatcher.expect("drain").await;
    let told = dispatcher.read(JOB).await;
    assert_eq!((&told.end["reason"], &told.end["exitCode"]), (&json!("signal"), &json!(143)));
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_cut_kills_at_once_though_nobody_listens() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    dispatcher.assign(JOB, json!({"command": "trap '' TERM; echo $$; while :; do sleep 1; done"})).await;
    dispatcher.expect("accept").await;
    let pid: i32 = dispatcher.expect("output").await["text"].as_str().unwrap().trim().parse().unwrap();
    drop(dispatcher);
    stage.shutdown.start_cut();
    stage.end().await.unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn an_idle_agent_leaves_at_once_even_when_nobody_is_there() {
    let stage = Stage::start().await;
    drop(stage.connect().await);
    stage.shutdown.start_drain();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn refusals_end_the_agent_with_a_reason() {
    for (code, message) in
        [("conflict", "a later boot"), ("unauthorized", "wrong token"), ("forbidden", "only workers")]
    {
        let stage = Stage::start().await;
        let mut dispatcher = stage.connect().await;
        dispatcher.order("error", json!({"code": code, "message": message, "retry": false})).await;
        let _ = dispatcher.socket.close(Some(CloseFrame { code: 4501.into(), reason: "unauthorized".into() })).await;
        let error = stage.end().await.unwrap_err();
        assert!(matches!(&error, WorkerError::Refused(refusal) if refusal.message == message), "{error}");
        assert_eq!(error.unauthorized(), code == "unauthorized");
    }
}

#[tokio::test]
async fn a_superseded_agent_ends_and_kills_its_jobs() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    // It goes on writing, which fails from the close on.
    dispatcher.assign(JOB, json!({"command": "echo $$; while sleep 0.01; do echo more; done"})).await;
    dispatcher.expect("accept").await;
    let pid: i32 = dispatcher.line().await.lines().next().unwrap().parse().unwrap();
    let end = CloseFrame { code: 4509.into(), reason: "superseded".into() };
    dispatcher.socket.close(Some(end)).await.unwrap();
    assert!(matches!(stage.end().await, Err(WorkerError::Closed(_))));
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn an_administrators_drain_refuses_jobs_and_is_taken_back() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    dispatcher.order("worker", json!({"opt": "drain"})).await;
    dispatcher.assign(JOB, json!({"command": "true"})).await;
    dispatcher.expect("reject").await;
    dispatcher.order("worker", json!({"opt": "undrain"})).await;
    assert_eq!(dispatcher.run(JOB, json!({"command": "echo hi"})).await.text(), "hi\n");
}

/// Takes one HTTP request, and answers it with `status`. Returns its first line and its body.
async fn answer_http(listener: &TcpListener, status: &str) -> (String, String) {
    let (mut http, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let mut request = String::new();
    let mut buffer = [0; 4096];
    let body = loop {
        let bytes = http.read(&mut buffer).await.unwrap();
        request += std::str::from_utf8(&buffer[..bytes]).unwrap();
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break body.to_owned();
        }
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    http.write_all(answer.as_bytes()).await.unwrap();
    (request.lines().next().unwrap().to_owned(), body)
}

#[tokio::test]
async fn artifacts_are_uploaded_before_the_end_and_a_failure_is_told() {
    let stage = Stage::start().await;
    let mut dispatcher = stage.register(json!([])).await;
    let script = "mkdir out; echo one > 'out/a b.txt'; echo two > out/c.txt";
    dispatcher.assign(JOB, json!({"command": script, "artifacts": ["out"]})).await;
    dispatcher.expect("accept").await;
    let put = |name: &str| format!("PUT /api/jobs/{JOB}/artifacts/out/{name}?attempt=1 HTTP/1.1");
    // A server in trouble is asked again, one that says no is not.
    answer_http(&stage.listener, "503 Service Unavailable").await;
    assert_eq!(answer_http(&stage.listener, "201 Created").await, (put("a%20b.txt"), "one\n".to_owned()));
    assert_eq!(answer_http(&stage.listener, "413 Content Too Large").await, (put("c.txt"), "two\n".to_owned()));
    let told = dispatcher.read(JOB).await;
    assert_eq!((&told.end["reason"], &told.end["exitCode"]), (&json!("exit"), &json!(0)));
    assert_eq!(told.end["errorMessage"], "artifact out/c.txt: the server answered 413 Payload Too Large");
}
