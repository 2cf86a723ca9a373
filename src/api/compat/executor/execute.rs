//! `POST /api/execute`: a ZIP and commands, run by a worker or on the server itself.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::jobs::submit;
use super::refusal::{Asker, Refusal};
use super::shapes::{ErrorShape, ExecuteForm, Executed};
use super::stream::{JobEvent, follow};
use crate::api::http::error::HttpError;
use crate::api::http::uploads::{Form, form, is_multipart};
use crate::dispatcher::Dispatcher;
use crate::protocol::spec::{JobSpec, Requires};
use crate::protocol::{After, ErrorCode, WireError};

/// Names the job of a stream.
const EXEC_ID: HeaderName = HeaderName::from_static("x-exec-id");

/// Where commands run.
enum Mode {
    /// On the server itself, its output streamed in the answer.
    Direct,
    /// On a worker.
    Distributed,
}

/// Run commands in a ZIP.
#[utoipa::path(
    post, path = "/api/execute", tag = "executor",
    request_body(content = ExecuteForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "distributed: the job; direct: its output as server-sent events, as `/api/jobs/stream` has it", content(
            (Executed = "application/json"),
            (JobEvent = "text/event-stream"),
        )),
        (status = 400, body = ErrorShape, description = "a field is missing or wrong"),
        (status = 401, body = ErrorShape), (status = 403, body = ErrorShape),
        (status = 413, body = ErrorShape), (status = 415, body = ErrorShape), (status = 429, body = ErrorShape),
        (status = 503, body = ErrorShape, description = "direct, and the server has no worker of its own"),
    )
)]
pub(super) async fn execute(
    State(dispatcher): State<Dispatcher>,
    asker: Asker,
    request: Request,
) -> Result<Response, Refusal> {
    let who = asker.submits()?;
    if !is_multipart(request.headers()) {
        let error = WireError::bad_field("content-type", "the body must be multipart/form-data");
        return Err(HttpError::from(error).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE).into());
    }
    let Form { upload, mut fields } = form(&dispatcher, request, &["commands", "mode"]).await?;
    let mode = match fields.get("mode").map(|mode| mode.trim()) {
        None | Some("" | "direct") => Mode::Direct,
        Some("distributed") => Mode::Distributed,
        Some(_) => return Err(Refusal::field("mode", "mode must be \"distributed\" or \"direct\"")),
    };
    // Shells that quote do not know `\n`, and the document's own example has it.
    let commands = fields.remove("commands").unwrap_or_default().replace("\\n", "\n");
    let Some(upload) = upload.filter(|_| !commands.trim().is_empty()) else {
        return Err(Refusal::field("file", "file and commands are required"));
    };
    let mut spec = JobSpec {
        command: Some(commands),
        file_url: Some(upload.url),
        filename: Some(upload.filename),
        ..JobSpec::default()
    };
    match mode {
        Mode::Distributed => {
            let job_id = submit(&dispatcher, &who, spec).await?.reply.job_id.to_string();
            let executed = Executed {
                success: true,
                mode: "distributed",
                message: "Job created. Waiting for idle worker to pick it up.",
                check_status_url: format!("/api/jobs/status?jobId={job_id}"),
                job_id,
            };
            Ok(Json(executed).into_response())
        }
        Mode::Direct => {
            let worker_id = dispatcher.local_worker().ok_or_else(no_local_worker)?;
            spec.requires = Requires { worker_id: Some(worker_id), ..Requires::default() };
            let job = submit(&dispatcher, &who, spec).await?.reply.job_id;
            let mut response = follow(&dispatcher, &who, job.into(), After::Start).await?;
            let id = HeaderValue::from_str(&job.to_string()).expect("a job id is letters, digits and dashes");
            response.headers_mut().insert(EXEC_ID, id);
            Ok(response)
        }
    }
}

fn no_local_worker() -> Refusal {
    let error = WireError::new(ErrorCode::Conflict, "this server has no worker of its own; use mode=distributed");
    HttpError::from(error).with_status(StatusCode::SERVICE_UNAVAILABLE).into()
}
