//! How many jobs a second go from their submit to the submitter seeing their end, and how long one takes.
//!
//! Without `--process` the worker runs nothing: it answers each assignment with the end, so that what is
//! measured is the dispatcher. With it, a real worker runs real programs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::time::timeout;

use super::agent::Agent;
use super::report::{Report, per_second};
use super::spawn;
use super::submitter::{News, Submitter};
use super::target::{Meter, Process, Target};
use super::worker::{Attempt, Order, Worker};
use crate::protocol::spec::JobSpec;

/// Jobs before the clock starts: connections, caches and the first pages of the file.
const WARM_UP: u64 = 1_000;

/// Frames that may wait in one go while a queue is filled.
const FILL_AHEAD: u64 = 2_000;

/// Long enough for programs that are spawned and no more.
const SPAWN_TIME: Duration = Duration::from_secs(5);

/// Time for a queue to fill, in jobs a second at the least.
const FILL_RATE: u64 = 2_000;

/// The workload.
#[derive(Debug, clap::Args)]
pub(super) struct DispatchArgs {
    /// Jobs, as many as end within --time
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub(super) jobs: u64,
    /// Jobs at a time on the worker
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(super) slots: u32,
    /// Connections that submit
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(super) submitters: u64,
    /// Jobs that each of them has under way
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) ahead: u64,
    /// Jobs one after the other, for the time that one takes
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub(super) sequential: u64,
    /// Measure with this many jobs in the queue; several may be given
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(super) queued: Vec<u64>,
    /// Run /bin/true and echo on a real worker
    #[arg(long, conflicts_with = "queued")]
    pub(super) process: bool,
}

pub(super) async fn run(target: &Target, args: &DispatchArgs, time: Duration, report: &mut Report) -> Result<()> {
    if args.process {
        return processes(target, args, time, report).await;
    }
    if args.queued.is_empty() {
        let mut worker = Worker::register(target, args.slots).await?;
        let measured = async {
            rate(target, args, ("no-op", noop(), None), time, report).await?;
            sequential(target, args, noop(), time, report).await
        };
        return tokio::select! {
            failed = serve(&mut worker) => failed,
            measured = measured => measured,
        };
    }
    for &queued in &args.queued {
        behind_a_queue(target, args, queued, time, report).await?;
    }
    Ok(())
}

fn noop() -> JobSpec {
    JobSpec { command: Some("true".to_owned()), ..JobSpec::default() }
}

/// Ends every job as it is given, for ever.
async fn serve(worker: &mut Worker) -> Result<()> {
    loop {
        worker
            .turn(|order, out| {
                if let Order::Assign(attempt) = order {
                    attempt.accept(out);
                    attempt.end(1, out);
                }
                Ok(())
            })
            .await?;
    }
}

/// Jobs a second, all submitters together.
async fn rate(
    target: &Target,
    args: &DispatchArgs,
    (kind, spec, worker): (&str, JobSpec, Option<Process>),
    time: Duration,
    report: &mut Report,
) -> Result<()> {
    let mut submitters = Vec::new();
    for _ in 0..args.submitters {
        submitters.push(Submitter::connect(target, spec.clone(), true).await?);
    }
    let each = |count: u64| count.div_ceil(args.submitters);
    pump(&mut submitters, each(WARM_UP.min(args.jobs)), args.ahead, time).await?;
    let meter = Meter::start(target, worker)?;
    let began = Instant::now();
    let before: u64 = submitters.iter().map(|submitter| submitter.ended).sum();
    pump(&mut submitters, each(args.jobs), args.ahead, time).await?;
    let elapsed = began.elapsed();
    let ended = submitters.iter().map(|submitter| submitter.ended).sum::<u64>() - before;
    let case = format!("{kind}, {} slots, {}×{} ahead", args.slots, args.submitters, args.ahead);
    report.add(&case, "jobs", per_second(ended, elapsed), "/s")?;
    report.used(&case, &meter)?;
    let settled = futures_util::future::try_join_all(submitters.iter_mut().map(Submitter::settle));
    timeout(time, settled).await.context("jobs under way did not end")??;
    Ok(())
}

async fn pump(submitters: &mut [Submitter], count: u64, ahead: u64, time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    let all = futures_util::future::try_join_all(submitters.iter_mut().map(|one| one.pump(count, ahead, until)));
    timeout(time * 2, all).await.context("no job ended for long")??;
    Ok(())
}

/// The time from submit to seeing the end, one job after the other.
async fn sequential(
    target: &Target,
    args: &DispatchArgs,
    spec: JobSpec,
    time: Duration,
    report: &mut Report,
) -> Result<()> {
    let mut submitter = Submitter::connect(target, spec, true).await?;
    let mut took = Vec::new();
    let until = Instant::now() + time;
    while (took.len() as u64) < args.sequential && Instant::now() < until {
        let began = Instant::now();
        submitter.submit(1);
        timeout(time, submitter.settle()).await.context("a job did not end")??;
        took.push(began.elapsed());
    }
    Ok(report.latencies("submit to end, one by one", took)?)
}

/// Jobs a second while `queued` others wait: for each that ends another one has joined them.
async fn behind_a_queue(
    target: &Target,
    args: &DispatchArgs,
    queued: u64,
    time: Duration,
    report: &mut Report,
) -> Result<()> {
    let case = format!("{queued} queued, {} slots", args.slots);
    let mut submitter = Submitter::connect(target, noop(), false).await?;
    let began = Instant::now();
    let fill = async {
        while submitter.taken < queued {
            let more = FILL_AHEAD.saturating_sub(submitter.asked - submitter.taken).min(queued - submitter.asked);
            submitter.submit(more);
            submitter.turn(|_| Ok(())).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let limit = time + Duration::from_secs(queued / FILL_RATE);
    timeout(limit, fill).await.context("the queue did not fill in time")??;
    report.add(&case, "submits", per_second(queued, began.elapsed()), "/s")?;

    let mut worker = Worker::register(target, args.slots).await?;
    let (mut done, mut ended) = (0, 0);
    let mut held: Vec<(String, u64)> = Vec::new();
    let meter = Meter::start(target, None)?;
    let began = Instant::now();
    while done < args.jobs && began.elapsed() < time {
        // One ends for each that has joined the queue, so that as many wait all the time.
        let credit = usize::try_from(submitter.taken - queued - ended)?.min(held.len());
        for (job, attempt) in held.drain(..credit) {
            Attempt { job: &job, attempt }.end(1, worker.out());
            ended += 1;
        }
        submitter.submit((queued + ended + args.ahead).saturating_sub(submitter.asked));
        let working = worker.turn(|order, out| {
            match order {
                Order::Assign(attempt) => {
                    attempt.accept(out);
                    held.push((attempt.job.to_owned(), attempt.attempt));
                }
                Order::Ack(_) => done += 1,
            }
            Ok(())
        });
        let turn = async {
            tokio::select! {
                turn = working => turn,
                turn = submitter.turn(|_| Ok(())) => turn,
            }
        };
        timeout(time, turn).await.context("no job ended for long")??;
    }
    let elapsed = began.elapsed();
    report.add(&case, "jobs", per_second(done, elapsed), "/s")?;
    report.used(&case, &meter)
}

/// Real programs on a real worker.
async fn processes(target: &Target, args: &DispatchArgs, time: Duration, report: &mut Report) -> Result<()> {
    spawn::run(args.slots, args.jobs, time.min(SPAWN_TIME), report).await?;
    let agent = Agent::start(target, args.slots)?;
    let spec = JobSpec { args: Some(vec!["/bin/true".to_owned()]), ..JobSpec::default() };
    rate(target, args, ("/bin/true", spec, agent.process()), time, report).await?;

    let spec = JobSpec { command: Some("echo hi".to_owned()), ..JobSpec::default() };
    let mut submitter = Submitter::connect(target, spec, true).await?;
    let mut took = Vec::new();
    let until = Instant::now() + time;
    while (took.len() as u64) < args.sequential && Instant::now() < until {
        let began = Instant::now();
        submitter.submit(1);
        let mut first = None;
        while submitter.under_way() > 0 {
            let turn = submitter.turn(|news| {
                if let News::Output(_) = news {
                    first.get_or_insert_with(|| began.elapsed());
                }
                Ok(())
            });
            timeout(time, turn).await.context("a job did not end")??;
        }
        took.push(first.context("echo wrote nothing")?);
    }
    report.latencies("echo hi, submit to first byte", took)?;
    agent.end().await
}
