//! A dispatcher as a process part: open everything, listen, serve, drain, end.

mod accept;
mod counted;
mod error;
mod open;
mod plugins;
mod tls;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use tokio::net::TcpListener;
use tracing::{info, warn};

pub use error::ServeError;
pub use tls::{Certificate, TlsError};

use self::accept::Front;
use crate::api::http;
use crate::api::ws::{self, Registry, WsState};
use crate::auth::Auth;
use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;
use crate::base::tls::provider;
use crate::blobs::Blobs;
use crate::config::ServerSettings;
use crate::dispatcher::{Dispatcher, Parts, Templates};
use crate::protocol::WorkerId;
use crate::store::{RedisStore, Store};

/// How long tasks may take to end once they are cut.
const CUT_WITHIN: Duration = Duration::from_secs(5);

/// A dispatcher that has everything open and listens, but does not serve yet.
pub struct Server {
    settings: ServerSettings,
    listener: TcpListener,
    address: SocketAddr,
    certificate: Option<Certificate>,
    store: Arc<dyn Store>,
    shared: Option<RedisStore>,
    auth: Auth,
    blobs: Blobs,
    templates: Templates,
}

/// Opens, serves and ends.
///
/// # Errors
/// See [`ServeError`].
pub async fn run(settings: ServerSettings, shutdown: Shutdown) -> Result<(), ServeError> {
    Server::bind(settings).await?.run(shutdown).await
}

impl Server {
    /// Opens the data directory and the port. Nothing is served yet.
    ///
    /// # Errors
    /// See [`ServeError`]; nothing was damaged.
    pub async fn bind(settings: ServerSettings) -> Result<Self, ServeError> {
        if settings.open && !settings.listen.ip().is_loopback() && !settings.open_anywhere {
            return Err(ServeError::OpenToAll(settings.listen));
        }
        // Before anything makes an HTTP client of its own, such as a store of files: that needs a default.
        provider();
        let certificate = settings.tls.clone().map(Certificate::load).transpose()?;
        // What its user has just written is what is most likely wrong.
        let templates = Templates::load(settings.templates.as_deref())?;
        // The port first: a second server on the same machine fails on what its user can see.
        let listener = TcpListener::bind(settings.listen)
            .await
            .map_err(|source| ServeError::Listen { address: settings.listen, source })?;
        let address =
            listener.local_addr().map_err(|source| ServeError::Listen { address: settings.listen, source })?;
        let clock = Clock::default();
        let (opened, listener) = match &settings.redis {
            None => (open::sqlite(&settings, clock.clone()).await?, listener),
            Some(redis) => {
                let acceptor = certificate.as_ref().map(Certificate::acceptor);
                open::redis(&settings, redis, clock.clone(), listener, acceptor).await?
            }
        };
        let open::Opened { store, shared } = opened;
        let auth = Auth::new(Arc::clone(&store), clock, settings.access_token_ttl);
        auth.bootstrap(&settings.data_dir).await?;
        let blobs = match &settings.blobs {
            Some(url) => Blobs::at(url).await?,
            None => Blobs::open(&settings.data_dir.join("blobs"))?,
        };
        Ok(Self { settings, listener, address, certificate, store, shared, auth, blobs, templates })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// With a worker of the same process, for what is to run on the server itself.
    #[must_use]
    pub fn with_local_worker(mut self, id: WorkerId) -> Self {
        self.settings.local_worker = Some(id);
        self
    }

    /// What it shows over TLS; none where it serves in the clear.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Serves until `shutdown` says to end: stops taking work, lets work finish, then cuts.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn run(self, shutdown: Shutdown) -> Result<(), ServeError> {
        let Self { mut settings, listener, address, certificate, store, shared, auth, blobs, templates } = self;
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let advertised = settings.advertise.get_or_insert_with(|| format!("{scheme}://{address}"));
        if shared.is_some() && !blobs.is_shared() {
            warn!(
                at = %advertised,
                "files and finished logs are on this machine's disk; other dispatchers fetch them from here while this \
                 one is up; with --blobs all share one place"
            );
            if address.ip().is_unspecified() && advertised.contains(&address.to_string()) {
                warn!("other dispatchers cannot reach {advertised}; say with --advertise where this one is");
            }
        }
        let drain_timeout = settings.drain_timeout;
        let parts = Parts {
            store: Arc::clone(&store),
            shared,
            auth,
            blobs,
            templates,
            clock: Clock::default(),
            settings,
            shutdown: shutdown.clone(),
        };
        let dispatcher = Dispatcher::start(parts).await?;
        let registry = Registry::default();
        shutdown.spawn(registry.clone().run(dispatcher.clone()));
        let router = http::router(dispatcher.clone()).merge(
            Router::new()
                .route("/ws", any(ws::upgrade))
                .with_state(WsState { dispatcher: dispatcher.clone(), registry: registry.clone() }),
        );
        let metrics = Arc::clone(dispatcher.metrics());
        let acceptor = certificate.as_ref().map(Certificate::acceptor);
        info!(%address, tls = acceptor.is_some(), instance = dispatcher.instance(), "serving");
        plugins::start(&dispatcher, address);
        let front = Front { acceptor, router, metrics, shutdown: shutdown.clone() };
        let requests = accept::run(&listener, front).await;
        drop(listener);
        // Sockets are told 4000 and answer; requests that are under way end.
        let quiet = async {
            registry.emptied().await;
            requests.wait().await;
        };
        tokio::select! {
            () = quiet => (),
            () = shutdown.cut().cancelled() => (),
            () = tokio::time::sleep(drain_timeout) => warn!("connections did not end in {drain_timeout:?}; cutting"),
        }
        shutdown.start_cut();
        if !shutdown.finished(CUT_WITHIN).await {
            warn!("tasks did not end in {CUT_WITHIN:?}");
        }
        drop(dispatcher);
        // The last reference, now that all tasks have ended: what waits is written, the lock goes.
        tokio::task::spawn_blocking(move || drop(store)).await?;
        info!("ended");
        Ok(())
    }
}

/// How this machine reaches what listens on `address`.
pub fn local(address: SocketAddr) -> SocketAddr {
    let mut local = address;
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => local.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => local.set_ip(Ipv6Addr::LOCALHOST.into()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => (),
    }
    local
}
