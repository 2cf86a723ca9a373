//! Random histories: an engine must answer every call as the model does, whatever came before, even where calls
//! were repeated because an answer was lost, or the engine was closed and opened again.

use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::redis_server;
use super::vocabulary::{LEASE, account, labelled, name, new_job, shell};
use crate::base::clock::Clock;
use crate::model::{JobSpec, Outcome, Requires};
use crate::protocol::job::{Reason, Status};
use crate::protocol::{Attempt, Cursor, JobId, JobRef, StreamName};
use crate::store::jobs::{Claim, JobFilter, NewJob, QueueLimits, Retention};
use crate::store::log::{AttemptWrite, NewOutput};
use crate::store::model::ModelStore;
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{JobStore, Store};

/// Histories in one run: some seconds of work.
const HISTORIES: u32 = 48;

/// Output kept per job: a few writes.
const OUTPUT_BYTES: u64 = 40;

/// A call, in terms that make sense in any state. Jobs are named by their place among those submitted.
#[derive(Debug, Clone)]
enum Call {
    Submit {
        owner: u8,
        key: Option<u8>,
        class: u8,
        priority: i32,
        requeue: Option<u32>,
        wait: Option<u64>,
        container: bool,
    },
    Claim {
        worker: u8,
        classes: Vec<u8>,
        limit: usize,
    },
    /// `from` and `end` are relative to the attempt's next `n`.
    Append {
        job: u8,
        older: bool,
        from: i64,
        sizes: Vec<u8>,
        hole: bool,
        end: Option<(i64, Reason)>,
    },
    Reject {
        job: u8,
        older: bool,
    },
    Lose {
        job: u8,
        older: bool,
    },
    GoOn {
        job: u8,
        older: bool,
        retire: bool,
    },
    Cancel {
        job: u8,
        grace: Option<u64>,
    },
    Renew {
        worker: u8,
        held: Vec<u8>,
    },
    Expire,
    StartAnew,
    Retain {
        age_secs: u64,
        jobs: u64,
    },
    Read {
        job: u8,
        after: (Attempt, u64),
        max_bytes: usize,
    },
    Jobs {
        owner: Option<u8>,
        status: Option<Status>,
        before: Option<u64>,
        limit: usize,
    },
}

#[derive(Debug, Clone)]
enum Step {
    Call(Call),
    /// The answer was lost, and the caller says the same again.
    Twice(Call),
    Pass(u64),
    Reopen,
}

fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![Just(Reason::Exit), Just(Reason::Signal), Just(Reason::Cancelled), Just(Reason::SpawnError)]
}

fn status() -> impl Strategy<Value = Status> {
    let all = [Status::Pending, Status::Running, Status::Completed, Status::Failed, Status::Cancelled];
    proptest::sample::select(all.to_vec())
}

fn call() -> impl Strategy<Value = Call> {
    // Mostly one of the latest few, or hardly any job would see a second call.
    let job = prop_oneof![4 => 0..3u8, 1 => 0..12u8];
    let submit = (
        0..3u8,
        proptest::option::weighted(0.3, 0..3u8),
        0..3u8,
        -1..2i32,
        proptest::option::of(1..3u32),
        proptest::option::weighted(0.3, 10_000..60_000u64),
        proptest::bool::weighted(0.3),
    );
    let append = (
        job.clone(),
        proptest::bool::weighted(0.1),
        prop_oneof![6 => Just(0i64), 1 => -3..3i64],
        vec(0..30u8, 0..4),
        proptest::bool::weighted(0.05),
        proptest::option::weighted(0.3, (prop_oneof![8 => Just(0i64), 1 => -2..3i64], reason())),
    );
    let list =
        (proptest::option::of(0..3u8), proptest::option::of(status()), proptest::option::of(0..20u64), 0..5usize);
    prop_oneof![
        6 => submit.prop_map(|(owner, key, class, priority, requeue, wait, container)| Call::Submit { owner, key, class, priority, requeue, wait, container }),
        6 => (0..2u8, vec(0..3u8, 0..4), 0..4usize).prop_map(|(worker, classes, limit)| Call::Claim { worker, classes, limit }),
        16 => append.prop_map(|(job, older, from, sizes, hole, end)| Call::Append { job, older, from, sizes, hole, end }),
        2 => (job.clone(), proptest::bool::weighted(0.1)).prop_map(|(job, older)| Call::Reject { job, older }),
        2 => (job.clone(), proptest::bool::weighted(0.1)).prop_map(|(job, older)| Call::Lose { job, older }),
        4 => (job.clone(), proptest::bool::weighted(0.1), proptest::bool::weighted(0.2)).prop_map(|(job, older, retire)| Call::GoOn { job, older, retire }),
        2 => (job.clone(), proptest::option::of(0..9u64)).prop_map(|(job, grace)| Call::Cancel { job, grace }),
        1 => (0..2u8, vec(job.clone(), 0..4)).prop_map(|(worker, held)| Call::Renew { worker, held }),
        2 => Just(Call::Expire),
        1 => Just(Call::StartAnew),
        1 => (0..90u64, 0..4u64).prop_map(|(age_secs, jobs)| Call::Retain { age_secs, jobs }),
        4 => (job, (0..4u32, 0..12u64), 0..80usize).prop_map(|(job, after, max_bytes)| Call::Read { job, after, max_bytes }),
        2 => list.prop_map(|(owner, status, before, limit)| Call::Jobs { owner, status, before, limit }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => call().prop_map(Step::Call),
        4 => call().prop_map(Step::Twice),
        4 => (1..20u64).prop_map(Step::Pass),
        1 => Just(Step::Reopen),
    ]
}

/// The engine, the model, and what is known of both.
struct Pair {
    engine: Option<Box<dyn Store>>,
    model: ModelStore,
    clock: Clock,
    /// Of an engine that keeps its state in files, and has to load it when it is opened.
    dir: Option<TempDir>,
    jobs: Vec<JobId>,
}

fn open(dir: &Path, clock: &Clock) -> Box<dyn Store> {
    let options = SqliteOptions { output_bytes: OUTPUT_BYTES, lease: LEASE, ..SqliteOptions::default() };
    Box::new(SqliteStore::open(dir, &options, clock.clone()).unwrap())
}

impl Pair {
    fn sqlite() -> Self {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::manual(1_000_000));
        Self::of(open(dir.path(), &clock), clock).in_dir(dir)
    }

    fn redis() -> Self {
        let clock = Clock::manual(1_000_000);
        Self::of(Box::new(redis_server::store(OUTPUT_BYTES, clock.clone())), clock)
    }

    fn of(engine: Box<dyn Store>, clock: Clock) -> Self {
        let model = ModelStore::new(clock.clone(), OUTPUT_BYTES);
        Self { engine: Some(engine), model, clock, dir: None, jobs: Vec::new() }
    }

    fn in_dir(self, dir: TempDir) -> Self {
        Self { dir: Some(dir), ..self }
    }

    async fn run(&mut self, step: &Step) {
        match step {
            Step::Call(call) => self.both(call).await,
            Step::Twice(call) => {
                // Said again word for word: what it says must not move with the state.
                let resolved = self.resolve(call).await;
                self.both_resolved(&resolved).await;
                self.both_resolved(&resolved).await;
            }
            Step::Pass(secs) => self.clock.advance(Duration::from_secs(*secs)),
            Step::Reopen => {
                match &self.dir {
                    Some(dir) => {
                        // The old one first, or the new one finds the directory in use.
                        self.engine = None;
                        self.engine = Some(open(dir.path(), &self.clock));
                    }
                    None => self.engine.as_ref().expect("it is open").start_anew(LEASE).await.unwrap(),
                }
                self.model.start_anew(LEASE).await.unwrap();
            }
        }
    }

    async fn both(&mut self, call: &Call) {
        let resolved = self.resolve(call).await;
        self.both_resolved(&resolved).await;
    }

    /// Makes the call on both and compares the answers.
    async fn both_resolved(&mut self, call: &Resolved) {
        let engine = self.engine.as_ref().expect("it is open between steps");
        let expected = answer(&self.model, call).await;
        let given = answer(&**engine, call).await;
        assert_eq!(given.0, expected.0, "to {call:?}");
        if let Some(id) = given.1
            && !self.jobs.contains(&id)
        {
            self.jobs.push(id);
        }
    }

    fn job(&self, index: u8) -> JobId {
        let nobody = JobId { number: 1, nonce: 1 };
        match self.jobs.len() {
            0 => nobody,
            // Now and then one that only looks like a job.
            len if index == 11 => JobId { nonce: 1, ..self.jobs[len - 1] },
            len => self.jobs[len - 1 - usize::from(index) % len],
        }
    }

    /// The call in absolute terms, by the model's state.
    async fn resolve(&self, call: &Call) -> Resolved {
        match call.clone() {
            Call::Submit { owner, key, class, priority, requeue, wait, container } => {
                let spec =
                    JobSpec { requires: class_of(class), priority, requeue, queue_timeout_ms: wait, ..shell("x") };
                let new = new_job(&owner_of(owner), spec);
                let nonce = crate::protocol::id::nonce(new.nonce, container);
                Resolved::Submit(NewJob { key: key.map(|key| key.to_string()), nonce, ..new })
            }
            Call::Claim { worker, classes, limit } => {
                let classes = classes.into_iter().map(|class| (class_of(class), vec![class.into()])).collect();
                Resolved::Claim(Claim { worker: worker_of(worker), classes, limit, lease: LEASE })
            }
            Call::Append { job, older, from, sizes, hole, end } => {
                let id = self.job(job);
                let (attempt, last_n) = self.attempt(id, older).await;
                let mut n = (last_n + 1).saturating_add_signed(from);
                let mut output = Vec::new();
                for size in sizes {
                    let stream = if size % 3 == 0 { StreamName::Stderr } else { StreamName::Stdout };
                    output.push(NewOutput { n, stream, bytes: vec![size; 1 + usize::from(size)].into(), time: n });
                    n += 1 + u64::from(hole);
                }
                let end = end.map(|(by, reason)| {
                    let outcome = Outcome { reason, exit_code: (by != 1).then_some(0), message: None };
                    (n.saturating_add_signed(by), self.clock.now(), outcome)
                });
                Resolved::Append(AttemptWrite { job: id, attempt, output, end })
            }
            Call::Reject { job, older } => {
                let id = self.job(job);
                Resolved::Reject(id, self.attempt(id, older).await.0)
            }
            Call::Lose { job, older } => {
                let id = self.job(job);
                Resolved::Lose(id, self.attempt(id, older).await.0)
            }
            Call::GoOn { job, older, retire } => {
                let id = self.job(job);
                Resolved::GoOn(id, self.attempt(id, older).await.0, retire)
            }
            Call::Cancel { job, grace } => Resolved::Cancel(self.job(job), grace),
            Call::Renew { worker, held } => {
                let held = held.into_iter().map(|job| (self.job(job), u32::from(job % 3))).collect();
                Resolved::Renew(worker, held)
            }
            Call::Expire => Resolved::Expire,
            Call::StartAnew => Resolved::StartAnew,
            Call::Retain { age_secs, jobs } => Resolved::Retain(Retention { age: Duration::from_secs(age_secs), jobs }),
            Call::Read { job, after: (attempt, n), max_bytes } => {
                Resolved::Read(self.job(job), Cursor::new(attempt, n), max_bytes)
            }
            Call::Jobs { owner, status, before, limit } => {
                let owner = owner.map(|owner| account(&owner_of(owner)));
                Resolved::Jobs(JobFilter { account: owner, status, before, limit })
            }
        }
    }

    /// An attempt of the job and the last `n` it has.
    async fn attempt(&self, id: JobId, older: bool) -> (Attempt, u64) {
        use crate::store::{JobStore, LogStore};
        let attempt = self.model.job(id.into()).await.unwrap().map_or(1, |job| job.attempt);
        let attempt = attempt.saturating_sub(older.into());
        let page = self.model.read(id, Cursor::new(u32::MAX, 0), 0).await.unwrap();
        (attempt, page.map_or(0, |page| page.top.n))
    }

    /// Everything that can be asked, once more at the end.
    async fn compare_all(&mut self) {
        for id in self.jobs.clone() {
            let mut after = Cursor::START;
            loop {
                use crate::store::LogStore;
                self.both_resolved(&Resolved::Read(id, after, 40)).await;
                match self.model.read(id, after, 40).await.unwrap().and_then(|page| page.entries.last().cloned()) {
                    Some(last) => after = last.at,
                    None => break,
                }
            }
            for attempt in 0..4 {
                for n in [0, 1, 2, 3, 5, 8, 13] {
                    self.both_resolved(&Resolved::Read(id, Cursor::new(attempt, n), 10)).await;
                }
            }
        }
        self.both_resolved(&Resolved::Jobs(JobFilter { limit: 1_000, ..JobFilter::default() })).await;
        self.both_resolved(&Resolved::Renew(0, Vec::new())).await;
    }
}

/// A call as both stores get it.
#[derive(Debug, Clone)]
enum Resolved {
    Submit(NewJob),
    Claim(Claim),
    Append(AttemptWrite),
    Reject(JobId, Attempt),
    Lose(JobId, Attempt),
    GoOn(JobId, Attempt, bool),
    Cancel(JobId, Option<u64>),
    Renew(u8, Vec<(JobId, Attempt)>),
    Expire,
    StartAnew,
    Retain(Retention),
    Read(JobId, Cursor, usize),
    Jobs(JobFilter),
}

/// What a store answers, in writing; with the job that a submit named.
async fn answer(store: &dyn Store, call: &Resolved) -> (String, Option<JobId>) {
    let limits = QueueLimits { total: 8, account: 5 };
    let mut id = None;
    let said = match call.clone() {
        Resolved::Submit(job) => {
            let submitted = store.submit(job, limits).await;
            id = submitted.as_ref().ok().map(|submitted| submitted.job.id);
            written(&submitted)
        }
        Resolved::Claim(claim) => written(&store.claim(claim).await),
        Resolved::Append(write) => {
            let (id, attempt) = (write.job, write.attempt);
            let appended = store.append(vec![write]).await;
            written(&(appended, store.last_n(id, attempt).await, store.job(id.into()).await))
        }
        Resolved::Reject(id, attempt) => written(&store.reject(id, attempt, "no".to_owned()).await),
        Resolved::Lose(id, attempt) => written(&store.lose(id, attempt).await),
        Resolved::GoOn(id, attempt, true) => written(&store.retire(id, attempt).await),
        Resolved::GoOn(id, attempt, false) => written(&store.reopen(id, attempt).await),
        Resolved::Cancel(id, grace) => {
            let cancelled = store.cancel(id.into(), grace).await;
            written(&(cancelled, store.job(JobRef::Number(id.number)).await))
        }
        Resolved::Renew(worker, held) => {
            let worker = worker_of(worker);
            let renewed = store.renew(&worker, &held, LEASE).await;
            written(&(renewed, store.running_on(&worker).await))
        }
        Resolved::Expire => written(&store.expire().await),
        Resolved::StartAnew => written(&store.start_anew(LEASE).await),
        Resolved::Retain(retention) => written(&store.retain(retention).await),
        Resolved::Read(id, after, max_bytes) => written(&store.read(id, after, max_bytes).await),
        Resolved::Jobs(filter) => {
            let count = store.count_jobs(filter.account.as_ref()).await;
            written(&(store.jobs(filter).await, count))
        }
    };
    let mut ready = store.ready().await.unwrap();
    ready.sort_by_key(|class| class.head);
    (format!("{said}\nready: {ready:?}"), id)
}

fn written(answer: &impl Debug) -> String {
    format!("{answer:#?}")
}

fn class_of(index: u8) -> Requires {
    if index == 0 { Requires::default() } else { labelled(&index.to_string()) }
}

fn owner_of(index: u8) -> String {
    format!("owner{index}")
}

fn worker_of(index: u8) -> crate::protocol::WorkerId {
    name(&format!("w{index}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: HISTORIES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_answers_as_the_model_does(history in vec(step(), 1..120)) {
        answers_as_the_model_does(Pair::sqlite, &history);
    }

    #[test]
    fn redis_answers_as_the_model_does(history in vec(step(), 1..120)) {
        answers_as_the_model_does(Pair::redis, &history);
    }
}

fn answers_as_the_model_does(open: impl FnOnce() -> Pair, history: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut pair = open();
        for step in history {
            pair.run(step).await;
        }
        pair.compare_all().await;
        pair.run(&Step::Reopen).await;
        pair.compare_all().await;
    });
}
