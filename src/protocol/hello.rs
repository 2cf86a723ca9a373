//! The server's first frame, and liveness.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codec::{Acknowledged, verbs};

verbs! {
    /// Dispatcher to client, in reply to the client's own `hello`.
    pub enum HelloEvent: Hello {
        "ok" => Ok(Acknowledged),
    }
}

/// Whether a client must authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// An `auth` frame, or a token in the upgrade request, is needed.
    Required,
    /// Started with `--open`: everyone is an administrator.
    Open,
}

/// `data` of the server's `hello`, sent before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerHello {
    /// Protocol version.
    pub protocol: u32,
    /// Name and version of the server.
    pub server: String,
    /// Which dispatcher this is.
    pub instance: String,
    /// The server's clock, in milliseconds.
    pub now: u64,
    /// Whether `auth` is needed.
    pub auth: AuthMode,
    /// How often the server pings, in seconds.
    pub ping_secs: u64,
    /// Largest frame that this connection may send.
    pub max_frame_bytes: usize,
}

/// `data` of a client's optional `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientHello {
    /// The version that the client speaks.
    pub protocol: u32,
}
