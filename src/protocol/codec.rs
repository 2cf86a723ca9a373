//! Frames as text: reading them leniently, writing them once.
//!
//! Reading accepts what people type (any field order, unknown fields, an `id` of either kind)
//! and refuses the rest with an error that names the field. Nothing here panics on any input.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::agent::{
    AgentContainerOrder, AgentContainerReport, AgentJobOrder, AgentJobReport, AgentOrder, AgentOutput, AgentReport,
};
use super::auth::{AuthEvent, AuthRequest};
use super::container::{ContainerEvent, ContainerRequest};
use super::error::{ErrorCode, WireError};
use super::hello::{ClientHello, HelloEvent, ServerHello};
use super::job::{JobEvent, JobRequest, OutputEvent};
use super::output;
use super::plugin::{PluginEvent, PluginOrder, PluginReport, PluginRequest};
use super::worker::{WorkerEvent, WorkerRequest};

/// The `type` of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Noun {
    /// Version and limits.
    Hello,
    /// Credentials and accounts.
    Auth,
    /// Jobs.
    Job,
    /// Workers.
    Worker,
    /// Containers.
    Container,
    /// Hooks.
    Plugin,
    /// Something went wrong.
    Error,
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

/// A payload that knows its `type`.
pub trait Payload: Serialize {
    /// The `type`.
    const NOUN: Noun;
}

/// The `id` of a request, echoed as it was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FrameId(Box<RawValue>);

impl FrameId {
    /// A number.
    pub fn number(number: u64) -> Self {
        // A formatted u64 is always a JSON number; `null` is never reached.
        Self(RawValue::from_string(number.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }

    /// The id as JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for FrameId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// `data` of verbs that have no fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nothing {}

/// `data` of `{"opt":"ok","of":…}`: done, and there is nothing more to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledged {
    /// The verb that was done.
    pub of: String,
}

impl Acknowledged {
    /// `verb` was done.
    pub fn of(verb: &str) -> Self {
        Self { of: verb.to_owned() }
    }
}

impl Payload for ServerHello {
    const NOUN: Noun = Noun::Hello;
}

impl Payload for ClientHello {
    const NOUN: Noun = Noun::Hello;
}

impl Payload for WireError {
    const NOUN: Noun = Noun::Error;
}

/// `ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ping {}

impl Payload for Ping {
    const NOUN: Noun = Noun::Ping;
}

/// `pong`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pong {}

impl Payload for Pong {
    const NOUN: Noun = Noun::Pong;
}

/// Declares the verbs of one noun in one direction: an enum that writes itself with `opt`, and
/// `decode`, which reads `data` once its `opt` is known. A verb may name its own reader.
macro_rules! verbs {
    (@read $data:ident) => { $crate::protocol::codec::typed($data) };
    (@read $data:ident $reader:path) => { $reader($data) };
    (
        $(#[$meta:meta])*
        pub enum $name:ident $(<$lifetime:lifetime>)?: $noun:ident {
            $($verb:literal => $variant:ident($payload:ty) $(by $reader:path)?,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
        #[serde(tag = "opt")]
        #[allow(missing_docs, reason = "each payload documents its verb")]
        pub enum $name $(<$lifetime>)? {
            $(#[serde(rename = $verb)] $variant($payload),)+
        }

        impl $(<$lifetime>)? $crate::protocol::codec::Payload for $name $(<$lifetime>)? {
            const NOUN: $crate::protocol::codec::Noun = $crate::protocol::codec::Noun::$noun;
        }

        impl $(<$lifetime>)? $name $(<$lifetime>)? {
            /// Every verb.
            pub const VERBS: &'static [&'static str] = &[$($verb),+];

            /// Reads `data` as the payload of `opt`.
            ///
            /// # Errors
            /// `unknown_type` for a verb not listed here, `bad_frame` naming the field at fault.
            #[allow(clippy::needless_lifetimes, reason = "some verbs borrow from the frame")]
            pub fn decode<'frame>(opt: &str, data: &'frame str) -> Result<Self, $crate::protocol::error::WireError>
            $(where 'frame: $lifetime)?
            {
                match opt {
                    $($verb => Ok(Self::$variant(verbs!(@read data $($reader)?)?)),)+
                    _ => Err($crate::protocol::codec::unknown_verb(opt, Self::VERBS)),
                }
            }
        }
    };
}
pub(crate) use verbs;

/// Writes a frame that answers nothing.
pub fn encode<P: Payload>(data: &P) -> String {
    encode_with(data, None)
}

/// Writes a frame; `id` is that of the request it answers, or one's own.
pub fn encode_with<P: Payload>(data: &P, id: Option<&FrameId>) -> String {
    #[derive(Serialize)]
    struct Envelope<'a, P> {
        r#type: Noun,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a FrameId>,
        data: &'a P,
    }
    serde_json::to_string(&Envelope { r#type: P::NOUN, id, data })
        .expect("wire types have string keys and no failing serialisers")
}

/// A frame whose `type` and `id` are read, and whose `data` is not yet.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// Its type.
    pub noun: Noun,
    /// Its id, to echo.
    pub id: Option<FrameId>,
    /// Its verb, empty where there is none.
    pub opt: Cow<'a, str>,
    /// `data` as JSON text, `{}` where it is absent.
    pub data: &'a str,
}

/// An error, and the id of the frame at fault where it could be read.
pub type FrameError = (Option<FrameId>, WireError);

/// Reads the outer frame.
///
/// # Errors
/// `bad_frame` for what is not a JSON object with a `type`, `unknown_type` for an unknown one.
pub fn open(text: &str) -> Result<Envelope<'_>, FrameError> {
    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(borrow, default)]
        r#type: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        id: Option<&'a RawValue>,
        #[serde(borrow, default)]
        data: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Opt<'a> {
        #[serde(borrow, default)]
        opt: Option<&'a RawValue>,
    }

    /// Tells `null`, which is no id, from nothing at all.
    fn given<'de, D: Deserializer<'de>>(id: D) -> Result<Option<&'de RawValue>, D::Error> {
        Deserialize::deserialize(id).map(Some)
    }

    // A peer that types an empty line gets a clear answer, too.
    if !text.trim_start().starts_with('{') {
        return Err((None, WireError::new(ErrorCode::BadFrame, "a frame is one JSON object on one line")));
    }
    let outer: Outer<'_> = serde_json::from_str(text).map_err(|error| {
        let message = format!("bad JSON: {error}");
        let error = WireError::new(ErrorCode::BadFrame, message.clone());
        (None, named_by_serde(&message).map_or(error.clone(), |field| error.field(field)))
    })?;
    let id = match outer.id.map(RawValue::get) {
        None => None,
        Some(raw) if raw.starts_with(['"', '-']) || raw.starts_with(|c: char| c.is_ascii_digit()) => {
            outer.id.map(|raw| FrameId(raw.to_owned()))
        }
        Some(_) => return Err((None, WireError::bad_field("id", "id must be a string or a number"))),
    };
    let noun = match outer.r#type.map(RawValue::get) {
        None => return Err((id, WireError::bad_field("type", "type is required"))),
        Some(raw) => match serde_json::from_str(raw) {
            Ok(noun) => noun,
            Err(_) if !raw.starts_with('"') => return Err((id, WireError::bad_field("type", "type must be a string"))),
            Err(_) => {
                let message =
                    format!("unknown type {raw}; there are hello, auth, job, worker, container, plugin, ping");
                return Err((id, WireError::new(ErrorCode::UnknownType, message).field("type")));
            }
        },
    };
    let data = match outer.data.map(RawValue::get) {
        None | Some("null") => "{}",
        Some(raw) if raw.starts_with('{') => raw,
        Some(_) => return Err((id, WireError::bad_field("data", "data must be an object"))),
    };
    let opt = match serde_json::from_str::<Opt<'_>>(data) {
        Ok(Opt { opt: None }) => Cow::Borrowed(""),
        // Only an `opt` written with escapes has to be copied.
        Ok(Opt { opt: Some(raw) }) => match serde_json::from_str::<&str>(raw.get()) {
            Ok(opt) => Cow::Borrowed(opt),
            Err(_) => match serde_json::from_str(raw.get()) {
                Ok(opt) => Cow::Owned(opt),
                Err(_) => return Err((id, WireError::bad_field("opt", "opt must be a string"))),
            },
        },
        // The text is JSON by now, so only an `opt` that comes twice can be wrong.
        Err(error) => return Err((id, WireError::bad_field("opt", format!("data: {error}")))),
    };
    Ok(Envelope { noun, id, opt, data })
}

/// The id of a frame that is refused unread, where it has one.
pub fn id_of(text: &str) -> Option<FrameId> {
    open(text).map_or_else(|(id, _)| id, |envelope| envelope.id)
}

/// What a client, a worker or a plugin sends.
#[derive(Debug, Clone, PartialEq)]
pub enum ToServer<'a> {
    /// Optional; says which version the client speaks.
    Hello(ClientHello),
    /// Credentials and accounts.
    Auth(AuthRequest),
    /// A client, about jobs.
    Job(JobRequest<'a>),
    /// A client, about workers.
    Worker(WorkerRequest),
    /// A worker, about its jobs.
    AgentJob(AgentJobReport<'a>),
    /// A worker, about itself.
    Agent(AgentReport),
    /// A plugin, about itself or what it was asked.
    Plugin(PluginReport),
    /// An administrator, about plugins.
    Plugins(PluginRequest),
    /// A client, about containers.
    Container(ContainerRequest<'a>),
    /// A worker, about its containers.
    AgentContainer(AgentContainerReport),
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

/// Who may send a frame, as far as its noun and verb say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Whoever has connected.
    Anyone,
    /// Users and administrators.
    Client,
    /// Administrators alone.
    Administrator,
    /// Workers.
    Worker,
    /// Plugins.
    Plugin,
    /// There is no such verb, or nobody's.
    Nobody,
}

impl Sender {
    /// `job` and `worker` are nouns of clients and of workers. Their verbs differ but for `drain`
    /// and `undrain`, which are told apart by whether they name a worker.
    fn of(noun: Noun, opt: &str, data: &str) -> Self {
        let drains = opt.ends_with("drain");
        match noun {
            Noun::Hello | Noun::Ping | Noun::Pong | Noun::Error => Self::Anyone,
            Noun::Auth if opt.is_empty() || opt == "login" => Self::Anyone,
            Noun::Auth if AuthRequest::OF_ADMINISTRATORS.contains(&opt) => Self::Administrator,
            Noun::Auth if AuthRequest::VERBS.contains(&opt) => Self::Client,
            Noun::Job if AgentJobReport::VERBS.contains(&opt) => Self::Worker,
            Noun::Job if JobRequest::VERBS.contains(&opt) => Self::Client,
            Noun::Worker if AgentReport::VERBS.contains(&opt) && !(drains && names_worker(data)) => Self::Worker,
            Noun::Worker if WorkerRequest::VERBS.contains(&opt) && drains => Self::Administrator,
            Noun::Worker if WorkerRequest::VERBS.contains(&opt) => Self::Client,
            Noun::Container if AgentContainerReport::VERBS.contains(&opt) => Self::Worker,
            Noun::Container => Self::Client,
            Noun::Plugin if PluginRequest::VERBS.contains(&opt) => Self::Administrator,
            Noun::Plugin => Self::Plugin,
            Noun::Auth | Noun::Job | Noun::Worker => Self::Nobody,
        }
    }
}

/// Reads what a peer of the dispatcher sent, whoever it is.
///
/// # Errors
/// As [`open`], and what the payload's own reader says.
pub fn read_at_server(text: &str) -> Result<(ToServer<'_>, Option<FrameId>), FrameError> {
    read_admitted(text, |_| Ok(()))
}

/// The same, where `admit` says whether the peer may send it before its fields are looked at.
/// Well-formed output is read without being asked about.
///
/// # Errors
/// As [`read_at_server`], and what `admit` says.
pub fn read_admitted(
    text: &str,
    admit: impl FnOnce(Sender) -> Result<(), WireError>,
) -> Result<(ToServer<'_>, Option<FrameId>), FrameError> {
    if let Some(output) = output::read::<AgentOutput<'_>>(text) {
        return Ok((ToServer::AgentJob(AgentJobReport::Output(output)), None));
    }
    let Envelope { noun, id, opt, data } = open(text)?;
    let sender = Sender::of(noun, &opt, data);
    if let Err(error) = admit(sender) {
        return Err((id, error));
    }
    let read = match noun {
        Noun::Hello => typed(data).map(ToServer::Hello),
        Noun::Auth if opt.is_empty() => typed(data).map(|login| ToServer::Auth(AuthRequest::Login(login))),
        Noun::Auth => AuthRequest::decode(&opt, data).map(ToServer::Auth),
        Noun::Job if sender == Sender::Worker => AgentJobReport::decode(&opt, data).map(ToServer::AgentJob),
        Noun::Job => JobRequest::decode(&opt, data).map(ToServer::Job),
        Noun::Worker if sender == Sender::Worker => AgentReport::decode(&opt, data).map(ToServer::Agent),
        Noun::Worker => WorkerRequest::decode(&opt, data).map(ToServer::Worker),
        Noun::Plugin if sender == Sender::Administrator => PluginRequest::decode(&opt, data).map(ToServer::Plugins),
        Noun::Plugin => PluginReport::decode(&opt, data).map(ToServer::Plugin),
        Noun::Container if sender == Sender::Worker => {
            AgentContainerReport::decode(&opt, data).map(ToServer::AgentContainer)
        }
        Noun::Container => ContainerRequest::decode(&opt, data).map(ToServer::Container),
        Noun::Ping => Ok(ToServer::Ping),
        Noun::Pong => Ok(ToServer::Pong),
        Noun::Error => Err(WireError::new(ErrorCode::UnknownType, "error frames come from the server").field("type")),
    };
    match read {
        Ok(frame) => Ok((frame, id)),
        Err(error) => Err((id, error)),
    }
}

/// What the dispatcher sends to a client.
#[derive(Debug, Clone, PartialEq)]
pub enum ToClient<'a> {
    /// The first frame.
    Hello(ServerHello),
    /// The reply to a client's `hello`.
    HelloEvent(HelloEvent),
    /// Credentials and accounts.
    Auth(AuthEvent),
    /// Jobs.
    Job(JobEvent<'a>),
    /// Workers.
    Worker(WorkerEvent),
    /// Plugins.
    Plugin(PluginEvent),
    /// Containers.
    Container(ContainerEvent<'a>),
    /// The request failed.
    Error(WireError),
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

/// Reads what the dispatcher sent to a client.
///
/// # Errors
/// As [`open`], and what the payload's own reader says.
pub fn read_at_client(text: &str) -> Result<(ToClient<'_>, Option<FrameId>), FrameError> {
    if let Some(output) = output::read::<OutputEvent<'_>>(text) {
        return Ok((ToClient::Job(JobEvent::Output(output)), None));
    }
    let Envelope { noun, id, opt, data } = open(text)?;
    let read = match noun {
        Noun::Hello if opt.is_empty() => typed(data).map(ToClient::Hello),
        Noun::Hello => HelloEvent::decode(&opt, data).map(ToClient::HelloEvent),
        Noun::Auth => AuthEvent::decode(&opt, data).map(ToClient::Auth),
        Noun::Job => JobEvent::decode(&opt, data).map(ToClient::Job),
        Noun::Worker => WorkerEvent::decode(&opt, data).map(ToClient::Worker),
        Noun::Plugin => PluginEvent::decode(&opt, data).map(ToClient::Plugin),
        Noun::Error => typed(data).map(ToClient::Error),
        Noun::Ping => Ok(ToClient::Ping),
        Noun::Pong => Ok(ToClient::Pong),
        Noun::Container => ContainerEvent::decode(&opt, data).map(ToClient::Container),
    };
    match read {
        Ok(frame) => Ok((frame, id)),
        Err(error) => Err((id, error)),
    }
}

/// What the dispatcher sends to a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum ToAgent<'a> {
    /// The first frame.
    Hello(ServerHello),
    /// Credentials.
    Auth(AuthEvent),
    /// About one of its jobs.
    Job(AgentJobOrder<'a>),
    /// About itself.
    Worker(AgentOrder),
    /// About one of its containers.
    Container(AgentContainerOrder),
    /// The report failed.
    Error(WireError),
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

/// Reads what the dispatcher sent to a worker.
///
/// # Errors
/// As [`open`], and what the payload's own reader says.
pub fn read_at_agent(text: &str) -> Result<(ToAgent<'_>, Option<FrameId>), FrameError> {
    let Envelope { noun, id, opt, data } = open(text)?;
    let read = match noun {
        Noun::Hello => typed(data).map(ToAgent::Hello),
        Noun::Auth => AuthEvent::decode(&opt, data).map(ToAgent::Auth),
        Noun::Job => AgentJobOrder::decode(&opt, data).map(ToAgent::Job),
        Noun::Worker => AgentOrder::decode(&opt, data).map(ToAgent::Worker),
        Noun::Error => typed(data).map(ToAgent::Error),
        Noun::Ping => Ok(ToAgent::Ping),
        Noun::Pong => Ok(ToAgent::Pong),
        Noun::Container => AgentContainerOrder::decode(&opt, data).map(ToAgent::Container),
        Noun::Plugin => Err(WireError::new(ErrorCode::UnknownType, "not a frame for workers")),
    };
    match read {
        Ok(frame) => Ok((frame, id)),
        Err(error) => Err((id, error)),
    }
}

/// What the dispatcher sends to a plugin.
#[derive(Debug, Clone, PartialEq)]
pub enum ToPlugin {
    /// The first frame.
    Hello(ServerHello),
    /// Credentials.
    Auth(AuthEvent),
    /// Questions and news.
    Plugin(PluginOrder),
    /// The report failed.
    Error(WireError),
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

/// Reads what the dispatcher sent to a plugin.
///
/// # Errors
/// As [`open`], and what the payload's own reader says.
pub fn read_at_plugin(text: &str) -> Result<(ToPlugin, Option<FrameId>), FrameError> {
    let Envelope { noun, id, opt, data } = open(text)?;
    let read = match noun {
        Noun::Hello => typed(data).map(ToPlugin::Hello),
        Noun::Auth => AuthEvent::decode(&opt, data).map(ToPlugin::Auth),
        Noun::Plugin => PluginOrder::decode(&opt, data).map(ToPlugin::Plugin),
        Noun::Error => typed(data).map(ToPlugin::Error),
        Noun::Ping => Ok(ToPlugin::Ping),
        Noun::Pong => Ok(ToPlugin::Pong),
        Noun::Job | Noun::Worker | Noun::Container => {
            Err(WireError::new(ErrorCode::UnknownType, "not a frame for plugins"))
        }
    };
    match read {
        Ok(frame) => Ok((frame, id)),
        Err(error) => Err((id, error)),
    }
}

/// Reads a payload, naming the field at fault.
pub(crate) fn typed<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, WireError> {
    // The path costs an allocation a field, so it is only looked for once reading has failed.
    if let Ok(value) = serde_json::from_str(data) {
        return Ok(value);
    }
    typed_by(&mut serde_json::Deserializer::from_str(data))
}

/// The same, from a payload that was taken apart before.
pub(crate) fn typed_value<'a, T: Deserialize<'a>>(data: serde_json::Value) -> Result<T, WireError> {
    typed_by(data)
}

fn typed_by<'a, T: Deserialize<'a>>(data: impl Deserializer<'a, Error = serde_json::Error>) -> Result<T, WireError> {
    serde_path_to_error::deserialize(data).map_err(|error| {
        let path = error.path().to_string();
        let message = error.inner().to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        let field = match (path.as_str(), named_by_serde(&message)) {
            (".", Some(name)) => name.to_owned(),
            (parent, Some(name)) => format!("{parent}.{name}"),
            (".", None) => "data".to_owned(),
            (path, None) => path.to_owned(),
        };
        WireError::bad_field(field.clone(), format!("{field}: {message}"))
    })
}

/// The field that serde's message speaks of where the path to the error ends above it.
fn named_by_serde(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("missing field `").or_else(|| message.split_once("duplicate field `"))?;
    rest.split('`').next()
}

/// The answer to a verb that is not there.
pub(crate) fn unknown_verb(opt: &str, known: &[&str]) -> WireError {
    let known = known.join(", ");
    let message = match opt {
        "" => format!("opt is required; there are {known}"),
        opt => format!("unknown opt {opt:?}; there are {known}"),
    };
    let code = if opt.is_empty() { ErrorCode::BadFrame } else { ErrorCode::UnknownType };
    WireError::new(code, message).field("opt")
}

/// Whether `data` names a worker at all, be it wrongly: then it is a client's, who is told so.
fn names_worker(data: &str) -> bool {
    #[derive(Deserialize)]
    struct Probe {
        #[serde(rename = "workerId", alias = "worker_id", alias = "machine_id", alias = "machineId")]
        _worker: IgnoredAny,
    }
    serde_json::from_str::<Probe>(data).is_ok()
}
