//! A Redis of one's own: to be killed, stopped, cut short and replaced.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::eventually;
use crate::support::process::{Process, free_address};

/// Often enough to know to a few commands what the file held at any time.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Longer ago nobody asks.
const LOOKS_KEPT: usize = 1_000;

/// A `redis-server` with an append-only file that is synced every second.
pub(crate) struct RedisServer {
    pub(crate) address: SocketAddr,
    process: Option<Process>,
    looks: Looks,
    /// How much of the append-only file is synced whatever happens.
    safe: u64,
    watcher: JoinHandle<()>,
    // Last, so that it outlives the server.
    dir: TempDir,
}

/// How long the append-only file was, and when.
type Looks = Arc<Mutex<VecDeque<(Instant, PathBuf, u64)>>>;

impl RedisServer {
    pub(crate) async fn start() -> Self {
        Self::launch(&[]).await
    }

    /// One that copies `primary`, and has caught up with it.
    pub(crate) async fn replica_of(primary: &Self) -> Self {
        let port = primary.address.port().to_string();
        let replica = Self::launch(&["--replicaof", "127.0.0.1", &port]).await;
        eventually("the replica to catch up", async || {
            let info: String = replica.ask(redis::cmd("INFO").arg("replication")).await?;
            info.contains("master_link_status:up").then_some(())
        })
        .await;
        replica
    }

    async fn launch(more: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let (address, looks) = (free_address(), Looks::default());
        let (place, seen) = (dir.path().join("appendonlydir"), Arc::clone(&looks));
        let watcher = tokio::spawn(async move {
            loop {
                if let Some((path, len)) = tail_file(&place) {
                    let mut looks = seen.lock();
                    looks.push_back((Instant::now(), path, len));
                    if looks.len() > LOOKS_KEPT {
                        looks.pop_front();
                    }
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        let mut server = Self { address, process: None, looks, safe: 0, watcher, dir };
        server.run(more).await;
        server
    }

    async fn run(&mut self, more: &[&str]) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.address.port().to_string(), "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"]);
        command.args(["--repl-diskless-sync-delay", "0", "--logfile", "redis.log"]);
        // One who may do anything but speak or listen on a channel.
        command.args(["--user", "quiet", "on", ">quiet", "~*", "resetchannels", "+@all"]);
        command.args(more).current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        self.process = Some(Process::start(command, self.dir.path().join("stderr.log")));
        eventually("Redis to answer", async || self.ask::<String>(&mut redis::cmd("PING")).await).await;
    }

    /// Asks once; none where there is no answer.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, command: &mut redis::Cmd) -> Option<T> {
        let client = redis::Client::open(format!("redis://{}", self.address)).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        command.query_async(&mut connection).await.ok()
    }

    /// What was written up to now is on disk.
    pub(crate) fn settle(&mut self) {
        self.safe = tail_file(&self.dir.path().join("appendonlydir")).map_or(0, |(_, len)| len);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// The same, and what came into the append-only file within `back` is gone: it was not synced yet.
    pub(crate) fn kill_and_cut(&mut self, back: Duration) {
        self.kill();
        let cut = Instant::now().checked_sub(back).expect("a moment");
        let Some((path, len)) = tail_file(&self.dir.path().join("appendonlydir")) else { return };
        let looks = self.looks.lock();
        let mut before = looks.iter().rev().filter(|(_, of, _)| *of == path).skip_while(|(at, ..)| *at > cut);
        let kept = before.next().map_or(len, |(_, _, kept)| *kept);
        let file = File::options().write(true).open(&path).expect("the append-only file");
        file.set_len(kept.max(self.safe).min(len)).expect("it can be cut");
    }

    pub(crate) async fn restart(&mut self) {
        self.run(&[]).await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// The file that is being appended to, and its length.
fn tail_file(dir: &Path) -> Option<(PathBuf, u64)> {
    let files = fs::read_dir(dir).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let number = |path: &PathBuf| -> Option<u64> {
        let name = path.file_name()?.to_str()?.strip_suffix(".incr.aof")?;
        name.rsplit('.').next()?.parse().ok()
    };
    let path = files.filter(|path| number(path).is_some()).max_by_key(number)?;
    let len = fs::metadata(&path).ok()?.len();
    Some((path, len))
}
