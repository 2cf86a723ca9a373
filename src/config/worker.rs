//! What a worker agent can be told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::options::{DrainOption, WorkerOptions};
use super::{ClientSettings, ConfigError, ContainerSettings};
use crate::base::secret::Secret;
use crate::base::tls::Trust;
use crate::protocol::WorkerId;

/// Settings of `worker`, and of the local worker of `up`.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The dispatcher: `ws://host:3000/ws`, `https://host` or `host:3000`.
    pub url: String,
    /// Proves the role `worker`; none for a dispatcher started with `--open`.
    pub token: Option<Secret>,
    /// Whose certificate is believed where the URL is one with TLS.
    pub trust: Trust,
    /// Where a token was looked for in vain.
    pub token_sought: Option<PathBuf>,
    /// The worker's name; from the host's name, kept in the data directory, unless given.
    pub id: Option<WorkerId>,
    /// Jobs at a time; one a processor.
    pub slots: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where its workspaces are, and what it must remember.
    pub data_dir: PathBuf,
    /// GPUs of a machine where NVML finds none, numbered from 0; elsewhere what NVML says counts.
    pub gpus: Option<u32>,
    /// Where its SFTP server listens; none: there is none.
    pub sftp: Option<SocketAddr>,
    /// How long jobs may go on after SIGTERM before they are stopped; 60 s.
    pub drain_timeout: Duration,
    /// Largest ZIP that is fetched for a workspace; 4 GiB, as much as a dispatcher takes.
    pub download_bytes: u64,
    /// Largest workspace that a ZIP may unpack to; 8 GiB.
    pub unpacked_bytes: u64,
    /// The container engine, and what containers may do.
    pub containers: ContainerSettings,
    /// Version that the agent reports.
    pub version: String,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX));
        Self {
            url: "ws://127.0.0.1:3000/ws".to_owned(),
            token: None,
            trust: Trust::default(),
            token_sought: None,
            id: None,
            slots: cpus,
            labels: BTreeMap::new(),
            data_dir: PathBuf::from("gangline-data"),
            gpus: None,
            sftp: None,
            drain_timeout: Duration::from_secs(60),
            download_bytes: 4 * 1024 * 1024 * 1024,
            unpacked_bytes: 8 * 1024 * 1024 * 1024,
            containers: ContainerSettings::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Puts what was said over the defaults.
pub(super) fn resolve(
    options: WorkerOptions,
    drain: DrainOption,
    peer: ClientSettings,
    data_dir: PathBuf,
) -> Result<WorkerSettings, ConfigError> {
    let ClientSettings { url, token, token_sought, trust } = peer;
    let WorkerOptions { id, slots, labels, gpus, sftp, download_bytes, unpacked_bytes, container, drain_timeout } =
        options;
    let default = WorkerSettings::default();
    if slots == Some(0) {
        return Err(ConfigError::Contradiction("slots must be 1 or more".to_owned()));
    }
    Ok(WorkerSettings {
        url,
        token,
        trust,
        token_sought,
        id,
        slots: slots.unwrap_or(default.slots),
        labels: labels.into_iter().map(|label| (label.key, label.value)).collect(),
        data_dir,
        gpus,
        sftp,
        drain_timeout: drain.drain_timeout.or(drain_timeout).map_or(default.drain_timeout, |span| span.0),
        download_bytes: download_bytes.map_or(default.download_bytes, |size| size.0),
        unpacked_bytes: unpacked_bytes.map_or(default.unpacked_bytes, |size| size.0),
        containers: super::container::resolve(container)?,
        version: default.version,
    })
}
