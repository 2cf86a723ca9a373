//! Bytes in and out, a piece at a time.

use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt, WriteMultipart};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{BlobError, Blobs, PutError};

/// Bytes per write. One part is written while the next one fills.
const PART: usize = 1024 * 1024;
/// Longest silence of a sender; a client waits no longer for an answer either.
const SILENT_FOR: Duration = Duration::from_secs(60);
/// Bytes per read.
const PIECE: usize = 256 * 1024;

/// A file that is there, not yet read.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its size.
    pub bytes: u64,
    /// Guessed from its name.
    pub content_type: &'static str,
    store: Arc<LocalFileSystem>,
    at: Path,
}

/// What a file turned out to be while it was written.
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Blob {
    /// Streams a part of the file; a range that ends beyond the file ends with it.
    ///
    /// # Errors
    /// The file is gone or cannot be read. Later failures are items of the stream.
    pub async fn read(&self, range: Range<u64>) -> Result<BoxStream<'static, io::Result<Bytes>>, BlobError> {
        // The store refuses ranges without a byte.
        if range.is_empty() {
            return Ok(futures_util::stream::empty().boxed());
        }
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let found = self.store.get_opts(&self.at, options).await?;
        let len = found.range.end - found.range.start;
        match found.payload {
            // An open file outlives its removal. The store's own stream reads 8 KiB at a time.
            GetResultPayload::File(file, _) => {
                let mut file = tokio::fs::File::from_std(file);
                file.seek(io::SeekFrom::Start(found.range.start)).await?;
                Ok(ReaderStream::with_capacity(file.take(len), PIECE).boxed())
            }
            GetResultPayload::Stream(stream) => Ok(stream.map_err(io::Error::from).boxed()),
        }
    }
}

impl Blobs {
    /// The file at `at`, named `name`; none: there is none.
    pub(super) async fn blob(&self, at: Path, name: &str) -> Result<Option<Blob>, BlobError> {
        match self.store.head(&at).await {
            Ok(meta) => Ok(Some(self.known_blob(at, name, meta.size))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn known_blob(&self, at: Path, name: &str, bytes: u64) -> Blob {
        Blob { bytes, content_type: content_type(name), store: Arc::clone(&self.store), at }
    }

    /// Writes a file of at most `limit` bytes. It appears when it is whole; before, or if the
    /// future is dropped, there is none.
    pub(super) async fn write<E: Display>(
        &self,
        at: &Path,
        body: impl Stream<Item = Result<Bytes, E>>,
        limit: u64,
    ) -> Result<Written, PutError> {
        let upload = self.store.put_multipart(at).await.map_err(BlobError::from)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        match feed(&mut upload, body, limit).await {
            Ok(written) => {
                upload.finish().await.map_err(BlobError::from)?;
                Ok(written)
            }
            Err(error) => {
                // What cannot be removed now goes with the directory.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Removes a directory below the root with all that is in it, a crash's leftovers included.
    pub(super) async fn remove_dir(&self, dir: &str) -> Result<(), BlobError> {
        match tokio::fs::remove_dir_all(self.root.join(dir)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Hands a body on to an upload.
async fn feed<E: Display>(
    upload: &mut WriteMultipart,
    body: impl Stream<Item = Result<Bytes, E>>,
    limit: u64,
) -> Result<Written, PutError> {
    let (mut bytes, mut hash) = (0u64, Sha256::new());
    let mut body = std::pin::pin!(body);
    let silent = |_| PutError::Body(format!("nothing came for {SILENT_FOR:?}"));
    while let Some(chunk) = tokio::time::timeout(SILENT_FOR, body.next()).await.map_err(silent)? {
        let chunk = chunk.map_err(|error| PutError::Body(error.to_string()))?;
        bytes += chunk.len() as u64;
        if bytes > limit {
            return Err(PutError::TooLarge { limit });
        }
        hash.update(&chunk);
        upload.wait_for_capacity(2).await.map_err(BlobError::from)?;
        // Copied: many small chunks would each keep a large buffer of the socket alive.
        upload.write(&chunk);
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Written { bytes, sha256 })
}

/// The media type that a file's name suggests.
pub(super) fn content_type(name: &str) -> &'static str {
    mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream")
}
