//! Entries of a log as the rows of `log` hold them.
//!
//! A row is a run of entries of one attempt, in a compact form: their numbers and offsets follow
//! from the row's columns. Output and changes of status never share a row, so that removing
//! output never removes a change of status. Large rows are compressed.

use bytes::{Buf, BufMut, Bytes};
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::{Run, corrupt};
use super::rows::{reason_code, reason_of, sql, status_code, status_of, unsql};
use crate::model::{Entry, EntryKind};
use crate::protocol::job::Status;
use crate::protocol::{Attempt, Cursor, StreamName, WorkerId};

/// Output in one row at the most, a single larger chunk aside. A reader that wants a little gets
/// a whole row from the disk, and the cap removes whole rows.
pub(super) const SEGMENT_BYTES: usize = 256 * 1024;

/// How much of each stream an attempt has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) stdout: u64,
    pub(super) stderr: u64,
}

impl Offsets {
    pub(super) fn of(&mut self, stream: StreamName) -> &mut u64 {
        match stream {
            StreamName::Stdout => &mut self.stdout,
            StreamName::Stderr => &mut self.stderr,
        }
    }
}

/// What precedes an entry: its tag, its time and the length of what follows.
const HEADER: usize = 1 + 8 + 4;

const STDOUT: u8 = 0;
const STDERR: u8 = 1;
const BEGUN: u8 = 2;
const REQUEUED: u8 = 3;
/// How a start of a container ended; of a job, the record says it.
const ENDED: u8 = 5;

/// In place of the first entry's tag: the rest of the row is compressed with LZ4, its size before.
const COMPRESSED: u8 = 4;

/// Rows below this size are kept as they are: there is little to gain, and a lone line is not to wait.
const COMPRESS_FROM: usize = 16 * 1024;

/// A row's size at the most, as far as reading trusts it: a row of the largest chunk that the
/// protocol could ever carry is far below.
const ROW_MOST: usize = 64 * 1024 * 1024;

/// A row of `log`.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: Cursor,
    pub(super) last_n: u64,
    /// After its last entry.
    pub(super) offsets: Offsets,
    pub(super) entries: Bytes,
}

/// Writes one row that holds `entries`, which are contiguous and of one attempt.
///
/// `offsets` are those after the last of them.
pub(super) fn insert(conn: &Connection, job: u64, entries: &[Entry], offsets: Offsets) -> Run<()> {
    let ([first, .., last] | [first @ last]) = entries else { return Ok(()) };
    let bytes: usize = entries.iter().map(Entry::output_len).sum();
    let mut blob = Vec::with_capacity(bytes + entries.len() * HEADER);
    for entry in entries {
        encode(entry, &mut blob)?;
    }
    let blob = compressed(blob);
    conn.prepare_cached("INSERT INTO log (job, attempt, first, last, stdout, stderr, bytes, entries) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
        sql(job),
        first.at.attempt,
        sql(first.at.n),
        sql(last.at.n),
        sql(offsets.stdout),
        sql(offsets.stderr),
        sql(bytes as u64),
        blob,
    ])?;
    Ok(())
}

/// The row in the form that takes less. What programs write is mostly repetitive text, and the disk
/// is slower than the processor.
fn compressed(blob: Vec<u8>) -> Vec<u8> {
    if blob.len() < COMPRESS_FROM {
        return blob;
    }
    let mut small = vec![COMPRESSED];
    small.extend(lz4_flex::block::compress_prepend_size(&blob));
    if small.len() < blob.len() / 4 * 3 { small } else { blob }
}

fn expanded(row: Bytes) -> Run<Bytes> {
    if row.first() != Some(&COMPRESSED) {
        return Ok(row);
    }
    let broken = || corrupt("a compressed row of a log".to_owned());
    let (size, block) = lz4_flex::block::uncompressed_size(&row[1..]).map_err(|_| broken())?;
    if size > ROW_MOST {
        return Err(broken());
    }
    Ok(lz4_flex::block::decompress(block, size).map_err(|_| broken())?.into())
}

fn encode(entry: &Entry, to: &mut Vec<u8>) -> Run<()> {
    let mut put = |tag: u8, bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).map_err(|_| corrupt("a chunk of 4 GiB".to_owned()))?;
        to.put_u8(tag);
        to.put_u64_le(entry.time);
        to.put_u32_le(len);
        to.put_slice(bytes);
        Ok(())
    };
    match &entry.kind {
        EntryKind::Output { stream: StreamName::Stdout, bytes, .. } => put(STDOUT, bytes),
        EntryKind::Output { stream: StreamName::Stderr, bytes, .. } => put(STDERR, bytes),
        EntryKind::Status { worker: Some(worker), .. } => put(BEGUN, worker.as_str().as_bytes()),
        EntryKind::Status { worker: None, reason, .. } => put(REQUEUED, reason.map(reason_code).as_slice()),
        EntryKind::End { status, exit_code, reason, message } => {
            let mut end = vec![status_code(*status), reason_code(*reason), u8::from(exit_code.is_some())];
            end.extend(exit_code.unwrap_or_default().to_le_bytes());
            end.extend(message.iter().flat_map(|message| message.bytes()));
            put(ENDED, &end)
        }
    }
}

impl Segment {
    /// The entries, in order; output shares the row's memory.
    pub(super) fn decode(self) -> Run<Vec<Entry>> {
        let Self { first, last_n, offsets, entries } = self;
        let mut rest = expanded(entries)?;
        let mut entries = Vec::new();
        let mut streamed = Offsets::default();
        let mut at = first;
        while rest.has_remaining() {
            if rest.remaining() < HEADER {
                return Err(corrupt(format!("entry {at} is cut short")));
            }
            let (tag, time, len) = (rest.get_u8(), rest.get_u64_le(), rest.get_u32_le() as usize);
            if rest.remaining() < len {
                return Err(corrupt(format!("entry {at} is cut short")));
            }
            let bytes = rest.split_to(len);
            let mut output = |stream, bytes: Bytes| {
                let offset = streamed.of(stream);
                let kind = EntryKind::Output { stream, offset: *offset, bytes };
                *offset += len as u64;
                kind
            };
            let kind = match tag {
                STDOUT => output(StreamName::Stdout, bytes),
                STDERR => output(StreamName::Stderr, bytes),
                BEGUN => EntryKind::Status { status: Status::Running, worker: Some(worker(&bytes)?), reason: None },
                REQUEUED => EntryKind::Status {
                    status: Status::Pending,
                    worker: None,
                    reason: bytes.first().map(|&code| reason_of(code)).transpose()?,
                },
                ENDED => ended(bytes)?,
                other => return Err(corrupt(format!("entry {at} has the tag {other}"))),
            };
            entries.push(Entry { at, time, kind });
            at.n += 1;
        }
        if at.n != last_n + 1 {
            return Err(corrupt(format!("the row of {first} does not end at {last_n}")));
        }
        // The row says where the streams stood after it; what it holds says where before.
        let before = Offsets {
            stdout: offsets.stdout.saturating_sub(streamed.stdout),
            stderr: offsets.stderr.saturating_sub(streamed.stderr),
        };
        for entry in &mut entries {
            if let EntryKind::Output { stream, offset, .. } = &mut entry.kind {
                *offset += match stream {
                    StreamName::Stdout => before.stdout,
                    StreamName::Stderr => before.stderr,
                };
            }
        }
        Ok(entries)
    }
}

fn ended(mut bytes: Bytes) -> Run<EntryKind> {
    let broken = || corrupt("an end".to_owned());
    if bytes.remaining() < 7 {
        return Err(broken());
    }
    let (status, reason, exited, code) =
        (status_of(bytes.get_u8())?, reason_of(bytes.get_u8())?, bytes.get_u8(), bytes.get_i32_le());
    let message = String::from_utf8(bytes.into()).map_err(|_| broken())?;
    Ok(EntryKind::End {
        status,
        exit_code: (exited != 0).then_some(code),
        reason,
        message: Some(message).filter(|message| !message.is_empty()),
    })
}

fn worker(bytes: &[u8]) -> Run<WorkerId> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| corrupt("a worker's name".to_owned()))
}

/// Hands the rows from the one that holds `from` (or follows it) to `each`, until it says `false`.
pub(super) fn scan(conn: &Connection, job: u64, from: Cursor, mut each: impl FnMut(Segment) -> Run<bool>) -> Run<()> {
    let first: Option<i64> = conn
        .prepare_cached("SELECT max(first) FROM log WHERE job = ?1 AND attempt = ?2 AND first <= ?3")?
        .query_row(params![sql(job), from.attempt, sql(from.n)], |row| row.get(0))?;
    let first = first.unwrap_or_else(|| sql(from.n));
    let mut statement = conn.prepare_cached(
        "SELECT attempt, first, last, stdout, stderr, entries FROM log \
         WHERE job = ?1 AND (attempt, first) >= (?2, ?3) ORDER BY attempt, first",
    )?;
    let mut rows = statement.query(params![sql(job), from.attempt, first])?;
    while let Some(row) = rows.next()? {
        let number = |index| row.get::<_, i64>(index).map(unsql);
        let segment = Segment {
            first: Cursor::new(row.get(0)?, number(1)?),
            last_n: number(2)?,
            offsets: Offsets { stdout: number(3)?, stderr: number(4)? },
            entries: Bytes::from(row.get::<_, Vec<u8>>(5)?),
        };
        if !each(segment)? {
            break;
        }
    }
    Ok(())
}

/// How far an attempt has come: its last `n`, and its streams.
pub(super) fn progress(conn: &Connection, job: u64, attempt: Attempt) -> Run<(u64, Offsets)> {
    let last = conn
        .prepare_cached(
            "SELECT last, stdout, stderr FROM log WHERE job = ?1 AND attempt = ?2 ORDER BY first DESC LIMIT 1",
        )?
        .query_row(params![sql(job), attempt], |row| {
            Ok((unsql(row.get(0)?), Offsets { stdout: unsql(row.get(1)?), stderr: unsql(row.get(2)?) }))
        })
        .optional()?;
    Ok(last.unwrap_or_default())
}

/// Bytes of output that are kept of a job.
pub(super) fn kept(conn: &Connection, job: u64) -> Run<u64> {
    let bytes: i64 = conn
        .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM log WHERE job = ?1")?
        .query_row([sql(job)], |row| row.get(0))?;
    Ok(unsql(bytes))
}

/// Removes the oldest rows of output until at most `cap` bytes are kept, but never the row that
/// begins at `newest`. Returns how much is kept.
pub(super) fn trim(conn: &Connection, job: u64, newest: Cursor, mut kept: u64, cap: u64) -> Run<u64> {
    if kept <= cap {
        return Ok(kept);
    }
    let mut oldest = conn.prepare_cached(
        "SELECT id, attempt, first, bytes FROM log WHERE job = ?1 AND bytes > 0 ORDER BY attempt, first",
    )?;
    let mut rows = oldest.query([sql(job)])?;
    let mut gone = Vec::new();
    while kept > cap
        && let Some(row) = rows.next()?
        && Cursor::new(row.get(1)?, unsql(row.get(2)?)) < newest
    {
        gone.push(row.get::<_, i64>(0)?);
        kept = kept.saturating_sub(unsql(row.get(3)?));
    }
    drop(rows);
    for id in gone {
        conn.prepare_cached("DELETE FROM log WHERE id = ?1")?.execute([id])?;
    }
    Ok(kept)
}
