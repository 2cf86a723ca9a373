//! Containers as clients see them.

use axum::extract::ws::Utf8Bytes;

use super::super::Dispatcher;
use crate::base::clock::Millis;
use crate::model::{Container, Job, Program};
use crate::protocol::codec::encode;
use crate::protocol::container::{ContainerEvent, ContainerRecord, ContainerStatus, ContainerStatusEvent};

impl Dispatcher {
    /// A container's record for clients, from what is kept of it.
    pub(in crate::dispatcher) fn container_record(&self, container: &Container, job: &Job) -> ContainerRecord {
        let status = container.status(job);
        let runs = status == ContainerStatus::Running;
        let spec = &job.spec;
        let (command, args) = match &spec.program {
            Program::Shell(script) => (Some(script.clone()), None),
            Program::Args(args) => (None, Some(args.clone())),
            Program::Image => (None, None),
        };
        #[expect(clippy::cast_precision_loss, reason = "at most 10⁹")]
        let cpus = (spec.requires.milli_cpus > 0).then_some(spec.requires.milli_cpus as f64 / 1000.0);
        ContainerRecord {
            container_id: container.id,
            number: job.id.number,
            name: container.name.clone(),
            account: container.account.to_string(),
            image_id: spec.image.clone().unwrap_or_default(),
            worker_id: container.worker.clone(),
            status,
            reason: job.reason,
            exit_code: job.exit_code,
            error_message: job.error_message.clone(),
            attempt: job.attempt,
            ports: if runs { container.ports.clone() } else { Vec::new() },
            command,
            args,
            gpu_ids: job.gpu_ids.clone(),
            cpus,
            memory_bytes: (spec.requires.memory_bytes > 0).then_some(spec.requires.memory_bytes),
            mounts: spec.service.as_deref().map(|service| service.mounts.clone()).unwrap_or_default(),
            restart: container.restart,
            tty: spec.tty.is_some(),
            sftp: self.0.fleet.known(&container.worker).and_then(|known| known.worker.sftp),
            created_at: job.created_at,
            started_at: job.started_at,
            completed_at: job.completed_at,
        }
    }
}

/// What watchers are told of a change.
pub(super) fn changed(record: ContainerRecord, time: Millis) -> Utf8Bytes {
    let event = ContainerEvent::Status(Box::new(ContainerStatusEvent {
        container_id: record.container_id,
        at: None,
        status: record.status,
        attempt: record.attempt,
        worker_id: Some(record.worker_id.clone()),
        reason: record.reason,
        container: Some(record),
        time,
    }));
    encode(&event).into()
}
