//! What a container is asked to be: the fields of `create`, and what of them travels to the worker.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::protocol::codec::typed;
use crate::protocol::error::WireError;
use crate::protocol::id::{Attempt, WorkerId};
use crate::protocol::lenient::{or_default, word_or_default};
use crate::protocol::spec::{Requires, Tty};

/// `create`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Create {
    /// The image; required.
    #[serde(skip_serializing_if = "Option::is_none", alias = "image_id", alias = "image")]
    pub image_id: Option<String>,
    /// What its owner calls it; unique among the account's containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Ports to make reachable.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// One more of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// A shell script instead of the image's own program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// An argument vector instead of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Environment variables beside the image's own.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Most processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Most memory.
    #[serde(skip_serializing_if = "Option::is_none", alias = "memory_bytes")]
    pub memory_bytes: Option<u64>,
    /// How many GPUs, whichever they are.
    #[serde(skip_serializing_if = "Option::is_none", alias = "gpu_count", alias = "gpuCount")]
    pub gpus: Option<u32>,
    /// These GPUs, by index.
    #[serde(skip_serializing_if = "Option::is_none", alias = "gpu_ids")]
    pub gpu_ids: Option<Vec<u32>>,
    /// Volumes.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Whether, and how large, a pseudo-terminal it gets.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Tty::is_off")]
    pub tty: Tty,
    /// What the worker must have.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub requires: Requires,
    /// This worker and no other.
    #[serde(skip_serializing_if = "Option::is_none", alias = "worker_id", alias = "machine_id", alias = "machineId")]
    pub worker_id: Option<WorkerId>,
    /// When it is started again by itself.
    #[serde(deserialize_with = "word_or_default", skip_serializing_if = "is_default")]
    pub restart: Restart,
    /// Between SIGTERM and SIGKILL, in seconds; 10 unless given.
    #[serde(skip_serializing_if = "Option::is_none", alias = "grace_secs")]
    pub grace_secs: Option<f64>,
}

/// Reads `create`, and says which field is missing.
pub(super) fn read_create(data: &str) -> Result<Box<Create>, WireError> {
    let create: Create = typed(data)?;
    match create.image_id.as_deref() {
        None => Err(WireError::bad_field("imageId", "imageId: missing field `imageId`")),
        Some("") => Err(WireError::bad_field("imageId", "imageId is empty")),
        Some(_) => Ok(Box::new(create)),
    }
}

/// A port to make reachable: `8080`, `"18080:8080"`, `"53/udp"` or an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Port {
    /// The port inside.
    pub container: u16,
    /// The port of the worker's machine; any free one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<u16>,
    /// `tcp` unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub protocol: Protocol,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its name, as engines spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

const PORT_FORM: &str = "a port from 1 to 65535, \"host:container\", or {\"container\":8080,\"host\":18080}";

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected {PORT_FORM}, got {text:?}");
        let (ports, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some(_) => return Err(wrong()),
        };
        let number = |text: &str| text.parse().ok().filter(|port| *port > 0).ok_or_else(wrong);
        let (host, container) = match ports.split_once(':') {
            None => (None, number(ports)?),
            Some((host, container)) => (Some(number(host)?), number(container)?),
        };
        Ok(Self { container, host, protocol })
    }
}

// By hand, because the derived reader of an untagged enum forgets what was expected.
impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            container: u16,
            #[serde(default)]
            host: Option<u16>,
            #[serde(default)]
            protocol: Protocol,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Port;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(PORT_FORM)
            }

            fn visit_u64<E: de::Error>(self, port: u64) -> Result<Port, E> {
                self.visit_str(&port.to_string())
            }

            fn visit_i64<E: de::Error>(self, port: i64) -> Result<Port, E> {
                self.visit_str(&port.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Port, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Port, A::Error> {
                let Fields { container, host, protocol } = Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                // Docker's own way to say "any".
                let host = host.filter(|host| *host > 0);
                if container == 0 {
                    return Err(de::Error::custom(format_args!("expected {PORT_FORM}, got container port 0")));
                }
                Ok(Port { container, host, protocol })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Port {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A port to make reachable: a number, \"host:container\" or an object.",
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {
                        "container": {"type": "integer", "minimum": 1, "maximum": 65535},
                        "host": {"type": ["integer", "null"], "minimum": 0, "maximum": 65535},
                        "protocol": {"enum": ["tcp", "udp"]}
                    },
                    "required": ["container"]
                }
            ]
        })
    }
}

/// A volume, and where it is seen. It belongs to the container, and goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", expecting = "an object such as {\"volume\":\"world\",\"path\":\"/srv/world\"}")]
pub struct Mount {
    /// Its name: 1 to 64 letters, digits, `.`, `_` or `-`.
    #[serde(alias = "name", alias = "source")]
    pub volume: String,
    /// Where the container sees it: an absolute path.
    #[serde(alias = "target")]
    pub path: String,
    /// Whether the container may only read it.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default", alias = "read_only")]
    pub read_only: bool,
}

/// When a container is started again by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// After it has failed.
    #[serde(alias = "onFailure", alias = "on_failure")]
    OnFailure,
    /// Always but after `stop` and `kill`.
    Always,
    /// The same.
    #[serde(alias = "unlessStopped", alias = "unless_stopped")]
    UnlessStopped,
}

/// What makes a job a container, on its way to the worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Service {
    /// Ports to make reachable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// When it is started again by itself, which is up to the dispatcher.
    #[serde(skip_serializing_if = "is_default")]
    pub restart: Restart,
}

/// A container of an earlier start that still runs and is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adopt {
    /// The start whose output was stored last.
    pub attempt: Attempt,
    /// Bytes of its standard output that are stored.
    pub stdout_bytes: u64,
    /// Bytes of its standard error that are stored.
    pub stderr_bytes: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
