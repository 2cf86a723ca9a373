//! The distributed executor (family C): polling workers, jobs that start from a ZIP, results.

use utoipa_axum::router::OpenApiRouter;

use crate::dispatcher::Dispatcher;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new()
}
