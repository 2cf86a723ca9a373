//! Where files are: opening a directory or a bucket.

use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::client::{ClientConfigKey, ClientOptions, HttpClient, HttpConnector};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreExt, RetryConfig};

use super::log::Indexes;
use super::{BlobError, Blobs};
use crate::base::tls::Trust;
use crate::config::BlobsUrl;

/// Bytes per write into a directory.
const PART: usize = 1024 * 1024;
/// Bytes per part of an upload to S3, which takes 5 MiB or more, and 10,000 parts: 80 GB.
const S3_PART: usize = 8 * 1024 * 1024;
/// Time for a connection to S3.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest silence of S3.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// How long a request is tried again. Who waits for it is told to come back then.
const RETRY_FOR: Duration = Duration::from_secs(20);
/// Tries of a request.
const RETRIES: usize = 4;

impl Blobs {
    /// Opens the place that a URL names. A bucket is asked whether it can be read.
    ///
    /// # Errors
    /// The directory cannot be made, or the bucket not be reached; the words say what to do.
    pub async fn at(url: &BlobsUrl) -> Result<Self, BlobError> {
        match url {
            BlobsUrl::Directory(dir) => Ok(Self { shared: true, ..Self::open(dir)? }),
            BlobsUrl::S3 { bucket, prefix } => Self::s3(url, bucket, prefix).await,
        }
    }

    /// Opens a directory, made where it is missing.
    ///
    /// # Errors
    /// It cannot be made or entered.
    pub fn open(dir: &FsPath) -> Result<Self, BlobError> {
        let unusable = |source: std::io::Error| BlobError::Directory { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(unusable)?;
        let store = Arc::new(LocalFileSystem::new_with_prefix(dir)?.with_automatic_cleanup(true));
        let near = Some(Arc::clone(&store));
        Ok(Self {
            store,
            near,
            neighbours: None,
            root: Some(dir.into()),
            part: PART,
            shared: false,
            logs: Indexes::default(),
        })
    }

    /// Opens a bucket with what the usual `AWS_…` variables say of it.
    async fn s3(url: &BlobsUrl, bucket: &str, prefix: &str) -> Result<Self, BlobError> {
        let unusable = |source| BlobError::Bucket { url: url.clone(), source };
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: RETRIES,
                retry_timeout: RETRY_FOR,
            })
            .with_http_connector(Connector)
            .build()
            .map_err(unusable)?;
        // A wrong key or a bucket that is not there shows now, and not with somebody's file.
        match store.head(&Path::from("gangline-probe")).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => (),
            Err(error) => return Err(unusable(error)),
        }
        let store: Arc<dyn ObjectStore> =
            if prefix.is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) };
        Ok(Self {
            store,
            near: None,
            neighbours: None,
            root: None,
            part: S3_PART,
            shared: true,
            logs: Indexes::default(),
        })
    }
}

/// Makes the HTTP client of a bucket.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, object_store::Error> {
        let unusable = |source: reqwest::Error| object_store::Error::Generic { store: "S3", source: source.into() };
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let tls = Trust::default().config();
        let tls = tls.map_err(|source| object_store::Error::Generic { store: "S3", source: source.into() })?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT_FOR)
            .https_only(!allows_http)
            .no_proxy()
            .build()
            .map_err(unusable)?;
        Ok(HttpClient::new(client))
    }
}
