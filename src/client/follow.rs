//! Following one job's log, over as many connections as it takes.
//!
//! Invariant: every entry comes out exactly once and in order, whatever the connections and
//! the dispatchers do in between. Memory: one frame.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::connection::{Client, reply, shorten};
use super::error::{ClientError, FollowError};
use super::resume::{Progress, Step};
use crate::base::backoff::Backoff;
use crate::config::ClientSettings;
use crate::model::job::is_over;
use crate::model::{Entry, EntryKind};
use crate::protocol::chunk::bytes_of;
use crate::protocol::codec::{ToClient, read_at_client};
use crate::protocol::job::{
    EndEvent, Follow, Following, JobEvent, JobRequest, OutputEvent, StatusEvent, Submit, Submitted,
};
use crate::protocol::{After, Cursor, ErrorCode, JobId, JobRef};

/// Waits between attempts to connect: short at first, because most outages are restarts.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// And never longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long to try.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until there is a first connection and an answer.
    pub connect: Duration,
    /// Until there is a connection again, after one was lost.
    pub reconnect: Duration,
}

impl Default for Patience {
    /// One try to connect; a minute to come back, which a restart or an update stays well below.
    fn default() -> Self {
        Self { connect: Duration::ZERO, reconnect: Duration::from_secs(60) }
    }
}

/// What a [`Follower`] hears.
#[derive(Debug)]
pub enum FollowEvent {
    /// The next entry of the log.
    Entry(Entry),
    /// Everything there was has come; the job still runs. Comes again after an outage.
    Live(Cursor),
    /// Entries that are gone, both ends included.
    Truncated {
        /// The first.
        from: Cursor,
        /// The last.
        to: Cursor,
    },
    /// The connection was lost. The follower is on its way back.
    Interrupted {
        /// In words.
        reason: String,
    },
    /// The follower is back.
    Resumed,
}

/// Follows one job's log until its `end`.
#[derive(Debug)]
pub struct Follower {
    peer: Arc<ClientSettings>,
    job: JobId,
    patience: Patience,
    backoff: Backoff,
    progress: Progress,
    /// What the dispatcher said when the log was opened.
    opened: Option<Following>,
    state: State,
}

/// A future of its own, so that dropping [`Follower::next`] does not begin the attempt again.
type Attempt = Pin<Box<dyn Future<Output = Result<(Client, Following), ClientError>> + Send>>;

enum State {
    Connected(Box<Client>),
    Connecting {
        since: Instant,
        attempt: Attempt,
    },
    /// Nothing more will come; the connection is kept for a goodbye.
    Over(Option<Box<Client>>),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connected(_) => "Connected",
            Self::Connecting { .. } => "Connecting",
            Self::Over(_) => "Over",
        })
    }
}

impl Follower {
    /// Submits a job and follows it. Where `submit` has no key it gets a random one, so that it
    /// is repeated without harm when the answer is lost.
    ///
    /// # Errors
    /// Refused, or no connection within `patience.connect`.
    pub async fn submit(
        settings: &ClientSettings,
        mut submit: Submit,
        patience: Patience,
    ) -> Result<(Self, Submitted), ClientError> {
        submit.key.get_or_insert_with(|| Uuid::new_v4().to_string());
        submit.follow = Some(true);
        let request = JobRequest::Submit(Box::new(submit));
        let (client, submitted) = patiently(patience.connect, || async {
            let mut client = Client::connect(settings).await?;
            let submitted =
                client.ask(&request, reply!(ToClient::Job(JobEvent::Submitted(submitted)) => submitted)).await?;
            Ok((client, submitted))
        })
        .await?;
        // A submitted job is followed from its beginning.
        Ok((Self::new(settings, submitted.job_id, patience, Progress::Seen(Cursor::START), client), submitted))
    }

    /// Follows a job that is there already.
    ///
    /// # Errors
    /// Refused, or no connection within `patience.connect`.
    pub async fn follow(
        settings: &ClientSettings,
        job: JobRef,
        after: After,
        patience: Patience,
    ) -> Result<Self, ClientError> {
        let (client, following) = patiently(patience.connect, || attach(settings, job, after)).await?;
        // The number of a job could be another job's after a new start from nothing; its id could not.
        let mut follower = Self::new(settings, following.job_id, patience, Progress::Asked(after), client);
        follower.attached(following);
        Ok(follower)
    }

    fn new(settings: &ClientSettings, job: JobId, patience: Patience, progress: Progress, client: Client) -> Self {
        Self {
            peer: Arc::new(settings.clone()),
            job,
            patience,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            progress,
            opened: None,
            state: State::Connected(Box::new(client)),
        }
    }

    /// The job.
    pub fn job_id(&self) -> JobId {
        self.job
    }

    /// Where the log stood when [`Follower::follow`] opened it; none after a submit.
    pub fn opened(&self) -> Option<&Following> {
        self.opened.as_ref()
    }

    /// What comes next; none after the `end` entry. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The job is gone, or the connection is lost for good. The follower is over then.
    pub async fn next(&mut self) -> Result<Option<FollowEvent>, FollowError> {
        loop {
            match &mut self.state {
                State::Over(_) => return Ok(None),
                State::Connecting { since, attempt } => {
                    let (since, result) = (*since, attempt.as_mut().await);
                    match result {
                        Ok((client, following)) => {
                            self.state = State::Connected(Box::new(client));
                            self.attached(following);
                            return Ok(Some(FollowEvent::Resumed));
                        }
                        Err(error) => self.try_again(since, error)?,
                    }
                }
                State::Connected(client) => {
                    let received = client.receiver.recv().await;
                    match received.map_err(ClientError::from).and_then(|text| self.understand(&text)) {
                        Ok(Some(event)) => return Ok(Some(event)),
                        Ok(None) => (),
                        Err(error) => {
                            let reason = error.to_string();
                            self.try_again(Instant::now(), error)?;
                            return Ok(Some(FollowEvent::Interrupted { reason }));
                        }
                    }
                }
            }
        }
    }

    /// Says goodbye.
    pub async fn close(self) {
        match self.state {
            State::Connected(client) | State::Over(Some(client)) => client.close().await,
            State::Connecting { .. } | State::Over(None) => (),
        }
    }

    /// Reads one frame; none where there is nothing to say about it.
    fn understand(&mut self, text: &str) -> Result<Option<FollowEvent>, ClientError> {
        let unexpected = || ClientError::Unexpected(shorten(text));
        let (frame, _) = read_at_client(text).map_err(|_| unexpected())?;
        let event = match frame {
            ToClient::Job(event) => event,
            ToClient::Error(error) => return Err(error.into()),
            ToClient::Hello(_)
            | ToClient::HelloEvent(_)
            | ToClient::Auth(_)
            | ToClient::Worker(_)
            | ToClient::Plugin(_)
            | ToClient::Container(_)
            | ToClient::Ping
            | ToClient::Pong => {
                return Ok(None);
            }
        };
        let (step, event) = match event {
            JobEvent::Output(OutputEvent { at, stream, offset, text, base64, time, .. }) => {
                let bytes = match text {
                    Some(text) if base64.is_none() => Bytes::from(text.into_owned()),
                    text => bytes_of(text.as_deref(), base64.as_deref()).map_err(|_| unexpected())?.into(),
                };
                let kind = EntryKind::Output { stream, offset, bytes };
                (self.progress.entry(at), FollowEvent::Entry(Entry { at, time, kind }))
            }
            JobEvent::Status(StatusEvent { at: Some(at), status, worker_id, reason, time, .. }) => {
                let kind = EntryKind::Status { status, worker: worker_id, reason };
                (self.progress.entry(at), FollowEvent::Entry(Entry { at, time, kind }))
            }
            JobEvent::End(EndEvent { at, status, exit_code, reason, error_message, time, .. }) => {
                let kind = EntryKind::End { status, exit_code, reason, message: error_message };
                (self.progress.entry(at), FollowEvent::Entry(Entry { at, time, kind }))
            }
            JobEvent::Truncated(gone) => {
                let event = FollowEvent::Truncated { from: gone.from, to: gone.to };
                (self.progress.truncated(gone.from, gone.to), event)
            }
            JobEvent::Live(live) => (Step::New, FollowEvent::Live(live.at)),
            JobEvent::Status(_)
            | JobEvent::Submitted(_)
            | JobEvent::Following(_)
            | JobEvent::Job(_)
            | JobEvent::Jobs(_)
            | JobEvent::Lagged(_)
            | JobEvent::Ok(_) => return Ok(None),
        };
        match step {
            Step::Repeat => Ok(None),
            // Asking again from the last entry that was seen brings what is missing.
            Step::Hole => Err(ClientError::Hole { after: self.progress.after() }),
            Step::New => {
                // Something came: the next outage starts with short waits again.
                self.backoff.reset();
                if matches!(event, FollowEvent::Entry(Entry { kind: EntryKind::End { .. }, .. })) {
                    self.finish();
                }
                Ok(Some(event))
            }
        }
    }
    /// The dispatcher sends the log from here on.
    fn attached(&mut self, following: Following) {
        self.progress.begin(following.from);
        // The log of a job that is over, asked for after its last entry: nothing will come.
        if is_over(following.status) && self.progress.has_seen(following.top) {
            self.finish();
        }
        self.opened.get_or_insert(following);
    }

    fn finish(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Over(None)) {
            State::Connected(client) | State::Over(Some(client)) => State::Over(Some(client)),
            State::Connecting { .. } | State::Over(None) => State::Over(None),
        };
    }

    /// Goes on to another connection, unless `error` or the outage's length forbids it.
    fn try_again(&mut self, since: Instant, error: ClientError) -> Result<(), FollowError> {
        self.state = State::Over(None);
        if let ClientError::Refused(error) = &error
            && error.code == ErrorCode::NotFound
        {
            return Err(FollowError::Gone(error.clone()));
        }
        if !error.reconnect() || since.elapsed() >= self.patience.reconnect {
            return Err(FollowError::Lost(error));
        }
        let (settings, job, after) = (Arc::clone(&self.peer), JobRef::Id(self.job), self.progress.after());
        let wait = self.backoff.next_wait();
        let attempt = Box::pin(async move {
            sleep(wait).await;
            attach(&settings, job, after).await
        });
        self.state = State::Connecting { since, attempt };
        Ok(())
    }
}

async fn attach(settings: &ClientSettings, job: JobRef, after: After) -> Result<(Client, Following), ClientError> {
    let mut client = Client::connect(settings).await?;
    let request = JobRequest::Follow(Follow { job_id: job, after });
    let following = client.ask(&request, reply!(ToClient::Job(JobEvent::Following(following)) => following)).await?;
    Ok((client, following))
}

/// Repeats `attempt` while a new connection can help and `limit` is not over; at least once.
///
/// # Errors
/// What the last attempt said.
pub async fn patiently<T, F>(limit: Duration, mut attempt: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let began = Instant::now();
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        match Box::pin(attempt()).await {
            Err(error) if error.reconnect() && began.elapsed() < limit => {
                sleep(backoff.next_wait().min(limit.saturating_sub(began.elapsed()))).await;
            }
            result => return result,
        }
    }
}
