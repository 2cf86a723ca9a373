//! Frames of type `plugin`: between the dispatcher and the processes that answer its hooks, and for the
//! administrators who look after them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codec::{Acknowledged, Nothing, verbs};
use super::container::{ContainerRecord, Create};
use super::id::PluginName;
use super::job::JobRecord;
use super::spec::JobSpec;
use super::worker::WorkerRecord;

verbs! {
    /// Plugin to dispatcher.
    pub enum PluginReport: Plugin {
        "register" => Register(RegisterPlugin),
        "answer" => Answer(Box<Answer>),
    }
}

verbs! {
    /// Dispatcher to plugin.
    pub enum PluginOrder: Plugin {
        "registered" => Registered(RegisteredPlugin),
        "call" => Call(Box<Call>),
        "event" => Event(Box<Event>),
        "ok" => Ok(Acknowledged),
    }
}

verbs! {
    /// Administrator to dispatcher.
    pub enum PluginRequest: Plugin {
        "list" => List(Nothing),
    }
}

verbs! {
    /// Dispatcher to administrator.
    pub enum PluginEvent: Plugin {
        "plugins" => Plugins(PluginsReply),
    }
}

/// Where a plugin takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Hook {
    /// Decides on a job before it is stored.
    #[serde(rename = "job.submit")]
    JobSubmit,
    /// Is told that an attempt of a job was given to a worker.
    #[serde(rename = "job.start")]
    JobStart,
    /// Is told that a job is over.
    #[serde(rename = "job.end")]
    JobEnd,
    /// Decides on a container before it is stored.
    #[serde(rename = "container.create")]
    ContainerCreate,
    /// Is told that a container runs.
    #[serde(rename = "container.start")]
    ContainerStart,
    /// Is told that a container runs no more.
    #[serde(rename = "container.end")]
    ContainerEnd,
    /// Is told that a worker is there.
    #[serde(rename = "worker.online")]
    WorkerOnline,
    /// Is told that a worker was not heard of for too long.
    #[serde(rename = "worker.offline")]
    WorkerOffline,
}

/// What happens to whatever a plugin was to decide on when it does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It goes on without the plugin.
    #[default]
    Open,
    /// It is refused, for now.
    Closed,
}

/// `register`: the first frame of a plugin, on every connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisterPlugin {
    /// The plugin's name, the same over restarts.
    pub name: PluginName,
    /// What it takes part in; at least one.
    pub hooks: Vec<Hook>,
}

/// The reply to `register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredPlugin {
    /// Its name.
    pub name: PluginName,
    /// What it takes part in, each once.
    pub hooks: Vec<Hook>,
    /// How long it may take for an answer.
    pub timeout_ms: u64,
}

/// A question: exactly one of `job` and `container` is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// To be repeated in the answer.
    pub call_id: u64,
    /// What is to be decided.
    pub hook: Hook,
    /// Who asks for it.
    pub account: String,
    /// The asker's idempotency key: the same job may be asked about again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The job, checked, with a template filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobSpec>,
    /// The container, as it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Create>,
    /// When the answer must be there, in milliseconds of the server's clock.
    pub deadline_ms: u64,
}

/// What a plugin decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// As it is.
    Allow,
    /// As the answer has it.
    Change,
    /// Not at all.
    Refuse,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Which call.
    #[serde(alias = "call_id")]
    pub call_id: u64,
    /// What is decided.
    pub action: Action,
    /// With `refuse`: what the asker is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// With `change`: the whole job as it is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobSpec>,
    /// With `change`: the whole container as it is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Create>,
}

/// Something happened: exactly one of `job`, `container` and `worker` is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// What happened.
    pub hook: Hook,
    /// When, in milliseconds.
    pub time: u64,
    /// Events since the one before that were dropped, because the plugin reads too slowly.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// The job as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobRecord>,
    /// The container as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRecord>,
    /// The worker as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerRecord>,
}

/// All plugins of a dispatcher, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginsReply {
    /// Those that it was told of, and those that are connected to it.
    pub plugins: Vec<PluginRecord>,
}

/// What is known of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginRecord {
    /// Its name.
    pub name: PluginName,
    /// What it takes part in: as it registered, and as the settings say.
    pub hooks: Vec<Hook>,
    /// What happens when it does not answer.
    pub policy: Policy,
    /// How long it may take for an answer.
    pub timeout_ms: u64,
    /// Whether the settings name it.
    pub configured: bool,
    /// Connected since, in milliseconds.
    pub connected_at: Option<u64>,
    /// Questions since the dispatcher started, or, where the settings do not name it, since it connected.
    pub calls: u64,
    /// Those of them that had no answer of use.
    pub failures: u64,
    /// Events that were dropped.
    pub dropped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Hook {
    /// Whether it is a question; all others are news.
    pub fn decides(self) -> bool {
        match self {
            Self::JobSubmit | Self::ContainerCreate => true,
            Self::JobStart
            | Self::JobEnd
            | Self::ContainerStart
            | Self::ContainerEnd
            | Self::WorkerOnline
            | Self::WorkerOffline => false,
        }
    }
}
