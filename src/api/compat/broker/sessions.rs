//! Sessions: workers that were handed out together.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::refusal::{Refusal, Refusals};
use crate::api::compat::json::Body;
use crate::api::http::caller::Caller;
use crate::api::http::error::HttpError;
use crate::dispatcher::{Brokered, Dispatcher};
use crate::model::Contact;

/// What is asked for.
#[derive(Deserialize, ToSchema)]
#[schema(as = broker::Wish)]
pub(super) struct Wish {
    /// How many, 1 or more.
    #[schema(minimum = 1)]
    workers: u64,
}

/// Names a session.
#[derive(Deserialize, ToSchema)]
#[schema(as = broker::SessionToken)]
pub(super) struct SessionToken {
    token: String,
}

/// A new session.
#[derive(Serialize, ToSchema)]
#[schema(as = broker::Session)]
pub(super) struct Session {
    workers: Vec<Worker>,
    /// Brings the list back.
    token: String,
}

/// The workers of a session.
#[derive(Serialize, ToSchema)]
#[schema(as = broker::Workers)]
pub(super) struct Workers {
    workers: Vec<Worker>,
}

/// How a worker is reached.
#[derive(Serialize, ToSchema)]
#[schema(as = broker::Worker)]
#[serde(rename_all = "camelCase")]
pub(super) struct Worker {
    pub_key: String,
    address: String,
}

impl From<Contact> for Worker {
    fn from(contact: Contact) -> Self {
        let Contact { pub_key, address } = contact;
        Self { pub_key, address }
    }
}

/// Hands out workers, all or none.
#[utoipa::path(
    post,
    path = "/session",
    tag = "broker",
    request_body = Wish,
    responses((status = 200, description = "As many as were asked for", body = Session), Refusals)
)]
pub(super) async fn create(
    State(dispatcher): State<Dispatcher>,
    caller: Result<Caller, HttpError>,
    body: Result<Body<Wish>, HttpError>,
) -> Result<Response, Refusal> {
    let Caller(who) = caller?;
    let Body(Wish { workers: asked }) = body?;
    Ok(match dispatcher.broker(&who, asked).await? {
        Brokered::Session { workers, token } => {
            Json(Session { workers: workers.into_iter().map(Worker::from).collect(), token }).into_response()
        }
        Brokered::TooFew { available } => {
            let error = format!("{asked} workers were asked for, {available} are available");
            (StatusCode::CONFLICT, Json(json!({ "error": error, "available": available }))).into_response()
        }
    })
}

/// The workers of a session that the asker made within the last hour.
#[utoipa::path(
    post,
    path = "/session/refresh",
    tag = "broker",
    request_body = SessionToken,
    responses((status = 200, description = "The same workers again", body = Workers), Refusals)
)]
pub(super) async fn refresh(
    State(dispatcher): State<Dispatcher>,
    caller: Result<Caller, HttpError>,
    body: Result<Body<SessionToken>, HttpError>,
) -> Result<Json<Workers>, Refusal> {
    let Caller(who) = caller?;
    let Body(SessionToken { token }) = body?;
    let workers = dispatcher.brokered(&who, &token).await?;
    Ok(Json(Workers { workers: workers.into_iter().map(Worker::from).collect() }))
}
