//! What a server costs that has nothing to do: its start, its memory, and that of each connection.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use super::followers;
use super::held::Held;
use super::report::Report;
use super::target::{Meter, Target};

/// Time for buffers to be let go of.
const SETTLE: Duration = Duration::from_secs(2);

/// The workload.
#[derive(Debug, clap::Args)]
pub(super) struct IdleArgs {
    /// Authenticated connections that follow one log in which nothing happens
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
}

pub(super) async fn run(target: &Target, args: &IdleArgs, time: Duration, report: &mut Report) -> Result<()> {
    let server = target.processes.first().copied().context("whose memory? Name the server's process with --pid")?;
    if let Some(started_in) = target.started_in() {
        report.add("fresh server", "start to ready", started_in.as_secs_f64() * 1000.0, "ms")?;
    }
    sleep(SETTLE).await;
    let before = server.resident()?;
    report.add("no connections", "resident memory", mebibytes(before), "MiB")?;

    let held = Held::start(target).await?;
    let peers = followers::open(target, &[], &held.follow()?, args.connections, time).await?;
    sleep(SETTLE).await;
    let case = format!("{} connections", args.connections);
    let growth = server.resident()?.saturating_sub(before);
    report.add(&case, "growth", mebibytes(growth), "MiB")?;
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2⁵²")]
    report.add(&case, "growth for each", growth as f64 / args.connections as f64 / 1024.0, "KiB")?;
    report.add(&case, "most resident memory", mebibytes(server.resident_most()?), "MiB")?;
    let meter = Meter::start(target, None)?;
    sleep(SETTLE).await;
    report.used(&case, &meter)?;
    drop(peers);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2⁵²")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
