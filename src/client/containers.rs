//! What a client asks about containers.

use std::time::Duration;

use super::connection::{Client, REPLY_WITHIN, reply, shorten};
use super::error::ClientError;
use crate::protocol::chunk::Chunk;
use crate::protocol::codec::{Nothing, ToClient, encode_with, read_at_client};
use crate::protocol::container::{
    ConsoleInput, ConsoleResize, ContainerEvent, ContainerRecord, ContainerRequest, ContainersReply, Create, Created,
    ListContainers, NamedContainer, StatsEvent, Stop,
};
use crate::protocol::{ContainerId, ContainerRef, WireError};

/// Longest wait for a container to start: its image may have to be pulled first, and a large one over a slow line takes long.
const START_WITHIN: Duration = Duration::from_secs(60 * 60);

/// What a dispatcher may take to hear of an end beyond the grace of a stop.
const STOP_SLACK: Duration = Duration::from_secs(60);

/// The dispatcher's own grace, in seconds.
const DEFAULT_GRACE_SECS: f64 = 10.0;

/// Where containers stand and what they use, as it is reported.
#[derive(Debug)]
pub struct Stats(Client);

/// What [`Stats`] hears.
#[derive(Debug)]
pub enum StatsNews {
    /// What a container uses.
    Usage(StatsEvent),
    /// A container is new, stands elsewhere or is removed.
    Changed(Box<ContainerRecord>),
    /// Some changes were left out, because this side read too slowly: list again.
    Lagged,
    /// A [`Stats::look_at`] was refused.
    Refused(WireError),
}

/// Each fails as [`ClientError`] says.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Client {
    /// Makes a container, and waits until it runs. Nothing is left of one that cannot; where the answer is lost it may be there.
    pub async fn create(&mut self, create: Create) -> Result<Created, ClientError> {
        self.ask_within(
            START_WITHIN,
            &ContainerRequest::Create(Box::new(create)),
            reply!(ToClient::Container(ContainerEvent::Created(created)) => created),
        )
        .await
    }

    /// A container's record.
    pub async fn container(&mut self, container: ContainerRef) -> Result<ContainerRecord, ClientError> {
        self.ask(
            &ContainerRequest::Get(NamedContainer { container_id: container }),
            reply!(ToClient::Container(ContainerEvent::Container(reply)) => reply.container),
        )
        .await
    }

    /// A page of containers, newest first.
    pub async fn containers(&mut self, list: ListContainers) -> Result<ContainersReply, ClientError> {
        self.ask(&ContainerRequest::List(list), reply!(ToClient::Container(ContainerEvent::Containers(page)) => page))
            .await
    }

    /// Starts a container that does not run, and waits until it does.
    pub async fn start_container(&mut self, container: ContainerRef) -> Result<(), ClientError> {
        self.container_done(START_WITHIN, ContainerRequest::Start(NamedContainer { container_id: container })).await
    }

    /// Stops a container, and waits until it has.
    pub async fn stop_container(
        &mut self,
        container: ContainerRef,
        grace_secs: Option<f64>,
    ) -> Result<(), ClientError> {
        let stop = ContainerRequest::Stop(Stop { container_id: container, grace_secs });
        self.container_done(stop_within(grace_secs), stop).await
    }

    /// Stops a container, starts it again, and waits until it runs.
    pub async fn restart_container(
        &mut self,
        container: ContainerRef,
        grace_secs: Option<f64>,
    ) -> Result<(), ClientError> {
        let restart = ContainerRequest::Restart(Stop { container_id: container, grace_secs });
        self.container_done(stop_within(grace_secs).saturating_add(START_WITHIN), restart).await
    }

    /// Kills a container, and waits until it is over.
    pub async fn kill_container(&mut self, container: ContainerRef) -> Result<(), ClientError> {
        let kill = ContainerRequest::Kill(NamedContainer { container_id: container });
        self.container_done(STOP_SLACK, kill).await
    }

    /// Removes a container and its data, and kills it first where it runs.
    pub async fn remove_container(&mut self, container: ContainerRef) -> Result<(), ClientError> {
        let remove = ContainerRequest::Remove(NamedContainer { container_id: container });
        self.container_done(STOP_SLACK, remove).await
    }

    /// Writes `bytes` to a container's standard input, and closes it after them where `eof` is set.
    /// At most [`Client::input_limit`] bytes at a time.
    pub async fn console_input(&mut self, container: ContainerRef, bytes: &[u8], eof: bool) -> Result<(), ClientError> {
        let (text, base64) = Chunk::of(bytes).into_fields();
        let input = ContainerRequest::Input(ConsoleInput { container_id: container, text, base64, eof });
        self.container_done(REPLY_WITHIN, input).await
    }

    /// Gives a container's terminal another size.
    pub async fn console_resize(&mut self, container: ContainerRef, cols: u16, rows: u16) -> Result<(), ClientError> {
        let resize = ContainerRequest::Resize(ConsoleResize { container_id: container, cols, rows });
        self.container_done(REPLY_WITHIN, resize).await
    }

    /// Turns this connection into one that hears where containers stand, of all that the account may see, and what those use
    /// that [`Stats::look_at`] names.
    pub async fn stats(mut self) -> Result<Stats, ClientError> {
        self.container_done(REPLY_WITHIN, ContainerRequest::Watch(Nothing {})).await?;
        Ok(Stats(self))
    }

    async fn container_done(&mut self, within: Duration, request: ContainerRequest<'_>) -> Result<(), ClientError> {
        self.ask_within(within, &request, reply!(ToClient::Container(ContainerEvent::Ok(_)) => ())).await
    }
}

fn stop_within(grace_secs: Option<f64>) -> Duration {
    // What makes no sense as a time is for the dispatcher to refuse.
    let grace = Duration::try_from_secs_f64(grace_secs.unwrap_or(DEFAULT_GRACE_SECS)).unwrap_or_default();
    grace.min(START_WITHIN) + STOP_SLACK
}

impl Stats {
    /// Hears from now on what this container uses, while it runs. That it cannot be is heard as [`StatsNews::Refused`].
    ///
    /// # Errors
    /// The connection ended.
    pub async fn look_at(&mut self, container: ContainerId) -> Result<(), ClientError> {
        // The reply is not waited for: what comes before it is news.
        let id = self.0.next_id();
        let request = ContainerRequest::Stats(NamedContainer { container_id: ContainerRef::Id(container) });
        Ok(self.0.sender.send(encode_with(&request, Some(&id))).await?)
    }

    /// What comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn next(&mut self) -> Result<StatsNews, ClientError> {
        loop {
            let text = self.0.receiver.recv().await?;
            match read_at_client(&text) {
                Ok((ToClient::Container(ContainerEvent::Stats(stats)), _)) => return Ok(StatsNews::Usage(stats)),
                Ok((ToClient::Container(ContainerEvent::Status(event)), _)) => {
                    if let Some(container) = event.container {
                        return Ok(StatsNews::Changed(Box::new(container)));
                    }
                }
                Ok((ToClient::Container(ContainerEvent::Lagged(_)), _)) => return Ok(StatsNews::Lagged),
                Ok((ToClient::Error(error), Some(_))) => return Ok(StatsNews::Refused(error)),
                Ok((ToClient::Error(error), None)) => return Err(error.into()),
                Ok(_) => (),
                Err(_) => return Err(ClientError::Unexpected(shorten(&text))),
            }
        }
    }
}
