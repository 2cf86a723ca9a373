//! The real `wscat` against the real binary: what `protocol.md` shows is what happens.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

use crate::protocol_docs::blocks;
use crate::support::process::{ServerProcess, WITHIN, ended, output, signal};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Somebody at a keyboard.
struct Wscat {
    process: Child,
    keyboard: ChildStdin,
    screen: Lines<BufReader<ChildStdout>>,
}

impl Wscat {
    fn connect(server: &ServerProcess) -> Self {
        let wscat: PathBuf = root().join("node_modules/.bin/wscat");
        assert!(wscat.exists(), "no {}: `make setup` puts it there", wscat.display());
        let mut command = server.home.program(&wscat, &["--no-color", "-c", &server.url()]);
        let mut process = command.stdin(std::process::Stdio::piped()).spawn().expect("wscat starts");
        let keyboard = process.stdin.take().expect("it is piped");
        let screen = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        Self { process, keyboard, screen }
    }

    async fn types(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).await.expect("wscat reads");
    }

    /// The next frame on the screen.
    async fn sees(&mut self) -> Value {
        let line = timeout(WITHIN, self.screen.next_line()).await.expect("a frame comes").expect("text");
        let line = line.expect("wscat goes on");
        // It prints its prompt before what it received.
        serde_json::from_str(line.trim_start_matches(['>', '<', ' '])).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The next frame that is not `live`, whose place depends on who is faster.
    async fn sees_but_live(&mut self) -> Value {
        loop {
            let frame = self.sees().await;
            if frame["data"]["opt"] != "live" {
                return frame;
            }
        }
    }
}

/// A frame without what differs from run to run.
fn plain(mut frame: Value) -> Value {
    for varying in ["instance", "jobId", "now", "server", "time", "workerId"] {
        if let Some(value) = frame["data"].get_mut(varying) {
            *value = json!("…");
        }
    }
    frame
}

#[tokio::test]
async fn the_session_in_the_document_can_be_typed() {
    let document = fs::read_to_string(root().join("protocol.md")).unwrap();
    let session = blocks(&document, "wscat");
    assert!(session.iter().filter(|line| line.starts_with("> ")).count() > 2, "the session is not understood");
    let server = ServerProcess::up(&[]).await;
    let mut wscat = Wscat::connect(&server);
    for line in session {
        match line.split_at(2) {
            ("> ", typed) => wscat.types(&typed.replace("gl_t8Qm3xYp_secret", &server.admin_token())).await,
            (_, printed) => {
                let expected: Value = serde_json::from_str(printed).unwrap();
                if expected["data"]["opt"] != "live" {
                    assert_eq!(plain(wscat.sees_but_live().await), plain(expected));
                }
            }
        }
    }
    signal(&wscat.process, Signal::SIGINT);
    ended(&mut wscat.process).await;
    server.end().await;
}

#[tokio::test]
async fn a_shell_script_with_wscat_runs_a_job() {
    let server = ServerProcess::up(&[]).await;
    let script = root().join("examples/wscat.sh");
    let run = async |job: &str| {
        let mut command = server.home.program(&script, &[job]);
        command.env("GANGLINE_URL", server.url());
        output(command).await
    };
    let ran = run(r"echo hi; printf 'gr\303\274n \377' >&2; exit 3").await;
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "hi\n");
    assert_eq!(ran.stderr, b"gr\xc3\xbcn \xff");
    assert_eq!(ran.status.code(), Some(3));

    let refused = run(" ").await;
    assert_eq!(refused.status.code(), Some(125), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("command"));
    server.end().await;
}
