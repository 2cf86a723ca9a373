//! Who asks, proven as this family's document has it: each way to fail has its own sentence.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::error::Refusal;
use crate::api::http::address::ClientAddress;
use crate::api::http::caller::{bearer, check_origin};
use crate::auth::Identity;
use crate::dispatcher::Dispatcher;

/// Whoever sent a request: proven by a token, or anonymous under `--open`.
pub(super) struct Caller(pub(super) Identity);

impl FromRequestParts<Dispatcher> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, dispatcher: &Dispatcher) -> Result<Self, Refusal> {
        check_origin(dispatcher, &parts.headers)?;
        let Ok(ClientAddress(from)) = ClientAddress::from_request_parts(parts, dispatcher).await;
        let token = bearer(&parts.headers).filter(|token| !token.is_empty() && !token.eq_ignore_ascii_case("bearer"));
        match token {
            Some(token) => {
                dispatcher.auth().authenticate(token).await.map(|who| Self(who.at(from))).map_err(Refusal::of_auth)
            }
            None if dispatcher.settings().open => Ok(Self(Identity::anonymous().at(from))),
            None => Err(Refusal::token_not_found()),
        }
    }
}
