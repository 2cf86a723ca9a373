//! The store: what must outlive every process.
//!
//! One trait in small parts, two engines ([`sqlite`] and [`redis`]), and a plain in-memory [`model`]
//! that property tests hold both against. The store owns the clock: leases, queue
//! limits and times of entries are by it.
//!
//! Every method is atomic. `StoreError` always means "outcome unknown": the caller may say the
//! same thing again, and each method says why that is harmless.

pub mod accounts;
#[cfg(test)]
mod contract;
pub mod documents;
pub mod error;
pub mod health;
pub mod jobs;
pub mod log;
pub mod model;
pub(crate) mod page;
pub mod redis;
pub mod sqlite;
mod transition;
pub mod workers;

pub use self::redis::RedisStore;
pub use accounts::AccountStore;
pub use documents::DocumentStore;
pub use error::StoreError;
pub use health::HealthStore;
pub use jobs::JobStore;
pub use log::LogStore;
pub use sqlite::SqliteStore;
pub use workers::WorkerStore;

/// Everything that Gangline keeps.
pub trait Store: JobStore + LogStore + WorkerStore + AccountStore + DocumentStore + HealthStore + Send + Sync {}

impl<T: JobStore + LogStore + WorkerStore + AccountStore + DocumentStore + HealthStore + Send + Sync> Store for T {}
