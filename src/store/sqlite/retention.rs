//! Removing what need not be kept any more.

use rusqlite::params;

use super::engine::Engine;
use super::failure::{Failure, Run};
use super::load::keep_next_number;
use super::rows::{End, REMOVED, sql, status_of, unsql};
use crate::base::clock::millis;
use crate::protocol::JobId;
use crate::store::jobs::{AT_ONCE, Retention};

/// Output, in bytes, after which a call removes no further job: some ten milliseconds of work.
const RETAIN_BYTES: u64 = 32 * 1024 * 1024;

impl Engine {
    pub(super) fn retain(&mut self, retention: Retention) -> Run<Vec<JobId>> {
        let excess = self.counters.over.saturating_sub(retention.jobs).min(AT_ONCE as u64);
        let horizon = self.clock.now().saturating_sub(millis(retention.age));
        let mut removed = Vec::new();
        let mut bytes = 0;
        {
            let conn = self.connection();
            let mut oldest = conn.prepare_cached(
                "SELECT number, nonce, completed_at, stdout_bytes + stderr_bytes, account, status FROM jobs INDEXED BY over_by_end \
                 WHERE status >= 2 AND (nonce >> 24 <> 0xc5 OR reason = ?2) ORDER BY completed_at, number LIMIT ?1",
            )?;
            let mut rows = oldest.query(params![sql(AT_ONCE as u64), REMOVED])?;
            while let Some(row) = rows.next()? {
                let too_many = (removed.len() as u64) < excess;
                if bytes >= RETAIN_BYTES || !too_many && unsql(row.get(2)?) >= horizon {
                    break;
                }
                bytes += unsql(row.get(3)?);
                removed.push(End {
                    id: JobId { number: unsql(row.get(0)?), nonce: row.get(1)? },
                    account: row
                        .get_ref(4)?
                        .as_str()
                        .map_err(Failure::unreadable)?
                        .parse()
                        .map_err(Failure::unreadable)?,
                    status: status_of(row.get(5)?)?,
                });
            }
        }
        let ids: Vec<JobId> = removed.iter().map(|end| end.id).collect();
        if !ids.is_empty() {
            self.remove(&ids)?;
        }
        for end in removed {
            self.ended.remove(end);
        }
        Ok(ids)
    }

    fn remove(&mut self, jobs: &[JobId]) -> Run<()> {
        let conn = self.connection();
        for job in jobs {
            conn.prepare_cached("DELETE FROM log WHERE job = ?1")?.execute(params![sql(job.number)])?;
            conn.prepare_cached("DELETE FROM jobs WHERE number = ?1")?.execute(params![sql(job.number)])?;
        }
        keep_next_number(conn, self.counters.next)?;
        let containers = jobs.iter().filter(|job| job.is_container()).count() as u64;
        self.counters.over = self.counters.over.saturating_sub(jobs.len() as u64);
        self.counters.removed = self.counters.removed.saturating_sub(containers);
        Ok(())
    }
}
