//! Every setting once: its flag, its variable, its key in `gangline.toml`, its meaning.
//!
//! A struct here is both a group of flags and a section of the file, so that the three names of
//! a setting cannot drift apart: `--lease`, `GANGLINE_LEASE`, `lease` under `[server]`. All
//! fields are optional; what stays unset has the default of the settings it ends up in.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::server::Durability;
use super::value::{BlobsUrl, Pair, Size, Span};
use crate::base::secret::Secret;
use crate::base::telemetry::Filter;
use crate::protocol::WorkerId;

/// What every command understands. In the file these stand at the top, above all sections.
#[expect(clippy::doc_markdown, reason = "shown in a terminal, where backticks are noise")]
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub struct CommonOptions {
    /// Configuration file [default: ./gangline.toml, else gangline/gangline.toml in $XDG_CONFIG_HOME]
    #[arg(long, global = true, env = "GANGLINE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The dispatcher [default: ws://127.0.0.1:3000/ws]
    #[arg(long, global = true, env = "GANGLINE_URL", value_name = "URL")]
    pub url: Option<String>,
    /// A token; others on this machine can see flags, so better: [env: GANGLINE_TOKEN], or --token-file
    // Not read from the environment by clap: a file given as a flag must win over a token given
    // as a variable, and clap does not say where a value came from.
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// A file that holds the token [env: GANGLINE_TOKEN_FILE] [default: admin.token or
    /// worker.token in the data directory, for a dispatcher on this machine]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) of authorities to trust for wss:// and https://, beside this machine's own
    #[arg(long, global = true, env = "GANGLINE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Where dispatcher and worker keep what they must not lose [default: gangline in $XDG_DATA_HOME]
    #[arg(long, global = true, env = "GANGLINE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// What to log, such as info or gangline=debug [default: info for serve and worker, else warn]
    #[arg(long, global = true, env = "GANGLINE_LOG", value_name = "FILTER")]
    pub log: Option<Filter>,
    /// How to log [default: text; json under --json]
    #[arg(long, global = true, env = "GANGLINE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line an event
    Text,
    /// One JSON object an event
    Json,
}

/// `[server]`: flags of `serve` and `up`.
#[expect(clippy::doc_markdown, reason = "shown in a terminal, where backticks are noise")]
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Dispatcher")]
pub struct ServerOptions {
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:3000]
    #[arg(long, env = "GANGLINE_LISTEN", value_name = "IP:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Serve over TLS with this certificate: a PEM file, the server's own first, then its issuers
    #[arg(long, env = "GANGLINE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key: a PEM file
    #[arg(long, env = "GANGLINE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Ask nobody for a token: whoever can connect is an administrator
    #[arg(long, env = "GANGLINE_OPEN", value_name = "BOOL", value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub open: Option<bool>,
    /// Allow --open on an address that other machines can reach
    #[arg(long, env = "GANGLINE_OPEN_ANYWHERE", value_name = "BOOL", value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub open_anywhere: Option<bool>,
    /// Let anybody who can connect register an account that may submit jobs, as the older systems did [default: true]
    #[arg(long, env = "GANGLINE_REGISTRATION", value_name = "BOOL", value_parser = BoolishValueParser::new())]
    pub registration: Option<bool>,
    /// Proxy in front, as an address or a network: its X-Forwarded-For says where a request comes from; may be repeated
    #[arg(long = "trusted-proxy", env = "GANGLINE_TRUSTED_PROXIES", value_name = "NET", value_delimiter = ',', value_parser = network)]
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Origin of pages that may connect, beside the dispatcher's own; may be repeated
    #[arg(long = "allowed-origin", env = "GANGLINE_ALLOWED_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
    /// What an answered submit survives [default: process]
    #[arg(long, env = "GANGLINE_DURABILITY", value_name = "LEVEL")]
    pub durability: Option<Durability>,
    /// Keep everything in this Redis, which other dispatchers share, instead of a file in the data directory;
    /// others on this machine can see flags, so a password is better in the environment or the file
    #[arg(long, env = "GANGLINE_REDIS_URL", value_name = "URL", hide_env_values = true, value_parser = secret)]
    pub redis: Option<Secret>,
    /// What keys in Redis begin with [default: gangline]
    #[arg(long, env = "GANGLINE_REDIS_PREFIX", value_name = "TEXT", hide_short_help = true)]
    pub redis_prefix: Option<String>,
    /// Parts that jobs are spread over in Redis; the same for all dispatchers, and for good [default: 1]
    #[arg(long, env = "GANGLINE_REDIS_PARTITIONS", value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub redis_partitions: Option<u32>,
    /// Keep uploads, artifacts and finished logs in a directory that all dispatchers share (file:///DIR), or in a
    /// bucket (s3://BUCKET/PREFIX, with what the AWS_... variables say) [default: blobs in the data directory]
    #[arg(long, env = "GANGLINE_BLOBS", value_name = "URL")]
    pub blobs: Option<BlobsUrl>,
    /// Address at which other dispatchers reach this one, for files on its disk [default: http://<listen>]
    #[arg(long, env = "GANGLINE_ADVERTISE", value_name = "URL", hide_short_help = true)]
    pub advertise: Option<String>,
    /// How long after a job's end its log moves from Redis to the files [default: 10s; 30s without --blobs]
    #[arg(long, env = "GANGLINE_ARCHIVE_AFTER", value_name = "TIME", hide_short_help = true)]
    pub archive_after: Option<Span>,
    /// A directory of job templates, TOML files that are read again when they change
    #[arg(long, env = "GANGLINE_TEMPLATES", value_name = "DIR")]
    pub templates: Option<PathBuf>,
    /// How long a worker owns its jobs without a heartbeat [default: 30s]
    #[arg(long, env = "GANGLINE_LEASE", value_name = "TIME", hide_short_help = true)]
    pub lease: Option<Span>,
    /// How often workers send a heartbeat [default: 10s]
    #[arg(long, env = "GANGLINE_HEARTBEAT", value_name = "TIME", hide_short_help = true)]
    pub heartbeat: Option<Span>,
    /// How long a login with a password lasts [default: 1h]
    #[arg(long, env = "GANGLINE_ACCESS_TOKEN_TTL", value_name = "TIME", hide_short_help = true)]
    pub access_token_ttl: Option<Span>,
    /// Threads of the dispatcher [default: half the processors, at least 1]
    #[arg(long, env = "GANGLINE_THREADS", value_name = "N", hide_short_help = true)]
    pub threads: Option<usize>,
    /// How long connections may take to end after SIGTERM [default: 10s]
    #[arg(skip)]
    pub drain_timeout: Option<Span>,
}

/// `[limits]`: sizes and counts of a dispatcher.
#[derive(Debug, Clone, Copy, Default, PartialEq, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Limits of the dispatcher")]
pub struct LimitOptions {
    /// Largest frame of a client [default: 64KiB]
    #[arg(
        long = "limits-client-frame-bytes",
        env = "GANGLINE_LIMITS_CLIENT_FRAME_BYTES",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub client_frame_bytes: Option<Size>,
    /// Largest frame of a worker [default: 1MiB]
    #[arg(
        long = "limits-worker-frame-bytes",
        env = "GANGLINE_LIMITS_WORKER_FRAME_BYTES",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub worker_frame_bytes: Option<Size>,
    /// Frames a second and connection; administrators and workers are exempt [default: 200]
    #[arg(
        long = "limits-frames-per-second",
        env = "GANGLINE_LIMITS_FRAMES_PER_SECOND",
        value_name = "N",
        hide_short_help = true
    )]
    pub frames_per_second: Option<u32>,
    /// Frames at once [default: 5000]
    #[arg(long = "limits-frame-burst", env = "GANGLINE_LIMITS_FRAME_BURST", value_name = "N", hide_short_help = true)]
    pub frame_burst: Option<u32>,
    /// Logs that one connection may follow [default: 128]
    #[arg(long = "limits-follows", env = "GANGLINE_LIMITS_FOLLOWS", value_name = "N", hide_short_help = true)]
    pub follows: Option<usize>,
    /// Connections at a time [default: 20000]
    #[arg(long = "limits-connections", env = "GANGLINE_LIMITS_CONNECTIONS", value_name = "N", hide_short_help = true)]
    pub connections: Option<usize>,
    /// HTTP requests a second and address [default: 1000]
    #[arg(
        long = "limits-requests-per-second",
        env = "GANGLINE_LIMITS_REQUESTS_PER_SECOND",
        value_name = "N",
        hide_short_help = true
    )]
    pub requests_per_second: Option<NonZeroU32>,
    /// HTTP requests of one address at once [default: 5000]
    #[arg(
        long = "limits-request-burst",
        env = "GANGLINE_LIMITS_REQUEST_BURST",
        value_name = "N",
        hide_short_help = true
    )]
    pub request_burst: Option<NonZeroU32>,
    /// Jobs a second that one account may submit, five times as many at once; administrators are exempt [default: 1000]
    #[arg(
        long = "limits-submits-per-second",
        env = "GANGLINE_LIMITS_SUBMITS_PER_SECOND",
        value_name = "N",
        hide_short_help = true
    )]
    pub submits_per_second: Option<NonZeroU32>,
    /// Jobs at a time that a worker is given, whatever it asks for [default: 10000]
    #[arg(long = "limits-worker-jobs", env = "GANGLINE_LIMITS_WORKER_JOBS", value_name = "N", hide_short_help = true)]
    pub worker_jobs: Option<u32>,
    /// Jobs that may wait [default: 1000000]
    #[arg(long = "limits-queue", env = "GANGLINE_LIMITS_QUEUE", value_name = "N", hide_short_help = true)]
    pub queue: Option<u64>,
    /// Jobs of one account that may wait [default: 100000]
    #[arg(
        long = "limits-account-queue",
        env = "GANGLINE_LIMITS_ACCOUNT_QUEUE",
        value_name = "N",
        hide_short_help = true
    )]
    pub account_queue: Option<u64>,
    /// Output kept of a job; beyond it the oldest goes [default: 256MiB]
    #[arg(
        long = "limits-output-bytes",
        env = "GANGLINE_LIMITS_OUTPUT_BYTES",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub output_bytes: Option<Size>,
    /// How long a finished job is kept [default: 30d]
    #[arg(
        long = "limits-retention-age",
        env = "GANGLINE_LIMITS_RETENTION_AGE",
        value_name = "TIME",
        hide_short_help = true
    )]
    pub retention_age: Option<Span>,
    /// How many finished jobs are kept [default: 10000]
    #[arg(
        long = "limits-retention-jobs",
        env = "GANGLINE_LIMITS_RETENTION_JOBS",
        value_name = "N",
        hide_short_help = true
    )]
    pub retention_jobs: Option<u64>,
    /// Largest upload or artifact [default: 4GiB]
    #[arg(
        long = "limits-upload-bytes",
        env = "GANGLINE_LIMITS_UPLOAD_BYTES",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub upload_bytes: Option<Size>,
    /// Output of one job that a worker may have under way without an answer [default: 4MiB]
    #[arg(
        long = "limits-window-bytes",
        env = "GANGLINE_LIMITS_WINDOW_BYTES",
        value_name = "SIZE",
        hide_short_help = true
    )]
    pub window_bytes: Option<Size>,
}

/// `[worker]`: flags of `worker`, and of `up` for the worker in it.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Worker")]
pub struct WorkerOptions {
    /// The worker's name, the same over restarts [default: the host's name]
    #[arg(long, env = "GANGLINE_WORKER_ID", value_name = "ID")]
    pub id: Option<WorkerId>,
    /// Jobs at a time [default: the number of processors]
    #[arg(long, env = "GANGLINE_SLOTS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: Option<u32>,
    /// A label that jobs may ask for; may be repeated
    #[arg(long = "label", env = "GANGLINE_LABELS", value_name = "KEY=VALUE", value_delimiter = ',')]
    #[serde(deserialize_with = "table")]
    pub labels: Vec<Pair>,
    /// Declare this many GPUs, on a machine where NVML finds none
    #[arg(long, env = "GANGLINE_GPUS", value_name = "N")]
    pub gpus: Option<u32>,
    /// Serve the files of jobs and containers over SFTP at this address; port 0 takes a free one
    #[arg(long, env = "GANGLINE_SFTP", value_name = "IP:PORT", value_parser = address)]
    pub sftp: Option<SocketAddr>,
    /// Largest ZIP that is fetched for a job [default: 4GiB]
    #[arg(long, env = "GANGLINE_DOWNLOAD_BYTES", value_name = "SIZE", hide_short_help = true)]
    pub download_bytes: Option<Size>,
    /// Largest workspace that a ZIP may unpack to [default: 8GiB]
    #[arg(long, env = "GANGLINE_UNPACKED_BYTES", value_name = "SIZE", hide_short_help = true)]
    pub unpacked_bytes: Option<Size>,
    /// What containers may do.
    #[command(flatten)]
    pub container: ContainerOptions,
    /// How long running jobs may go on after SIGTERM
    #[arg(skip)]
    pub drain_timeout: Option<Span>,
}

/// `[worker.container]`: the container engine, and what jobs with an image may do in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ContainerOptions {
    /// Where the container engine listens, or none.
    #[arg(
        long = "container-engine",
        env = "GANGLINE_CONTAINER_ENGINE",
        value_name = "URL",
        help = "Where the container engine listens, as unix:///PATH or tcp://HOST:PORT, or none for no containers \
            [default: $DOCKER_HOST, else the usual sockets of Docker and Podman]"
    )]
    pub engine: Option<String>,
    /// Network of jobs with an image: none, bridge, or one that the engine knows by name [default: none]
    #[arg(long = "container-network", env = "GANGLINE_CONTAINER_NETWORK", value_name = "NAME", hide_short_help = true)]
    pub network: Option<String>,
    /// Whether jobs with an image can write to their workspace and /tmp only [default: true]
    #[arg(
        long = "container-read-only",
        env = "GANGLINE_CONTAINER_READ_ONLY",
        value_name = "BOOL",
        hide_short_help = true
    )]
    pub read_only: Option<bool>,
    /// A capability that jobs with an image keep, such as CHOWN, or ALL; may be repeated [default: none]
    #[arg(
        long = "container-capability",
        env = "GANGLINE_CONTAINER_CAPABILITIES",
        value_name = "NAME",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub capabilities: Vec<String>,
    /// Whether programs in containers may gain privileges, as sudo does [default: false]
    #[arg(
        long = "container-new-privileges",
        env = "GANGLINE_CONTAINER_NEW_PRIVILEGES",
        value_name = "BOOL",
        hide_short_help = true
    )]
    pub new_privileges: Option<bool>,
    /// Whether jobs with an image get every privilege of the host; containers never do [default: false]
    #[arg(
        long = "container-privileged",
        env = "GANGLINE_CONTAINER_PRIVILEGED",
        value_name = "BOOL",
        hide_short_help = true
    )]
    pub privileged: Option<bool>,
    /// Processes and threads of one container at a time; 0 for no limit [default: 1024]
    #[arg(
        long = "container-pids-limit",
        env = "GANGLINE_CONTAINER_PIDS_LIMIT",
        value_name = "N",
        hide_short_help = true
    )]
    pub pids_limit: Option<u32>,
    /// Network of containers that are no jobs [default: bridge]
    #[arg(
        long = "container-service-network",
        env = "GANGLINE_CONTAINER_SERVICE_NETWORK",
        value_name = "NAME",
        hide_short_help = true
    )]
    pub service_network: Option<String>,
}

/// `--drain-timeout`, which `serve`, `worker` and `up` have once each.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct DrainOption {
    /// How long SIGTERM waits before it cuts: for connections, 10s; for a worker's jobs, 60s
    #[arg(long, env = "GANGLINE_DRAIN_TIMEOUT", value_name = "TIME")]
    pub drain_timeout: Option<Span>,
}

fn secret(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an address and a port, such as 127.0.0.1:3000 or [::]:3000".to_owned())
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse().map(|address: IpAddr| address.into());
    address
        .or_else(|_| text.parse())
        .map_err(|_| "expected an address or a network, such as 10.0.0.7 or 10.0.0.0/8".to_owned())
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| network(text)).collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

/// Labels in the file are a table, `labels = { gpu = "a100" }`.
fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pair>, D::Error> {
    let table = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(table.into_iter().map(|(key, value)| Pair { key, value }).collect())
}

/// Takes over from the second what the first leaves unset, field by field.
macro_rules! fill {
    ($into:ident from $file:ident: $($field:ident),+ $(; lists $($list:ident),+)?) => {
        $($into.$field = $into.$field.or($file.$field);)+
        $($(if $into.$list.is_empty() { $into.$list = $file.$list; })+)?
    };
}

impl ServerOptions {
    pub(super) fn or(mut self, file: Self) -> Self {
        fill!(self from file: listen, tls_cert, tls_key, open, open_anywhere, registration, durability, redis, redis_prefix,
            redis_partitions, blobs, advertise, archive_after, templates, lease, heartbeat, access_token_ttl, threads,
            drain_timeout; lists allowed_origins, trusted_proxies);
        self
    }
}

impl LimitOptions {
    pub(super) fn or(mut self, file: Self) -> Self {
        fill!(self from file: client_frame_bytes, worker_frame_bytes, frames_per_second, frame_burst, follows,
            connections, requests_per_second, request_burst, submits_per_second, worker_jobs, queue, account_queue, output_bytes, retention_age, retention_jobs, upload_bytes, window_bytes);
        self
    }
}

impl WorkerOptions {
    pub(super) fn or(mut self, file: Self) -> Self {
        self.container = self.container.or(file.container);
        fill!(self from file: id, slots, gpus, sftp, download_bytes, unpacked_bytes, drain_timeout; lists labels);
        self
    }
}

impl ContainerOptions {
    fn or(mut self, file: Self) -> Self {
        fill!(self from file: engine, network, read_only, new_privileges, privileged, pids_limit, service_network;
            lists capabilities);
        self
    }
}
