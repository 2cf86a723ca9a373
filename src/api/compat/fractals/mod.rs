//! Fractals as a service (family E): tasks that render an image, and its download.

use utoipa_axum::router::OpenApiRouter;

use crate::dispatcher::Dispatcher;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new()
}
