//! Uploads and artifacts, over HTTP beside the WebSocket, with the same token.
//!
//! Everything is streamed. A download is checked against its length and hash and appears under
//! its name only once it is whole; no path of the dispatcher can lead out of the directory.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::base::secret::Secret;
use crate::base::tls;
use crate::config::{ClientSettings, MissingToken};
use crate::link::{Address, LinkError};
use crate::protocol::{ErrorCode, JobId, WireError};

/// Longest silence of a dispatcher in the middle of a transfer.
const SILENT_FOR: Duration = Duration::from_secs(60);
/// Time to connect, as the WebSocket has it.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Bytes a read of an uploaded file.
const CHUNK_BYTES: usize = 128 * 1024;
/// As much of an error's body as is read.
const ERROR_BYTES: usize = 64 * 1024;

/// A transfer that failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The dispatcher said no.
    #[error("{0}")]
    Refused(WireError),
    /// The address makes no sense.
    #[error(transparent)]
    Address(#[from] LinkError),
    /// The dispatcher has not proved to be who was asked for.
    #[error("the dispatcher is not to be trusted: {0}")]
    Untrusted(String),
    /// The dispatcher asks for a token, and there is none.
    #[error(transparent)]
    NoToken(#[from] MissingToken),
    /// No connection, or it broke.
    #[error("cannot reach the dispatcher: {0}")]
    Http(String),
    /// A file here cannot be read or written.
    #[error("{path}: {source}")]
    Local {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The dispatcher named a path that leads out of the directory.
    #[error("the artifact's path {0:?} leads out of the directory; it was not written")]
    Escapes(String),
    /// What came is not what was announced.
    #[error("{path} came damaged: {what}")]
    Damaged {
        /// Which artifact.
        path: String,
        /// What differs.
        what: &'static str,
    },
}

impl From<reqwest::Error> for FileError {
    fn from(error: reqwest::Error) -> Self {
        // reqwest's own words end before the cause, which is what helps.
        let error = error.without_url();
        if let Some(why) = tls::refused_certificate(&error) {
            return Self::Untrusted(why);
        }
        if error.is_connect() {
            let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
            return Self::Http(causes.last().map_or_else(|| error.to_string(), ToString::to_string));
        }
        let mut words = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(next) = cause {
            words = format!("{words}: {next}");
            cause = next.source();
        }
        Self::Http(words)
    }
}

/// Reply to an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// For a job's `fileUrl`.
    pub file_url: String,
    /// The name it was sent under.
    #[serde(default)]
    pub filename: Option<String>,
    /// Its size.
    pub bytes: u64,
}

/// One file that a job left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Relative to the job's workspace.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its media type.
    pub content_type: String,
    /// Its hash, in hexadecimal.
    pub sha256: String,
}

/// Moves files to and from a dispatcher.
#[derive(Debug, Clone)]
pub struct Files {
    http: reqwest::Client,
    address: Address,
    token: Option<Secret>,
    token_sought: Option<PathBuf>,
}

impl Files {
    /// Prepares transfers; nothing is sent yet.
    ///
    /// # Errors
    /// The URL makes no sense, or the file of authorities cannot be used.
    pub fn new(settings: &ClientSettings) -> Result<Self, FileError> {
        let address = settings.url.parse()?;
        let tls = settings.trust.config().map_err(LinkError::Ca)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT_FOR)
            // The token goes to the dispatcher and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { http, address, token: settings.token.clone(), token_sought: settings.token_sought.clone() })
    }

    /// Sends the file at `path` under `filename`.
    ///
    /// # Errors
    /// See [`FileError`]; nothing is kept of an upload that failed.
    pub async fn upload(&self, path: &Path, filename: &str) -> Result<Upload, FileError> {
        let local = |source| FileError::Local { path: path.to_owned(), source };
        let file = File::open(path).await.map_err(local)?;
        let len = file.metadata().await.map_err(local)?.len();
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(file, CHUNK_BYTES));
        let request = self
            .http
            .post(self.address.http_url("/api/uploads"))
            .query(&[("filename", filename)])
            .header("content-type", "application/zip")
            .header("content-length", len)
            .body(body);
        let reply = self.send(request).await?;
        Ok(reply.json().await?)
    }

    /// What a job left.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn artifacts(&self, job: JobId) -> Result<Vec<Artifact>, FileError> {
        #[derive(Deserialize)]
        struct List {
            artifacts: Vec<Artifact>,
        }
        let url = self.address.http_url(&format!("/api/jobs/{job}/artifacts"));
        let List { artifacts } = self.send(self.http.get(url)).await?.json().await?;
        Ok(artifacts)
    }

    /// Writes an artifact below `directory`, and says where.
    ///
    /// # Errors
    /// See [`FileError`]; nothing appears under the artifact's name then.
    pub async fn download(&self, job: JobId, artifact: &Artifact, directory: &Path) -> Result<PathBuf, FileError> {
        let target = inside(directory, &artifact.path)?;
        let parent = target.parent().unwrap_or(directory);
        let local = |source| FileError::Local { path: target.clone(), source };
        tokio::fs::create_dir_all(parent).await.map_err(local)?;
        // A link below the directory must not lead the artifact elsewhere, either.
        let root = tokio::fs::canonicalize(directory).await.map_err(local)?;
        if !tokio::fs::canonicalize(parent).await.map_err(local)?.starts_with(&root) {
            return Err(FileError::Escapes(artifact.path.clone()));
        }

        let mut url = reqwest::Url::parse(&self.address.http_url(&format!("/api/jobs/{job}/artifacts")))
            .map_err(|error| FileError::Http(error.to_string()))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(artifact.path.split('/'));
        }
        let reply = self.send(self.http.get(url)).await?;
        let part = tempfile::NamedTempFile::new_in(parent).map_err(local)?;
        let mut file = File::from_std(part.reopen().map_err(local)?);
        let (mut hash, mut len) = (Sha256::new(), 0u64);
        let mut body = reply.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            hash.update(&chunk);
            len += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(local)?;
        }
        file.flush().await.map_err(local)?;
        let damaged = |what| Err(FileError::Damaged { path: artifact.path.clone(), what });
        if len != artifact.bytes {
            return damaged("its length differs");
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if !hex.eq_ignore_ascii_case(&artifact.sha256) {
            return damaged("its hash differs");
        }
        part.persist(&target).map_err(|error| local(error.error))?;
        Ok(target)
    }

    async fn send(&self, mut request: RequestBuilder) -> Result<Response, FileError> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let reply = request.send().await?;
        if reply.status().is_success() {
            return Ok(reply);
        }
        if reply.status() == StatusCode::UNAUTHORIZED && self.token.is_none() {
            return Err(MissingToken { sought: self.token_sought.clone() }.into());
        }
        Err(FileError::Refused(refusal(reply).await))
    }
}

/// Reads an error out of a reply that is one: `{"error":{…}}`, `{"error":"…"}` or anything else.
async fn refusal(reply: Response) -> WireError {
    let status = reply.status();
    let code = match status.as_u16() {
        400 | 422 => ErrorCode::BadFrame,
        401 => ErrorCode::Unauthorized,
        403 => ErrorCode::Forbidden,
        404 | 410 => ErrorCode::NotFound,
        409 => ErrorCode::Conflict,
        413 => ErrorCode::TooLarge,
        429 => ErrorCode::RateLimited,
        503 => ErrorCode::StoreUnavailable,
        _ => ErrorCode::Internal,
    };
    let mut body = Vec::new();
    let mut chunks = reply.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        body.extend_from_slice(&chunk);
        if body.len() > ERROR_BYTES {
            break;
        }
    }
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let error = value.get("error").unwrap_or(&value);
    if let Ok(error) = serde_json::from_value::<WireError>(error.clone()) {
        return error;
    }
    let message = error.as_str().or_else(|| error.get("message").and_then(serde_json::Value::as_str));
    WireError::new(code, message.map_or_else(|| format!("HTTP status {status}"), str::to_owned))
}

/// `path` below `directory`, where it names a place there.
fn inside(directory: &Path, path: &str) -> Result<PathBuf, FileError> {
    let relative = Path::new(path);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(FileError::Escapes(path.to_owned()));
    }
    Ok(directory.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_dispatcher_stays_inside() {
        let dir = Path::new("/out");
        assert_eq!(inside(dir, "a/b.txt").unwrap(), Path::new("/out/a/b.txt"));
        for path in ["", "/etc/passwd", "../x", "a/../../x", "./x", "a/", "a\0b"] {
            assert!(matches!(inside(dir, path), Err(FileError::Escapes(_))), "{path:?}");
        }
    }
}
