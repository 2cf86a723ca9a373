//! Runs one job: workspace, program, output, input, end.
//!
//! One task per job, one loop over its program. It ends the program when asked, when its time
//! is up, or when the agent is cut; whatever happens, nothing of it runs on afterwards, every
//! byte that it had written is told, and the last thing told is the end.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep_until};

use super::agent::Agent;
use super::chunker::Chunker;
use super::executor::tree::Mark;
use super::executor::{self, Input, Leader, Output, Plan, Process};
use super::held::{Control, Ending, Held, Stop, Why};
use super::workspace::{Workspace, artifacts};
use crate::model::JobSpec;
use crate::protocol::StreamName;
use crate::protocol::job::Reason;

/// Age at which a program is moved into a control group: most of those that are over before
/// leave nothing behind, and moving costs a fifth of starting.
const CONTAIN_AFTER: Duration = Duration::from_millis(3);

/// Longer than any program runs.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A job's own spec, and what the dispatcher gave it.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) spec: JobSpec,
    pub(crate) gpu_ids: Vec<u32>,
}

/// Runs `held` to its end.
pub(crate) async fn run(agent: Arc<Agent>, held: Arc<Held>, assignment: Assignment) {
    let ending = match agent.workspaces.take() {
        Ok(workspace) => {
            let run = Run { agent: &agent, held: &held, assignment: &assignment, workspace: &workspace };
            let ending = run.attempt().await;
            agent.workspaces.give_back(workspace).await;
            ending
        }
        Err(error) => spawn_error(None, format!("cannot make a workspace: {error}")),
    };
    held.end(&agent.outbox, ending, agent.now());
    agent.job_over(&held);
}

struct Run<'a> {
    agent: &'a Agent,
    held: &'a Arc<Held>,
    assignment: &'a Assignment,
    workspace: &'a Workspace,
}

impl Run<'_> {
    async fn attempt(&self) -> Ending {
        let spec = &self.assignment.spec;
        let overdue = Instant::now() + spec.timeout_ms.map_or(FOREVER, Duration::from_millis);
        let prepared = tokio::select! {
            prepared = self.workspace.prepare(spec, &self.agent.transfer, self.agent.sizes) => prepared,
            ended = self.stopped_before_start(overdue) => return ended,
        };
        let dir = match prepared {
            Ok(dir) => dir,
            Err(error) => return spawn_error(None, error.to_string()),
        };
        let plan = Plan {
            program: &spec.program,
            env: self.environment(),
            dir: &dir,
            stdin: spec.stdin,
            tty: spec.tty,
            mark: Mark::new(self.held.key.0, self.held.key.1),
        };
        let Process { leader, stdin, stdout, stderr } = match executor::start(plan, &self.agent.hidden) {
            Ok(process) => process,
            Err(error) => return spawn_error(error.exit_code(), error.to_string()),
        };
        let mut ending = Supervisor {
            agent: self.agent,
            held: self.held,
            stdout: stdout.map(|from| Pump::new(StreamName::Stdout, from)),
            stderr: stderr.map(|from| Pump::new(StreamName::Stderr, from)),
            stdin,
            writing: Vec::new(),
            stopping: None,
        }
        .supervise(leader, overdue)
        .await;
        if !spec.artifacts.is_empty() {
            let problems = tokio::select! {
                problems = self.keep_artifacts() => problems,
                () = self.unwanted() => vec!["the upload of artifacts was broken off".to_owned()],
            };
            add_to_message(&mut ending, problems);
        }
        ending
    }

    /// Resolves when the job is stopped, or out of time, before its program was started.
    async fn stopped_before_start(&self, overdue: Instant) -> Ending {
        loop {
            tokio::select! {
                () = self.held.wake.notified() => (),
                () = sleep_until(overdue) => {
                    let message = Some("the workspace was not ready in time".to_owned());
                    return Ending { exit_code: None, reason: Reason::Timeout, message };
                }
            }
            if let Some(Stop { why, .. }) = self.held.control(|control| control.stop) {
                return stopped(why, None);
            }
        }
    }

    /// Resolves when nobody waits for the end of this job any more, or someone asked it to end
    /// while it was ending.
    async fn unwanted(&self) {
        let before = self.held.control(|control| control.stop);
        loop {
            self.held.wake.notified().await;
            if self.held.control(|control| control.stop) != before {
                return;
            }
        }
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let (job, attempt) = self.held.key;
        let mut env: Vec<(OsString, OsString)> =
            self.assignment.spec.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let gpus = &self.assignment.gpu_ids;
        if self.agent.has_gpus || !gpus.is_empty() {
            let gpus: Vec<String> = gpus.iter().map(u32::to_string).collect();
            env.push(("CUDA_VISIBLE_DEVICES".into(), gpus.join(",").into()));
        }
        env.push(("GANGLINE_JOB_ID".into(), job.to_string().into()));
        env.push(("GANGLINE_ATTEMPT".into(), attempt.to_string().into()));
        env.push(("GANGLINE_WORKER_ID".into(), self.agent.id.as_str().into()));
        env.push(("GANGLINE_WORKSPACE".into(), self.workspace.path().into()));
        env
    }

    /// Uploads what the job wants kept; returns what went wrong.
    async fn keep_artifacts(&self) -> Vec<String> {
        let (root, patterns) = (self.workspace.path().to_owned(), self.assignment.spec.artifacts.clone());
        let (files, mut problems) =
            match tokio::task::spawn_blocking(move || artifacts::collect(&root, &patterns)).await {
                Ok(found) => found,
                Err(error) => return vec![error.to_string()],
            };
        let (job, attempt) = self.held.key;
        for file in files {
            if let Err(error) = self.agent.transfer.upload(job, attempt, &file.name, &file.path).await {
                problems.push(format!("artifact {}: {error}", file.name));
            }
        }
        problems
    }
}

/// Watches over a program that runs.
struct Supervisor<'a> {
    agent: &'a Agent,
    held: &'a Arc<Held>,
    stdout: Option<Pump>,
    stderr: Option<Pump>,
    stdin: Option<Input>,
    /// Input that is being written.
    writing: Vec<u8>,
    stopping: Option<Stopping>,
}

/// The program was asked to end.
#[derive(Debug, Clone, Copy)]
struct Stopping {
    reason: StopReason,
    kill_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopReason {
    Asked(Why),
    Overdue,
}

impl Supervisor<'_> {
    async fn supervise(mut self, mut leader: Leader, overdue: Instant) -> Ending {
        let mut contain_at = self.agent.cgroups.is_some().then(|| Instant::now() + CONTAIN_AFTER);
        let next = |contain_at: Option<Instant>, stopping: Option<Stopping>| {
            let end = stopping.map_or(overdue, |stopping| stopping.kill_at);
            contain_at.map_or(end, |at| at.min(end))
        };
        let timer = sleep_until(next(contain_at, None));
        tokio::pin!(timer);
        self.obey(&leader);
        let status = loop {
            let stdout_budget = self.budget(self.stdout.as_ref());
            let stderr_budget = self.budget(self.stderr.as_ref());
            tokio::select! {
                status = leader.wait() => break status,
                read = read(&mut self.stdout, stdout_budget), if stdout_budget > 0 => {
                    let pump = self.stdout.take();
                    self.stdout = self.pass_on(pump, read);
                }
                read = read(&mut self.stderr, stderr_budget), if stderr_budget > 0 => {
                    let pump = self.stderr.take();
                    self.stderr = self.pass_on(pump, read);
                }
                written = write(&mut self.stdin, &self.writing), if !self.writing.is_empty() => self.wrote(written.ok()),
                () = self.held.wake.notified() => self.obey(&leader),
                () = &mut timer => {
                    let now = Instant::now();
                    if let (Some(at), Some(cgroups)) = (contain_at, &self.agent.cgroups)
                        && at <= now
                    {
                        contain_at = None;
                        leader.tree.contain(cgroups);
                    }
                    match self.stopping {
                        Some(Stopping { kill_at, .. }) if kill_at <= now => leader.tree.kill(),
                        None if overdue <= now => self.stop(&leader, StopReason::Overdue, self.held.grace),
                        Some(_) | None => (),
                    }
                }
            }
            let due = match self.stopping {
                // Killed, and soon gone.
                Some(Stopping { kill_at, .. }) if kill_at <= Instant::now() => Instant::now() + FOREVER,
                stopping => next(contain_at, stopping),
            };
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
        };
        leader.tree.extinguish().await;
        let stopping = self.stopping;
        let overflowed = self.held.control(|control| control.overflowed);
        self.drain().await;
        let mut ending = match status {
            Ok(status) => ended(status, stopping.map(|stopping| stopping.reason)),
            Err(error) => spawn_error(None, format!("its exit status was lost: {error}")),
        };
        if overflowed {
            add_to_message(&mut ending, vec!["its input was cut off: more came than it read".to_owned()]);
        }
        ending
    }

    /// Does what was asked since the last time.
    fn obey(&mut self, leader: &Leader) {
        let (stop, size) = self.held.control(|control| (control.stop, control.size.take()));
        if let (Some((cols, rows)), Some(stdin)) = (size, &self.stdin) {
            stdin.resize(cols, rows);
        }
        self.next_input();
        if let Some(Stop { why, grace }) = stop {
            self.stop(leader, StopReason::Asked(why), grace);
        }
    }

    fn stop(&mut self, leader: &Leader, reason: StopReason, grace: Duration) {
        let kill_at = Instant::now() + grace.min(FOREVER);
        match &mut self.stopping {
            Some(before) => {
                before.kill_at = before.kill_at.min(kill_at);
                if reason == StopReason::Asked(Why::Forgotten) {
                    before.reason = reason;
                }
            }
            none => {
                *none = Some(Stopping { reason, kill_at });
                leader.tree.terminate();
            }
        }
        if grace.is_zero() {
            leader.tree.kill();
        }
    }

    /// Bytes that may be read into `pump` now; 0 where it has ended.
    fn budget(&self, pump: Option<&Pump>) -> usize {
        pump.map_or(0, |pump| self.held.budget(pump.chunker.held()))
    }

    /// Passes on what `pump` has read; gives it back unless it has ended.
    fn pass_on(&self, pump: Option<Pump>, read: std::io::Result<usize>) -> Option<Pump> {
        let mut pump = pump?;
        match read {
            Ok(bytes) if bytes > 0 => {
                pump.pass_on(self.agent, self.held, bytes);
                Some(pump)
            }
            ended => {
                if let Err(error) = ended {
                    tracing::debug!(%error, job = %self.held.key.0, "cannot read output");
                }
                pump.finish(self.agent, self.held);
                None
            }
        }
    }

    /// After the end: passes on what is still in the pipes. The window holds here, too.
    async fn drain(&mut self) {
        for mut pump in [self.stdout.take(), self.stderr.take()].into_iter().flatten() {
            loop {
                let budget = self.held.budget(pump.chunker.held());
                if budget == 0 {
                    if self.held.is_forgotten() {
                        return;
                    }
                    self.held.wake.notified().await;
                    continue;
                }
                match pump.from.read_now(pump.chunker.buffer(), budget) {
                    Ok(bytes) if bytes > 0 => pump.pass_on(self.agent, self.held, bytes),
                    Ok(_) | Err(_) => break,
                }
            }
            pump.finish(self.agent, self.held);
        }
    }

    fn next_input(&mut self) {
        while self.writing.is_empty()
            && let Some(piece) = self.held.control(Control::next_input)
        {
            match (&self.stdin, piece.is_empty()) {
                (Some(stdin), true) => match stdin.eof() {
                    Some(byte) => self.writing = vec![byte],
                    None => self.stdin = None,
                },
                (Some(_), false) => self.writing = piece,
                // Nobody reads it.
                (None, _) => (),
            }
        }
    }

    fn wrote(&mut self, written: Option<usize>) {
        match written {
            Some(bytes) => {
                self.writing.drain(..bytes);
            }
            // The program has closed its input: what else there is goes nowhere.
            None => {
                self.writing.clear();
                self.stdin = None;
            }
        }
        self.next_input();
    }
}

/// One stream on its way from the program into the log.
#[derive(Debug)]
struct Pump {
    stream: StreamName,
    from: Output,
    chunker: Chunker,
    offset: u64,
    wide: bool,
}

impl Pump {
    fn new(stream: StreamName, from: Output) -> Self {
        Self { stream, from, chunker: Chunker::default(), offset: 0, wide: false }
    }

    /// Passes on `bytes` that were just read.
    fn pass_on(&mut self, agent: &Agent, held: &Arc<Held>, bytes: usize) {
        if !self.wide && bytes >= WIDE_FROM {
            self.wide = true;
            self.from.widen();
        }
        let time = agent.now();
        while let Some(chunk) = self.chunker.next_chunk() {
            held.output(&agent.outbox, self.stream, self.offset, chunk, time);
            self.offset += chunk.len() as u64;
        }
    }

    fn finish(&mut self, agent: &Agent, held: &Arc<Held>) {
        while let Some(chunk) = self.chunker.finish() {
            held.output(&agent.outbox, self.stream, self.offset, chunk, agent.now());
            self.offset += chunk.len() as u64;
        }
    }
}

/// A read of this size means that the program writes faster than we read.
const WIDE_FROM: usize = 32 * 1024;

async fn read(pump: &mut Option<Pump>, most: usize) -> std::io::Result<usize> {
    match pump {
        Some(pump) => pump.from.read(pump.chunker.buffer(), most).await,
        None => std::future::pending().await,
    }
}

async fn write(stdin: &mut Option<Input>, bytes: &[u8]) -> std::io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.write(bytes).await,
        None => std::future::pending().await,
    }
}

fn ended(status: ExitStatus, stopped_for: Option<StopReason>) -> Ending {
    let (exit_code, signal) = match status.signal() {
        Some(signal) => (Some(128 + signal), Some(signal)),
        None => (status.code(), None),
    };
    match stopped_for {
        Some(StopReason::Asked(why)) => stopped(why, exit_code),
        Some(StopReason::Overdue) => Ending {
            exit_code,
            reason: Reason::Timeout,
            message: Some("it ran longer than timeoutSecs allows".to_owned()),
        },
        None => match signal {
            Some(signal) => {
                let name = Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.to_string());
                Ending { exit_code, reason: Reason::Signal, message: Some(format!("ended by signal {name}")) }
            }
            None => Ending { exit_code, reason: Reason::Exit, message: None },
        },
    }
}

fn stopped(why: Why, exit_code: Option<i32>) -> Ending {
    match why {
        Why::Cancelled | Why::Forgotten => Ending { exit_code, reason: Reason::Cancelled, message: None },
        Why::Leaving | Why::Cut => Ending {
            exit_code,
            reason: Reason::Signal,
            message: Some("stopped because its worker is leaving".to_owned()),
        },
    }
}

fn spawn_error(exit_code: Option<i32>, message: String) -> Ending {
    Ending { exit_code, reason: Reason::SpawnError, message: Some(message) }
}

/// Most of a message; what went wrong a thousand times need not be said a thousand times.
const MAX_MESSAGE: usize = 2_000;

fn add_to_message(ending: &mut Ending, problems: Vec<String>) {
    if problems.is_empty() {
        return;
    }
    let mut message = ending.message.iter().cloned().chain(problems).collect::<Vec<_>>().join("; ");
    if message.len() > MAX_MESSAGE {
        let cut = (0..=MAX_MESSAGE).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
        message.truncate(cut);
        message.push('…');
    }
    ending.message = Some(message);
}
