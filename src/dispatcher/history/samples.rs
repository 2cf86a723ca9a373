//! A series of samples: one about every ten seconds, over an hour at the most.
//!
//! Pure: whoever notes a sample brings its time. What is too old, or too much, is dropped oldest first; what comes too
//! early is not kept at all.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::clock::{Millis, millis};
use crate::protocol::limits::{HISTORY, HISTORY_EVERY};

/// How much earlier than it is due a sample may come: heartbeats are no clockwork.
const EARLY: Duration = Duration::from_secs(2);

/// Samples of an hour.
const MOST: usize = 360;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Samples<T> {
    rows: VecDeque<(Millis, T)>,
    /// When the next sample is due.
    due: Millis,
}

impl<T> Default for Samples<T> {
    fn default() -> Self {
        Self { rows: VecDeque::new(), due: 0 }
    }
}

impl<T> FromIterator<(Millis, T)> for Samples<T> {
    /// In whatever order they come. Of two that tell of the same moment one is kept.
    fn from_iter<I: IntoIterator<Item = (Millis, T)>>(rows: I) -> Self {
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|(time, _)| *time);
        let mut samples = Self::default();
        for (time, value) in rows {
            samples.note(time, || value);
        }
        samples
    }
}

impl<T> Samples<T> {
    /// Notes what is so now, if a sample is due.
    pub(super) fn note(&mut self, time: Millis, value: impl FnOnce() -> T) {
        // A clock that was set back: what it said before was not the time.
        while self.rows.pop_back_if(|(noted, _)| *noted > time).is_some() {
            self.due = 0;
        }
        if time + millis(EARLY) < self.due {
            return;
        }
        self.rows.push_back((time, value()));
        // Counted from when it was due, so that coming early does not add up.
        let was_due = if time.abs_diff(self.due) <= millis(EARLY) { self.due } else { time };
        self.due = was_due + millis(HISTORY_EVERY);
        self.forget_before(time.saturating_sub(millis(HISTORY)));
        if self.rows.len() > MOST {
            self.rows.pop_front();
        }
    }

    /// Drops all samples up to and including this moment. When the next is due stays as it is.
    pub(super) fn forget_before(&mut self, time: Millis) {
        while self.rows.pop_front_if(|(noted, _)| *noted <= time).is_some() {}
    }

    /// When the next sample is due.
    pub(super) fn due(&self) -> Millis {
        self.due
    }

    /// Oldest first.
    pub(super) fn rows(&self) -> &VecDeque<(Millis, T)> {
        &self.rows
    }

    /// Oldest first.
    pub(super) fn into_rows(self) -> VecDeque<(Millis, T)> {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes a sample at each of these seconds; tells which were kept.
    fn kept(times: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut samples = Samples::default();
        for time in times {
            samples.note(time * 1000, || ());
        }
        samples.rows().iter().map(|(time, ())| time / 1000).collect()
    }

    #[test]
    fn one_about_every_ten_seconds_is_kept_of_however_many_come() {
        assert_eq!(kept(100..145), [100, 108, 118, 128, 138]);
        assert_eq!(kept([100, 109, 121, 130, 139, 151]), [100, 109, 121, 130, 139, 151], "heartbeats that waver");
        assert_eq!(kept([100, 500, 503, 510]), [100, 500, 510], "a gap stays one");
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let kept = kept((0..1000).map(|nth| 100 + nth * 10));
        assert_eq!((kept.len(), kept[0], kept[359]), (360, 100 + 640 * 10, 100 + 999 * 10));
        assert_eq!(self::kept([100, 110, 3705]), [110, 3705]);
    }

    #[test]
    fn a_clock_that_is_set_back_takes_back_what_it_said() {
        assert_eq!(kept([100, 110, 500, 510, 120, 130]), [100, 110, 120, 130]);
    }

    #[test]
    fn what_two_tell_of_the_same_moment_is_one_sample() {
        let here = [(10_000, "a"), (20_000, "a")];
        let there = [(20_004, "b"), (30_004, "b")];
        let samples: Samples<_> = there.into_iter().chain(here).collect();
        assert_eq!(samples.into_rows(), [(10_000, "a"), (20_000, "a"), (30_004, "b")]);
    }
}
