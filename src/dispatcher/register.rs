//! Workers coming, reporting and going.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tracing::{info, warn};

use super::fleet::Agent;
use super::history::Ear;
use super::{DispatchError, Dispatcher, broker, intake};
use crate::auth::{Credential, Identity};
use crate::hub::Outbox;
use crate::metrics::Returned;
use crate::model::worker::Gpu;
use crate::model::{Contact, Job, Outcome, Role, Worker};
use crate::protocol::agent::{
    AgentOrder, AgentOutput, AttemptEnd, AttemptGone, AttemptRef, Heartbeat, Lost, Register, Registered, Reject,
    Resume, ResumeVerdict, Verdict,
};
use crate::protocol::chunk::bytes_of;
use crate::protocol::codec::{FrameId, Nothing};
use crate::protocol::{Attempt, CloseCode, ContainerId, JobId, WireError};
use crate::store::log::{Gone, NewOutput};

/// Slots of one worker at the most: what one connection's orders are sized for.
const SLOTS_MOST: u32 = 4_096;

/// A worker that may come in once it was told so.
#[derive(Debug)]
pub struct Registration {
    /// Its connection.
    pub agent: Arc<Agent>,
    /// The reply. It must be on its way before anything else is: a worker that does not know yet
    /// that it is registered expects no orders.
    pub reply: Registered,
    worker: Worker,
    /// Containers of which it has data.
    has: Vec<ContainerId>,
}

impl Dispatcher {
    /// Lets a worker register that connected from this address: compares what it holds with what the store says it runs. It gets no
    /// orders before [`Dispatcher::registered`].
    ///
    /// # Errors
    /// `forbidden` for other roles, `conflict` for a smaller `boot` than known, a wrong field, or the store.
    pub async fn register(
        &self,
        who: &Identity,
        register: Register,
        from: IpAddr,
        outbox: &Arc<Outbox>,
    ) -> Result<Registration, DispatchError> {
        if who.role != Role::Worker && who.credential != Credential::Open {
            return Err(DispatchError::Forbidden("only workers register"));
        }
        if !(1..=SLOTS_MOST).contains(&register.slots) {
            return Err(WireError::bad_field("slots", format!("slots must be 1 to {SLOTS_MOST}")).into());
        }
        let contact = broker::contact_of(register.pub_key.clone(), register.address.clone())?;
        let now = self.0.clock.now();
        let (resume, has) = (register.resume.clone(), register.containers.clone());
        let before = self.0.store.worker(&register.worker_id).await?;
        let mut worker = worker_of(register, contact, from, now, self.instance());
        worker.slots = worker.slots.min(self.0.settings.limits.worker_jobs);
        worker.draining = before.as_ref().is_some_and(|before| before.draining);
        if !self.0.store.register(worker.clone()).await? {
            return Err(DispatchError::Conflict(format!(
                "worker {} is registered with a later boot; this one is old",
                worker.id
            )));
        }
        if before.as_ref().is_some_and(|before| before.boot == worker.boot) {
            self.0.metrics.returned.of(Returned::Worker).inc();
        }
        let restarted = before.is_some_and(|before| before.boot < worker.boot);
        let agent = Arc::new(Agent::new(&worker, Arc::clone(outbox), now));
        let mut registration = Registration {
            reply: Registered {
                worker_id: worker.id.clone(),
                heartbeat_secs: self.0.settings.heartbeat.as_secs().max(1),
                resume: Vec::new(),
            },
            agent: Arc::clone(&agent),
            worker,
            has,
        };
        let running = self.0.store.running_on(&agent.id).await?;
        for held in &resume {
            let verdict = self.verdict(held, &running).await?;
            registration.reply.resume.push(verdict);
        }
        // It was heard of: what it goes on with is its own for a whole lease.
        let verdicts = registration.reply.resume.iter();
        let goes_on: Vec<_> =
            verdicts.filter(|held| held.verdict == Verdict::Continue).map(|held| (held.job_id, held.attempt)).collect();
        self.0.store.renew(&agent.id, &goes_on, self.0.settings.lease).await?;
        for job in running {
            let resumed = resume.iter().any(|held| held.job_id == job.id && held.attempt == job.attempt);
            if resumed {
                agent.take(&job, now);
            } else if restarted {
                // The process that ran it is gone, and nobody can say how far it came.
                self.give_up(job.id, job.attempt).await?;
            }
        }
        Ok(registration)
    }

    /// Takes a worker in whose reply is on its way: from now on it gets orders.
    ///
    /// # Errors
    /// The store; the worker must come again.
    pub async fn registered(&self, registration: Registration) -> Result<(), DispatchError> {
        let Registration { agent, reply, worker, has } = registration;
        let draining = worker.draining;
        self.0.shutdown.spawn(intake::run(self.clone(), Arc::clone(&agent)));
        let older = self.noting_presence(&agent.id, || self.0.fleet.join(Arc::clone(&agent), worker));
        if let Some(older) = older {
            older.close(CloseCode::Superseded);
        }
        if draining {
            // An agent that has just started does not know.
            agent.order(&AgentOrder::Drain(Nothing {}));
        }
        // Before anything is waited for: who has read the reply may ask for the worker's record.
        self.worker_changed(&agent.id);
        // Looked up once this connection can be found: a claim that was under way for the older
        // one is either seen here, or sees this connection when it is answered.
        let under_way = self.0.handing.begin();
        let running = self.0.store.running_on(&agent.id).await?;
        let (resumed, again): (Vec<_>, Vec<_>) = running.into_iter().partition(|job| agent.held(job.id).is_some());
        info!(worker = %agent.id, resumed = reply.resume.len(), again = again.len(), "worker registered");
        for job in &again {
            self.hand_over(&agent, job).await;
        }
        drop(under_way);
        for job in resumed.iter().filter(|job| job.cancel_grace_ms.is_some()) {
            self.order_cancel(job).await?;
        }
        self.0.queue.poke();
        self.reconcile_containers(&agent.id, &has).await
    }

    /// A worker's connection has ended. Its jobs stay its own until their leases run out.
    pub fn disconnected(&self, agent: &Arc<Agent>) {
        agent.intake.close();
        self.0.fleet.leave(agent, self.0.clock.now());
    }

    /// Renews leases; returns what the worker must kill.
    ///
    /// # Errors
    /// The store.
    pub async fn heartbeat(&self, agent: &Arc<Agent>, beat: Heartbeat) -> Result<AgentOrder, DispatchError> {
        let Heartbeat { usage, jobs, mut containers } = beat;
        let mut is_back = false;
        self.noting_presence(&agent.id, || {
            self.0.fleet.update_known(&agent.id, |known| is_back = std::mem::take(&mut known.told_offline));
        });
        if is_back {
            info!(worker = %agent.id, "worker heard of again");
            self.worker_changed(&agent.id);
        }
        if let Some(usage) = usage {
            self.worker_uses(&agent.id, &usage);
            self.note_usage(&agent.id, &usage, Ear::Here);
            agent.set_usage(usage);
        }
        // A worker has no word on what it does not hold.
        containers.retain(|report| agent.held(report.container_id.job()).is_some());
        self.note_container_usage(&containers, Ear::Here);
        self.tell_of_containers_usage(containers);
        if self.has_peers() {
            // Claimed where the worker was connected before, and handed to nobody.
            self.recover_claims(agent).await;
        }
        let lost = self.0.store.renew(&agent.id, &jobs, self.0.settings.lease).await?;
        for (job, attempt) in &lost {
            self.release(*job, *attempt);
        }
        // It may have been passed over while it was silent.
        self.0.queue.poke();
        Ok(AgentOrder::Heartbeat(Lost { lost }))
    }

    /// A worker has taken a job.
    ///
    /// # Errors
    /// `stale_attempt` where it is not the worker's.
    pub fn accept(&self, agent: &Agent, accept: AttemptRef) -> Result<(), DispatchError> {
        check_held(agent, accept.job_id, accept.attempt)
    }

    /// A worker refuses a job.
    ///
    /// # Errors
    /// `stale_attempt` where it is not the worker's, or the store.
    pub async fn reject(&self, agent: &Agent, reject: Reject) -> Result<(), DispatchError> {
        let Reject { job_id, attempt, reason } = reject;
        check_held(agent, job_id, attempt)?;
        let change = self.0.store.reject(job_id, attempt, reason).await??;
        self.publish(&change).await;
        self.release(job_id, attempt);
        Ok(())
    }

    /// A worker read output; it is stored in time, and acknowledged or, by the frame's `id`, refused then.
    ///
    /// # Errors
    /// A wrong field, or the store.
    pub async fn output(
        &self,
        agent: &Agent,
        output: AgentOutput<'_>,
        id: Option<&FrameId>,
    ) -> Result<(), DispatchError> {
        let AgentOutput { job_id, attempt, n, stream, offset: _, text, base64, time } = output;
        if n == 0 {
            return Err(WireError::bad_field("n", "n counts from 1").into());
        }
        let bytes = match (text, base64) {
            (Some(std::borrow::Cow::Owned(text)), None) => text.into_bytes(),
            (text, base64) => bytes_of(text.as_deref(), base64.as_deref())?,
        };
        if bytes.is_empty() {
            return Err(WireError::bad_field("text", "a chunk holds at least one byte").into());
        }
        let time = time.unwrap_or_else(|| self.0.clock.now());
        if self.may_write(agent, job_id, attempt, id).await? {
            agent.intake.output(job_id, attempt, NewOutput { n, stream, bytes: bytes.into(), time }, id).await;
        }
        Ok(())
    }

    /// A worker's job is over; stored as output is.
    ///
    /// # Errors
    /// The store.
    pub async fn end(&self, agent: &Agent, end: AttemptEnd, id: Option<&FrameId>) -> Result<(), DispatchError> {
        let AttemptEnd { job_id, attempt, n, exit_code, reason, error_message, time } = end;
        let time = time.unwrap_or_else(|| self.0.clock.now());
        let outcome = Outcome { reason, exit_code, message: error_message };
        if self.may_write(agent, job_id, attempt, id).await? {
            agent.intake.end(job_id, attempt, (n, time, outcome), id).await;
            // The next job is claimed while this one's end is being stored.
            agent.finish(job_id, attempt);
            self.0.queue.poke();
        }
        Ok(())
    }

    /// A worker cannot say again what the store has lost: the log goes on after it.
    ///
    /// # Errors
    /// The store.
    pub async fn gone(&self, agent: &Agent, gone: AttemptGone, id: Option<&FrameId>) -> Result<(), DispatchError> {
        let AttemptGone { job_id, attempt, n, stdout_bytes, stderr_bytes } = gone;
        if self.may_write(agent, job_id, attempt, id).await? {
            warn!(job = %job_id, n, "the store has lost output that its worker does not have any more");
            self.0.store.skip(job_id, attempt, Gone { n, stdout: stdout_bytes, stderr: stderr_bytes }).await??;
        }
        Ok(())
    }

    /// Whether a worker may write to a job; one that is another worker's it is told to let go. Of
    /// what was its own the store says whether it is stale, or repeats the end.
    async fn may_write(
        &self,
        agent: &Agent,
        job_id: JobId,
        attempt: Attempt,
        id: Option<&FrameId>,
    ) -> Result<bool, DispatchError> {
        if check_held(agent, job_id, attempt).is_ok() {
            return Ok(true);
        }
        let error = match self.0.store.job(job_id.into()).await? {
            Some(job) if job.worker.as_ref() == Some(&agent.id) => return Ok(true),
            Some(job) => stale(job_id, attempt, job.attempt),
            None => DispatchError::NotFound("job"),
        };
        agent.refuse(job_id, attempt, id, &error);
        Ok(false)
    }

    /// Ends or requeues an attempt whose worker is lost.
    pub(super) async fn give_up(&self, job: JobId, attempt: Attempt) -> Result<(), DispatchError> {
        match self.0.store.lose(job, attempt).await? {
            Ok(change) => self.publish(&change).await,
            Err(error) => warn!(%error, "an attempt was over before it was given up"),
        }
        Ok(())
    }

    async fn verdict(&self, held: &Resume, running: &[Arc<Job>]) -> Result<ResumeVerdict, DispatchError> {
        let Resume { job_id, attempt, last_n: _, state: _ } = *held;
        let mine = running.iter().any(|job| job.id == job_id && job.attempt == attempt);
        let (verdict, next_n) = match mine {
            false => (Verdict::Drop, 0),
            true => match self.0.store.last_n(job_id, attempt).await? {
                Ok(last_n) => (Verdict::Continue, last_n + 1),
                Err(_) => (Verdict::Drop, 0),
            },
        };
        // The agent that was killed has nothing in memory of a container that runs on.
        let stored = running.iter().find(|job| job.id == job_id && job_id.is_container());
        let stdout_bytes = stored.map(|job| job.stdout_bytes);
        let stderr_bytes = stored.map(|job| job.stderr_bytes);
        Ok(ResumeVerdict { job_id, attempt, verdict, next_n, stdout_bytes, stderr_bytes })
    }
}

pub(super) fn check_held(agent: &Agent, job: JobId, attempt: Attempt) -> Result<(), DispatchError> {
    match agent.held(job) {
        Some(held) if held.attempt == attempt => Ok(()),
        Some(held) => Err(stale(job, attempt, held.attempt)),
        None => Err(stale(job, attempt, attempt)),
    }
}

fn stale(job: JobId, stale: Attempt, current: Attempt) -> DispatchError {
    crate::store::error::AppendError::Stale { job, stale, current }.into()
}

/// An address as others reach it: a host that says "anywhere" is the one that the worker comes from.
fn reachable(address: &str, from: IpAddr) -> String {
    let Some((host, port)) = address.rsplit_once(':') else { return address.to_owned() };
    match host.trim_matches(['[', ']']) {
        "" | "0.0.0.0" | "::" => SocketAddr::new(from, port.parse().unwrap_or_default()).to_string(),
        _ => address.to_owned(),
    }
}

fn worker_of(register: Register, contact: Option<Contact>, from: IpAddr, now: u64, instance: &str) -> Worker {
    let Register {
        worker_id,
        boot,
        hostname,
        os,
        arch,
        cpu_count,
        memory_bytes,
        disk_bytes,
        gpus,
        slots,
        labels,
        version,
        images,
        pub_key: _,
        address: _,
        resume: _,
        containers: _,
        sftp,
    } = register;
    let mut gpus: Vec<Gpu> = gpus
        .into_iter()
        .map(|gpu| Gpu { index: gpu.index, name: gpu.name, uuid: gpu.uuid, memory_bytes: gpu.memory_bytes })
        .collect();
    gpus.sort_by_key(|gpu| gpu.index);
    gpus.dedup_by_key(|gpu| gpu.index);
    Worker {
        id: worker_id,
        boot,
        hostname,
        os,
        arch,
        version,
        cpu_count,
        memory_bytes,
        disk_bytes,
        gpus,
        slots,
        labels,
        ip: Some(from),
        containers: images.is_some(),
        draining: false,
        last_seen: now,
        instance: instance.to_owned(),
        polls: false,
        contact,
        sftp: sftp.map(|address| reachable(&address, from)),
    }
}
