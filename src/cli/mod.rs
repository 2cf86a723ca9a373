//! The command line: one file a subcommand.
//!
//! Results go to stdout, everything said about them to stderr. Only this room prints, and only
//! here a failure becomes an exit status: [`exit`] has the table.

mod accounts;
mod args;
mod artifacts;
mod bench;
mod container;
mod each;
pub mod exit;
mod failure;
mod follow;
mod frames;
mod jobs;
mod logs;
mod printer;
mod ps;
mod render;
mod run;
mod serve;
mod workers;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::base::telemetry;
use crate::config::{ClientSettings, Config, LogFormat};
use crate::protocol::schema;
use args::{Cli, Command};
use exit::Status;
use failure::Failure;

/// What every subcommand is given.
#[derive(Debug)]
struct Context {
    config: Config,
    json: bool,
}

impl Context {
    fn client(&self) -> Result<ClientSettings, Failure> {
        Ok(self.config.client()?)
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return failure::of_usage(&error, std::env::args()),
    };
    let json = cli.json;
    match dispatch(cli) {
        Ok(status) => status.into(),
        Err(failure) => failure.report(json).into(),
    }
}

fn dispatch(cli: Cli) -> Result<Status, Failure> {
    let Cli { common, json, command } = cli;
    let log_default = command.log_default();
    // Read when it is needed: completions must work where the configuration is broken.
    let context = || -> Result<Context, Failure> {
        let config = Config::load(common, |name| std::env::var(name).ok())?;
        let format = config.log_format().unwrap_or(if json { LogFormat::Json } else { LogFormat::Text });
        let format = match format {
            LogFormat::Text => telemetry::LogFormat::Text,
            LogFormat::Json => telemetry::LogFormat::Json,
        };
        telemetry::init(config.log().unwrap_or(&log_default), format);
        Ok(Context { config, json })
    };
    match command {
        Command::Up(up) => serve::up(&context()?, *up),
        Command::Serve(args) => serve::serve(&context()?, *args),
        Command::Worker(args) => serve::worker(&context()?, *args),
        Command::Run(run) => on_one_thread(run::run(&context()?, *run)),
        Command::Logs(logs) => on_one_thread(logs::run(&context()?, logs)),
        Command::Ps(ps) => on_one_thread(ps::run(&context()?, ps)),
        Command::Show { job } => on_one_thread(jobs::show(&context()?, job)),
        Command::Cancel { jobs, grace } => on_one_thread(jobs::cancel(&context()?, jobs, grace)),
        Command::Wait { job } => on_one_thread(jobs::wait(&context()?, job)),
        Command::Rerun { job } => on_one_thread(jobs::rerun(&context()?, job)),
        Command::Artifacts { job, output } => on_one_thread(artifacts::run(&context()?, job, output)),
        Command::Workers => on_one_thread(workers::list(&context()?)),
        Command::Drain { worker } => on_one_thread(workers::drain(&context()?, worker)),
        Command::Undrain { worker } => on_one_thread(workers::undrain(&context()?, worker)),
        Command::Container(command) => on_one_thread(container::run(&context()?, *command)),
        Command::User(command) => on_one_thread(accounts::user(&context()?, command)),
        Command::Token(command) => on_one_thread(accounts::token(&context()?, command)),
        Command::Bench(args) => {
            let context = context()?;
            let server = context.config.url().map(|_| context.client()).transpose()?;
            on_one_thread(async {
                let measured = bench::run(args, server, context.json).await;
                measured.map(|()| Status::Success).map_err(Failure::of_bench)
            })
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gangline", &mut script);
            render::raw(&script)?;
            Ok(Status::Success)
        }
        Command::Protocol { schema: _ } => {
            render::line(&format!("{:#}", schema::protocol()))?;
            Ok(Status::Success)
        }
    }
}

/// Runs a command to its end. What it leaves behind is not waited for: a read of the terminal
/// cannot be taken back.
fn on_one_thread(command: impl Future<Output = Result<Status, Failure>>) -> Result<Status, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests;
