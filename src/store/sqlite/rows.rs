//! Rows of `jobs`, to and from records.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::failure::{Failure, Run, corrupt};
use crate::model::{AccountName, Job};
use crate::protocol::job::{Reason, Status};
use crate::protocol::{JobId, JobRef, WorkerId};

/// A job's row.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) job: Job,
    /// The last `n` of the latest attempt, as of the last change of the record.
    pub(super) last_n: u64,
}

/// What counts of a job that is over.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) id: JobId,
    pub(super) account: AccountName,
    pub(super) status: Status,
}

/// An unsigned number as SQLite keeps it. Saturates: times and sizes beyond 2⁶³ mean "never".
pub(super) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The number that [`sql`] wrote.
pub(super) fn unsql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn status_code(status: Status) -> u8 {
    match status {
        Status::Pending => 0,
        Status::Running => 1,
        Status::Completed => 2,
        Status::Failed => 3,
        Status::Cancelled => 4,
    }
}

pub(super) fn status_of(code: u8) -> Run<Status> {
    Ok(match code {
        0 => Status::Pending,
        1 => Status::Running,
        2 => Status::Completed,
        3 => Status::Failed,
        4 => Status::Cancelled,
        other => return Err(corrupt(format!("status {other}"))),
    })
}

/// The reason of containers that are removed, which queries name.
pub(super) const REMOVED: u8 = 9;

pub(super) fn reason_code(reason: Reason) -> u8 {
    match reason {
        Reason::Exit => 0,
        Reason::Signal => 1,
        Reason::Timeout => 2,
        Reason::QueueTimeout => 3,
        Reason::WorkerLost => 4,
        Reason::SpawnError => 5,
        Reason::OutOfMemory => 6,
        Reason::Cancelled => 7,
        Reason::Rejected => 8,
        Reason::Removed => REMOVED,
    }
}

pub(super) fn reason_of(code: u8) -> Run<Reason> {
    Ok(match code {
        0 => Reason::Exit,
        1 => Reason::Signal,
        2 => Reason::Timeout,
        3 => Reason::QueueTimeout,
        4 => Reason::WorkerLost,
        5 => Reason::SpawnError,
        6 => Reason::OutOfMemory,
        7 => Reason::Cancelled,
        8 => Reason::Rejected,
        REMOVED => Reason::Removed,
        other => return Err(corrupt(format!("reason {other}"))),
    })
}

/// The columns that [`read`] expects, in its order.
macro_rules! columns {
    () => {
        "number, nonce, account, status, reason, attempt, last_n, charged, rejections, worker, gpu_ids, exit_code, \
         error_message, created_at, started_at, completed_at, stdout_bytes, stderr_bytes, cancel_grace_ms, spec"
    };
}

/// A record from a row of [`columns`].
pub(super) fn read(row: &Row<'_>) -> Run<Stored> {
    let text = |index| row.get_ref(index)?.as_str().map_err(Failure::unreadable);
    let optional = |index| row.get_ref(index)?.as_str_or_null().map_err(Failure::unreadable);
    let number = |index| row.get::<_, i64>(index).map(unsql);
    let job = Job {
        id: JobId { number: number(0)?, nonce: row.get(1)? },
        account: text(2)?.to_owned().try_into().map_err(Failure::unreadable)?,
        status: status_of(row.get(3)?)?,
        reason: row.get::<_, Option<u8>>(4)?.map(reason_of).transpose()?,
        attempt: row.get(5)?,
        charged: row.get(7)?,
        rejections: row.get(8)?,
        worker: optional(9)?.map(str::parse).transpose().map_err(Failure::unreadable)?,
        gpu_ids: match optional(10)? {
            Some(ids) => serde_json::from_str(ids).map_err(Failure::unreadable)?,
            None => Vec::new(),
        },
        exit_code: row.get(11)?,
        error_message: row.get(12)?,
        created_at: number(13)?,
        started_at: row.get::<_, Option<i64>>(14)?.map(unsql),
        completed_at: row.get::<_, Option<i64>>(15)?.map(unsql),
        stdout_bytes: number(16)?,
        stderr_bytes: number(17)?,
        cancel_grace_ms: row.get::<_, Option<i64>>(18)?.map(unsql),
        spec: Arc::new(serde_json::from_str(text(19)?).map_err(Failure::unreadable)?),
    };
    Ok(Stored { job, last_n: number(6)? })
}

/// The job of this number, whatever its nonce.
pub(super) fn by_number(conn: &Connection, number: u64) -> Run<Option<Stored>> {
    let mut statement = conn.prepare_cached(concat!("SELECT ", columns!(), " FROM jobs WHERE number = ?1"))?;
    statement.query_row([sql(number)], |row| Ok(read(row))).optional()?.transpose()
}

/// The job that `job` names.
pub(super) fn named(conn: &Connection, job: JobRef) -> Run<Option<Stored>> {
    Ok(by_number(conn, job.number())?.filter(|stored| job.names(stored.job.id)))
}

/// The number of the account's job of this key.
pub(super) fn by_key(conn: &Connection, account: &AccountName, key: &str) -> Run<Option<u64>> {
    let number: Option<i64> = conn
        .prepare_cached("SELECT number FROM jobs WHERE account = ?1 AND key = ?2")?
        .query_row([account.as_str(), key], |row| row.get(0))
        .optional()?;
    Ok(number.map(unsql))
}

/// Adds a pending job. `spec` is its spec in JSON.
pub(super) fn insert(conn: &Connection, job: &Job, key: Option<&str>, spec: &str) -> Run<()> {
    conn.prepare_cached(
        "INSERT INTO jobs (number, nonce, account, status, attempt, last_n, charged, rejections, created_at, \
         stdout_bytes, stderr_bytes, key, spec) VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, ?4, 0, 0, ?5, ?6)",
    )?
    .execute(params![sql(job.id.number), job.id.nonce, job.account.as_str(), sql(job.created_at), key, spec])?;
    Ok(())
}

/// Writes what can change of a record.
pub(super) fn update(conn: &Connection, job: &Job, last_n: u64) -> Run<()> {
    let gpu_ids = if job.gpu_ids.is_empty() {
        None
    } else {
        Some(serde_json::to_string(&job.gpu_ids).map_err(Failure::unreadable)?)
    };
    conn.prepare_cached(
        "UPDATE jobs SET status = ?2, reason = ?3, attempt = ?4, last_n = ?5, charged = ?6, rejections = ?7, \
         worker = ?8, gpu_ids = ?9, exit_code = ?10, error_message = ?11, started_at = ?12, completed_at = ?13, \
         stdout_bytes = ?14, stderr_bytes = ?15, cancel_grace_ms = ?16 WHERE number = ?1",
    )?
    .execute(params![
        sql(job.id.number),
        status_code(job.status),
        job.reason.map(reason_code),
        job.attempt,
        sql(last_n),
        job.charged,
        job.rejections,
        job.worker.as_ref().map(WorkerId::as_str),
        gpu_ids,
        job.exit_code,
        job.error_message,
        job.started_at.map(sql),
        job.completed_at.map(sql),
        sql(job.stdout_bytes),
        sql(job.stderr_bytes),
        job.cancel_grace_ms.map(sql),
    ])?;
    Ok(())
}
