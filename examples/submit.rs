//! Submits a shell script and streams it: `cargo run --example submit -- 'echo hi; exit 3'`.
//!
//! `GANGLINE_URL` and `GANGLINE_TOKEN` say where to and as whom.

#![expect(clippy::print_stderr, reason = "it is what the example shows")]

use std::io::Write;

use gangline::base::secret::Secret;
use gangline::base::tls::Trust;
use gangline::client::{FollowEvent, Follower, Patience};
use gangline::config::{ClientSettings, DEFAULT_URL};
use gangline::model::EntryKind;
use gangline::protocol::StreamName;
use gangline::protocol::job::Submit;
use gangline::protocol::spec::JobSpec;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = ClientSettings {
        url: std::env::var("GANGLINE_URL").unwrap_or_else(|_| DEFAULT_URL.to_owned()),
        token: std::env::var("GANGLINE_TOKEN").ok().map(Secret::new),
        trust: Trust::system_and(std::env::var_os("GANGLINE_CA").map(Into::into)),
        ..ClientSettings::default()
    };
    let script = std::env::args().nth(1).unwrap_or_else(|| "echo hello from $GANGLINE_JOB_ID".to_owned());
    let spec = JobSpec { command: Some(script), ..JobSpec::default() };
    let submit = Submit { spec, ..Submit::default() };

    let (mut log, submitted) = Follower::submit(&settings, submit, Patience::default()).await?;
    eprintln!("{} (number {})", submitted.job_id, submitted.task_id);
    while let Some(event) = log.next().await? {
        let FollowEvent::Entry(entry) = event else { continue };
        match entry.kind {
            EntryKind::Output { stream: StreamName::Stdout, bytes, .. } => std::io::stdout().write_all(&bytes)?,
            EntryKind::Output { stream: StreamName::Stderr, bytes, .. } => std::io::stderr().write_all(&bytes)?,
            EntryKind::Status { status, .. } => eprintln!("{} {status:?}", entry.at),
            EntryKind::End { reason, exit_code, .. } => eprintln!("{} {reason:?} {exit_code:?}", entry.at),
        }
    }
    Ok(())
}
