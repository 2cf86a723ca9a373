//! Somebody who speaks HTTP: one request, one reply, and what is in it.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, redirect};
use serde_json::Value;

/// A dispatcher's HTTP side.
#[derive(Clone)]
pub(crate) struct Web {
    base: String,
    client: reqwest::Client,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The body as JSON; null where it is none.
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Web {
    pub(crate) fn at(address: SocketAddr) -> Self {
        // Without a provider of cryptography no client can be made, not even this one.
        gangline::base::tls::provider();
        let client =
            reqwest::Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(Duration::from_secs(60));
        Self { base: format!("http://{address}"), client: client.build().expect("a client") }
    }

    /// A request that is not sent yet, for everything out of the ordinary.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// `GET`, with a token unless it is empty.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Reply {
        Reply::to(with_token(self.request("GET", path), token)).await
    }

    /// `POST` of JSON, with a token unless it is empty.
    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Reply {
        self.send("POST", path, token, body).await
    }

    /// JSON by any method, with a token unless it is empty.
    pub(crate) async fn send(&self, method: &str, path: &str, token: &str, body: Value) -> Reply {
        Reply::to(with_token(self.request(method, path), token).json(&body)).await
    }
}

impl Reply {
    /// Sends a request.
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let reply = request.send().await.expect("an answer");
        let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
        let text = reply.text().await.expect("a whole body");
        Self { status, headers, json: serde_json::from_str(&text).unwrap_or_default(), text }
    }
}

fn with_token(request: RequestBuilder, token: &str) -> RequestBuilder {
    if token.is_empty() { request } else { request.bearer_auth(token) }
}
