//! Exit statuses: what a shell gets to know.

use std::process::ExitCode;

use crate::protocol::job::Reason;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 0.
    Success,
    /// 1: it failed.
    Failure,
    /// 2: the command line or a setting is wrong.
    Usage,
    /// `run` and `wait`: what the job ended with; 128+n where signal n ended it.
    Job(u8),
    /// 75, `EX_TEMPFAIL`: the connection is lost for good, the job goes on.
    ConnectionLost,
    /// 124, as of `timeout`: a time limit ended the job.
    TimedOut,
    /// 125, as of `docker run`: the dispatcher refused or failed, not the job.
    Refused,
    /// 130, as of a shell's Ctrl-C.
    Cancelled,
    /// 141: the reader of stdout went away, as 128 + SIGPIPE says for a local program.
    BrokenPipe,
}

impl Status {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Job(code) => code,
            Self::ConnectionLost => 75,
            Self::TimedOut => 124,
            Self::Refused => 125,
            Self::Cancelled => 130,
            Self::BrokenPipe => 141,
        }
    }

    /// The status of `run` and `wait` for a job that ended like this.
    pub fn of_job(reason: Reason, exit_code: Option<i32>) -> Self {
        // The operating system keeps the lowest eight bits of an exit code, and so does this.
        let own = |fallback: Self| exit_code.map_or(fallback, |code| Self::Job(code.to_le_bytes()[0]));
        match reason {
            Reason::Exit => own(Self::Success),
            // The kernel's way to end a program that takes too much is SIGKILL.
            Reason::OutOfMemory => own(Self::Job(128 + 9)),
            Reason::Timeout | Reason::QueueTimeout => Self::TimedOut,
            Reason::Cancelled => Self::Cancelled,
            Reason::Signal | Reason::WorkerLost | Reason::SpawnError | Reason::Rejected | Reason::Removed => {
                own(Self::Refused)
            }
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_end_has_its_status() {
        let cases = [
            (Reason::Exit, Some(0), 0),
            (Reason::Exit, Some(3), 3),
            (Reason::Exit, Some(256), 0),
            (Reason::Signal, Some(143), 143),
            (Reason::Timeout, Some(143), 124),
            (Reason::QueueTimeout, None, 124),
            (Reason::Cancelled, Some(143), 130),
            (Reason::Cancelled, None, 130),
            (Reason::WorkerLost, None, 125),
            (Reason::SpawnError, None, 125),
            (Reason::SpawnError, Some(127), 127),
            (Reason::Rejected, None, 125),
            (Reason::OutOfMemory, None, 137),
        ];
        for (reason, exit_code, status) in cases {
            assert_eq!(Status::of_job(reason, exit_code).code(), status, "{reason:?} {exit_code:?}");
        }
    }
}
