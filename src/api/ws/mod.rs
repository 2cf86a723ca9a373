//! `GET /ws`: the one endpoint for every role.
//!
//! A connection is two tasks: the reader turns frames into operations of the dispatcher, the
//! writer sends replies and pulls what the connection follows. The [`Registry`] watches all
//! connections with one task: silence, expiry, revocation, drain.

mod accounts;
mod agent;
mod containers;
mod plugin;
mod registry;
mod requests;
mod session;
mod submits;
mod upgrade;
mod writer;

pub use registry::Registry;
pub use upgrade::{WsState, upgrade};
