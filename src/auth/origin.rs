//! Which web pages may talk to this server.
//!
//! Browsers let any page open a WebSocket to any address, and name the page in `Origin`.

/// Whether a request with this `Origin` and `Host` may go on.
///
/// Fine: no `Origin` (not a browser), an origin that is the server itself by the `Host` that the
/// browser was pointed to, and one listed in `allowed` (`https://example.com`, or `*` for all).
///
/// Under `open` everyone is an administrator, and then a host *name* is no proof: its owner can
/// point it at this machine once the page is loaded. There only an address, `localhost` and what
/// is listed count.
pub fn origin_allowed(origin: Option<&str>, host: Option<&str>, allowed: &[String], open: bool) -> bool {
    let Some(origin) = origin else { return true };
    if allowed.iter().any(|listed| listed == "*" || listed.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        return true;
    }
    let (Some(page), Some(host)) = (Authority::of_origin(origin), host) else { return false };
    let server = Authority::split(host, page.port);
    // A browser leaves the default port of its scheme out of both headers.
    page.name.eq_ignore_ascii_case(server.name) && page.port == server.port && (!open || page.is_local_or_address())
}

struct Authority<'a> {
    name: &'a str,
    port: &'a str,
}

impl<'a> Authority<'a> {
    fn of_origin(origin: &'a str) -> Option<Self> {
        match origin.split_once("://")? {
            ("http", authority) => Some(Self::split(authority, "80")),
            ("https", authority) => Some(Self::split(authority, "443")),
            _ => None,
        }
    }

    fn split(authority: &'a str, default_port: &'a str) -> Self {
        // A colon inside brackets belongs to an IPv6 address.
        match authority.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => Self { name, port },
            Some(_) | None => Self { name: authority, port: default_port },
        }
    }

    fn is_local_or_address(&self) -> bool {
        let address = self.name.trim_start_matches('[').trim_end_matches(']');
        self.name.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str, host: &str) -> bool {
        origin_allowed(Some(origin), Some(host), &["https://app.example.com".to_owned()], false)
    }

    #[test]
    fn the_server_itself_and_listed_pages_may_connect() {
        for (origin, host) in [
            ("http://localhost:3000", "localhost:3000"),
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://[::1]:3000", "[::1]:3000"),
            ("https://Jobs.example.com", "jobs.example.com"),
            ("https://jobs.example.com", "jobs.example.com:443"),
            ("http://[::1]", "[::1]"),
            ("https://app.example.com", "127.0.0.1:3000"),
        ] {
            assert!(allowed(origin, host), "{origin} to {host}");
        }
        assert!(origin_allowed(None, Some("localhost:3000"), &[], false), "no browser");
    }

    #[test]
    fn other_pages_may_not() {
        for (origin, host) in [
            ("http://evil.example", "localhost:3000"),
            ("http://localhost:8080", "localhost:3000"),
            ("http://127.0.0.1:3000", "localhost:3000"),
            ("http://app.example.com", "localhost:3000"),
            ("https://app.example.com.evil.example", "localhost:3000"),
            ("http://localhost:3000.evil.example", "localhost:3000"),
            ("http://user@localhost:3000", "localhost:3000"),
            ("null", "localhost:3000"),
            ("", ""),
            ("file://", ""),
        ] {
            assert!(!allowed(origin, host), "{origin} to {host}");
        }
        assert!(!origin_allowed(Some("http://localhost:3000"), None, &[], false));
    }

    #[test]
    fn a_name_is_no_proof_where_everyone_is_an_administrator() {
        let under_open = |origin, host| origin_allowed(Some(origin), Some(host), &[], true);
        assert!(!under_open("http://rebound.evil.example:3000", "rebound.evil.example:3000"));
        assert!(under_open("http://localhost:3000", "localhost:3000"));
        assert!(under_open("http://[::1]:3000", "[::1]:3000"));
        assert!(under_open("http://192.0.2.7:3000", "192.0.2.7:3000"));
    }
}
