//! The limit of real processes: starting them, reading what they write, and nothing else.
//!
//! The machine sets it, and machines differ by more than dispatchers do, so both are measured in one run.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::report::{Report, per_second};

/// Runs `jobs` programs, `slots` at a time, for `time` at the most.
pub(super) async fn run(slots: u32, jobs: u64, time: Duration, report: &mut Report) -> Result<()> {
    let started = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..slots {
        let started = Arc::clone(&started);
        lanes.spawn(async move {
            let mut ended = 0;
            while started.fetch_add(1, Ordering::Relaxed) < jobs && began.elapsed() < time {
                let mut command = Command::new("/bin/true");
                command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn()?.wait_with_output().await?;
                ended += 1;
            }
            std::io::Result::Ok(ended)
        });
    }
    let mut ended = 0;
    while let Some(lane) = lanes.join_next().await {
        ended += lane?.context("cannot run /bin/true")?;
    }
    Ok(report.add(
        &format!("/bin/true, {slots} at once, spawned and no more"),
        "jobs",
        per_second(ended, began.elapsed()),
        "/s",
    )?)
}
