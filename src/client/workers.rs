//! What a client asks about workers.

use super::connection::{Client, reply};
use super::error::ClientError;
use crate::protocol::WorkerId;
use crate::protocol::codec::ToClient;
use crate::protocol::worker::{ListWorkers, NamedWorker, WorkerEvent, WorkerRecord, WorkerRequest, WorkersReply};

/// Each fails as [`ClientError`] says.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Client {
    /// A page of workers by id.
    pub async fn workers(&mut self, list: ListWorkers) -> Result<WorkersReply, ClientError> {
        self.ask(&WorkerRequest::List(list), reply!(ToClient::Worker(WorkerEvent::Workers(page)) => page)).await
    }

    /// A worker's record.
    pub async fn worker(&mut self, worker_id: WorkerId) -> Result<WorkerRecord, ClientError> {
        self.ask(
            &WorkerRequest::Get(NamedWorker { worker_id }),
            reply!(ToClient::Worker(WorkerEvent::Worker(reply)) => reply.worker),
        )
        .await
    }

    /// Lets a worker take no new jobs. Administrators only.
    pub async fn drain(&mut self, worker_id: WorkerId) -> Result<(), ClientError> {
        self.worker_done(WorkerRequest::Drain(NamedWorker { worker_id })).await
    }

    /// Lets a worker take jobs again. Administrators only.
    pub async fn undrain(&mut self, worker_id: WorkerId) -> Result<(), ClientError> {
        self.worker_done(WorkerRequest::Undrain(NamedWorker { worker_id })).await
    }

    async fn worker_done(&mut self, request: WorkerRequest) -> Result<(), ClientError> {
        self.ask(&request, reply!(ToClient::Worker(WorkerEvent::Ok(_)) => ())).await
    }
}
