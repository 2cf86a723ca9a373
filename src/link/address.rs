//! Where a dispatcher is, from what people write: `ws://host:3000/ws`, `https://host`, `host:3000`.

use std::fmt;
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::http::uri::Scheme;

use super::dial::LinkError;

/// The port of a bare host name: the one that a dispatcher listens on unless told otherwise.
const DEFAULT_PORT: u16 = 3000;
/// The port of `ws://` and `http://` where none is written, and of `wss://` and `https://`.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
/// Where a dispatcher serves its WebSocket, below its root.
const SOCKET_PATH: &str = "/ws";

/// The address of a dispatcher: its WebSocket and its HTTP root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    tls: bool,
    host: String,
    port: u16,
    /// Path of the WebSocket, beginning with `/`.
    path: String,
}

impl Address {
    /// The host as a resolver wants it: an IPv6 address has no brackets.
    pub fn host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    /// Whether it is reached over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of the WebSocket, `ws://host:3000/ws`.
    pub fn socket_url(&self) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://{}:{}{}", self.host, self.port, self.path)
    }

    /// URL of `path` (`/api/…`) on the same dispatcher.
    ///
    /// A socket at `/prefix/ws` puts everything else below `/prefix`.
    pub fn http_url(&self, path: &str) -> String {
        let root = self.path.strip_suffix(SOCKET_PATH).unwrap_or_default();
        let separator = if path.starts_with('/') { "" } else { "/" };
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}{root}{separator}{path}", self.host, self.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.socket_url())
    }
}

impl FromStr for Address {
    type Err = LinkError;

    /// Reads `ws://`, `http://`, both with TLS, or a bare `host[:port]`, which is without. `http://` and
    /// bare forms name the dispatcher's root, `ws://` its socket; where it has no path, that is `/ws`, too.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        let bad = |why: &'static str| LinkError::BadUrl { url: text.to_owned(), why };
        let trimmed = text.trim();
        let (tls, is_root, default_port, rest) = match trimmed.split_once("://") {
            None => (false, true, DEFAULT_PORT, trimmed),
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "ws" => (false, false, HTTP_PORT, rest),
                "http" => (false, true, HTTP_PORT, rest),
                "wss" => (true, false, HTTPS_PORT, rest),
                "https" => (true, true, HTTPS_PORT, rest),
                _ => return Err(bad("the scheme must be ws, wss, http or https")),
            },
        };
        let uri: Uri = format!("http://{rest}").parse().map_err(|_| bad("expected ws://host:port/ws or host:port"))?;
        debug_assert_eq!(uri.scheme(), Some(&Scheme::HTTP));
        let authority = uri.authority().ok_or_else(|| bad("there is no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("credentials do not belong into a URL; use a token"));
        }
        if uri.query().is_some() {
            return Err(bad("a query has no meaning here; a token goes into a file or the environment"));
        }
        let host = authority.host();
        if host.is_empty() {
            return Err(bad("there is no host"));
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().len() > host.len() => return Err(bad("the port must be 1 to 65535")),
            None => default_port,
        };
        if port == 0 {
            return Err(bad("the port must be 1 to 65535"));
        }
        let path = match uri.path().trim_end_matches('/') {
            "" => SOCKET_PATH.to_owned(),
            root if is_root && !root.ends_with(SOCKET_PATH) => format!("{root}{SOCKET_PATH}"),
            path => path.to_owned(),
        };
        Ok(Self { tls, host: host.to_owned(), port, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> String {
        text.parse::<Address>().unwrap().socket_url()
    }

    #[test]
    fn every_way_to_write_an_address_leads_to_the_socket() {
        for text in ["ws://h:3000/ws", "ws://h:3000", "WS://h:3000/", "http://h:3000", "http://h:3000/", "h:3000", "h"]
        {
            assert_eq!(socket(text), "ws://h:3000/ws", "{text}");
        }
        assert_eq!(socket("ws://h"), "ws://h:80/ws");
        assert_eq!(socket("http://h/jobs"), "ws://h:80/jobs/ws");
        assert_eq!(socket("http://h:1/ws"), "ws://h:1/ws");
        assert_eq!(socket("ws://h:1/other"), "ws://h:1/other");
        assert_eq!(socket("[::1]:3000"), "ws://[::1]:3000/ws");
        assert_eq!("[::1]:3000".parse::<Address>().unwrap().host(), "::1");
        assert_eq!(socket("wss://h"), "wss://h:443/ws");
        assert_eq!(socket("HTTPS://h:3000/jobs/"), "wss://h:3000/jobs/ws");
    }

    #[test]
    fn the_http_root_is_beside_the_socket() {
        let http = |text: &str| text.parse::<Address>().unwrap().http_url("/api/uploads");
        assert_eq!(http("h:3000"), "http://h:3000/api/uploads");
        assert_eq!(http("ws://h:3000/jobs/ws"), "http://h:3000/jobs/api/uploads");
        assert_eq!(http("wss://h/ws"), "https://h:443/api/uploads");
        assert_eq!(http("ws://h:3000/other"), "http://h:3000/api/uploads");
    }

    #[test]
    fn what_cannot_be_dialled_says_why() {
        for text in
            ["", "ftp://h", "ws://", "ws://h:0/ws", "ws://h:99999/ws", "ws://u:p@h/ws", "ws://h/ws?token=x", "a b"]
        {
            assert!(matches!(text.parse::<Address>(), Err(LinkError::BadUrl { .. })), "{text}");
        }
    }
}
