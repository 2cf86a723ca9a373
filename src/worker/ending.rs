//! How an attempt ended, in the words of the protocol.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use super::held::Why;
use crate::protocol::job::Reason;

/// Most of a message; what went wrong a thousand times need not be said a thousand times.
const MAX_MESSAGE: usize = 2_000;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Reason,
    pub(crate) message: Option<String>,
}

/// Why a program was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    Asked(Why),
    Overdue,
}

impl Ending {
    /// The program has ended, by itself or because it was stopped.
    pub(crate) fn after(status: ExitStatus, stopped_for: Option<StopReason>) -> Self {
        let signal = status.signal();
        let exit_code = signal.map(|signal| 128 + signal).or(status.code());
        match (stopped_for, signal) {
            (Some(StopReason::Asked(why)), _) => Self::stopped(why, exit_code),
            (Some(StopReason::Overdue), _) => {
                let message = Some("it ran longer than timeoutSecs allows".to_owned());
                Self { exit_code, reason: Reason::Timeout, message }
            }
            (None, Some(signal)) => {
                let name = Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.to_string());
                Self { exit_code, reason: Reason::Signal, message: Some(format!("ended by signal {name}")) }
            }
            (None, None) => Self { exit_code, reason: Reason::Exit, message: None },
        }
    }

    /// Someone asked for the end, before the program was started (no exit code) or after.
    pub(crate) fn stopped(why: Why, exit_code: Option<i32>) -> Self {
        match why {
            Why::Cancelled | Why::Forgotten => Self { exit_code, reason: Reason::Cancelled, message: None },
            Why::Leaving | Why::Cut => {
                let message = Some("stopped because its worker is leaving".to_owned());
                Self { exit_code, reason: Reason::Signal, message }
            }
        }
    }

    /// The program was never started.
    pub(crate) fn spawn_error(exit_code: Option<i32>, message: String) -> Self {
        Self { exit_code, reason: Reason::SpawnError, message: Some(message) }
    }

    /// Says what else went wrong.
    pub(crate) fn add(&mut self, problems: Vec<String>) {
        if problems.is_empty() {
            return;
        }
        let mut message = self.message.take().into_iter().chain(problems).collect::<Vec<_>>().join("; ");
        if message.len() > MAX_MESSAGE {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
            message.push('…');
        }
        self.message = Some(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_reasons() {
        let ended = |raw: i32, stop| {
            let ending = Ending::after(ExitStatus::from_raw(raw), stop);
            (ending.exit_code, ending.reason)
        };
        assert_eq!(ended(3 << 8, None), (Some(3), Reason::Exit));
        assert_eq!(ended(9, None), (Some(137), Reason::Signal));
        assert_eq!(ended(15, Some(StopReason::Asked(Why::Cancelled))), (Some(143), Reason::Cancelled));
        assert_eq!(ended(0, Some(StopReason::Overdue)), (Some(0), Reason::Timeout));
        assert_eq!(ended(15, Some(StopReason::Asked(Why::Leaving))), (Some(143), Reason::Signal));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut ending = Ending::spawn_error(None, "a".to_owned());
        ending.add(vec!["é".repeat(MAX_MESSAGE)]);
        let message = ending.message.unwrap();
        assert!(message.len() <= MAX_MESSAGE + '…'.len_utf8() && message.starts_with("a; é") && message.ends_with('…'));
    }
}
