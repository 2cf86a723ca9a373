//! The WebSocket as an `AsyncAPI` document, from the same types as the schema.

use serde_json::{Value, json};

use super::schema;

/// The document.
pub fn document() -> Value {
    let mut schemas = schema::protocol()["$defs"].take();
    relocate(&mut schemas);
    let message = |name: &str, title: &str| {
        json!({
            "name": name, "title": title, "contentType": "application/json",
            "payload": {"$ref": format!("#/components/schemas/{name}")},
        })
    };
    let operation = |action: &str, message: &str, summary: &str| {
        json!({
            "action": action, "summary": summary, "channel": {"$ref": "#/channels/socket"},
            "messages": [{"$ref": format!("#/channels/socket/messages/{message}")}],
        })
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Gangline WebSocket", "version": env!("CARGO_PKG_VERSION"),
            "description": "One endpoint for every role. Text frames, one JSON object each; see protocol.md.",
        },
        "defaultContentType": "application/json",
        "servers": {"here": {
            "host": "127.0.0.1:3000", "protocol": "ws", "security": [{"$ref": "#/components/securitySchemes/token"}],
        }},
        "channels": {"socket": {
            "address": "/ws",
            "messages": {
                "toServer": message("toServer", "What clients, workers and plugins send"),
                "toClient": message("toClient", "What clients are sent"),
                "toWorker": message("toWorker", "What workers are sent"),
                "toPlugin": message("toPlugin", "What plugins are sent"),
            },
        }},
        "operations": {
            "hear": operation("receive", "toServer", "The dispatcher reads what clients, workers and plugins send"),
            "tellClients": operation("send", "toClient", "The dispatcher answers, and pushes what is followed or watched"),
            "orderWorkers": operation("send", "toWorker", "The dispatcher orders and acknowledges"),
            "askPlugins": operation("send", "toPlugin", "The dispatcher asks, and tells what happened"),
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    })
}

/// Definitions stand elsewhere here than in a schema of their own.
fn relocate(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(target) if name == "$ref" => {
                        *target = target.replace("#/$defs/", "#/components/schemas/");
                    }
                    other => relocate(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(relocate),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50, "{}", found.len());
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
