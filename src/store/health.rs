//! Whether a store does what it is there for.

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
}
