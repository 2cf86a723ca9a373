//! Error and close codes: what went wrong, and whether trying again can help.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The codes of `error` frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON, not an object, or a field that is missing or wrong.
    BadFrame,
    /// No such `type` or `opt`.
    UnknownType,
    /// No or wrong credentials.
    Unauthorized,
    /// The role may not do this.
    Forbidden,
    /// No such thing, or not yours to see.
    NotFound,
    /// It is in a state that does not allow this.
    Conflict,
    /// A frame, field or upload over its limit.
    TooLarge,
    /// Too many frames or requests.
    RateLimited,
    /// A configured limit would be exceeded.
    LimitExceeded,
    /// The queue, or the account's part of it, is full.
    QueueFull,
    /// No worker could ever meet this.
    Unsatisfiable,
    /// A newer attempt of the job exists.
    StaleAttempt,
    /// The store cannot be reached.
    StoreUnavailable,
    /// The peer speaks another protocol version.
    UnsupportedVersion,
    /// A defect of the server.
    Internal,
}

impl ErrorCode {
    /// Whether the same frame can succeed later.
    pub fn retry(self) -> bool {
        match self {
            Self::RateLimited | Self::QueueFull | Self::StoreUnavailable | Self::Internal => true,
            Self::BadFrame
            | Self::UnknownType
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::Conflict
            | Self::TooLarge
            | Self::LimitExceeded
            | Self::Unsatisfiable
            | Self::StaleAttempt
            | Self::UnsupportedVersion => false,
        }
    }
}

/// `data` of an `error` frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct WireError {
    /// What kind of error.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Path of the field at fault, such as `requires.gpus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Whether the same frame can succeed later.
    #[serde(default)]
    pub retry: bool,
    /// When a retry makes sense, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Longest message and longest field name: a peer's own words come back in both, and an error
/// must stay smaller than the frame that it is about.
const LONGEST: usize = 500;

fn clipped(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

impl WireError {
    /// An error with no field. A long message is cut short.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: clipped(message.into()), field: None, retry: code.retry(), retry_after_ms: None }
    }

    /// A field that is missing or wrong.
    pub fn bad_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadFrame, message).field(field)
    }

    /// Names the field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(clipped(field.into()));
        self
    }

    /// Says when to try again, in milliseconds.
    #[must_use]
    pub fn retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}

/// Why the server closes a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: the peer asked.
    Normal,
    /// 1007: a text message that is no text.
    InvalidPayload,
    /// 1009: a message over the limit.
    TooLarge,
    /// 1011: a defect of the server.
    Internal,
    /// 4000: the dispatcher is stopping; another may answer.
    Draining,
    /// 4001: the store cannot be reached.
    StoreUnavailable,
    /// 4002: the peer does not read what it is sent.
    NoProgress,
    /// 4003: nothing was heard for too long.
    PingTimeout,
    /// 4029: too many frames.
    RateLimited,
    /// 4101: the token has run out.
    TokenExpired,
    /// 4500: too many errors.
    Abuse,
    /// 4501: wrong or revoked credentials.
    Unauthorized,
    /// 4503: the page's origin may not connect.
    ForbiddenOrigin,
    /// 4506: another protocol version.
    UnsupportedVersion,
    /// 4508: no `auth` in time.
    AuthTimeout,
    /// 4509: a newer connection of the same worker.
    Superseded,
}

impl CloseCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::InvalidPayload => 1007,
            Self::TooLarge => 1009,
            Self::Internal => 1011,
            Self::Draining => 4000,
            Self::StoreUnavailable => 4001,
            Self::NoProgress => 4002,
            Self::PingTimeout => 4003,
            Self::RateLimited => 4029,
            Self::TokenExpired => 4101,
            Self::Abuse => 4500,
            Self::Unauthorized => 4501,
            Self::ForbiddenOrigin => 4503,
            Self::UnsupportedVersion => 4506,
            Self::AuthTimeout => 4508,
            Self::Superseded => 4509,
        }
    }

    /// The reason sent beside the number.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "bye",
            Self::InvalidPayload => "not UTF-8",
            Self::TooLarge => "message too large",
            Self::Internal => "internal error",
            Self::Draining => "draining",
            Self::StoreUnavailable => "store unavailable",
            Self::NoProgress => "no progress",
            Self::PingTimeout => "ping timeout",
            Self::RateLimited => "rate limited",
            Self::TokenExpired => "token expired",
            Self::Abuse => "too many errors",
            Self::Unauthorized => "unauthorized",
            Self::ForbiddenOrigin => "forbidden origin",
            Self::UnsupportedVersion => "unsupported version",
            Self::AuthTimeout => "auth timeout",
            Self::Superseded => "superseded",
        }
    }

    /// Whether a peer closed with this number should connect again: everything but 1000 and
    /// 4500 to 4999.
    pub fn should_reconnect(code: u16) -> bool {
        code != 1000 && !(4500..5000).contains(&code)
    }
}
