//! The HTTP surfaces of five older systems, over the same core as everything else.
//!
//! A folder for each: routes, shapes, conversions, handlers, and errors in the shape of its own document. A family
//! translates and decides nothing; none knows another. What a program of theirs starts is a job like any other.

mod broker;
mod executor;
mod fractals;
mod json;
mod machines;
mod panel;

use utoipa_axum::router::OpenApiRouter;

use crate::dispatcher::Dispatcher;

/// All their routes, and what `OpenAPI` says of them.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new()
        .merge(broker::routes())
        .merge(executor::routes())
        .merge(fractals::routes())
        .merge(machines::routes())
        .merge(panel::routes())
}
