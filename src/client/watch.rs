//! A connection that listens to status changes of every job the account may see.

use super::connection::{Client, shorten};
use super::error::ClientError;
use crate::protocol::codec::{Nothing, ToClient, read_at_client};
use crate::protocol::job::{JobEvent, JobRequest, StatusEvent};

/// What a [`Watch`] hears.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// A job changed.
    Status(Box<StatusEvent>),
    /// Some changes were left out, because this side read too slowly: list again.
    Lagged,
}

/// Status changes of jobs, as they happen.
#[derive(Debug)]
pub struct Watch(Client);

impl Client {
    /// Turns this connection into one that listens to jobs.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn watch(mut self) -> Result<Watch, ClientError> {
        self.done(JobRequest::Watch(Nothing {})).await?;
        Ok(Watch(self))
    }
}

impl Watch {
    /// The next change. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn next(&mut self) -> Result<WatchEvent, ClientError> {
        loop {
            let text = self.0.receiver.recv().await?;
            match read_at_client(&text) {
                Ok((ToClient::Job(JobEvent::Status(status)), _)) => return Ok(WatchEvent::Status(Box::new(status))),
                Ok((ToClient::Job(JobEvent::Lagged(_)), _)) => return Ok(WatchEvent::Lagged),
                Ok((ToClient::Error(error), _)) => return Err(error.into()),
                Ok(_) => (),
                Err(_) => return Err(ClientError::Unexpected(shorten(&text))),
            }
        }
    }
}
