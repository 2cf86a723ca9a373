//! What one attempt has to tell the dispatcher: its numbered frames, until they are stable.
//!
//! A frame is frozen when its `n` is given: it is kept as it will be sent, so that a resend is
//! identical to the byte. Frames stay here until the dispatcher says `stable`: in memory, and
//! beyond [`MEMORY_BYTES`] in a spill file, oldest first.
//!
//! Guards the flow: once `windowBytes` of output are not acknowledged, [`OutgoingLog::budget`]
//! is 0, the pipe is not read any more, and the program waits. Nothing is dropped.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use crate::link::Utf8Bytes;
use crate::worker::spill::Spill;

/// Frames of one attempt in memory: twice the default window, so that only a dispatcher whose
/// `stable` stays far behind costs disk writes.
pub(crate) const MEMORY_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that may be kept of a log that is done with.
const LITTLE: usize = 16 * 1024;

/// What an entry costs beside its frame, roughly: short lines must not escape the bound.
const ENTRY_OVERHEAD: usize = 64;

/// Least budget of an empty window: the longest character, so that a tiny window still moves.
const LEAST_BUDGET: u64 = 4;

#[derive(Debug)]
struct Entry {
    /// Bytes of output within, which is what the window counts.
    output_bytes: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Utf8Bytes),
    Spilled { at: u64, len: usize },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct OutgoingLog {
    /// Entries `first..next`; those before `first` are stable.
    entries: VecDeque<Entry>,
    first: u64,
    /// The next entry to send on this connection.
    to_send: u64,
    /// Entries up to here are stored.
    acked: u64,
    window: u64,
    unacked_bytes: u64,
    memory: usize,
    memory_limit: usize,
    /// How many of `entries`, from the front, are in the spill file.
    spilled: usize,
    spill: Spill,
    /// The spill file could not be written; only acknowledgements make room again.
    spill_failed: bool,
    ended: bool,
    /// The end is stable. It is kept all the same, for a store that has lost more than it could.
    delivered: bool,
}

impl OutgoingLog {
    /// An empty log; `spill` is a path where a file may be made.
    pub(crate) fn new(window: u64, spill: PathBuf) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 1,
            to_send: 1,
            acked: 0,
            window,
            unacked_bytes: 0,
            memory: 0,
            memory_limit: MEMORY_BYTES,
            spilled: 0,
            spill: Spill::new(spill),
            spill_failed: false,
            ended: false,
            delivered: false,
        }
    }

    /// Begins an empty log with entry `next_n`: an earlier run has told those before.
    pub(crate) fn begin_at(&mut self, next_n: u64) {
        (self.first, self.to_send, self.acked) = (next_n, next_n, next_n.saturating_sub(1));
    }

    /// The number of the next entry.
    pub(crate) fn next_n(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The last number given, 0 for none.
    pub(crate) fn last_n(&self) -> u64 {
        self.next_n() - 1
    }

    /// Whether the end was written.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Whether the end is stable: there is nothing left to tell.
    pub(crate) fn delivered(&self) -> bool {
        self.delivered
    }

    /// Whether everything was said and stored, the end included; it may still be asked for again.
    pub(crate) fn told(&self) -> bool {
        self.ended && self.acked == self.last_n()
    }

    /// Whether there is something to send.
    pub(crate) fn has_unsent(&self) -> bool {
        self.to_send < self.next_n()
    }

    /// Bytes of output that may be read now, `held` of them being in a chunker already.
    pub(crate) fn budget(&self, held: usize) -> usize {
        if self.spill_failed && self.memory > self.memory_limit {
            return 0;
        }
        let window = if self.unacked_bytes == 0 { self.window.max(LEAST_BUDGET) } else { self.window };
        usize::try_from(window.saturating_sub(self.unacked_bytes)).unwrap_or(usize::MAX).saturating_sub(held)
    }

    /// Adds the frame of entry [`Self::next_n`], which carries `output_bytes` of output.
    pub(crate) fn push(&mut self, frame: Utf8Bytes, output_bytes: usize) {
        self.memory += frame.len() + ENTRY_OVERHEAD;
        self.unacked_bytes += output_bytes as u64;
        self.entries.push_back(Entry { output_bytes: output_bytes as u64, place: Place::Memory(frame) });
        self.spill_excess();
    }

    /// Adds the frame of the end. Nothing follows it.
    pub(crate) fn end(&mut self, frame: Utf8Bytes) {
        self.push(frame, 0);
        self.ended = true;
    }

    /// The next frame to send; it counts as sent.
    ///
    /// # Errors
    /// The spill file could not be read: the log is broken for good.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Utf8Bytes>> {
        let Some(entry) = usize::try_from(self.to_send - self.first).ok().and_then(|index| self.entries.get(index))
        else {
            return Ok(None);
        };
        let frame = match &entry.place {
            Place::Memory(frame) => frame.clone(),
            Place::Spilled { at, len } => self.spill.read(*at, *len)?,
        };
        self.to_send += 1;
        Ok(Some(frame))
    }

    /// Forgets all but the end, where it is much.
    pub(crate) fn keep_little(&mut self) {
        if self.memory > LITTLE || self.spilled > 0 {
            let (last, window) = (self.last_n(), self.window);
            self.ack(last, last, window);
        }
    }

    /// The number of the first entry that is still here.
    pub(crate) fn first_n(&self) -> u64 {
        self.first
    }

    /// All frames that are still here, in order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = io::Result<Utf8Bytes>> {
        self.entries.iter().map(|entry| match &entry.place {
            Place::Memory(frame) => Ok(frame.clone()),
            Place::Spilled { at, len } => self.spill.read(*at, *len),
        })
    }

    /// The dispatcher has stored everything up to `n`, and will not ask again for what is at or
    /// below `stable`. Numbers that were never given are cut down to those that were.
    pub(crate) fn ack(&mut self, n: u64, stable: u64, window: u64) {
        let last = self.last_n();
        self.window = window;
        let n = n.min(last);
        self.unacked_bytes -= (self.acked + 1..=n).filter_map(|n| self.entry(n)).sum::<u64>();
        self.acked = self.acked.max(n);
        self.to_send = self.to_send.max(self.acked + 1);
        // What is not acknowledged is never forgotten, whatever `stable` says.
        let stable = stable.min(self.acked);
        self.delivered = self.ended && stable == last;
        while self.first <= stable && !(self.ended && self.first == last) {
            self.first += 1;
            match self.entries.pop_front().map(|entry| entry.place) {
                Some(Place::Memory(frame)) => self.memory -= frame.len() + ENTRY_OVERHEAD,
                Some(Place::Spilled { at, .. }) => self.spill.release_before(at),
                None => (),
            }
            self.spilled = self.spilled.saturating_sub(1);
        }
        if self.spilled == 0 {
            self.spill.clear();
            self.spill_failed = false;
        }
    }

    /// Sends again from `n` on, after a reconnect or a hole: everything from there counts as
    /// not stored. Says whether `n` is still here; if not, sending begins with what is.
    pub(crate) fn rewind(&mut self, n: u64) -> bool {
        let from = n.clamp(self.first, self.next_n());
        self.to_send = from;
        self.acked = from - 1;
        self.delivered = false;
        self.unacked_bytes = (from..self.next_n()).filter_map(|n| self.entry(n)).sum();
        from == n
    }

    /// Output bytes of entry `n`.
    fn entry(&self, n: u64) -> Option<u64> {
        let index = usize::try_from(n.checked_sub(self.first)?).ok()?;
        self.entries.get(index).map(|entry| entry.output_bytes)
    }

    /// Moves the oldest frames to the file while there are too many in memory.
    fn spill_excess(&mut self) {
        while self.memory > self.memory_limit && !self.spill_failed {
            let Some(entry) = self.entries.get_mut(self.spilled) else { return };
            let Place::Memory(frame) = &entry.place else { return };
            match self.spill.write(frame) {
                Ok(at) => {
                    self.memory -= frame.len() + ENTRY_OVERHEAD;
                    entry.place = Place::Spilled { at, len: frame.len() };
                    self.spilled += 1;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot write the spill file; the job waits until its output is stored");
                    self.spill_failed = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(window: u64, dir: &tempfile::TempDir) -> OutgoingLog {
        OutgoingLog::new(window, dir.path().join("spill"))
    }

    fn sent(log: &mut OutgoingLog) -> Vec<String> {
        std::iter::from_fn(|| log.next_frame().unwrap()).map(|frame| frame.to_string()).collect()
    }

    #[test]
    fn the_window_counts_output_that_is_not_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(10, &dir);
        assert_eq!(log.budget(0), 10);
        log.push("a".into(), 6);
        log.push("b".into(), 4);
        assert_eq!((log.budget(0), log.last_n()), (0, 2));
        log.ack(1, 0, 10);
        assert_eq!((log.budget(0), log.budget(2)), (6, 4));
        log.ack(2, 0, 3);
        assert_eq!(log.budget(0), 4, "an empty window has room for the longest character");
    }

    #[test]
    fn what_is_not_stable_is_sent_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(100, &dir);
        for frame in ["1", "2", "3"] {
            log.push(frame.into(), 1);
        }
        assert_eq!(sent(&mut log), ["1", "2", "3"]);
        log.ack(2, 1, 100);
        assert!(log.rewind(2));
        assert_eq!(sent(&mut log), ["2", "3"]);
        assert!(!log.rewind(1), "1 was stable and is gone");
        assert_eq!(sent(&mut log), ["2", "3"]);
        log.end("end".into());
        assert_eq!(sent(&mut log), ["end"]);
        log.ack(4, 3, 100);
        assert!(!log.delivered());
        log.ack(4, 4, 100);
        assert!(log.delivered());
    }

    #[test]
    fn the_oldest_frames_go_to_disk_and_come_back_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(u64::MAX, &dir);
        log.memory_limit = 1000;
        let frames: Vec<String> = (0..50).map(|i| format!("{i}€").repeat(i + 1)).collect();
        for frame in &frames {
            log.push(frame.as_str().into(), 1);
        }
        assert!(log.spilled > 0 && log.memory <= 1000);
        assert_eq!(sent(&mut log), frames);
        log.rewind(1);
        assert_eq!(sent(&mut log), frames);
        log.ack(50, 50, 1);
        assert_eq!((log.spilled, log.memory, log.unacked_bytes), (0, 0, 0));
        drop(log);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file goes with the log");
    }

    #[test]
    fn a_full_disk_stops_the_program_and_loses_nothing() {
        let mut log = OutgoingLog::new(1000, PathBuf::from("/nowhere/spill"));
        log.memory_limit = 100;
        log.push("x".repeat(200).into(), 1);
        assert_eq!(log.budget(0), 0);
        assert_eq!(sent(&mut log), ["x".repeat(200)]);
        log.ack(1, 1, 1000);
        assert_eq!(log.budget(0), 1000);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(u8),
        Send,
        Ack(u64, u64),
        Rewind(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u8>().prop_map(Step::Push),
            Just(Step::Send),
            (0..40u64, 0..40u64).prop_map(|(n, stable)| Step::Ack(n, stable)),
            (0..40u64).prop_map(Step::Rewind),
        ]
    }

    proptest! {
        /// Whatever the dispatcher says, frame `n` is always the same, and the window is what
        /// it would be if it were counted afresh.
        #[test]
        fn any_acknowledgements_leave_the_log_whole(steps in prop::collection::vec(step(), 0..60)) {
            let dir = tempfile::tempdir().unwrap();
            let mut log = OutgoingLog::new(1000, dir.path().join("spill"));
            log.memory_limit = 300;
            for step in steps {
                match step {
                    Step::Push(len) => {
                        let n = log.next_n();
                        log.push(format!("{n}:{}", "x".repeat(len.into())).into(), len.into());
                    }
                    Step::Send => {
                        let expected = log.to_send;
                        if let Some(frame) = log.next_frame().unwrap() {
                            let n = frame.split(':').next().unwrap().to_owned();
                            prop_assert_eq!(n, expected.to_string());
                        }
                    }
                    Step::Ack(n, stable) => log.ack(n, stable, 1000),
                    Step::Rewind(n) => { log.rewind(n); }
                }
                let fresh: u64 = (log.acked + 1..log.next_n()).filter_map(|n| log.entry(n)).sum();
                prop_assert_eq!(log.unacked_bytes, fresh);
                prop_assert!(log.first <= log.acked + 1 && log.acked < log.to_send && log.to_send <= log.next_n());
            }
        }
    }
}
