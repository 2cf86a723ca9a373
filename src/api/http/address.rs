//! Where a request comes from, and how many may come from there.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;

use super::{Door, HttpError};
use crate::auth::Visitor;
use crate::base::clock::millis;
use crate::base::rate::network;
use crate::dispatcher::Dispatcher;
use crate::protocol::{ErrorCode, WireError};

/// The address of whoever sent a request, as far as proxies that are trusted say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct ClientAddress(pub(in crate::api) IpAddr);

impl ClientAddress {
    /// A connection's peer; behind proxies that are trusted, the last address that none of them added.
    pub(in crate::api) fn of(peer: Option<&ConnectInfo<SocketAddr>>, headers: &HeaderMap, proxies: &[IpNet]) -> Self {
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |ConnectInfo(peer)| peer.ip().to_canonical());
        let is_proxy = |address: &IpAddr| proxies.iter().any(|net| net.contains(address));
        if !is_proxy(&peer) {
            return Self(peer);
        }
        let lists = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let named: Vec<&str> = lists.flat_map(|list| list.split(',')).collect();
        let mut nearest = peer;
        for name in named.iter().rev() {
            // What cannot be read was not written by a proxy of ours: nothing beyond it counts.
            let Ok(address) = name.trim().parse::<IpAddr>() else { break };
            nearest = address.to_canonical();
            if !is_proxy(&nearest) {
                break;
            }
        }
        Self(nearest)
    }
}

impl FromRequestParts<Dispatcher> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, dispatcher: &Dispatcher) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts.extensions.get(), &parts.headers, &dispatcher.settings().trusted_proxies))
    }
}

/// Whoever sent a request, before it is known who: for logins, which are written down.
impl FromRequestParts<Dispatcher> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, dispatcher: &Dispatcher) -> Result<Self, Self::Rejection> {
        let ClientAddress(address) = ClientAddress::from_request_parts(parts, dispatcher).await?;
        Ok(visitor(address, &parts.headers))
    }
}

/// Somebody from that address, with these headers.
pub(in crate::api) fn visitor(address: IpAddr, headers: &HeaderMap) -> Visitor {
    Visitor::new(address, headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()))
}

/// Refuses what comes too often from one address. Probes and metrics are asked for by machines that have their reasons.
pub(super) async fn limit(State(door): State<Door>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
        let proxies = &door.dispatcher.settings().trusted_proxies;
        let ClientAddress(address) = ClientAddress::of(request.extensions().get(), request.headers(), proxies);
        if let Err(wait) = door.requests.count(network(address)) {
            let error = WireError::new(ErrorCode::RateLimited, "too many requests from this address");
            return HttpError::from(error.retry_after(millis(wait))).into_response();
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn address(peer: &str, forwarded: &[&'static str]) -> String {
        let peer = ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        ClientAddress::of(Some(&peer), &headers, &proxies).0.to_string()
    }

    #[test]
    fn only_a_trusted_proxy_speaks_for_others() {
        assert_eq!(address("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(address("10.1.1.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(address("10.1.1.1", &["203.0.113.9, 198.51.100.7", "10.2.2.2"]), "198.51.100.7");
        assert_eq!(address("::ffff:10.1.1.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(address("10.1.1.1", &[]), "10.1.1.1");
        assert_eq!(address("10.1.1.1", &["198.51.100.7, nonsense"]), "10.1.1.1");
    }
}
