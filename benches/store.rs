//! The embedded store: what a job costs, one at a time and in batches, and how fast output goes in and out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gangline::base::clock::Clock;
use gangline::model::{JobSpec, Outcome, Program, Requires};
use gangline::protocol::job::Reason;
use gangline::protocol::{Cursor, JobId, StreamName};
use gangline::store::jobs::{Claim, NewJob, QueueLimits};
use gangline::store::log::{AttemptWrite, NewOutput};
use gangline::store::sqlite::{SqliteOptions, SqliteStore};
use gangline::store::{JobStore, LogStore};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const LIMITS: QueueLimits = QueueLimits { total: u64::MAX, account: u64::MAX };

/// Jobs under way at a time.
const BATCH: u64 = 16;

struct Bench {
    runtime: Runtime,
    store: Arc<SqliteStore>,
    _dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = SqliteStore::open(dir.path(), &SqliteOptions::default(), Clock::default()).expect("a new store");
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        Self { runtime, store: Arc::new(store), _dir: dir }
    }

    /// Fills the queue with `jobs` in `classes` classes.
    fn fill(&self, jobs: u64, classes: u64) {
        self.runtime.block_on(async {
            for first in (0..jobs).step_by(512) {
                let submit = (first..jobs.min(first + 512)).map(|n| self.store.submit(job(n % classes), LIMITS));
                futures_util::future::join_all(submit).await;
            }
        });
    }

    async fn claim(&self, classes: u64, limit: usize) -> Vec<JobId> {
        let classes = (0..classes).map(|class| (class_of(class), Vec::new())).collect();
        let worker = "bench".parse().expect("a name");
        let claim = Claim { worker, classes, limit, lease: Duration::from_secs(30) };
        self.store.claim(claim).await.expect("claim").iter().map(|change| change.job.id).collect()
    }

    /// `count` no-op jobs from submit to end, in batches: each batch's claim and ends share what is
    /// waiting with the next batch's submits, as they do behind sockets.
    async fn batches(&self, count: u64, classes: u64) {
        let mut done = 0;
        while done < count {
            let submits =
                futures_util::future::join_all((0..BATCH).map(|n| self.store.submit(job(n % classes), LIMITS)));
            let (_, claimed) = tokio::join!(submits, self.claim(classes, 16));
            done += claimed.len() as u64;
            let ends = claimed.into_iter().map(end).collect();
            self.store.append(ends).await.expect("append");
        }
    }
}

fn class_of(class: u64) -> Requires {
    Requires { milli_cpus: class, ..Requires::default() }
}

fn job(class: u64) -> NewJob {
    let spec = JobSpec { requires: class_of(class), ..JobSpec::new(Program::Shell("true".to_owned())) };
    NewJob { nonce: 1, account: "bench".parse().expect("a name"), spec: Arc::new(spec), key: None }
}

fn end(job: JobId) -> AttemptWrite {
    let outcome = Outcome { reason: Reason::Exit, exit_code: Some(0), message: None };
    AttemptWrite { job, attempt: 1, output: Vec::new(), end: Some((1, 1, outcome)) }
}

fn cycle(c: &mut Criterion) {
    let mut group = c.benchmark_group("store/cycle in batches of 16");
    group.throughput(Throughput::Elements(1)).sample_size(20).measurement_time(Duration::from_secs(5));
    for (queued, classes) in [(1_000, 1), (1_000, 8), (1_000_000, 1), (1_000_000, 8)] {
        let bench = Bench::new();
        bench.fill(queued, classes);
        group.bench_function(BenchmarkId::from_parameter(format!("{queued} queued, {classes} classes")), |b| {
            b.iter_custom(|count| {
                let begun = Instant::now();
                bench.runtime.block_on(bench.batches(count, classes));
                begun.elapsed()
            });
        });
    }
}

fn single(c: &mut Criterion) {
    let bench = Bench::new();
    let mut group = c.benchmark_group("store/one at a time");
    group.bench_function("submit", |b| {
        b.iter(|| bench.runtime.block_on(bench.store.submit(job(0), LIMITS)).expect("submit"));
    });
    group.bench_function("claim and end", |b| {
        b.iter(|| {
            bench.runtime.block_on(async {
                let claimed = bench.claim(1, 1).await;
                bench.store.append(claimed.into_iter().map(end).collect()).await.expect("append")
            })
        });
    });
    let id = bench.runtime.block_on(bench.store.submit(job(0), LIMITS)).expect("submit").job.id;
    group.bench_function("get", |b| b.iter(|| bench.runtime.block_on(bench.store.job(id.into())).expect("job")));
}

fn stream(c: &mut Criterion) {
    let mut group = c.benchmark_group("store/output of one job");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    // As one large frame after the other, and as a dispatcher that batches.
    for (chunk, chunks) in [(64 * 1024, 1), (64 * 1024, 8), (1024, 64)] {
        let bytes = chunk * chunks;
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(BenchmarkId::from_parameter(format!("{chunks} x {chunk} bytes a write")), |b| {
            let bench = Bench::new();
            bench.fill(1, 1);
            let job = bench.runtime.block_on(bench.claim(1, 1))[0];
            let text = bytes::Bytes::from(vec![b'x'; usize::try_from(chunk).expect("small")]);
            let mut n = 0;
            b.iter_custom(|count| {
                let begun = Instant::now();
                bench.runtime.block_on(async {
                    for _ in 0..count {
                        let output = (0..chunks).map(|_| {
                            n += 1;
                            NewOutput { n, stream: StreamName::Stdout, bytes: text.clone(), time: 1 }
                        });
                        let write = AttemptWrite { job, attempt: 1, output: output.collect(), end: None };
                        bench.store.append(vec![write]).await.expect("append");
                    }
                });
                begun.elapsed()
            });
        });
    }
    read(&mut group);
}

fn read(group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>) {
    let bench = Bench::new();
    bench.fill(1, 1);
    let job = bench.runtime.block_on(bench.claim(1, 1))[0];
    let text = bytes::Bytes::from(vec![b'x'; 64 * 1024]);
    for n in (1..=1024).step_by(4) {
        let chunk = |n| NewOutput { n, stream: StreamName::Stdout, bytes: text.clone(), time: 1 };
        let write = AttemptWrite { job, attempt: 1, output: (n..n + 4).map(chunk).collect(), end: None };
        bench.runtime.block_on(bench.store.append(vec![write])).expect("append")[0].as_ref().expect("it runs");
    }
    group.throughput(Throughput::Bytes(64 * 1024 * 1024));
    group.bench_function("read back, 64 MiB", |b| {
        b.iter(|| {
            bench.runtime.block_on(async {
                let mut after = Cursor::START;
                while let Some(page) = bench.store.read(job, after, 512 * 1024).await.expect("read")
                    && let Some(last) = page.entries.last()
                {
                    after = last.at;
                }
            });
        });
    });
}

criterion_group!(benches, single, cycle, stream);
criterion_main!(benches);
