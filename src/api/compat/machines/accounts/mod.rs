//! Accounts of this family: logging in and out, and what people say of themselves.

mod auth;
mod body;
mod photo;
mod user;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::dispatcher::Dispatcher;

/// The routes below `/api/auth` and `/api/user`.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new()
        .routes(routes!(auth::login))
        .routes(routes!(auth::register))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::session))
        .routes(routes!(user::info))
        .routes(routes!(user::set_profile))
        .routes(routes!(user::set_password))
        .routes(routes!(photo::set))
        .routes(routes!(photo::get))
}
