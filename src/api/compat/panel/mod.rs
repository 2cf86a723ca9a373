//! The panel (family D): logins that last.
//!
//! Its node agent's functions are frames of the WebSocket; they are not here.

mod auth;
mod refusal;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::dispatcher::Dispatcher;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new().routes(routes!(auth::login)).routes(routes!(auth::refresh))
}
