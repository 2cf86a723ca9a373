//! Process trees: a job is over when nothing of it runs any more.
//!
//! The agent is a child subreaper, so once a job's leader has died, whatever is left of its tree
//! is a child of ours, or below one. [`Tree::extinguish`] kills what belongs to the job until
//! none is left: by control group, process group, session, environment, descent. Even what
//! has changed all of these is found by elimination: it dies when no other job can have
//! started it. The process may run other programs beside its jobs (plugins, in `gangline up`):
//! they are [`Companion`]s, and known by a variable of theirs, so that they are not eliminated.
//!
//! Invariants: no job's process is killed for another's end, no companion for any, and the exit
//! status of a leader or companion is left to whoever waits for it. Not here: when to kill.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::process::Child;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::sleep;

use super::cgroup::{Cgroups, Group};
use super::proc::{self, Environ, Stat};
use crate::protocol::{Attempt, JobId};

/// How long the dead may take to go. Only a process stuck in the kernel needs more than a few
/// milliseconds, and waiting longer would not free it.
const EXTINGUISH_WITHIN: Duration = Duration::from_secs(5);

/// How often a sweep looks again at once because orphans of another job die all the time.
const SWEEP_PASSES: u32 = 16;

/// The leaders of this process. The kernel keeps one list of children a process, and so do we:
/// two agents in one process must not take each other's children for their own.
static LEADERS: Mutex<Leaders> =
    Mutex::new(Leaders { living: BTreeMap::new(), companions: BTreeMap::new(), starting: Vec::new(), since: u64::MAX });

#[derive(Debug)]
struct Leaders {
    /// Those whose trees were not yet put out.
    living: BTreeMap<Pid, Leader>,
    /// What runs beside the jobs, by its variable, with its number while it runs.
    companions: BTreeMap<String, Option<Pid>>,
    /// When those began that are being started, in ticks: their numbers are not known yet.
    starting: Vec<u64>,
    /// When the first of all leaders was started, in ticks: what is older came from no job.
    since: u64,
}

impl Leaders {
    /// Something is being started from now on. Returns since when, for [`Self::started`].
    fn starts(&mut self) -> u64 {
        let now = proc::ticks_now();
        self.starting.push(now);
        now
    }

    /// It was started, or could not be.
    fn started(&mut self, at: u64) {
        if let Some(index) = self.starting.iter().position(|&start| start == at) {
            self.starting.swap_remove(index);
        }
    }

    fn is_companion(&self, pid: Pid) -> bool {
        self.companions.values().any(|&companion| companion == Some(pid))
    }
}

#[derive(Debug)]
struct Leader {
    mark: Mark,
    /// In ticks, not after the leader was started.
    started: u64,
    /// Path of its control group, once it has one: its descendants can be told by that.
    group: Option<String>,
    /// Its exit status was taken; its number may be another's.
    reaped: bool,
}

/// How a job's processes are known by their environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    job: String,
    attempt: String,
}

impl Mark {
    pub(crate) fn new(job: JobId, attempt: Attempt) -> Self {
        Self { job: format!("GANGLINE_JOB_ID={job}"), attempt: format!("GANGLINE_ATTEMPT={attempt}") }
    }

    fn is_in(&self, environ: &[u8]) -> bool {
        has(environ, &self.job) && has(environ, &self.attempt)
    }
}

fn has(environ: &[u8], variable: &str) -> bool {
    environ.split(|&byte| byte == 0).any(|piece| piece == variable.as_bytes())
}

/// Orphans of this process's descendants become its children from now on.
pub(crate) fn adopt_orphans() {
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::warn!(%error, "cannot adopt orphans; what leaves a job's process group may outlive the job");
    }
}

/// Takes the exit status of orphans that died by themselves, so that no zombies pile up, and
/// kills those that no living job can have started: they slipped away from one that is over.
pub(crate) fn reap_strays() {
    let leaders = LEADERS.lock();
    sweep_orphans(&leaders, None);
}

/// The processes of one job.
#[derive(Debug)]
pub(crate) struct Tree {
    leader: Pid,
    started: u64,
    group: Option<Group>,
}

impl Tree {
    /// Starts a leader by `spawn`, which must put it into a process group of its own.
    pub(crate) fn start(mark: Mark, spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<(Child, Self)> {
        // Not locked meanwhile: programs start on every core at once.
        let started = {
            let mut leaders = LEADERS.lock();
            let now = leaders.starts();
            leaders.since = leaders.since.min(now);
            now
        };
        let child = spawn();
        let mut leaders = LEADERS.lock();
        leaders.started(started);
        let child = child?;
        let leader = number(&child)?;
        leaders.living.insert(leader, Leader { mark, started, group: None, reaped: false });
        Ok((child, Self { leader, started, group: None }))
    }

    /// Begins to move the tree into a control group, away from the runtime: the kernel may take
    /// many milliseconds. What comes of it is for [`Self::contained`], and until then the
    /// leader's number must stay its own: it is not to be waited for.
    pub(crate) fn contain(&self, cgroups: &Cgroups) -> JoinHandle<io::Result<Group>> {
        let (leader, cgroups) = (self.leader, cgroups.clone());
        spawn_blocking(move || {
            let group = cgroups.take()?;
            group.add(leader)?;
            // What was started before the leader was moved. A failure means that it is gone.
            for pid in proc::tree(leader) {
                let _ = group.add(pid);
            }
            Ok(group)
        })
    }

    /// Takes what came of [`Self::contain`].
    pub(crate) fn contained(&mut self, moved: Result<io::Result<Group>, JoinError>) {
        match moved.map_err(io::Error::other).and_then(|moved| moved) {
            Ok(group) => {
                self.group = Some(group);
                if let Some(leader) = LEADERS.lock().living.get_mut(&self.leader) {
                    leader.group = proc::cgroup(self.leader);
                }
            }
            Err(error) => tracing::debug!(%error, "cannot move a job into a control group"),
        }
    }

    /// Asks the process group to end. Processes that are stopped are woken, or they would not hear it.
    pub(crate) fn terminate(&self) {
        // Fails only where nothing is left to ask.
        let _ = killpg(self.leader, Signal::SIGTERM);
        let _ = killpg(self.leader, Signal::SIGCONT);
    }

    /// Kills the leader, its group, and its control group. What else there is dies in
    /// [`Self::extinguish`].
    pub(crate) fn kill(&self) {
        let _ = kill(self.leader, Signal::SIGKILL);
        self.kill_groups();
    }

    /// The leader's exit status was taken by waiting for it.
    pub(crate) fn leader_reaped(&self) {
        if let Some(leader) = LEADERS.lock().living.get_mut(&self.leader) {
            leader.reaped = true;
        }
    }

    /// Kills what is left of the tree until nothing is. To be called once the leader is reaped.
    pub(crate) async fn extinguish(self) {
        let deadline = tokio::time::Instant::now() + EXTINGUISH_WITHIN;
        let mut wait = Duration::from_micros(200);
        while self.sweep() > 0 {
            if tokio::time::Instant::now() > deadline {
                tracing::warn!(leader = %self.leader, "processes of a job cannot be killed");
                return;
            }
            sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(20));
        }
    }

    /// Kills what is left, and says how much that was.
    fn sweep(&self) -> usize {
        let leaders = LEADERS.lock();
        self.kill_groups() + sweep_orphans(&leaders, Some(self.leader))
    }

    fn kill_groups(&self) -> usize {
        let group = killpg(self.leader, Signal::SIGKILL).is_ok();
        let contained = self.group.as_ref().is_some_and(|group| {
            let lives = !group.is_empty();
            if lives {
                group.kill();
            }
            lives
        });
        usize::from(group) + usize::from(contained)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let mut leaders = LEADERS.lock();
        // The number may be another's by now, once this leader was reaped.
        if leaders.living.get(&self.leader).is_some_and(|leader| leader.started == self.started) {
            leaders.living.remove(&self.leader);
        }
    }
}

/// A child that was not waited for has a number, which fits.
fn number(child: &Child) -> io::Result<Pid> {
    Ok(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?)
}

/// A program that this process runs beside its jobs, and starts again as often as it likes. Until this is dropped, neither
/// the program, nor what else is in its process group or has its variable, is taken for something that a job left behind.
#[derive(Debug)]
pub(crate) struct Companion {
    variable: String,
}

impl Companion {
    /// Known by this variable, `NAME=value`, which it must have in its environment, and no job has.
    pub(crate) fn new(variable: String) -> Self {
        LEADERS.lock().companions.insert(variable.clone(), None);
        Self { variable }
    }

    /// Starts it by `spawn`, which must put it into a process group of its own. It must have ended before, if it ran.
    ///
    /// # Errors
    /// Those of `spawn`.
    pub(crate) fn start(&self, spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<Child> {
        let started = LEADERS.lock().starts();
        let child = spawn();
        let mut leaders = LEADERS.lock();
        leaders.started(started);
        let child = child?;
        leaders.companions.insert(self.variable.clone(), Some(number(&child)?));
        Ok(child)
    }

    /// Its exit status was taken: its number may be another's.
    pub(crate) fn reaped(&self) {
        LEADERS.lock().companions.insert(self.variable.clone(), None);
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        LEADERS.lock().companions.remove(&self.variable);
    }
}

/// Goes through the adopted children: reaps the dead, kills those of the job of leader `job`,
/// which has ended, or of jobs that ended before. Says how many were killed, or could not be
/// told yet from leaders that are being started, or whose they are.
fn sweep_orphans(leaders: &Leaders, job: Option<Pid>) -> usize {
    for _ in 0..SWEEP_PASSES {
        let (left, reaped) = look_at_orphans(leaders, job);
        if left > 0 || !reaped {
            return left;
        }
    }
    1
}

/// One pass of [`sweep_orphans`], and whether it reaped any: what those left behind may have come to us after the list of
/// children was read.
fn look_at_orphans(leaders: &Leaders, job: Option<Pid>) -> (usize, bool) {
    let mut reaped = false;
    let mut left = 0;
    let settled_before = leaders.starting.iter().min().copied().unwrap_or(u64::MAX);
    for child in proc::adopted() {
        if leaders.living.get(&child).is_some_and(|leader| !leader.reaped) || leaders.is_companion(child) {
            continue;
        }
        if settled_before < u64::MAX && proc::stat(child).is_some_and(|stat| stat.started >= settled_before) {
            left += 1;
            continue;
        }
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => (),
            Ok(_) => {
                reaped = true;
                continue;
            }
            // None of ours any more.
            Err(Errno::ECHILD) => continue,
            Err(error) => {
                tracing::debug!(%error, %child, "cannot look after an orphan");
                continue;
            }
        }
        let Some(stat) = proc::stat(child) else { continue };
        match owner(leaders, child, stat, job) {
            Owner::Ended => {
                for pid in proc::tree(child) {
                    let _ = kill(pid, Signal::SIGKILL);
                }
                left += 1;
            }
            Owner::Unknown => left += 1,
            Owner::Other => (),
        }
    }
    (left, reaped)
}

#[derive(Debug, PartialEq, Eq)]
enum Owner {
    /// The job that has ended, or one before.
    Ended,
    /// A job that still runs, or none at all: a companion, or what is older than any job.
    Other,
    /// It runs another program in its own place at this moment, or has just ended: not to be told from what has shed its
    /// variables.
    Unknown,
}

/// Whose the orphan `pid` is, seen at the end of the job of leader `ended`, or between ends.
fn owner(leaders: &Leaders, pid: Pid, stat: Stat, ended: Option<Pid>) -> Owner {
    let who = |leader: Pid| if Some(leader) == ended { Owner::Ended } else { Owner::Other };
    if let Some(leader) = [stat.group, stat.session].into_iter().find(|leader| leaders.living.contains_key(leader)) {
        return who(leader);
    }
    if [stat.group, stat.session].into_iter().any(|leader| leaders.is_companion(leader)) {
        return Owner::Other;
    }
    let environ = match proc::environ(pid) {
        Environ::Known(environ) => environ,
        Environ::Unsettled | Environ::Gone => return Owner::Unknown,
    };
    if let Some((&leader, _)) = leaders.living.iter().find(|(_, leader)| leader.mark.is_in(&environ)) {
        return who(leader);
    }
    if leaders.companions.keys().any(|variable| has(&environ, variable)) {
        return Owner::Other;
    }
    // It has shed every mark. A contained job would hold it by its group, and a job cannot have
    // started what is older than itself.
    let could = |leader: &Leader| leader.started <= stat.started && leader.group.is_none();
    let others = || leaders.living.iter().filter(|(leader, _)| Some(**leader) != ended).map(|(_, leader)| leader);
    let of_another = others().any(could) || is_contained(pid, others().filter_map(|leader| leader.group.as_deref()));
    let since = ended.map_or(Some(leaders.since), |ended| leaders.living.get(&ended).map(|leader| leader.started));
    let of_ended = since.is_some_and(|since| since <= stat.started);
    if of_ended && !of_another { Owner::Ended } else { Owner::Other }
}

/// Whether `pid` sits in one of `groups`, or below; not looked up where there are none.
fn is_contained<'a>(pid: Pid, groups: impl Iterator<Item = &'a str>) -> bool {
    let mut groups = groups.peekable();
    groups.peek().is_some()
        && proc::cgroup(pid).is_some_and(|path| {
            groups.any(|group| path.strip_prefix(group).is_some_and(|below| below.is_empty() || below.starts_with('/')))
        })
}
