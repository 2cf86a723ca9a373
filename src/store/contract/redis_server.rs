//! Stores in a private Redis, each with keys of its own.

#[path = "../../../tests/it/support/private.rs"]
mod private;
#[path = "../../../tests/it/support/redis.rs"]
mod server;

use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::store::redis::{RedisOptions, RedisStore};

/// An empty store.
pub(in crate::store) fn store(output_bytes: u64, clock: Clock) -> RedisStore {
    let url = Secret::new(server::url());
    let options = RedisOptions { url, prefix: uuid::Uuid::new_v4().to_string(), partitions: 1, output_bytes };
    RedisStore::new(options, clock).unwrap()
}
