//! How far a follower has come: decides for each entry whether it is new, and where to go on.
//!
//! Pure. Invariant: the cursors that come out as new rise, and between two of them nothing is
//! missing but what a `truncated` named.

use crate::protocol::{After, Cursor};

/// The place in a log up to which everything was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing yet: the dispatcher will say where the follower stands.
    Asked(After),
    /// Everything up to here.
    Seen(Cursor),
}

/// What an entry is to a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The next one.
    New,
    /// One that was seen before.
    Repeat,
    /// One that does not follow: something is missing in between.
    Hole,
}

impl Progress {
    /// What to ask for on a new connection.
    pub(super) fn after(self) -> After {
        match self {
            Self::Asked(after) => after,
            Self::Seen(cursor) if cursor == Cursor::START => After::Start,
            Self::Seen(cursor) => After::At(cursor),
        }
    }

    /// The dispatcher said that entries after `from` will come. Only the first word counts:
    /// later ones answer what [`Progress::after`] asked.
    pub(super) fn begin(&mut self, from: Cursor) {
        match self {
            Self::Asked(_) => *self = Self::Seen(from),
            Self::Seen(_) => (),
        }
    }

    /// Whether everything up to `at` was seen.
    pub(super) fn has_seen(self, at: Cursor) -> bool {
        match self {
            Self::Asked(_) => false,
            Self::Seen(seen) => seen >= at,
        }
    }

    /// Judges the entry at `at`, and counts it as seen where it is new.
    pub(super) fn entry(&mut self, at: Cursor) -> Step {
        self.advance(at, at)
    }

    /// Judges the report that the entries `from` to `to` are gone.
    pub(super) fn truncated(&mut self, from: Cursor, to: Cursor) -> Step {
        self.advance(from, to)
    }

    fn advance(&mut self, first: Cursor, last: Cursor) -> Step {
        match *self {
            Self::Seen(seen) if last <= seen => return Step::Repeat,
            Self::Seen(seen) if first > seen && !seen.precedes(first) => return Step::Hole,
            Self::Seen(_) | Self::Asked(_) => (),
        }
        *self = Self::Seen(last);
        Step::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Cursor {
        text.parse().unwrap()
    }

    fn steps(progress: &mut Progress, cursors: &[&str]) -> Vec<Step> {
        cursors.iter().map(|cursor| progress.entry(at(cursor))).collect()
    }

    #[test]
    fn a_log_is_read_from_its_start_over_several_attempts() {
        let mut progress = Progress::Asked(After::Start);
        progress.begin(Cursor::START);
        assert_eq!(steps(&mut progress, &["1-0", "1-1", "1-2", "2-0", "2-1"]), [Step::New; 5]);
        assert_eq!(progress.after(), After::At(at("2-1")));
    }

    #[test]
    fn what_a_new_connection_repeats_is_dropped() {
        let mut progress = Progress::Seen(at("1-2"));
        progress.begin(at("1-0"));
        assert_eq!(steps(&mut progress, &["1-1", "1-2", "1-3"]), [Step::Repeat, Step::Repeat, Step::New]);
    }

    #[test]
    fn a_hole_is_not_stepped_over() {
        let mut progress = Progress::Seen(at("1-2"));
        assert_eq!(steps(&mut progress, &["1-4", "2-1"]), [Step::Hole; 2]);
        assert_eq!(progress.after(), After::At(at("1-2")));
        assert_eq!(progress.entry(at("1-3")), Step::New);
    }

    #[test]
    fn what_is_said_to_be_gone_is_no_hole() {
        let mut progress = Progress::Seen(Cursor::START);
        assert_eq!(progress.truncated(at("1-0"), at("1-9")), Step::New);
        assert_eq!(progress.entry(at("1-10")), Step::New);
        assert_eq!(progress.truncated(at("1-0"), at("1-9")), Step::Repeat);
        assert_eq!(progress.truncated(at("1-13"), at("1-14")), Step::Hole);
        assert_eq!(progress.truncated(at("1-5"), at("1-14")), Step::New);
    }

    #[test]
    fn a_tail_begins_where_the_dispatcher_says() {
        let mut progress = Progress::Asked(After::Tail);
        assert_eq!(progress.after(), After::Tail);
        progress.begin(at("1-41"));
        assert_eq!(progress.after(), After::At(at("1-41")));
        assert_eq!(progress.entry(at("1-42")), Step::New);
        // A job that had not begun when its tail was asked for.
        let mut pending = Progress::Asked(After::Tail);
        pending.begin(Cursor::START);
        assert_eq!(pending.after(), After::Start);
        assert_eq!(pending.entry(at("1-0")), Step::New);
    }
}
