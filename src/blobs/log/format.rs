//! A finished log as bytes.
//!
//! A segment is a run of entries, compressed with LZ4, its size before. After the last one comes
//! the index: for each segment the cursor of its last entry and its length. The file ends with the
//! number of segments and a mark.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Serialize};

use crate::base::clock::Millis;
use crate::blobs::BlobError;
use crate::model::{Entry, EntryKind};
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Cursor, StreamName, WorkerId};

/// How much of a file's end is read first: the index of half a GiB.
pub(super) const TAIL: u64 = 32 * 1024;

/// Entries of a segment before they are compressed. A reader that wants a little gets a whole one.
const SEGMENT_BYTES: usize = 256 * 1024;

/// A segment at the most, as far as reading trusts it: far more than the largest chunk.
const SEGMENT_MOST: usize = 64 * 1024 * 1024;

const MARK: u32 = u32::from_le_bytes(*b"gll1");
const FOOTER: usize = 4 + 4;
const INDEXED: usize = 4 + 8 + 4;

const STDOUT: u8 = 0;
const STDERR: u8 = 1;
const CHANGE: u8 = 2;

/// What an entry that is no output says.
#[derive(Serialize, Deserialize)]
enum Change {
    #[serde(rename = "s")]
    Status { status: Status, worker: Option<WorkerId>, reason: Option<Reason> },
    #[serde(rename = "e")]
    End { status: Status, exit_code: Option<i32>, reason: Reason, message: Option<String> },
}

/// Makes a file of entries.
#[derive(Debug, Default)]
pub struct LogWriter {
    entries: Vec<u8>,
    last: Cursor,
    index: Vec<u8>,
    segments: u32,
}

impl LogWriter {
    /// Takes the next entry; returns the next piece of the file once there is one.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn push(&mut self, entry: &Entry) -> Result<Option<Bytes>, BlobError> {
        let full = !self.entries.is_empty() && self.entries.len() + entry.output_len() > SEGMENT_BYTES;
        let piece = full.then(|| Bytes::from(self.segment()));
        encode(entry, &mut self.entries)?;
        self.last = entry.at;
        Ok(piece)
    }

    /// The last piece.
    pub fn finish(mut self) -> Bytes {
        let mut end = if self.entries.is_empty() { Vec::new() } else { self.segment() };
        end.put_slice(&self.index);
        end.put_u32_le(self.segments);
        end.put_u32_le(MARK);
        end.into()
    }

    fn segment(&mut self) -> Vec<u8> {
        let segment = lz4_flex::block::compress_prepend_size(&std::mem::take(&mut self.entries));
        self.index.put_u32_le(self.last.attempt);
        self.index.put_u64_le(self.last.n);
        // A run of entries of some 256 KiB, or a single one that came in one frame.
        self.index.put_u32_le(u32::try_from(segment.len()).unwrap_or(u32::MAX));
        self.segments += 1;
        segment
    }
}

fn encode(entry: &Entry, to: &mut Vec<u8>) -> Result<(), BlobError> {
    let Entry { at, time, kind } = entry;
    let change = |change: &Change| serde_json::to_vec(change).map_err(BlobError::Corrupt);
    let (tag, offset, bytes) = match kind {
        EntryKind::Output { stream: StreamName::Stdout, offset, bytes } => (STDOUT, *offset, bytes.clone()),
        EntryKind::Output { stream: StreamName::Stderr, offset, bytes } => (STDERR, *offset, bytes.clone()),
        EntryKind::Status { status, worker, reason } => {
            let said = Change::Status { status: *status, worker: worker.clone(), reason: *reason };
            (CHANGE, 0, change(&said)?.into())
        }
        EntryKind::End { status, exit_code, reason, message } => {
            let (status, exit_code, reason) = (*status, *exit_code, *reason);
            (CHANGE, 0, change(&Change::End { status, exit_code, reason, message: message.clone() })?.into())
        }
    };
    to.put_u8(tag);
    to.put_u32_le(at.attempt);
    to.put_u64_le(at.n);
    to.put_u64_le(*time);
    to.put_u64_le(offset);
    to.put_u32_le(u32::try_from(bytes.len()).map_err(|_| BlobError::Log("holds a chunk of 4 GiB"))?);
    to.put_slice(&bytes);
    Ok(())
}

fn decode(mut entries: Bytes) -> Result<Vec<Entry>, BlobError> {
    let short = |_| BlobError::Log("ends within an entry");
    let mut decoded = Vec::new();
    while entries.has_remaining() {
        let tag = entries.try_get_u8().map_err(short)?;
        let attempt = entries.try_get_u32_le().map_err(short)?;
        let n = entries.try_get_u64_le().map_err(short)?;
        let time: Millis = entries.try_get_u64_le().map_err(short)?;
        let offset = entries.try_get_u64_le().map_err(short)?;
        let len = entries.try_get_u32_le().map_err(short)? as usize;
        if entries.remaining() < len {
            return Err(BlobError::Log("ends within an entry"));
        }
        let bytes = entries.split_to(len);
        let kind = match tag {
            STDOUT => EntryKind::Output { stream: StreamName::Stdout, offset, bytes },
            STDERR => EntryKind::Output { stream: StreamName::Stderr, offset, bytes },
            CHANGE => match serde_json::from_slice(&bytes).map_err(BlobError::Corrupt)? {
                Change::Status { status, worker, reason } => EntryKind::Status { status, worker, reason },
                Change::End { status, exit_code, reason, message } => {
                    EntryKind::End { status, exit_code, reason, message }
                }
            },
            _ => return Err(BlobError::Log("holds an entry of no known kind")),
        };
        decoded.push(Entry { at: Cursor::new(attempt, n), time, kind });
    }
    Ok(decoded)
}

/// Where the segments of a file are, and what they hold.
#[derive(Debug)]
pub(super) struct Index(Vec<Indexed>);

#[derive(Debug)]
struct Indexed {
    last: Cursor,
    /// Its place in the file.
    bytes: Range<u64>,
}

/// How many bytes of a file's end its index takes.
pub(super) fn tail_len(tail: &[u8]) -> Result<u64, BlobError> {
    let mut footer =
        tail.len().checked_sub(FOOTER).and_then(|at| tail.get(at..)).ok_or(BlobError::Log("is too short"))?;
    let segments = u64::from(footer.get_u32_le());
    if footer.get_u32_le() != MARK {
        return Err(BlobError::Log("does not end as one"));
    }
    Ok(segments * INDEXED as u64 + FOOTER as u64)
}

/// A part of a file in memory.
pub(super) fn slice(bytes: &Bytes, range: Range<u64>) -> Result<Bytes, BlobError> {
    let at = |at: u64| usize::try_from(at).ok().filter(|at| *at <= bytes.len());
    match (at(range.start), at(range.end)) {
        (Some(start), Some(end)) if start <= end => Ok(bytes.slice(start..end)),
        _ => Err(BlobError::Log("is shorter than its index says")),
    }
}

impl Index {
    /// Reads it from the end of a file.
    pub(super) fn read(tail: &[u8]) -> Result<Self, BlobError> {
        let len = usize::try_from(tail_len(tail)?).ok().filter(|len| *len <= tail.len());
        let mut index = &tail[tail.len() - len.ok_or(BlobError::Log("is too short"))?..tail.len() - FOOTER];
        let (mut segments, mut at) = (Vec::new(), 0);
        while index.len() >= INDEXED {
            let last = Cursor::new(index.get_u32_le(), index.get_u64_le());
            let len = u64::from(index.get_u32_le());
            segments.push(Indexed { last, bytes: at..at + len });
            at += len;
        }
        Ok(Self(segments))
    }

    /// The segments that hold what comes after a cursor, as far as they are worth reading for a page.
    pub(super) fn after(&self, after: Cursor, max_bytes: usize) -> Range<usize> {
        let start = self.0.partition_point(|segment| segment.last <= after);
        let mut end = start;
        while let Some(segment) = self.0.get(end)
            && (end == start || segment.bytes.end - self.0[start].bytes.start <= max_bytes as u64)
        {
            end += 1;
        }
        start..end
    }

    /// The place of some segments in the file.
    pub(super) fn bytes_of(&self, segments: Range<usize>) -> Range<u64> {
        match self.0.get(segments) {
            Some([first, .., last] | [first @ last]) => first.bytes.start..last.bytes.end,
            Some([]) | None => 0..0,
        }
    }

    /// Takes the entries of a segment from the front of `bytes`.
    pub(super) fn segment(&self, segment: usize, bytes: &mut Bytes) -> Result<Vec<Entry>, BlobError> {
        let len = self.0.get(segment).map_or(0, |segment| segment.bytes.end - segment.bytes.start);
        let len = usize::try_from(len).ok().filter(|len| *len <= bytes.len());
        let packed = bytes.split_to(len.ok_or(BlobError::Log("is shorter than its index says"))?);
        let damaged = |_| BlobError::Log("holds a segment that cannot be unpacked");
        let (size, block) = lz4_flex::block::uncompressed_size(&packed).map_err(damaged)?;
        if size > SEGMENT_MOST {
            return Err(BlobError::Log("holds a segment that is too large"));
        }
        decode(lz4_flex::block::decompress(block, size).map_err(damaged)?.into())
    }
}
