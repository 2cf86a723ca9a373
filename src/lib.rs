//! Gangline: a WebSocket-first realtime job dispatcher.
//!
//! Rooms stand on floors, and a room may use only rooms on lower floors:
//!
//! | floor | rooms |
//! |---|---|
//! | 8 | [`cli`] |
//! | 7 | [`server`] |
//! | 6 | [`api`] |
//! | 5 | [`dispatcher`] |
//! | 4 | [`auth`], [`hub`], [`blobs`] |
//! | 3 | [`store`], [`scheduler`], [`worker`], [`client`] |
//! | 2 | [`link`], [`model`], [`config`], [`metrics`] |
//! | 1 | [`protocol`] |
//! | 0 | [`base`] |
//!
//! `tests/it/floors.rs` reads the `crate::` paths and fails on an arrow that points up.

pub mod api;
pub mod auth;
pub mod base;
pub mod blobs;
pub mod cli;
pub mod client;
pub mod config;
pub mod dispatcher;
pub mod hub;
pub mod link;
pub mod metrics;
pub mod model;
pub mod protocol;
pub mod scheduler;
pub mod server;
pub mod store;
pub mod worker;
