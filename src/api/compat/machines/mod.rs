//! Machines and tasks (family B): accounts, an inventory of machines, GPU tasks on them.

mod accounts;
mod caller;
mod error;

use utoipa_axum::router::OpenApiRouter;

use crate::dispatcher::Dispatcher;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new().merge(accounts::routes())
}
