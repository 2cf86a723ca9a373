//! Opening the store: the file in the data directory, or Redis once it is there.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::ServeError;
use super::accept::{self, Front};
use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;
use crate::config::{RedisSettings, ServerSettings};
use crate::store::redis::{CheckError, RedisOptions};
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{RedisStore, Store};

/// How often a Redis that is away is asked for again.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// An open store.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    /// The same, where other dispatchers share it.
    pub(super) shared: Option<RedisStore>,
}

/// Opens the file in the data directory.
pub(super) async fn sqlite(settings: &ServerSettings, clock: Clock) -> Result<Opened, ServeError> {
    let options = SqliteOptions {
        durability: settings.durability,
        output_bytes: settings.limits.output_bytes,
        lease: settings.lease,
    };
    let dir = settings.data_dir.clone();
    let store = tokio::task::spawn_blocking(move || SqliteStore::open(&dir, &options, clock)).await??;
    Ok(Opened { store: Arc::new(store), shared: None })
}

/// Connects to Redis, and waits for it if need be. Who asks meanwhile is told that this is not ready.
pub(super) async fn redis(
    settings: &ServerSettings,
    redis: &RedisSettings,
    clock: Clock,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
) -> Result<(Opened, TcpListener), ServeError> {
    let options = RedisOptions {
        url: redis.url.clone(),
        prefix: redis.prefix.clone(),
        partitions: redis.partitions,
        output_bytes: settings.limits.output_bytes,
    };
    std::fs::create_dir_all(&settings.data_dir)
        .map_err(|source| ServeError::DataDir { path: settings.data_dir.clone(), source })?;
    let store = RedisStore::new(options, clock.clone())?;
    let waiting = Shutdown::new();
    let (checked, listener) = tokio::join!(
        async {
            let checked = check(&store, &clock).await;
            waiting.start_cut();
            checked
        },
        not_ready(listener, acceptor, &waiting)
    );
    for odd in checked? {
        warn!("{odd}");
    }
    Ok((Opened { store: Arc::new(store.clone()), shared: Some(store) }, listener))
}

async fn check(store: &RedisStore, clock: &Clock) -> Result<Vec<String>, CheckError> {
    let mut told = false;
    loop {
        match store.fitness(clock).await {
            Err(CheckError::Unavailable(error)) => {
                if !told {
                    warn!(%error, "waiting for Redis");
                }
                told = true;
                tokio::time::sleep(ASK_EVERY).await;
            }
            checked => {
                if told {
                    info!("Redis is there");
                }
                return checked;
            }
        }
    }
}

/// Answers for a dispatcher that has no store yet; gives the listener back once it has.
async fn not_ready(listener: TcpListener, acceptor: Option<TlsAcceptor>, until: &Shutdown) -> TcpListener {
    let unavailable = || async { (StatusCode::SERVICE_UNAVAILABLE, "the store is not there yet\n") };
    let router = Router::new().route("/healthz", get(async || "ok")).fallback(unavailable);
    // What is counted before there is a dispatcher, nobody can ask for.
    accept::run(&listener, Front { acceptor, router, metrics: Arc::default(), shutdown: until.clone() }).await;
    listener
}
