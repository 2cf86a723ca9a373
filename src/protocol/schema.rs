//! The protocol as a JSON Schema, for people who write peers in other languages.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::agent::{AgentContainerOrder, AgentContainerReport, AgentJobOrder, AgentJobReport, AgentOrder, AgentReport};
use super::auth::{AuthEvent, AuthRequest, Login};
use super::container::{ContainerEvent, ContainerRequest};
use super::error::WireError;
use super::hello::{ClientHello, HelloEvent, ServerHello};
use super::job::{JobEvent, JobRequest};
use super::plugin::{PluginEvent, PluginOrder, PluginReport, PluginRequest};
use super::worker::{WorkerEvent, WorkerRequest};

/// One schema with a definition for each direction: `toServer` (clients, workers and plugins),
/// `toClient`, `toWorker`, `toPlugin`.
pub fn protocol() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    macro_rules! frames {
        ($($noun:literal: $payload:ty),+ $(,)?) => {
            Value::Array(vec![$(frame($noun, &generator.subschema_for::<$payload>().to_value())),+])
        };
    }
    let to_server = frames! {
        "hello": ClientHello, "auth": AuthRequest, "job": JobRequest<'static>, "worker": WorkerRequest,
        "container": ContainerRequest<'static>,
        "job": AgentJobReport<'static>, "worker": AgentReport, "container": AgentContainerReport,
        "plugin": PluginReport, "plugin": PluginRequest,
    };
    // As people type it: no `opt` means `login`.
    let mut bare_login = generator.subschema_for::<Login>().to_value();
    bare_login["not"] = json!({"required": ["opt"]});
    let bare_login = Value::Array(vec![frame("auth", &bare_login)]);
    let to_client = frames! {
        "hello": ServerHello, "hello": HelloEvent, "auth": AuthEvent, "job": JobEvent<'static>, "worker": WorkerEvent,
        "container": ContainerEvent<'static>, "plugin": PluginEvent, "error": WireError,
    };
    let to_worker = frames! {
        "hello": ServerHello, "auth": AuthEvent, "job": AgentJobOrder<'static>, "worker": AgentOrder,
        "container": AgentContainerOrder, "error": WireError,
    };
    let to_plugin = frames! {
        "hello": ServerHello, "auth": AuthEvent, "plugin": PluginOrder, "error": WireError,
    };
    let to_server = Value::Array([to_server, bare_login].into_iter().flat_map(into_array).collect());
    let mut definitions: Map<String, Value> = generator.take_definitions(true);
    let bare = json!([{"type": "object", "properties": {"type": {"enum": ["ping", "pong"]}}, "required": ["type"]}]);
    let directions =
        [("toServer", to_server), ("toClient", to_client), ("toWorker", to_worker), ("toPlugin", to_plugin)];
    for (name, frames) in directions {
        let all: Vec<Value> = [frames, bare.clone()].into_iter().flat_map(into_array).collect();
        definitions.insert(name.to_owned(), json!({"anyOf": all}));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Gangline WebSocket protocol, version 1",
        "anyOf": [
            {"$ref": "#/$defs/toServer"}, {"$ref": "#/$defs/toClient"}, {"$ref": "#/$defs/toWorker"},
            {"$ref": "#/$defs/toPlugin"},
        ],
        "$defs": definitions,
    })
}

fn frame(noun: &str, data: &Value) -> Value {
    json!({
        "type": "object",
        "properties": {"type": {"const": noun}, "id": {"type": ["string", "number"]}, "data": data},
        "required": ["type", "data"],
    })
}

fn into_array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => vec![other],
    }
}
