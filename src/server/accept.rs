//! Accepting connections: one task each until it is a WebSocket or has ended.
//!
//! A handshake is the connection's own business: however slow, it holds up nobody else.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::tls;
use crate::base::shutdown::Shutdown;

/// How long a peer may take to say what it wants.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// Wait after an accept failed for want of something, such as file descriptors.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Accepts until draining begins; returns the connections that are still at their requests.
pub(super) async fn run(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    shutdown: &Shutdown,
) -> TaskTracker {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.draining().cancelled() => {
                connections.close();
                return connections;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, acceptor.clone(), router.clone(), shutdown.clone()));
            }
            Err(error) if is_the_peers(&error) => debug!(%error, "a connection ended before it was accepted"),
            Err(error) => {
                warn!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, router: Router, shutdown: Shutdown) {
    // Frames are small and must leave at once; a socket that refuses is merely slower.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else { return serve(stream, router, shutdown).await };
    // Boxed: a connection in the clear is not to pay for it.
    let shaken = tokio::select! {
        biased;
        () = shutdown.draining().cancelled() => return,
        shaken = Box::pin(tls::accept(&acceptor, stream)) => shaken,
    };
    if let Some(stream) = shaken {
        Box::pin(serve(stream, router, shutdown)).await;
    }
}

async fn serve<S>(stream: S, router: Router, shutdown: Shutdown)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = TowerToHyperService::new(router);
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
