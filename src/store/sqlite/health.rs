//! Whether writes reach the file: remembered by the writer, asked by `/readyz`.
//!
//! A full disk fails every write, so the log hears of it once, then now and then, and once when it is over.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::Connection;

use super::failure::{Failure, Run};
use crate::store::error::StoreError;

/// A failure is believed for this long: longer than those wait who write again after one. Later
/// somebody has to try, or a store that nobody writes to would never be well again.
const BELIEVED_FOR: Duration = Duration::from_secs(3);

/// How often the log hears of writes that go on failing.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<Trouble>>);

#[derive(Debug)]
struct Trouble {
    error: StoreError,
    last: Instant,
    told: Instant,
    /// Failures since the log heard of one.
    untold: u64,
}

impl Health {
    /// A write reached the file.
    pub(super) fn succeeded(&self) {
        if self.0.lock().take().is_some() {
            tracing::info!("the store can be written again");
        }
    }

    /// A write failed.
    pub(super) fn failed(&self, failure: &Failure) {
        let (error, now) = (StoreError::from(failure), Instant::now());
        let mut trouble = self.0.lock();
        match &mut *trouble {
            Some(trouble) => {
                (trouble.error, trouble.last) = (error, now);
                trouble.untold += 1;
                if now.duration_since(trouble.told) >= TELL_EVERY {
                    tracing::warn!(%failure, times = trouble.untold, "the store still cannot be written");
                    (trouble.told, trouble.untold) = (now, 0);
                }
            }
            None => {
                tracing::warn!(%failure, "the store cannot be written; nothing of what failed is kept");
                *trouble = Some(Trouble { error, last: now, told: now, untold: 0 });
            }
        }
    }

    /// Whether it is in doubt that writes succeed, so that one should be tried to find out.
    ///
    /// # Errors
    /// One failed just now.
    pub(super) fn in_doubt(&self) -> Result<bool, StoreError> {
        match &*self.0.lock() {
            None => Ok(false),
            Some(trouble) if trouble.last.elapsed() < BELIEVED_FOR => Err(trouble.error.clone()),
            Some(_) => Ok(true),
        }
    }
}

/// The smallest write that changes the file.
pub(super) fn touch(conn: &Connection) -> Run<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES ('touched', x'')")?.execute([])?;
    Ok(())
}
