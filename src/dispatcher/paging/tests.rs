//! Pages of random logs against what reading them whole says.

use std::cell::Cell;
use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::EntryKind;
use crate::protocol::StreamName;
use crate::store::page::Page;

/// A log as it is kept: what was removed of it is not there.
#[derive(Debug, Clone)]
struct Log {
    entries: Vec<Entry>,
    top: Cursor,
    /// Entries that are given at a time at the most, as some stores do.
    at_once: usize,
    reads: Cell<usize>,
    read_bytes: Cell<usize>,
}

impl Log {
    fn new(entries: Vec<Entry>, at_once: usize) -> Self {
        let top = entries.last().map_or(Cursor::START, |last| last.at);
        Self { entries, top, at_once, reads: Cell::new(0), read_bytes: Cell::new(0) }
    }

    fn read(&self, after: Cursor, max_bytes: usize) -> LogPage {
        let mut page = Page::new(after, max_bytes, self.top, Status::Running);
        let begin = self.entries.partition_point(|entry| entry.at <= after);
        let _ = self.entries[begin..].iter().take(self.at_once).all(|entry| page.push(entry.clone()));
        let page = page.finish();
        self.reads.set(self.reads.get() + 1);
        self.read_bytes.set(self.read_bytes.get() + page.entries.iter().map(Entry::output_len).sum::<usize>());
        page
    }

    fn pager(&self, max_bytes: usize) -> Pager<impl Fn(Cursor, usize) -> std::future::Ready<Read>> {
        let read = |after, max_bytes| std::future::ready(Ok(Some(self.read(after, max_bytes))));
        Pager { read, max_bytes, entries: VecDeque::new(), bytes: 0 }
    }

    fn before(&self, cursor: Cursor, max_bytes: usize) -> LogPart {
        done(self.pager(max_bytes).before(cursor))
    }

    fn after(&self, cursor: Cursor, max_bytes: usize) -> LogPart {
        done(self.pager(max_bytes).after(cursor))
    }

    /// What is gone right before an entry, or before a cursor after which nothing of the attempt is left.
    fn hole_before(&self, cursor: Cursor) -> Option<(Cursor, Cursor)> {
        let place = self.entries.partition_point(|entry| entry.at < cursor);
        // A cursor past the end of its attempt is in no hole: nothing was ever there.
        let next = self.entries.get(place)?;
        if next.at.attempt != cursor.attempt {
            return None;
        }
        let former = place.checked_sub(1).map_or(Cursor::START, |former| self.entries[former].at);
        let first = Cursor::new(former.attempt, former.n + 1);
        (former.attempt == cursor.attempt && first < cursor).then(|| (first, Cursor::new(cursor.attempt, cursor.n - 1)))
    }

    /// The page before a cursor, by looking at every entry.
    fn naively_before(&self, cursor: Cursor, max_bytes: usize) -> (Range<usize>, Option<(Cursor, Cursor)>, bool) {
        let end = self.entries.partition_point(|entry| entry.at < cursor);
        if let Some(hole) = self.hole_before(cursor) {
            return (end..end, Some(hole), end > 0);
        }
        let (mut begin, mut bytes) = (end, 0);
        while let Some(former) = begin.checked_sub(1) {
            if let Some(hole) =
                self.entries.get(begin).filter(|_| begin < end).and_then(|entry| self.hole_before(entry.at))
            {
                return (begin..end, Some(hole), true);
            }
            bytes += self.entries[former].output_len();
            if end - former > LOG_PAGE_ENTRIES || end - former > 1 && bytes > max_bytes {
                return (begin..end, None, true);
            }
            begin = former;
        }
        let hole = self.entries.get(begin).filter(|_| begin < end).and_then(|entry| self.hole_before(entry.at));
        (begin..end, hole, false)
    }
}

type Read = Result<Option<LogPage>, StoreError>;

fn done(paging: impl Future<Output = Result<Option<LogPart>, StoreError>>) -> LogPart {
    futures_util::FutureExt::now_or_never(paging).expect("nothing is waited for").unwrap().unwrap()
}

fn entry(attempt: Attempt, n: u64, len: Option<usize>) -> Entry {
    let kind = match len {
        Some(len) => EntryKind::Output { stream: StreamName::Stdout, offset: n, bytes: vec![b'x'; len].into() },
        None => EntryKind::Status { status: Status::Running, worker: None, reason: None },
    };
    Entry { at: Cursor::new(attempt, n), time: 0, kind }
}

/// An attempt: how long its chunks are, and which of them are gone.
type Attempted = (Vec<usize>, Vec<(usize, usize)>);

/// Chunks of like sizes in long and short rows.
fn attempted() -> impl Strategy<Value = Attempted> {
    let len = prop_oneof![Just(0_usize..3), Just(10_usize..200), Just(20_000_usize..65_000)];
    let rows = prop_oneof![3 => 0_usize..8, 2 => 0_usize..150, 1 => 0_usize..6_000];
    let chunks = (len, rows).prop_flat_map(|(len, rows)| {
        let rows = if len.start > 1_000 { rows.min(40) } else { rows };
        vec(len, rows)
    });
    (vec(chunks, 0..3).prop_map(|rows| rows.concat()), vec((0_usize..7_000, 0_usize..400), 0..3))
}

fn log() -> impl Strategy<Value = Log> {
    let attempts = prop_oneof![4 => vec(attempted(), 0..5), 1 => vec(vec(0_usize..9, 0..4).prop_map(|chunks| (chunks, vec![])), 0..600)];
    let at_once = prop_oneof![Just(usize::MAX), Just(128), 1_usize..5];
    (attempts, any::<bool>(), at_once).prop_map(|(attempts, open, at_once)| {
        let mut entries = Vec::new();
        let last = attempts.len();
        for (attempt, (chunks, holes)) in (1..).zip(attempts) {
            entries.push(entry(attempt, 0, None));
            let count = chunks.len();
            for (n, len) in (1..).zip(chunks) {
                let gone = |&(from, len): &(usize, usize)| (from..from + len).contains(&(n as usize));
                // Only output is removed, and never the latest.
                if !holes.iter().any(gone) || attempt as usize == last && n as usize == count {
                    entries.push(entry(attempt, n, Some(len)));
                }
            }
            if (attempt as usize) < last || !open {
                entries.push(entry(attempt, count as u64 + 1, None));
            }
        }
        Log::new(entries, at_once)
    })
}

/// Places that matter, and others.
fn place(log: &Log, choice: usize, off: u64) -> Cursor {
    let at = log.entries.get(choice % (log.entries.len() + 1)).map_or(PAST_ALL, |entry| entry.at);
    match off % 4 {
        0 | 1 => at,
        2 => Cursor::new(at.attempt, at.n.saturating_add(off)),
        _ => Cursor::new(at.attempt, at.n.saturating_sub(off)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_page_before_a_cursor_is_what_lies_before_it(
        log in log(), choice: usize, off in 0_u64..50, max_bytes in prop_oneof![1_usize..100, 1_usize..70_000, Just(524_288_usize)],
    ) {
        let cursor = place(&log, choice, off);
        let page = log.before(cursor, max_bytes);
        let (range, removed, more) = log.naively_before(cursor, max_bytes);
        prop_assert_eq!(page.entries.iter().map(|entry| entry.at).collect::<Vec<_>>(),
            log.entries[range].iter().map(|entry| entry.at).collect::<Vec<_>>());
        prop_assert_eq!((page.removed, page.more), (removed, more));
        prop_assert_eq!(page.top, log.top);
        prop_assert!(log.at_once < 100 || log.reads.get() < 400, "{} reads", log.reads.get());
    }

    #[test]
    fn pages_back_and_pages_on_tell_the_same_story(log in log(), max_bytes in prop_oneof![1_000_usize..3_000, 1_usize..524_288]) {
        let (mut on, mut after) = (Vec::new(), Cursor::START);
        loop {
            let LogPart { entries, removed, more, .. } = log.after(after, max_bytes);
            prop_assert!(entries.len() <= LOG_PAGE_ENTRIES);
            on.extend(removed.map(Err));
            after = entries.last().map_or(after, |last| last.at);
            on.extend(entries.into_iter().map(|entry| Ok(entry.at)));
            if !more {
                break;
            }
        }
        let (mut back, mut before) = (VecDeque::new(), PAST_ALL);
        loop {
            let LogPart { entries, removed, more, .. } = log.before(before, max_bytes);
            prop_assert!(entries.len() <= LOG_PAGE_ENTRIES);
            before = removed.map(|(from, _)| from).or(entries.first().map(|first| first.at)).unwrap_or(before);
            entries.iter().rev().for_each(|entry| back.push_front(Ok(entry.at)));
            removed.into_iter().for_each(|hole| back.push_front(Err(hole)));
            if !more {
                break;
            }
        }
        prop_assert_eq!(back, on);
    }
}

#[test]
fn the_newest_page_of_a_long_log_takes_few_reads() {
    let line = |n| entry(1, n, (n > 0).then_some(50));
    let log = Log::new((0..1_000_000).map(line).collect(), usize::MAX);
    let page = log.before(PAST_ALL, 65_536);
    assert_eq!((page.entries.len(), page.more), (65_536 / 50, true));
    assert!(log.reads.get() < 20 && log.read_bytes.get() < 1_000_000, "{} {}", log.reads.get(), log.read_bytes.get());
}

#[test]
fn a_page_back_over_a_long_attempt_takes_few_reads() {
    let attempt = |attempt, count| (0..=count).map(move |n| entry(attempt, n, (n > 0).then_some(1)));
    let mut entries: Vec<Entry> = attempt(1, 9_000).collect();
    entries.push(entry(1, 9_001, None));
    entries.extend(attempt(2, 5_000));
    let log = Log::new(entries, 128);
    let page = log.before(Cursor::new(2, 1_000), 524_288);
    assert_eq!((page.entries.len(), page.more), (LOG_PAGE_ENTRIES, true));
    // The page itself takes 33 of them, and to find that too much lies before the attempt takes 90.
    assert!(log.reads.get() < 200, "{}", log.reads.get());
}

#[test]
fn the_end_of_a_long_attempt_is_found_from_the_next_one() {
    let mut entries: Vec<Entry> = (0..300_000).map(|n| entry(1, n, (n > 0).then_some(50))).collect();
    entries.extend([entry(1, 300_000, None), entry(2, 0, None), entry(2, 1, Some(5))]);
    let log = Log::new(entries, 128);
    let page = log.before(Cursor::new(2, 0), 1_000);
    let found: Vec<Cursor> = page.entries.iter().map(|entry| entry.at).collect();
    assert_eq!((found.len(), found.last()), (21, Some(&Cursor::new(1, 300_000))));
    // The window over the whole attempt that was given up, and the search.
    assert!(log.reads.get() < 200, "{} reads", log.reads.get());
    // A cursor that nothing was ever at.
    let page = log.before(Cursor::new(1, u64::MAX), 1);
    assert_eq!(page.entries[0].at, Cursor::new(1, 300_000));
}

#[test]
fn a_hole_is_told_from_where_it_begins() {
    let entries: Vec<Entry> =
        (0..100_000).filter(|n| *n < 7 || *n > 90_000).map(|n| entry(1, n, (n > 0).then_some(1))).collect();
    let log = Log::new(entries, usize::MAX);
    let hole = Some((Cursor::new(1, 7), Cursor::new(1, 90_000)));
    let page = log.before(Cursor::new(1, 90_010), 65_536);
    assert_eq!((page.entries.len(), page.removed, page.more), (9, hole, true));
    let page = log.before(Cursor::new(1, 90_001), 65_536);
    assert_eq!((page.entries.len(), page.removed, page.more), (0, hole, true));
    let page = log.before(Cursor::new(1, 50_000), 65_536);
    assert_eq!(page.removed, Some((Cursor::new(1, 7), Cursor::new(1, 49_999))), "as far as the cursor");
    let page = log.before(Cursor::new(1, 7), 65_536);
    assert_eq!((page.entries.len(), page.removed, page.more), (7, None, false));
}
