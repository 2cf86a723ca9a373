//! The command line's grammar.

use std::path::PathBuf;

use clap::builder::Resettable;
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use tracing::Level;

use super::container::args::ContainerCommand;
use crate::base::telemetry::Filter;
use crate::config::{CommonOptions, DrainOption, LimitOptions, Pair, ServerOptions, Size, Span, WorkerOptions};
use crate::protocol::auth::Role;
use crate::protocol::job::Status;
use crate::protocol::{After, JobRef, WorkerId};

/// Submit a job, watch it live, lose nothing.
#[derive(Debug, Parser)]
#[command(name = "gangline", version, about, max_term_width = 110, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: CommonOptions,
    /// Write JSON, one object a line, errors too
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a dispatcher and one worker: the quick start
    Up(Box<UpArgs>),
    /// Start a dispatcher
    Serve(Box<ServeArgs>),
    /// Start a worker
    Worker(Box<WorkerArgs>),
    /// Run a job and stream it, as if it ran here
    Run(Box<RunArgs>),
    /// Print a job's output
    Logs(LogsArgs),
    /// List jobs: every running one, and the newest
    Ps(PsArgs),
    /// Show all that is known of a job
    Show {
        /// The job, by id or number
        job: JobRef,
    },
    /// End jobs: SIGTERM, then SIGKILL
    Cancel {
        /// The jobs, by id or number
        #[arg(required = true, value_name = "JOB")]
        jobs: Vec<JobRef>,
        /// Time between SIGTERM and SIGKILL [default: the job's own]
        #[arg(long, value_name = "TIME")]
        grace: Option<Span>,
    },
    /// Wait for a job to end, and exit as it did
    Wait {
        /// The job, by id or number
        job: JobRef,
    },
    /// Submit a job once more, and print the new one's id
    Rerun {
        /// The job, by id or number
        job: JobRef,
    },
    /// List the files that a job left, or download them
    Artifacts {
        /// The job, by id or number
        job: JobRef,
        /// Download them into this directory
        #[arg(long, short, value_name = "DIR")]
        output: Option<PathBuf>,
    },
    /// List workers
    Workers,
    /// Let a worker take no new jobs
    Drain {
        /// The worker
        worker: WorkerId,
    },
    /// Let a worker take jobs again
    Undrain {
        /// The worker
        worker: WorkerId,
    },
    /// Long-lived containers; each needs a worker with a container engine
    #[command(subcommand)]
    Container(Box<ContainerCommand>),
    /// Accounts; administrators only
    #[command(subcommand)]
    User(UserCommand),
    /// Tokens for programs and workers; administrators only
    #[command(subcommand)]
    Token(TokenCommand),
    /// Measure a server
    Bench(super::bench::BenchArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Describe the WebSocket protocol
    Protocol {
        /// Print it as a JSON Schema
        #[arg(long, required = true)]
        schema: bool,
    },
}

impl Cli {
    /// Reads the command line. A variable that is set to nothing is one that is not set.
    ///
    /// # Errors
    /// It makes no sense, or asks for help.
    pub(super) fn read() -> Result<Self, clap::Error> {
        let mut grammar = without_empty_variables(Self::command());
        let mut matches = grammar.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut grammar))
    }
}

fn without_empty_variables(grammar: clap::Command) -> clap::Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    grammar
        .mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_empty_variables)
}

impl Command {
    /// What is logged unless told otherwise: of a service what happens, else what goes wrong.
    pub(super) fn log_default(&self) -> Filter {
        let level = if matches!(self, Self::Serve(_) | Self::Worker(_)) { Level::INFO } else { Level::WARN };
        level.into()
    }
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) server: ServerOptions,
    #[command(flatten)]
    pub(super) limits: LimitOptions,
    #[command(flatten)]
    pub(super) drain: DrainOption,
}

#[derive(Debug, Args)]
pub(super) struct WorkerArgs {
    #[command(flatten)]
    pub(super) worker: WorkerOptions,
    #[command(flatten)]
    pub(super) drain: DrainOption,
}

#[derive(Debug, Args)]
pub(super) struct UpArgs {
    #[command(flatten)]
    pub(super) serve: ServeArgs,
    #[command(flatten)]
    pub(super) worker: WorkerOptions,
}

/// Runs a job and streams it: its stdout to stdout, its stderr to stderr, its exit status.
///
/// One CMD word is a shell script, run by /bin/sh: gangline run 'make && make test'.
/// Several are a program and its arguments, without a shell: gangline run -- make -j4 test.
///
/// Ctrl-C cancels the job, a second one leaves it running; so do five seconds more than its grace
/// in which its end does not come. A lost connection comes back by itself and goes on where it
/// stopped. A job that does not start at once says on stderr what it waits for.
///
/// Exit status: the job's own, 128+N where signal N ended it; 124 a time limit ended it; 125 the
/// dispatcher refused or failed; 130 cancelled, or left behind after a Ctrl-C; 141 the reader
/// of stdout went away (the job is cancelled); 75 the connection is lost for good and the job
/// goes on.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct RunArgs {
    /// One word: a shell script. Several: a program and its arguments
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true, required_unless_present_any = ["image", "template"])]
    pub(super) command: Vec<String>,

    /// Keep the job's standard input open and feed it from here
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Give the job a terminal; keys and window size go to it
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Print the job's id and leave
    #[arg(long)]
    pub(super) detach: bool,
    /// How long a lost connection may take to come back before 75
    #[arg(long, env = "GANGLINE_RECONNECT_TIMEOUT", value_name = "TIME", default_value = "60s")]
    pub(super) reconnect_timeout: Span,

    /// Run what the dispatcher offers under this name
    #[arg(long, value_name = "NAME", help_heading = "Job", conflicts_with_all = ["command", "image"])]
    pub(super) template: Option<String>,
    /// A parameter of the template; may be repeated
    #[arg(long = "param", value_name = "KEY=VALUE", help_heading = "Job")]
    pub(super) params: Vec<Pair>,
    /// Run in a container of this image
    #[arg(long, value_name = "IMAGE", help_heading = "Job")]
    pub(super) image: Option<String>,
    /// Set a variable; without =VALUE it is taken from here; may be repeated
    #[arg(long = "env", short = 'e', value_name = "KEY[=VALUE]", help_heading = "Job")]
    pub(super) env: Vec<String>,
    /// Working directory, relative to the job's own fresh workspace
    #[arg(long, value_name = "DIR", help_heading = "Job")]
    pub(super) cwd: Option<String>,
    /// A name for people
    #[arg(long, help_heading = "Job")]
    pub(super) name: Option<String>,
    /// A tag; may be repeated
    #[arg(long = "tag", value_name = "TAG", help_heading = "Job")]
    pub(super) tags: Vec<String>,
    /// A ZIP, or a directory to make one of, to unpack into the workspace first
    #[arg(long, value_name = "ZIP|DIR", help_heading = "Job")]
    pub(super) file: Option<PathBuf>,
    /// Keep the files that match when the job ends; may be repeated
    #[arg(long = "artifact", value_name = "GLOB", help_heading = "Job")]
    pub(super) artifacts: Vec<String>,
    /// Limit of the run
    #[arg(long, value_name = "TIME", help_heading = "Job")]
    pub(super) timeout: Option<Span>,
    /// Limit of the wait for a worker
    #[arg(long, value_name = "TIME", help_heading = "Job")]
    pub(super) queue_timeout: Option<Span>,
    /// Time between SIGTERM and SIGKILL [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Job")]
    pub(super) grace: Option<Span>,
    /// Higher runs first [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Job")]
    pub(super) priority: Option<i32>,
    /// Run again when the worker is lost
    #[arg(long, visible_alias = "retry", help_heading = "Job")]
    pub(super) requeue: bool,
    /// Runs at the most under --requeue [default: 3]
    #[arg(long, value_name = "N", requires = "requeue", help_heading = "Job")]
    pub(super) max_attempts: Option<u32>,

    /// A label that the worker must carry; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", help_heading = "Worker")]
    pub(super) labels: Vec<Pair>,
    /// GPUs
    #[arg(long, value_name = "N", help_heading = "Worker")]
    pub(super) gpus: Option<u32>,
    /// Processors
    #[arg(long, value_name = "N", help_heading = "Worker")]
    pub(super) cpus: Option<f64>,
    /// Memory
    #[arg(long, value_name = "SIZE", help_heading = "Worker")]
    pub(super) memory: Option<Size>,
    /// This worker and no other
    #[arg(long, value_name = "ID", help_heading = "Worker")]
    pub(super) worker: Option<WorkerId>,
}

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The job, by id or number
    pub(super) job: JobRef,
    #[command(flatten)]
    pub(super) part: LogPart,
}

/// What of a log is printed.
#[derive(Debug, Args)]
pub(super) struct LogPart {
    /// Go on as it comes, to the end of the log
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Begin after this entry, such as 1-42; it may lie past the newest, and what comes after it is shown then
    #[arg(long, value_name = "CURSOR", default_value_t = After::Start, hide_default_value = true)]
    pub(super) after: After,
    /// Only the last N lines of what there is
    #[arg(long, value_name = "N")]
    pub(super) tail: Option<u64>,
    /// Only standard output
    #[arg(long, conflicts_with = "stderr")]
    pub(super) stdout: bool,
    /// Only standard error
    #[arg(long)]
    pub(super) stderr: bool,
}

#[derive(Debug, Args)]
pub(super) struct PsArgs {
    /// Only jobs that are pending, running, completed, failed or cancelled
    #[arg(long, value_name = "STATUS", value_parser = status)]
    pub(super) status: Option<Status>,
    /// Every job, however old
    #[arg(long, short)]
    pub(super) all: bool,
    /// This many of the newest, beside the running ones
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, conflicts_with = "all", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) limit: u32,
    /// Stay, and show changes as they happen
    #[arg(long, short)]
    pub(super) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Make an account
    Add {
        /// Its name
        name: String,
        /// What it may do
        #[arg(long, default_value = "user")]
        role: RoleName,
        /// Another name to log in with
        #[arg(long)]
        email: Option<String>,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// List accounts
    Ls,
    /// Remove an account, and end its tokens
    Rm {
        /// Its name
        name: String,
    },
    /// Set an account's password
    Passwd {
        /// Its name
        name: String,
        #[command(flatten)]
        password: PasswordSource,
    },
}

/// Where a password comes from: never from a flag, which others on this machine could see.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct PasswordSource {
    /// Read the password from standard input
    #[arg(long)]
    pub(super) password_stdin: bool,
    /// Read the password from a file
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token, and print it: it is shown this once
    Create {
        /// What it may do
        #[arg(long)]
        role: RoleName,
        /// For whom it acts [default: yourself]
        #[arg(long)]
        account: Option<String>,
        /// How long it lives [default: until revoked]
        #[arg(long, value_name = "TIME")]
        ttl: Option<Span>,
        /// What to call it
        #[arg(long, value_name = "LABEL")]
        name: Option<String>,
    },
    /// List tokens: all of them for an administrator, else your own
    Ls,
    /// End a token
    Revoke {
        /// Its id, or itself
        // Not called `token`: clap would take it for the flag of that name.
        #[arg(value_name = "TOKEN")]
        revoked: String,
    },
}

/// A role's name as a value of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RoleName {
    /// Submits jobs and sees its own
    User,
    /// Does everything
    Admin,
    /// Runs jobs
    Worker,
    /// Answers hooks
    Plugin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::User => Self::User,
            RoleName::Admin => Self::Admin,
            RoleName::Worker => Self::Worker,
            RoleName::Plugin => Self::Plugin,
        }
    }
}

fn status(text: &str) -> Result<Status, String> {
    serde_json::from_value(serde_json::Value::String(text.to_lowercase()))
        .map_err(|_| "expected pending, running, completed, failed or cancelled".to_owned())
}
