//! What a job is asked to be: the fields of `submit`, and of `assign` on its way to a worker.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::container::spec::Service;
use super::id::{ContainerId, WorkerId};
use super::lenient::{or_default, word_or_default};

/// A job's spec. `command`, `args`, `template` exclude each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    /// A shell script, run as is by `/bin/sh -c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// An argument vector, run without a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Run inside a container of this image.
    #[serde(skip_serializing_if = "Option::is_none", alias = "image_id", alias = "imageId")]
    pub image: Option<String>,
    /// Environment variables beside the worker's own.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory, relative to the job's workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For filters.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// A ZIP to unpack into the workspace first.
    #[serde(skip_serializing_if = "Option::is_none", alias = "file_url")]
    pub file_url: Option<String>,
    /// The ZIP's own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// A named template of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The template's parameters.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, serde_json::Value>,
    /// Whether standard input stays open for `input`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub stdin: bool,
    /// Whether, and how large, a pseudo-terminal the job gets.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Tty::is_off")]
    pub tty: Tty,
    /// What the worker must have.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Requires::is_empty")]
    pub requires: Requires,
    /// Higher runs first.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// Limit of the run, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", alias = "timeout_secs")]
    pub timeout_secs: Option<f64>,
    /// Limit of the wait, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", alias = "queue_timeout_secs")]
    pub queue_timeout_secs: Option<f64>,
    /// Between SIGTERM and SIGKILL, in seconds; 10 unless given.
    #[serde(skip_serializing_if = "Option::is_none", alias = "grace_secs")]
    pub grace_secs: Option<f64>,
    /// What happens when the worker is lost.
    #[serde(deserialize_with = "word_or_default", skip_serializing_if = "OnLost::is_fail", alias = "on_lost")]
    pub on_lost: OnLost,
    /// Most runs under `onLost: requeue`; 3 unless given.
    #[serde(skip_serializing_if = "Option::is_none", alias = "max_attempts")]
    pub max_attempts: Option<u32>,
    /// Glob patterns of files to keep when the job ends, relative to the workspace.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// On the way to a worker: run inside this running container. Clients use `container exec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerId>,
    /// On the way to a worker: this is a container, of the image above. Clients use `container create`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
}

/// `tty`: `true`, `false` or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Tty {
    /// `true` is a terminal of 80 by 24.
    Switch(bool),
    /// A terminal of this size.
    Size {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
}

// By hand, because the derived reader of an untagged enum forgets which field is wrong.
impl<'de> Deserialize<'de> for Tty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Size {
            cols: u16,
            rows: u16,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Tty;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or {\"cols\":80,\"rows\":24}")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Tty, E> {
                Ok(Tty::Switch(on))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tty, A::Error> {
                let Size { cols, rows } = Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Tty::Size { cols, rows })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Default for Tty {
    fn default() -> Self {
        Self::Switch(false)
    }
}

impl Tty {
    /// Whether no terminal was asked for.
    pub fn is_off(&self) -> bool {
        *self == Self::Switch(false)
    }
}

/// What a worker must have to get the job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, expecting = "an object such as {\"gpus\":1,\"labels\":{\"zone\":\"eu-1\"}}")]
pub struct Requires {
    /// This worker and no other.
    #[serde(skip_serializing_if = "Option::is_none", alias = "worker_id", alias = "machine_id", alias = "machineId")]
    pub worker_id: Option<WorkerId>,
    /// Labels that the worker must carry.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Processors, in thousandths at the finest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none", alias = "memory_bytes")]
    pub memory_bytes: Option<u64>,
    /// How many GPUs, whichever they are.
    #[serde(skip_serializing_if = "Option::is_none", alias = "gpu_count", alias = "gpuCount")]
    pub gpus: Option<u32>,
    /// These GPUs, by index.
    #[serde(skip_serializing_if = "Option::is_none", alias = "gpu_ids")]
    pub gpu_ids: Option<Vec<u32>>,
}

impl Requires {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens to a job whose worker is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnLost {
    /// It ends `failed/worker_lost`: executed at most once.
    #[default]
    Fail,
    /// It runs again: executed at least once.
    Requeue,
}

impl OnLost {
    // Takes a reference because serde calls it so.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    fn is_fail(&self) -> bool {
        *self == Self::Fail
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}
