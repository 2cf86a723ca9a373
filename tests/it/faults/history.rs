//! Judges what was seen of a run: did anything get lost, repeated, reordered, made up, run twice?
//!
//! In the spirit of Jepsen's checkers for queues and logs: clients and programs write down what
//! they did and saw while things are broken around them, and afterwards a pure function compares
//! that with what was promised. It knows nothing of how the system works inside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::program::Program;

/// An output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// The cursor of an entry: attempt and number.
pub(crate) type At = (u32, u64);

/// What a follower received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The attempt began.
    Began,
    /// The job went back to the queue.
    Requeued,
    /// A chunk.
    Output { stream: Stream, offset: u64, bytes: Vec<u8> },
    /// The job's end, and whether with exit code 0.
    Ended { completed: bool },
    /// From this entry up to that one, all is said to be gone.
    Truncated { to: At },
}

/// One follower, over all its connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Follower {
    pub(crate) name: String,
    /// In the order of arrival.
    pub(crate) seen: Vec<(At, Seen)>,
    /// Connections that it had.
    pub(crate) connections: usize,
    /// The last it was told is that there is no such job.
    pub(crate) told_gone: bool,
}

/// A run of a job's program, as the program itself wrote it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) attempt: u32,
    /// Bursts of output that it came to, where it got to its end.
    pub(crate) done: Option<u32>,
}

/// One job.
#[derive(Debug, Clone)]
pub(crate) struct JobHistory {
    pub(crate) id: String,
    pub(crate) program: Program,
    /// Whether it may run again when its worker is lost.
    pub(crate) requeue: bool,
    pub(crate) executions: Vec<Execution>,
    pub(crate) followers: Vec<Follower>,
}

/// A submit that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) key: String,
    pub(crate) id: String,
}

/// All that was seen of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) jobs: Vec<JobHistory>,
    pub(crate) answered: Vec<Answered>,
    /// The ids that the server knows at the end.
    pub(crate) kept: BTreeSet<String>,
    /// The store lost more than the others still held: a job may be gone, if that is said.
    pub(crate) may_forget: bool,
    /// No worker was away for as long as a lease: none of their jobs may be given up.
    pub(crate) workers_stayed: bool,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// Bytes that the program wrote never came.
    Lost { job: String, follower: String, stream: Stream, missing: usize },
    /// Bytes that the program did not write there.
    Wrong { job: String, follower: String, stream: Stream, attempt: u32, offset: usize },
    /// An entry came again.
    Repeated { job: String, follower: String, at: At },
    /// An entry came after one with a higher cursor.
    Reordered { job: String, follower: String, at: At },
    /// Entries were left out without a word.
    Gap { job: String, follower: String, after: At, at: At },
    /// An offset that does not follow from the bytes before.
    Misplaced { job: String, follower: String, at: At },
    /// Something came after the end.
    AfterEnd { job: String, follower: String, at: At },
    /// Two followers saw different things at the same place.
    Disagreement { job: String, at: At },
    /// The end never came.
    Frozen { job: String, follower: String },
    /// An attempt was executed twice, or a job that must not run again was.
    RanTwice { job: String, executions: usize },
    /// The log says completed, and the program never got there.
    MadeUp { job: String },
    /// A job that was accepted is not there any more.
    SubmitLost { key: String, id: String },
    /// A job was taken for lost though its worker was there all the time.
    GivenUp { job: String },
    /// The same key gave two jobs.
    KeySplit { key: String },
    /// After everything was mended, a stream did not go on in time.
    Stalled { job: String, follower: String, after: String },
}

/// What came of a check.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: BTreeSet<Violation>,
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    pub(crate) executions: usize,
    pub(crate) connections: usize,
    pub(crate) followers: usize,
    pub(crate) jobs: usize,
    /// Entries that followers were told are gone.
    pub(crate) truncated: u64,
    /// Jobs that are gone, as was said.
    pub(crate) forgotten: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { violations, entries, bytes, executions, connections, followers, jobs, truncated, forgotten } = self;
        write!(
            f,
            "{jobs} jobs in {executions} executions; {followers} followers over {connections} connections got {entries} \
             entries, {bytes} bytes; {truncated} entries and {forgotten} jobs are said to be gone; {} violations",
            violations.len()
        )?;
        violations.iter().take(20).try_for_each(|violation| write!(f, "\n  {violation:?}"))
    }
}

/// Compares what was seen with what is promised.
pub(crate) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict { jobs: history.jobs.len(), ..Verdict::default() };
    let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
    let mut forgotten = BTreeSet::new();
    for Answered { key, id } in &history.answered {
        let told = |job: &JobHistory| job.id == *id && job.followers.iter().all(|follower| follower.told_gone);
        if !history.kept.contains(id) && history.may_forget && history.jobs.iter().any(told) {
            forgotten.insert(id);
        } else if !history.kept.contains(id) {
            verdict.violations.insert(Violation::SubmitLost { key: key.clone(), id: id.clone() });
        }
        if *keys.entry(key).or_insert(id) != id.as_str() {
            verdict.violations.insert(Violation::KeySplit { key: key.clone() });
        }
    }
    verdict.forgotten = forgotten.len();
    for job in history.jobs.iter().filter(|job| !forgotten.contains(&job.id)) {
        check_executions(job, history.may_forget, &mut verdict);
        let given_up = |(_, seen): &(At, Seen)| matches!(seen, Seen::Requeued | Seen::Ended { completed: false });
        if history.workers_stayed && job.followers.iter().flat_map(|follower| &follower.seen).any(given_up) {
            verdict.violations.insert(Violation::GivenUp { job: job.id.clone() });
        }
        let written = Written::of(job);
        let mut places: BTreeMap<At, &Seen> = BTreeMap::new();
        for follower in &job.followers {
            check_follower(job, &written, follower, &mut verdict);
            for (at, seen) in &follower.seen {
                if !matches!(seen, Seen::Truncated { .. }) && *places.entry(*at).or_insert(seen) != seen {
                    verdict.violations.insert(Violation::Disagreement { job: job.id.clone(), at: *at });
                }
            }
        }
    }
    verdict
}

fn check_executions(job: &JobHistory, may_forget: bool, verdict: &mut Verdict) {
    verdict.executions += job.executions.len();
    let attempts: BTreeSet<u32> = job.executions.iter().map(|execution| execution.attempt).collect();
    let again = job.executions.len() > attempts.len() || (!job.requeue && job.executions.len() > 1);
    if again && !may_forget {
        let executions = job.executions.len();
        verdict.violations.insert(Violation::RanTwice { job: job.id.clone(), executions });
    }
    let completed = job.followers.iter().flat_map(|follower| &follower.seen);
    let completed = completed.filter(|(_, seen)| matches!(seen, Seen::Ended { completed: true }));
    for ((attempt, _), _) in completed {
        if done(job, *attempt).is_none() {
            verdict.violations.insert(Violation::MadeUp { job: job.id.clone() });
        }
    }
}

/// What an attempt's execution wrote down at its end.
fn done(job: &JobHistory, attempt: u32) -> Option<u32> {
    job.executions.iter().find(|execution| execution.attempt == attempt && execution.done.is_some())?.done
}

/// What a job's program writes, as far as anybody saw it.
#[derive(Default)]
struct Written {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// By attempt, how much of both streams there was when it was done.
    done: BTreeMap<u32, (usize, usize)>,
}

impl Written {
    fn of(job: &JobHistory) -> Self {
        let (mut stdout, mut stderr) = (0, 0);
        for (_, seen) in job.followers.iter().flat_map(|follower| &follower.seen) {
            if let Seen::Output { stream, offset, bytes } = seen {
                let end = usize::try_from(*offset).unwrap_or(usize::MAX).saturating_add(bytes.len());
                match stream {
                    Stream::Stdout => stdout = stdout.max(end),
                    Stream::Stderr => stderr = stderr.max(end),
                }
            }
        }
        let attempts: BTreeSet<u32> = job.executions.iter().map(|execution| execution.attempt).collect();
        let mut done: BTreeMap<u32, u32> = BTreeMap::new();
        done.extend(attempts.into_iter().filter_map(|attempt| Some((attempt, self::done(job, attempt)?))));
        let most = done.values().max().map_or(0, |bursts| bursts * job.program.lines);
        let mut written = Self::default();
        for (count, (stream, bytes)) in (0..).zip(job.program.writes()) {
            for (attempt, _) in done.iter().filter(|(_, bursts)| **bursts * job.program.lines == count) {
                written.done.insert(*attempt, (written.stdout.len(), written.stderr.len()));
            }
            if count >= most && written.stdout.len() >= stdout && written.stderr.len() >= stderr {
                return written;
            }
            match stream {
                Stream::Stdout => written.stdout.extend(bytes),
                Stream::Stderr => written.stderr.extend(bytes),
            }
        }
        for attempt in done.keys() {
            written.done.entry(*attempt).or_insert((written.stdout.len(), written.stderr.len()));
        }
        written
    }

    /// What an attempt can have written to a stream. One that did not get to its end wrote up to any place.
    fn by(&self, attempt: u32, stream: Stream) -> &[u8] {
        let done = self.done.get(&attempt);
        match stream {
            Stream::Stdout => &self.stdout[..done.map_or(self.stdout.len(), |done| done.0)],
            Stream::Stderr => &self.stderr[..done.map_or(self.stderr.len(), |done| done.1)],
        }
    }
}

/// How far a stream of an attempt has come.
#[derive(Default)]
struct Place {
    next: usize,
    /// Entries are said to be gone since the last one.
    may_jump: bool,
    wrong: bool,
}

fn check_follower(job: &JobHistory, written: &Written, follower: &Follower, verdict: &mut Verdict) {
    let name = || (job.id.clone(), follower.name.clone());
    verdict.followers += 1;
    verdict.connections += follower.connections;
    verdict.entries += follower.seen.len();
    let mut places: BTreeMap<(u32, Stream), Place> = BTreeMap::new();
    let mut last: Option<At> = None;
    let mut ended = None;
    for (at, seen) in &follower.seen {
        let (at, (job, follower)) = (*at, name());
        if ended.is_some() {
            verdict.violations.insert(Violation::AfterEnd { job: job.clone(), follower: follower.clone(), at });
        }
        match last {
            Some(before) if before == at => {
                verdict.violations.insert(Violation::Repeated { job, follower, at });
                continue;
            }
            Some(before) if before > at => {
                verdict.violations.insert(Violation::Reordered { job, follower, at });
                continue;
            }
            Some((attempt, n)) if at != (attempt, n + 1) && (at.0 == attempt || at.1 != 0) => {
                verdict.violations.insert(Violation::Gap { job, follower, after: (attempt, n), at });
            }
            // Every log that began begins with `a-0`, and one that did not with its end.
            None if at != (1, 0) && at != (0, 1) => {
                verdict.violations.insert(Violation::Gap { job, follower, after: (0, 0), at });
            }
            Some(_) | None => (),
        }
        last = Some(at);
        match seen {
            Seen::Began | Seen::Requeued => (),
            Seen::Output { stream, offset, bytes } => {
                verdict.bytes += bytes.len();
                let (attempt, stream) = (at.0, *stream);
                let (job, follower) = name();
                let place = places.entry((attempt, stream)).or_default();
                let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
                if place.may_jump && offset > place.next {
                    place.next = offset;
                }
                place.may_jump = false;
                if offset != place.next {
                    let (job, follower) = (job.clone(), follower.clone());
                    verdict.violations.insert(Violation::Misplaced { job, follower, at });
                }
                let right = written.by(attempt, stream).get(place.next..).unwrap_or_default();
                let same = bytes.iter().zip(right).take_while(|(got, wrote)| got == wrote).count();
                if same < bytes.len() && !std::mem::replace(&mut place.wrong, true) {
                    let offset = place.next + same;
                    verdict.violations.insert(Violation::Wrong { job, follower, stream, attempt, offset });
                }
                place.next += bytes.len();
            }
            Seen::Ended { completed } => ended = Some((at.0, *completed)),
            Seen::Truncated { to } => {
                verdict.truncated += to.1 + 1 - at.1;
                last = Some(*to);
                for stream in [Stream::Stdout, Stream::Stderr] {
                    places.entry((at.0, stream)).or_default().may_jump = true;
                }
            }
        }
    }
    match ended {
        None => {
            let (job, follower) = name();
            verdict.violations.insert(Violation::Frozen { job, follower });
        }
        // What a completed run wrote is all there; what a lost one wrote is there up to some place.
        Some((attempt, true)) => {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let Place { next, may_jump, .. } = places.remove(&(attempt, stream)).unwrap_or_default();
                let missing = match written.done.get(&attempt) {
                    Some(_) => written.by(attempt, stream).len().saturating_sub(next),
                    None => 0,
                };
                if missing > 0 && !may_jump {
                    let (job, follower) = name();
                    verdict.violations.insert(Violation::Lost { job, follower, stream, missing });
                }
            }
        }
        Some((_, false)) => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: Program = Program { seed: 3, bursts: 1, lines: 6, rest_ms: 0 };

    /// A run in which all went well: six chunks, one follower.
    fn fine() -> History {
        let mut offsets: BTreeMap<Stream, u64> = BTreeMap::new();
        let mut seen = vec![((1, 0), Seen::Began)];
        for (n, (stream, bytes)) in (1..).zip(PROGRAM.pieces()) {
            let offset = offsets.entry(stream).or_default();
            seen.push(((1, n), Seen::Output { stream, offset: *offset, bytes: bytes.clone() }));
            *offset += bytes.len() as u64;
        }
        seen.push(((1, 7), Seen::Ended { completed: true }));
        let follower = Follower { name: "f".to_owned(), seen, connections: 1, told_gone: false };
        History {
            jobs: vec![JobHistory {
                id: "j".to_owned(),
                program: PROGRAM,
                requeue: false,
                executions: vec![Execution { attempt: 1, done: Some(1) }],
                followers: vec![follower],
            }],
            answered: vec![Answered { key: "k".to_owned(), id: "j".to_owned() }],
            kept: ["j".to_owned()].into(),
            may_forget: false,
            workers_stayed: true,
        }
    }

    /// The kinds of violation that a change of [`fine`] shows.
    fn kinds(spoil: impl FnOnce(&mut History)) -> Vec<String> {
        let mut history = fine();
        spoil(&mut history);
        let verdict = check(&history);
        let kind = |violation: &Violation| format!("{violation:?}").split(' ').next().unwrap().to_owned();
        let kinds: BTreeSet<String> = verdict.violations.iter().map(kind).collect();
        kinds.into_iter().collect()
    }

    fn seen(history: &mut History) -> &mut Vec<(At, Seen)> {
        &mut history.jobs[0].followers[0].seen
    }

    #[test]
    fn a_good_run_is_found_good() {
        assert!(kinds(|_| ()).is_empty());
        let verdict = check(&fine());
        assert_eq!((verdict.entries, verdict.executions, verdict.jobs), (8, 1, 1));
    }

    #[test]
    fn every_kind_of_harm_is_found() {
        type Spoil = fn(&mut History);
        let harms: [(&str, Spoil); 14] = [
            ("GivenUp", |h| seen(h)[7].1 = Seen::Ended { completed: false }),
            ("Repeated", |h| {
                let again = seen(h)[3].clone();
                seen(h).insert(4, again);
            }),
            ("Reordered", |h| seen(h).swap(3, 4)),
            ("Gap", |h| drop(seen(h).remove(3))),
            ("Gap", |h| drop(seen(h).remove(0))),
            ("Frozen", |h| drop(seen(h).pop())),
            ("AfterEnd", |h| seen(h).push(((2, 0), Seen::Began))),
            ("Wrong", |h| {
                if let Seen::Output { bytes, .. } = &mut seen(h)[2].1 {
                    bytes[0] ^= 1;
                }
            }),
            ("Misplaced", |h| {
                if let Seen::Output { offset, .. } = &mut seen(h)[2].1 {
                    *offset += 1;
                }
            }),
            ("Lost", |h| {
                seen(h).remove(6);
                seen(h)[6].0 = (1, 6);
            }),
            ("RanTwice", |h| h.jobs[0].executions.push(Execution { attempt: 2, done: None })),
            ("MadeUp", |h| h.jobs[0].executions[0].done = None),
            ("SubmitLost", |h| h.kept.clear()),
            ("KeySplit", |h| {
                h.kept.insert("other".to_owned());
                h.answered.push(Answered { key: "k".to_owned(), id: "other".to_owned() });
            }),
        ];
        for (kind, spoil) in harms {
            let found = kinds(spoil);
            assert!(found.iter().any(|found| found == kind), "{kind} was not among {found:?}");
        }
    }

    #[test]
    fn followers_that_saw_different_things_disagree() {
        let found = kinds(|history| {
            let mut other = history.jobs[0].followers[0].clone();
            other.name = "g".to_owned();
            other.seen[0].1 = Seen::Requeued;
            history.workers_stayed = false;
            history.jobs[0].followers.push(other);
        });
        assert_eq!(found, ["Disagreement"]);
    }

    #[test]
    fn a_second_attempt_is_fine_where_it_may_be_and_an_attempt_runs_once() {
        let requeued = |history: &mut History| {
            history.workers_stayed = false;
            let job = &mut history.jobs[0];
            job.requeue = true;
            job.executions.insert(0, Execution { attempt: 1, done: None });
            job.executions[1].attempt = 2;
            let seen = &mut job.followers[0].seen;
            let second: Vec<_> = seen.iter().map(|((_, n), seen)| ((2, *n), seen.clone())).collect();
            seen.truncate(3);
            seen.push(((1, 3), Seen::Requeued));
            seen.extend(second);
        };
        assert!(kinds(requeued).is_empty());
        let twice = kinds(|history| {
            requeued(history);
            history.jobs[0].executions[0].attempt = 2;
        });
        assert_eq!(twice, ["RanTwice"]);
    }

    #[test]
    fn what_is_said_to_be_gone_is_no_gap() {
        let found = kinds(|history| {
            let seen = seen(history);
            seen.drain(1..4);
            seen.insert(1, ((1, 1), Seen::Truncated { to: (1, 3) }));
        });
        assert!(found.is_empty(), "{found:?}");
    }
}
