//! Standard input on its way to the job: one piece at a time, the next once the dispatcher has
//! taken the last. So nothing piles up, and nothing overtakes.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use super::super::render;
use crate::base::backoff::Backoff;
use crate::client::{Client, ClientError};
use crate::config::ClientSettings;
use crate::protocol::JobId;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Reads this process's standard input to its end and sends it to the job.
pub(super) async fn pump(settings: ClientSettings, job: JobId, json: bool) {
    if let Err(error) = send_all(&settings, job, json).await {
        render::say(json, &format!("standard input is no longer sent: {error}"));
    }
}

async fn send_all(settings: &ClientSettings, job: JobId, json: bool) -> Result<(), ClientError> {
    let mut stdin = tokio::io::stdin();
    let mut client = connect(settings).await?;
    let mut buffer = vec![0; client.input_limit()];
    loop {
        // What cannot be read is at its end.
        let len = stdin.read(&mut buffer).await.unwrap_or(0);
        let (piece, eof) = (&buffer[..len], len == 0);
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            match client.input(job.into(), piece, eof).await {
                Ok(()) if eof => return Ok(()),
                Ok(()) => break,
                Err(ClientError::Refused(error)) if error.retry => {
                    let asked = error.retry_after_ms.map(Duration::from_millis);
                    sleep(asked.unwrap_or_else(|| backoff.next_wait()).min(LONGEST_WAIT)).await;
                }
                // The job is over, or has closed its input: a local pipe would break, too.
                Err(ClientError::Refused(_)) => return Ok(()),
                Err(error) if error.reconnect() => {
                    client = connect(settings).await?;
                    // Closing twice is harmless. Writing twice is not, so nobody guesses.
                    if !eof {
                        let lost = format!("the connection broke: {len} bytes of input may be missing");
                        render::say(json, &lost);
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

async fn connect(settings: &ClientSettings) -> Result<Client, ClientError> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        match Client::connect(settings).await {
            // The end of `run` ends this task, and so this loop.
            Err(error) if error.reconnect() => sleep(backoff.next_wait()).await,
            result => return result,
        }
    }
}
