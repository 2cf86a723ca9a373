//! Uploads that come in pieces: what has arrived stays, and the sender goes on from there.
//!
//! What is known of one is a document, changed by compare-and-swap; its bytes are pieces among the files. When the last
//! one is there they become an upload like any other, and only then is the upload said to be complete.

use std::fmt::Display;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tracing::debug;
use uuid::Uuid;

use super::{DispatchError, Dispatcher};
use crate::auth::Identity;
use crate::base::clock::{Millis, millis};
use crate::blobs::{PieceOf, PutError, Upload};
use crate::model::{AccountName, Role};
use crate::protocol::{ErrorCode, WireError};
use crate::store::StoreError;
use crate::store::documents::{Collection, DocumentWrite};

/// How long an upload waits for its next piece; a day.
const WAITS: Duration = Duration::from_secs(24 * 3600);

/// Bytes of a piece: what an upload has in memory, and what it loses at the most where the server dies.
const PIECE: usize = 4 * 1024 * 1024;

/// Pieces of one upload. The largest upload needs a quarter of them if it is never interrupted.
const PIECES_MOST: usize = 4_096;

/// Longest silence of a sender.
const SILENT_FOR: Duration = Duration::from_secs(60);

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that have arrived.
    pub offset: u64,
    /// Bytes there are to be.
    pub length: u64,
    /// When it is given up.
    pub expires_at: Millis,
    /// The address of the upload, once it is complete.
    pub file_url: Option<String>,
}

/// What is kept of an upload under way.
#[derive(Debug, Serialize, Deserialize)]
struct Partial {
    account: AccountName,
    filename: String,
    length: u64,
    pieces: Vec<PieceOf>,
    expires_at: Millis,
    /// Once it is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_url: Option<String>,
}

impl Partial {
    fn progress(&self) -> Progress {
        let arrived = self.pieces.iter().map(|piece| piece.bytes).sum();
        Progress {
            offset: if self.file_url.is_some() { self.length } else { arrived },
            length: self.length,
            expires_at: self.expires_at,
            file_url: self.file_url.clone(),
        }
    }
}

impl Dispatcher {
    /// Begins an upload of so many bytes.
    ///
    /// # Errors
    /// The role may not, it is too large, or the store.
    pub async fn begin_upload(
        &self,
        who: &Identity,
        filename: String,
        length: u64,
    ) -> Result<(Uuid, Progress), DispatchError> {
        match who.role {
            Role::User | Role::Admin => (),
            Role::Worker | Role::Plugin => {
                return Err(DispatchError::Forbidden("uploads are made by those who submit jobs"));
            }
        }
        let limit = self.0.settings.limits.upload_bytes;
        if length > limit {
            return Err(refused(&PutError::TooLarge { limit }));
        }
        let id = Uuid::new_v4();
        let account = who.account.clone();
        let mut partial =
            Partial { account, filename, length, pieces: Vec::new(), expires_at: self.waits_until(), file_url: None };
        if length == 0 {
            partial.file_url = Some(self.assemble(id, &partial).await?.url);
        }
        self.swap(id, None, Some(&partial)).await?;
        Ok((id, partial.progress()))
    }

    /// How far an upload is.
    ///
    /// # Errors
    /// `not_found` where there is none, or it is another's; or the store.
    pub async fn upload_progress(&self, who: &Identity, id: Uuid) -> Result<Progress, DispatchError> {
        Ok(self.partial(who, id).await?.1.progress())
    }

    /// Takes what comes next of an upload, from `offset` on, as far as it comes.
    ///
    /// # Errors
    /// `not_found`; `conflict` where something else comes next, or another sends it at the same time; it is too much, or
    /// the body broke off; or the store. What had arrived by then is kept.
    pub async fn go_on_upload<E: Display>(
        &self,
        who: &Identity,
        id: Uuid,
        offset: u64,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Progress, DispatchError> {
        let (mut version, mut partial) = self.partial(who, id).await?;
        let progress = partial.progress();
        if progress.offset != offset {
            let message = format!("byte {} is next, not {offset}", progress.offset);
            return Err(DispatchError::Conflict(message));
        }
        let mut left = progress.length - offset;
        let mut body = std::pin::pin!(body);
        loop {
            let Arrived { bytes, end } = arrive(&mut body, left).await;
            if !bytes.is_empty() {
                left -= bytes.len() as u64;
                (version, partial) = self.keep(id, version, partial, bytes).await?;
            }
            match end {
                None => (),
                Some(Ok(())) => return Ok(partial.progress()),
                Some(Err(error)) => return Err(refused(&error)),
            }
        }
    }

    /// Gives an upload up, or forgets that it came in pieces where it is complete.
    ///
    /// # Errors
    /// `not_found`; `conflict` where somebody sends it at the same time; or the store.
    pub async fn end_upload(&self, who: &Identity, id: Uuid) -> Result<(), DispatchError> {
        let (version, _) = self.partial(who, id).await?;
        self.swap(id, Some(version), None).await?;
        self.forget_pieces(id).await;
        Ok(())
    }

    /// Adds a piece; with the last one the upload is complete.
    async fn keep(
        &self,
        id: Uuid,
        version: u64,
        mut partial: Partial,
        bytes: Bytes,
    ) -> Result<(u64, Partial), DispatchError> {
        if partial.pieces.len() >= PIECES_MOST {
            let message = format!("an upload may come in {PIECES_MOST} pieces; send larger ones");
            return Err(WireError::new(ErrorCode::TooLarge, message).into());
        }
        let blobs = &self.0.blobs;
        let piece = blobs.put_piece(id, bytes).await.map_err(|error| refused(&error.into()))?;
        partial.pieces.push(piece);
        partial.expires_at = self.waits_until();
        let kept = async {
            if partial.progress().offset == partial.length {
                partial.file_url = Some(self.assemble(id, &partial).await?.url);
                partial.pieces = Vec::new();
            }
            self.swap(id, Some(version), Some(&partial)).await
        };
        match kept.await {
            Ok(version) => {
                if partial.file_url.is_some() {
                    self.forget_pieces(id).await;
                }
                Ok((version, partial))
            }
            Err(error) => {
                if let Err(error) = blobs.remove_piece(id, piece).await {
                    debug!(%error, "a piece that does not count stays until it is old");
                }
                Err(error)
            }
        }
    }

    /// Makes an upload of all pieces.
    async fn assemble(&self, id: Uuid, partial: &Partial) -> Result<Upload, DispatchError> {
        let blobs = &self.0.blobs;
        let whole = blobs.read_pieces(id, partial.pieces.clone());
        blobs.put_upload(&partial.filename, whole, partial.length).await.map_err(|error| refused(&error))
    }

    async fn forget_pieces(&self, id: Uuid) {
        if let Err(error) = self.0.blobs.remove_pieces(id).await {
            debug!(%error, "pieces of an upload stay until they are old");
        }
    }

    /// An upload that `who` may see, with the version of its document.
    async fn partial(&self, who: &Identity, id: Uuid) -> Result<(u64, Partial), DispatchError> {
        let found = self.0.store.document(Collection::PartialUploads, &id.simple().to_string()).await?;
        let found = found.ok_or(DispatchError::NotFound("upload"))?;
        let partial: Partial = serde_json::from_str(&found.value).map_err(|error| unreadable(&error))?;
        if who.role != Role::Admin && partial.account != who.account {
            return Err(DispatchError::NotFound("upload"));
        }
        Ok((found.version, partial))
    }

    /// Puts the document of an upload into the place of the one that was read, and returns its version.
    async fn swap(&self, id: Uuid, expected: Option<u64>, partial: Option<&Partial>) -> Result<u64, DispatchError> {
        let changed = || DispatchError::Conflict("somebody else is at this upload".to_owned());
        let (collection, key) = (Collection::PartialUploads, id.simple().to_string());
        let value = partial.map(serde_json::to_string).transpose().map_err(|error| unreadable(&error))?;
        let expires_at = partial.map(|partial| partial.expires_at);
        let write = DocumentWrite { collection, key: key.clone(), expected, value: value.clone(), expires_at };
        if !self.0.store.write_documents(vec![write]).await? {
            return Err(changed());
        }
        let Some(value) = value else { return Ok(0) };
        let now = self.0.store.document(collection, &key).await?;
        now.filter(|now| now.value == value).map(|now| now.version).ok_or_else(changed)
    }

    fn waits_until(&self) -> Millis {
        self.0.clock.now().saturating_add(millis(WAITS))
    }
}

/// What came of a body, up to a piece.
struct Arrived {
    bytes: Bytes,
    /// Where the body is over: whether all of it came.
    end: Option<Result<(), PutError>>,
}

/// Waits for the next piece of a body of which `left` bytes are wanted.
async fn arrive<E: Display>(body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin), left: u64) -> Arrived {
    let mut bytes = BytesMut::new();
    while bytes.len() < PIECE {
        let end = match tokio::time::timeout(SILENT_FOR, body.next()).await {
            Ok(Some(Ok(chunk))) if (bytes.len() + chunk.len()) as u64 <= left => {
                bytes.extend_from_slice(&chunk);
                continue;
            }
            Ok(Some(Ok(_))) => Err(PutError::TooLarge { limit: left }),
            Ok(Some(Err(error))) => Err(PutError::Body(error.to_string())),
            Ok(None) => Ok(()),
            Err(_) => Err(PutError::Body(format!("nothing came for {SILENT_FOR:?}"))),
        };
        return Arrived { bytes: bytes.freeze(), end: Some(end) };
    }
    Arrived { bytes: bytes.freeze(), end: None }
}

fn refused(error: &PutError) -> DispatchError {
    error.to_wire().into()
}

fn unreadable(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
