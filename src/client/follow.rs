//! Following one log, a job's or a container's, over as many connections as it takes.
//!
//! Invariant: every entry comes out exactly once and in order, whatever the connections and
//! the dispatchers do in between. Memory: one frame. What differs between the two kinds of log,
//! the frames and which entry is the last one, is in [`super::log`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::connection::{Client, reply};
use super::error::{ClientError, FollowError};
use super::log::{self, Heard, Opened};
use super::resume::{Progress, Step};
use crate::base::backoff::Backoff;
use crate::config::ClientSettings;
use crate::model::Entry;
use crate::protocol::codec::ToClient;
use crate::protocol::container::{ContainerRequest, Exec};
use crate::protocol::job::{JobEvent, JobRequest, Submit, Submitted};
use crate::protocol::{After, ContainerId, ContainerRef, Cursor, ErrorCode, JobId, JobRef};

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
    /// Everything there was has come; the job or container still runs. Comes again after an outage.
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

/// Follows a job's log until its `end`, or a container's until it is removed: of a container each start has an `end`.
#[derive(Debug)]
pub struct Follower {
    peer: Arc<ClientSettings>,
    log: JobId,
    patience: Patience,
    backoff: Backoff,
    progress: Progress,
    /// What the dispatcher said when the log was opened.
    opened: Option<Opened>,
    state: State,
}

/// A future of its own, so that dropping [`Follower::next`] does not begin the attempt again.
type Attempt = Pin<Box<dyn Future<Output = Result<(Client, Opened), ClientError>> + Send>>;

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

    /// Runs a program inside a container and follows it: from here on it is a job. Unlike a submit it is never sent a second
    /// time, for it has no key: where the answer is lost, the program may run or not.
    ///
    /// # Errors
    /// Refused, the answer was lost, or no connection within `patience.connect`.
    pub async fn exec(
        settings: &ClientSettings,
        mut exec: Exec,
        patience: Patience,
    ) -> Result<(Self, Submitted), ClientError> {
        exec.follow = Some(true);
        let mut client = patiently(patience.connect, || Client::connect(settings)).await?;
        let submitted = client
            .ask(&ContainerRequest::Exec(exec), reply!(ToClient::Job(JobEvent::Submitted(submitted)) => submitted))
            .await?;
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
        let (client, opened) = patiently(patience.connect, || log::of_job(settings, job, after)).await?;
        Ok(Self::opened_at(settings, opened, after, patience, client))
    }

    /// Follows a container's console.
    ///
    /// # Errors
    /// Refused, or no connection within `patience.connect`.
    pub async fn console(
        settings: &ClientSettings,
        container: &ContainerRef,
        after: After,
        patience: Patience,
    ) -> Result<Self, ClientError> {
        let (client, opened) = patiently(patience.connect, || log::of_container(settings, container, after)).await?;
        Ok(Self::opened_at(settings, opened, after, patience, client))
    }

    fn opened_at(settings: &ClientSettings, opened: Opened, after: After, patience: Patience, client: Client) -> Self {
        // The number or name could be another's after a new start from nothing; the id could not.
        let mut follower = Self::new(settings, opened.log, patience, Progress::Asked(after), client);
        follower.attached(opened);
        follower
    }

    fn new(settings: &ClientSettings, log: JobId, patience: Patience, progress: Progress, client: Client) -> Self {
        Self {
            peer: Arc::new(settings.clone()),
            log,
            patience,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            progress,
            opened: None,
            state: State::Connected(Box::new(client)),
        }
    }

    /// Whose log it is: a job's, or a container's.
    pub fn job_id(&self) -> JobId {
        self.log
    }

    /// Where the log stood when it was opened; none after a submit.
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// What comes next; none after the last entry. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The job or container is gone, or the connection is lost for good. The follower is over then.
    pub async fn next(&mut self) -> Result<Option<FollowEvent>, FollowError> {
        loop {
            match &mut self.state {
                State::Over(_) => return Ok(None),
                State::Connecting { since, attempt } => {
                    let (since, result) = (*since, attempt.as_mut().await);
                    match result {
                        Ok((client, opened)) => {
                            self.state = State::Connected(Box::new(client));
                            self.attached(opened);
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
        let Some(heard) = log::read(text)? else { return Ok(None) };
        let last = heard.is_last(self.log);
        let (step, event) = match heard {
            Heard::Entry(entry) => (self.progress.entry(entry.at), FollowEvent::Entry(entry)),
            Heard::Truncated { from, to } => (self.progress.truncated(from, to), FollowEvent::Truncated { from, to }),
            Heard::Live(at) => (Step::New, FollowEvent::Live(at)),
        };
        match step {
            Step::Repeat => Ok(None),
            // Asking again from the last entry that was seen brings what is missing.
            Step::Hole => Err(ClientError::Hole { after: self.progress.after() }),
            Step::New => {
                // Something came: the next outage starts with short waits again.
                self.backoff.reset();
                if last {
                    self.finish();
                }
                Ok(Some(event))
            }
        }
    }

    /// The dispatcher sends the log from here on.
    fn attached(&mut self, opened: Opened) {
        self.progress.begin(opened.from);
        // A log that is over, asked for after its last entry: nothing will come.
        if opened.over && self.progress.has_seen(opened.top) {
            self.finish();
        }
        self.opened.get_or_insert(opened);
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
        let (settings, log, after) = (Arc::clone(&self.peer), self.log, self.progress.after());
        let wait = self.backoff.next_wait();
        let attempt = Box::pin(async move {
            sleep(wait).await;
            match ContainerId::of(log) {
                Some(container) => log::of_container(&settings, &ContainerRef::Id(container), after).await,
                None => log::of_job(&settings, log.into(), after).await,
            }
        });
        self.state = State::Connecting { since, attempt };
        Ok(())
    }
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
