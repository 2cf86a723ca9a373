//! What `run` asks for beside the log: a cancel, another window size, why the job waits.
//!
//! On a connection of its own, opened when first needed, so that neither waits for the other.

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

/// How often the reason for waiting is looked up, and how soon at first: later than a free
/// worker takes, so that most jobs never show it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const FIRST_LOOK: Duration = Duration::from_millis(300);

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

/// Carries out orders until their sender is dropped.
pub(super) async fn run(
    settings: ClientSettings,
    job: JobId,
    spinner: Option<ProgressBar>,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut client = None;
    let mut waiting = spinner;
    let mut look = interval_at(Instant::now() + FIRST_LOOK, LOOK_EVERY);
    loop {
        let order = tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(order) => order,
                None => return,
            },
            _ = look.tick(), if waiting.is_some() => {
                if let Some(spinner) = &waiting {
                    explain(&settings, &mut client, job, spinner).await;
                }
                continue;
            }
        };
        match order {
            Order::Started => waiting = None,
            Order::Cancel => cancel(&settings, &mut client, job).await,
            // Should it fail, the next change of size brings the terminal right again.
            Order::Resize(cols, rows) => {
                let _ =
                    attempt(&settings, &mut client, async |client| client.resize(job.into(), cols, rows).await).await;
            }
        }
    }
}

/// Cancels, over as many connections as it takes.
async fn cancel(settings: &ClientSettings, client: &mut Option<Client>, job: JobId) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        match attempt(settings, client, async |client| client.cancel(job.into(), None).await).await {
            Ok(()) => return,
            // It ended by itself: the log says how.
            Err(ClientError::Refused(error)) if error.code == ErrorCode::Conflict => return,
            Err(error) if error.reconnect() => sleep(backoff.next_wait()).await,
            Err(error) => return render::say(&format!("cannot cancel {job}: {error}")),
        }
    }
}

/// Says beside the spinner why the job waits.
async fn explain(settings: &ClientSettings, client: &mut Option<Client>, job: JobId, spinner: &ProgressBar) {
    match attempt(settings, client, async |client| client.get(job.into()).await).await {
        Ok(record) if record.status == Status::Pending => {
            let reason = record.waiting_for.unwrap_or_else(|| "waiting for a worker".to_owned());
            spinner.set_message(reason);
            spinner.enable_steady_tick(Duration::from_millis(100));
        }
        // It has begun, or the follower will tell what is wrong.
        Ok(_) | Err(_) => (),
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
