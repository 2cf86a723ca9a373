//! Whether a store does what it is there for.

use std::time::Duration;

use async_trait::async_trait;

use super::error::StoreError;

/// See the module.
#[async_trait]
pub trait HealthStore {
    /// Whether work may be sent here: it reads, and its latest write did not fail. A store whose
    /// writes have failed finds out here whether they succeed again, however little else is written.
    ///
    /// # Errors
    /// Why not; later may be better.
    async fn check(&self) -> Result<(), StoreError>;

    /// For how long after its answer a write may still be lost, should the store's machine die. Zero where an answer
    /// says that it is on disk.
    fn unsettled(&self) -> Duration {
        Duration::ZERO
    }

    /// How often the store has come back as one that may have lost such writes.
    fn lives(&self) -> u64 {
        0
    }
}
