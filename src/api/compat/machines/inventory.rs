//! `/api/machines/info`: every machine, what it has, and which of its GPUs are free.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::error::{Refusal, Refusals};
use crate::dispatcher::Dispatcher;
use crate::protocol::limits::PAGE_MOST;
use crate::protocol::worker::{ListWorkers, WorkerRecord, WorkerStatus};

/// A machine: a worker.
#[derive(Serialize, ToSchema)]
#[schema(as = machines::Machine)]
pub(super) struct Machine {
    /// The worker's name.
    id: String,
    /// The address that it is, or was last, connected from.
    #[schema(value_type = Option<String>)]
    ip: Option<IpAddr>,
    hostname: String,
    gpu: Vec<Gpu>,
    /// Processors.
    cpu: u32,
    /// Bytes.
    memory: u64,
    /// Bytes.
    disk: u64,
    online: bool,
}

/// A GPU of a machine.
#[derive(Serialize, ToSchema)]
#[schema(as = machines::Gpu)]
pub(super) struct Gpu {
    /// What `gpus` of a task names it by.
    index: u32,
    name: String,
    /// Bytes.
    memory: u64,
    status: GpuStatus,
}

/// Whether a task has it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = machines::GpuStatus)]
pub(super) enum GpuStatus {
    Free,
    Busy,
}

/// Lists machines, those that are away included, by id.
#[utoipa::path(
    get,
    path = "/api/machines/info",
    tag = "machines",
    responses((status = 200, description = "All machines", body = Vec<Machine>), Refusals)
)]
pub(super) async fn info(
    State(dispatcher): State<Dispatcher>,
    Caller(who): Caller,
) -> Result<Json<Vec<Machine>>, Refusal> {
    let mut machines = Vec::new();
    let mut before = None;
    loop {
        let (page, next) = dispatcher.workers(&who, &ListWorkers { limit: Some(PAGE_MOST), before }).await?;
        for worker in page {
            machines.push(machine(&dispatcher, worker).await?);
        }
        if next.is_none() {
            return Ok(Json(machines));
        }
        before = next;
    }
}

async fn machine(dispatcher: &Dispatcher, worker: WorkerRecord) -> Result<Machine, Refusal> {
    // Most workers have none, and need not be asked about.
    let busy =
        if worker.gpus.is_empty() { Default::default() } else { dispatcher.gpus_in_use(&worker.worker_id).await? };
    let online = match worker.status {
        WorkerStatus::Idle | WorkerStatus::Busy => true,
        WorkerStatus::Offline => false,
    };
    let gpu = worker.gpus.into_iter().map(|gpu| Gpu {
        status: if busy.contains(&gpu.index) { GpuStatus::Busy } else { GpuStatus::Free },
        index: gpu.index,
        name: gpu.name,
        memory: gpu.memory_bytes,
    });
    Ok(Machine {
        id: worker.worker_id.to_string(),
        ip: worker.ip,
        hostname: worker.hostname,
        gpu: gpu.collect(),
        cpu: worker.cpu_count,
        memory: worker.memory_bytes,
        disk: worker.disk_bytes,
        online,
    })
}
