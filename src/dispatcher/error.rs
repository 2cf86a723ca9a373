//! Why an operation was refused, and what the peer is told.

use std::time::Duration;

use crate::auth::AuthError;
use crate::base::clock::millis;
use crate::protocol::{ErrorCode, PluginName, WireError};
use crate::store::StoreError;
use crate::store::error::{AppendError, SubmitError};

/// An operation that did not take place.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DispatchError {
    /// A field was wrong.
    #[error(transparent)]
    Invalid(#[from] WireError),
    /// The caller's role may not do this.
    #[error("forbidden: {0}")]
    Forbidden(&'static str),
    /// No such thing, or not the caller's to see.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// It is in a state that does not allow this.
    #[error("{0}")]
    Conflict(String),
    /// The same, but it can change by itself.
    #[error("{0}")]
    NotYet(String),
    /// The account has submitted too many jobs lately.
    #[error("too many submits; try again later")]
    TooManySubmits {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// A plugin does not want it, in its words.
    #[error("{0}")]
    Refused(String),
    /// A plugin that must be asked does not answer.
    #[error("the plugin {0}, which must allow this, does not answer; try again")]
    PluginAway(PluginName),
    /// The submit was refused.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The attempt's write was refused.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Credentials.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl DispatchError {
    /// Whether the store did not answer; a plugin that is away is told to peers in the same way.
    pub fn is_the_stores(&self) -> bool {
        self.to_wire().code == ErrorCode::StoreUnavailable && !matches!(self, Self::PluginAway(_))
    }

    /// What the peer is told.
    pub fn to_wire(&self) -> WireError {
        match self {
            Self::Invalid(error) => error.clone(),
            Self::Forbidden(why) => WireError::new(ErrorCode::Forbidden, *why),
            Self::NotFound(_) | Self::Append(AppendError::NotFound(_)) => {
                WireError::new(ErrorCode::NotFound, self.to_string())
            }
            Self::Conflict(why) => WireError::new(ErrorCode::Conflict, why),
            Self::NotYet(why) => {
                let mut error = WireError::new(ErrorCode::Conflict, why);
                error.retry = true;
                error
            }
            Self::Refused(why) => WireError::new(ErrorCode::Forbidden, why),
            Self::PluginAway(_) => WireError::new(ErrorCode::StoreUnavailable, self.to_string()).retry_after(1_000),
            Self::TooManySubmits { retry_after } => {
                WireError::new(ErrorCode::RateLimited, self.to_string()).retry_after(millis(*retry_after))
            }
            Self::Submit(SubmitError::QueueFull { .. } | SubmitError::AccountQueueFull { .. }) => {
                WireError::new(ErrorCode::QueueFull, self.to_string()).retry_after(1_000)
            }
            Self::Submit(SubmitError::Store(error)) | Self::Store(error) => store_error(error),
            Self::Append(AppendError::Stale { .. }) => WireError::new(ErrorCode::StaleAttempt, self.to_string()),
            Self::Append(AppendError::Gap { .. }) => WireError::bad_field("n", self.to_string()),
            Self::Auth(error) => error.to_wire(),
        }
    }
}

fn store_error(error: &StoreError) -> WireError {
    match error {
        StoreError::Unavailable(_) => {
            WireError::new(ErrorCode::StoreUnavailable, "the store does not answer; try again").retry_after(1_000)
        }
        StoreError::Corrupt(_) => WireError::new(ErrorCode::Internal, "the store holds something unreadable"),
    }
}
