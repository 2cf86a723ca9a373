//! One authenticated connection that asks: a request goes out with an id, its reply comes back.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::error::ClientError;
use crate::config::{ClientSettings, MissingToken};
use crate::link::{Address, Link, LinkReceiver, LinkSender, dial};
use crate::protocol::CloseCode;
use crate::protocol::codec::{self, FrameId, Payload, ToClient};
use crate::protocol::hello::{AuthMode, ServerHello};

/// Longest wait for a reply that nothing has to happen for. The slowest ones hash a password or wait for the disk, which
/// takes a fraction of it.
pub(super) const REPLY_WITHIN: Duration = Duration::from_secs(30);

/// A connection to a dispatcher that asks. Requests go one after the other.
#[derive(Debug)]
pub struct Client {
    pub(super) hello: ServerHello,
    pub(super) sender: LinkSender,
    pub(super) receiver: LinkReceiver,
    last_id: u64,
}

impl Client {
    /// Connects and presents the token. Whether it is a good one shows with the first request.
    ///
    /// # Errors
    /// No connection, or no token for a dispatcher that asks for one.
    pub async fn connect(settings: &ClientSettings) -> Result<Self, ClientError> {
        let address: Address = settings.url.parse()?;
        let Link { hello, sender, receiver } = dial(&address, settings.token.as_ref(), &settings.trust).await?;
        // Without this, the dispatcher's patience for an `auth` frame would be waited for.
        if hello.auth == AuthMode::Required && settings.token.is_none() {
            return Err(MissingToken { sought: settings.token_sought.clone() }.into());
        }
        Ok(Self { hello, sender, receiver, last_id: 0 })
    }

    /// What the dispatcher said first.
    pub fn hello(&self) -> &ServerHello {
        &self.hello
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        self.sender.close(CloseCode::Normal).await;
    }

    /// An id that no request of this connection had.
    pub(super) fn next_id(&mut self) -> FrameId {
        self.last_id += 1;
        FrameId::number(self.last_id)
    }

    /// Sends `request` and waits for its reply. `pick` takes out of it what was asked for, or
    /// says by `None` that it is not the reply to this request.
    pub(super) async fn ask<P: Payload, T>(
        &mut self,
        request: &P,
        pick: impl FnOnce(ToClient<'_>) -> Option<T>,
    ) -> Result<T, ClientError> {
        self.ask_within(REPLY_WITHIN, request, pick).await
    }

    /// The same, where the reply comes once something is done that takes longer.
    pub(super) async fn ask_within<P: Payload, T>(
        &mut self,
        within: Duration,
        request: &P,
        pick: impl FnOnce(ToClient<'_>) -> Option<T>,
    ) -> Result<T, ClientError> {
        let id = self.next_id();
        self.sender.send(codec::encode_with(request, Some(&id))).await?;
        let late = |_| ClientError::NoReply { secs: within.as_secs() };
        let deadline = Instant::now() + within;
        loop {
            let text = timeout_at(deadline, self.receiver.recv()).await.map_err(late)??;
            match codec::read_at_client(&text) {
                // An error that answers no frame is about the connection: a token that was refused.
                Ok((ToClient::Error(error), of)) if of.is_none() || of.as_ref() == Some(&id) => {
                    return Err(error.into());
                }
                Ok((reply, Some(of))) if of == id => {
                    return pick(reply).ok_or_else(|| ClientError::Unexpected(shorten(&text)));
                }
                // A frame that the dispatcher pushes, such as `expiring`: no business of this request.
                Ok(_) => (),
                Err((_, error)) => return Err(ClientError::Unexpected(error.message)),
            }
        }
    }
}

/// Takes a value out of the one reply that a request has.
macro_rules! reply {
    ($pattern:pat => $value:expr) => {
        |reply| if let $pattern = reply { Some($value) } else { None }
    };
}
pub(super) use reply;

/// The beginning of a frame, for an error message.
pub(super) fn shorten(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
