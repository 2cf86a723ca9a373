//! Who asks, and which jobs that one may see.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::HttpError;
use super::address::ClientAddress;
use crate::auth::{Identity, origin_allowed};
use crate::dispatcher::Dispatcher;
use crate::model::{Job, Role};
use crate::protocol::JobRef;

/// Whoever sent a request: proven by its token, or anonymous under `--open`.
pub(in crate::api) struct Caller(pub(in crate::api) Identity);

impl FromRequestParts<Dispatcher> for Caller {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, dispatcher: &Dispatcher) -> Result<Self, HttpError> {
        let Ok(from) = ClientAddress::from_request_parts(parts, dispatcher).await;
        let who = identify(dispatcher, &parts.headers, from, bearer(&parts.headers)).await?;
        match who.role {
            Role::User | Role::Admin | Role::Worker => Ok(Self(who)),
            Role::Plugin => Err(HttpError::forbidden("plugins speak the WebSocket only")),
        }
    }
}

/// Whose token this is; under `--open` nobody needs one.
///
/// # Errors
/// `forbidden` for a page of another origin, `unauthorized` without a token or with a wrong one, or the store.
pub(in crate::api) async fn identify(
    dispatcher: &Dispatcher,
    headers: &HeaderMap,
    ClientAddress(from): ClientAddress,
    token: Option<&str>,
) -> Result<Identity, HttpError> {
    check_origin(dispatcher, headers)?;
    match token {
        Some(token) => Ok(dispatcher.auth().authenticate(token).await?.at(from)),
        None if dispatcher.settings().open => Ok(Identity::anonymous().at(from)),
        None => Err(HttpError::unauthorized()),
    }
}

/// Whether the page that asks, if it is one, may.
///
/// # Errors
/// `forbidden` for a page of another origin.
pub(in crate::api) fn check_origin(dispatcher: &Dispatcher, headers: &HeaderMap) -> Result<(), HttpError> {
    let settings = dispatcher.settings();
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    // Under `--open` nothing but this keeps any web page from acting as an administrator.
    if origin_allowed(text(header::ORIGIN), text(header::HOST), &settings.allowed_origins, settings.open) {
        return Ok(());
    }
    Err(HttpError::forbidden("this origin may not connect"))
}

impl Caller {
    /// A job by id or number.
    ///
    /// # Errors
    /// `not_found` where there is none, or it is another's: which of the two is not told.
    pub(in crate::api) async fn job(&self, dispatcher: &Dispatcher, named: &str) -> Result<Arc<Job>, HttpError> {
        let named: JobRef = named.parse().map_err(|_| HttpError::not_found("job"))?;
        let found = dispatcher.store().job(named).await?;
        found.filter(|job| named.names(job.id) && self.sees(job)).ok_or_else(|| HttpError::not_found("job"))
    }

    /// Whether a job is its to see.
    pub(in crate::api) fn sees(&self, job: &Job) -> bool {
        match self.0.role {
            Role::Admin | Role::Worker => true,
            Role::User => job.account == self.0.account,
            Role::Plugin => false,
        }
    }
}

/// The token of an `Authorization` header: `Bearer <token>` in any letter case, or the bare token.
///
/// An empty string, which is no token of anyone's, stands for a header that holds none.
pub(in crate::api) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().unwrap_or_default().trim();
    match value.split_once(char::is_whitespace) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim_start()),
        Some(_) => Some(""),
        None => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn tokens_are_found_however_they_are_written() {
        let token = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            bearer(&headers).map(str::to_owned)
        };
        for value in ["Bearer gl_1", "bearer gl_1", "BEARER   gl_1", " gl_1 ", "gl_1"] {
            assert_eq!(token(value).as_deref(), Some("gl_1"), "{value:?}");
        }
        for value in ["Basic Z2w6MQ==", "", "größe"] {
            assert_eq!(token(value).as_deref(), Some(""), "{value:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
