//! The wire: every frame that crosses a WebSocket, in both directions, and nothing else.
//!
//! A frame is one JSON object, `{"type": noun, "id"?: …, "data": {"opt": verb, …}}`. The nouns
//! are modules here: [`job`] and [`worker`] hold the frames of clients ([`paging`] and [`template`] more of
//! them), [`agent`] those between
//! dispatcher and worker, [`plugin`] those between dispatcher and plugin. [`codec`] reads and writes them and names the field that is wrong.
//!
//! Invariant: a type of this room is never stored, and nothing here does I/O.

pub mod agent;
pub mod asyncapi;
pub mod audit;
pub mod auth;
pub mod chunk;
pub mod codec;
pub mod container;
pub mod error;
pub mod hello;
pub mod id;
pub mod job;
mod lenient;
pub mod limits;
pub mod output;
pub mod paging;
pub mod plugin;
pub mod schema;
pub mod spec;
pub mod template;
pub mod worker;

pub use chunk::{Chunk, StreamName};
pub use error::{CloseCode, ErrorCode, WireError};
pub use id::{After, Attempt, Before, ContainerId, ContainerRef, Cursor, JobId, JobRef, PluginName, WorkerId};

/// The version that `hello` announces.
pub const PROTOCOL_VERSION: u32 = 1;

/// The subprotocol that browsers name in the upgrade request, beside `bearer.<token>`.
pub const SUBPROTOCOL: &str = "gangline.v1";

/// Prefix of the second subprotocol, which carries a token where headers cannot be set.
pub const BEARER_SUBPROTOCOL: &str = "bearer.";
