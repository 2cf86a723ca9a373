//! Records as the wire shows them.

use axum::extract::ws::Utf8Bytes;

use crate::base::clock::Millis;
use crate::model::{Job, Program};
use crate::protocol::agent::{GpuInfo, Usage};
use crate::protocol::codec::encode;
use crate::protocol::job::{JobEvent, JobRecord, Status, StatusEvent};
use crate::protocol::worker::{WorkerRecord, WorkerStatus};
use crate::scheduler::{Facts, waiting_for};

/// A job; `workers` are the facts that say what a pending one waits for.
pub(super) fn job(job: &Job, workers: &[Facts]) -> JobRecord {
    let (command, args) = match &job.spec.program {
        Program::Shell(script) => (Some(script.clone()), None),
        Program::Args(args) => (None, Some(args.clone())),
        Program::Image => (None, None),
    };
    JobRecord {
        job_id: job.id,
        task_id: job.id.number,
        name: job.spec.name.clone(),
        status: job.status,
        reason: job.reason,
        command,
        args,
        image: job.spec.image.clone(),
        tags: job.spec.tags.clone(),
        worker_id: job.worker.clone(),
        attempt: job.attempt,
        account: job.account.to_string(),
        exit_code: job.exit_code,
        error_message: job.error_message.clone(),
        created_at: job.created_at,
        started_at: job.started_at,
        completed_at: job.completed_at,
        stdout_bytes: job.stdout_bytes,
        stderr_bytes: job.stderr_bytes,
        waiting_for: (job.status == Status::Pending).then(|| waiting_for(&job.spec.requires, workers)),
        gpu_ids: job.gpu_ids.clone(),
        priority: job.spec.priority,
        spec: None,
    }
}

/// What watchers are told when a job's status changes.
pub(super) fn job_changed(job: &Job, time: Millis) -> Utf8Bytes {
    let event = JobEvent::Status(StatusEvent {
        job_id: job.id,
        at: None,
        status: job.status,
        attempt: job.attempt,
        worker_id: job.worker.clone(),
        reason: job.reason,
        task_id: Some(job.id.number),
        account: Some(job.account.to_string()),
        name: job.spec.name.clone(),
        exit_code: job.exit_code,
        time,
    });
    encode(&event).into()
}

/// What is live of a worker.
#[derive(Debug, Default)]
pub(super) struct LiveWorker {
    pub(super) running: usize,
    pub(super) usage: Option<Usage>,
    pub(super) connected_at: Option<Millis>,
    pub(super) offline: bool,
}

/// A worker.
pub(super) fn worker(worker: &crate::model::Worker, live: LiveWorker) -> WorkerRecord {
    let status = match live {
        LiveWorker { offline: true, .. } => WorkerStatus::Offline,
        LiveWorker { running: 0, .. } => WorkerStatus::Idle,
        LiveWorker { .. } => WorkerStatus::Busy,
    };
    WorkerRecord {
        worker_id: worker.id.clone(),
        status,
        draining: worker.draining,
        ip: worker.ip,
        sftp: worker.sftp.clone(),
        hostname: worker.hostname.clone(),
        os: worker.os.clone(),
        arch: worker.arch.clone(),
        version: worker.version.clone(),
        cpu_count: worker.cpu_count,
        memory_bytes: worker.memory_bytes,
        disk_bytes: worker.disk_bytes,
        gpus: worker
            .gpus
            .iter()
            .map(|gpu| GpuInfo {
                index: gpu.index,
                name: gpu.name.clone(),
                uuid: gpu.uuid.clone(),
                memory_bytes: gpu.memory_bytes,
            })
            .collect(),
        slots: worker.slots,
        running: u32::try_from(live.running).unwrap_or(u32::MAX),
        labels: worker.labels.clone(),
        usage: live.usage,
        connected_at: live.connected_at,
        last_seen: worker.last_seen,
    }
}
