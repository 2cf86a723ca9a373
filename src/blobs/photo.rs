//! Pictures of accounts: small files, one for each account in the long run.
//!
//! The account's record says which file is its picture; a file that no record names is never shown. What is left
//! of former pictures goes when the next one comes.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Blob, BlobError, Blobs, PutError};

/// Younger pictures may be on the way to their record.
const ON_THE_WAY: Duration = Duration::from_secs(60);

impl Blobs {
    /// Takes a picture of an account. It is to be written into the account's record next.
    ///
    /// # Errors
    /// See [`PutError`]; nothing is left behind.
    pub async fn put_photo(&self, account: &str, bytes: Bytes) -> Result<Uuid, PutError> {
        let (id, limit) = (Uuid::new_v4(), bytes.len() as u64);
        let body = futures_util::stream::iter([Ok::<_, Infallible>(bytes)]);
        self.write(&location(account, id), body, limit).await?;
        Ok(id)
    }

    /// The picture of an account; none: there is none.
    ///
    /// # Errors
    /// The place cannot be read.
    pub async fn photo(&self, account: &str, id: Uuid) -> Result<Option<Blob>, BlobError> {
        self.blob(location(account, id), "").await
    }

    /// Removes the former picture of an account, once its record does not name it any more, and what else is left of those
    /// before.
    ///
    /// # Errors
    /// The place cannot be changed; harmless to repeat.
    pub async fn forget_photos(&self, account: &str, former: Option<Uuid>) -> Result<(), BlobError> {
        if let Some(former) = former {
            self.remove(&location(account, former)).await?;
        }
        self.remove_older(&directory(account), ON_THE_WAY).await
    }
}

/// A name may hold anything; its hash can be the name of a directory everywhere.
fn directory(account: &str) -> String {
    let owner: String = Sha256::digest(account.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("photos/{owner}")
}

fn location(account: &str, id: Uuid) -> Path {
    Path::from(format!("{}/{}", directory(account), id.simple()))
}
