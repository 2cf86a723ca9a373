//! Records and entries, to and from what the scripts deal in.

use std::sync::Arc;

use bytes::Bytes;
use redis::Value;

use super::{corrupt, packed};
use crate::base::clock::Millis;
use crate::model::{AccountName, Entry, EntryKind, Job};
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Cursor, JobId, JobRef, StreamName, WorkerId};
use crate::store::error::StoreError;

/// A record as the scripts answer it.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) job: Job,
    /// The last `n` of its latest attempt.
    pub(super) last_n: u64,
    /// Counts the changes of the record, so that two do not overwrite each other.
    pub(super) version: u64,
}

pub(super) fn status_code(status: Status) -> &'static str {
    match status {
        Status::Pending => "0",
        Status::Running => "1",
        Status::Completed => "2",
        Status::Failed => "3",
        Status::Cancelled => "4",
    }
}

fn status_of(code: &str) -> Result<Status, StoreError> {
    Ok(match code {
        "0" => Status::Pending,
        "1" => Status::Running,
        "2" => Status::Completed,
        "3" => Status::Failed,
        "4" => Status::Cancelled,
        other => return Err(corrupt(format!("status {other:?}"))),
    })
}

/// Reasons as the wire spells them.
pub(super) fn reason_code(reason: Reason) -> String {
    match serde_json::to_value(reason) {
        Ok(serde_json::Value::String(text)) => text,
        // A reason is a word by its declaration.
        Ok(_) | Err(_) => String::new(),
    }
}

fn reason_of(code: &str) -> Result<Reason, StoreError> {
    serde_json::from_value(serde_json::Value::from(code)).map_err(|_| corrupt(format!("reason {code:?}")))
}

/// The values of an answer.
pub(super) fn array(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(corrupt(format!("an answer that is no list: {other:?}"))),
    }
}

pub(super) fn bytes(value: Value) -> Result<Vec<u8>, StoreError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        other => Err(corrupt(format!("an answer that is no text: {other:?}"))),
    }
}

pub(super) fn text(value: Value) -> Result<String, StoreError> {
    match value {
        Value::Int(number) => Ok(number.to_string()),
        other => String::from_utf8(bytes(other)?).map_err(corrupt),
    }
}

/// A number; one that is missing is 0.
pub(super) fn number<T: TryFrom<u64>>(value: Value) -> Result<T, StoreError> {
    let number = match value {
        Value::Nil => 0,
        Value::Int(number) => u64::try_from(number).map_err(corrupt)?,
        other => text(other)?.parse().map_err(corrupt)?,
    };
    T::try_from(number).map_err(|_| corrupt(format!("{number} is too large")))
}

pub(super) fn optional<T>(
    value: Value,
    read: impl FnOnce(Value) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        value => read(value).map(Some),
    }
}

/// The record of the job of this number; none where there is no such job.
pub(super) fn stored(number_: u64, fields: Value) -> Result<Option<Stored>, StoreError> {
    let mut fields = array(fields)?.into_iter();
    let mut next = || fields.next().ok_or_else(|| corrupt("a record that is too short"));
    let nonce = match next()? {
        Value::Nil => return Ok(None),
        nonce => number(nonce)?,
    };
    let account: AccountName = text(next()?)?.parse().map_err(corrupt)?;
    let spec = Arc::new(serde_json::from_slice(&bytes(next()?)?).map_err(corrupt)?);
    let status = status_of(&text(next()?)?)?;
    let reason = optional(next()?, text)?.as_deref().map(reason_of).transpose()?;
    let attempt = number(next()?)?;
    let last_n = number(next()?)?;
    let job = Job {
        id: JobId { number: number_, nonce },
        account,
        spec,
        status,
        reason,
        attempt,
        charged: number(next()?)?,
        rejections: number(next()?)?,
        worker: optional(next()?, text)?.map(|id| id.parse()).transpose().map_err(corrupt)?,
        gpu_ids: match optional(next()?, bytes)? {
            Some(ids) => serde_json::from_slice(&ids).map_err(corrupt)?,
            None => Vec::new(),
        },
        exit_code: optional(next()?, text)?.map(|code| code.parse()).transpose().map_err(corrupt)?,
        error_message: optional(next()?, text)?,
        created_at: number(next()?)?,
        started_at: optional(next()?, number)?,
        completed_at: optional(next()?, number)?,
        stdout_bytes: number(next()?)?,
        stderr_bytes: number(next()?)?,
        cancel_grace_ms: optional(next()?, number)?,
    };
    Ok(Some(Stored { job, last_n, version: number(next()?)? }))
}

/// A job that was claimed for `worker` at `now`, as the script answers it.
pub(super) fn begun(value: Value, worker: WorkerId, now: Millis) -> Result<Job, StoreError> {
    let [number_, gpus, attempt, charged, nonce, account, spec, created, rejections, grace] = fixed(value)?;
    Ok(Job {
        id: JobId { number: number(number_)?, nonce: number(nonce)? },
        account: text(account)?.parse().map_err(corrupt)?,
        spec: Arc::new(serde_json::from_slice(&bytes(spec)?).map_err(corrupt)?),
        status: Status::Running,
        reason: None,
        attempt: number(attempt)?,
        charged: number(charged)?,
        rejections: number(rejections)?,
        worker: Some(worker),
        gpu_ids: serde_json::from_slice(&bytes(gpus)?).map_err(corrupt)?,
        exit_code: None,
        error_message: None,
        created_at: number(created)?,
        started_at: Some(now),
        completed_at: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
        cancel_grace_ms: optional(grace, number)?,
    })
}

/// `{number, record…}`, as lists of records are answered.
pub(super) fn numbered(value: Value) -> Result<Stored, StoreError> {
    let [number_, fields] = fixed(value)?;
    let number_ = number(number_)?;
    stored(number_, fields)?.ok_or_else(|| corrupt(format!("job {number_} vanished")))
}

/// An answer of exactly so many values.
pub(super) fn fixed<const N: usize>(value: Value) -> Result<[Value; N], StoreError> {
    array(value)?.try_into().map_err(|_| corrupt(format!("an answer that has not {N} values")))
}

/// The job that `named` names, if this is it.
pub(super) fn named(stored: Option<Stored>, named: JobRef) -> Option<Stored> {
    stored.filter(|stored| named.names(stored.job.id))
}

/// What has changed of a record: fields and their new values, empty where there is none any more.
pub(super) fn changes(before: &Job, after: &Job) -> Vec<(&'static str, String)> {
    changeable(before).into_iter().zip(changeable(after)).filter(|(old, new)| old != new).map(|(_, new)| new).collect()
}

/// What can change of a record; empty where there is none.
pub(super) fn changeable(job: &Job) -> [(&'static str, String); 12] {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    [
        ("status", status_code(job.status).to_owned()),
        ("reason", job.reason.map(reason_code).unwrap_or_default()),
        ("attempt", job.attempt.to_string()),
        ("charged", job.charged.to_string()),
        ("rejections", job.rejections.to_string()),
        ("worker", job.worker.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("gpus", serde_json::to_string(&job.gpu_ids).unwrap_or_default()),
        ("exit", job.exit_code.map(|code| code.to_string()).unwrap_or_default()),
        ("message", job.error_message.clone().unwrap_or_default()),
        ("started", number(job.started_at)),
        ("completed", number(job.completed_at)),
        ("grace", number(job.cancel_grace_ms)),
    ]
}

/// The same as the scripts take them.
pub(super) fn entry_json(entry: &Entry) -> String {
    let fields = entry_fields(entry);
    let flat: Vec<&str> = fields.iter().flat_map(|(name, value)| [*name, value.as_str()]).collect();
    serde_json::to_string(&flat).unwrap_or_default()
}

/// Fields of a lifecycle entry in the stream.
pub(super) fn entry_fields(entry: &Entry) -> Vec<(&'static str, String)> {
    let mut fields = vec![("time", entry.time.to_string())];
    match &entry.kind {
        EntryKind::Status { status: _, worker: Some(worker), reason: _ } => {
            fields.extend([("kind", "run".to_owned()), ("worker", worker.to_string())]);
        }
        EntryKind::Status { status: _, worker: None, reason } => {
            let reason = reason.map(reason_code).unwrap_or_default();
            fields.extend([("kind", "wait".to_owned()), ("reason", reason)]);
        }
        // Output is written by the script that counts it.
        EntryKind::Output { .. } => (),
        EntryKind::End { status, exit_code, reason, message } => fields.extend([
            ("kind", "end".to_owned()),
            ("status", status_code(*status).to_owned()),
            ("reason", reason_code(*reason)),
            ("exit", exit_code.map(|code| code.to_string()).unwrap_or_default()),
            ("message", message.clone().unwrap_or_default()),
        ]),
    }
    fields
}

/// An entry of the stream: its id and its fields.
pub(super) fn entry(value: Value) -> Result<Entry, StoreError> {
    let [id, fields] = fixed(value)?;
    let at: Cursor = text(id)?.parse().map_err(corrupt)?;
    let (mut kind, mut time, mut worker, mut offset, mut content) = (String::new(), 0, None, 0, Bytes::new());
    let (mut lz4, mut size) = (None, 0);
    let (mut status, mut reason, mut exit, mut message) = (None, None, None, None);
    let mut fields = array(fields)?.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match text(name)?.as_str() {
            "kind" => kind = text(value)?,
            "time" => time = number::<Millis>(value)?,
            "worker" => worker = Some(text(value)?.parse().map_err(corrupt)?),
            "offset" => offset = number(value)?,
            "bytes" => content = bytes(value)?.into(),
            "lz4" => lz4 = Some(bytes(value)?),
            "size" => size = number(value)?,
            "status" => status = Some(status_of(&text(value)?)?),
            "reason" => reason = Some(text(value)?).filter(|text| !text.is_empty()),
            "exit" => exit = Some(text(value)?).filter(|text| !text.is_empty()),
            "message" => message = Some(text(value)?).filter(|text| !text.is_empty()),
            other => return Err(corrupt(format!("a log entry with a field {other:?}"))),
        }
    }
    if let Some(lz4) = lz4 {
        content = packed::unpacked(&lz4, size)?.into();
    }
    let reason = reason.as_deref().map(reason_of).transpose()?;
    let output = |stream, bytes| EntryKind::Output { stream, offset, bytes };
    let kind = match kind.as_str() {
        "run" => EntryKind::Status { status: Status::Running, worker, reason },
        "wait" => EntryKind::Status { status: Status::Pending, worker: None, reason },
        "out" => output(StreamName::Stdout, content),
        "err" => output(StreamName::Stderr, content),
        "end" => EntryKind::End {
            status: status.ok_or_else(|| corrupt("an end without a status"))?,
            exit_code: exit.map(|code| code.parse()).transpose().map_err(corrupt)?,
            reason: reason.ok_or_else(|| corrupt("an end without a reason"))?,
            message,
        },
        other => return Err(corrupt(format!("a log entry of kind {other:?}"))),
    };
    Ok(Entry { at, time, kind })
}
