//! Fractals as a service (family E): tasks that render an image, and its download.

mod accounts;
mod asked;
mod download;
mod error;
mod tasks;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::dispatcher::Dispatcher;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new()
        .routes(routes!(accounts::sign_up))
        .routes(routes!(accounts::sign_in))
        .routes(routes!(tasks::add))
        .routes(routes!(tasks::delete))
        .routes(routes!(tasks::list))
        .routes(routes!(download::download))
}
