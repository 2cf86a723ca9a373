//! A request of this family: who asks, by a token in the header or in the body's `jwt`, and what for.
//!
//! A token never comes in the address: addresses are logged and remembered.

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::Refusal;
use crate::api::compat::json::Body;
use crate::api::http::address::ClientAddress;
use crate::api::http::caller::{bearer, identify};
use crate::auth::Identity;
use crate::dispatcher::Dispatcher;
use crate::protocol::WireError;
use crate::protocol::codec::typed_value;

/// See the module.
pub(super) struct Asked<T> {
    pub(super) who: Identity,
    pub(super) body: T,
}

impl<T: DeserializeOwned> FromRequest<Dispatcher> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, dispatcher: &Dispatcher) -> Result<Self, Refusal> {
        let headers = request.headers().clone();
        let proxies = &dispatcher.settings().trusted_proxies;
        let from = ClientAddress::of(request.extensions().get(), &headers, proxies);
        let mut who = None;
        if let Some(token) = bearer(&headers) {
            // Before the body is read, which may be long.
            who = Some(identify(dispatcher, &headers, from, Some(token)).await?);
        }
        let Body(mut body): Body<Map<String, Value>> = Body::from_request(request, dispatcher).await?;
        let in_body = match body.remove("jwt") {
            None | Some(Value::Null) => None,
            Some(Value::String(token)) => Some(token),
            Some(_) => return Err(WireError::bad_field("jwt", "jwt: expected a string").into()),
        };
        let who = match who {
            Some(who) => who,
            None => identify(dispatcher, &headers, from, in_body.as_deref()).await?,
        };
        Ok(Self { who, body: typed_value(Value::Object(body))? })
    }
}
