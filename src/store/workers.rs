//! The registry of workers.

use async_trait::async_trait;

use super::error::StoreError;
use crate::model::Worker;
use crate::protocol::WorkerId;

/// See the module.
#[async_trait]
pub trait WorkerStore {
    /// Adds or replaces a worker's record. A record with a smaller `boot` than the one that is
    /// kept is refused with `false`; `draining` is kept as it was. Idempotent.
    ///
    /// # Errors
    /// Harmless to repeat.
    async fn register(&self, worker: Worker) -> Result<bool, StoreError>;

    /// Notes that workers were heard of, at the store's time. Unknown ones are passed over.
    ///
    /// # Errors
    /// Harmless to repeat.
    async fn seen(&self, workers: Vec<WorkerId>) -> Result<(), StoreError>;

    /// Sets the draining flag; `false`: no such worker.
    ///
    /// # Errors
    /// Harmless to repeat.
    async fn set_draining(&self, worker: &WorkerId, draining: bool) -> Result<bool, StoreError>;

    /// One worker.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn worker(&self, worker: &WorkerId) -> Result<Option<Worker>, StoreError>;

    /// All workers, by id.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn workers(&self) -> Result<Vec<Worker>, StoreError>;
}
