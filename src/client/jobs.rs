//! What a client asks about jobs.

use super::connection::{Client, reply};
use super::error::ClientError;
use crate::protocol::JobRef;
use crate::protocol::chunk::Chunk;
use crate::protocol::codec::ToClient;
use crate::protocol::job::{
    Cancel, Input, JobEvent, JobRecord, JobRequest, JobsReply, List, Named, Resize, Submit, Submitted,
};

/// Each fails as [`ClientError`] says.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Client {
    /// Submits a job without following it.
    pub async fn submit(&mut self, mut submit: Submit) -> Result<Submitted, ClientError> {
        submit.follow = Some(false);
        self.ask(
            &JobRequest::Submit(Box::new(submit)),
            reply!(ToClient::Job(JobEvent::Submitted(submitted)) => submitted),
        )
        .await
    }

    /// A job's record, with its spec.
    pub async fn get(&mut self, job: JobRef) -> Result<JobRecord, ClientError> {
        self.ask(&JobRequest::Get(Named { job_id: job }), reply!(ToClient::Job(JobEvent::Job(reply)) => reply.job))
            .await
    }

    /// A page of jobs, newest first.
    pub async fn list(&mut self, list: List) -> Result<JobsReply, ClientError> {
        self.ask(&JobRequest::List(list), reply!(ToClient::Job(JobEvent::Jobs(page)) => page)).await
    }

    /// Asks for a job to end. It has ended when its log says so.
    pub async fn cancel(&mut self, job: JobRef, grace_secs: Option<f64>) -> Result<(), ClientError> {
        self.done(JobRequest::Cancel(Cancel { job_id: job, grace_secs })).await
    }

    /// Writes `bytes` to the job's standard input, and closes it after them where `eof` is set.
    /// At most [`Client::input_limit`] bytes at a time.
    pub async fn input(&mut self, job: JobRef, bytes: &[u8], eof: bool) -> Result<(), ClientError> {
        let (text, base64) = Chunk::of(bytes).into_fields();
        self.done(JobRequest::Input(Input { job_id: job, text, base64, eof })).await
    }

    /// Bytes that fit into one `input` frame, however they are written.
    pub fn input_limit(&self) -> usize {
        // A chunk grows by a third at the most; 512 bytes hold the rest of the frame.
        const MOST: usize = 32 * 1024;
        (self.hello.max_frame_bytes.saturating_sub(512) / 4 * 3).clamp(1, MOST)
    }

    /// Gives the job's terminal another size.
    pub async fn resize(&mut self, job: JobRef, cols: u16, rows: u16) -> Result<(), ClientError> {
        self.done(JobRequest::Resize(Resize { job_id: job, cols, rows })).await
    }

    pub(super) async fn done(&mut self, request: JobRequest<'_>) -> Result<(), ClientError> {
        self.ask(&request, reply!(ToClient::Job(JobEvent::Ok(_)) => ())).await
    }
}
