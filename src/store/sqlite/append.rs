//! What attempts write: fence, contiguity, offsets and the output cap.

use super::engine::Engine;
use super::failure::Run;
use super::live::Running;
use super::rows;
use super::segment::{self, Offsets, SEGMENT_BYTES};
use crate::model::{Entry, EntryKind, Job};
use crate::protocol::{Attempt, Cursor, JobId};
use crate::store::error::AppendError;
use crate::store::log::{Appended, AttemptWrite, Gone, NewOutput};
use crate::store::transition;

impl Engine {
    /// Appends one write, or says why it may not be.
    pub(super) fn append(&mut self, write: &AttemptWrite) -> Run<Result<Appended, AppendError>> {
        let Some(running) = self.live.running(write.job, write.attempt) else { return self.repeat_of_end(write) };
        let fresh = match unseen(write, running.last_n) {
            Ok(fresh) => fresh,
            Err(gap) => return Ok(Err(gap)),
        };
        let Running { job, offsets: before, mut kept, mut last_n, .. } = running.clone();
        let mut offsets = before;
        let mut entries = Vec::with_capacity(fresh.len() + 1);
        for chunk in fresh {
            entries.push(output_entry(write, chunk, &mut offsets));
            last_n = chunk.n;
        }
        if !entries.is_empty() {
            kept = self.store_output(job.id.number, &entries, before, kept)?;
        }
        let Some((n, time, outcome)) = &write.end else {
            if !entries.is_empty() {
                self.live.advance(job.id.number, last_n, offsets, kept);
            }
            return Ok(Ok(Appended { entries, last_n, ended: None }));
        };
        let record = Job { stdout_bytes: offsets.stdout, stderr_bytes: offsets.stderr, ..Job::clone(&job) };
        let change = self.end(record, *n, *time, outcome.clone())?;
        entries.push(change.entry);
        Ok(Ok(Appended { entries, last_n: *n, ended: Some(change.job) }))
    }

    /// Goes on after entries that are gone. The next write makes it last.
    pub(super) fn skip(&mut self, job: JobId, attempt: Attempt, gone: Gone) -> Run<Result<(), AppendError>> {
        let Some(running) = self.live.running(job, attempt) else { return Ok(Err(self.refusal(job, attempt)?)) };
        let (last_n, kept) = (running.last_n, running.kept);
        if last_n < gone.n {
            self.live.advance(job.number, gone.n, Offsets { stdout: gone.stdout, stderr: gone.stderr }, kept);
        }
        Ok(Ok(()))
    }

    /// Writes output in rows of a bounded size, and removes the oldest rows where the job has too
    /// much. Returns what is kept.
    fn store_output(&self, number: u64, entries: &[Entry], mut offsets: Offsets, mut kept: u64) -> Run<u64> {
        let mut newest = Cursor::START;
        let mut rest = entries;
        while let Some(first) = rest.first() {
            let (row, after) = rest.split_at(row_len(rest));
            for entry in row {
                if let EntryKind::Output { stream, bytes, .. } = &entry.kind {
                    *offsets.of(*stream) += bytes.len() as u64;
                    kept += bytes.len() as u64;
                }
            }
            segment::insert(self.connection(), number, row, offsets)?;
            newest = first.at;
            rest = after;
        }
        segment::trim(self.connection(), number, newest, kept, self.output_cap())
    }

    /// A write under an attempt that does not run is fine if it says again how that attempt ended the job.
    fn repeat_of_end(&self, write: &AttemptWrite) -> Run<Result<Appended, AppendError>> {
        if let Some((n, _, outcome)) = &write.end
            && let Some(stored) = rows::named(self.connection(), write.job.into())?
            && stored.job.attempt == write.attempt
            && stored.last_n == *n
            && transition::ended_by(&stored.job, outcome)
        {
            return Ok(Ok(Appended { entries: Vec::new(), last_n: *n, ended: None }));
        }
        Ok(Err(self.refusal(write.job, write.attempt)?))
    }
}

/// The chunks that come after `last_n`, once it is sure that neither they nor the end leave a hole.
fn unseen(write: &AttemptWrite, last_n: u64) -> Result<&[NewOutput], AppendError> {
    let repeats = write.output.iter().take_while(|chunk| chunk.n <= last_n).count();
    let fresh = &write.output[repeats..];
    let end = write.end.as_ref().map(|(n, ..)| *n);
    let given = fresh.iter().map(|chunk| chunk.n).chain(end);
    match (last_n + 1..).zip(given).find(|(expect, got)| expect != got) {
        Some((expect, got)) => Err(AppendError::Gap { expect, got }),
        None => Ok(fresh),
    }
}

fn output_entry(write: &AttemptWrite, chunk: &NewOutput, offsets: &mut Offsets) -> Entry {
    let offset = offsets.of(chunk.stream);
    let kind = EntryKind::Output { stream: chunk.stream, offset: *offset, bytes: chunk.bytes.clone() };
    *offset += chunk.bytes.len() as u64;
    Entry { at: Cursor::new(write.attempt, chunk.n), time: chunk.time, kind }
}

/// How many of `entries` go into one row: up to [`SEGMENT_BYTES`], and one at least.
fn row_len(entries: &[Entry]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        bytes += entry.output_len();
        bytes <= SEGMENT_BYTES
    };
    entries.iter().take_while(fits).count().max(1)
}
