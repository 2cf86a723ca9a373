//! Files beside the store: what people upload for jobs, what jobs leave behind, logs that are finished, and people's pictures.
//!
//! ```text
//! uploads/<id>/<name>                   an upload; the id is random and the only key to it
//! pieces/<id>/<piece>                   a part of an upload that comes little by little
//! artifacts/<job>/<attempt>/<key>.json  an artifact's record; the key is a hash of its path
//! artifacts/<job>/<attempt>/<data>      its bytes, under a random name that the record holds
//! logs/<job>                            a finished log, where the store does not keep it
//! photos/<account>/<id>                 an account's picture, below a hash of its name
//! ```
//!
//! The place is a directory of this machine, one that machines share, or a bucket of S3.
//!
//! Invariants: a file appears whole or not at all, because data comes first and its record
//! replaces the former one in a single step; nothing that a peer chose becomes part of a file
//! name unchecked; memory is a few MiB whatever the size of a file.
//! Not here: who may read or write (`api`), which attempt may still write (`dispatcher`).

mod artifact;
mod error;
mod io;
mod log;
mod neighbours;
mod open;
mod photo;
mod pieces;
mod remove;
#[cfg(test)]
mod tests;
mod upload;

use std::path::Path as FsPath;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

pub use self::artifact::{Artifact, ArtifactPath, InvalidArtifactPath};
pub use self::error::{BlobError, PutError};
pub use self::io::Blob;
pub use self::log::{FinishedLog, LogWriter};
pub use self::neighbours::{Listed, Neighbours, ROUTE as NEIGHBOURS_ROUTE};
pub use self::pieces::PieceOf;
pub use self::upload::Upload;

/// Uploads, artifacts and finished logs in one place. Clones share it.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// Where the place is a directory.
    root: Option<Arc<FsPath>>,
    /// That directory, without what is behind it.
    near: Option<Arc<LocalFileSystem>>,
    neighbours: Option<Neighbours>,
    /// Bytes per write.
    part: usize,
    /// Whether every dispatcher sees the same.
    shared: bool,
    logs: log::Indexes,
}

impl Blobs {
    /// Whether every dispatcher sees the same files; else they are on this machine's disk.
    pub fn is_shared(&self) -> bool {
        self.shared
    }
}
