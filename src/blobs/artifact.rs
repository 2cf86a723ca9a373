//! Artifacts: files that an attempt of a job leaves behind.

use std::fmt::{self, Display};
use std::str::FromStr;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::io::content_type;
use super::{Blob, BlobError, Blobs, PutError};
use crate::protocol::{Attempt, JobId};

/// Longest path, in bytes.
const PATH_MOST: usize = 1024;
/// Records read at a time for a list.
const READS: usize = 16;

/// The path of an artifact, relative to its job's workspace: at most 1,024 bytes, parts
/// separated by `/`, none of them empty, `.` or `..`, and no control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactPath(String);

/// The string is not a path of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an artifact's path is relative, without empty parts, '.' or '..', and at most {PATH_MOST} bytes long")]
pub struct InvalidArtifactPath;

/// An artifact that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Relative to the job's workspace.
    pub path: ArtifactPath,
    /// Its size.
    pub bytes: u64,
    /// Guessed from its name.
    pub content_type: &'static str,
    /// In hexadecimal.
    pub sha256: String,
}

/// An artifact's record.
#[derive(Serialize, Deserialize)]
struct Kept {
    path: ArtifactPath,
    bytes: u64,
    sha256: String,
    /// Where the bytes are, beside the record.
    data: Uuid,
}

impl ArtifactPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The name of its record: free of whatever file systems make of names.
    fn key(&self) -> String {
        Sha256::digest(&self.0).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ArtifactPath {
    type Err = InvalidArtifactPath;

    fn from_str(text: &str) -> Result<Self, InvalidArtifactPath> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for ArtifactPath {
    type Error = InvalidArtifactPath;

    fn try_from(text: String) -> Result<Self, InvalidArtifactPath> {
        let bad_part = |part: &str| matches!(part, "" | "." | "..");
        if text.len() > PATH_MOST || text.split('/').any(bad_part) || text.chars().any(char::is_control) {
            return Err(InvalidArtifactPath);
        }
        Ok(Self(text))
    }
}

impl From<ArtifactPath> for String {
    fn from(path: ArtifactPath) -> Self {
        path.0
    }
}

impl Kept {
    fn artifact(self) -> Artifact {
        let Self { path, bytes, sha256, data: _ } = self;
        Artifact { content_type: content_type(path.as_str()), path, bytes, sha256 }
    }
}

impl Blobs {
    /// Keeps a file of at most `limit` bytes, in place of one of the same path.
    ///
    /// # Errors
    /// See [`PutError`]; the former file, if any, stays.
    pub async fn put_artifact<E: Display>(
        &self,
        job: JobId,
        attempt: Attempt,
        path: &ArtifactPath,
        body: impl Stream<Item = Result<Bytes, E>>,
        limit: u64,
    ) -> Result<Artifact, PutError> {
        let dir = dir(job, attempt);
        let record = record(&dir, path);
        let former = self.kept(&record).await?;

        let data = Uuid::new_v4();
        let written = self.write(&data_at(&dir, data), body, limit).await?;
        let kept = Kept { path: path.clone(), bytes: written.bytes, sha256: written.sha256, data };
        let json = serde_json::to_vec(&kept).map_err(BlobError::Corrupt)?;
        self.store.put(&record, json.into()).await.map_err(BlobError::from)?;

        if let Some(former) = former {
            // If this fails the bytes go with the job; nobody can see them.
            let _ = self.remove(&data_at(&dir, former.data)).await;
        }
        Ok(kept.artifact())
    }

    /// The artifacts of an attempt, by path.
    ///
    /// # Errors
    /// The place or a record cannot be read.
    pub async fn artifacts(&self, job: JobId, attempt: Attempt) -> Result<Vec<Artifact>, BlobError> {
        let records = self
            .store
            .list(Some(&dir(job, attempt)))
            .try_filter_map(async |meta| Ok(meta.location.as_ref().ends_with(".json").then_some(meta.location)));
        let kept = records.map_err(BlobError::from).map_ok(async |record| self.kept(&record).await);
        // One that was removed meanwhile is left out.
        let kept = kept.try_buffer_unordered(READS).try_filter_map(async |kept| Ok(kept.map(Kept::artifact)));
        let mut artifacts: Vec<Artifact> = kept.try_collect().await?;
        artifacts.sort_by(|a, b| a.path.cmp(&b.path));
        // One that came to two dispatchers, each with a disk of its own.
        artifacts.dedup_by(|a, b| a.path == b.path);
        Ok(artifacts)
    }

    /// One artifact with its bytes; none: there is none.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub async fn artifact(
        &self,
        job: JobId,
        attempt: Attempt,
        path: &ArtifactPath,
    ) -> Result<Option<(Artifact, Blob)>, BlobError> {
        let dir = dir(job, attempt);
        let Some(kept) = self.kept(&record(&dir, path)).await? else { return Ok(None) };
        let blob = self.known_blob(data_at(&dir, kept.data), path.as_str(), kept.bytes);
        Ok(Some((kept.artifact(), blob)))
    }

    /// Removes all artifacts of a job, and its log. Harmless to repeat.
    ///
    /// # Errors
    /// The place cannot be changed; some may be left.
    pub async fn delete_job(&self, job: JobId) -> Result<(), BlobError> {
        self.remove_log(job).await?;
        self.remove_dir(&format!("artifacts/{job}")).await
    }

    async fn kept(&self, record: &Path) -> Result<Option<Kept>, BlobError> {
        let found = match self.store.get(record).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        serde_json::from_slice(&found.bytes().await?).map(Some).map_err(BlobError::Corrupt)
    }
}

fn dir(job: JobId, attempt: Attempt) -> Path {
    Path::from_iter(["artifacts".to_owned(), job.to_string(), attempt.to_string()])
}

fn record(dir: &Path, path: &ArtifactPath) -> Path {
    dir.clone().join(format!("{}.json", path.key()))
}

fn data_at(dir: &Path, data: Uuid) -> Path {
    dir.clone().join(data.simple().to_string())
}
