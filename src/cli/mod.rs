//! Stands in for the command line until it is here: `bench`, and `serve` for the server that it starts.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what a command line does")]

pub mod bench;

use std::process::ExitCode;

use clap::Parser;

use crate::base::shutdown::Shutdown;
use crate::base::telemetry;
use crate::config::{CommonOptions, Config, DrainOption, LimitOptions, ServerOptions};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    common: CommonOptions,
    /// JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Dispatcher
    Serve {
        #[command(flatten)]
        server: Box<ServerOptions>,
        #[command(flatten)]
        limits: Box<LimitOptions>,
        #[command(flatten)]
        drain: DrainOption,
    },
    /// Measure
    Bench(bench::BenchArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gangline: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { common, json, command } = cli;
    let config = Config::load(common, |name| std::env::var(name).ok())?;
    telemetry::init(config.log().unwrap_or("info"), telemetry::LogFormat::Text);
    match command {
        Command::Serve { server, limits, drain } => {
            let settings = config.server(*server, *limits, drain)?;
            let threads = settings.threads;
            let runtime = if threads == 1 {
                tokio::runtime::Builder::new_current_thread().enable_all().build()?
            } else {
                tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?
            };
            runtime.block_on(async {
                let shutdown = Shutdown::new();
                let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
                let on_term = shutdown.clone();
                tokio::spawn(async move {
                    term.recv().await;
                    on_term.start_drain();
                });
                Ok(crate::server::run(settings, shutdown).await?)
            })
        }
        Command::Bench(args) => {
            let server = config.url().map(|_| config.client()).transpose()?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(bench::run(args, server, json))
        }
    }
}
