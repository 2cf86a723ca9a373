//! What a client can be told.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use sysinfo::{NetworkData, Networks};

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
    /// Where a token was looked for in vain.
    pub token_sought: Option<PathBuf>,
}

/// A dispatcher asks for a token, and there is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no token: give --token-file or GANGLINE_TOKEN_FILE{}", looked_for(.sought.as_deref()))]
pub struct MissingToken {
    /// Where one was looked for.
    pub sought: Option<PathBuf>,
}

fn looked_for(sought: Option<&Path>) -> String {
    sought.map(|path| format!(" (looked for {})", path.display())).unwrap_or_default()
}

/// Where a dispatcher listens unless told otherwise.
pub const DEFAULT_URL: &str = "ws://127.0.0.1:3000/ws";

impl Default for ClientSettings {
    fn default() -> Self {
        Self { url: DEFAULT_URL.to_owned(), token: None, token_sought: None, trust: Trust::default() }
    }
}

/// Whether `url` names this machine: only then may a token that lies around here go there.
pub(super) fn is_local(url: &str) -> bool {
    is_local_among(url, own_addresses)
}

fn is_local_among(url: &str, own: impl FnOnce() -> Vec<IpAddr>) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || own().contains(&ip))
}

/// The addresses of this machine's interfaces; none where they cannot be read.
fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = Networks::new_with_refreshed_list() else { return Vec::new() };
    interfaces.values().flat_map(NetworkData::ip_networks).map(|network| network.addr).collect()
}

#[cfg(test)]
mod tests {
    use super::{is_local, is_local_among, own_addresses};

    #[test]
    fn only_this_machine_is_local() {
        for url in ["ws://127.0.0.1:3000/ws", "localhost:3000", "http://[::1]:3000", "127.8.0.1", "WS://127.0.0.1"] {
            assert!(is_local(url), "{url}");
        }
        for url in ["ws://example.org/ws", "ws://192.0.2.1:3000", "ws://localhost.example.org", "ws://127.0.0.1@evil/"]
        {
            assert!(!is_local(url), "{url}");
        }
    }

    #[test]
    fn an_address_of_this_machine_is_local_too() {
        let own = || vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        for url in ["ws://192.0.2.7:3000/ws", "192.0.2.7", "ws://[2001:db8::7]:3000"] {
            assert!(is_local_among(url, own), "{url}");
        }
        for url in ["ws://192.0.2.8:3000/ws", "ws://[2001:db8::8]:3000", "ws://192.0.2.7.example.org"] {
            assert!(!is_local_among(url, own), "{url}");
        }
        assert!(own_addresses().iter().any(std::net::IpAddr::is_loopback), "{:?}", own_addresses());
    }
}
