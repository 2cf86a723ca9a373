//! Follows a job from any point of its log: `cargo run --example follow -- JOB [CURSOR]`.
//!
//! Stop it, start it again with the last cursor it printed, and it goes on there. An outage of
//! the dispatcher in between makes no difference.

#![expect(clippy::print_stdout, reason = "it is what the example shows")]

use gangline::base::secret::Secret;
use gangline::base::tls::Trust;
use gangline::client::{FollowEvent, Follower, Patience};
use gangline::config::{ClientSettings, DEFAULT_URL};
use gangline::protocol::{After, JobRef};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = ClientSettings {
        url: std::env::var("GANGLINE_URL").unwrap_or_else(|_| DEFAULT_URL.to_owned()),
        token: std::env::var("GANGLINE_TOKEN").ok().map(Secret::new),
        trust: Trust::system_and(std::env::var_os("GANGLINE_CA").map(Into::into)),
        ..ClientSettings::default()
    };
    let mut args = std::env::args().skip(1);
    let job: JobRef = args.next().ok_or("usage: follow JOB [CURSOR]")?.parse()?;
    let after: After = args.next().map_or(Ok(After::Start), |cursor| cursor.parse())?;

    let mut log = Follower::follow(&settings, job, after, Patience::default()).await?;
    while let Some(event) = log.next().await? {
        match event {
            FollowEvent::Entry(entry) => println!("{} {:?}", entry.at, entry.kind),
            FollowEvent::Live(at) => println!("{at} is the newest; waiting for more"),
            FollowEvent::Truncated { from, to } => println!("{from} to {to} are no longer kept"),
            FollowEvent::Interrupted { reason } => println!("interrupted: {reason}"),
            FollowEvent::Resumed => println!("back again"),
        }
    }
    Ok(())
}
