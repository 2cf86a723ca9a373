//! The vocabulary of the stories: a server, peers that speak the wire by hand, workers that do as
//! they are told.
//!
//! Nothing here uses the crate's own client or codec: a peer writes and reads JSON as somebody
//! would who has only read the contract. Every wait has a deadline and says what it waited for.

pub(crate) mod engine;
pub(crate) mod moto;
pub(crate) mod peer;
pub(crate) mod private;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod web;
pub(crate) mod worker;

use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use peer::Peer;
pub(crate) use server::TestServer;
pub(crate) use web::{Reply, Web};
pub(crate) use worker::{Assigned, Worker};

/// How long anything may take that should come at once. Long, because machines that build are
/// busy; a story that passes never waits for it.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// `GET`, in the clear.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> reqwest::Response {
    // Without a provider of cryptography no client can be made, not even this one.
    gangline::base::tls::provider();
    reqwest::get(format!("http://{address}{path}")).await.expect("it answers")
}

/// Waits for `future`, at most [`SOON`].
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {SOON:?} for {what}"),
    }
}

/// Asks `probe` again and again until it answers, at most [`SOON`].
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}
