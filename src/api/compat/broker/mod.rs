//! The compute broker (family A): clients that offer themselves, sessions that hand some of them out.

mod clients;
mod refusal;
mod sessions;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::dispatcher::Dispatcher;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new()
        .routes(routes!(clients::register))
        .routes(routes!(clients::login))
        .routes(routes!(clients::signal))
        .routes(routes!(sessions::create))
        .routes(routes!(sessions::refresh))
}
