//! Files beside the store: what people upload for jobs, and what jobs leave behind.
//!
//! ```text
//! uploads/<id>/<name>                   an upload; the id is random and the only key to it
//! artifacts/<job>/<attempt>/<key>.json  an artifact's record; the key is a hash of its path
//! artifacts/<job>/<attempt>/<data>      its bytes, under a random name that the record holds
//! ```
//!
//! Invariants: a file appears whole or not at all, because data comes first and its record
//! replaces the former one in a single step; nothing that a peer chose becomes part of a file
//! name unchecked; memory is a few MiB whatever the size of a file.
//! Not here: who may read or write (`api`), which attempt may still write (`dispatcher`).

mod artifact;
mod error;
mod io;
#[cfg(test)]
mod tests;
mod upload;

use std::path::Path as FsPath;
use std::sync::Arc;

use object_store::local::LocalFileSystem;

pub use self::artifact::{Artifact, ArtifactPath, InvalidArtifactPath};
pub use self::error::{BlobError, PutError};
pub use self::io::Blob;
pub use self::upload::Upload;

/// Uploads and artifacts under one local directory. Clones share it.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<LocalFileSystem>,
    root: Arc<FsPath>,
}

impl Blobs {
    /// Opens a directory, made where it is missing.
    ///
    /// # Errors
    /// It cannot be made or entered.
    pub fn open(dir: &FsPath) -> Result<Self, BlobError> {
        std::fs::create_dir_all(dir)?;
        let store = LocalFileSystem::new_with_prefix(dir)?.with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(store), root: dir.into() })
    }
}
