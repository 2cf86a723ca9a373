//! Pages of logs: on from a cursor, or back from one.
//!
//! Logs are read forward only, wherever they are. What lies before a cursor is found by steps: a window that ends at the
//! cursor and begins so many entries, or attempts, before it is read forward, and what the page takes of it is its end.
//! Steps grow while entries are small and shrink where a window turns out to be long, so a page costs a few reads and a
//! bounded number of bytes, however long the log is.
//!
//! Guards: a page holds what a follower would have been sent, in that order, and says what is missing right before it.
//! Not here: where logs are (`logs`), following (`follow`).

use std::collections::VecDeque;

use super::{DispatchError, Dispatcher};
use crate::auth::Identity;
use crate::hub::frames;
use crate::model::Entry;
use crate::protocol::container::ContainerStatus;
use crate::protocol::job::Status;
use crate::protocol::limits::LOG_PAGE_ENTRIES;
use crate::protocol::paging::{ConsolePage, JobPage, Place, Read, ReadConsole, Removed, asked};
use crate::protocol::{After, Attempt, Before, ContainerId, Cursor, JobId};
use crate::store::StoreError;
use crate::store::log::LogPage;

/// Entries of the first step back: at 64 KiB each, as large as workers make them, two megabytes.
const STEP: u64 = 32;

/// Entries of a step at the most: a page.
const STEP_MOST: u64 = 4_096;

/// Entries, these at the most and so many for each of its step, and bytes that a window may hold before its step was too
/// long. Within an attempt it holds no more entries than its step; over attempts it may, and finds out for little.
const WINDOW_ENTRIES: u64 = 8_192;
const WINDOW_STEPS: u64 = 4;
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that are read at a time of a window, even for a small page: each read is a way to the store and back.
const READ_BYTES: usize = 16 * 1024;

/// After every entry.
const PAST_ALL: Cursor = Cursor::new(Attempt::MAX, u64::MAX);

/// A page of a log.
#[derive(Debug)]
pub struct LogPart {
    /// Entries, in order.
    entries: Vec<Entry>,
    /// Entries that are gone, right before the first of `entries`: the first and the last of them.
    removed: Option<(Cursor, Cursor)>,
    /// The newest entry.
    top: Cursor,
    status: Status,
    /// Whether there is more in the same direction.
    more: bool,
}

impl LogPart {
    /// As a page of a job's log.
    pub fn of_job(&self, job_id: JobId) -> JobPage<'_> {
        let Self { entries, removed, top, status, more } = self;
        let entries = entries.iter().map(|entry| frames::of_job(job_id, entry)).collect();
        JobPage { job_id, entries, removed: removed.map(removal), top: *top, status: *status, more: *more }
    }

    /// As a page of the console of a container that stands so.
    pub fn of_console(&self, container_id: ContainerId, status: ContainerStatus) -> ConsolePage<'_> {
        let Self { entries, removed, top, status: _, more } = self;
        let entries = entries.iter().map(|entry| frames::of_console(container_id, entry)).collect();
        ConsolePage { container_id, entries, removed: removed.map(removal), top: *top, status, more: *more }
    }
}

fn removal((from, to): (Cursor, Cursor)) -> Removed {
    Removed { from, to }
}

impl Dispatcher {
    /// A page of a job's log.
    ///
    /// # Errors
    /// A wrong field, `not_found`, or the store.
    pub async fn page_of_job(&self, who: &Identity, read: &Read) -> Result<(JobId, LogPart), DispatchError> {
        let Read { job_id, after, before, max_bytes } = read;
        let (place, max_bytes) = asked(*after, *before, *max_bytes)?;
        let job = self.job(who, *job_id).await?;
        let part = self.page_of(job.id, place, max_bytes).await?;
        Ok((job.id, part.ok_or(DispatchError::NotFound("job"))?))
    }

    /// A page of a container's console.
    ///
    /// # Errors
    /// As [`Dispatcher::page_of_job`].
    pub async fn page_of_console(
        &self,
        who: &Identity,
        read: &ReadConsole,
    ) -> Result<(ContainerId, ContainerStatus, LogPart), DispatchError> {
        let ReadConsole { container_id, after, before, max_bytes } = read;
        let (place, max_bytes) = asked(*after, *before, *max_bytes)?;
        let (container, job) = self.find_container(who, container_id).await?;
        let part = self.page_of(job.id, place, max_bytes).await?;
        Ok((container.id, container.status(&job), part.ok_or(DispatchError::NotFound("container"))?))
    }

    async fn page_of(&self, log: JobId, place: Place, max_bytes: usize) -> Result<Option<LogPart>, StoreError> {
        let read = |after, max_bytes| self.read_log(log, after, max_bytes);
        let pager = Pager { read, max_bytes, entries: VecDeque::new(), bytes: 0 };
        match place {
            Place::After(After::Start) => pager.after(Cursor::START).await,
            Place::After(After::At(cursor)) => pager.after(cursor).await,
            Place::After(After::Tail) => pager.after(PAST_ALL).await,
            Place::Before(Before::At(cursor)) => pager.before(cursor).await,
            Place::Before(Before::End) => pager.before(PAST_ALL).await,
        }
    }
}

/// A page that is being put together from what `read` reads: a piece of the log after a cursor, as [`Dispatcher::read_log`]
/// does, or none where the log is gone.
struct Pager<R> {
    read: R,
    /// About so much output at the most.
    max_bytes: usize,
    entries: VecDeque<Entry>,
    /// Output in `entries`.
    bytes: usize,
}

/// What a window holds for the page.
enum Window {
    /// So much that it was not read to its end.
    TooLong,
    /// This, all of it before what the page has already.
    Read {
        entries: VecDeque<Entry>,
        bytes: usize,
        /// What is gone right before the first of `entries`, within the window.
        hole: Option<(Cursor, Cursor)>,
        /// Whether the page takes no more: entries right before these were left out.
        full: bool,
    },
    /// The log is gone.
    Gone,
}

impl<R, F> Pager<R>
where
    R: Fn(Cursor, usize) -> F,
    F: Future<Output = Result<Option<LogPage>, StoreError>>,
{
    /// The page after a cursor.
    async fn after(self, after: Cursor) -> Result<Option<LogPart>, StoreError> {
        let Some(first) = (self.read)(after, self.max_bytes).await? else { return Ok(None) };
        let LogPage { mut entries, removed, mut top, mut status, archived: _ } = first;
        let mut bytes: usize = entries.iter().map(Entry::output_len).sum();
        // A store may give less than was asked for at a time.
        while let Some(last) = entries.last()
            && last.at < top
            && entries.len() < LOG_PAGE_ENTRIES
            && bytes < self.max_bytes
        {
            let Some(next) = (self.read)(last.at, self.max_bytes - bytes).await? else { return Ok(None) };
            let more: usize = next.entries.iter().map(Entry::output_len).sum();
            (top, status) = (next.top, next.status);
            if next.removed.is_some() || next.entries.is_empty() || bytes + more > self.max_bytes {
                break;
            }
            bytes += more;
            entries.extend(next.entries);
        }
        entries.truncate(LOG_PAGE_ENTRIES);
        let more = entries.last().is_some_and(|last| last.at < top);
        Ok(Some(LogPart { entries, removed, top, status, more }))
    }

    /// The page before a cursor.
    async fn before(mut self, before: Cursor) -> Result<Option<LogPart>, StoreError> {
        let Some(LogPage { top, status, .. }) = (self.read)(PAST_ALL, 0).await? else { return Ok(None) };
        let (mut end, mut step) = (before.min(following(top)), STEP);
        // A step that was too long is not tried again in the same attempt.
        let (mut most, mut attempt) = (STEP_MOST, end.attempt);
        let (mut removed, mut more) = (None, false);
        loop {
            if end.attempt != attempt {
                (most, attempt) = (STEP_MOST, end.attempt);
            }
            let start = back(end, step);
            match self.window(start, end, step).await? {
                Window::Gone => return Ok(None),
                // Already the attempt before is long: its end is looked for.
                Window::TooLong if end.n == 0 && step <= STEP => match self.last_before(end).await? {
                    Some(last) => end = following(last),
                    None => break,
                },
                Window::TooLong => {
                    step = (step / 4).max(1);
                    most = step;
                }
                Window::Read { entries, bytes, hole, full } => {
                    let found = !entries.is_empty();
                    let later = std::mem::replace(&mut self.entries, entries);
                    self.entries.extend(later);
                    self.bytes += bytes;
                    if full {
                        more = true;
                        break;
                    }
                    if let Some((from, to)) = hole {
                        let from = self.beginning(from, start).await?;
                        removed = Some((from, to));
                        more = self.first(Cursor::START, from).await?.is_some();
                        break;
                    }
                    if start == Cursor::START {
                        break;
                    }
                    (end, step) = (following(start), (step * 4).min(most));
                    if !found {
                        // There is no such attempt, or it is shorter than the cursor says.
                        match self.last_before(end).await? {
                            Some(last) => end = following(last),
                            None => break,
                        }
                    }
                }
            }
        }
        Ok(Some(LogPart { entries: self.entries.into(), removed, top, status, more }))
    }

    /// Reads what lies after `start` and before `end`, a step apart, and keeps the end of it, as much as still fits.
    async fn window(&self, start: Cursor, end: Cursor, step: u64) -> Result<Window, StoreError> {
        let most = WINDOW_ENTRIES.min(WINDOW_STEPS * step.max(STEP));
        let (mut entries, mut bytes, mut hole, mut full) = (VecDeque::new(), 0, None, false);
        let (mut looked, mut looked_bytes) = (0, 0);
        let mut at = start;
        loop {
            let Some(page) = (self.read)(at, self.max_bytes.max(READ_BYTES)).await? else { return Ok(Window::Gone) };
            if let Some((from, to)) = page.removed.filter(|(from, _)| *from < end) {
                entries.clear();
                (bytes, full) = (0, false);
                // Where it reaches over the end, both are of one attempt.
                let last = if to < end { to } else { Cursor::new(end.attempt, end.n.saturating_sub(1)) };
                hole = Some((from, last));
            }
            let last = page.entries.last().map(|last| last.at);
            for entry in page.entries {
                if entry.at >= end {
                    return Ok(Window::Read { entries, bytes, hole, full });
                }
                looked += 1;
                looked_bytes += entry.output_len();
                bytes += entry.output_len();
                entries.push_back(entry);
                while !self.have_room_for(entries.len(), bytes)
                    && let Some(oldest) = entries.pop_front()
                {
                    bytes -= oldest.output_len();
                    full = true;
                }
            }
            match last {
                Some(last) if last < page.top => at = last,
                Some(_) | None => return Ok(Window::Read { entries, bytes, hole, full }),
            }
            // One entry is never too long, so the shortest step gets somewhere.
            if looked > most || looked > 1 && looked_bytes > WINDOW_BYTES {
                return Ok(Window::TooLong);
            }
        }
    }

    /// Whether the page may have so many entries more, with so much output.
    fn have_room_for(&self, entries: usize, bytes: usize) -> bool {
        let count = self.entries.len() + entries;
        count <= 1 || count <= LOG_PAGE_ENTRIES && self.bytes + bytes <= self.max_bytes
    }

    /// The first entry after a cursor, if it lies before `end`.
    async fn first(&self, after: Cursor, end: Cursor) -> Result<Option<Cursor>, StoreError> {
        let page = (self.read)(after, 0).await?;
        Ok(page.and_then(|page| page.entries.first().map(|entry| entry.at)).filter(|at| *at < end))
    }

    /// The last entry before `end`, by bisection: over attempts, then within the one that has it.
    async fn last_before(&self, end: Cursor) -> Result<Option<Cursor>, StoreError> {
        let Some(first) = self.first(Cursor::START, end).await? else { return Ok(None) };
        let (mut low, mut high) = (first.attempt, if end.n == 0 { end.attempt.saturating_sub(1) } else { end.attempt });
        // Most likely it is the last that may be.
        let mut guess = high;
        while low < high {
            match self.first(before_attempt(guess), end).await? {
                Some(found) => low = found.attempt.max(guess),
                None => high = guess - 1,
            }
            guess = low + high.saturating_sub(low).div_ceil(2);
        }
        let attempt = low;
        let Some(first) = self.first(before_attempt(attempt), end).await? else { return Ok(None) };
        let (mut low, mut high) = (first.n, if end.attempt == attempt { end.n.saturating_sub(1) } else { u64::MAX });
        let mut stride = 1;
        while low < high {
            // Most attempts are short for what their numbers may be: from the beginning, then by halves.
            let guess = low + ((high - low) / 2).min(stride);
            stride = stride.saturating_mul(2);
            match self.first(Cursor::new(attempt, guess), end).await? {
                Some(found) => low = found.n.max(guess + 1),
                None => high = guess,
            }
        }
        Ok(Some(Cursor::new(attempt, low)))
    }

    /// Where a hole really begins that was seen from `from` on by who began to read at `start`, maybe within it.
    async fn beginning(&self, from: Cursor, start: Cursor) -> Result<Cursor, StoreError> {
        if from.attempt != start.attempt || from.n == 0 {
            return Ok(from);
        }
        // The first place after which nothing is left up to the hole. Most holes begin with the attempt's output.
        let (mut low, mut high, mut guess) = (0, from.n - 1, 0);
        while low < high {
            match self.first(Cursor::new(from.attempt, guess), from).await? {
                Some(found) => low = found.n.max(guess + 1),
                None => high = guess,
            }
            guess = low + high.saturating_sub(low) / 2;
        }
        Ok(Cursor::new(from.attempt, high + 1))
    }
}

/// The cursor right after `at`.
fn following(at: Cursor) -> Cursor {
    match at.n.checked_add(1) {
        Some(n) => Cursor::new(at.attempt, n),
        None => Cursor::new(at.attempt.saturating_add(1), 0),
    }
}

/// Before the first entry of an attempt, and after all of those before it.
fn before_attempt(attempt: Attempt) -> Cursor {
    attempt.checked_sub(1).map_or(Cursor::START, |former| Cursor::new(former, u64::MAX))
}

/// The cursor that is a step before `end`, which reaches over whole attempts where the entries of its own do not suffice.
fn back(end: Cursor, step: u64) -> Cursor {
    if end.n > step {
        return Cursor::new(end.attempt, end.n - step - 1);
    }
    let attempts = Attempt::try_from(step / STEP).unwrap_or(Attempt::MAX);
    // The attempt of an entry counts as one; at its beginning there is nothing of it.
    let attempts = if end.n > 0 { attempts.saturating_sub(1) } else { attempts.max(1) };
    end.attempt.checked_sub(attempts).map_or(Cursor::START, before_attempt)
}

#[cfg(test)]
mod tests;
