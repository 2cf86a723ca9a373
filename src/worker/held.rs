//! A job that the agent holds: from `assign` until its end is stable.
//!
//! The place where the three who deal with a job meet: the task that runs it, the session that
//! reads orders, and the session's writer. All of it is short critical sections; nothing here waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ending::Ending;
use super::outbox::Outbox;
use super::outgoing::OutgoingLog;
use crate::base::clock::Millis;
use crate::link::Utf8Bytes;
use crate::protocol::agent::{AgentJobReport, AgentOutput, AttemptEnd, AttemptGone, AttemptRef, Resume, ResumeState};
use crate::protocol::codec::{ToServer, encode, read_at_server};
use crate::protocol::output::encode_report;
use crate::protocol::{Attempt, Chunk, JobId, StreamName};

/// Input that may wait for a program that does not read it.
pub(crate) const INPUT_BYTES: usize = 8 * 1024 * 1024;

/// Names an attempt.
pub(crate) type Key = (JobId, Attempt);

/// See the module.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) key: Key,
    /// The job's own time between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
    /// Containers, and what runs in them, take none.
    pub(crate) takes_slot: bool,
    log: Mutex<Sending>,
    control: Mutex<Control>,
    /// Wakes the task that runs the job.
    pub(crate) wake: Notify,
}

#[derive(Debug)]
struct Sending {
    log: OutgoingLog,
    /// Whether this connection's dispatcher knows that the job is ours.
    live: bool,
    /// Whether an assignment is to be answered.
    accept_due: bool,
    /// Whether it is to be said what is asked for in vain.
    gone_due: bool,
    /// Bytes of both streams that were numbered.
    written: (u64, u64),
    /// In the outbox.
    queued: bool,
    /// The job's task waits for room in the window.
    starved: bool,
    /// The job is someone else's: nothing is told of it any more.
    forgotten: bool,
    /// It was called lost once, after it had ended here.
    doubted: bool,
    /// A container of an earlier run: nothing is known of it until a dispatcher has said how far it was stored.
    dormant: bool,
    /// What is to be said of a container beside what is said of jobs; said again on every connection.
    word: Option<Utf8Bytes>,
    word_due: bool,
}

/// What was asked of a job, until its task has done it.
#[derive(Debug, Default)]
pub(crate) struct Control {
    pub(crate) stop: Option<Stop>,
    /// Pieces of input; an empty one is the end.
    input: VecDeque<Vec<u8>>,
    input_bytes: usize,
    /// Input had to be cut off.
    pub(crate) overflowed: bool,
    /// A new size of the terminal.
    pub(crate) size: Option<(u16, u16)>,
}

/// A wish to end a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) why: Why,
    /// Between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
}

/// Why a job is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Someone asked.
    Cancelled,
    /// The agent goes, and its jobs have had their time.
    Leaving,
    /// The agent goes at once.
    Cut,
    /// It is someone else's now, or there is nobody to tell: at once, without a last word.
    Forgotten,
}

impl Held {
    /// A job that was just assigned on this connection; the answer is due.
    pub(crate) fn new(key: Key, log: OutgoingLog, grace: Duration) -> Arc<Self> {
        let sending = Sending {
            log,
            live: true,
            accept_due: true,
            gone_due: false,
            written: (0, 0),
            queued: false,
            starved: false,
            forgotten: false,
            doubted: false,
            dormant: false,
            word: None,
            word_due: false,
        };
        Arc::new(Self {
            key,
            grace,
            takes_slot: true,
            log: Mutex::new(sending),
            control: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// The same for what takes no slot.
    pub(crate) fn slotless(key: Key, log: OutgoingLog, grace: Duration) -> Arc<Self> {
        let mut held = Self::new(key, log, grace);
        if let Some(held) = Arc::get_mut(&mut held) {
            held.takes_slot = false;
        }
        held
    }

    /// A container that an earlier run has left.
    pub(crate) fn dormant(key: Key, log: OutgoingLog, grace: Duration) -> Arc<Self> {
        let held = Self::slotless(key, log, grace);
        {
            let mut sending = held.log.lock();
            (sending.live, sending.accept_due, sending.dormant) = (false, false, true);
        }
        held
    }

    /// The dispatcher has stored so much of a dormant container, up to entry `next_n`. False where it is not dormant.
    pub(crate) fn awake(&self, next_n: u64, stored: (u64, u64)) -> bool {
        let mut sending = self.log.lock();
        if !std::mem::take(&mut sending.dormant) {
            return false;
        }
        sending.live = true;
        sending.written = stored;
        sending.log.begin_at(next_n);
        true
    }

    /// Whether it waits for a dispatcher's word on how far it was stored.
    pub(crate) fn is_dormant(&self) -> bool {
        self.log.lock().dormant
    }

    /// Whether it is a container, which goes on where nobody watches over it.
    pub(crate) fn is_service(&self) -> bool {
        self.key.0.is_container()
    }

    /// Says a word of a container before anything else that is still to be said.
    pub(crate) fn say(self: &Arc<Self>, outbox: &Outbox, word: String) {
        {
            let mut sending = self.log.lock();
            sending.word = Some(word.into());
            sending.word_due = true;
        }
        self.schedule(outbox);
    }

    fn named(&self) -> AttemptRef {
        AttemptRef { job_id: self.key.0, attempt: self.key.1 }
    }

    // What the job's task does.

    /// Numbers a chunk and sees to its way out.
    pub(crate) fn output(
        self: &Arc<Self>,
        outbox: &Outbox,
        stream: StreamName,
        offset: u64,
        bytes: &[u8],
        time: Millis,
    ) {
        let AttemptRef { job_id, attempt } = self.named();
        // Only the job's own task numbers, so the number holds while the frame is written.
        let n = self.log.lock().log.next_n();
        let (text, base64) = Chunk::of(bytes).into_fields();
        let output = AgentOutput { job_id, attempt, n, stream, offset, text, base64, time: Some(time) };
        let frame = encode_report(&output);
        {
            let mut sending = self.log.lock();
            sending.log.push(frame.into(), bytes.len());
            let end = offset + bytes.len() as u64;
            match stream {
                StreamName::Stdout => sending.written.0 = end,
                StreamName::Stderr => sending.written.1 = end,
            }
        }
        self.schedule(outbox);
    }

    /// Writes the end.
    pub(crate) fn end(self: &Arc<Self>, outbox: &Outbox, ending: Ending, time: Millis) {
        let AttemptRef { job_id, attempt } = self.named();
        let Ending { exit_code, reason, message: error_message } = ending;
        {
            let log = &mut self.log.lock().log;
            let end =
                AttemptEnd { job_id, attempt, n: log.next_n(), exit_code, reason, error_message, time: Some(time) };
            log.end(encode(&AgentJobReport::End(end)).into());
        }
        self.schedule(outbox);
    }

    /// Bytes of both streams that were numbered.
    pub(crate) fn written(&self) -> (u64, u64) {
        self.log.lock().written
    }

    /// Bytes that may be read now; once it is 0 the task is woken when there is room again.
    pub(crate) fn budget(&self, held: usize) -> usize {
        let mut sending = self.log.lock();
        let budget = sending.log.budget(held);
        sending.starved |= budget == 0;
        budget
    }

    /// Looks at what was asked.
    pub(crate) fn control<T>(&self, look: impl FnOnce(&mut Control) -> T) -> T {
        look(&mut self.control.lock())
    }

    // What the session asks.

    /// Asks the job to end. The first reason stands, unless nobody wants to hear of it any more;
    /// the shorter grace counts.
    pub(crate) fn stop(&self, stop: Stop) {
        self.control(|control| {
            let (why, grace) = match control.stop {
                Some(before) if stop.why != Why::Forgotten => (before.why, before.grace.min(stop.grace)),
                Some(_) | None => (stop.why, stop.grace),
            };
            control.stop = Some(Stop { why, grace });
        });
        self.wake.notify_one();
    }

    /// The job is someone else's: ends it, and tells nothing of it any more.
    pub(crate) fn forget(&self) {
        {
            let mut sending = self.log.lock();
            sending.live = false;
            sending.forgotten = true;
        }
        self.stop(Stop { why: Why::Forgotten, grace: Duration::ZERO });
    }

    /// The dispatcher calls the job lost; says whether to let go of it. One that has ended here may have been stored a
    /// moment ago: then an `ack` is on its way, and what the store has may still be lost. If none comes, it is called
    /// lost again.
    pub(crate) fn is_lost(&self) -> bool {
        let mut sending = self.log.lock();
        !sending.log.ended() || (!sending.log.told() && std::mem::replace(&mut sending.doubted, true))
    }

    /// Passes input on. What is too much for the queue is cut off, and with it all that follows,
    /// because a program must not read on as if nothing was missing.
    pub(crate) fn input(&self, bytes: Vec<u8>, eof: bool) {
        self.control(|control| {
            if control.overflowed {
                return;
            }
            // An end counts as a byte, so that there cannot be any number of them.
            control.overflowed = control.input_bytes + bytes.len() + usize::from(eof) > INPUT_BYTES;
            if !bytes.is_empty() && !control.overflowed {
                control.input_bytes += bytes.len();
                control.input.push_back(bytes);
            }
            if eof || control.overflowed {
                control.input_bytes += 1;
                control.input.push_back(Vec::new());
            }
        });
        self.wake.notify_one();
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, cols: u16, rows: u16) {
        self.control(|control| control.size = Some((cols, rows)));
        self.wake.notify_one();
    }

    /// The assignment came (again): it is to be answered.
    pub(crate) fn answer(self: &Arc<Self>, outbox: &Outbox) {
        {
            let mut sending = self.log.lock();
            sending.accept_due = true;
            sending.live = !sending.forgotten;
        }
        self.schedule(outbox);
    }

    /// A job that was let go of is wanted again.
    pub(crate) fn recall(&self) {
        let mut sending = self.log.lock();
        sending.forgotten = false;
        sending.doubted = false;
    }

    /// Takes an acknowledgement; says whether the job is done with.
    pub(crate) fn ack(&self, n: u64, stable: u64, window: u64) -> bool {
        let (room, delivered) = {
            let mut sending = self.log.lock();
            sending.log.ack(n, stable, window);
            let room = sending.starved && sending.log.budget(0) > 0;
            sending.starved &= !room;
            (room, sending.log.delivered())
        };
        if room {
            self.wake.notify_one();
        }
        delivered
    }

    /// Sends again from `n` on; says whether the job is done with.
    pub(crate) fn resend(self: &Arc<Self>, outbox: &Outbox, n: u64) -> bool {
        let (whole, delivered) = {
            let mut sending = self.log.lock();
            sending.live = !sending.forgotten;
            if sending.log.ended() && n > sending.log.last_n() {
                return true;
            }
            let whole = sending.log.rewind(n);
            sending.gone_due |= !whole;
            (whole, sending.log.delivered())
        };
        if !whole {
            tracing::warn!(job = %self.key.0, n, "the dispatcher asks for output that it had called stable");
        }
        self.wake.notify_one();
        self.schedule(outbox);
        delivered
    }

    // What the writer and the agent do.

    /// The connection is gone: nothing is sent until the next one's dispatcher has said from where.
    pub(crate) fn pause(&self) {
        let mut sending = self.log.lock();
        sending.live = false;
        sending.accept_due = false;
        sending.gone_due = false;
        sending.word_due = sending.word.is_some();
        sending.queued = false;
    }

    /// The next frame, or none for now: then the job is out of the outbox.
    pub(crate) fn next_frame(&self) -> Option<Utf8Bytes> {
        let mut sending = self.log.lock();
        if sending.live && sending.accept_due {
            sending.accept_due = false;
            return Some(encode(&AgentJobReport::Accept(self.named())).into());
        }
        if sending.live
            && std::mem::take(&mut sending.word_due)
            && let Some(word) = sending.word.clone()
        {
            return Some(word);
        }
        if sending.live && sending.gone_due {
            sending.gone_due = false;
            match self.gone(&sending) {
                Ok(gone) => return Some(encode(&AgentJobReport::Gone(gone)).into()),
                Err(error) => tracing::error!(%error, job = %self.key.0, "cannot say what is gone"),
            }
        }
        let frame = if sending.live { sending.log.next_frame() } else { Ok(None) };
        match frame {
            Ok(Some(frame)) => return Some(frame),
            Ok(None) => (),
            Err(error) => {
                // Its output cannot be told any more, so the job cannot go on as if it could.
                tracing::error!(%error, job = %self.key.0, "cannot read the spill file; giving the job up");
                sending.live = false;
                sending.forgotten = true;
                drop(sending);
                self.stop(Stop { why: Why::Forgotten, grace: Duration::ZERO });
                self.log.lock().queued = false;
                return None;
            }
        }
        sending.queued = false;
        None
    }

    /// What is not here any more: all before the first frame that is.
    fn gone(&self, sending: &Sending) -> std::io::Result<AttemptGone> {
        let AttemptRef { job_id, attempt } = self.named();
        // A stream that has nothing left here was forgotten up to its end.
        let (mut stdout, mut stderr) = (None, None);
        for frame in sending.log.frames() {
            if let Ok((ToServer::AgentJob(AgentJobReport::Output(output)), _)) = read_at_server(&frame?) {
                match output.stream {
                    StreamName::Stdout => stdout.get_or_insert(output.offset),
                    StreamName::Stderr => stderr.get_or_insert(output.offset),
                };
                if stdout.is_some() && stderr.is_some() {
                    break;
                }
            }
        }
        let (stdout_bytes, stderr_bytes) = (stdout.unwrap_or(sending.written.0), stderr.unwrap_or(sending.written.1));
        Ok(AttemptGone { job_id, attempt, n: sending.log.first_n() - 1, stdout_bytes, stderr_bytes })
    }

    /// Whether the job's task has nothing left to do.
    pub(crate) fn has_ended(&self) -> bool {
        self.log.lock().log.ended()
    }

    /// Whether the program is over, or about to be without anyone's knowing.
    pub(crate) fn is_over(&self) -> bool {
        let sending = self.log.lock();
        sending.log.ended() || sending.forgotten
    }

    /// What to say of it when registering; nothing of a job that is someone else's.
    pub(crate) fn resume(&self) -> Option<Resume> {
        let sending = self.log.lock();
        let state = if sending.log.ended() { ResumeState::Ended } else { ResumeState::Running };
        let AttemptRef { job_id, attempt } = self.named();
        (!sending.forgotten).then(|| Resume { job_id, attempt, last_n: sending.log.last_n(), state })
    }

    /// Whether its end is stored, and only kept in case that the store loses it.
    pub(crate) fn is_told(&self) -> bool {
        self.log.lock().log.told()
    }

    /// It is done with, and only remembered: of much output only the end is kept.
    pub(crate) fn keep_little(&self) {
        self.log.lock().log.keep_little();
    }

    /// Whether nobody wants to hear of it any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.log.lock().forgotten
    }

    /// Puts the job into the outbox if it has something to say.
    fn schedule(self: &Arc<Self>, outbox: &Outbox) {
        let mut sending = self.log.lock();
        if sending.live
            && !sending.queued
            && (sending.accept_due || sending.word_due || sending.gone_due || sending.log.has_unsent())
        {
            sending.queued = true;
            drop(sending);
            outbox.push(Arc::clone(self));
        }
    }
}

impl Control {
    /// The next piece of input; an empty one is the end.
    pub(crate) fn next_input(&mut self) -> Option<Vec<u8>> {
        let piece = self.input.pop_front()?;
        self.input_bytes -= piece.len().max(1);
        Some(piece)
    }
}
