//! Starts programs and ends them: as plain processes, or under a pseudo-terminal. What runs in a container is started by
//! the engine, and looked after in the same words.
//!
//! Guards: a program runs in a process group of its own, sees none of the agent's secrets, and
//! leaves nothing running behind. Spawned without `pre_exec`, which would cost a third of the
//! rate, so without `unsafe`. Not here: when to stop a program, and what its output means.

pub(crate) mod cgroup;
mod pipes;
pub(crate) mod proc;
pub(crate) mod tree;

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;

pub(crate) use pipes::{Input, Output};
use tree::{Mark, Tree};

use super::engine::container::{Contained, Streams};
use super::engine::exit;
use crate::model::Program;

/// What programs of a terminal's age expect, where the job does not say otherwise.
const DEFAULT_TERM: &str = "xterm-256color";

/// What to start.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) program: &'a Program,
    /// Set beside what the agent itself was started with.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Where to run; exists.
    pub(crate) dir: &'a Path,
    /// Whether standard input stays open; always so on a terminal.
    pub(crate) stdin: bool,
    /// Columns and rows of its terminal.
    pub(crate) tty: Option<(u16, u16)>,
    pub(crate) mark: Mark,
}

/// A program that was started.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) leader: Leader,
    pub(crate) stdin: Option<Input>,
    pub(crate) stdout: Option<Output>,
    /// None on a terminal, where both streams are one.
    pub(crate) stderr: Option<Output>,
}

/// The program itself, and what it starts.
#[derive(Debug)]
pub(crate) enum Leader {
    /// A process of this machine.
    Process { child: Child, tree: Tree },
    /// Processes that the container engine looks after.
    Container(Contained),
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum Exit {
    /// In the kernel's words, where they could be had.
    Process(io::Result<ExitStatus>),
    /// In the engine's.
    Container(exit::Exit),
}

impl Leader {
    /// Waits until the program itself has ended, or (none) until it may be busy no more. Dropping it half-way is harmless.
    pub(crate) async fn wait(&mut self) -> Option<Exit> {
        match self {
            Self::Process { child, tree } => {
                let status = child.wait().await;
                tree.leader_reaped();
                Some(Exit::Process(status))
            }
            Self::Container(container) => container.wait().await.map(Exit::Container),
        }
    }

    /// Asks the program to end.
    pub(crate) fn terminate(&mut self) {
        match self {
            Self::Process { tree, .. } => tree.terminate(),
            Self::Container(container) => container.terminate(),
        }
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Process { tree, .. } => tree.kill(),
            Self::Container(container) => container.kill(),
        }
    }

    /// Whether it is still being told something that comes before the next input.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Self::Process { .. } => false,
            Self::Container(container) => container.is_busy(),
        }
    }

    /// Changes the size of its terminal, where that is not for its input to do.
    pub(crate) fn resize(&mut self, cols: u16, rows: u16) {
        match self {
            Self::Process { .. } => (),
            Self::Container(container) => container.resize(cols, rows),
        }
    }

    /// Sees to it that nothing of it is left. To be called once it has ended.
    pub(crate) async fn extinguish(self) {
        match self {
            Self::Process { tree, .. } => tree.extinguish().await,
            Self::Container(container) => container.extinguish().await,
        }
    }

    /// Whether it goes on where nobody watches over it, and is to be left alone then.
    pub(crate) fn goes_on_alone(&self) -> bool {
        match self {
            Self::Process { .. } => false,
            Self::Container(container) => container.goes_on_alone(),
        }
    }

    /// Its process tree, where it has one that needs a fence.
    pub(crate) fn tree(&mut self) -> Option<&mut Tree> {
        match self {
            Self::Process { tree, .. } => Some(tree),
            Self::Container(_) => None,
        }
    }
}

/// What runs in a container is looked after like any program.
impl From<(Contained, Streams)> for Process {
    fn from((container, streams): (Contained, Streams)) -> Self {
        let Streams { stdin, stdout, stderr, .. } = streams;
        let tty = stderr.is_none();
        Self {
            leader: Leader::Container(container),
            stdin: stdin.map(|writer| Input::Container { writer, tty }),
            stdout: Some(Output::Container(stdout)),
            stderr: stderr.map(Output::Container),
        }
    }
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {program:?}: {source}")]
pub(crate) struct StartError {
    program: String,
    source: io::Error,
}

impl StartError {
    /// What a shell would exit with: 127 not found, 126 not executable, else nothing to say.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        match self.source.kind() {
            io::ErrorKind::NotFound => Some(127),
            io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory | io::ErrorKind::ArgumentListTooLong => {
                Some(126)
            }
            _ if self.source.raw_os_error() == Some(nix::errno::Errno::ENOEXEC as i32) => Some(126),
            _ => None,
        }
    }
}

/// Variables of the agent's own environment that jobs do not see: they configure the agent, and
/// some are secrets.
pub(crate) fn hidden_variables() -> Vec<OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| name.as_encoded_bytes().starts_with(b"GANGLINE_")).collect()
}

/// Where jobs look for programs: as the agent does, and at last beside its own binary, where the programs lie that come
/// with it. None: there is nothing to add.
pub(crate) fn search_path() -> Option<OsString> {
    let path = std::env::var_os("PATH")?;
    let own = std::env::current_exe().ok()?.parent()?.to_owned();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if dirs.contains(&own) {
        return None;
    }
    dirs.push(own);
    // Fails where the directory has a colon in its name, which no path can hold.
    std::env::join_paths(dirs).ok()
}

/// Starts a program, away from the runtime: a thread that starts one waits until it runs.
///
/// # Errors
/// Nothing runs.
pub(crate) async fn start(plan: Plan<'_>, hidden: &[OsString]) -> Result<Process, StartError> {
    let Plan { program, env, dir, stdin, tty, mark } = plan;
    let (name, mut command) = match program {
        Program::Shell(script) => {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(script);
            ("/bin/sh".to_owned(), command)
        }
        Program::Args(args) => {
            let name = args.first().cloned().unwrap_or_default();
            let mut command = Command::new(&name);
            command.args(args.get(1..).unwrap_or_default());
            (name, command)
        }
        Program::Image => {
            let source = io::Error::new(io::ErrorKind::Unsupported, "only an image has a program of its own");
            return Err(StartError { program: String::new(), source });
        }
    };
    for variable in hidden {
        command.env_remove(variable);
    }
    command.current_dir(dir).kill_on_drop(true);
    let started = spawn_blocking(move || match tty {
        None => {
            command.envs(env).process_group(0);
            let stdin = if stdin { Stdio::piped() } else { Stdio::null() };
            start_piped(command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()), mark)
        }
        Some(size) => {
            command.env("TERM", DEFAULT_TERM).envs(env);
            start_on_terminal(command, size, mark)
        }
    });
    let started = started.await.map_err(io::Error::other).and_then(|started| started);
    started.map_err(|source| StartError { program: name, source })
}

fn start_piped(command: &mut Command, mark: Mark) -> io::Result<Process> {
    let (mut child, tree) = Tree::start(mark, || command.spawn())?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    Ok(Process {
        leader: Leader::Process { child, tree },
        stdin: stdin.map(Input::Pipe),
        stdout: stdout.map(Output::Stdout),
        stderr: stderr.map(Output::Stderr),
    })
}

fn start_on_terminal(command: Command, (cols, rows): (u16, u16), mark: Mark) -> io::Result<Process> {
    let (terminal, slave) = pty_process::open().map_err(io::Error::other)?;
    terminal.resize(pty_process::Size::new(rows, cols)).map_err(io::Error::other)?;
    let fd = terminal.as_fd().try_clone_to_owned()?;
    let (reader, writer) = terminal.into_split();
    // The child becomes the leader of a session, and with it of a process group.
    let (child, tree) = Tree::start(mark, || {
        pty_process::Command::from(command).spawn(slave).map_err(|error| match error {
            pty_process::Error::Io(error) => error,
            other => io::Error::other(other),
        })
    })?;
    Ok(Process {
        leader: Leader::Process { child, tree },
        stdin: Some(Input::Terminal(writer)),
        stdout: Some(Output::Terminal { reader, fd }),
        stderr: None,
    })
}

#[cfg(test)]
mod tests;
