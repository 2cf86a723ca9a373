//! How reading and writing files fails.

use std::path::PathBuf;

use crate::config::BlobsUrl;
use crate::protocol::{ErrorCode, WireError};

/// The directory could not be read or written: full, gone, or not permitted.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The object store says so.
    #[error("files unavailable: {0}")]
    Store(#[from] object_store::Error),
    /// The file system says so.
    #[error("files unavailable: {0}")]
    Io(#[from] std::io::Error),
    /// The directory cannot be had.
    #[error("files cannot be kept in {}: {source}", dir.display())]
    Directory {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bucket cannot be had.
    #[error(
        "files cannot be kept in {url}: {source}; see that the bucket is there, and what AWS_ENDPOINT_URL, AWS_REGION, \
         AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ALLOW_HTTP say"
    )]
    Bucket {
        /// Which.
        url: BlobsUrl,
        /// Why.
        source: object_store::Error,
    },
    /// What should be a finished log is none.
    #[error("the file of a log {0}")]
    Log(&'static str),
    /// A record cannot be read.
    #[error("a record among the files is corrupt: {0}")]
    Corrupt(serde_json::Error),
}

/// Why a file was not taken. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Over the limit.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The sender broke off.
    #[error("the body broke off: {0}")]
    Body(String),
    /// It could not be written.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl BlobError {
    /// What a peer is told; the paths in the error itself are for the log.
    pub fn to_wire(&self) -> WireError {
        match self {
            Self::Store(_) | Self::Io(_) | Self::Directory { .. } | Self::Bucket { .. } => {
                WireError::new(ErrorCode::StoreUnavailable, "files cannot be kept or read")
            }
            Self::Log(_) | Self::Corrupt(_) => WireError::new(ErrorCode::Internal, "internal error"),
        }
    }
}

impl PutError {
    /// What a peer is told.
    pub fn to_wire(&self) -> WireError {
        match self {
            Self::TooLarge { .. } => WireError::new(ErrorCode::TooLarge, self.to_string()),
            Self::Body(_) => WireError::new(ErrorCode::BadFrame, self.to_string()),
            Self::Blob(error) => error.to_wire(),
        }
    }
}
