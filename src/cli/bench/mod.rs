//! `gangline bench`: measures a server, from the outside, as its peers see it.
//!
//! Each workload is bounded in count and in time, checks what it counts, and says what server and generator
//! used of the machine. Targets, method and figures are in `docs/benchmarks.md`.

mod agent;
mod dispatch;
mod fanout;
mod followers;
mod held;
mod idle;
mod limit;
mod lines;
mod peer;
mod report;
mod spawn;
mod stream;
mod submitter;
mod target;
mod worker;

use std::time::Duration;

use anyhow::{Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::{ClientSettings, Span};
use dispatch::DispatchArgs;
use fanout::FanoutArgs;
use idle::IdleArgs;
use limit::LimitArgs;
use lines::LinesArgs;
use report::Report;
use stream::StreamArgs;
use target::Target;

/// Flags of `gangline bench`.
#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    workload: Workload,
    /// Longest time that one measurement takes
    #[arg(long, global = true, value_name = "TIME", default_value = "30s")]
    time: Span,
    /// Process of the server at --url, to show what it uses; repeated, what several use together
    #[arg(long, global = true, value_name = "PID")]
    pid: Vec<u32>,
}

#[derive(Debug, clap::Subcommand)]
enum Workload {
    /// Jobs a second, from submit to seeing the end
    Dispatch(DispatchArgs),
    /// One log and many who follow it
    Fanout(FanoutArgs),
    /// One program's output, from end to end
    Stream(StreamArgs),
    /// What a server costs that has nothing to do
    Idle(IdleArgs),
    /// Write lines, as the program that is streamed
    #[command(hide = true)]
    Lines(LinesArgs),
    /// Pass on what one peer writes to all others, as the server that fan-out is compared with
    #[command(hide = true)]
    Limit(LimitArgs),
}

/// Runs a workload against `server`, or against one that is started for it.
///
/// # Errors
/// The server could not be reached or started, or did not do what it should.
pub(super) async fn run(args: BenchArgs, server: Option<ClientSettings>, json: bool) -> Result<()> {
    let BenchArgs { workload, time, pid } = args;
    match &workload {
        Workload::Lines(args) => return Ok(lines::write(args)?),
        Workload::Limit(args) => return limit::serve(args).await,
        Workload::Dispatch(_) | Workload::Fanout(_) | Workload::Stream(_) | Workload::Idle(_) => (),
    }
    // Thousands of connections, each a file, here and in the server that inherits the limit.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let target = match server {
        Some(settings) => Target::running(settings, pid).await?,
        None => Target::start().await?,
    };
    let measured = tokio::select! {
        measured = measure(&workload, &target, time.0, json) => measured,
        // Not the end of the process: a server that was started here must go, and its data with it.
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and_then(|()| bail!("interrupted")),
    };
    let ended = target.end().await;
    measured.and(ended)
}

async fn measure(workload: &Workload, target: &Target, time: Duration, json: bool) -> Result<()> {
    match workload {
        Workload::Dispatch(args) => dispatch::run(target, args, time, &mut Report::new("dispatch", json)).await,
        Workload::Fanout(args) => fanout::run(target, args, time, &mut Report::new("fanout", json)).await,
        Workload::Stream(args) => stream::run(target, args, time, &mut Report::new("stream", json)).await,
        Workload::Idle(args) => idle::run(target, args, time, &mut Report::new("idle", json)).await,
        // What others measure measures nothing.
        Workload::Lines(_) | Workload::Limit(_) => Ok(()),
    }
}
