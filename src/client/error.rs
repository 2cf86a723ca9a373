//! What can go wrong between a client and its dispatcher.

use crate::config::MissingToken;
use crate::link::{LinkEnd, LinkError};
use crate::protocol::{After, ErrorCode, WireError};

/// A request was not done, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The dispatcher said no. Nothing was done.
    #[error("{0}")]
    Refused(#[from] WireError),
    /// There is no connection. Nothing was sent.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The dispatcher asks for a token, and there is none. Nothing was sent.
    #[error(transparent)]
    NoToken(#[from] MissingToken),
    /// The connection ended before the reply: the request may have been done.
    #[error(transparent)]
    Ended(#[from] LinkEnd),
    /// The dispatcher took too long to reply: the request may have been done.
    #[error("the dispatcher did not reply within {secs} s")]
    NoReply {
        /// How long it had.
        secs: u64,
    },
    /// Entries of a followed log did not come. Only a follower sees this, and asks for them.
    #[error("entries are missing after {after}")]
    Hole {
        /// The last one that came.
        after: After,
    },
    /// The dispatcher sent what this version does not understand.
    #[error("the dispatcher sent what cannot be understood: {0}")]
    Unexpected(String),
}

impl ClientError {
    /// Whether the same request can succeed soon, on a new connection.
    pub fn reconnect(&self) -> bool {
        match self {
            // A full queue is the one passing refusal that its cause should hear of.
            Self::Refused(error) => error.retry && error.code != ErrorCode::QueueFull,
            Self::Link(error) => error.retry(),
            Self::Ended(end) => end.should_reconnect(),
            Self::NoReply { .. } | Self::Hole { .. } => true,
            Self::NoToken(_) | Self::Unexpected(_) => false,
        }
    }

    /// The dispatcher's code, or the one that says best what happened.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(error) => Some(error.code),
            Self::NoToken(_) => Some(ErrorCode::Unauthorized),
            Self::Link(error) if error.unauthorized() => Some(ErrorCode::Unauthorized),
            Self::Link(LinkError::UnsupportedVersion { .. }) => Some(ErrorCode::UnsupportedVersion),
            Self::Link(_) | Self::Ended(_) | Self::NoReply { .. } | Self::Hole { .. } | Self::Unexpected(_) => None,
        }
    }
}

/// Why a [`Follower`](super::Follower) stopped before the job's end.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The dispatcher no longer knows the job, or no longer shows it.
    #[error("the job is gone: {0}")]
    Gone(WireError),
    /// The connection is lost for good. The job goes on.
    #[error("the connection is lost: {0}")]
    Lost(ClientError),
}
