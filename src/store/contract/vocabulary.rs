//! The words that the stories are told in.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::base::clock::Clock;
use crate::model::{AccountName, Entry, EntryKind, Job, JobSpec, Outcome, Program, Requires};
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Attempt, Cursor, JobId, StreamName, WorkerId};
use crate::store::Store;
use crate::store::error::AppendError;
use crate::store::jobs::{Change, Claim, NewJob, QueueLimits};
use crate::store::log::{Appended, AttemptWrite, NewOutput};

/// How long leases last in the stories.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// No limit that a story could meet.
pub(super) const ROOMY: QueueLimits = QueueLimits { total: 1_000, account: 1_000 };

/// An engine under test.
pub(super) struct Subject {
    pub(super) store: Box<dyn Store>,
    pub(super) clock: Clock,
    /// Where it keeps its files; goes after it.
    _dir: Option<TempDir>,
}

impl Subject {
    pub(super) fn new(store: impl Store + 'static, clock: Clock, dir: Option<TempDir>) -> Self {
        Self { store: Box::new(store), clock, _dir: dir }
    }

    pub(super) fn pass(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    pub(super) async fn submit(&self, spec: JobSpec) -> Arc<Job> {
        self.store.submit(new_job("ada", spec), ROOMY).await.unwrap().job
    }

    /// Submits a job that `worker` then has.
    pub(super) async fn running(&self, worker: &str, spec: JobSpec) -> Arc<Job> {
        let id = self.submit(spec).await.id;
        let change = self.claim(worker).await;
        assert_eq!(change.job.id, id, "another job was ahead");
        change.job
    }

    /// Has `worker` take the best job of the plain class.
    pub(super) async fn claim(&self, worker: &str) -> Change {
        let mut changes = self.claim_from(worker, &[Requires::default()], 1).await;
        assert_eq!(changes.len(), 1, "no job waits");
        changes.remove(0)
    }

    pub(super) async fn claim_from(&self, worker: &str, classes: &[Requires], limit: usize) -> Vec<Change> {
        let classes = classes.iter().map(|class| (class.clone(), Vec::new())).collect();
        self.store.claim(Claim { worker: name(worker), classes, limit, lease: LEASE }).await.unwrap()
    }

    pub(super) async fn write(&self, write: AttemptWrite) -> Result<Appended, AppendError> {
        self.store.append(vec![write]).await.unwrap().remove(0)
    }

    /// Writes chunks of standard output, the first one numbered `n`.
    pub(super) async fn say(&self, job: &Job, n: u64, texts: &[&str]) -> Result<Appended, AppendError> {
        self.write(said(job.id, job.attempt, n, texts)).await
    }

    pub(super) async fn end(&self, job: &Job, n: u64, outcome: Outcome) -> Result<Appended, AppendError> {
        self.write(ended(job.id, job.attempt, n, outcome)).await
    }

    /// Submits, claims and ends a job.
    pub(super) async fn finished(&self, account: &str, exit_code: i32) -> Arc<Job> {
        self.store.submit(new_job(account, shell("true")), ROOMY).await.unwrap();
        let job = self.claim("w").await.job;
        self.end(&job, 1, exited(exit_code)).await.unwrap().ended.unwrap()
    }

    pub(super) async fn lose(&self, job: &Job) -> Change {
        self.store.lose(job.id, job.attempt).await.unwrap().unwrap()
    }

    pub(super) async fn job(&self, id: JobId) -> Arc<Job> {
        self.store.job(id.into()).await.unwrap().expect("the job is kept")
    }

    /// The whole log, read in pages of `max_bytes`; what was removed is not in it.
    pub(super) async fn log(&self, id: JobId, max_bytes: usize) -> Vec<Entry> {
        let (mut log, mut after) = (Vec::new(), Cursor::START);
        loop {
            let page = self.store.read(id, after, max_bytes).await.unwrap().expect("the job is kept");
            let Some(last) = page.entries.last() else {
                assert_eq!(page.top, after, "the last page ends at the top");
                return log;
            };
            if page.removed.is_none() {
                assert!(after.precedes(page.entries[0].at), "{after} is not right before {}", page.entries[0].at);
            }
            for pair in page.entries.windows(2) {
                assert!(pair[0].at.precedes(pair[1].at), "{} is not right before {}", pair[0].at, pair[1].at);
            }
            after = last.at;
            log.extend(page.entries);
        }
    }

    /// The log, one word an entry.
    pub(super) async fn story(&self, id: JobId) -> Vec<String> {
        self.log(id, usize::MAX).await.iter().map(word).collect()
    }
}

fn word(entry: &Entry) -> String {
    let at = entry.at;
    match &entry.kind {
        EntryKind::Status { status: Status::Running, worker: Some(worker), .. } => format!("{at} on {worker}"),
        EntryKind::Status { reason, .. } => format!("{at} pending {reason:?}"),
        EntryKind::Output { stream, offset, bytes } => {
            format!("{at} {stream:?}@{offset} {}", String::from_utf8_lossy(bytes))
        }
        EntryKind::End { status, reason, .. } => format!("{at} {status:?} {reason:?}"),
    }
}

pub(super) fn name(worker: &str) -> WorkerId {
    worker.parse().unwrap()
}

pub(super) fn account(name: &str) -> AccountName {
    name.parse().unwrap()
}

pub(super) fn shell(script: &str) -> JobSpec {
    JobSpec::new(Program::Shell(script.to_owned()))
}

pub(super) fn labelled(label: &str) -> Requires {
    Requires { labels: [(label.to_owned(), String::new())].into(), ..Requires::default() }
}

pub(super) fn new_job(owner: &str, spec: JobSpec) -> NewJob {
    NewJob { nonce: 0xabad_1dea, account: account(owner), spec: Arc::new(spec), key: None }
}

pub(super) fn exited(code: i32) -> Outcome {
    Outcome { reason: Reason::Exit, exit_code: Some(code), message: None }
}

pub(super) fn said(job: JobId, attempt: Attempt, n: u64, texts: &[&str]) -> AttemptWrite {
    let chunk = |(n, text): (u64, &&str)| NewOutput {
        n,
        stream: StreamName::Stdout,
        bytes: text.as_bytes().to_vec().into(),
        time: 7,
    };
    AttemptWrite { job, attempt, output: (n..).zip(texts).map(chunk).collect(), end: None }
}

pub(super) fn ended(job: JobId, attempt: Attempt, n: u64, outcome: Outcome) -> AttemptWrite {
    AttemptWrite { job, attempt, output: Vec::new(), end: Some((n, 1_000_000, outcome)) }
}
