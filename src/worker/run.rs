//! An agent's life: set up, connect again and again, wind down.
//!
//! Going down has three steps: no new jobs; time for those that run; then they are killed. The
//! connection outlives all of it, so that every end is told.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::agent::{Agent, Jobs, Used};
use super::engine::Labels;
use super::engines::{self, Engines};
use super::executor::cgroup::Cgroups;
use super::executor::{self, tree};
use super::held::Why;
use super::home::{self, Home};
use super::outbox::Outbox;
use super::services::{self, Asides, Meter};
use super::session::{self, SessionEnd};
use super::sftp;
use super::sftp::logins::Logins;
use super::sftp::places::Places;
use super::system::{Gpus, Machine};
use super::workspace::transfer::Transfer;
use super::workspace::{Sizes, Workspaces};
use super::{WorkerError, orphans};
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;
use crate::config::{MissingToken, WorkerSettings};
use crate::link::{self, Address};
use crate::protocol::WorkerId;
use crate::protocol::hello::AuthMode;
use crate::protocol::limits::HEARTBEAT_EVERY;

/// First and longest wait before connecting again. A dispatcher that restarts is back within
/// a second; one that is away for long is asked twice a minute or so.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// What jobs that were killed may take to be over and told.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Runs an agent until `shutdown` ends it, and every job with it.
///
/// A first signal drains: no new jobs are taken, those that run may go on for
/// `drain_timeout`, then they are stopped, with grace. A cut kills everything at once.
///
/// # Errors
/// The agent cannot start, or the dispatcher does not want it: see [`WorkerError`]. An
/// unreachable dispatcher is no error, it is tried again for ever.
pub async fn run(settings: WorkerSettings, shutdown: Shutdown) -> Result<(), WorkerError> {
    let address: Address = settings.url.parse()?;
    let agent = set_up(&settings, &address, &shutdown).await?;
    let visits = serve_files(&agent, settings.sftp)?;

    let mut connected = pin!(stay_connected(&agent, &address, &settings));
    let ended = tokio::select! {
        ended = &mut connected => ended,
        () = wind_down(&agent, settings.drain_timeout, &shutdown) => {
            agent.gone.cancel();
            connected.await
        }
    };
    agent.gone.cancel();
    agent.jobs.stop_all(Why::Forgotten);
    if !agent.tasks.finished(LAST_WORDS).await {
        tracing::warn!("some jobs could not be ended");
    }
    if let Some(visits) = visits {
        let _ = timeout(LAST_WORDS, visits).await;
    }
    if let Some(cgroups) = &agent.cgroups {
        cgroups.remove();
    }
    ended
}

/// The name that an agent with these settings goes by. Made and kept where none was given.
///
/// # Errors
/// The data directory cannot be used.
pub fn name(settings: &WorkerSettings) -> Result<WorkerId, WorkerError> {
    match &settings.id {
        Some(id) => Ok(id.clone()),
        None => home::default_id(&settings.data_dir),
    }
}

/// Serves SFTP, if it is to.
fn serve_files(agent: &Arc<Agent>, address: Option<SocketAddr>) -> Result<Option<oneshot::Receiver<()>>, WorkerError> {
    let Some(address) = address else { return Ok(None) };
    sftp::Server::bind(address, &agent.home.host_key())
        .and_then(|server| {
            // The port is known now, also where any would do.
            agent.sftp.get_or_init(|| server.address());
            server.start(Arc::clone(agent))
        })
        .map(Some)
        .map_err(|source| WorkerError::Sftp { address, source })
}

/// Locks the directory, removes what an earlier run left, and looks at the machine.
async fn set_up(settings: &WorkerSettings, address: &Address, shutdown: &Shutdown) -> Result<Arc<Agent>, WorkerError> {
    let id = name(settings)?;
    let home = Home::open(&settings.data_dir, &id)?;
    let failed = |source| WorkerError::DataDir { path: home.dir().to_owned(), source };
    let clock = Clock::default();
    let boot = home.next_boot(clock.now()).map_err(failed)?;
    tree::adopt_orphans();

    let (groups_record, spills, work, declared) =
        (home.groups_record(), home.spills(), home.workspaces(), settings.gpus);
    let (machine, gpus, workspaces, cgroups) = tokio::task::spawn_blocking(move || -> io::Result<_> {
        orphans::remove_groups(&groups_record);
        orphans::kill_processes(&work);
        orphans::remove_files(&[&work, &spills])?;
        std::fs::create_dir_all(&spills)?;
        let cgroups = Cgroups::new(boot);
        if let Some(cgroups) = &cgroups {
            std::fs::write(groups_record, cgroups.root().as_os_str().as_encoded_bytes())?;
        }
        let workspaces = Workspaces::new(&work)?;
        let gpus = Arc::new(Gpus::find(declared));
        Ok((Machine::new(Arc::clone(&gpus), &work), gpus, workspaces, cgroups))
    })
    .await
    .map_err(io::Error::other)
    .and_then(|done| done)
    .map_err(failed)?;

    let labels = Labels { worker: &id, home: home.dir() };
    let engine = Engines::look(settings.containers.engine.addresses(), labels).await;

    let specs = machine.specs();
    let (usage_sender, usage) = watch::channel(Used::default());
    let places = Places::new(home.containers());
    let agent = Arc::new(Agent {
        id,
        boot,
        slots: settings.slots,
        labels: settings.labels.clone(),
        version: settings.version.clone(),
        has_gpus: !specs.gpus.is_empty(),
        gpus,
        specs,
        clock,
        clock_offset: AtomicI64::new(0),
        outbox: Outbox::default(),
        home,
        workspaces,
        transfer: Transfer::new(address.clone(), settings.token.clone(), settings.trust.clone()),
        sizes: Sizes { download: settings.download_bytes, unpacked: settings.unpacked_bytes },
        cgroups,
        engine,
        containers: settings.containers.clone(),
        hidden: executor::hidden_variables(),
        search_path: executor::search_path(),
        usage,
        tasks: Shutdown::new(),
        ordered_to_drain: AtomicBool::new(false),
        leaving: CancellationToken::new(),
        gone: CancellationToken::new(),
        jobs: Jobs::default(),
        asides: Asides::default(),
        sftp: OnceLock::new(),
        places,
        logins: Logins::default(),
    });
    services::find(&agent).await;
    shutdown.spawn(watch_machine(machine, usage_sender, Arc::clone(&agent)));
    Ok(agent)
}

/// Looks at the machine again and again, away from the runtime, and for its container engine.
async fn watch_machine(mut machine: Machine, usage: watch::Sender<Used>, agent: Arc<Agent>) {
    let gone = &agent.gone;
    let mut meter = Meter::default();
    let mut ticks = interval(HEARTBEAT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_time = tokio::select! {
            () = gone.cancelled() => return,
            () = agent.engine.doubted() => false,
            _ = ticks.tick() => true,
        };
        let look = tokio::task::spawn_blocking(move || {
            let usage = machine.usage();
            (machine, usage)
        });
        // A driver that hangs holds up nothing but this.
        let looked = tokio::select! {
            () = gone.cancelled() => return,
            looked = look => looked,
        };
        let Ok((same, now)) = looked else {
            tracing::warn!("cannot tell what the machine uses any more");
            return;
        };
        machine = same;
        usage.send_modify(|used| used.machine = Some(now));
        tokio::select! {
            () = gone.cancelled() => return,
            () = engines::look_again(&agent) => (),
        }
        if is_time {
            let containers = tokio::select! {
                () = gone.cancelled() => return,
                containers = meter.read(&agent) => containers,
            };
            usage.send_modify(|used| used.containers = containers);
        }
    }
}

/// Connects, and connects again, until the agent is gone.
async fn stay_connected(agent: &Arc<Agent>, address: &Address, settings: &WorkerSettings) -> Result<(), WorkerError> {
    let token = settings.token.as_ref();
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut told = false;
    loop {
        let link = tokio::select! {
            () = agent.gone.cancelled() => return Ok(()),
            link = link::dial(address, token, &settings.trust) => link,
        };
        let ended = match link {
            Ok(link) if link.hello.auth == AuthMode::Required && token.is_none() => {
                return Err(MissingToken { sought: settings.token_sought.clone() }.into());
            }
            Ok(link) => Ok(session::run(agent, link).await),
            Err(error) => Err(error),
        };
        match ended {
            Ok(SessionEnd::Left) => return Ok(()),
            Ok(SessionEnd::Refused(error)) => return Err(WorkerError::Refused(error)),
            Ok(SessionEnd::Lost { end, .. }) if !end.should_reconnect() => return Err(WorkerError::Closed(end)),
            Ok(SessionEnd::Lost { end, registered }) => {
                tracing::warn!(%end, "connecting again");
                if registered {
                    backoff.reset();
                }
                told = false;
            }
            Ok(SessionEnd::Changed) => {
                backoff.reset();
                continue;
            }
            Err(error) if !error.retry() => return Err(error.into()),
            Err(error) if told => tracing::debug!(%error, "trying again"),
            Err(error) => {
                tracing::warn!(%error, "trying again");
                told = true;
            }
        }
        tokio::select! {
            () = agent.gone.cancelled() => return Ok(()),
            () = sleep(backoff.next_wait()) => (),
        }
    }
}

/// Waits for the signal to end, and sees to it that no job is left.
async fn wind_down(agent: &Agent, drain_timeout: Duration, shutdown: &Shutdown) {
    shutdown.draining().cancelled().await;
    agent.leaving.cancel();
    tokio::select! {
        () = agent.jobs.none_left() => return,
        () = sleep(drain_timeout) => tracing::warn!("jobs still run after {drain_timeout:?}; stopping them"),
        () = shutdown.cut().cancelled() => (),
    }
    let grace = agent.jobs.stop_all(Why::Leaving);
    tokio::select! {
        () = agent.jobs.none_left() => return,
        () = sleep(grace + LAST_WORDS) => (),
        () = shutdown.cut().cancelled() => (),
    }
    agent.jobs.stop_all(Why::Cut);
    let _ = timeout(LAST_WORDS, agent.jobs.none_left()).await;
}
