//! Uploads: files that jobs start from.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use object_store::path::Path;
use uuid::Uuid;

use super::{Blob, BlobError, Blobs, PutError, pieces, remove};

/// Longest name of an upload in its address, in bytes.
const NAME_MOST: usize = 100;

/// How long pieces may wait for the rest; twice what their upload may.
const PIECES_FOR: Duration = Duration::from_secs(2 * 24 * 3600);

/// An upload that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its address on this server, for `fileUrl`.
    pub url: String,
    /// The name it came with, without directories.
    pub filename: String,
    /// Its size.
    pub bytes: u64,
}

impl Blobs {
    /// Takes a file of at most `limit` bytes.
    ///
    /// # Errors
    /// See [`PutError`]; nothing is left behind.
    pub async fn put_upload<E: Display>(
        &self,
        filename: &str,
        body: impl Stream<Item = Result<Bytes, E>>,
        limit: u64,
    ) -> Result<Upload, PutError> {
        let filename = filename.rsplit(['/', '\\']).next().unwrap_or_default();
        let (id, name) = (Uuid::new_v4().simple().to_string(), address_name(filename));
        let written = self.write(&location(&id, &name), body, limit).await?;
        Ok(Upload { url: format!("/uploads/{id}/{name}"), filename: filename.to_owned(), bytes: written.bytes })
    }

    /// The upload at `/uploads/<id>/<name>`; none: there is none.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn upload(&self, id: &str, name: &str) -> Result<Option<Blob>, BlobError> {
        // Anything but what `put_upload` made up is no upload, and no path either.
        if Uuid::try_parse(id).is_err() || name != address_name(name) {
            return Ok(None);
        }
        self.blob(location(id, name), name).await
    }

    /// Removes uploads older than `age`, with what broken uploads left, and pieces whose rest never came.
    ///
    /// # Errors
    /// The directory cannot be read; what was removed stays removed.
    pub async fn forget_uploads(&self, age: Duration) -> Result<(), BlobError> {
        for (dir, age) in [("uploads", age), (pieces::DIR, age.min(PIECES_FOR))] {
            match &self.root {
                Some(root) => remove::old_dirs(&root.join(dir), age).await?,
                None => self.remove_older(dir, age).await?,
            }
        }
        Ok(())
    }
}

fn location(id: &str, name: &str) -> Path {
    Path::from_iter(["uploads", id, name])
}

/// A name that is the same in a file system and, unescaped, in a URL.
fn address_name(filename: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let name: String = filename.chars().map(plain).take(NAME_MOST).collect();
    match name.trim_start_matches('.') {
        "" => "file".to_owned(),
        visible => visible.to_owned(),
    }
}
