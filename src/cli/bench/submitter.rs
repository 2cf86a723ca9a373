//! A client made up for measuring: submits the same job over and over, and sees each one end.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::peer::{Outgoing, Peer, job_verb, string};
use super::target::{Target, job_number};
use crate::protocol::codec::encode;
use crate::protocol::job::{JobRequest, Submit};
use crate::protocol::spec::JobSpec;

/// See the module.
pub(super) struct Submitter {
    peer: Peer,
    submit: String,
    /// Jobs that were asked for, were taken, and have ended.
    pub(super) asked: u64,
    pub(super) taken: u64,
    pub(super) ended: u64,
    seen: Seen,
}

/// What came of a job.
pub(super) enum News<'a> {
    /// It is in the queue.
    Submitted,
    /// It wrote something.
    Output(&'a [u8]),
    /// It is over.
    Ended(&'a [u8]),
}

impl Submitter {
    /// Connects. `follow`: whether it sees what comes of its jobs.
    pub(super) async fn connect(target: &Target, spec: JobSpec, follow: bool) -> Result<Self> {
        let peer = Peer::connect(&target.address, target.token.as_ref()).await?;
        let spec = JobSpec { requires: target.requires.clone(), ..spec };
        let submit = encode(&JobRequest::Submit(Box::new(Submit { spec, key: None, follow: Some(follow) })));
        Ok(Self { peer, submit, asked: 0, taken: 0, ended: 0, seen: Seen::default() })
    }

    /// Asks for `count` more jobs.
    pub(super) fn submit(&mut self, count: u64) {
        for _ in 0..count {
            self.peer.out().text(self.submit.as_bytes());
        }
        self.asked += count;
    }

    /// Jobs that were asked for and whose end it has not seen.
    pub(super) fn under_way(&self) -> u64 {
        self.asked - self.ended
    }

    /// Writes what it asks for and hears what comes of it. Returns once something came.
    pub(super) async fn turn(&mut self, mut on_news: impl FnMut(News<'_>) -> Result<()>) -> Result<()> {
        let Self { peer, taken, ended, seen, .. } = self;
        peer.turn(|frame: &[u8], _: &mut Outgoing| match job_verb(frame) {
            Some("submitted") => {
                *taken += 1;
                on_news(News::Submitted)
            }
            Some("output") => on_news(News::Output(frame)),
            Some("end") => {
                let job = string(frame, br#""jobId":""#).context("an end without a job")?;
                ensure!(seen.first(job_number(job)?), "{job} ended twice");
                *ended += 1;
                on_news(News::Ended(frame))
            }
            _ => Ok(()),
        })
        .await
    }

    /// Submits jobs, with `ahead` of them under way, until `count` have ended or time is up.
    pub(super) async fn pump(&mut self, count: u64, ahead: u64, until: Instant) -> Result<()> {
        let goal = self.ended + count;
        while self.ended < goal && Instant::now() < until {
            let more = ahead.saturating_sub(self.under_way()).min(goal.saturating_sub(self.asked));
            self.submit(more);
            self.turn(|_| Ok(())).await?;
        }
        Ok(())
    }

    /// Waits until all that is under way has ended.
    pub(super) async fn settle(&mut self) -> Result<()> {
        while self.under_way() > 0 {
            self.turn(|_| Ok(())).await?;
        }
        Ok(())
    }
}

/// Numbers that have come, each of which may come once.
#[derive(Debug, Default)]
struct Seen {
    base: Option<u64>,
    numbers: Vec<bool>,
}

impl Seen {
    /// Whether this is the first time. Numbers rise, so those below the first few are none of ours.
    fn first(&mut self, number: u64) -> bool {
        /// Jobs may end in another order than they were submitted in.
        const BEFORE: u64 = 1_000_000;
        let base = *self.base.get_or_insert(number.saturating_sub(BEFORE));
        let Some(index) = number.checked_sub(base).and_then(|index| usize::try_from(index).ok()) else { return false };
        if index >= self.numbers.len() {
            self.numbers.resize(index + 1, false);
        }
        !std::mem::replace(&mut self.numbers[index], true)
    }
}
