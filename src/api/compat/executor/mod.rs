//! The distributed executor (family C): polling workers, jobs that start from a ZIP, results.
//!
//! ```text
//! /api/workers/register    POST a worker registers            GET the workers
//! /api/workers/heartbeat   POST a worker lives
//! /api/jobs/create         POST a job                         GET the jobs
//! /api/jobs/get-job        GET  a worker asks for a job
//! /api/jobs/status         GET  how a job stands
//! /api/jobs/submit-result  POST a worker brings a result      PUT or a failure
//! /api/jobs/stream         GET  a job's output as it comes
//! /api/execute             POST a ZIP and commands for it
//! ```

mod execute;
mod jobs;
mod refusal;
mod results;
mod shapes;
mod stream;
mod workers;

use axum::routing::MethodRouter;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use self::refusal::Refusal;
use crate::dispatcher::Dispatcher;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Dispatcher> {
    OpenApiRouter::new()
        .routes(in_its_words(routes!(workers::register, workers::list)))
        .routes(in_its_words(routes!(workers::heartbeat)))
        .routes(in_its_words(routes!(jobs::create, jobs::list)))
        .routes(in_its_words(routes!(jobs::get_job)))
        .routes(in_its_words(routes!(jobs::status)))
        .routes(in_its_words(routes!(results::submit, results::fail)))
        .routes(in_its_words(routes!(stream::stream)))
        .routes(in_its_words(routes!(execute::execute)))
}

/// A wrong method is refused in the family's own shape, too.
fn in_its_words(routes: UtoipaMethodRouter<Dispatcher>) -> UtoipaMethodRouter<Dispatcher> {
    routes.map(|routes: MethodRouter<Dispatcher>| routes.fallback(async || Refusal::method_not_allowed()))
}
