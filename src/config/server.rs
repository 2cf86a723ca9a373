//! What a dispatcher can be told.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::options::{DrainOption, LimitOptions, ServerOptions};
use super::{BlobsUrl, ConfigError, PluginSettings};
use crate::base::secret::Secret;
use crate::protocol::{WorkerId, limits};

/// What an answered submit survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The death of the process: the answer waits for the write
    #[default]
    Process,
    /// A power cut: the answer waits for the disk
    Full,
}

/// What a dispatcher shows when it is reached over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate and those of its issuers, PEM.
    pub cert: PathBuf,
    /// The certificate's private key, PEM.
    pub key: PathBuf,
}

/// The store that several dispatchers share.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`, with user and password where it asks for them.
    pub url: Secret,
    /// What all keys begin with.
    pub prefix: String,
    /// Parts that jobs are spread over.
    pub partitions: u32,
}

/// Settings of `serve` and `up`.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Present: everything is served over TLS, and nothing in the clear.
    pub tls: Option<TlsFiles>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Whether everyone is an administrator.
    pub open: bool,
    /// Whether `open` is allowed on an address that others can reach.
    pub open_anywhere: bool,
    /// Whether anybody may register an account of role `user` by the older systems' routes.
    pub registration: bool,
    /// Proxies whose `X-Forwarded-For` says where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins of pages, beside the server's own, that may connect.
    pub allowed_origins: Vec<String>,
    /// What an answered submit survives.
    pub durability: Durability,
    /// The Redis that keeps everything, where it is no file in the data directory.
    pub redis: Option<RedisSettings>,
    /// Where files and finished logs are, where that is not the data directory.
    pub blobs: Option<BlobsUrl>,
    /// The address at which the other dispatchers reach this one.
    pub advertise: Option<String>,
    /// How long after a job's end its log leaves Redis; 10 s, or 30 s where files are on this machine's disk.
    pub archive_after: Duration,
    /// A directory of job templates beside the built-in one.
    pub templates: Option<PathBuf>,
    /// Plugins that it counts on; those that it was not told of may connect, too.
    pub plugins: Vec<PluginSettings>,
    /// How long a worker owns a job without a heartbeat; 30 s.
    pub lease: Duration,
    /// How often workers send a heartbeat; 10 s.
    pub heartbeat: Duration,
    /// Life of an access token that a password bought; 1 h.
    pub access_token_ttl: Duration,
    /// How long sockets and requests may take to end after SIGTERM; 10 s.
    pub drain_timeout: Duration,
    /// Threads of the runtime; half the processors, because what crosses them costs more than
    /// the second half gives.
    pub threads: usize,
    /// The worker of this very process: it runs what is to run on the server itself.
    pub local_worker: Option<WorkerId>,
    /// Sizes and counts.
    pub limits: Limits,
}

/// Sizes and counts, so that nothing is unbounded.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest frame of a client.
    pub client_frame_bytes: usize,
    /// Largest frame of a worker.
    pub worker_frame_bytes: usize,
    /// Frames a second and connection, administrators and workers aside.
    pub frames_per_second: u32,
    /// Frames at once.
    pub frame_burst: u32,
    /// Logs that one connection may follow.
    pub follows: usize,
    /// Connections at a time.
    pub connections: usize,
    /// HTTP requests a second and address; 1,000.
    pub requests_per_second: NonZeroU32,
    /// HTTP requests of one address at once; 5,000.
    pub request_burst: NonZeroU32,
    /// Jobs a second that one account may submit, administrators aside; 1,000, and five times as many at once.
    pub submits_per_second: NonZeroU32,
    /// Jobs at a time that a worker is given, whatever it asks for; 10,000.
    pub worker_jobs: u32,
    /// Jobs that may be pending.
    pub queue: u64,
    /// Jobs of one account that may be pending.
    pub account_queue: u64,
    /// Output kept per job; beyond it the oldest is removed. 256 MiB.
    pub output_bytes: u64,
    /// How long a finished job is kept; 30 days.
    pub retention_age: Duration,
    /// How many finished jobs are kept; 10,000.
    pub retention_jobs: u64,
    /// Largest upload or artifact; 4 GiB.
    pub upload_bytes: u64,
    /// Unacknowledged output that a worker may have under way for one job.
    pub window_bytes: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3000)),
            tls: None,
            data_dir: PathBuf::from("gangline-data"),
            open: false,
            open_anywhere: false,
            registration: true,
            trusted_proxies: Vec::new(),
            allowed_origins: Vec::new(),
            durability: Durability::default(),
            redis: None,
            blobs: None,
            advertise: None,
            archive_after: Duration::from_secs(10),
            templates: None,
            plugins: Vec::new(),
            lease: limits::LEASE,
            heartbeat: limits::HEARTBEAT_EVERY,
            access_token_ttl: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(10),
            threads: std::thread::available_parallelism().map_or(1, |cpus| (cpus.get() / 2).max(1)),
            local_worker: None,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client_frame_bytes: limits::CLIENT_FRAME_BYTES,
            worker_frame_bytes: limits::WORKER_FRAME_BYTES,
            frames_per_second: limits::FRAMES_PER_SECOND,
            frame_burst: limits::FRAME_BURST,
            follows: limits::FOLLOWS_PER_CONNECTION,
            connections: 20_000,
            requests_per_second: NonZeroU32::new(1_000).expect("it is not 0"),
            request_burst: NonZeroU32::new(5_000).expect("it is not 0"),
            submits_per_second: NonZeroU32::new(1_000).expect("it is not 0"),
            worker_jobs: 10_000,
            queue: 1_000_000,
            account_queue: 100_000,
            output_bytes: 256 * 1024 * 1024,
            retention_age: Duration::from_secs(30 * 24 * 3600),
            retention_jobs: 10_000,
            upload_bytes: 4 * 1024 * 1024 * 1024,
            window_bytes: limits::WINDOW_BYTES,
        }
    }
}

/// Puts what was said over the defaults, and refuses what cannot work.
pub(super) fn resolve(
    options: ServerOptions,
    limits: LimitOptions,
    drain: DrainOption,
    data_dir: PathBuf,
) -> Result<ServerSettings, ConfigError> {
    let ServerOptions {
        listen,
        tls_cert,
        tls_key,
        open,
        open_anywhere,
        registration,
        trusted_proxies,
        allowed_origins,
        durability,
        redis,
        redis_prefix,
        redis_partitions,
        blobs,
        advertise,
        archive_after,
        templates,
        lease,
        heartbeat,
        access_token_ttl,
        threads,
        drain_timeout,
    } = options;
    let default = ServerSettings::default();
    // What was just watched is looked at once more, and then must not depend on a single machine.
    let archive = if blobs.is_some() { default.archive_after } else { default.archive_after * 3 };
    let tls = match (tls_cert, tls_key) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        (Some(_), None) => return Err(ConfigError::Contradiction("tls-cert needs tls-key beside it".to_owned())),
        (None, Some(_)) => return Err(ConfigError::Contradiction("tls-key needs tls-cert beside it".to_owned())),
    };
    let settings = ServerSettings {
        listen: listen.unwrap_or(default.listen),
        tls,
        data_dir,
        open: open.unwrap_or(default.open),
        open_anywhere: open_anywhere.unwrap_or(default.open_anywhere),
        registration: registration.unwrap_or(default.registration),
        trusted_proxies,
        allowed_origins,
        durability: durability.unwrap_or(default.durability),
        redis: redis.map(|url| RedisSettings {
            url,
            prefix: redis_prefix.unwrap_or_else(|| "gangline".to_owned()),
            partitions: redis_partitions.unwrap_or(1),
        }),
        archive_after: archive_after.map_or(archive, |span| span.0),
        blobs,
        advertise,
        templates,
        plugins: Vec::new(),
        lease: lease.map_or(default.lease, |span| span.0),
        heartbeat: heartbeat.map_or(default.heartbeat, |span| span.0),
        access_token_ttl: access_token_ttl.map_or(default.access_token_ttl, |span| span.0),
        drain_timeout: drain.drain_timeout.or(drain_timeout).map_or(default.drain_timeout, |span| span.0),
        threads: threads.unwrap_or(default.threads),
        local_worker: None,
        limits: resolve_limits(limits),
    };
    check(&settings)?;
    Ok(settings)
}

fn check(settings: &ServerSettings) -> Result<(), ConfigError> {
    let refuse = |message: String| Err(ConfigError::Contradiction(message));
    if settings.heartbeat < Duration::from_secs(1) {
        return refuse("heartbeat must be 1s or more".to_owned());
    }
    if settings.lease < settings.heartbeat * 2 {
        return refuse("lease must be at least twice the heartbeat, or one late heartbeat loses a job".to_owned());
    }
    if !(1..=1024).contains(&settings.threads) {
        return refuse("threads must be 1 to 1024".to_owned());
    }
    if let Some(redis) = &settings.redis
        && (redis.prefix.is_empty() || redis.prefix.contains(['{', '}']) || redis.prefix.contains(char::is_whitespace))
    {
        return refuse("redis-prefix must be a word without braces".to_owned());
    }
    if let Some(url) = &settings.advertise
        && !url.starts_with("http://")
        && !url.starts_with("https://")
    {
        return refuse("advertise must be the http:// or https:// address of this dispatcher".to_owned());
    }
    let limits = &settings.limits;
    let at_least = [
        ("client-frame-bytes", limits.client_frame_bytes, limits::UNAUTHENTICATED_FRAME_BYTES),
        // A chunk of output in base64, and what stands around it.
        ("worker-frame-bytes", limits.worker_frame_bytes, 2 * limits::CHUNK_BYTES),
        ("follows", limits.follows, 1),
        ("connections", limits.connections, 2),
        ("worker-jobs", limits.worker_jobs as usize, 1),
    ];
    match at_least.into_iter().find(|(_, value, least)| value < least) {
        Some((name, value, least)) => refuse(format!("limits.{name} must be {least} or more, not {value}")),
        None if limits.frames_per_second == 0 || limits.frame_burst == 0 => {
            refuse("limits.frames-per-second and limits.frame-burst must be 1 or more".to_owned())
        }
        None if limits.window_bytes < limits::CHUNK_BYTES as u64 => {
            refuse(format!("limits.window-bytes must hold one chunk of output, {} bytes", limits::CHUNK_BYTES))
        }
        None => Ok(()),
    }
}

fn resolve_limits(options: LimitOptions) -> Limits {
    let LimitOptions {
        client_frame_bytes,
        worker_frame_bytes,
        frames_per_second,
        frame_burst,
        follows,
        connections,
        requests_per_second,
        request_burst,
        submits_per_second,
        worker_jobs,
        queue,
        account_queue,
        output_bytes,
        retention_age,
        retention_jobs,
        upload_bytes,
        window_bytes,
    } = options;
    let default = Limits::default();
    // On the machines this runs on, a size in memory is 64 bits wide.
    let memory =
        |size: Option<super::Size>, default| size.map_or(default, |size| usize::try_from(size.0).unwrap_or(usize::MAX));
    Limits {
        client_frame_bytes: memory(client_frame_bytes, default.client_frame_bytes),
        worker_frame_bytes: memory(worker_frame_bytes, default.worker_frame_bytes),
        frames_per_second: frames_per_second.unwrap_or(default.frames_per_second),
        frame_burst: frame_burst.unwrap_or(default.frame_burst),
        follows: follows.unwrap_or(default.follows),
        connections: connections.unwrap_or(default.connections),
        requests_per_second: requests_per_second.unwrap_or(default.requests_per_second),
        request_burst: request_burst.unwrap_or(default.request_burst),
        submits_per_second: submits_per_second.unwrap_or(default.submits_per_second),
        worker_jobs: worker_jobs.unwrap_or(default.worker_jobs),
        queue: queue.unwrap_or(default.queue),
        account_queue: account_queue.unwrap_or(default.account_queue),
        output_bytes: output_bytes.map_or(default.output_bytes, |size| size.0),
        retention_age: retention_age.map_or(default.retention_age, |span| span.0),
        retention_jobs: retention_jobs.unwrap_or(default.retention_jobs),
        upload_bytes: upload_bytes.map_or(default.upload_bytes, |size| size.0),
        window_bytes: window_bytes.map_or(default.window_bytes, |size| size.0),
    }
}
