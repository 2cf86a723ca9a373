//! One log, many followers: how many entries a second reach them all, and how late each comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::followers;
use super::held::Held;
use super::limit;
use super::peer::{Peer, find, job_verb};
use super::report::{Report, per_second};
use super::target::{Meter, Target};
use super::worker::Order;
use crate::config::Span;
use crate::link::Address;
use crate::protocol::limits::WINDOW_BYTES;

/// Digits of a moment in an entry: nanoseconds since the run began.
const MOMENT_DIGITS: usize = 16;

/// How the frame of an entry begins.
const OUTPUT: &[u8] = br#"{"type":"job","data":{"opt":"output""#;

/// The workload.
#[derive(Debug, clap::Args)]
pub(super) struct FanoutArgs {
    /// Connections that follow the log
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    followers: u64,
    /// Connections more that follow it and never read
    #[arg(long, value_name = "N", default_value_t = 0)]
    stalled: u64,
    /// Entries written as fast as they are taken
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    entries: u64,
    /// Size of an entry's text
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u64).range(MOMENT_DIGITS as u64..=65_536))]
    entry_bytes: u64,
    /// Entries that the writer may be ahead of the followers' mean
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    ahead: u64,
    /// Entries a second, for the time that one takes
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pace: u64,
    /// How long they are written at that pace
    #[arg(long, value_name = "TIME", default_value = "10s")]
    paced: Span,
    /// Another instance of the same system, over which the followers are spread, too; may be repeated
    #[arg(long, value_name = "URL", conflicts_with = "limit")]
    also: Vec<Address>,
    /// Measure a server, too, that passes on and does nothing else
    #[arg(long)]
    limit: bool,
}

/// How the writer goes about it.
#[derive(Clone, Copy)]
enum Speed {
    /// As fast as entries are taken, this many ahead of the followers' mean.
    Full { ahead: u64 },
    /// One at a time.
    Paced(Duration),
}

/// Who passes the log on.
#[derive(Clone, Copy)]
enum Kind {
    Dispatcher,
    Limit,
}

/// A log that is written.
enum Log {
    /// As a worker writes it.
    Dispatcher(Held),
    /// As followers get it, and the number of the last entry.
    Limit(Peer, u64),
}

impl Log {
    async fn start(target: &Target, kind: Kind) -> Result<Self> {
        Ok(match kind {
            Kind::Dispatcher => Self::Dispatcher(Held::start(target).await?),
            Kind::Limit => Self::Limit(limit::writer(target).await?, 0),
        })
    }

    /// The frame that follows it.
    fn follow(&self) -> Result<String> {
        match self {
            Self::Dispatcher(held) => held.follow(),
            Self::Limit(..) => Ok("follow".to_owned()),
        }
    }

    /// Writes entry `n`; `frame` is room to write it in.
    fn write(&mut self, n: u64, offset: u64, text: &str, frame: &mut Vec<u8>) {
        match self {
            Self::Dispatcher(held) => held.write(n, offset, text, frame),
            Self::Limit(peer, last) => {
                let entry = format!(
                    r#"{{"type":"job","data":{{"opt":"output","jobId":"job-1-00000000","at":"1-{n}","stream":"stdout","offset":{offset},"text":"{text}","time":1700000000000}}}}"#
                );
                peer.out().text(entry.as_bytes());
                *last = n;
            }
        }
    }

    /// Ends it after `n - 1` entries.
    fn end(&mut self, n: u64) {
        match self {
            Self::Dispatcher(held) => held.end(n),
            Self::Limit(peer, last) => {
                peer.out().text(br#"{"type":"job","data":{"opt":"end"}}"#);
                *last = n;
            }
        }
    }

    /// Sends what was written. Returns once something came of it: the last entry that is stored.
    async fn turn(&mut self) -> Result<Option<u64>> {
        match self {
            Self::Dispatcher(held) => {
                let mut stored = None;
                let turn = held.worker.turn(|order, _| {
                    if let Order::Ack(n) = order {
                        stored = Some(n);
                    }
                    Ok(())
                });
                turn.await?;
                Ok(stored)
            }
            // Nothing is stored and nothing comes: what was sent is all that will be known of it.
            Self::Limit(peer, last) => {
                if peer.out().is_empty() {
                    std::future::pending::<()>().await;
                }
                peer.flush().await?;
                Ok(Some(*last))
            }
        }
    }
}

/// What the followers of a run share with its writer.
struct Shared {
    began: Instant,
    delivered: AtomicU64,
    /// Deliveries that the writer waits for.
    wanted: AtomicU64,
    progress: Notify,
}

pub(super) async fn run(target: &Target, args: &FanoutArgs, time: Duration, report: &mut Report) -> Result<()> {
    measure(target, Kind::Dispatcher, args, time, report).await?;
    if args.limit {
        let limit = Target::limit().await?;
        let measured = measure(&limit, Kind::Limit, args, time, report).await;
        limit.end().await?;
        measured?;
    }
    Ok(())
}

async fn measure(target: &Target, kind: Kind, args: &FanoutArgs, time: Duration, report: &mut Report) -> Result<()> {
    let what = match kind {
        Kind::Dispatcher => "",
        Kind::Limit => "axum alone, ",
    };
    let stalled = if args.stalled > 0 { format!(", {} stalled", args.stalled) } else { String::new() };
    let case = format!("{what}{} followers{stalled}, {} bytes", args.followers, args.entry_bytes);
    if args.entries > 0 {
        let meter = Meter::start(target, None)?;
        let (elapsed, _) = once(target, kind, args, args.entries, Speed::Full { ahead: args.ahead }, time).await?;
        report.add(&case, "deliveries", per_second(args.entries * args.followers, elapsed), "/s")?;
        report.used(&case, &meter)?;
    }
    let period = Duration::from_secs(1) / u32::try_from(args.pace)?;
    let entries = u64::try_from(args.paced.0.min(time).as_nanos() / period.as_nanos())?;
    if entries > 0 {
        let case = format!("{case}, {} /s", args.pace);
        let meter = Meter::start(target, None)?;
        let (_, took) = once(target, kind, args, entries, Speed::Paced(period), time * 2).await?;
        report.latencies(&case, took)?;
        report.used(&case, &meter)?;
    }
    Ok(())
}

/// One log of `entries`, from the first write until every follower has seen its end.
async fn once(
    target: &Target,
    kind: Kind,
    args: &FanoutArgs,
    entries: u64,
    speed: Speed,
    time: Duration,
) -> Result<(Duration, Vec<Duration>)> {
    let mut log = Log::start(target, kind).await?;
    let shared = Arc::new(Shared {
        began: Instant::now(),
        delivered: AtomicU64::new(0),
        wanted: AtomicU64::new(u64::MAX),
        progress: Notify::new(),
    });
    let follow = log.follow()?;
    let timed = matches!(speed, Speed::Paced(_));
    let mut followers = JoinSet::new();
    for peer in followers::open(target, &args.also, &follow, args.followers, time).await? {
        let shared = Arc::clone(&shared);
        followers.spawn(async move { follower(peer, &shared, entries, timed).await });
    }
    // Kept, and not read.
    let _stalled = followers::open(target, &args.also, &follow, args.stalled, time).await?;

    let began = Instant::now();
    let writing = write(&mut log, args, entries, speed, &shared);
    let reading = async {
        let mut took = Vec::new();
        while let Some(ended) = followers.join_next().await {
            took.extend(ended??);
        }
        Ok::<_, anyhow::Error>(took)
    };
    let (_, took) = timeout(time, async { tokio::try_join!(writing, reading) }).await.with_context(|| {
        format!("not all came in time: {} of {}", shared.delivered.load(Ordering::Relaxed), entries * args.followers)
    })??;
    Ok((began.elapsed(), took))
}

/// Reads until the end of the log; how late each entry was, where that is of interest.
async fn follower(mut peer: Peer, shared: &Shared, entries: u64, timed: bool) -> Result<Vec<Duration>> {
    let (mut count, mut ended) = (0, false);
    let mut took = Vec::new();
    while !ended {
        let before = count;
        peer.turn(|frame, _| {
            if frame.starts_with(OUTPUT) {
                count += 1;
                if timed {
                    took.push(shared.began.elapsed().saturating_sub(moment(frame)?));
                }
                return Ok(());
            }
            ended |= job_verb(frame) == Some("end");
            Ok(())
        })
        .await?;
        let delivered = shared.delivered.fetch_add(count - before, Ordering::Relaxed);
        let wanted = shared.wanted.load(Ordering::Relaxed);
        if delivered < wanted && delivered + (count - before) >= wanted {
            shared.progress.notify_one();
        }
    }
    ensure!(count == entries, "a follower saw {count} entries of {entries}");
    Ok(took)
}

/// When an entry was written.
fn moment(frame: &[u8]) -> Result<Duration> {
    const TEXT: &[u8] = br#""text":""#;
    let start = find(frame, TEXT).context("an entry without text")? + TEXT.len();
    let digits = frame.get(start..start + MOMENT_DIGITS).context("an entry without a moment")?;
    Ok(Duration::from_nanos(std::str::from_utf8(digits)?.parse()?))
}

/// Writes the log, and its end.
async fn write(log: &mut Log, args: &FanoutArgs, entries: u64, speed: Speed, shared: &Shared) -> Result<()> {
    let window = WINDOW_BYTES / args.entry_bytes;
    let padding = "x".repeat(usize::try_from(args.entry_bytes)?.saturating_sub(MOMENT_DIGITS));
    let (mut written, mut due, mut stored) = (0, 0, 0);
    let mut frame = Vec::new();
    let mut tick = interval(match speed {
        Speed::Full { .. } => Duration::from_secs(3600),
        Speed::Paced(period) => period,
    });
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    // The end is an entry, too.
    while stored <= entries {
        let most = match speed {
            Speed::Full { ahead } => {
                let most = shared.delivered.load(Ordering::Relaxed) / args.followers + ahead;
                // Woken half-way, so that the followers need not wait for the writer.
                shared.wanted.store((most - ahead / 2) * args.followers, Ordering::Relaxed);
                most
            }
            Speed::Paced(_) => due,
        };
        while written < entries.min(most).min(stored + window) {
            let text = format!("{:0width$}{padding}", shared.began.elapsed().as_nanos(), width = MOMENT_DIGITS);
            log.write(written + 1, written * args.entry_bytes, &text, &mut frame);
            written += 1;
            if written == entries {
                log.end(entries + 1);
            }
        }
        tokio::select! {
            biased;
            turn = log.turn() => stored = turn?.unwrap_or(stored),
            () = shared.progress.notified() => (),
            _ = tick.tick() => due += 1,
        }
    }
    Ok(())
}
