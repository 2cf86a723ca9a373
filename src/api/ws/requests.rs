//! Frames of clients about jobs and workers.

use super::session::{Failure, Reader};
use crate::auth::Identity;
use crate::hub::Item;
use crate::protocol::chunk::bytes_of;
use crate::protocol::codec::{Acknowledged, FrameId, encode_with};
use crate::protocol::job::{Follow, Input, JobEvent, JobReply, JobRequest, JobsReply, Named, Resize};
use crate::protocol::worker::{NamedWorker, WorkerEvent, WorkerReply, WorkerRequest, WorkersReply};
use crate::protocol::{ErrorCode, JobId, WireError};

impl Reader {
    /// A client's frame about jobs.
    pub(super) async fn job(
        &mut self,
        who: &Identity,
        id: Option<&FrameId>,
        request: JobRequest<'_>,
    ) -> Result<(), Failure> {
        match request {
            JobRequest::Submit(submit) => Ok(self.submit(who, id, *submit).await?),
            JobRequest::Follow(follow) => self.follow(who, id, follow).await,
            JobRequest::Unfollow(Named { job_id }) => {
                let job = self.dispatcher.job(who, job_id).await?;
                self.session.outbox.push(Item::Unfollow(job.id)).await.map_err(|_| Failure::Hangup)?;
                self.acknowledge(id, "unfollow").await
            }
            JobRequest::Get(Named { job_id }) => {
                let job = self.dispatcher.get(who, job_id).await?;
                Ok(self.reply(id, &JobEvent::Job(Box::new(JobReply { job }))).await?)
            }
            JobRequest::List(list) => {
                // Boxed, as what reads much: every frame of a connection takes room for the largest of these.
                let page = Box::pin(self.dispatcher.list(who, &list)).await?;
                let next = page.next.map(|id| id.to_string());
                Ok(self.reply(id, &JobEvent::Jobs(JobsReply { jobs: page.jobs, next })).await?)
            }
            JobRequest::Counts(_) => {
                let counts = self.dispatcher.job_counts(who).await?;
                Ok(self.reply(id, &JobEvent::Counts(counts)).await?)
            }
            JobRequest::Read(read) => {
                let (job, part) = Box::pin(self.dispatcher.page_of_job(who, &read)).await?;
                Ok(self.reply(id, &JobEvent::Page(part.of_job(job))).await?)
            }
            JobRequest::Templates(_) => {
                let templates = self.dispatcher.templates();
                Ok(self.reply(id, &JobEvent::Templates(templates)).await?)
            }
            JobRequest::Watch(_) => {
                let watch = self.dispatcher.watch_jobs(who, &self.session.outbox)?;
                // The reply first: what is watched comes after it.
                self.acknowledge(id, "watch").await?;
                self.queue(Item::WatchJobs(Some(watch))).await
            }
            JobRequest::Unwatch(_) => {
                self.queue(Item::WatchJobs(None)).await?;
                self.acknowledge(id, "unwatch").await
            }
            JobRequest::Input(Input { job_id, text, base64, eof }) => {
                // `eof` alone needs no bytes.
                let bytes = match (&text, &base64) {
                    (None, None) if eof => Vec::new(),
                    _ => bytes_of(text.as_deref(), base64.as_deref())?,
                };
                self.dispatcher.input(who, job_id, &bytes, eof).await?;
                self.acknowledge_if_asked(id, "input").await
            }
            JobRequest::Resize(Resize { job_id, cols, rows }) => {
                self.dispatcher.resize(who, job_id, cols, rows).await?;
                self.acknowledge_if_asked(id, "resize").await
            }
            JobRequest::Cancel(cancel) => {
                self.dispatcher.cancel(who, &cancel).await?;
                self.acknowledge(id, "cancel").await
            }
        }
    }

    /// A client's frame about workers.
    pub(super) async fn worker(
        &mut self,
        who: &Identity,
        id: Option<&FrameId>,
        request: WorkerRequest,
    ) -> Result<(), Failure> {
        match request {
            WorkerRequest::List(list) => {
                let (workers, next) = self.dispatcher.workers(who, &list).await?;
                let next = next.map(|id| id.to_string());
                Ok(self.reply(id, &WorkerEvent::Workers(WorkersReply { workers, next })).await?)
            }
            WorkerRequest::Get(NamedWorker { worker_id }) => {
                let worker = self.dispatcher.worker(who, &worker_id).await?;
                Ok(self.reply(id, &WorkerEvent::Worker(Box::new(WorkerReply { worker }))).await?)
            }
            WorkerRequest::History(NamedWorker { worker_id }) => {
                let history = self.dispatcher.worker_history(who, worker_id).await?;
                Ok(self.reply(id, &WorkerEvent::History(history)).await?)
            }
            WorkerRequest::Watch(_) => {
                let watch = self.dispatcher.watch_workers(who, &self.session.outbox)?;
                self.acknowledge_worker(id, "watch").await?;
                self.queue(Item::WatchWorkers(Some(watch))).await
            }
            WorkerRequest::Unwatch(_) => {
                self.queue(Item::WatchWorkers(None)).await?;
                self.acknowledge_worker(id, "unwatch").await
            }
            WorkerRequest::Drain(NamedWorker { worker_id }) => {
                self.dispatcher.set_draining(who, &worker_id, true).await?;
                self.acknowledge_worker(id, "drain").await
            }
            WorkerRequest::Undrain(NamedWorker { worker_id }) => {
                self.dispatcher.set_draining(who, &worker_id, false).await?;
                self.acknowledge_worker(id, "undrain").await
            }
        }
    }

    async fn follow(&mut self, who: &Identity, id: Option<&FrameId>, follow: Follow) -> Result<(), Failure> {
        let Follow { job_id, after } = follow;
        let (reply, follow) = self.dispatcher.follow(who, job_id, after, &self.session.outbox).await?;
        self.check_follows(Some(follow.job))?;
        self.reply(id, &JobEvent::Following(reply)).await?;
        self.take_up(follow).await
    }

    pub(super) async fn take_up(&self, follow: crate::hub::Follow) -> Result<(), Failure> {
        self.session.follows.lock().insert(follow.job);
        self.queue(Item::Follow(Box::new(follow))).await
    }

    /// Whether there is room for one more log, or `job` is followed already and only moves.
    pub(super) fn check_follows(&self, job: Option<JobId>) -> Result<(), WireError> {
        let most = self.dispatcher.settings().limits.follows;
        let follows = self.session.follows.lock();
        if follows.len() >= most && job.is_none_or(|job| !follows.contains(&job)) {
            let message = format!("this connection follows {most} logs, which is the limit; unfollow one");
            return Err(WireError::new(ErrorCode::LimitExceeded, message));
        }
        Ok(())
    }

    pub(super) fn follows_have_room_for(&self, more: usize) -> bool {
        self.session.follows.lock().len() + more <= self.dispatcher.settings().limits.follows
    }

    pub(super) async fn queue(&self, item: Item) -> Result<(), Failure> {
        self.session.outbox.push(item).await.map_err(|_| Failure::Hangup)
    }

    async fn acknowledge(&self, id: Option<&FrameId>, verb: &str) -> Result<(), Failure> {
        Ok(self.reply(id, &JobEvent::Ok(Acknowledged::of(verb))).await?)
    }

    async fn acknowledge_worker(&self, id: Option<&FrameId>, verb: &str) -> Result<(), Failure> {
        Ok(self.reply(id, &WorkerEvent::Ok(Acknowledged::of(verb))).await?)
    }

    /// Keystrokes are not answered one by one, unless an `id` asks for it.
    async fn acknowledge_if_asked(&self, id: Option<&FrameId>, verb: &str) -> Result<(), Failure> {
        match id {
            None => Ok(()),
            Some(_) => {
                let frame = encode_with(&JobEvent::Ok(Acknowledged::of(verb)), id);
                self.queue(Item::Frame(frame.into())).await
            }
        }
    }
}
