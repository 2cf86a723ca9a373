//! The server that is measured: one that runs already, or one of our own in a process of its own.
//!
//! Its own process, so that what the server uses and what the generator uses can be told apart. Its data lives
//! in a temporary directory and goes with it.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::peer::Peer;
use crate::base::secret::Secret;
use crate::client::Client;
use crate::config::ClientSettings;
use crate::link::Address;
use crate::protocol::auth::{Role, TokenCreate};
use crate::protocol::spec::Requires;
use crate::protocol::{JobId, WorkerId};

/// Time for a server to get ready, also one that shares its processors.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How often a server that is starting is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// Time for a server to end when asked to; then it is killed.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Life of the token for a worker on a server that runs already: longer than any run.
const TOKEN_SECS: u64 = 3600;

/// See the module.
pub(super) struct Target {
    pub(super) address: Address,
    /// An administrator's, who is exempt from the frame rate.
    pub(super) token: Option<Secret>,
    pub(super) worker_token: Option<Secret>,
    /// Keeps jobs and workers of a run together where others use the server, too.
    pub(super) requires: Requires,
    pub(super) worker: WorkerId,
    /// Those of the server, where they are known.
    pub(super) processes: Vec<Process>,
    server: Option<Server>,
    /// What ends with the run on a server that goes on.
    lent: Option<Lent>,
}

struct Server {
    child: Child,
    started_in: Duration,
    /// Its data.
    _dir: Option<TempDir>,
}

struct Lent {
    settings: ClientSettings,
    token: String,
}

impl Target {
    /// A server that runs already. `pids` are its processes, where they are on this machine and of interest.
    pub(super) async fn running(settings: ClientSettings, pids: Vec<u32>) -> Result<Self> {
        let address: Address = settings.url.parse()?;
        ensure!(!address.is_tls(), "bench measures over ws:// and http:// only");
        // Nothing of an earlier run has this name.
        let worker: WorkerId = format!("bench-{}", uuid::Uuid::new_v4()).parse()?;
        let mut client = Client::connect(&settings).await?;
        let lent = match &settings.token {
            None => None,
            Some(_) => {
                let create = TokenCreate { role: Role::Worker, account: None, ttl_secs: Some(TOKEN_SECS), name: None };
                let token = client.token_create(create).await.context("only an administrator can measure")?.token;
                Some(Lent { settings: settings.clone(), token })
            }
        };
        client.close().await;
        Ok(Self {
            address,
            token: settings.token,
            worker_token: lent.as_ref().map(|lent| Secret::new(lent.token.clone())),
            requires: Requires { worker_id: Some(worker.clone()), ..Requires::default() },
            worker,
            processes: pids.into_iter().map(Process).collect(),
            server: None,
            lent,
        })
    }

    /// A server of our own, with a fresh data directory and limits that no run reaches.
    pub(super) async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("gangline-bench-").tempdir()?;
        let (address, port) = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--log", "warn", "--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--limits-queue", "100000000", "--limits-account-queue", "100000000"]);
        command.args(["--limits-follows", "1000000", "--limits-connections", "100000"]);
        command.args(["--limits-output-bytes", "64GiB"]);
        command.arg("--data-dir").arg(dir.path()).current_dir(dir.path()).env_remove("GANGLINE_CONFIG");
        let (child, started_in) = start(command, &address).await?;
        Ok(Self {
            token: Some(read(&dir, "admin.token")?),
            worker_token: Some(read(&dir, "worker.token")?),
            ..Self::of(address, Server { child, started_in, _dir: Some(dir) })?
        })
    }

    /// A server that passes on what one writes to all others, see [`super::limit`].
    pub(super) async fn limit() -> Result<Self> {
        let (address, port) = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "limit", "--port", &port.to_string()]);
        let (child, started_in) = start(command, &address).await?;
        Self::of(address, Server { child, started_in, _dir: None })
    }

    fn of(address: Address, server: Server) -> Result<Self> {
        Ok(Self {
            address,
            token: None,
            worker_token: None,
            requires: Requires::default(),
            worker: "bench".parse()?,
            processes: Process::of(&server.child).into_iter().collect(),
            server: Some(server),
            lent: None,
        })
    }

    /// How long our own server took from its start to its first WebSocket.
    pub(super) fn started_in(&self) -> Option<Duration> {
        self.server.as_ref().map(|server| server.started_in)
    }

    /// Ends what the run began.
    pub(super) async fn end(self) -> Result<()> {
        if let Some(Lent { settings, token }) = self.lent {
            let mut client = Client::connect(&settings).await?;
            client.token_revoke(token).await?;
            client.close().await;
        }
        if let Some(mut server) = self.server {
            end(&mut server.child).await?;
        }
        Ok(())
    }
}

/// An address for a server: taken, let go and taken again by the server, which says nowhere what it was given.
fn free_port() -> Result<(Address, u16)> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    Ok((format!("127.0.0.1:{port}").parse()?, port))
}

/// Starts a server, and says how long it took to open a WebSocket.
async fn start(mut command: Command, address: &Address) -> Result<(Child, Duration)> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a server")?;
    let ready = async {
        while Peer::connect(address, None).await.is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("the server ended: {status}");
            }
            sleep(ASK_EVERY).await;
        }
        Ok(())
    };
    timeout(READY_WITHIN, ready).await.context("the server did not get ready")??;
    Ok((child, started.elapsed()))
}

/// Ends a child process: asks, waits, insists.
pub(super) async fn end(child: &mut Child) -> Result<()> {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
    }
    if timeout(END_WITHIN, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

fn read(dir: &TempDir, name: &str) -> Result<Secret> {
    let path = dir.path().join(name);
    let token = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Secret::new(token.trim()))
}

/// A process whose use of the machine is of interest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process(u32);

/// Unit of processor time in `/proc`, on every architecture of Linux.
const TICKS_PER_SECOND: u64 = 100;

impl Process {
    /// Of a child.
    pub(super) fn of(child: &Child) -> Option<Self> {
        child.id().map(Self)
    }

    /// Processor time so far.
    pub(super) fn cpu(self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The second field is the name, in parentheses, and may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        // Fields 14 and 15: time in the program and in the kernel.
        let ticks: u64 =
            fields.split_ascii_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// Resident memory now, in bytes.
    pub(super) fn resident(self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory so far, in bytes.
    pub(super) fn resident_most(self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no memory in /proc")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }
}

/// What processes use of the processors from now on.
pub(super) struct Meter {
    began: Instant,
    processes: Vec<(&'static str, Vec<Process>, Duration)>,
}

impl Meter {
    /// Begins with the server, where its processes are known, a worker where there is one, and this process.
    pub(super) fn start(target: &Target, worker: Option<Process>) -> Result<Self> {
        let own = vec![Process(std::process::id())];
        let named = [
            ("server's processor", target.processes.clone()),
            ("worker's processor", worker.into_iter().collect()),
            ("generator's processor", own),
        ];
        let known = named.into_iter().filter(|(_, of)| !of.is_empty());
        let processes = known.map(|(name, of)| spent(&of).map(|spent| (name, of, spent))).collect::<Result<_>>()?;
        Ok(Self { began: Instant::now(), processes })
    }

    /// What each has used, in percent of one processor.
    pub(super) fn used(&self) -> Result<Vec<(&'static str, f64)>> {
        let elapsed = self.began.elapsed().as_secs_f64();
        let share = |(name, of, before): &(&'static str, Vec<Process>, Duration)| {
            Ok((*name, spent(of)?.saturating_sub(*before).as_secs_f64() / elapsed * 100.0))
        };
        self.processes.iter().map(share).collect()
    }
}

/// Processor time of processes so far, together.
fn spent(processes: &[Process]) -> Result<Duration> {
    processes.iter().map(|process| process.cpu()).sum()
}

/// The number in a job's id.
pub(super) fn job_number(id: &str) -> Result<u64> {
    Ok(id.parse::<JobId>()?.number)
}
