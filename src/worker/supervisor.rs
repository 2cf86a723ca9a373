//! Watches over a program that runs: passes its output on and its input in, and ends it when
//! asked, when its time is up, or when the agent is cut.
//!
//! One loop. The window holds throughout: what may not be sent is not read.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until};

use super::agent::Agent;
use super::chunker::Chunker;
use super::ending::{Ending, StopReason};
use super::engine::exit;
use super::executor::{Exit, Input, Leader, Output, Process};
use super::held::{Control, Held, Stop, Why};
use crate::protocol::StreamName;

/// Age at which a program is moved into a control group. Most of those that are over before
/// leave nothing behind, and while one is moved the kernel starts and ends no other.
const CONTAIN_AFTER: Duration = Duration::from_millis(50);

/// How long the streams of a container that has ended may take to end, too, where nothing holds them up but its engine.
const STREAMS_END_WITHIN: Duration = Duration::from_secs(10);

/// Longer than any program runs.
pub(super) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Why a program is not watched over any more.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It has ended.
    Ended(Ending),
    /// Nobody wants to hear of it here any more. It goes on.
    LetGo,
    /// It goes on, and its streams were cut off.
    Cut,
}

/// Watches over `process` until nothing of it runs and everything it wrote is in the log.
/// `overdue` is when it has had its time.
pub(super) async fn supervise(agent: &Agent, held: &Arc<Held>, process: Process, overdue: Instant) -> Ending {
    match watch(agent, held, process, overdue).await {
        Outcome::Ended(ending) => ending,
        // What goes on is not for those who ask for an end.
        Outcome::LetGo | Outcome::Cut => Ending::stopped(Why::Forgotten, None),
    }
}

/// The same for what may go on where nobody watches over it.
pub(super) async fn watch(agent: &Agent, held: &Arc<Held>, process: Process, overdue: Instant) -> Outcome {
    let Process { leader, stdin, stdout, stderr } = process;
    let written = held.written();
    Supervisor {
        agent,
        held,
        stdout: stdout.map(|from| Pump::new(StreamName::Stdout, from, written.0)),
        stderr: stderr.map(|from| Pump::new(StreamName::Stderr, from, written.1)),
        stdin,
        writing: Vec::new(),
        stopping: None,
        let_go: false,
    }
    .watch(leader, overdue)
    .await
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
    let_go: bool,
}

/// The program was asked to end.
#[derive(Debug, Clone, Copy)]
struct Stopping {
    reason: StopReason,
    /// When to kill it; far off once that was done.
    kill_at: Instant,
}

impl Stopping {
    fn kill(&mut self, leader: &mut Leader) {
        leader.kill();
        self.kill_at = Instant::now() + FOREVER;
    }
}

impl Supervisor<'_> {
    async fn watch(mut self, mut leader: Leader, overdue: Instant) -> Outcome {
        let mut contain_at = self.agent.cgroups.is_some().then(|| Instant::now() + CONTAIN_AFTER);
        let mut containing = None;
        let timer = sleep_until(self.due(contain_at, overdue));
        tokio::pin!(timer);
        self.obey(&mut leader);
        // Once the program has ended: how, and until when its streams may go on.
        let mut exit: Option<(Exit, Instant)> = None;
        let exit = loop {
            if self.let_go {
                return Outcome::LetGo;
            }
            let stdout_budget = self.budget(self.stdout.as_ref());
            let stderr_budget = self.budget(self.stderr.as_ref());
            let may_write = !self.writing.is_empty() && !leader.is_busy();
            tokio::select! {
                ended = leader.wait(), if containing.is_none() && exit.is_none() => {
                    exit = ended.map(|exit| (exit, Instant::now() + STREAMS_END_WITHIN));
                }
                moved = joined(&mut containing) => {
                    containing = None;
                    if let Some(tree) = leader.tree() {
                        tree.contained(moved);
                    }
                }
                read = read(&mut self.stdout, stdout_budget), if stdout_budget > 0 => {
                    let pump = self.stdout.take();
                    self.stdout = self.pass_on(pump, read);
                }
                read = read(&mut self.stderr, stderr_budget), if stderr_budget > 0 => {
                    let pump = self.stderr.take();
                    self.stderr = self.pass_on(pump, read);
                }
                written = write(&mut self.stdin, &self.writing), if may_write => self.wrote(written.ok()),
                () = self.held.wake.notified() => self.obey(&mut leader),
                () = &mut timer => {
                    let now = Instant::now();
                    if let (Some(at), Some(cgroups)) = (contain_at, &self.agent.cgroups)
                        && at <= now
                    {
                        contain_at = None;
                        containing = leader.tree().map(|tree| tree.contain(cgroups));
                    }
                    match &mut self.stopping {
                        Some(stopping) if stopping.kill_at <= now => stopping.kill(&mut leader),
                        None if overdue <= now => self.stop(&mut leader, StopReason::Overdue, self.held.grace),
                        Some(_) | None => (),
                    }
                }
            }
            exit = match exit {
                Some((exit, until)) => match self.streams_end_by(until) {
                    Some(until) => Some((exit, until)),
                    None => break exit,
                },
                None => None,
            };
            let due = exit.as_ref().map_or_else(|| self.due(contain_at, overdue), |(_, until)| *until);
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
        };
        if let Exit::Container(exit::Exit::Cut) = exit {
            return Outcome::Cut;
        }
        leader.extinguish().await;
        let stopping = self.stopping;
        let overflowed = self.held.control(|control| control.overflowed);
        self.drain().await;
        let mut ending = Ending::after(exit, stopping.map(|stopping| stopping.reason));
        if overflowed {
            ending.add(vec!["its input was cut off: more came than it read".to_owned()]);
        }
        Outcome::Ended(ending)
    }

    /// Does what was asked since the last time.
    fn obey(&mut self, leader: &mut Leader) {
        let (stop, size) = self.held.control(|control| (control.stop, control.size.take()));
        if let (Some((cols, rows)), Some(stdin)) = (size, &self.stdin) {
            stdin.resize(cols, rows);
            leader.resize(cols, rows);
        }
        self.next_input();
        if let Some(Stop { why, grace }) = stop {
            if why == Why::Forgotten && leader.goes_on_alone() {
                self.let_go = true;
                return;
            }
            self.stop(leader, StopReason::Asked(why), grace);
        }
    }

    fn stop(&mut self, leader: &mut Leader, reason: StopReason, grace: Duration) {
        let kill_at = Instant::now() + grace.min(FOREVER);
        let stopping = match &mut self.stopping {
            Some(before) => {
                before.kill_at = before.kill_at.min(kill_at);
                if reason == StopReason::Asked(Why::Forgotten) {
                    before.reason = reason;
                }
                before
            }
            none => {
                leader.terminate();
                none.insert(Stopping { reason, kill_at })
            }
        };
        if grace.is_zero() {
            stopping.kill(leader);
        }
    }

    /// When the loop must look at the clock again.
    fn due(&self, contain_at: Option<Instant>, overdue: Instant) -> Instant {
        let end = self.stopping.map_or(overdue, |stopping| stopping.kill_at);
        contain_at.map_or(end, |at| at.min(end))
    }

    /// The program has ended: until when its streams, which should have ended by `until`, may go on; none if they are over.
    fn streams_end_by(&self, until: Instant) -> Option<Instant> {
        let open = || [&self.stdout, &self.stderr].into_iter().flatten().filter(|pump| pump.from.ends_by_itself());
        let now = Instant::now();
        if open().next().is_none() || self.held.is_forgotten() || until <= now {
            return None;
        }
        // Whoever may not read waits for the dispatcher, however long that takes.
        let held_up = open().all(|pump| self.budget(Some(pump)) == 0);
        Some(now + if held_up { FOREVER } else { STREAMS_END_WITHIN })
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
                    tracing::debug!(%error, "cannot read output");
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
    fn new(stream: StreamName, from: Output, offset: u64) -> Self {
        Self { stream, from, chunker: Chunker::default(), offset, wide: false }
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

async fn joined<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

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
