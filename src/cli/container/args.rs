//! The grammar of `container`.

use clap::{Args, Subcommand};

use super::super::args::LogPart;
use crate::config::{Pair, Size, Span};
use crate::protocol::container::{ContainerStatus, Mount, Port, Restart};
use crate::protocol::{ContainerRef, WorkerId};

/// A container is named by its id, its number or the name it was given.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ContainerCommand {
    /// Create and start a container, and print its id
    Create(CreateArgs),
    /// List containers
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show all that is known of a container
    Show {
        #[command(flatten)]
        one: One,
    },
    /// Start containers that do not run
    Start {
        #[command(flatten)]
        several: Several,
    },
    /// Stop containers: SIGTERM, then SIGKILL
    Stop {
        #[command(flatten)]
        several: Several,
        #[command(flatten)]
        grace: Grace,
    },
    /// Stop containers and start them again
    Restart {
        #[command(flatten)]
        several: Several,
        #[command(flatten)]
        grace: Grace,
    },
    /// End containers with SIGKILL
    Kill {
        #[command(flatten)]
        several: Several,
    },
    /// Remove containers with their data; one that runs is killed first
    #[command(visible_alias = "remove")]
    Rm {
        #[command(flatten)]
        several: Several,
        /// Taken because fingers type it: containers that run are removed without it, too
        #[arg(long, short)]
        force: bool,
    },
    /// Print a container's console
    Logs {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        part: LogPart,
    },
    /// Attach to a container's console
    Attach(AttachArgs),
    /// Show what containers use, once a second
    Stats(StatsArgs),
    /// Run a program inside a container, as if it ran here
    Exec(Box<ExecArgs>),
}

/// One container.
#[derive(Debug, Args)]
pub(in crate::cli) struct One {
    /// The container
    pub(super) container: ContainerRef,
}

/// One container or more.
#[derive(Debug, Args)]
pub(in crate::cli) struct Several {
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    pub(super) containers: Vec<ContainerRef>,
}

/// How long a container has to end by itself.
#[derive(Debug, Args)]
pub(in crate::cli) struct Grace {
    /// Time between SIGTERM and SIGKILL [default: the container's own]
    #[arg(long, value_name = "TIME")]
    pub(super) grace: Option<Span>,
}

/// Creates and starts a container, and prints its id on stdout once it runs; how its ports are reached is said on stderr.
///
/// Without CMD the image's own program runs. One CMD word is a shell script, several are a program and its arguments.
/// What is in /data and in mounted volumes outlives restarts and goes with the container.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct CreateArgs {
    /// The image; it is pulled where it is not there yet
    pub(super) image: String,
    /// Instead of the image's own program
    #[arg(value_name = "CMD", trailing_var_arg = true)]
    pub(super) command: Vec<String>,

    /// A name, unique among your containers
    #[arg(long)]
    pub(super) name: Option<String>,
    /// A port to make reachable, at a free port of the worker unless HOST is given; may be repeated
    #[arg(long = "port", short = 'p', value_name = "[HOST:]PORT[/udp]")]
    pub(super) ports: Vec<Port>,
    /// Set a variable; without =VALUE it is taken from here; may be repeated
    #[arg(long = "env", short = 'e', value_name = "KEY[=VALUE]")]
    pub(super) env: Vec<String>,
    /// Most processors, such as 0.5 [default: no limit]
    #[arg(long, value_name = "N", value_parser = processors)]
    pub(super) cpus: Option<f64>,
    /// Most memory [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(super) memory: Option<Size>,
    /// GPUs
    #[arg(long, value_name = "N")]
    pub(super) gpus: Option<u32>,
    /// A volume, and where the container sees it; may be repeated
    #[arg(long = "mount", value_name = "VOLUME:PATH[:ro]", value_parser = mount)]
    pub(super) mounts: Vec<Mount>,
    /// Give it a terminal
    #[arg(long, short)]
    pub(super) tty: bool,
    /// When it is started again by itself: no, on-failure, always or unless-stopped
    #[arg(long, value_name = "WHEN", default_value = "no", hide_default_value = true, value_parser = restart)]
    pub(super) restart: Restart,
    /// Time between SIGTERM and SIGKILL when it is stopped [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub(super) grace: Option<Span>,
    /// A label that the worker must carry; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(super) labels: Vec<Pair>,
    /// This worker and no other
    #[arg(long, value_name = "ID")]
    pub(super) worker: Option<WorkerId>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// Only containers that are creating, running, stopped or failed
    #[arg(long, value_name = "STATUS", value_parser = status)]
    pub(super) status: Option<ContainerStatus>,
    /// Only containers on this worker
    #[arg(long, value_name = "ID")]
    pub(super) worker: Option<WorkerId>,
}

/// Shows a container's console from now on, after the last lines that are there, and sends it what is typed here.
///
/// Where the container has a terminal, keys and window size go to it, and Ctrl-P Ctrl-Q leaves it running. Otherwise
/// Ctrl-C leaves it running. A lost connection comes back by itself and goes on where it stopped.
///
/// Exit status: 0 after Ctrl-P Ctrl-Q; the container's own once it ends, 128+N where signal N ended it, 130 where it
/// was stopped, 125 where it was removed or lost; 130 after a Ctrl-C; 75 the connection is lost for good. Where there
/// is nothing to attach to, or no dispatcher, it is 1, at once.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct AttachArgs {
    /// The container
    pub(super) container: ContainerRef,
    /// Send it nothing of what is typed or piped in here
    #[arg(long)]
    pub(super) no_stdin: bool,
    /// How long a lost connection may take to come back before 75
    #[arg(long, env = "GANGLINE_RECONNECT_TIMEOUT", value_name = "TIME", default_value = "60s")]
    pub(super) reconnect_timeout: Span,
}

/// Shows what containers use, once a second: those that are named, until the last of them is removed; without names
/// whatever runs, as it comes and goes, until Ctrl-C.
///
/// One that does not run has no figures. A lost connection comes back by itself.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct StatsArgs {
    /// The containers [default: all that run]
    #[arg(value_name = "CONTAINER")]
    pub(super) containers: Vec<ContainerRef>,
    /// How long a lost connection may take to come back before 1
    #[arg(long, env = "GANGLINE_RECONNECT_TIMEOUT", value_name = "TIME", default_value = "60s")]
    pub(super) reconnect_timeout: Span,
}

/// Runs a program inside a container that runs, and streams it as `gangline run` does: it is a job like any other, and
/// Ctrl-C cancels it.
///
/// Exit status: the program's own as of `gangline run`, 127 where it is not there, 126 where it cannot be run. Where
/// nothing was started, because there is no such container, it does not run, or no dispatcher is there, it is 1, at
/// once.
///
/// One CMD word is a shell script, run by the container's /bin/sh; several are a program and its arguments.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct ExecArgs {
    /// The container
    pub(super) container: ContainerRef,
    /// One word: a shell script. Several: a program and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub(super) command: Vec<String>,
    /// Keep the program's standard input open and feed it from here
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Give the program a terminal; keys and window size go to it
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Set a variable; without =VALUE it is taken from here; may be repeated
    #[arg(long = "env", short = 'e', value_name = "KEY[=VALUE]")]
    pub(super) env: Vec<String>,
    /// Working directory inside the container [default: the image's own]
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<String>,
    /// Limit of the run
    #[arg(long, value_name = "TIME")]
    pub(super) timeout: Option<Span>,
    /// How long a lost connection may take to come back before 75
    #[arg(long, env = "GANGLINE_RECONNECT_TIMEOUT", value_name = "TIME", default_value = "60s")]
    pub(super) reconnect_timeout: Span,
}

fn mount(text: &str) -> Result<Mount, String> {
    let (text, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    match text.split_once(':') {
        Some((volume, path)) if !volume.is_empty() && path.starts_with('/') => {
            Ok(Mount { volume: volume.to_owned(), path: path.to_owned(), read_only })
        }
        Some(_) | None => Err("expected VOLUME:PATH or VOLUME:PATH:ro, with an absolute PATH".to_owned()),
    }
}

/// Of processors thousandths are counted, and none of them would mean no limit.
fn processors(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number >= 0.001 => Ok(number),
        Ok(_) | Err(_) => Err("expected a number of processors, 0.001 or more".to_owned()),
    }
}

/// The same of memory.
fn memory(text: &str) -> Result<Size, String> {
    match text.parse::<Size>() {
        Ok(Size(0)) => Err("expected a size of more than 0".to_owned()),
        Ok(size) => Ok(size),
        Err(error) => Err(error.to_string()),
    }
}

fn restart(text: &str) -> Result<Restart, String> {
    word(text).ok_or_else(|| "expected no, on-failure, always or unless-stopped".to_owned())
}

fn status(text: &str) -> Result<ContainerStatus, String> {
    word(&text.to_lowercase()).ok_or_else(|| "expected creating, running, stopped or failed".to_owned())
}

/// A value of an enum as the wire spells it.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(text.into()).ok()
}
