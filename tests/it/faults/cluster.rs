//! Three dispatchers on one Redis, workers, and proxies between any two of them: what can be broken.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt};
use tempfile::TempDir;

use super::proxy::{Proxy, Way, Ways};
use super::redis::RedisServer;
use super::work::Work;
use crate::support::Peer;
use crate::support::process::{Process, admin, free_address, token};

/// Workers are heard of every second and given up after six.
const LEASE: Duration = Duration::from_secs(6);

const DISPATCHERS: usize = 3;
const WORKERS: usize = 3;
const SLOTS: u32 = 8;

/// What is done to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    KillDispatcher,
    StopDispatcher,
    RollDispatchers,
    KillWorker,
    StopWorker,
    /// Past its lease.
    LoseWorker,
    RestartWorker,
    KillRedis,
    StopRedis,
    PauseRedis,
    /// Redis dies, and what it had not synced is gone.
    CutRedis,
    /// The same, and more is gone than workers still hold.
    CutRedisDeep,
    PromoteReplica,
    Blackhole,
    Reset,
    Latency,
    OneWay,
    OneByte,
}

impl Fault {
    pub(crate) const ALL: [Self; 18] = [
        Self::KillDispatcher,
        Self::StopDispatcher,
        Self::RollDispatchers,
        Self::KillWorker,
        Self::StopWorker,
        Self::LoseWorker,
        Self::RestartWorker,
        Self::KillRedis,
        Self::StopRedis,
        Self::PauseRedis,
        Self::CutRedis,
        Self::CutRedisDeep,
        Self::PromoteReplica,
        Self::Blackhole,
        Self::Reset,
        Self::Latency,
        Self::OneWay,
        Self::OneByte,
    ];

    /// Whether no worker is ended or given up by it: then no job is.
    pub(crate) fn spares_workers(self) -> bool {
        match self {
            // Of a deep cut some is older than what anybody remembers.
            Self::KillWorker | Self::LoseWorker | Self::RestartWorker | Self::CutRedisDeep => false,
            Self::KillDispatcher
            | Self::StopDispatcher
            | Self::RollDispatchers
            | Self::StopWorker
            | Self::KillRedis
            | Self::StopRedis
            | Self::PauseRedis
            | Self::CutRedis
            | Self::PromoteReplica
            | Self::Blackhole
            | Self::Reset
            | Self::Latency
            | Self::OneWay
            | Self::OneByte => true,
        }
    }

    /// Whether something else may break at the same time. Where the store has lost its tail, dispatchers
    /// and workers are all that still holds it.
    pub(crate) fn mixes(self) -> bool {
        match self {
            Self::RollDispatchers | Self::CutRedis | Self::CutRedisDeep | Self::PromoteReplica | Self::LoseWorker => {
                false
            }
            Self::KillDispatcher
            | Self::StopDispatcher
            | Self::KillWorker
            | Self::StopWorker
            | Self::RestartWorker
            | Self::KillRedis
            | Self::StopRedis
            | Self::PauseRedis
            | Self::Blackhole
            | Self::Reset
            | Self::Latency
            | Self::OneWay
            | Self::OneByte => true,
        }
    }
}

/// What is to be mended, in the order in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wound {
    Way(Stretch),
    RedisStopped,
    RedisDead,
    DispatcherStopped(usize),
    DispatcherDead(usize),
    WorkerStopped(usize),
    WorkerDead(usize),
}

/// A way between two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stretch {
    /// From a dispatcher to Redis.
    Redis(usize),
    /// From followers to a dispatcher.
    Clients(usize),
    /// From a worker to whichever dispatcher.
    Worker(usize),
}

struct Dispatcher {
    home: PathBuf,
    address: SocketAddr,
    to_redis: Proxy,
    from_clients: Proxy,
    process: Option<Process>,
}

struct Worker {
    to_dispatchers: Proxy,
    process: Option<Process>,
}

/// See the module.
pub(crate) struct Cluster {
    pub(crate) work: Work,
    dispatchers: Vec<Dispatcher>,
    workers: Vec<Worker>,
    redis: RedisServer,
    user: &'static str,
    // Last, so that what the processes said can still be shown.
    home: TempDir,
}

impl Cluster {
    /// Without doorbells: no instance may publish or subscribe.
    pub(crate) async fn start(seed: u32, doorbells: bool) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        let mut redis = RedisServer::start().await;
        let user = if doorbells { "" } else { "quiet:quiet@" };
        let mut dispatchers = Vec::new();
        for number in 0..DISPATCHERS {
            let (home, address) = (home.path().join(format!("d{number}")), free_address());
            std::fs::create_dir(&home).expect("a directory");
            let (to_redis, from_clients) = (Proxy::start(redis.address).await, Proxy::start(address).await);
            dispatchers.push(Dispatcher { home, address, to_redis, from_clients, process: None });
        }
        for dispatcher in &mut dispatchers {
            dispatcher.start(user).await;
        }
        // Accounts and tokens are nothing that dispatchers bring back.
        redis.settle();
        let addresses: Vec<SocketAddr> = dispatchers.iter().map(|dispatcher| dispatcher.address).collect();
        let mut workers = Vec::new();
        for number in 0..WORKERS {
            let mut addresses = addresses.clone();
            addresses.rotate_left(number % DISPATCHERS);
            workers.push(Worker { to_dispatchers: Proxy::over(addresses).await, process: None });
        }
        let work = Work::new(home.path(), token(&home.path().join("d0"), "admin.token"), seed);
        let mut cluster = Self { work, dispatchers, workers, redis, user, home };
        (0..WORKERS).for_each(|number| cluster.start_worker(number));
        cluster
    }

    fn start_worker(&mut self, number: usize) {
        let home = self.home.path().join("d0");
        let address = self.workers[number].to_dispatchers.address;
        self.workers[number].process = Some(Process::worker(&home, address, &format!("w{number}"), SLOTS));
    }

    /// Where followers and submitters find dispatchers, beginning with any.
    pub(crate) fn ways_in(&self, random: &mut impl Rng) -> Vec<SocketAddr> {
        let mut ways: Vec<SocketAddr> =
            self.dispatchers.iter().map(|dispatcher| dispatcher.from_clients.address).collect();
        ways.rotate_left(random.random_range(0..DISPATCHERS));
        ways
    }

    /// An administrator's connection.
    pub(crate) async fn admin(&self, random: &mut impl Rng) -> Peer {
        let address = self.dispatchers[random.random_range(0..DISPATCHERS)].address;
        admin(&self.dispatchers[0].home, address).await
    }

    /// Breaks something; returns what is to be mended, and how long it is to be left so.
    pub(crate) async fn hurt(&mut self, fault: Fault, random: &mut SmallRng) -> (Vec<Wound>, Duration) {
        let one = random.random_range(0..DISPATCHERS);
        let worker = random.random_range(0..WORKERS);
        let short = Duration::from_millis(random.random_range(50..1_500));
        let wound = match fault {
            Fault::KillDispatcher => {
                self.dispatchers[one].process = None;
                Wound::DispatcherDead(one)
            }
            Fault::StopDispatcher => {
                signal(self.dispatchers[one].process.as_ref(), Signal::SIGSTOP);
                Wound::DispatcherStopped(one)
            }
            Fault::RollDispatchers => {
                for dispatcher in &mut self.dispatchers {
                    signal(dispatcher.process.as_ref(), Signal::SIGTERM);
                    if let Some(process) = &mut dispatcher.process {
                        process.ended().await;
                    }
                    dispatcher.process = None;
                    dispatcher.start(self.user).await;
                }
                return (Vec::new(), Duration::ZERO);
            }
            Fault::KillWorker => {
                self.workers[worker].process = None;
                Wound::WorkerDead(worker)
            }
            Fault::StopWorker | Fault::LoseWorker => {
                signal(self.workers[worker].process.as_ref(), Signal::SIGSTOP);
                let wound = vec![Wound::WorkerStopped(worker)];
                return (wound, if fault == Fault::LoseWorker { LEASE + short } else { short });
            }
            Fault::RestartWorker => {
                // Twice: its jobs are not waited for.
                signal(self.workers[worker].process.as_ref(), Signal::SIGTERM);
                tokio::time::sleep(short).await;
                signal(self.workers[worker].process.as_ref(), Signal::SIGTERM);
                if let Some(process) = &mut self.workers[worker].process {
                    process.ended().await;
                }
                self.workers[worker].process = None;
                return (vec![Wound::WorkerDead(worker)], Duration::ZERO);
            }
            Fault::KillRedis => {
                self.redis.kill();
                Wound::RedisDead
            }
            Fault::CutRedis => {
                self.redis.kill_and_cut(Duration::from_millis(random.random_range(0..1_800)));
                Wound::RedisDead
            }
            Fault::CutRedisDeep => {
                self.redis.kill_and_cut(Duration::from_millis(random.random_range(3_000..4_000)));
                Wound::RedisDead
            }
            Fault::StopRedis => {
                self.redis.signal(Signal::SIGSTOP);
                Wound::RedisStopped
            }
            Fault::PauseRedis => {
                let millis = u64::try_from(short.as_millis()).unwrap_or(0);
                let _: Option<String> = self.redis.ask(redis::cmd("CLIENT").arg("PAUSE").arg(millis).arg("ALL")).await;
                return (Vec::new(), short);
            }
            Fault::PromoteReplica => {
                let replica = RedisServer::replica_of(&self.redis).await;
                // Work goes on while it copies.
                tokio::time::sleep(short).await;
                self.redis = replica;
                let _: Option<String> = self.redis.ask(redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await;
                for dispatcher in &self.dispatchers {
                    dispatcher.to_redis.lead_to(self.redis.address);
                }
                return (Vec::new(), Duration::ZERO);
            }
            Fault::Blackhole | Fault::Reset | Fault::Latency | Fault::OneWay | Fault::OneByte => {
                let stretch = match random.random_range(0..3) {
                    0 => Stretch::Redis(one),
                    1 => Stretch::Clients(one),
                    _ => Stretch::Worker(worker),
                };
                let there_only = random.random_bool(0.5);
                let way = self.way(stretch);
                match fault {
                    Fault::Reset => {
                        way.cut();
                        return (Vec::new(), Duration::ZERO);
                    }
                    Fault::Latency => way.make(Ways::both(Way::Late(short / 10))),
                    Fault::OneByte => way.make(Ways::both(Way::Drip)),
                    Fault::OneWay if there_only => way.make(Ways { there: Way::Silent, back: Way::Open }),
                    Fault::OneWay => way.make(Ways { there: Way::Open, back: Way::Silent }),
                    _ => way.make(Ways::both(Way::Silent)),
                }
                Wound::Way(stretch)
            }
        };
        (vec![wound], short)
    }

    /// Mends what was broken.
    pub(crate) async fn mend(&mut self, wound: Wound) {
        match wound {
            Wound::Way(stretch) => self.way(stretch).make(Ways::both(Way::Open)),
            Wound::RedisStopped => self.redis.signal(Signal::SIGCONT),
            Wound::RedisDead => self.redis.restart().await,
            Wound::DispatcherStopped(one) => signal(self.dispatchers[one].process.as_ref(), Signal::SIGCONT),
            Wound::DispatcherDead(one) => self.dispatchers[one].start(self.user).await,
            Wound::WorkerStopped(worker) => signal(self.workers[worker].process.as_ref(), Signal::SIGCONT),
            Wound::WorkerDead(worker) => self.start_worker(worker),
        }
    }

    fn way(&self, stretch: Stretch) -> &Proxy {
        match stretch {
            Stretch::Redis(one) => &self.dispatchers[one].to_redis,
            Stretch::Clients(one) => &self.dispatchers[one].from_clients,
            Stretch::Worker(worker) => &self.workers[worker].to_dispatchers,
        }
    }

    /// Where the processes write what they have to say.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }
}

impl Dispatcher {
    async fn start(&mut self, user: &str) {
        if self.process.is_none() {
            let redis = format!("redis://{user}{}", self.to_redis.address);
            let lease = format!("{}s", LEASE.as_secs());
            let more = ["--redis", &redis, "--heartbeat", "1s", "--lease", &lease];
            self.process = Some(Process::serve(&self.home, self.address, &more).await);
        }
    }
}

/// A process that another fault has ended hears nothing.
fn signal(process: Option<&Process>, signal: Signal) {
    if let Some(process) = process {
        process.signal(signal);
    }
}
