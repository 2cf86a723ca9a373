//! The agent: takes jobs from a dispatcher, runs them, and tells what they write.
//!
//! [`run`] is the whole of it. Jobs run in tasks of their own (`job`), and go on while the
//! connection is away; what they have to tell is numbered, frozen and kept (`outgoing`) until
//! the dispatcher says that it is stable. One `session` at a time talks to the dispatcher.
//!
//! Guards: a program that has ended leaves nothing running (`executor`), nothing is unpacked
//! or collected outside a job's own `workspace`, a program that writes faster than its output
//! is stored waits, and no byte is dropped. Refuses to start while another agent of the same
//! name runs on the same directory.
//!
//! Made for a single-threaded runtime, as in `gangline up`: nothing here blocks it for longer
//! than a small write to a file takes.

mod agent;
pub mod chunker;
mod contained;
mod ending;
mod engine;
mod engines;
mod executor;
mod gpus;
mod held;
mod home;
mod job;
mod orphans;
mod outbox;
mod outgoing;
mod run;
mod services;
mod session;
mod sftp;
mod spill;
mod supervisor;
mod system;
mod workspace;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use executor::tree::Companion;
pub use run::{name, run};

use crate::config::MissingToken;
use crate::link::{LinkEnd, LinkError};
use crate::protocol::{CloseCode, ErrorCode, WireError, WorkerId};

/// Why an agent ended, other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The dispatcher cannot be dialled, and trying again would not help.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The dispatcher asks for a token, and there is none.
    #[error(transparent)]
    NoToken(#[from] MissingToken),
    /// The data directory cannot be used.
    #[error("cannot use {path}: {source}")]
    DataDir {
        /// Which path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent of this name runs on this data directory.
    #[error("worker {id} is running already (its lock is in {path})")]
    Running {
        /// The name.
        id: WorkerId,
        /// The agent's directory.
        path: PathBuf,
    },
    /// SFTP cannot be served.
    #[error("cannot serve SFTP at {address}: {source}")]
    Sftp {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The dispatcher refused the registration.
    #[error("the dispatcher refuses this worker: {0}")]
    Refused(WireError),
    /// The dispatcher closed the connection for good.
    #[error("{0}")]
    Closed(LinkEnd),
}

impl WorkerError {
    /// Whether the token was refused.
    pub fn unauthorized(&self) -> bool {
        match self {
            Self::Link(error) => error.unauthorized(),
            Self::NoToken(_) => true,
            Self::Refused(error) => error.code == ErrorCode::Unauthorized,
            Self::Closed(end) => end.code == Some(CloseCode::Unauthorized.code()),
            Self::DataDir { .. } | Self::Running { .. } | Self::Sftp { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
