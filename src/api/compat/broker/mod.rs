//! The compute broker (family A): clients that offer themselves, sessions that hand some of them out.

use utoipa_axum::router::OpenApiRouter;

use crate::dispatcher::Dispatcher;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new()
}
