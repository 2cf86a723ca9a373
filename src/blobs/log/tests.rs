//! A finished log answers every cursor as the store did.

use std::convert::Infallible;

use futures_util::stream;

use super::*;
use crate::model::{Entry, EntryKind};
use crate::protocol::StreamName;
use crate::protocol::job::Reason;

const JOB: JobId = JobId { number: 7, nonce: 0xabc };

fn entry(attempt: u32, n: u64, kind: EntryKind) -> Entry {
    Entry { at: Cursor::new(attempt, n), time: 1_750_000_000_000 + n, kind }
}

fn status(status: Status, worker: Option<&str>, reason: Option<Reason>) -> EntryKind {
    EntryKind::Status { status, worker: worker.map(|id| id.parse().unwrap()), reason }
}

/// Two attempts, output of both streams, a hole where the cap removed the beginning, and an end.
fn log(chunks: u64, size: usize) -> Vec<Entry> {
    let mut entries = vec![
        entry(1, 0, status(Status::Running, Some("w1"), None)),
        entry(1, 1, status(Status::Pending, None, Some(Reason::WorkerLost))),
        entry(2, 0, status(Status::Running, Some("w2"), None)),
    ];
    for i in 0..chunks {
        let stream = if i % 3 == 0 { StreamName::Stderr } else { StreamName::Stdout };
        // Hardly compressible, as the worst of programs' output is.
        let bytes: Vec<u8> = (0..size as u64).map(|j| (((i * 31 + j) * 2_654_435_761) >> 16) as u8).collect();
        entries.push(entry(2, 10 + i, EntryKind::Output { stream, offset: i * size as u64, bytes: bytes.into() }));
    }
    let message = Some("no such file".to_owned());
    let end = EntryKind::End { status: Status::Failed, exit_code: Some(-1), reason: Reason::SpawnError, message };
    entries.push(entry(2, 10 + chunks, end));
    entries
}

fn pieces(entries: &[Entry]) -> Vec<Bytes> {
    let mut writer = LogWriter::default();
    let mut pieces: Vec<Bytes> = entries.iter().filter_map(|entry| writer.push(entry).unwrap()).collect();
    pieces.push(writer.finish());
    pieces
}

fn expected(entries: &[Entry], after: Cursor, max_bytes: usize) -> LogPage {
    let top = entries.last().unwrap().at;
    let mut page = Page::new(after, max_bytes, top, Status::Failed);
    for entry in entries {
        if !page.push(entry.clone()) {
            break;
        }
    }
    page.finish()
}

/// Every page from every cursor, and that pages join to the whole log.
async fn same_answers(log: &FinishedLog, entries: &[Entry], max_bytes: usize) {
    let end = (entries.last().unwrap().at, Status::Failed);
    for after in std::iter::once(Cursor::START).chain(entries.iter().map(|entry| entry.at)) {
        let page = log.read(after, max_bytes, end).await.unwrap();
        let whole = expected(entries, after, max_bytes);
        // A page may be shorter than it could be, but never empty before the end.
        assert_eq!(page.entries, whole.entries[..page.entries.len()], "after {after}");
        assert_eq!((page.removed, page.top), (whole.removed, whole.top), "after {after}");
        assert_eq!(page.entries.is_empty(), after >= end.0, "after {after}");
    }
    let (mut joined, mut after) = (Vec::new(), Cursor::START);
    while let Some(last) = {
        let page = log.read(after, max_bytes, end).await.unwrap();
        joined.extend(page.entries.iter().cloned());
        page.entries.last().cloned()
    } {
        after = last.at;
    }
    assert_eq!(joined, entries);
}

#[tokio::test]
async fn a_log_of_many_segments_reads_back_from_any_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    let entries = log(60, 20_000);
    let pieces = pieces(&entries);
    assert!(pieces.len() > 3, "several segments");
    blobs.put_log(JOB, stream::iter(pieces.into_iter().map(Ok::<_, Infallible>))).await.unwrap();
    for max_bytes in [0, 1, 100_000, usize::MAX] {
        same_answers(&blobs.log(JOB).await.unwrap().unwrap(), &entries, max_bytes).await;
    }
    blobs.delete_job(JOB).await.unwrap();
    assert!(blobs.log(JOB).await.unwrap().is_none());
}

#[tokio::test]
async fn a_small_log_is_read_where_it_is_packed() {
    let entries = log(2, 5);
    let packed = pieces(&entries).concat();
    same_answers(&FinishedLog::of(packed.into()).unwrap(), &entries, 100).await;
}

#[tokio::test]
async fn an_index_longer_than_the_first_look_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    // Each of these chunks is a segment, and compresses to almost nothing.
    let chunk = |n| {
        let bytes = Bytes::from(vec![0; 200 * 1024]);
        entry(1, n, EntryKind::Output { stream: StreamName::Stdout, offset: (n - 1) * 200 * 1024, bytes })
    };
    let mut writer = LogWriter::default();
    let mut pieces: Vec<Bytes> = (1..=2_100).filter_map(|n| writer.push(&chunk(n)).unwrap()).collect();
    pieces.push(writer.finish());
    blobs.put_log(JOB, stream::iter(pieces.into_iter().map(Ok::<_, Infallible>))).await.unwrap();
    let end = (Cursor::new(1, 2_100), Status::Completed);
    let page = blobs.read_log(JOB, Cursor::new(1, 2_098), 1, end).await.unwrap().unwrap();
    assert_eq!(page.entries, [chunk(2_099)]);
}

#[tokio::test]
async fn what_is_no_log_is_refused_in_words() {
    let whole = pieces(&log(3, 1_000)).concat();
    for broken in [&b""[..], b"short", &[0; 64], &whole[..whole.len() - 1]] {
        assert!(FinishedLog::of(Bytes::copy_from_slice(broken)).is_err());
    }
    // Damage within: an error, not a panic, and never another entry.
    let entries = log(3, 1_000);
    let end = (entries.last().unwrap().at, Status::Failed);
    for at in (0..whole.len()).step_by(7) {
        let mut broken = whole.clone();
        broken[at] ^= 0x55;
        if let Ok(log) = FinishedLog::of(broken.into()) {
            let _ = log.read(Cursor::START, usize::MAX, end).await;
        }
    }
}
