//! What readers do: records, lists and logs, each from one snapshot of the file.
//!
//! A nonce that begins with 0xc5 is a container's ([`crate::protocol::id::CONTAINER_BYTE`]).

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::failure::Run;
use super::rows::{self, Stored, sql, status_code, unsql};
use super::segment;
use crate::model::{AccountName, Job};
use crate::protocol::job::Status;
use crate::protocol::{Cursor, JobId, JobRef};
use crate::store::log::LogPage;
use crate::store::page::Page;
use crate::store::transition;

/// Runs `read` on one snapshot.
pub(super) fn snapshot<T>(conn: &Connection, read: impl FnOnce(&Connection) -> Run<T>) -> Run<T> {
    let transaction = conn.unchecked_transaction()?;
    let result = read(&transaction);
    transaction.commit()?;
    result
}

/// One job.
pub(super) fn job(conn: &Connection, named: JobRef) -> Run<Option<Arc<Job>>> {
    match rows::named(conn, named)? {
        Some(stored) => Ok(Some(Arc::new(up_to_date(conn, stored)?.job))),
        None => Ok(None),
    }
}

/// The numbers below `before` that a list might show, highest first, and those of their jobs that it does.
/// `live` are numbers of jobs that were not over a moment ago.
pub(super) fn page(
    conn: &Connection,
    account: Option<&AccountName>,
    status: Option<Status>,
    before: u64,
    limit: usize,
    live: Vec<u64>,
) -> Run<(Vec<u64>, Vec<Arc<Job>>)> {
    let mut numbers = match (account, status) {
        (None, None) => all(conn, before, limit)?,
        (_, Some(Status::Pending | Status::Running)) => live,
        (Some(_), None) | (_, Some(Status::Completed | Status::Failed | Status::Cancelled)) => {
            [live, over(conn, account, status, before, limit)?].concat()
        }
    };
    numbers.sort_unstable_by_key(|&number| Reverse(number));
    numbers.dedup();
    numbers.truncate(limit);
    let mut jobs = Vec::with_capacity(numbers.len());
    for &number in &numbers {
        if let Some(job) = job(conn, JobRef::Number(number))?
            && status.is_none_or(|status| status == job.status)
        {
            jobs.push(job);
        }
    }
    Ok((numbers, jobs))
}

/// Numbers below `before` of all jobs, highest first.
fn all(conn: &Connection, before: u64, limit: usize) -> Run<Vec<u64>> {
    let mut statement = conn.prepare_cached(
        "SELECT number FROM jobs WHERE number < ?1 AND nonce >> 24 <> 0xc5 ORDER BY number DESC LIMIT ?2",
    )?;
    let numbers = statement.query_map(params![sql(before), sql(limit as u64)], |row| row.get(0).map(unsql))?;
    Ok(numbers.collect::<Result<_, _>>()?)
}

/// Numbers below `before` of jobs that are over, highest first.
fn over(
    conn: &Connection,
    account: Option<&AccountName>,
    status: Option<Status>,
    before: u64,
    limit: usize,
) -> Run<Vec<u64>> {
    let mut numbers = BTreeSet::new();
    for over in [Status::Completed, Status::Failed, Status::Cancelled] {
        if status.is_some_and(|status| status != over) {
            continue;
        }
        // `status >= 2` repeats what the indexes are made of, so that they are found.
        let number = |row: &rusqlite::Row<'_>| row.get(0).map(unsql);
        let (before, limit) = (sql(before), sql(limit as u64));
        let found: Result<Vec<u64>, _> = match account {
            Some(account) => conn
                .prepare_cached(
                    "SELECT number FROM jobs INDEXED BY over_by_account WHERE account = ?1 AND status = ?2 \
                     AND status >= 2 AND nonce >> 24 <> 0xc5 AND number < ?3 ORDER BY number DESC LIMIT ?4",
                )?
                .query_map(params![account.as_str(), status_code(over), before, limit], number)?
                .collect(),
            None => conn
                .prepare_cached(
                    "SELECT number FROM jobs INDEXED BY over_by_status WHERE status = ?1 \
                     AND status >= 2 AND nonce >> 24 <> 0xc5 AND number < ?2 ORDER BY number DESC LIMIT ?3",
                )?
                .query_map(params![status_code(over), before, limit], number)?
                .collect(),
        };
        numbers.extend(found?.into_iter().map(Reverse));
    }
    Ok(numbers.into_iter().take(limit).map(|Reverse(number)| number).collect())
}

/// A piece of a log.
pub(super) fn log(conn: &Connection, id: JobId, after: Cursor, max_bytes: usize) -> Run<Option<LogPage>> {
    let Some(stored) = rows::named(conn, id.into())? else { return Ok(None) };
    let Stored { job, last_n } = up_to_date(conn, stored)?;
    let top = Cursor::new(job.attempt, last_n);
    let mut page = Page::new(after, max_bytes, top, job.status);
    // The record stands for the first entry of the latest attempt, unless that has gone back to the queue, and
    // for the last entry of all.
    let mut head = transition::head_entry(&job);
    let mut open = true;
    segment::scan(conn, id.number, after, |segment| {
        let mut entries = Vec::new();
        if segment.first.attempt == job.attempt {
            entries.extend(head.take());
        }
        entries.extend(segment.decode()?);
        open = entries.into_iter().all(|entry| page.push(entry));
        Ok(open)
    })?;
    if open {
        let end = transition::end_entry(&job, last_n);
        head.into_iter().chain(end).all(|entry| page.push(entry));
    }
    Ok(Some(page.finish()))
}

/// The record of a running job does not follow its log; this makes it.
fn up_to_date(conn: &Connection, mut stored: Stored) -> Run<Stored> {
    if stored.job.status == Status::Running {
        let (last_n, offsets) = segment::progress(conn, stored.job.id.number, stored.job.attempt)?;
        stored.last_n = last_n;
        stored.job.stdout_bytes = offsets.stdout;
        stored.job.stderr_bytes = offsets.stderr;
    }
    Ok(stored)
}
