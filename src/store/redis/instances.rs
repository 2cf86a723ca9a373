//! Which dispatchers share this Redis, and where each one is reached by the others.

use std::time::Duration;

use super::RedisStore;
use crate::base::clock::millis;
use crate::store::error::StoreError;

/// One that was not heard of for so long does not come back under its name: each start has a new one.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

impl RedisStore {
    /// Says where an instance is reached, and that it lives.
    ///
    /// # Errors
    /// Harmless to repeat.
    pub async fn announce(&self, instance: &str, url: &str) -> Result<(), StoreError> {
        let now = self.store_now().await?;
        let mut command = redis::cmd("HSET");
        command.arg(self.shared_key("instances")).arg(instance).arg(format!("{now} {url}"));
        self.one::<u64>(command).await.map(|_| ())
    }

    /// Where the instances are reached that were heard of within `within`, by their names.
    ///
    /// # Errors
    /// Nothing was changed that anybody needs.
    pub async fn instances(&self, within: Duration) -> Result<Vec<(String, String)>, StoreError> {
        let key = self.shared_key("instances");
        let now = self.store_now().await?;
        let mut command = redis::cmd("HGETALL");
        command.arg(&key);
        let mut alive = Vec::new();
        for (instance, said) in self.one::<Vec<(String, String)>>(command).await? {
            let (seen, url) = said.split_once(' ').unwrap_or_default();
            let silent = now.saturating_sub(seen.parse().unwrap_or(0));
            if silent <= millis(within) {
                alive.push((instance, url.to_owned()));
            } else if silent > millis(FORGET_AFTER) {
                let mut command = redis::cmd("HDEL");
                command.arg(&key).arg(instance);
                self.one::<u64>(command).await?;
            }
        }
        Ok(alive)
    }
}
