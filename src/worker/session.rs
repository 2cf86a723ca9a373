//! One connection: register, then read orders and write reports until it ends.
//!
//! Two loops in one task: neither waits for the other, so a dispatcher that does not read is
//! still heard. What is to be sent lies with the jobs; the writer collects what is ready and
//! flushes once.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::agent::Agent;
use super::executor::tree;
use super::held::{Stop, Why};
use super::services;
use crate::link::{Link, LinkEnd, LinkReceiver, LinkSender};
use crate::model::spec::DEFAULT_GRACE;
use crate::protocol::agent::{
    AgentInput, AgentJobOrder, AgentJobReport, AgentOrder, AgentReport, AgentResize, CancelAttempt, Registered,
    ResumeVerdict, Verdict,
};
use crate::protocol::chunk::bytes_of;
use crate::protocol::codec::{Nothing, ToAgent, encode, read_at_agent};
use crate::protocol::{CloseCode, ErrorCode, WireError};

/// How long `registered` may take: the dispatcher looks every held job up.
const REGISTER_WITHIN: Duration = Duration::from_secs(30);

/// How long the reason is waited for why nothing can be written: longer than a closing handshake takes.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Answers that may wait to be written: refusals, all else lies with the jobs. When it is
/// full, orders are not read until the writer has caught up.
const ANSWERS: usize = 256;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum SessionEnd {
    /// The agent is done and said goodbye.
    Left,
    /// What we are has changed: it is to be said on a new connection, at once.
    Changed,
    /// The connection is gone; `registered` says whether the dispatcher had taken us in.
    Lost { end: LinkEnd, registered: bool },
    /// The dispatcher does not want us.
    Refused(WireError),
}

/// Runs a session over `link`.
pub(crate) async fn run(agent: &Arc<Agent>, link: Link) -> SessionEnd {
    let Link { hello, mut sender, mut receiver } = link;
    agent.set_clock(hello.now);
    let registered = tokio::select! {
        registered = timeout(REGISTER_WITHIN, register(agent, &mut sender, &mut receiver)) => registered,
        () = agent.gone.cancelled() => return SessionEnd::Left,
    };
    let registered = match registered {
        Ok(Ok(registered)) => registered,
        Ok(Err(end)) => return end,
        Err(_) => {
            let end = LinkEnd { code: None, reason: "the dispatcher did not answer register in time".to_owned() };
            return SessionEnd::Lost { end, registered: false };
        }
    };
    let beat = Duration::from_secs(registered.heartbeat_secs.max(1));
    apply_verdicts(agent, registered);
    agent.logins.connected();
    tracing::info!(worker = %agent.id, "registered");

    let (answers, waiting) = mpsc::channel(ANSWERS);
    let end = {
        let mut reads = pin!(read_orders(agent, &mut receiver, &answers));
        let writes = pin!(write_reports(agent, &mut sender, waiting, beat));
        tokio::select! {
            end = &mut reads => Some(SessionEnd::Lost { end, registered: true }),
            end = writes => match end {
                // Nothing can be written once the dispatcher has closed, and why it has is about to be read.
                Some(end) => {
                    let read = timeout(CLOSE_WITHIN, reads).await.ok().filter(|read| read.code.is_some());
                    Some(SessionEnd::Lost { end: read.unwrap_or(end), registered: true })
                }
                None => None,
            },
            () = agent.engine.changed() => Some(SessionEnd::Changed),
        }
    };
    agent.logins.disconnected();
    agent.jobs.pause_all();
    agent.outbox.clear();
    match end {
        Some(end) => end,
        None => {
            sender.close(CloseCode::Normal).await;
            SessionEnd::Left
        }
    }
}

async fn register(
    agent: &Agent,
    sender: &mut LinkSender,
    receiver: &mut LinkReceiver,
) -> Result<Registered, SessionEnd> {
    let lost = |end| SessionEnd::Lost { end, registered: false };
    sender.send(encode(&AgentReport::Register(Box::new(agent.register())))).await.map_err(lost)?;
    let mut unauthorized = None;
    loop {
        let text = match receiver.recv().await {
            Ok(text) => text,
            // A wrong token: the error came first, and says it better than the close code.
            Err(end) => return Err(unauthorized.map_or(lost(end), SessionEnd::Refused)),
        };
        match read_at_agent(&text) {
            Ok((ToAgent::Worker(AgentOrder::Registered(registered)), _)) => return Ok(registered),
            // Comes before the answer where the token is wrong, and for a register that was
            // read before the token was checked.
            Ok((ToAgent::Error(error), _)) if error.code == ErrorCode::Unauthorized => unauthorized = Some(error),
            Ok((ToAgent::Error(error), _)) if error.retry => {
                return Err(lost(LinkEnd { code: None, reason: error.message }));
            }
            Ok((ToAgent::Error(error), _)) => return Err(SessionEnd::Refused(error)),
            Ok(_) => (),
            Err((_, error)) => tracing::debug!(%error, "a frame that makes no sense here"),
        }
    }
}

/// Goes on with the jobs that are still ours, and drops the others.
fn apply_verdicts(agent: &Arc<Agent>, registered: Registered) {
    for ResumeVerdict { job_id, attempt, verdict, next_n, stdout_bytes, stderr_bytes } in registered.resume {
        let Some(held) = agent.jobs.get((job_id, attempt)) else { continue };
        let stored = (stdout_bytes.unwrap_or(0), stderr_bytes.unwrap_or(0));
        let done = match verdict {
            Verdict::Continue if held.awake(next_n, stored) => {
                services::go_on(agent, held);
                continue;
            }
            // Nothing runs here that would have to let go.
            Verdict::Drop if held.is_dormant() => true,
            Verdict::Continue => held.resend(&agent.outbox, next_n),
            // Its end is stored; should the store lose that yet, it is asked for again.
            Verdict::Drop if held.is_told() => true,
            Verdict::Drop => {
                held.forget();
                held.has_ended()
            }
        };
        if done {
            agent.jobs.remove(held.key);
        }
    }
}

async fn read_orders(agent: &Arc<Agent>, receiver: &mut LinkReceiver, answers: &mpsc::Sender<String>) -> LinkEnd {
    loop {
        let text = match receiver.recv().await {
            Ok(text) => text,
            Err(end) => return end,
        };
        let (frame, id) = match read_at_agent(&text) {
            Ok(read) => read,
            // A newer dispatcher may say what we do not know.
            Err((_, error)) => {
                tracing::debug!(%error, "a frame that makes no sense here");
                continue;
            }
        };
        let answer = match frame {
            ToAgent::Job(order) => obey_for_job(agent, order),
            ToAgent::Worker(AgentOrder::SftpLogin(grant)) => {
                agent.logins.answer(id.as_ref(), Ok(grant));
                None
            }
            ToAgent::Worker(order) => {
                obey(agent, order);
                None
            }
            ToAgent::Container(order) => {
                services::obey(agent, &order);
                None
            }
            ToAgent::Error(error) => {
                if !agent.logins.answer(id.as_ref(), Err(error.clone())) {
                    tracing::warn!(%error, "the dispatcher refused a report");
                }
                None
            }
            ToAgent::Ping => Some(encode(&crate::protocol::codec::Pong {})),
            ToAgent::Hello(_) | ToAgent::Auth(_) | ToAgent::Pong => None,
        };
        if let Some(answer) = answer
            && answers.send(answer).await.is_err()
        {
            return LinkEnd { code: None, reason: "the writer has ended".to_owned() };
        }
    }
}

fn obey(agent: &Agent, order: AgentOrder) {
    match order {
        AgentOrder::Heartbeat(beat) => {
            for key in beat.lost {
                if let Some(held) = agent.jobs.get(key).filter(|held| held.is_lost()) {
                    tracing::info!(job = %key.0, attempt = key.1, "the job is someone else's now");
                    held.forget();
                    if held.has_ended() {
                        agent.jobs.remove(key);
                    }
                }
            }
        }
        AgentOrder::Drain(Nothing {}) => agent.ordered_to_drain.store(true, Ordering::Relaxed),
        AgentOrder::Undrain(Nothing {}) => agent.ordered_to_drain.store(false, Ordering::Relaxed),
        AgentOrder::Registered(_) | AgentOrder::SftpLogin(_) => (),
    }
}

/// Does what is asked of a job; returns an answer that is not the job's own.
fn obey_for_job(agent: &Arc<Agent>, order: AgentJobOrder<'_>) -> Option<String> {
    match order {
        AgentJobOrder::Assign(assign) => {
            return agent.assign(*assign).err().map(|reject| encode(&AgentJobReport::Reject(reject)));
        }
        AgentJobOrder::Ack(ack) => {
            if let Some(held) = agent.jobs.get((ack.job_id, ack.attempt)) {
                let was_told = held.is_told();
                if held.ack(ack.n, ack.stable, ack.window_bytes) {
                    agent.jobs.remove(held.key);
                } else if held.is_told() && !was_told {
                    agent.jobs.keep_told(held.key);
                }
            }
        }
        AgentJobOrder::Nack(nack) => {
            if let Some(held) = agent.jobs.get((nack.job_id, nack.attempt)) {
                held.resend(&agent.outbox, nack.expect);
            }
        }
        AgentJobOrder::Cancel(CancelAttempt { job_id, attempt, grace_secs }) => {
            if let Some(held) = agent.jobs.get((job_id, attempt)) {
                let grace = Duration::try_from_secs_f64(grace_secs).unwrap_or(DEFAULT_GRACE);
                held.stop(Stop { why: Why::Cancelled, grace });
            }
        }
        AgentJobOrder::Input(AgentInput { job_id, attempt, text, base64, eof }) => {
            if let Some(held) = agent.jobs.get((job_id, attempt)) {
                match (text.is_none() && base64.is_none(), bytes_of(text.as_deref(), base64.as_deref())) {
                    (true, _) => held.input(Vec::new(), eof),
                    (false, Ok(bytes)) => held.input(bytes, eof),
                    (false, Err(error)) => tracing::debug!(%error, "input that cannot be read"),
                }
            }
        }
        AgentJobOrder::Resize(AgentResize { job_id, attempt, cols, rows }) => {
            if let Some(held) = agent.jobs.get((job_id, attempt)) {
                held.resize(cols, rows);
            }
        }
    }
    None
}

/// Writes until the agent leaves (`None`) or the link ends.
async fn write_reports(
    agent: &Agent,
    sender: &mut LinkSender,
    mut answers: mpsc::Receiver<String>,
    beat: Duration,
) -> Option<LinkEnd> {
    let mut beats = interval_at(Instant::now(), beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told_draining = false;
    loop {
        let mut first = tokio::select! {
            () = agent.gone.cancelled() => return None,
            () = agent.outbox.filled() => None,
            () = agent.logins.filled() => None,
            answer = answers.recv() => answer,
            aside = agent.asides.next() => Some(aside),
            _ = beats.tick() => {
                tree::reap_strays();
                Some(encode(&AgentReport::Heartbeat(agent.heartbeat())))
            }
            () = agent.leaving.cancelled(), if !told_draining => {
                told_draining = true;
                Some(encode(&AgentReport::Drain(Nothing {})))
            }
        };
        loop {
            let frame = match first.take().or_else(|| answers.try_recv().ok()).or_else(|| agent.logins.next_frame()) {
                Some(answer) => answer.into(),
                None => match agent.outbox.pop() {
                    Some(job) => match job.next_frame() {
                        Some(frame) => {
                            agent.outbox.push(job);
                            frame
                        }
                        None => continue,
                    },
                    None => break,
                },
            };
            if let Err(end) = sender.feed(frame).await {
                return Some(end);
            }
        }
        if let Err(end) = sender.flush().await {
            return Some(end);
        }
    }
}
