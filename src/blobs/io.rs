//! Bytes in and out, a piece at a time.

use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{BlobError, Blobs, PutError};

/// Parts that are written while the next one fills.
const PARTS_UNDER_WAY: usize = 2;
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
    store: Arc<dyn ObjectStore>,
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
        let mut upload = Upload { blobs: self, at, first: Vec::new(), rest: None };
        match feed(&mut upload, body, limit).await {
            Ok(written) => {
                upload.finish().await?;
                Ok(written)
            }
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }
}

/// A file on its way: what fits into one part goes in one request, anything larger part by part.
struct Upload<'a> {
    blobs: &'a Blobs,
    at: &'a Path,
    first: Vec<u8>,
    rest: Option<WriteMultipart>,
}

impl Upload<'_> {
    // Copied: many small chunks would each keep a large buffer of the socket alive.
    async fn write(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        if self.rest.is_none() && self.first.len() + chunk.len() <= self.blobs.part {
            self.first.extend_from_slice(chunk);
            return Ok(());
        }
        if self.rest.is_none() {
            let upload = self.blobs.store.put_multipart(self.at).await?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, self.blobs.part);
            upload.write(&std::mem::take(&mut self.first));
            self.rest = Some(upload);
        }
        if let Some(rest) = &mut self.rest {
            rest.wait_for_capacity(PARTS_UNDER_WAY).await?;
            rest.write(chunk);
        }
        Ok(())
    }

    async fn finish(self) -> Result<(), BlobError> {
        match self.rest {
            Some(rest) => rest.finish().await?,
            None => self.blobs.store.put(self.at, PutPayload::from(self.first)).await?,
        };
        Ok(())
    }

    async fn abort(self) {
        if let Some(rest) = self.rest {
            // What cannot be removed now goes with the directory, or by the bucket's own rule.
            let _ = rest.abort().await;
        }
    }
}

/// Hands a body on to an upload.
async fn feed<E: Display>(
    upload: &mut Upload<'_>,
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
        upload.write(&chunk).await?;
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Written { bytes, sha256 })
}

/// The media type that a file's name suggests.
pub(super) fn content_type(name: &str) -> &'static str {
    mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream")
}
