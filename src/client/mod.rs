//! The client library: what the command line and the examples talk to a dispatcher with.
//!
//! A connection either asks or listens. A [`Client`] asks: one request, one reply. A
//! [`Follower`] listens to one log, a job's or a container's, and comes back by itself after an
//! outage, without losing or repeating an entry; a [`Watch`] listens to all jobs, [`Stats`] to
//! what containers use. [`Files`] moves ZIPs and artifacts over HTTP.
//!
//! ```no_run
//! use gangline::client::{FollowEvent, Follower, Patience};
//! use gangline::config::ClientSettings;
//! use gangline::protocol::job::Submit;
//! use gangline::protocol::spec::JobSpec;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let spec = JobSpec { command: Some("echo hi".to_owned()), ..JobSpec::default() };
//! let submit = Submit { spec, ..Submit::default() };
//! let (mut log, submitted) = Follower::submit(&ClientSettings::default(), submit, Patience::default()).await?;
//! while let Some(event) = log.next().await? {
//!     if let FollowEvent::Entry(entry) = event {
//!         println!("{} {}: {:?}", submitted.job_id, entry.at, entry.kind);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Guards: every wait has a limit, every error says whether trying again makes sense.
//! Not here: printing, exit codes, signals.

mod accounts;
mod connection;
mod containers;
mod error;
mod files;
mod follow;
mod jobs;
mod log;
mod resume;
mod watch;
mod workers;

pub use connection::Client;
pub use containers::{Stats, StatsNews};
pub use error::{ClientError, FollowError};
pub use files::{Artifact, FileError, Files, Upload};
pub use follow::{FollowEvent, Follower, Patience, patiently};
pub use log::Opened;
pub use watch::{Watch, WatchEvent};

#[cfg(test)]
mod tests;
