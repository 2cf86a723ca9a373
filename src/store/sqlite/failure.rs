//! How a step inside the engine fails, before it becomes an answer.

use rusqlite::ErrorCode;

use crate::store::error::StoreError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// SQLite said no.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A row does not hold what it must.
    #[error("{0}")]
    Unreadable(String),
}

/// The result of a step.
pub(super) type Run<T> = Result<T, Failure>;

impl Failure {
    /// A value that could not be read, or written in the form it is kept in.
    pub(super) fn unreadable(error: impl std::fmt::Display) -> Self {
        Self::Unreadable(error.to_string())
    }

    /// Whether the disk is full, broken, or read-only: nothing else can be written, either.
    pub(super) fn is_unwritable(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen)
        )
    }
}

/// A row that does not hold what it must.
pub(super) fn corrupt(what: String) -> Failure {
    Failure::Unreadable(what)
}

/// Whether SQLite says that the file is damaged.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

impl From<&Failure> for StoreError {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Sqlite(error) if is_damage(error) => Self::Corrupt(error.to_string()),
            Failure::Sqlite(error) => Self::Unavailable(error.to_string()),
            Failure::Unreadable(what) => Self::Corrupt(what.clone()),
        }
    }
}
