//! Removing what lies below a path.
//!
//! A directory goes as a whole, with what a crash left in it that is no object yet. A bucket has no
//! directories: what its list shows is removed, and parts of broken uploads are for the bucket's own rule.

use std::io;
use std::path::Path as FsPath;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStoreExt};

use super::{BlobError, Blobs};

impl Blobs {
    /// Removes everything below a path. Harmless to repeat.
    pub(super) async fn remove_dir(&self, dir: &str) -> Result<(), BlobError> {
        let Some(root) = &self.root else { return self.remove_older(dir, Duration::ZERO).await };
        match tokio::fs::remove_dir_all(root.join(dir)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes the objects below a path that are older than `age`.
    pub(super) async fn remove_older(&self, dir: &str, age: Duration) -> Result<(), BlobError> {
        let old = move |meta: ObjectMeta| {
            std::future::ready(Ok(is_older(meta.last_modified.into(), age).then_some(meta.location)))
        };
        let locations = self.store.list(Some(&Path::from(dir))).try_filter_map(old).boxed();
        let removed = self.store.delete_stream(locations);
        removed.try_for_each(async |_| Ok(())).await.or_else(gone_already)
    }

    /// Removes one object. Harmless to repeat.
    pub(super) async fn remove(&self, at: &Path) -> Result<(), BlobError> {
        self.store.delete(at).await.or_else(gone_already)
    }
}

fn gone_already(error: Error) -> Result<(), BlobError> {
    match error {
        Error::NotFound { .. } => Ok(()),
        error => Err(error.into()),
    }
}

/// A clock that was set back makes a file look younger than it is, never older.
fn is_older(made: SystemTime, age: Duration) -> bool {
    age.is_zero() || made.elapsed().is_ok_and(|elapsed| elapsed > age)
}

/// Removes the directories in `dir` that are older than `age`.
pub(super) async fn old_dirs(dir: &FsPath, age: Duration) -> Result<(), BlobError> {
    let mut dirs = match tokio::fs::read_dir(dir).await {
        Ok(dirs) => dirs,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    while let Some(dir) = dirs.next_entry().await? {
        if is_older(dir.metadata().await?.modified()?, age) {
            match tokio::fs::remove_dir_all(dir.path()).await {
                // Another instance was there first.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => (),
            }
        }
    }
    Ok(())
}
