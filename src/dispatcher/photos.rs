//! Pictures of accounts: taken by what is in them, shown as long as the account's record names them.

use bytes::Bytes;
use tracing::warn;
use uuid::Uuid;

use super::{DispatchError, Dispatcher};
use crate::blobs::{Blob, PutError};
use crate::model::{AccountName, Photo, PhotoKind};
use crate::protocol::WireError;

/// Largest picture, in bytes.
pub const PHOTO_BYTES: usize = 2 * 1024 * 1024;

/// A picture that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PhotoError {
    /// It could not be kept.
    #[error(transparent)]
    Put(#[from] PutError),
    /// It is no picture, the account is gone, or the store failed.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
}

impl Dispatcher {
    /// Gives an account a picture, or none.
    ///
    /// # Errors
    /// A file of another kind, the account is gone, the store, or the place of the files.
    pub(super) async fn put_photo(&self, account: &AccountName, picture: Option<Bytes>) -> Result<(), PhotoError> {
        // Before a file is written that nobody would own.
        self.auth().account(account).await.map_err(DispatchError::from)?;
        let photo = match picture {
            None => None,
            Some(bytes) => {
                let kind = PhotoKind::of(&bytes).ok_or_else(not_a_picture)?;
                Some(Photo { id: self.blobs().put_photo(account.as_str(), bytes).await?, kind })
            }
        };
        let former = self.auth().set_photo(account, photo).await.map_err(DispatchError::from)?;
        if let Err(error) = self.blobs().forget_photos(account.as_str(), former.map(|photo| photo.id)).await {
            // Nobody sees it any more, and the next picture tries again.
            warn!(%error, "a former picture could not be removed");
        }
        Ok(())
    }

    /// The picture that an account has now, if it is this one.
    ///
    /// # Errors
    /// The store, or the place of the files.
    pub async fn photo(&self, account: &str, id: Uuid) -> Result<Option<(PhotoKind, Blob)>, PhotoError> {
        let account = self.store().account(account).await.map_err(DispatchError::from)?;
        let Some((name, photo)) = account.and_then(|account| Some((account.name, account.photo?))) else {
            return Ok(None);
        };
        if photo.id != id {
            return Ok(None);
        }
        let blob = self.blobs().photo(name.as_str(), id).await.map_err(PutError::from)?;
        Ok(blob.map(|blob| (photo.kind, blob)))
    }
}

fn not_a_picture() -> DispatchError {
    WireError::bad_field("file", "file must be a PNG, JPEG, WebP or GIF picture").into()
}
