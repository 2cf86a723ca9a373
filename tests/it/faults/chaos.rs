//! Trials: one fault or several, some jobs of every kind, and a verdict. A seed says all that happens.
//!
//! The ordinary run tells a few of them. `make chaos` tells as many as it is asked for, and prints a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::sync::watch;

use super::cluster::{Cluster, Fault};
use super::history::{Verdict, Violation, check};
use super::program::Program;

/// Within this time of the last mend every stream goes on.
const RECOVERED_WITHIN: Duration = Duration::from_secs(20);

/// Within this time of being told to stop every job is over, and every follower has come to its end.
const OVER_WITHIN: Duration = Duration::from_secs(40);

/// Streams, half of which may run again.
const STREAMS: u32 = 8;

/// What a trial is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Theme {
    One(Fault),
    /// Two or three at the same time.
    Mixed,
    /// One, while no instance hears another.
    NoDoorbells,
}

impl Theme {
    fn all() -> Vec<Self> {
        Fault::ALL.into_iter().map(Self::One).chain([Self::Mixed, Self::NoDoorbells, Self::Mixed]).collect()
    }
}

impl fmt::Display for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(fault) => write!(f, "{fault:?}"),
            Self::Mixed => f.write_str("Mixed"),
            Self::NoDoorbells => f.write_str("NoDoorbells"),
        }
    }
}

/// What the ordinary run tries: a dispatcher, a worker and Redis die, Redis forgets what it had not synced, and no
/// instance hears another.
const SAMPLE: [Theme; 5] = [
    Theme::One(Fault::KillDispatcher),
    Theme::One(Fault::KillRedis),
    Theme::One(Fault::CutRedis),
    Theme::One(Fault::KillWorker),
    Theme::NoDoorbells,
];

/// The seed of that.
const SAMPLE_SEED: u32 = 300;

/// What came of a trial.
struct Outcome {
    verdict: Verdict,
    first_outputs: Vec<Duration>,
    recoveries: Vec<Duration>,
}

/// One trial. The seed decides everything but the machine's own timing.
async fn trial(theme: Theme, seed: u32) -> Outcome {
    let mut random = SmallRng::seed_from_u64(seed.into());
    let mut cluster = Cluster::start(seed, theme != Theme::NoDoorbells).await;
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        let key = format!("stream{number}");
        let program = match number % 4 {
            // A line at a time, and a good deal at a time.
            0 => Program { lines: 1, rest_ms: 30, ..cluster.work.stream(number) },
            3 => Program { lines: 400, rest_ms: 300, ..cluster.work.stream(number) },
            _ => Program { rest_ms: 100, ..cluster.work.stream(number) },
        };
        let on_lost = if number % 2 == 0 { "requeue" } else { "fail" };
        let wish = cluster.work.wish(&key, program, &json!({"onLost": on_lost, "maxAttempts": 50}));
        let granted = cluster.work.submitter(cluster.ways_in(&mut random)).submit(wish).await;
        cluster.work.add(granted);
        for _ in 0..2 {
            let ways = cluster.ways_in(&mut random);
            cluster.work.follow(&key, &ways);
        }
        streams.push(key);
    }
    let (enough, stop) = watch::channel(false);
    let mut wishes = Vec::new();
    for number in 0..30 {
        let on_lost = if number % 2 == 0 { "requeue" } else { "fail" };
        let more = json!({"onLost": on_lost, "maxAttempts": 50});
        let wish = cluster.work.wish(&format!("short{number}"), cluster.work.short(100 + number), &more);
        wishes.push((wish, cluster.ways_in(&mut random), Duration::from_millis(random.random_range(50..500))));
    }
    let mut submitter = cluster.work.submitter(cluster.ways_in(&mut random));
    let submits = tokio::spawn(async move {
        let mut granted = Vec::new();
        for (wish, ways, pause) in wishes {
            if *stop.borrow() {
                break;
            }
            granted.push(submitter.submit_and_follow(wish, ways).await);
            tokio::time::sleep(pause).await;
        }
        granted
    });

    let (mut recoveries, mut stalled, mut workers_stayed) = (Vec::new(), Vec::new(), true);
    for _ in 0..2 {
        stalled.extend(recovery(&cluster, &mut Vec::new(), "the start").await);
        let faults = match theme {
            Theme::One(fault) => vec![fault],
            Theme::Mixed => some_of(2 + usize::from(random.random_bool(0.3)), &mut random),
            Theme::NoDoorbells => some_of(1, &mut random),
        };
        workers_stayed &= faults.iter().all(|fault| fault.spares_workers());
        // Somewhere in the middle of what goes on.
        tokio::time::sleep(Duration::from_millis(random.random_range(200..1_200))).await;
        let (mut wounds, mut longest) = (Vec::new(), Duration::ZERO);
        for fault in &faults {
            let (new, pause) = cluster.hurt(*fault, &mut random).await;
            wounds.extend(new);
            longest = longest.max(pause);
        }
        tokio::time::sleep(longest).await;
        wounds.sort_unstable();
        wounds.dedup();
        for wound in wounds {
            cluster.mend(wound).await;
        }
        stalled.extend(recovery(&cluster, &mut recoveries, &format!("{faults:?}")).await);
    }

    enough.send_replace(true);
    for granted in submits.await.expect("the submits are answered in the end") {
        cluster.work.add(granted);
    }
    let keys: Vec<String> = cluster.work.jobs.keys().cloned().collect();
    for key in &keys {
        let ways = cluster.ways_in(&mut random);
        cluster.work.follow(key, &ways);
    }
    cluster.work.wind_up(OVER_WITHIN).await;
    let first_outputs = cluster.work.first_outputs();
    let mut peer = cluster.admin(&mut random).await;
    let mut history = cluster.work.history(&mut peer).await;
    history.may_forget = theme == Theme::One(Fault::CutRedisDeep);
    history.workers_stayed = workers_stayed;
    let mut verdict = check(&history);
    verdict.violations.extend(stalled);
    if !verdict.violations.is_empty() {
        tell_all(&cluster);
    }
    Outcome { verdict, first_outputs, recoveries }
}

/// Waits until every follower of a job that is not over has something new, and notes how long each took.
async fn recovery(cluster: &Cluster, took: &mut Vec<Duration>, after: &str) -> Vec<Violation> {
    let begun = Instant::now();
    let streams = || cluster.work.followers().filter(|(key, _)| key.starts_with("stream"));
    let before: Vec<u64> = streams().map(|(_, follower)| follower.entries()).collect();
    let mut waiting: Vec<usize> = (0..before.len()).collect();
    loop {
        let now: Vec<_> = streams().collect();
        waiting.retain(|&index| {
            let follower = now[index].1;
            let goes_on = follower.entries() > before[index];
            if goes_on {
                took.push(begun.elapsed());
            }
            !goes_on && !follower.is_done()
        });
        if waiting.is_empty() {
            return Vec::new();
        }
        if begun.elapsed() > RECOVERED_WITHIN {
            let stalled = waiting.iter().map(|&index| {
                let (job, follower) = (now[index].0.to_owned(), index.to_string());
                Violation::Stalled { job, follower, after: after.to_owned() }
            });
            return stalled.collect();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn some_of(count: usize, random: &mut SmallRng) -> Vec<Fault> {
    let can: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| fault.mixes()).collect();
    (0..count).map(|_| can[random.random_range(0..can.len())]).collect()
}

/// Prints what every process said last.
fn tell_all(cluster: &Cluster) {
    for number in 0..3 {
        let home = cluster.home().join(format!("d{number}"));
        for log in std::fs::read_dir(home).expect("a directory").filter_map(Result::ok) {
            let path = log.path();
            if path.extension().is_some_and(|ending| ending == "log") {
                let words = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = words.lines().collect();
                let tail = lines[lines.len().saturating_sub(40)..].join("\n");
                println!("--- {} ends with:\n{tail}", path.display());
            }
        }
    }
}

/// Sums of the trials of one theme.
#[derive(Default)]
struct Row {
    trials: usize,
    jobs: usize,
    executions: usize,
    lost: usize,
    repeated: usize,
    reordered: usize,
    other: usize,
    truncated: u64,
    forgotten: usize,
    first_outputs: Vec<Duration>,
    recoveries: Vec<Duration>,
}

impl Row {
    fn add(&mut self, outcome: &Outcome) {
        let Outcome { verdict, first_outputs, recoveries } = outcome;
        self.trials += 1;
        self.jobs += verdict.jobs;
        self.executions += verdict.executions;
        self.truncated += verdict.truncated;
        self.forgotten += verdict.forgotten;
        self.first_outputs.extend(first_outputs);
        self.recoveries.extend(recoveries);
        for violation in &verdict.violations {
            let count = match violation {
                Violation::Lost { .. } | Violation::Gap { .. } | Violation::SubmitLost { .. } => &mut self.lost,
                Violation::Repeated { .. } | Violation::RanTwice { .. } | Violation::KeySplit { .. } => {
                    &mut self.repeated
                }
                Violation::Reordered { .. } | Violation::AfterEnd { .. } => &mut self.reordered,
                Violation::Wrong { .. }
                | Violation::Misplaced { .. }
                | Violation::Disagreement { .. }
                | Violation::Frozen { .. }
                | Violation::GivenUp { .. }
                | Violation::MadeUp { .. }
                | Violation::Stalled { .. } => &mut self.other,
            };
            *count += 1;
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trials, jobs, executions, lost, repeated, reordered, other, truncated, forgotten, .. } = self;
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let per_job = *executions as f64 / (*jobs).max(1) as f64;
        let (first, recovery) = (quantiles(&self.first_outputs), quantiles(&self.recoveries));
        write!(
            f,
            "{trials:>6} {jobs:>6} {per_job:>6.2} {lost:>5} {repeated:>8} {reordered:>9} {other:>5} {truncated:>9} \
             {forgotten:>9} {first:>15} {recovery:>15}"
        )
    }
}

const HEAD: &str = "fault            trials   jobs ex/job  lost repeated reordered other truncated forgotten \
                    first p50/p99ms  back p50/p99ms";

/// Median and 99th percentile, in milliseconds.
fn quantiles(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    match (at(50), at(99)) {
        (Some(p50), Some(p99)) => format!("{}/{}", p50.as_millis(), p99.as_millis()),
        (_, _) => "-".to_owned(),
    }
}

fn print(table: &BTreeMap<Theme, Row>) {
    println!("{HEAD}");
    for (theme, row) in table {
        println!("{:<16} {row}", theme.to_string());
    }
}

/// Tells trials until there are enough or time is up; at least one.
async fn tell(themes: &[Theme], trials: usize, seed: u32, within: Duration) {
    let begun = Instant::now();
    let mut table: BTreeMap<Theme, Row> = BTreeMap::new();
    let mut failed = Vec::new();
    for number in 0..trials {
        if number > 0 && begun.elapsed() > within {
            break;
        }
        let theme = themes[number % themes.len()];
        let seed = seed.wrapping_add(u32::try_from(number).unwrap_or(0));
        let outcome = Box::pin(trial(theme, seed)).await;
        println!("trial {number} {theme} seed {seed}: {}", outcome.verdict);
        if !outcome.verdict.violations.is_empty() {
            failed.push((theme, seed));
        }
        table.entry(theme).or_default().add(&outcome);
    }
    print(&table);
    println!("{:.0} s", begun.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "promises were broken in {failed:?}");
}

/// A number that the environment sets.
fn asked(name: &str) -> Option<u32> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// `GANGLINE_CHAOS_TRIALS`, `GANGLINE_CHAOS_SEED` and `GANGLINE_CHAOS_FAULT` say which trials.
/// Without them: one trial of each fault in [`SAMPLE`], the same every time.
#[tokio::test]
async fn whatever_dies_nothing_is_lost_repeated_or_reordered() {
    let seed = asked("GANGLINE_CHAOS_SEED").unwrap_or(SAMPLE_SEED);
    println!("seed {seed}");
    let mut themes = Theme::all();
    if let Ok(name) = std::env::var("GANGLINE_CHAOS_FAULT") {
        themes.retain(|theme| theme.to_string() == name);
        assert!(!themes.is_empty(), "no fault is called {name}");
    }
    match asked("GANGLINE_CHAOS_TRIALS") {
        Some(trials) => tell(&themes, trials as usize, seed, Duration::MAX).await,
        None => tell(&SAMPLE, SAMPLE.len(), seed, Duration::MAX).await,
    }
}
