//! What a client can be told.

use crate::base::secret::Secret;
use crate::base::tls::Trust;

/// Settings of everything that talks to a dispatcher as a client.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The dispatcher, such as `ws://127.0.0.1:3000/ws`.
    pub url: String,
    /// The token; none for a dispatcher that was started with `--open`.
    pub token: Option<Secret>,
    /// Whose certificate is believed where the URL is one with TLS.
    pub trust: Trust,
}

/// Where a dispatcher listens unless told otherwise.
pub const DEFAULT_URL: &str = "ws://127.0.0.1:3000/ws";

impl Default for ClientSettings {
    fn default() -> Self {
        Self { url: DEFAULT_URL.to_owned(), token: None, trust: Trust::default() }
    }
}

/// Whether `url` names this machine: only then may a token that lies around here go there.
pub(super) fn is_local(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_this_machine_is_local() {
        for url in ["ws://127.0.0.1:3000/ws", "localhost:3000", "http://[::1]:3000", "127.8.0.1", "WS://127.0.0.1"] {
            assert!(is_local(url), "{url}");
        }
        for url in ["ws://example.org/ws", "ws://10.0.0.1:3000", "ws://localhost.example.org", "ws://127.0.0.1@evil/"] {
            assert!(!is_local(url), "{url}");
        }
    }
}
