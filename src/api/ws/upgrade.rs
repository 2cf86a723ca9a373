//! The upgrade request: who asks, from where, with what.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tracing::{Instrument, Span};

use super::registry::Registry;
use super::session::{self, Opening};
use crate::api::http::address::{ClientAddress, visitor};
use crate::auth::{Identity, Visitor, origin_allowed};
use crate::dispatcher::Dispatcher;
use crate::model::Role;
use crate::protocol::{BEARER_SUBPROTOCOL, CloseCode, SUBPROTOCOL};

/// What a socket reads at a time. Thousands of connections mostly wait, and each holds a buffer of
/// this size; a worker's is larger because it is busy.
const CLIENT_READ_BYTES: usize = 512;
const WORKER_READ_BYTES: usize = 64 * 1024;

/// What may gather before it is written to the socket.
const WRITE_BYTES: usize = 64 * 1024;

/// A message is at most this much larger than the frames that a peer may be sent: beyond it the
/// socket is broken. It holds one batch of the writer and its largest frame.
const WRITE_BYTES_MOST: usize = 4 * 1024 * 1024;

/// How the endpoint is called among the routes that are counted.
const ROUTE: &str = "/ws";

/// What the endpoint needs.
#[derive(Debug, Clone)]
pub struct WsState {
    /// The application.
    pub dispatcher: Dispatcher,
    /// All connections.
    pub registry: Registry,
}

/// Upgrades to a WebSocket. What is wrong with the request is said on the socket, because that is
/// the only place where a browser's page can read it.
pub async fn upgrade(
    State(state): State<WsState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    ws: WebSocketUpgrade,
) -> Response {
    let metrics = Arc::clone(state.dispatcher.metrics());
    let proxies = &state.dispatcher.settings().trusted_proxies;
    let ClientAddress(from) = ClientAddress::of(Some(&ConnectInfo(peer)), &headers, proxies);
    let response = open(state, visitor(from, &headers), &headers, ws).await;
    metrics.request(ROUTE, response.status().as_u16());
    response
}

async fn open(state: WsState, from: Visitor, headers: &HeaderMap, ws: WebSocketUpgrade) -> Response {
    let WsState { dispatcher, registry } = state;
    let settings = dispatcher.settings();
    if registry.len() >= settings.limits.connections {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many connections\n").into_response();
    }
    let opening = if dispatcher.shutdown().draining().is_cancelled() {
        Opening::Refused(CloseCode::Draining, None)
    } else if !origin_allowed(
        // One that is not text is no origin of ours, and not the absence of one.
        headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("?")),
        text(headers, header::HOST),
        &settings.allowed_origins,
        settings.open,
    ) {
        Opening::Refused(CloseCode::ForbiddenOrigin, None)
    } else {
        match token(headers) {
            Some(token) => match dispatcher.auth().authenticate(token).await {
                Ok(identity) => Opening::Known(identity.at(from.address)),
                Err(error) => {
                    let (code, error) = session::refusal(&error);
                    Opening::Refused(code, error)
                }
            },
            None if settings.open => Opening::Known(Identity::anonymous().at(from.address)),
            None => Opening::Unknown,
        }
    };
    let read_bytes = match &opening {
        Opening::Known(identity) if identity.role == Role::Worker => WORKER_READ_BYTES,
        Opening::Known(_) | Opening::Unknown | Opening::Refused(..) => CLIENT_READ_BYTES,
    };
    let most = settings.limits.worker_frame_bytes.max(settings.limits.client_frame_bytes);
    let connection = Span::current();
    ws.protocols([SUBPROTOCOL])
        .read_buffer_size(read_bytes)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(WRITE_BYTES_MOST)
        .max_message_size(most)
        .max_frame_size(most)
        .on_upgrade(async move |socket| {
            // A task of its own: that of the upgrade is larger, and would live as long.
            let session = session::run(socket.split(), dispatcher.clone(), registry, opening, from);
            dispatcher.shutdown().spawn(session.instrument(connection));
        })
}

/// The token of the request, from `Authorization` or, as browsers can send it, a subprotocol.
fn token(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = text(headers, header::AUTHORIZATION) {
        return Some(match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => value.trim(),
        });
    }
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(BEARER_SUBPROTOCOL))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
