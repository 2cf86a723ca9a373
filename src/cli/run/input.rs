//! Standard input on its way to the job or container: one piece at a time, the next once the
//! dispatcher has taken the last. So nothing piles up, and nothing overtakes.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::super::render;
use super::keys::DetachKeys;
use crate::base::backoff::Backoff;
use crate::client::{Client, ClientError};
use crate::config::ClientSettings;
use crate::protocol::{ContainerId, ContainerRef, JobId};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What the end of the input here means there.
#[derive(Debug)]
pub(in crate::cli) enum Until {
    /// The end of the input there.
    End,
    /// Nothing: others may write to it, too.
    Away,
    /// Nothing; and whoever types the keys for it wants to leave, which is told here.
    Detached(oneshot::Sender<()>),
}

/// Reads this process's standard input to its end and sends it to the job or container.
pub(in crate::cli) async fn pump(settings: ClientSettings, to: JobId, until: Until, json: bool) {
    if let Err(error) = send_all(&settings, to, until, json).await {
        render::say(json, &format!("standard input is no longer sent: {error}"));
    }
}

async fn send_all(settings: &ClientSettings, to: JobId, until: Until, json: bool) -> Result<(), ClientError> {
    let mut stdin = tokio::io::stdin();
    let mut client = connect(settings).await?;
    // A key that was held back may come on top: the limit leaves room for more than that.
    let mut buffer = vec![0; client.input_limit()];
    let closes = matches!(until, Until::End);
    let (mut keys, detached) = match until {
        Until::End | Until::Away => (None, None),
        Until::Detached(detached) => (Some(DetachKeys::default()), Some(detached)),
    };
    loop {
        // What cannot be read is at its end.
        let len = stdin.read(&mut buffer).await.unwrap_or(0);
        let eof = len == 0;
        let (piece, leaves) = match &mut keys {
            Some(keys) => keys.pass(&buffer[..len]),
            None => (buffer[..len].to_vec(), false),
        };
        let end = eof && closes;
        if (end || !piece.is_empty()) && !send(settings, &mut client, to, &piece, end, json).await? {
            return Ok(());
        }
        if leaves && let Some(detached) = detached {
            // Whoever no longer listens has ended.
            let _ = detached.send(());
            return Ok(());
        }
        if eof {
            return Ok(());
        }
    }
}

/// Sends one piece, over as many connections as it takes. Whether more is wanted.
async fn send(
    settings: &ClientSettings,
    client: &mut Client,
    to: JobId,
    piece: &[u8],
    eof: bool,
    json: bool,
) -> Result<bool, ClientError> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let sent = match ContainerId::of(to) {
            Some(container) => client.console_input(ContainerRef::Id(container), piece, eof).await,
            None => client.input(to.into(), piece, eof).await,
        };
        match sent {
            Ok(()) => return Ok(true),
            Err(ClientError::Refused(error)) if error.retry => {
                let asked = error.retry_after_ms.map(Duration::from_millis);
                sleep(asked.unwrap_or_else(|| backoff.next_wait()).min(LONGEST_WAIT)).await;
            }
            // It is over, or has closed its input: a local pipe would break, too.
            Err(ClientError::Refused(_)) => return Ok(false),
            Err(error) if error.reconnect() => {
                *client = connect(settings).await?;
                // Closing twice is harmless. Writing twice is not, so nobody guesses.
                if !eof {
                    let len = piece.len();
                    render::say(json, &format!("the connection broke: {len} bytes of input may be missing"));
                    return Ok(true);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

async fn connect(settings: &ClientSettings) -> Result<Client, ClientError> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        match Client::connect(settings).await {
            // The end of the command ends this task, and so this loop.
            Err(error) if error.reconnect() => sleep(backoff.next_wait()).await,
            result => return result,
        }
    }
}
