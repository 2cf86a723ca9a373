//! What the HTTP side is, for programs: `OpenAPI` from the handlers, `AsyncAPI` from the types of the frames.
//!
//! Both are made from the code once, at start. A tester holds the first against the running server.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, Paths};
use utoipa::{IntoResponses, ToSchema};

use crate::protocol::asyncapi;

/// What stands in the document beside the routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Gangline",
        description = "Jobs, files and accounts over HTTP; live output is on the WebSocket.",
        contact(),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem, Fault))
)]
pub(super) struct Base;

/// Both documents as they are sent.
#[derive(Clone)]
pub(super) struct Documents {
    openapi: Arc<str>,
    asyncapi: Arc<str>,
}

/// What every route that asks for a token may answer when it refuses.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it says what refusals look like")]
pub(super) enum Refused {
    /// A field, a header or the path is wrong; the error names it
    #[response(status = 400)]
    Wrong(Problem),
    /// No token, a wrong one, or one that has ended
    #[response(status = 401)]
    Unknown(Problem),
    /// The role or the page's origin may not
    #[response(status = 403)]
    Forbidden(Problem),
    /// There is none, or it is not the caller's to see
    #[response(status = 404)]
    Missing(Problem),
    /// It is in a state that does not allow this
    #[response(status = 409)]
    Conflict(Problem),
    /// The body is over the limit
    #[response(status = 413)]
    TooLarge(Problem),
    /// The range begins beyond the end
    #[response(status = 416)]
    Beyond(Problem),
    /// Over a limit; `Retry-After` says for how long
    #[response(status = 429)]
    TooOften(Problem),
    /// The store does not answer, or the server stops
    #[response(status = 503)]
    Unavailable(Problem),
}

/// An error.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it says what errors look like")]
pub(super) struct Problem {
    error: Fault,
}

/// What is wrong: the fields of an `error` frame.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it says what errors look like")]
struct Fault {
    /// What kind of error
    code: String,
    /// For people
    message: String,
    /// The field at fault
    field: Option<String>,
    /// Whether the same request can succeed later
    retry: bool,
    /// When, in milliseconds
    retry_after_ms: Option<u64>,
}

impl Documents {
    /// Completes what the routes say of themselves.
    pub(super) fn new(mut api: OpenApi) -> Self {
        let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        api.components.get_or_insert_default().security_schemes.insert("token".to_owned(), token.into());
        let paths = std::mem::replace(&mut api.paths, Paths::new());
        // The router's spelling of "the rest of the path".
        api.paths.paths = paths.paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
        let openapi = serde_json::to_string(&api).expect("strings and numbers are JSON").into();
        Self { openapi, asyncapi: asyncapi::document().to_string().into() }
    }
}

/// `GET /openapi.json`.
pub(super) async fn openapi(State(documents): State<Documents>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], documents.openapi.to_string())
}

/// `GET /asyncapi.json`.
pub(super) async fn asyncapi(State(documents): State<Documents>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], documents.asyncapi.to_string())
}
