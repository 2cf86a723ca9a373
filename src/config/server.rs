//! What a dispatcher can be told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::limits;

/// What an answered submit survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process: the answer waits for the write.
    #[default]
    Process,
    /// A power cut: the answer waits for the disk.
    Full,
}

/// Settings of `serve` and `up`.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Whether everyone is an administrator.
    pub open: bool,
    /// Whether `open` is allowed on an address that others can reach.
    pub open_anywhere: bool,
    /// Origins of pages, beside the server's own, that may connect.
    pub allowed_origins: Vec<String>,
    /// What an answered submit survives.
    pub durability: Durability,
    /// How long a worker owns a job without a heartbeat; 30 s.
    pub lease: Duration,
    /// How often workers send a heartbeat; 10 s.
    pub heartbeat: Duration,
    /// Life of an access token that a password bought; 1 h.
    pub access_token_ttl: Duration,
    /// How long sockets and requests may take to end after SIGTERM; 10 s.
    pub drain_timeout: Duration,
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
            data_dir: PathBuf::from("gangline-data"),
            open: false,
            open_anywhere: false,
            allowed_origins: Vec::new(),
            durability: Durability::default(),
            lease: limits::LEASE,
            heartbeat: limits::HEARTBEAT_EVERY,
            access_token_ttl: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(10),
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
