//! Files on the disks of the other dispatchers.
//!
//! Where dispatchers share a store and no place for files, each keeps what it was given, and what is
//! not here is asked for at the others, by a route of their own.
//!
//! Guards: the route is for who has the secret, which only dispatchers on the same store can know;
//! nobody asks on, so a question goes no further than one step; every question ends in time.
//! Refuses to write or remove anything elsewhere.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{BlobError, Blobs};
use crate::base::secret::Secret;
use crate::base::tls::Trust;
use crate::store::{RedisStore, StoreError};

/// Where a dispatcher hands out files of its own disk, and nothing else.
pub const ROUTE: &str = "/internal/files";
/// A dispatcher that was heard of within this time may have what is looked for.
const ALIVE_WITHIN: Duration = Duration::from_secs(30);
/// Time for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Longest silence.
const SILENT_FOR: Duration = Duration::from_secs(10);
/// Dispatchers that are asked at the same time.
const TOGETHER: usize = 8;
/// Longest list that another one may answer with.
const LIST_MOST: usize = 16 * 1024 * 1024;

/// The other dispatchers on a store.
#[derive(Clone)]
pub struct Neighbours {
    store: RedisStore,
    /// This one.
    instance: String,
    secret: Secret,
    /// Made at the first question: authorities are read from files.
    http: Arc<OnceLock<reqwest::Client>>,
}

/// A file in a list.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Where it is.
    path: String,
    /// Its size.
    bytes: u64,
}

impl Neighbours {
    /// Those on `store`, which know each other by what they derive from its signing key.
    pub fn new(store: RedisStore, instance: &str, signing_key: &[u8; 32]) -> Self {
        let digest = Sha256::new().chain_update(b"gangline: files of other dispatchers\0").chain_update(signing_key);
        let secret: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { store, instance: instance.to_owned(), secret: Secret::new(secret), http: Arc::default() }
    }

    /// Says that this one is there, at `url`.
    ///
    /// # Errors
    /// Harmless to repeat.
    pub async fn announce(&self, url: &str) -> Result<(), StoreError> {
        self.store.announce(&self.instance, url).await
    }

    /// Whether a request comes from one of them.
    fn sent(&self, headers: &HeaderMap) -> bool {
        let said = headers.get(AUTHORIZATION).map(reqwest::header::HeaderValue::as_bytes).unwrap_or_default();
        said.ct_eq(self.proof().as_bytes()).into()
    }

    fn proof(&self) -> String {
        format!("Dispatcher {}", self.secret.expose())
    }

    fn client(&self) -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(client) = self.http.get() {
            return Ok(client.clone());
        }
        let tls = Trust::default().config()?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT_FOR)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let client = client.build()?;
        Ok(self.http.get_or_init(|| client).clone())
    }

    /// Asks all of them, and returns the answers as they come.
    async fn ask(
        &self,
        method: Method,
        path: String,
        range: Option<String>,
    ) -> Result<BoxStream<'static, Result<Option<Response>, Error>>, Error> {
        let http = self.client().map_err(failed)?;
        let alive = self.store.instances(ALIVE_WITHIN).await.map_err(|error| failed(error.into()))?;
        let others = alive.into_iter().filter(|(instance, _)| *instance != self.instance);
        let requests: Vec<_> = others
            .map(|(_, url)| {
                let url = format!("{}{ROUTE}{path}", url.trim_end_matches('/'));
                let request = http.request(method.clone(), url).header(AUTHORIZATION, self.proof());
                match &range {
                    Some(range) => request.header(RANGE, range),
                    None => request,
                }
            })
            .collect();
        let answers = stream::iter(requests).map(async |request| {
            let answer = request.send().await.map_err(|error| failed(error.into()))?;
            match answer.status() {
                StatusCode::NOT_FOUND => Ok(None),
                status if status.is_success() => Ok(Some(answer)),
                status => Err(failed(format!("another dispatcher answered {status}").into())),
            }
        });
        Ok(answers.buffer_unordered(TOGETHER).boxed())
    }

    async fn get(&self, location: &Path, options: &GetOptions) -> Result<GetResult, Error> {
        let method = if options.head { Method::HEAD } else { Method::GET };
        let range = options.range.as_ref().map(ToString::to_string);
        let mut answers = self.ask(method, format!("/{location}"), range).await?;
        let mut error = Error::NotFound { path: location.to_string(), source: "no dispatcher has it".into() };
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Some(answer)) => return found(location, answer),
                Ok(None) => (),
                // It may be the one that has it.
                Err(failure) => error = failure,
            }
        }
        Err(error)
    }

    async fn list(&self, prefix: String) -> Result<Vec<ObjectMeta>, Error> {
        let answers = self.ask(Method::GET, format!("?below={prefix}"), None).await?;
        let mut listed = Vec::new();
        for answer in answers.try_collect::<Vec<_>>().await?.into_iter().flatten() {
            let mut body = Vec::new();
            let mut pieces = answer.bytes_stream();
            while let Some(piece) = pieces.next().await {
                body.extend_from_slice(&piece.map_err(|error| failed(error.into()))?);
                if body.len() > LIST_MOST {
                    return Err(failed("another dispatcher's list has no end".into()));
                }
            }
            let files: Vec<Listed> = serde_json::from_slice(&body).map_err(|error| failed(error.into()))?;
            for Listed { path, bytes } in files {
                listed.push(meta(Path::parse(path)?, bytes));
            }
        }
        Ok(listed)
    }
}

fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "another dispatcher", source }
}

fn meta(location: Path, size: u64) -> ObjectMeta {
    ObjectMeta { location, last_modified: SystemTime::UNIX_EPOCH.into(), size, e_tag: None, version: None }
}

/// What another one answered, as if it were of this disk.
fn found(location: &Path, answer: Response) -> Result<GetResult, Error> {
    let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let whole = || text(CONTENT_LENGTH)?.parse().ok().map(|size| (0..size, size));
    let (range, size) = text(CONTENT_RANGE)
        .and_then(content_range)
        .or_else(whole)
        .ok_or_else(|| failed("another dispatcher did not say how long a file is".into()))?;
    let body = answer.bytes_stream().map_err(|error| failed(error.into())).boxed();
    Ok(GetResult {
        payload: GetResultPayload::Stream(body),
        meta: meta(location.clone(), size),
        range,
        attributes: Attributes::default(),
        extensions: Default::default(),
    })
}

/// `bytes 0-9/100`.
fn content_range(value: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some((first..last.checked_add(1)?, size.parse().ok()?))
}

impl Blobs {
    /// The same files, with those of other dispatchers where they are not here.
    #[must_use]
    pub fn with_neighbours(self, neighbours: Neighbours) -> Self {
        let Some(near) = self.near.clone().filter(|_| !self.shared) else { return self };
        let store = Arc::new(Everywhere { near, far: neighbours.clone() });
        Self { store, neighbours: Some(neighbours), ..self }
    }

    /// The others that are asked for what is not here; none where files are shared, or there is nobody to share with.
    pub fn neighbours(&self) -> Option<&Neighbours> {
        self.neighbours.as_ref()
    }

    /// A file of this disk for another dispatcher; none: there is none, or the request is not one of theirs.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub async fn for_neighbour(&self, headers: &HeaderMap, path: &str) -> Result<Option<super::Blob>, BlobError> {
        let (Some(near), Ok(at)) = (self.near_for(headers), Path::parse(path)) else { return Ok(None) };
        // Only what is on this disk: a question goes no further.
        Self { store: near, ..self.clone() }.blob(at, "").await
    }

    /// The files below a path of this disk for another dispatcher; none: the request is not one of theirs.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub async fn list_for_neighbour(&self, headers: &HeaderMap, below: &str) -> Result<Option<Vec<Listed>>, BlobError> {
        let (Some(near), Ok(at)) = (self.near_for(headers), Path::parse(below)) else { return Ok(None) };
        let files = near.list(Some(&at)).map_ok(|meta| Listed { path: meta.location.into(), bytes: meta.size });
        Ok(Some(files.try_collect().await?))
    }

    fn near_for(&self, headers: &HeaderMap) -> Option<Arc<dyn ObjectStore>> {
        let near = self.near.clone()?;
        self.neighbours.as_ref().filter(|neighbours| neighbours.sent(headers)).map(|_| near as Arc<dyn ObjectStore>)
    }
}

/// This disk, and behind it those of the others.
#[derive(Debug)]
struct Everywhere {
    near: Arc<LocalFileSystem>,
    far: Neighbours,
}

#[async_trait]
impl ObjectStore for Everywhere {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult, Error> {
        self.near.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>, Error> {
        self.near.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult, Error> {
        match self.near.get_opts(at, options.clone()).await {
            Err(Error::NotFound { .. }) => self.far.get(at, &options).await,
            found => found,
        }
    }

    fn delete_stream(&self, at: BoxStream<'static, Result<Path, Error>>) -> BoxStream<'static, Result<Path, Error>> {
        self.near.delete_stream(at)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta, Error>> {
        let (far, below) = (self.far.clone(), prefix.map(ToString::to_string).unwrap_or_default());
        let elsewhere = stream::once(async move { far.list(below).await.map(|listed| stream::iter(listed).map(Ok)) });
        self.near.list(prefix).chain(elsewhere.try_flatten()).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult, Error> {
        self.near.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<(), Error> {
        self.near.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Everywhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and other dispatchers", self.near)
    }
}

impl fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Neighbours").field("instance", &self.instance).finish_non_exhaustive()
    }
}
