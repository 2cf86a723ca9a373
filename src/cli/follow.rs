//! A followed log as it is shown: the program's bytes as they are, or frames as JSON lines.

use std::collections::VecDeque;
use std::io::IsTerminal;

use bytes::Bytes;

use super::printer::Target;
use super::{frames, render};
use crate::client::FollowEvent;
use crate::model::{Entry, EntryKind};
use crate::protocol::{JobId, StreamName};

/// What of a log is shown, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Frames as JSON lines.
    pub(super) json: bool,
    /// Standard output.
    pub(super) stdout: bool,
    /// Standard error.
    pub(super) stderr: bool,
}

impl View {
    /// What is to be written for `event`. Whatever the program did not say itself is said on
    /// stderr, at once, and only what somebody should know.
    pub(super) fn show(self, log: JobId, event: FollowEvent) -> Option<(Target, Bytes)> {
        if !self.wants(&event) {
            return None;
        }
        if self.json {
            return frames::line(log, &event).map(|line| (Target::Stdout, line));
        }
        match event {
            FollowEvent::Entry(Entry { kind: EntryKind::Output { stream, bytes, .. }, .. }) => {
                let target = match stream {
                    StreamName::Stdout => Target::Stdout,
                    StreamName::Stderr => Target::Stderr,
                };
                Some((target, bytes))
            }
            FollowEvent::Entry(Entry { at, kind: EntryKind::Status { worker, .. }, .. }) => {
                // A container's starts are its own affair; that a job runs twice, its owner should know.
                if at.attempt > 1 && at.n == 0 && !log.is_container() {
                    let worker = worker.map(|worker| format!(" on {worker}")).unwrap_or_default();
                    render::say(false, &format!("attempt {}{worker}: the job begins again", at.attempt));
                }
                None
            }
            FollowEvent::Truncated { from, to } => {
                render::say(false, &format!("the output from {from} to {to} is no longer kept"));
                None
            }
            FollowEvent::Interrupted { reason } => {
                if std::io::stderr().is_terminal() {
                    render::say(false, &format!("{reason}; trying to come back"));
                }
                None
            }
            FollowEvent::Resumed => {
                if std::io::stderr().is_terminal() {
                    render::say(false, "back again");
                }
                None
            }
            FollowEvent::Entry(Entry { kind: EntryKind::End { .. }, .. }) | FollowEvent::Live(_) => None,
        }
    }

    /// Whether it is no output of a stream that is left out.
    pub(super) fn wants(self, event: &FollowEvent) -> bool {
        let FollowEvent::Entry(Entry { kind: EntryKind::Output { stream, .. }, .. }) = event else { return true };
        match stream {
            StreamName::Stdout => self.stdout,
            StreamName::Stderr => self.stderr,
        }
    }
}

/// The last lines of what goes by: `tail -n`, over both streams together. What is no output
/// counts for nothing, and stays where it comes after the first line that does.
#[derive(Debug)]
pub(super) struct LastLines {
    most: u64,
    held: VecDeque<(FollowEvent, u64)>,
    newlines: u64,
}

impl LastLines {
    pub(super) fn new(most: u64) -> Self {
        Self { most, held: VecDeque::new(), newlines: 0 }
    }

    pub(super) fn push(&mut self, event: FollowEvent) {
        let newlines = output(&event).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count() as u64);
        self.newlines += newlines;
        self.held.push_back((event, newlines));
        // What is left without the first piece must hold one line break more than lines are
        // wanted: the first of them may end a line that began in that piece.
        while let Some((_, first)) = self.held.front()
            && self.newlines - first > self.most
        {
            self.newlines -= first;
            self.held.pop_front();
        }
    }

    pub(super) fn into_events(mut self) -> impl Iterator<Item = FollowEvent> {
        if self.most == 0 {
            self.held.clear();
        }
        let last = self.held.iter().rev().find_map(|(event, _)| output(event));
        let open_end = last.is_some_and(|bytes| !bytes.ends_with(b"\n"));
        let mut skip = (self.newlines + u64::from(open_end)).saturating_sub(self.most);
        self.held.into_iter().filter_map(move |(mut event, newlines)| {
            if skip == 0 {
                return Some(event);
            }
            let bytes = output(&event).cloned().unwrap_or_default();
            if newlines < skip || (newlines == skip && bytes.ends_with(b"\n")) {
                skip -= newlines;
                return None;
            }
            let cut = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(skip as usize - 1);
            skip = 0;
            begin_at(&mut event, cut.map_or(0, |(index, _)| index + 1));
            Some(event)
        })
    }
}

/// The bytes of an entry of output.
fn output(event: &FollowEvent) -> Option<&Bytes> {
    match event {
        FollowEvent::Entry(Entry { kind: EntryKind::Output { bytes, .. }, .. }) => Some(bytes),
        FollowEvent::Entry(Entry { kind: EntryKind::Status { .. } | EntryKind::End { .. }, .. })
        | FollowEvent::Live(_)
        | FollowEvent::Truncated { .. }
        | FollowEvent::Interrupted { .. }
        | FollowEvent::Resumed => None,
    }
}

/// Leaves out the first bytes of an entry of output.
fn begin_at(event: &mut FollowEvent, from: usize) {
    if let FollowEvent::Entry(Entry { kind: EntryKind::Output { offset, bytes, .. }, .. }) = event {
        *offset += from as u64;
        *bytes = bytes.slice(from..);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::job::Outcome;
    use crate::protocol::Cursor;
    use crate::protocol::job::{Reason, Status};

    fn tail(most: u64, pieces: &[&str]) -> String {
        let mut last = LastLines::new(most);
        for piece in pieces {
            let bytes = Bytes::copy_from_slice(piece.as_bytes());
            last.push(entry(EntryKind::Output { stream: StreamName::Stdout, offset: 0, bytes }));
            last.push(FollowEvent::Live(Cursor::new(1, 2)));
        }
        let text = |event| output(&event).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        last.into_events().filter_map(text).collect()
    }

    #[test]
    fn the_last_lines_are_those_of_tail() {
        assert_eq!(tail(2, &["a\nb\nc\n"]), "b\nc\n");
        assert_eq!(tail(2, &["a\nb\nc"]), "b\nc");
        assert_eq!(tail(1, &["a\nb", "b\n", "c", "c\n"]), "cc\n");
        assert_eq!(tail(0, &["a\n"]), "");
        assert_eq!(tail(9, &["a\n", "b"]), "a\nb");
        assert_eq!(tail(3, &[]), "");
    }

    #[test]
    fn a_first_line_that_is_cut_out_says_where_it_begins() {
        let mut last = LastLines::new(1);
        let bytes = Bytes::from_static(b"one\ntwo\n");
        last.push(entry(EntryKind::Output { stream: StreamName::Stdout, offset: 10, bytes }));
        last.push(FollowEvent::Resumed);
        let events: Vec<FollowEvent> = last.into_events().collect();
        let [FollowEvent::Entry(Entry { kind: EntryKind::Output { offset, bytes, .. }, .. }), FollowEvent::Resumed] =
            events.as_slice()
        else {
            panic!("{events:?}")
        };
        assert_eq!((*offset, &bytes[..]), (14, &b"two\n"[..]));
    }

    proptest! {
        #[test]
        fn the_last_lines_do_not_depend_on_how_the_output_was_cut(
            pieces in prop::collection::vec("[ab\n]{0,4}", 0..12),
            most in 0u64..6,
        ) {
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).filter(|piece| !piece.is_empty()).collect();
            let all = pieces.concat();
            let lines: Vec<&str> = all.split_inclusive('\n').collect();
            let expected = lines[lines.len().saturating_sub(most as usize)..].concat();
            prop_assert_eq!(tail(most, &pieces), expected);
        }
    }

    fn job() -> JobId {
        "job-7-001f0c33".parse().unwrap()
    }

    fn entry(kind: EntryKind) -> FollowEvent {
        FollowEvent::Entry(Entry { at: Cursor::new(1, 2), time: 3, kind })
    }

    #[test]
    fn a_programs_bytes_go_where_it_wrote_them() {
        let view = View { json: false, stdout: true, stderr: false };
        let output = |stream| entry(EntryKind::Output { stream, offset: 0, bytes: Bytes::from_static(b"\xff\r\n") });
        let shown = view.show(job(), output(StreamName::Stdout));
        assert_eq!(shown, Some((Target::Stdout, Bytes::from_static(b"\xff\r\n"))));
        assert_eq!(view.show(job(), output(StreamName::Stderr)), None);
        let all = View { stderr: true, ..view };
        assert_eq!(all.show(job(), output(StreamName::Stderr)).unwrap().0, Target::Stderr);
    }

    #[test]
    fn as_json_a_frame_looks_as_it_does_on_the_wire() {
        let view = View { json: true, stdout: true, stderr: true };
        let bytes = Bytes::from_static(b"hi\n");
        let (target, line) =
            view.show(job(), entry(EntryKind::Output { stream: StreamName::Stderr, offset: 5, bytes })).unwrap();
        assert_eq!(target, Target::Stdout);
        let expected = r#"{"opt":"output","jobId":"job-7-001f0c33","at":"1-2","stream":"stderr","offset":5,"text":"hi\n","time":3}"#;
        assert_eq!(line, format!("{expected}\n"));
        let outcome = Outcome { reason: Reason::Signal, exit_code: Some(143), message: None };
        let end = EntryKind::End {
            status: Status::Failed,
            exit_code: outcome.exit_code,
            reason: outcome.reason,
            message: outcome.message,
        };
        let (_, line) = view.show(job(), entry(end)).unwrap();
        let expected = r#"{"opt":"end","jobId":"job-7-001f0c33","at":"1-2","status":"failed","exitCode":143,"reason":"signal","time":3}"#;
        assert_eq!(line, format!("{expected}\n"));
    }
}
