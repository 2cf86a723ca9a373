//! The real `wscat` against the real binary: what `protocol.md` shows is what happens.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::protocol_docs::blocks;
use crate::support::process::{Process, free_address, token};

/// Far beyond what any step takes, so that a defect shows as a failure and not as a hang.
const WITHIN: Duration = Duration::from_secs(60);

/// What stands for the token in the document.
const PLACEHOLDER: &str = "gl_t8Qm3xYp_secret";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A dispatcher and a worker, each a process.
struct Installation {
    home: TempDir,
    url: String,
    _server: Process,
    _worker: Process,
}

impl Installation {
    async fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let address = free_address();
        let server = Process::serve(home.path(), address, &[]).await;
        let worker = Process::worker(home.path(), address, "local", 1);
        Self { home, url: format!("ws://{address}/ws"), _server: server, _worker: worker }
    }
}

/// Somebody at a keyboard.
struct Wscat {
    process: Child,
    keyboard: ChildStdin,
    screen: Lines<BufReader<ChildStdout>>,
}

impl Wscat {
    fn connect(url: &str) -> Self {
        let wscat = root().join("node_modules/.bin/wscat");
        assert!(wscat.exists(), "no {}: `make setup` puts it there", wscat.display());
        let mut command = Command::new(wscat);
        command.args(["--no-color", "-c", url]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("wscat starts");
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
    let gangline = Installation::start().await;
    let mut wscat = Wscat::connect(&gangline.url);
    for line in session {
        match line.split_at(2) {
            ("> ", typed) => {
                wscat.types(&typed.replace(PLACEHOLDER, &token(gangline.home.path(), "admin.token"))).await;
            }
            (_, printed) => {
                let expected: Value = serde_json::from_str(printed).unwrap();
                if expected["data"]["opt"] != "live" {
                    assert_eq!(plain(wscat.sees_but_live().await), plain(expected));
                }
            }
        }
    }
    // The end of its input is the end of wscat.
    drop(wscat.keyboard);
    assert!(timeout(WITHIN, wscat.process.wait()).await.expect("wscat ends").unwrap().success());
}

#[tokio::test]
async fn a_shell_script_with_wscat_runs_a_job() {
    let gangline = Installation::start().await;
    let run = async |job: &str| {
        let mut command = Command::new(root().join("examples/wscat.sh"));
        command.arg(job).env("GANGLINE_URL", &gangline.url).env("GANGLINE_DATA_DIR", gangline.home.path().join("data"));
        command.env_remove("GANGLINE_TOKEN").env_remove("GANGLINE_TOKEN_FILE").stdin(Stdio::null()).kill_on_drop(true);
        timeout(WITHIN, command.output()).await.expect("the script ends").unwrap()
    };
    let ran = run(r"echo hi; printf 'gr\303\274n \377' >&2; exit 3").await;
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "hi\n");
    assert_eq!(ran.stderr, b"gr\xc3\xbcn \xff");
    assert_eq!(ran.status.code(), Some(3));

    let refused = run(" ").await;
    assert_eq!(refused.status.code(), Some(125), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("command"));
}
