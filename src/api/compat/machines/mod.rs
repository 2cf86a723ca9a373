//! Machines and tasks (family B): accounts, an inventory of machines, GPU tasks on them.

mod accounts;
mod caller;
mod error;
mod inventory;
mod shapes;
mod tasks;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::dispatcher::Dispatcher;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new()
        .merge(accounts::routes())
        .routes(routes!(inventory::info))
        .routes(routes!(tasks::request))
        .routes(routes!(tasks::cancel))
        .routes(routes!(tasks::of_user))
        .routes(routes!(tasks::of_machine))
}
