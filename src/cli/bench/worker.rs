//! A worker made up for measuring: it is given jobs like any other, and runs nothing.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::peer::{Outgoing, Peer, find, job_verb, number, string};
use super::target::Target;
use crate::base::clock::Clock;
use crate::protocol::agent::{AgentReport, Register};
use crate::protocol::codec::encode;

/// How often it says that it lives; a third of what dispatchers expect.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Worker {
    peer: Peer,
    heartbeat: Interval,
    /// The job it holds, where it holds one for long: as in a frame's `jobs`.
    holds: Option<String>,
}

/// What a frame asks of a worker.
pub(super) enum Order<'a> {
    /// Run this attempt of this job.
    Assign(Attempt<'a>),
    /// This many of a job's entries are stored.
    Ack(u64),
}

/// An attempt of a job.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) job: &'a str,
    pub(super) attempt: u64,
}

impl Worker {
    /// Connects and registers.
    pub(super) async fn register(target: &Target, slots: u32) -> Result<Self> {
        let mut peer = Peer::connect(&target.address, target.worker_token.as_ref()).await?;
        let register = Register {
            containers: Vec::new(),
            sftp: None,
            worker_id: target.worker.clone(),
            boot: Clock::default().now(),
            hostname: "bench".to_owned(),
            os: "linux".to_owned(),
            arch: String::new(),
            cpu_count: 1,
            memory_bytes: 0,
            disk_bytes: 0,
            gpus: Vec::new(),
            slots,
            labels: std::collections::BTreeMap::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            images: None,
            pub_key: None,
            address: None,
            resume: Vec::new(),
        };
        peer.out().text(encode(&AgentReport::Register(Box::new(register))).as_bytes());
        let mut heartbeat = interval(HEARTBEAT_EVERY);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { peer, heartbeat, holds: None })
    }

    /// What it says next.
    pub(super) fn out(&mut self) -> &mut Outgoing {
        self.peer.out()
    }

    /// From now on its heartbeats say that it holds this attempt.
    pub(super) fn hold(&mut self, held: Attempt<'_>) {
        self.holds = Some(format!("[\"{}\",{}]", held.job, held.attempt));
    }

    /// Writes what it has to say and hears what it is told. Returns once something came.
    pub(super) async fn turn(
        &mut self,
        mut on_order: impl FnMut(Order<'_>, &mut Outgoing) -> Result<()>,
    ) -> Result<()> {
        tokio::select! {
            biased;
            told = self.peer.turn(|frame, out| match job_verb(frame) {
                Some("assign") => on_order(Order::Assign(attempt(frame).context("an assign without a job")?), out),
                Some("ack") => on_order(Order::Ack(number(frame, br#""n":"#).context("an ack without n")?), out),
                _ => Ok(()),
            }) => told,
            _ = self.heartbeat.tick() => {
                let jobs = self.holds.as_deref().unwrap_or_default();
                let beat = format!(r#"{{"type":"worker","data":{{"opt":"heartbeat","jobs":[{jobs}]}}}}"#);
                self.peer.out().text(beat.as_bytes());
                Ok(())
            }
        }
    }
}

fn attempt(frame: &[u8]) -> Option<Attempt<'_>> {
    // Both stand before the spec, which may hold anything.
    let start = find(frame, br#""jobId":""#)?;
    Some(Attempt {
        job: string(&frame[start..], br#""jobId":""#)?,
        attempt: number(&frame[start..], br#""attempt":"#)?,
    })
}

impl Attempt<'_> {
    /// Takes the job.
    pub(super) fn accept(self, out: &mut Outgoing) {
        let Self { job, attempt } = self;
        out.text(
            format!(r#"{{"type":"job","data":{{"opt":"accept","jobId":"{job}","attempt":{attempt}}}}}"#).as_bytes(),
        );
    }

    /// Ends it after `n - 1` entries, as a program that did what it should.
    pub(super) fn end(self, n: u64, out: &mut Outgoing) {
        let Self { job, attempt } = self;
        let end = format!(
            r#"{{"type":"job","data":{{"opt":"end","jobId":"{job}","attempt":{attempt},"n":{n},"exitCode":0,"reason":"exit"}}}}"#
        );
        out.text(end.as_bytes());
    }

    /// Writes entry `n` of the log. `text` needs no escapes.
    pub(super) fn output(self, n: u64, offset: u64, text: &str, frame: &mut Vec<u8>, out: &mut Outgoing) {
        let Self { job, attempt } = self;
        frame.clear();
        // Writing to memory cannot fail.
        let _ = write!(
            frame,
            r#"{{"type":"job","data":{{"opt":"output","jobId":"{job}","attempt":{attempt},"n":{n},"stream":"stdout","offset":{offset},"text":"{text}"}}}}"#
        );
        out.text(frame);
    }
}
