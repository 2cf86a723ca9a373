//! The values that labels have. Few, and all of them are shown from the start, at zero.

use crate::protocol::auth::Role;
use crate::protocol::job::Reason;

/// What can be a label's value.
pub trait Label: Copy + PartialEq + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// How it is written.
    fn name(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize {
        // `labels!` writes the list and the names from the same lines: a value that has a name is in it.
        Self::ALL.iter().position(|label| *label == self).unwrap_or_default()
    }
}

/// What came of a submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submit {
    /// A new job.
    Accepted,
    /// The job that its key named.
    Duplicate,
    /// None.
    Refused,
}

/// Who goes on where a lost connection had left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// A worker: the same process as before.
    Worker,
    /// A follower: with a cursor.
    Follower,
}

/// What the store was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// To take a worker's output.
    Append,
    /// For jobs.
    Claim,
    /// For a log, by a follower.
    Read,
    /// What time demands.
    Sweep,
    /// Whatever a peer asked for in a frame.
    Request,
}

/// What came of a question to a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginCall {
    /// It allowed what it was asked about.
    Allow,
    /// It changed it.
    Change,
    /// It refused it.
    Refuse,
    /// It was not connected.
    Away,
    /// It did not answer in time.
    Late,
    /// Its connection ended first.
    Gone,
    /// It had too many questions already.
    Busy,
    /// It answered with what cannot be.
    Wrong,
}

/// What came of news for a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginNews {
    /// They are on their way.
    Told,
    /// It reads too slowly.
    Dropped,
}

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// It runs nothing and would take a job.
    Idle,
    /// It runs jobs.
    Busy,
    /// It takes no new jobs.
    Draining,
    /// It is not connected here, but was heard of: by another instance, or before its connection was lost.
    Away,
    /// It was not heard of for a lease.
    Offline,
}

/// A value is its own pattern, so each is written once, and the compiler finds the one that is missing.
macro_rules! labels {
    ($($type:ty { $($($part:ident)::+ $(($($inner:ident)::+))? = $name:literal,)+ })+) => {
        $(impl Label for $type {
            const ALL: &'static [Self] = &[$($($part)::+ $(($($inner)::+))?),+];

            fn name(self) -> &'static str {
                match self { $($($part)::+ $(($($inner)::+))? => $name),+ }
            }
        })+
    };
}

labels! {
    Submit {
        Submit::Accepted = "accepted",
        Submit::Duplicate = "duplicate",
        Submit::Refused = "refused",
    }
    Returned {
        Returned::Worker = "worker",
        Returned::Follower = "follower",
    }
    Operation {
        Operation::Append = "append",
        Operation::Claim = "claim",
        Operation::Read = "read",
        Operation::Sweep = "sweep",
        Operation::Request = "request",
    }
    PluginCall {
        PluginCall::Allow = "allow",
        PluginCall::Change = "change",
        PluginCall::Refuse = "refuse",
        PluginCall::Away = "away",
        PluginCall::Late = "late",
        PluginCall::Gone = "gone",
        PluginCall::Busy = "busy",
        PluginCall::Wrong = "wrong",
    }
    PluginNews {
        PluginNews::Told = "told",
        PluginNews::Dropped = "dropped",
    }
    WorkerState {
        WorkerState::Idle = "idle",
        WorkerState::Busy = "busy",
        WorkerState::Draining = "draining",
        WorkerState::Away = "away",
        WorkerState::Offline = "offline",
    }
    Reason {
        Reason::Exit = "exit",
        Reason::Signal = "signal",
        Reason::Timeout = "timeout",
        Reason::QueueTimeout = "queue_timeout",
        Reason::WorkerLost = "worker_lost",
        Reason::SpawnError = "spawn_error",
        Reason::OutOfMemory = "out_of_memory",
        Reason::Cancelled = "cancelled",
        Reason::Rejected = "rejected",
        Reason::Removed = "removed",
    }
    Option<Role> {
        None = "none",
        Some(Role::User) = "user",
        Some(Role::Admin) = "admin",
        Some(Role::Worker) = "worker",
        Some(Role::Plugin) = "plugin",
    }
}
