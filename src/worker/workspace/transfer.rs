//! Files over HTTP: fetching a workspace's ZIP, putting artifacts where the dispatcher keeps them.
//!
//! Guards: the token goes to the dispatcher and nowhere else; sizes and tries are limited.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use reqwest::header::CONTENT_LENGTH;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};
use tokio_util::io::ReaderStream;

use crate::base::backoff::Backoff;
use crate::base::secret::Secret;
use crate::base::tls::{self, PemError, Trust};
use crate::link::Address;
use crate::protocol::{Attempt, JobId};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Silence after which a transfer counts as dead.
const SILENT_WITHIN: Duration = Duration::from_secs(60);
/// An upload may take a minute, and a second for each of these.
const SLOWEST_BYTES_PER_SEC: u64 = 100_000;
/// A few minutes of tries with the waits below: a restart of the dispatcher is no reason to
/// lose an artifact, a refusal for good is.
const TRIES: u32 = 12;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Redirects of other servers that are followed; the dispatcher sends none.
const REDIRECTS: usize = 5;

/// Moves files to and from the dispatcher.
#[derive(Debug)]
pub(crate) struct Transfer {
    address: Address,
    token: Option<Secret>,
    trust: Trust,
}

/// Why a file could not be moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{}", with_causes(.0))]
    Http(reqwest::Error),
    #[error("the server is not to be trusted: {0}")]
    Untrusted(String),
    #[error(transparent)]
    Ca(#[from] PemError),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("it took too long")]
    TooSlow,
}

impl TransferError {
    fn retry(&self) -> bool {
        match self {
            Self::Http(_) | Self::TooSlow => true,
            Self::Status(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Io(_) | Self::TooLarge(_) | Self::Untrusted(_) | Self::Ca(_) => false,
        }
    }
}

impl From<reqwest::Error> for TransferError {
    fn from(error: reqwest::Error) -> Self {
        match tls::refused_certificate(&error) {
            Some(why) => Self::Untrusted(why),
            None => Self::Http(error),
        }
    }
}

/// `reqwest` says "error sending request" and keeps the reason to itself.
fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl Transfer {
    /// Transfers with the dispatcher at `address`.
    pub(crate) fn new(address: Address, token: Option<Secret>, trust: Trust) -> Self {
        Self { address, token, trust }
    }

    /// Fetches `url`, a path on the dispatcher or an absolute URL, into `file`.
    pub(crate) async fn download(&self, url: &str, file: File, most: u64) -> Result<(), TransferError> {
        let (url, own) = self.locate(url);
        let mut request = self.client(own)?.get(url);
        if let Some(token) = self.token.as_ref().filter(|_| own) {
            request = request.bearer_auth(token.expose());
        }
        let mut response = request.send().await?;
        if !response.status().is_success() {
            return Err(TransferError::Status(response.status()));
        }
        if response.content_length().is_some_and(|length| length > most) {
            return Err(TransferError::TooLarge(most));
        }
        let mut file = tokio::fs::File::from_std(file);
        let mut room = most;
        while let Some(chunk) = response.chunk().await? {
            room = room.checked_sub(chunk.len() as u64).ok_or(TransferError::TooLarge(most))?;
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        Ok(())
    }

    /// Puts the file at `path` among the artifacts of a job under `name`, trying again while
    /// that can help.
    pub(crate) async fn upload(
        &self,
        job: JobId,
        attempt: Attempt,
        name: &str,
        path: &Path,
    ) -> Result<(), TransferError> {
        let url =
            self.address.http_url(&format!("/api/jobs/{job}/artifacts/{}?attempt={attempt}", percent_encode(name)));
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut tries = 1;
        loop {
            match self.put(&url, path).await {
                Err(error) if error.retry() && tries < TRIES => {
                    tracing::debug!(%error, name, "an artifact could not be uploaded; trying again");
                    tries += 1;
                    sleep(backoff.next_wait()).await;
                }
                done => return done,
            }
        }
    }

    async fn put(&self, url: &str, path: &Path) -> Result<(), TransferError> {
        let file = tokio::fs::File::open(path).await?;
        let bytes = file.metadata().await?.len();
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(file, 64 * 1024));
        let mut request = self.client(true)?.put(url).header(CONTENT_LENGTH, bytes).body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let within = SILENT_WITHIN + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SEC);
        let response = timeout(within, request.send()).await.map_err(|_| TransferError::TooSlow)??;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(TransferError::Status(status)),
        }
    }

    /// One for each transfer: they are rare, and an idle agent keeps no pool of connections.
    fn client(&self, own: bool) -> Result<Client, TransferError> {
        let redirects = if own { Policy::none() } else { Policy::limited(REDIRECTS) };
        let client = Client::builder()
            .tls_backend_preconfigured((*self.trust.config()?).clone())
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT_WITHIN)
            .redirect(redirects);
        Ok(client.build()?)
    }

    /// The whole URL, and whether it is an upload on the dispatcher. Nothing else there is for whoever submits a job to
    /// have fetched with the worker's token.
    fn locate(&self, url: &str) -> (String, bool) {
        let whole = if url.contains("://") { url.to_owned() } else { self.address.http_url(url) };
        let uploads = self.address.http_url("/uploads/");
        // As it will be asked for: without the dots that would lead somewhere else.
        let own = match (Url::parse(&whole), Url::parse(&uploads)) {
            (Ok(url), Ok(uploads)) => url.origin() == uploads.origin() && url.path().starts_with(uploads.path()),
            (Ok(_) | Err(_), _) => false,
        };
        (whole, own)
    }
}

/// A path as it stands in a URL.
fn percent_encode(path: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/') {
            encoded.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_for_the_dispatcher_alone() {
        let transfer = Transfer::new("ws://h:3000/ws".parse().unwrap(), None, Trust::default());
        assert_eq!(transfer.locate("/uploads/a.zip"), ("http://h:3000/uploads/a.zip".to_owned(), true));
        assert_eq!(transfer.locate("uploads/a.zip"), ("http://h:3000/uploads/a.zip".to_owned(), true));
        assert!(transfer.locate("http://h:3000/uploads/a.zip").1);
        for other in [
            "http://other/a.zip",
            "http://h:30001/a.zip",
            "http://h:3000@evil/a.zip",
            "/api/jobs/7/artifacts/a.zip",
            "/uploads/../api/jobs/7/artifacts/a.zip",
            "/uploads/%2e%2E/api/jobs/7/artifacts/a.zip",
            "http://h:3000/uploads/x/../../api/jobs/7/artifacts/a.zip",
        ] {
            assert!(!transfer.locate(other).1, "{other}");
        }
    }

    #[test]
    fn a_port_that_goes_without_saying_is_the_same() {
        let transfer = Transfer::new("ws://Host:80/ws".parse().unwrap(), None, Trust::default());
        assert!(transfer.locate("/uploads/a.zip").1 && transfer.locate("http://host/uploads/a.zip").1);
    }

    #[test]
    fn names_are_encoded_byte_by_byte() {
        assert_eq!(percent_encode("dist/a b+ü?.txt"), "dist/a%20b%2B%C3%BC%3F.txt");
    }
}
