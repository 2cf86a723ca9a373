//! What `run` asks for beside the log: a cancel, another window size, why the job waits.
//!
//! On a connection of its own, opened when first needed, so that neither waits for the other.
//! Of a job that starts at once nothing is said: its stderr is its own.

use std::time::Duration;

use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep};

use super::super::render;
use crate::base::backoff::Backoff;
use crate::client::{Client, ClientError};
use crate::config::ClientSettings;
use crate::protocol::job::Status;
use crate::protocol::{ErrorCode, JobId};

/// How often the reason for waiting is looked up, and how soon at first for a line that stays.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon at first for a spinner, which goes again: later than a free worker takes.
const FIRST_GLANCE: Duration = Duration::from_millis(300);
/// Characters of a reason.
const REASON_WIDTH: usize = 200;

/// Something to ask the dispatcher.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// End the job.
    Cancel,
    /// The window's columns and rows.
    Resize(u16, u16),
    /// The job runs: nobody wants to know any more why it waits.
    Started,
}

/// How the reason for waiting is told.
#[derive(Debug)]
enum Telling {
    /// Beside a spinner, as it is now.
    Spinner(ProgressBar),
    /// In a line, and in another one when it has changed.
    Lines {
        /// What the last line said.
        last: Option<String>,
    },
}

/// Carries out orders until their sender is dropped. Where there is no spinner to show why the
/// job waits, lines on stderr do.
pub(super) async fn run(
    settings: ClientSettings,
    job: JobId,
    spinner: Option<ProgressBar>,
    json: bool,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut client = None;
    let first = if spinner.is_some() { FIRST_GLANCE } else { LOOK_EVERY };
    let mut look = interval_at(Instant::now() + first, LOOK_EVERY);
    let mut waiting = Some(spinner.map_or(Telling::Lines { last: None }, Telling::Spinner));
    loop {
        let order = tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(order) => order,
                None => return,
            },
            _ = look.tick(), if waiting.is_some() => {
                // An order that came meanwhile may be that the job has begun.
                if let Some(reason) = reason(&settings, &mut client, job).await
                    && orders.is_empty()
                    && let Some(telling) = &mut waiting
                {
                    telling.tell(job, reason, json);
                }
                continue;
            }
        };
        match order {
            Order::Started => waiting = None,
            Order::Cancel => cancel(&settings, &mut client, job, json).await,
            // Should it fail, the next change of size brings the terminal right again.
            Order::Resize(cols, rows) => {
                let _ =
                    attempt(&settings, &mut client, async |client| client.resize(job.into(), cols, rows).await).await;
            }
        }
    }
}

/// Cancels, over as many connections as it takes.
async fn cancel(settings: &ClientSettings, client: &mut Option<Client>, job: JobId, json: bool) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        match attempt(settings, client, async |client| client.cancel(job.into(), None).await).await {
            Ok(()) => return,
            // It ended by itself: the log says how.
            Err(ClientError::Refused(error)) if error.code == ErrorCode::Conflict => return,
            Err(error) if error.reconnect() => sleep(backoff.next_wait()).await,
            Err(error) => return render::say(json, &format!("cannot cancel {job}: {error}")),
        }
    }
}

/// What the job waits for; none where it has begun, or where the follower will tell what is wrong.
async fn reason(settings: &ClientSettings, client: &mut Option<Client>, job: JobId) -> Option<String> {
    let record = attempt(settings, client, async |client| client.get(job.into()).await).await.ok()?;
    let reason = || record.waiting_for.map_or_else(|| "a worker".to_owned(), |it| render::shorten(&it, REASON_WIDTH));
    (record.status == Status::Pending).then(reason)
}

impl Telling {
    fn tell(&mut self, job: JobId, reason: String, json: bool) {
        match self {
            Self::Spinner(spinner) => {
                spinner.set_message(format!("waits for {reason}"));
                spinner.enable_steady_tick(Duration::from_millis(100));
            }
            Self::Lines { last } if last.as_ref() == Some(&reason) => (),
            Self::Lines { last } => {
                render::say(json, &format!("{job} waits for {reason}"));
                *last = Some(reason);
            }
        }
    }
}

/// Asks on the connection there is, or on a new one; keeps it while it is good.
async fn attempt<T>(
    settings: &ClientSettings,
    client: &mut Option<Client>,
    ask: impl AsyncFnOnce(&mut Client) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut connection = match client.take() {
        Some(connection) => connection,
        None => Client::connect(settings).await?,
    };
    let result = ask(&mut connection).await;
    if matches!(result, Ok(_) | Err(ClientError::Refused(_))) {
        *client = Some(connection);
    }
    result
}
