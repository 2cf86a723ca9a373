//! Pieces of uploads that come little by little: each is a file of its own until all are there.
//!
//! A piece has a name that nobody else has, so that two who send the same part of an upload at once cannot harm each
//! other: the list of pieces, which is not here, says which of them count.

use std::io;

use bytes::Bytes;
use futures_util::stream::{self, Stream, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BlobError, Blobs};

/// Where pieces are.
pub(super) const DIR: &str = "pieces";

/// A piece that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceOf {
    name: Uuid,
    /// Its size.
    pub bytes: u64,
}

impl Blobs {
    /// Keeps a piece of an upload.
    ///
    /// # Errors
    /// It could not be written; nothing is left of it.
    pub async fn put_piece(&self, upload: Uuid, piece: Bytes) -> Result<PieceOf, BlobError> {
        let kept = PieceOf { name: Uuid::new_v4(), bytes: piece.len() as u64 };
        self.store.put(&location(upload, kept), PutPayload::from_bytes(piece)).await?;
        Ok(kept)
    }

    /// The bytes of pieces, one after the other.
    pub fn read_pieces(&self, upload: Uuid, pieces: Vec<PieceOf>) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let blobs = self.clone();
        let reads = stream::iter(pieces.into_iter().map(Ok)).and_then(move |piece| {
            let blobs = blobs.clone();
            async move {
                let blob = blobs.known_blob(location(upload, piece), "", piece.bytes);
                blob.read(0..piece.bytes).await.map_err(io::Error::other)
            }
        });
        reads.try_flatten()
    }

    /// Removes the pieces of an upload. Harmless to repeat.
    ///
    /// # Errors
    /// What was removed stays removed; the rest goes when it is old.
    pub async fn remove_pieces(&self, upload: Uuid) -> Result<(), BlobError> {
        self.remove_dir(&format!("{DIR}/{}", upload.simple())).await
    }

    /// Removes a piece that does not count.
    ///
    /// # Errors
    /// It goes when it is old.
    pub async fn remove_piece(&self, upload: Uuid, piece: PieceOf) -> Result<(), BlobError> {
        self.remove(&location(upload, piece)).await
    }
}

fn location(upload: Uuid, piece: PieceOf) -> Path {
    Path::from_iter([DIR.to_owned(), upload.simple().to_string(), piece.name.simple().to_string()])
}
