//! Why a server does not start, or stops.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::tls::TlsError;
use crate::auth::BootstrapError;
use crate::blobs::BlobError;
use crate::dispatcher::TemplateError;
use crate::store::StoreError;
use crate::store::redis::CheckError;
use crate::store::sqlite::OpenError;

/// Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Everyone would be an administrator.
    #[error(
        "--open on {0} would make everyone who can reach it an administrator; listen on a loopback address, or add --open-anywhere"
    )]
    OpenToAll(SocketAddr),
    /// The port cannot be had.
    #[error("cannot listen on {address}: {}", listen_words(.source))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate cannot be served with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The data directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The directory for tokens and files cannot be made.
    #[error("cannot make the data directory {}: {source}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The first tokens could not be made.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// Files cannot be kept.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// A template cannot be used, or the directory cannot be read.
    #[error(transparent)]
    Templates(#[from] TemplateError),
    /// The store did not answer at the start.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Redis cannot be used as it is.
    #[error(transparent)]
    Redis(#[from] CheckError),
    /// The thread that opened the store panicked: a defect.
    #[error("opening the store was cut short: {0}")]
    Join(#[from] tokio::task::JoinError),
}

fn listen_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use; is another server running? (choose one with --listen)".to_owned()
        }
        io::ErrorKind::PermissionDenied => "permission denied; ports below 1024 need privileges".to_owned(),
        _ => error.to_string(),
    }
}
