//! The real binary, as processes that can be killed, stopped and woken.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) use super::private::free_address;
use super::{Peer, eventually};

/// A `gangline` process. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    /// Where its words go.
    log: PathBuf,
}

/// How a process ended that was not expected to stay.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

/// A `gangline` command that sees nothing of this machine's settings.
pub(crate) fn gangline(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gangline"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GANGLINE_")) {
        command.env_remove(name);
    }
    command.args(args).current_dir(home).stdin(Stdio::null()).stdout(Stdio::null());
    command.env("HOME", home).env("XDG_CONFIG_HOME", home).env("XDG_DATA_HOME", home).env("NO_COLOR", "1");
    command
}

/// Runs a command that must end by itself.
pub(crate) async fn run(mut command: Command) -> Ended {
    command.stderr(Stdio::piped());
    let child = command.spawn().expect("the binary starts");
    let output = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = super::soon("the process to end", output).await.expect("no panic").expect("its output is read");
    Ended { status: output.status, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
}

impl Process {
    /// Starts a command; what it says goes to `log`, after what is there.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        let child = command.stderr(file).spawn().expect("the binary starts");
        Self { child, log }
    }

    /// Starts `gangline serve` on `home/data` and waits until it says hello.
    pub(crate) async fn serve(home: &Path, address: SocketAddr, more: &[&str]) -> Self {
        let listen = address.to_string();
        let mut args = vec!["serve", "--data-dir", "data", "--listen", &listen];
        args.extend(more);
        let mut process = Self::start(gangline(home, &args), home.join("serve.log"));
        eventually("the dispatcher to say hello", async || {
            assert!(process.child.try_wait().expect("its status").is_none(), "it ended: {}", process.words());
            Peer::dial(address, &[]).await.ok()
        })
        .await;
        process
    }

    /// Starts `gangline worker` for the dispatcher at `address`.
    pub(crate) fn worker(home: &Path, address: SocketAddr, id: &str, slots: u32) -> Self {
        Self::worker_with(home, address, id, slots, &[])
    }

    /// The same, with more flags.
    pub(crate) fn worker_with(home: &Path, address: SocketAddr, id: &str, slots: u32, more: &[&str]) -> Self {
        let (url, slots, dir) = (format!("ws://{address}/ws"), slots.to_string(), format!("worker-{id}"));
        let token = home.join("data/worker.token");
        let mut args = vec![
            "worker",
            "--url",
            &url,
            "--id",
            id,
            "--slots",
            &slots,
            "--data-dir",
            &dir,
            "--token-file",
            token.to_str().expect("a path of text"),
        ];
        args.extend(more);
        Self::start(gangline(home, &args), home.join(format!("{dir}.log")))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it is there");
    }

    /// Lifts the limit of the size of its files.
    pub(crate) fn may_write_without_limit(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
        assert!(status.expect("prlimit starts").success());
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("it is gone");
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the process to end", async || child.try_wait().expect("its status")).await
    }

    /// What it said.
    pub(crate) fn words(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let words = self.words();
            let tail = words.len().saturating_sub(4_000);
            println!("{} ends with:\n{}", self.log.display(), &words[words.ceil_char_boundary(tail)..]);
        }
    }
}

/// The token in a file of `home/data`.
pub(crate) fn token(home: &Path, name: &str) -> String {
    std::fs::read_to_string(home.join("data").join(name)).expect("a token file").trim().to_owned()
}

/// An administrator's connection, tried until the dispatcher is there.
pub(crate) async fn admin(home: &Path, address: SocketAddr) -> Peer {
    let bearer = format!("Bearer {}", token(home, "admin.token"));
    let mut peer = eventually("an administrator's connection", async || {
        Peer::dial(address, &[("authorization", &bearer)]).await.ok()
    })
    .await;
    assert_eq!(peer.next().await["type"], "hello");
    peer.expect("auth", "ok").await;
    peer
}
