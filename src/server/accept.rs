//! Accepting connections: one task each until it is a WebSocket or has ended.
//!
//! A handshake is the connection's own business: however slow, it holds up nobody else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tracing::field::Empty;
use tracing::{Instrument, debug, info_span, warn};

use super::counted::Counted;
use super::tls;
use crate::base::shutdown::Shutdown;
use crate::metrics::{Metrics, Presence};

/// How long a peer may take to say what it wants.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// Wait after an accept failed for want of something, such as file descriptors.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What every connection is given.
#[derive(Clone)]
pub(super) struct Front {
    /// Present: all speak TLS.
    pub(super) acceptor: Option<TlsAcceptor>,
    pub(super) router: Router,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shutdown: Shutdown,
}

/// Accepts until draining begins; returns the connections that are still at their requests.
pub(super) async fn run(listener: &TcpListener, front: Front) -> TaskTracker {
    let connections = TaskTracker::new();
    let mut last_id = 0_u64;
    loop {
        let accepted = tokio::select! {
            biased;
            () = front.shutdown.draining().cancelled() => {
                connections.close();
                return connections;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                last_id += 1;
                // The WebSocket that it may become goes on in the same span, and adds whose it is.
                let span = info_span!("connection", id = last_id, %peer, account = Empty, role = Empty, worker = Empty);
                connections.spawn(connection(stream, peer, front.clone()).instrument(span));
            }
            Err(error) if is_the_peers(&error) => debug!(%error, "a connection ended before it was accepted"),
            Err(error) => {
                warn!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, front: Front) {
    // Frames are small and must leave at once; a socket that refuses is merely slower.
    let _ = stream.set_nodelay(true);
    let metrics = Arc::clone(&front.metrics);
    metrics.accepted.inc();
    let presence = Presence::of(&metrics.connections);
    let Some(acceptor) = &front.acceptor else {
        return serve(Counted::new(stream, presence, metrics), peer, &front).await;
    };
    // Boxed: a connection in the clear is not to pay for it.
    let shaken = tokio::select! {
        biased;
        () = front.shutdown.draining().cancelled() => return,
        shaken = Box::pin(tls::accept(acceptor, stream)) => shaken,
    };
    match shaken {
        Some(stream) => Box::pin(serve(Counted::new(stream, presence, metrics), peer, &front)).await,
        None => metrics.failed_handshakes.inc(),
    }
}

async fn serve<S>(stream: S, peer: SocketAddr, front: &Front)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shutdown = &front.shutdown;
    let router = TowerToHyperService::new(front.router.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let served = tokio::select! {
        biased;
        () = shutdown.cut().cancelled() => return,
        served = connection.as_mut() => served,
        () = shutdown.draining().cancelled() => {
            // The request under way is answered, and no other is read.
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                () = shutdown.cut().cancelled() => return,
                served = connection.as_mut() => served,
            }
        }
    };
    if let Err(error) = served {
        debug!(%error, "connection failed");
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
