//! A real worker, `gangline worker`, in a process of its own.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::target::{self, Process, Target};

/// See the module.
pub(super) struct Agent {
    child: Child,
    /// Its workspaces, and the file with its token.
    _dir: TempDir,
}

impl Agent {
    /// Starts one that takes the target's jobs. They wait until it has registered.
    pub(super) fn start(target: &Target, slots: u32) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("gangline-bench-").tempdir()?;
        let token = dir.path().join("token");
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["worker", "--log", "warn", "--url", &target.address.socket_url()]);
        command.args(["--id", target.worker.as_str(), "--slots", &slots.to_string()]);
        command.arg("--data-dir").arg(dir.path().join("worker"));
        if let Some(secret) = &target.worker_token {
            std::fs::write(&token, secret.expose())?;
            command.arg("--token-file").arg(&token);
        }
        command.current_dir(dir.path()).env_remove("GANGLINE_CONFIG").env_remove("GANGLINE_TOKEN");
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        Ok(Self { child: command.spawn().context("cannot start a worker")?, _dir: dir })
    }

    pub(super) fn process(&self) -> Option<Process> {
        Process::of(&self.child)
    }

    /// Ends it.
    pub(super) async fn end(mut self) -> Result<()> {
        target::end(&mut self.child).await
    }
}
