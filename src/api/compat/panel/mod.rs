//! The panel (family D): login by email or user name, and refresh.

use utoipa_axum::router::OpenApiRouter;

use crate::dispatcher::Dispatcher;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new()
}
