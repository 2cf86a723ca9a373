//! `gangline bench`: measures a server, from the outside, as its peers see it.
//!
//! Each workload is bounded in count and in time, checks what it counts, and says what server and generator
//! used of the machine. Targets, method and figures are in `docs/benchmarks.md`.

mod agent;
mod dispatch;
mod fanout;
mod held;
mod peer;
mod report;
mod submitter;
mod target;
mod worker;

use anyhow::Result;

use crate::config::{ClientSettings, Span};
use dispatch::DispatchArgs;
use fanout::FanoutArgs;
use report::Report;
use target::Target;

/// Flags of `gangline bench`.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    workload: Workload,
    /// Longest time that one measurement takes
    #[arg(long, global = true, value_name = "TIME", default_value = "30s")]
    time: Span,
    /// Process of the server at --url, to show what it uses
    #[arg(long, global = true, value_name = "PID")]
    pid: Option<u32>,
}

#[derive(Debug, clap::Subcommand)]
enum Workload {
    /// Jobs a second, from submit to seeing the end
    Dispatch(DispatchArgs),
    /// One log and many who follow it
    Fanout(FanoutArgs),
}

impl Workload {
    fn name(&self) -> &'static str {
        match self {
            Self::Dispatch(_) => "dispatch",
            Self::Fanout(_) => "fanout",
        }
    }
}

/// Runs a workload against `server`, or against one that is started for it.
///
/// # Errors
/// The server could not be reached or started, or did not do what it should.
pub async fn run(args: BenchArgs, server: Option<ClientSettings>, json: bool) -> Result<()> {
    let BenchArgs { workload, time, pid } = args;
    let target = match server {
        Some(settings) => Target::running(settings, pid).await?,
        None => Target::start().await?,
    };
    let mut report = Report::new(workload.name(), json);
    match &workload {
        Workload::Dispatch(args) => dispatch::run(&target, args, time.0, &mut report).await?,
        Workload::Fanout(args) => fanout::run(&target, args, time.0, &mut report).await?,
    }
    target.end().await
}
