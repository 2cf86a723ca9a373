//! Frames of clients about containers.
//!
//! What has to wait for a worker is answered by a task of its own, so that a connection goes on meanwhile; there are few
//! of these at a time.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::session::{Failure, Reader};
use crate::auth::Identity;
use crate::dispatcher::DispatchError;
use crate::hub::Item;
use crate::protocol::chunk::bytes_of;
use crate::protocol::codec::{Acknowledged, FrameId, Payload, encode_with};
use crate::protocol::container::{
    ConsoleInput, ConsoleResize, ContainerEvent, ContainerReply, ContainerRequest, ContainersReply, FollowConsole,
    NamedContainer, Stop,
};
use crate::protocol::job::JobEvent;
use crate::protocol::{ErrorCode, WireError};

/// Requests of one connection that may wait for workers at the same time.
const WAITING_MOST: usize = 64;

impl Reader {
    /// A client's frame about containers.
    pub(super) async fn container(
        &mut self,
        who: &Identity,
        id: Option<&FrameId>,
        request: ContainerRequest<'_>,
    ) -> Result<(), Failure> {
        let (dispatcher, owner) = (self.dispatcher.clone(), who.clone());
        let ok = |verb: &'static str| move |()| ContainerEvent::Ok(Acknowledged::of(verb));
        match request {
            ContainerRequest::Create(create) => {
                let creating = async move { dispatcher.create_container(&owner, *create).await };
                self.answer_later(id, creating, ContainerEvent::Created)
            }
            ContainerRequest::Start(NamedContainer { container_id }) => {
                let starting = async move { dispatcher.start_container(&owner, &container_id).await };
                self.answer_later(id, starting, ok("start"))
            }
            ContainerRequest::Stop(Stop { container_id, grace_secs }) => {
                let stopping = async move { dispatcher.stop_container(&owner, &container_id, grace_secs).await };
                self.answer_later(id, stopping, ok("stop"))
            }
            ContainerRequest::Restart(Stop { container_id, grace_secs }) => {
                let restarting = async move { dispatcher.restart_container(&owner, &container_id, grace_secs).await };
                self.answer_later(id, restarting, ok("restart"))
            }
            ContainerRequest::Kill(NamedContainer { container_id }) => {
                let killing = async move { dispatcher.kill_container(&owner, &container_id).await };
                self.answer_later(id, killing, ok("kill"))
            }
            ContainerRequest::Remove(NamedContainer { container_id }) => {
                let removing = async move { dispatcher.remove_container(&owner, &container_id).await };
                self.answer_later(id, removing, ok("remove"))
            }
            ContainerRequest::List(list) => {
                let (containers, next) = self.dispatcher.containers(who, &list).await?;
                let next = next.map(|id| id.to_string());
                Ok(self.reply(id, &ContainerEvent::Containers(ContainersReply { containers, next })).await?)
            }
            ContainerRequest::Get(NamedContainer { container_id }) => {
                let container = self.dispatcher.container(who, &container_id).await?;
                Ok(self.reply(id, &ContainerEvent::Container(Box::new(ContainerReply { container }))).await?)
            }
            ContainerRequest::History(NamedContainer { container_id }) => {
                let history = self.dispatcher.container_history(who, &container_id).await?;
                Ok(self.reply(id, &ContainerEvent::History(history)).await?)
            }
            ContainerRequest::Follow(FollowConsole { container_id, after }) => {
                let outbox = &self.session.outbox;
                let (reply, follow) = self.dispatcher.follow_console(who, &container_id, after, outbox).await?;
                self.check_follows(Some(follow.job))?;
                self.reply(id, &ContainerEvent::Following(reply)).await?;
                self.take_up(follow).await
            }
            ContainerRequest::Read(read) => {
                let (container, status, part) = self.dispatcher.page_of_console(who, &read).await?;
                Ok(self.reply(id, &ContainerEvent::Page(part.of_console(container, status))).await?)
            }
            ContainerRequest::Unfollow(NamedContainer { container_id }) => {
                let container = self.dispatcher.container_id(who, &container_id).await?;
                self.queue(Item::Unfollow(container.job())).await?;
                self.acknowledge_container(id, "unfollow").await
            }
            ContainerRequest::Watch(_) => {
                let watch = self.dispatcher.watch_containers(who, &self.session.outbox)?;
                self.acknowledge_container(id, "watch").await?;
                self.queue(Item::WatchContainers(Some(watch))).await
            }
            ContainerRequest::Unwatch(_) => {
                self.queue(Item::WatchContainers(None)).await?;
                self.acknowledge_container(id, "unwatch").await
            }
            ContainerRequest::Input(ConsoleInput { container_id, text, base64, eof }) => {
                let bytes = match (&text, &base64) {
                    (None, None) if eof => Vec::new(),
                    _ => bytes_of(text.as_deref(), base64.as_deref())?,
                };
                self.dispatcher.console_input(who, &container_id, &bytes, eof).await?;
                self.acknowledge_container_if_asked(id, "input").await
            }
            ContainerRequest::Resize(ConsoleResize { container_id, cols, rows }) => {
                self.dispatcher.console_resize(who, &container_id, cols, rows).await?;
                self.acknowledge_container_if_asked(id, "resize").await
            }
            ContainerRequest::Stats(NamedContainer { container_id }) => {
                let outbox = &self.session.outbox;
                let container = self.dispatcher.may_look_at_stats(who, &container_id, outbox).await?;
                // The reply first: what it asks for comes after it.
                self.acknowledge_container(id, "stats").await?;
                self.dispatcher.look_at_stats(container, outbox).await;
                Ok(())
            }
            ContainerRequest::Unstats(NamedContainer { container_id }) => {
                self.dispatcher.look_away(who, &container_id, &self.session.outbox).await?;
                self.acknowledge_container(id, "unstats").await
            }
            ContainerRequest::Exec(exec) => {
                let follows = exec.follow.unwrap_or(true);
                if follows {
                    self.check_follows(None)?;
                }
                let outbox = follows.then_some(&self.session.outbox);
                let submission = self.dispatcher.exec(who, exec, outbox).await?;
                self.reply(id, &JobEvent::Submitted(submission.reply)).await?;
                match submission.follow {
                    Some(follow) => self.take_up(follow).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// Answers when `asked` is done; the connection goes on meanwhile.
    fn answer_later<T, E: Payload>(
        &mut self,
        id: Option<&FrameId>,
        asked: impl Future<Output = Result<T, DispatchError>> + Send + 'static,
        answer: impl FnOnce(T) -> E + Send + 'static,
    ) -> Result<(), Failure> {
        let waiting = self.waiting.get_or_insert_with(|| Arc::new(Semaphore::new(WAITING_MOST)));
        let Ok(permit) = Arc::clone(waiting).try_acquire_owned() else {
            let message = format!("{WAITING_MOST} requests of this connection wait for workers, which is the limit");
            return Err(WireError::new(ErrorCode::LimitExceeded, message).retry_after(1_000).into());
        };
        let (outbox, id) = (Arc::clone(&self.session.outbox), id.cloned());
        self.dispatcher.shutdown().spawn(async move {
            // What was begun is brought to its end even if nobody is there to be told.
            let frame = match asked.await {
                Ok(done) => encode_with(&answer(done), id.as_ref()),
                Err(error) => encode_with(&error.to_wire(), id.as_ref()),
            };
            drop(permit);
            let _ = outbox.push_late(Item::Frame(frame.into())).await;
        });
        Ok(())
    }

    async fn acknowledge_container(&self, id: Option<&FrameId>, verb: &str) -> Result<(), Failure> {
        Ok(self.reply(id, &ContainerEvent::Ok(Acknowledged::of(verb))).await?)
    }

    async fn acknowledge_container_if_asked(&self, id: Option<&FrameId>, verb: &str) -> Result<(), Failure> {
        match id {
            None => Ok(()),
            Some(_) => {
                let frame = encode_with(&ContainerEvent::Ok(Acknowledged::of(verb)), id);
                self.queue(Item::Frame(frame.into())).await
            }
        }
    }
}
