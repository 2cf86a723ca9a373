//! Logs: a stream for each job, whose entry ids are the cursors.

use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;

use super::record::{self, Stored, reason_code, status_code};
use super::script::Script;
use super::{RedisStore, corrupt, jobs};
use crate::model::{Entry, EntryKind};
use crate::protocol::job::Status;
use crate::protocol::{Attempt, Cursor, JobId, StreamName};
use crate::store::error::{AppendError, StoreError};
use crate::store::log::{Appended, AttemptWrite, LogPage, LogStore};
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
        let mut call = self.call(Script::Append, partition).arg(self.0.options.output_bytes);
        for (_, AttemptWrite { job, attempt, output, end }) in writes {
            call = call.arg(job.number).arg(job.nonce).arg(attempt).arg(output.len());
            for chunk in output {
                let stream = match chunk.stream {
                    StreamName::Stdout => "out",
                    StreamName::Stderr => "err",
                };
                call = call.arg(chunk.n).arg(stream).arg(chunk.time).arg(&chunk.bytes[..]);
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
        writes.iter().zip(answers).map(|((_, write), answer)| read_answer(write, answer)).collect()
    }
}

fn read_answer(write: &AttemptWrite, answer: Value) -> Result<Result<Appended, AppendError>, StoreError> {
    let mut answer = record::array(answer)?.into_iter();
    let mut next = || answer.next().ok_or_else(|| corrupt("an answer to a write that is too short"));
    let (job, attempt) = (write.job, write.attempt);
    Ok(match record::text(next()?)?.as_str() {
        "ok" => {
            let before: u64 = record::number(next()?)?;
            let (mut stdout, mut stderr) = (record::number(next()?)?, record::number(next()?)?);
            let last_n = record::number(next()?)?;
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
            let ended = match answer.next() {
                None => None,
                Some(fields) => {
                    let stored = record::stored(job.number, fields)?.ok_or_else(|| corrupt("a job that vanished"))?;
                    entries.extend(transition::end_entry(&stored.job, last_n));
                    Some(Arc::new(stored.job))
                }
            };
            Ok(Appended { entries, last_n, ended })
        }
        "again" => Ok(Appended { entries: Vec::new(), last_n: record::number(next()?)?, ended: None }),
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
        let [fields, entries] =
            record::fixed(self.run(&call.arg(job.number).arg(after.to_string()).arg(READ_AT_ONCE)).await?)?;
        let Some(stored) = record::named(record::stored(job.number, fields)?, job.into()) else { return Ok(None) };
        let mut page = Page::new(after, max_bytes, jobs::top(&stored), stored.job.status);
        for value in record::array(entries)? {
            if !page.push(record::entry(value)?) {
                break;
            }
        }
        Ok(Some(page.finish()))
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
