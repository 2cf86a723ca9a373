//! From the file into memory, at open.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use serde::Deserialize;

use super::ended::Ended;
use super::engine::{Counters, after};
use super::failure::{Failure, Run, corrupt};
use super::live::{Live, Pending, Running, Slot};
use super::rows::{self, End, REMOVED, sql, status_of, unsql};
use super::segment;
use crate::base::clock::Millis;
use crate::model::Requires;
use crate::protocol::JobId;

/// What the queue must know of a spec.
#[derive(Deserialize)]
struct Wants {
    #[serde(default)]
    requires: Requires,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    queue_timeout_ms: Option<u64>,
}

/// The jobs that are not over, their leases and limits counted from `now` on.
pub(super) fn live(conn: &Connection, now: Millis, lease: Duration) -> Run<Live> {
    let mut live = Live::default();
    let mut running = Vec::new();
    let mut statement =
        conn.prepare("SELECT number, status, nonce, attempt, account, spec FROM jobs NOT INDEXED WHERE status < 2")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number = unsql(row.get(0)?);
        if row.get::<_, i64>(1)? != 0 {
            running.push(number);
            continue;
        }
        let text = |index| row.get_ref(index)?.as_str().map_err(Failure::unreadable);
        let wants: Wants = serde_json::from_str(text(5)?).map_err(Failure::unreadable)?;
        let pending = Pending {
            nonce: row.get(2)?,
            attempt: row.get(3)?,
            priority: wants.priority,
            account: text(4)?.parse().map_err(Failure::unreadable)?,
            class: live.class(&wants.requires),
            since: now,
            limit: wants.queue_timeout_ms,
        };
        live.put(number, Some(Slot::Pending(pending)));
        live.commit();
    }
    for number in running {
        let stored = rows::by_number(conn, number)?.ok_or_else(|| corrupt(format!("job {number} vanished")))?;
        let worker = stored.job.worker.clone().ok_or_else(|| corrupt(format!("job {number} runs nowhere")))?;
        let (last_n, offsets) = segment::progress(conn, number, stored.job.attempt)?;
        let running = Running {
            job: Arc::new(stored.job),
            worker,
            deadline: after(now, lease),
            last_n,
            offsets,
            kept: segment::kept(conn, number)?,
        };
        live.put(number, Some(Slot::Running(Box::new(running))));
        live.commit();
    }
    Ok(live)
}

/// The next number, and how many jobs are over.
pub(super) fn counters(conn: &Connection) -> Run<(Counters, Ended)> {
    let highest: Option<i64> = conn.query_row("SELECT max(number) FROM jobs", [], |row| row.get(0))?;
    let (mut ended, mut over, mut removed) = (Ended::default(), 0, 0);
    let mut statement =
        conn.prepare("SELECT number, nonce, account, status, reason FROM jobs NOT INDEXED WHERE status >= 2")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = JobId { number: unsql(row.get(0)?), nonce: row.get(1)? };
        if id.is_container() {
            removed += u64::from(row.get::<_, Option<u8>>(4)? == Some(REMOVED));
            continue;
        }
        let account = row.get_ref(2)?.as_str().map_err(Failure::unreadable)?;
        over += 1;
        ended.add(End { id, account: account.parse().map_err(Failure::unreadable)?, status: status_of(row.get(3)?)? });
    }
    ended.commit();
    let next = highest.map_or(1, |highest| unsql(highest) + 1).max(next_number(conn)?);
    Ok((Counters { next, over: over + removed, removed }, ended))
}

/// The number that is next even if the jobs of all lower ones were removed.
fn next_number(conn: &Connection) -> Run<u64> {
    let mut statement = conn.prepare("SELECT value FROM meta WHERE name = 'next_number'")?;
    let mut rows = statement.query([])?;
    Ok(match rows.next()? {
        Some(row) => unsql(row.get(0)?),
        None => 1,
    })
}

/// Keeps the next number for when the job of the highest one is removed.
pub(super) fn keep_next_number(conn: &Connection, next: u64) -> Run<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES ('next_number', ?1)")?
        .execute([sql(next)])?;
    Ok(())
}
