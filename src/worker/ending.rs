//! How an attempt ended, in the words of the protocol.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use super::engine::exit;
use super::executor::Exit;
use super::held::Why;
use crate::protocol::job::Reason;

/// Most of a message; what went wrong a thousand times need not be said a thousand times.
const MAX_MESSAGE: usize = 2_000;

/// Exit codes from here on say which signal ended a program.
const SIGNALLED: i32 = 128;

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
    pub(crate) fn after(exit: Exit, stopped_for: Option<StopReason>) -> Self {
        let (exit_code, by_itself) = match exit {
            Exit::Process(Ok(status)) => Self::of_process(status),
            Exit::Process(Err(error)) => return Self::spawn_error(None, format!("its exit status was lost: {error}")),
            Exit::Container(exit) => Self::of_container(exit),
        };
        match stopped_for {
            Some(StopReason::Asked(why)) => Self::stopped(why, exit_code),
            Some(StopReason::Overdue) => {
                let message = Some("it ran longer than timeoutSecs allows".to_owned());
                Self { exit_code, reason: Reason::Timeout, message }
            }
            None => by_itself,
        }
    }

    fn of_process(status: ExitStatus) -> (Option<i32>, Self) {
        match status.signal() {
            Some(signal) => Self::by_signal(signal),
            None => (status.code(), Self { exit_code: status.code(), reason: Reason::Exit, message: None }),
        }
    }

    fn of_container(exit: exit::Exit) -> (Option<i32>, Self) {
        match exit {
            exit::Exit::Ended { code, out_of_memory: true } => {
                let message = Some("it used more memory than it was given".to_owned());
                (Some(code), Self { exit_code: Some(code), reason: Reason::OutOfMemory, message })
            }
            // The engine has one number for both: a program that itself exits with such a code cannot be told apart.
            exit::Exit::Ended { code, .. } if Signal::try_from(code - SIGNALLED).is_ok() => {
                Self::by_signal(code - SIGNALLED)
            }
            exit::Exit::Ended { code, .. } => {
                (Some(code), Self { exit_code: Some(code), reason: Reason::Exit, message: None })
            }
            exit::Exit::NotStarted { code, message } => {
                (Some(code), Self::spawn_error(Some(code), format!("cannot start {message}")))
            }
            exit::Exit::Cut => {
                let message = Some("its streams were cut off".to_owned());
                (None, Self { exit_code: None, reason: Reason::Signal, message })
            }
            exit::Exit::Lost { code, message } => {
                (code, Self { exit_code: code, reason: Reason::Signal, message: Some(message) })
            }
        }
    }

    fn by_signal(signal: i32) -> (Option<i32>, Self) {
        let name = Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.to_string());
        let exit_code = Some(SIGNALLED + signal);
        (exit_code, Self { exit_code, reason: Reason::Signal, message: Some(format!("ended by signal {name}")) })
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
            let ending = Ending::after(Exit::Process(Ok(ExitStatus::from_raw(raw))), stop);
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
