//! Logs: a stream for each job, whose entry ids are the cursors.

use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;

use super::record::{self, Stored, reason_code, status_code};
use super::script::Script;
use super::{RedisStore, corrupt, jobs, packed};
use crate::model::{Entry, EntryKind, Job};
use crate::protocol::job::Status;
use crate::protocol::{Attempt, Cursor, JobId, StreamName};
use crate::store::error::{AppendError, StoreError};
use crate::store::log::{Appended, Archived, AttemptWrite, Gone, LogPage, LogStore};
use crate::store::page::Page;
use crate::store::transition;

/// Entries that one read asks for: what a page of the usual size holds.
const READ_AT_ONCE: usize = 128;

impl RedisStore {
    async fn append_on(
        &self,
        partition: u32,
        writes: &[(usize, AttemptWrite)],
    ) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        let mut packed = packed::packed(writes).await?.into_iter();
        let mut call = self.call(Script::Append, partition).arg(self.0.options.output_bytes);
        for (_, AttemptWrite { job, attempt, output, end }) in writes {
            call = call.arg(job.number).arg(job.nonce).arg(attempt).arg(output.len());
            for chunk in output {
                let stream = match chunk.stream {
                    StreamName::Stdout => "out",
                    StreamName::Stderr => "err",
                };
                call = call.arg(chunk.n).arg(stream).arg(chunk.time);
                call = match packed.next().flatten() {
                    None => call.arg("").arg(&chunk.bytes[..]),
                    Some(packed) => call.arg(chunk.bytes.len()).arg(packed),
                };
            }
            match end {
                None => call.push("0"),
                Some((n, time, outcome)) => {
                    call = call.arg("1").arg(n).arg(time).arg(status_code(outcome.status()));
                    call = call.arg(reason_code(outcome.reason));
                    call = call.arg(outcome.exit_code.map(|code| code.to_string()).unwrap_or_default());
                    call = call.arg(outcome.message.as_deref().unwrap_or_default());
                }
            }
        }
        let answers = record::array(self.run(&call).await?)?;
        if answers.len() != writes.len() {
            return Err(corrupt("writes without answers"));
        }
        let mut results = Vec::with_capacity(answers.len());
        for ((_, write), answer) in writes.iter().zip(answers) {
            results.push(match read_answer(write, answer)? {
                Ok(written) => Ok(self.with_end(write, written).await?),
                Err(refused) => Err(refused),
            });
        }
        Ok(results)
    }
}

impl RedisStore {
    /// Adds the end to what a write came to, where it has one.
    async fn with_end(&self, write: &AttemptWrite, written: Written) -> Result<Appended, StoreError> {
        let Written { mut appended, again, grace, stdout, stderr } = written;
        let Some((n, time, outcome)) = write.end.as_ref().filter(|_| !again) else { return Ok(appended) };
        let began = self.0.running.remove(&write.job).filter(|(_, began)| began.attempt == write.attempt);
        let job = match began {
            Some((_, began)) => {
                let mut job = Job::clone(&began);
                (job.stdout_bytes, job.stderr_bytes, job.cancel_grace_ms) = (stdout, stderr, grace);
                transition::end(&mut job, outcome.clone(), *time);
                job
            }
            // Claimed elsewhere. The record cannot change any more.
            None => {
                let (_, stored) = self.load(write.job.number).await?;
                stored.ok_or_else(|| corrupt("a job that vanished"))?.job
            }
        };
        appended.entries.extend(transition::end_entry(&job, *n));
        appended.ended = Some(Arc::new(job));
        Ok(appended)
    }
}

/// What a write came to, as far as the script says.
struct Written {
    appended: Appended,
    /// Said once before: nothing has changed.
    again: bool,
    /// Grace of a cancel that was asked for.
    grace: Option<u64>,
    stdout: u64,
    stderr: u64,
}

fn read_answer(write: &AttemptWrite, answer: Value) -> Result<Result<Written, AppendError>, StoreError> {
    let mut answer = record::array(answer)?.into_iter();
    let mut next = || answer.next().ok_or_else(|| corrupt("an answer to a write that is too short"));
    let (job, attempt) = (write.job, write.attempt);
    Ok(match record::text(next()?)?.as_str() {
        "ok" => {
            let before: u64 = record::number(next()?)?;
            let (mut stdout, mut stderr) = (record::number(next()?)?, record::number(next()?)?);
            let last_n = record::number(next()?)?;
            let grace = record::text(next()?)?;
            let mut entries = Vec::with_capacity(write.output.len() + 1);
            for chunk in write.output.iter().filter(|chunk| chunk.n > before) {
                let count: &mut u64 = match chunk.stream {
                    StreamName::Stdout => &mut stdout,
                    StreamName::Stderr => &mut stderr,
                };
                let offset = *count;
                *count += chunk.bytes.len() as u64;
                let kind = EntryKind::Output { stream: chunk.stream, offset, bytes: chunk.bytes.clone() };
                entries.push(Entry { at: Cursor::new(attempt, chunk.n), time: chunk.time, kind });
            }
            let grace = if grace.is_empty() { None } else { Some(grace.parse().map_err(corrupt)?) };
            Ok(Written { appended: Appended { entries, last_n, ended: None }, again: false, grace, stdout, stderr })
        }
        "again" => {
            let appended = Appended { entries: Vec::new(), last_n: record::number(next()?)?, ended: None };
            Ok(Written { appended, again: true, grace: None, stdout: 0, stderr: 0 })
        }
        "stale" => Err(AppendError::Stale { job, stale: attempt, current: record::number(next()?)? }),
        "gap" => Err(AppendError::Gap { expect: record::number(next()?)?, got: record::number(next()?)? }),
        "missing" => Err(AppendError::NotFound(job.into())),
        other => return Err(corrupt(format!("{other:?} as the answer to a write"))),
    })
}

#[async_trait]
impl LogStore for RedisStore {
    async fn append(&self, writes: Vec<AttemptWrite>) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
        let mut by_partition: Vec<Vec<(usize, AttemptWrite)>> = self.partitions().map(|_| Vec::new()).collect();
        let count = writes.len();
        for (index, write) in writes.into_iter().enumerate() {
            by_partition[self.partition_of(write.job.number) as usize].push((index, write));
        }
        let here = self.partitions().zip(&by_partition).filter(|(_, writes)| !writes.is_empty());
        let done = here.map(|(partition, writes)| self.append_on(partition, writes));
        let answers = futures_util::future::try_join_all(done).await?.into_iter().flatten();
        let mut results: Vec<_> = by_partition.iter().flatten().map(|(index, _)| *index).zip(answers).collect();
        results.sort_unstable_by_key(|(index, _)| *index);
        if results.len() != count {
            return Err(corrupt("writes without answers"));
        }
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }

    async fn read(&self, job: JobId, after: Cursor, max_bytes: usize) -> Result<Option<LogPage>, StoreError> {
        let call = self.call(Script::Read, self.partition_of(job.number));
        let call = call.arg(job.number).arg(after.to_string()).arg(READ_AT_ONCE).arg(max_bytes);
        let [fields, entries, whole, moved, packed] = record::fixed(self.run(&call).await?)?;
        let Some(stored) = record::named(record::stored(job.number, fields)?, job.into()) else { return Ok(None) };
        let mut page = Page::new(after, max_bytes, jobs::top(&stored), stored.job.status);
        let whole = record::text(whole)? == "1";
        let mut open = true;
        for value in record::array(entries)? {
            open = open && page.push(record::entry(value)?);
        }
        if open && whole {
            // The record stands for the first entry of an attempt that has written nothing, and for the last of all.
            let Stored { job, last_n, .. } = &stored;
            let head = transition::head_entry(job).filter(|_| job.stdout_bytes + job.stderr_bytes == 0);
            let end = transition::end_entry(job, *last_n);
            head.into_iter().chain(end).all(|entry| page.push(entry));
        }
        let archived = match record::text(moved)?.as_str() {
            "" => None,
            "packed" => Some(Archived::Packed(record::bytes(packed)?.into())),
            _ => Some(Archived::File),
        };
        Ok(Some(LogPage { archived, ..page.finish() }))
    }

    async fn skip(&self, job: JobId, attempt: Attempt, gone: Gone) -> Result<Result<(), AppendError>, StoreError> {
        let Gone { n, stdout, stderr } = gone;
        let call = self.call(Script::Skip, self.partition_of(job.number)).arg(job.number).arg(job.nonce).arg(attempt);
        let mut answer = record::array(self.run(&call.arg(n).arg(stdout).arg(stderr)).await?)?.into_iter();
        let mut next = || answer.next().ok_or_else(|| corrupt("an answer to a skip that is too short"));
        Ok(match record::text(next()?)?.as_str() {
            "ok" => Ok(()),
            "stale" => Err(AppendError::Stale { job, stale: attempt, current: record::number(next()?)? }),
            "missing" => Err(AppendError::NotFound(job.into())),
            other => return Err(corrupt(format!("{other:?} as the answer to a skip"))),
        })
    }

    async fn last_n(&self, job: JobId, attempt: Attempt) -> Result<Result<u64, AppendError>, StoreError> {
        let (_, stored) = self.load(job.number).await?;
        Ok(match record::named(stored, job.into()) {
            None => Err(AppendError::NotFound(job.into())),
            Some(Stored { job: kept, last_n, .. }) => {
                if kept.status == Status::Running && kept.attempt == attempt {
                    Ok(last_n)
                } else {
                    Err(AppendError::Stale { job, stale: attempt, current: kept.attempt })
                }
            }
        })
    }
}
