//! A worker's record.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::base::clock::Millis;
use crate::model::account::Contact;
use crate::protocol::WorkerId;

/// What is known of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its name.
    pub id: WorkerId,
    /// When its agent started, in milliseconds; a larger one supersedes.
    pub boot: u64,
    /// Its machine.
    pub hostname: String,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub arch: String,
    /// Version of the agent.
    pub version: String,
    /// Processors.
    pub cpu_count: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// Disk of the workspaces.
    pub disk_bytes: u64,
    /// Its GPUs, by index.
    pub gpus: Vec<Gpu>,
    /// Jobs at a time.
    pub slots: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The address that it was last connected from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Whether it has a container engine.
    pub containers: bool,
    /// Whether it takes no new jobs.
    pub draining: bool,
    /// Last heard of.
    pub last_seen: Millis,
    /// The dispatcher that it is, or was last, connected to.
    #[serde(default)]
    pub instance: String,
    /// Whether it has no connection and polls for jobs over HTTP, from its address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub polls: bool,
    /// How clients that it is brokered to reach it; none: it is not brokered.
    #[serde(default)]
    pub contact: Option<Contact>,
    /// Address of its SFTP server, as others reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sftp: Option<String>,
}

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its index.
    pub index: u32,
    /// Model.
    pub name: String,
    /// The device's own id.
    pub uuid: String,
    /// Its memory.
    pub memory_bytes: u64,
}
