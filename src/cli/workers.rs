//! `workers`, `drain`, `undrain`.

use comfy_table::{Cell, Color};

use super::exit::Status;
use super::failure::Failure;
use super::{Context, render};
use crate::base::clock::Clock;
use crate::client::Client;
use crate::protocol::WorkerId;
use crate::protocol::agent::Usage;
use crate::protocol::worker::{ListWorkers, WorkerRecord, WorkerStatus};

/// Workers asked for at a time: the most that a page holds.
const PAGE: u32 = crate::protocol::limits::PAGE_MOST;

pub(super) async fn list(context: &Context) -> Result<Status, Failure> {
    let mut client = Client::connect(&context.client()?).await?;
    let mut workers = Vec::new();
    let mut before = None;
    loop {
        let page = client.workers(ListWorkers { limit: Some(PAGE), before }).await?;
        workers.extend(page.workers);
        match page.next.map(|next| next.parse()) {
            Some(Ok(next)) => before = Some(next),
            Some(Err(_)) | None => break,
        }
    }
    if context.json {
        return render::json_lines(&workers);
    }
    let now = Clock::default().now();
    let rows = workers.iter().map(|worker| row(worker, now)).collect();
    render::line(&render::table(&["WORKER", "STATUS", "JOBS", "CPUS", "MEMORY", "GPUS", "LABELS", "SEEN"], rows))?;
    Ok(Status::Success)
}

fn row(worker: &WorkerRecord, now: u64) -> Vec<Cell> {
    let (mut status, colour) = match worker.status {
        WorkerStatus::Idle => ("idle".to_owned(), Color::Green),
        WorkerStatus::Busy => ("busy".to_owned(), Color::Cyan),
        WorkerStatus::Offline => ("offline".to_owned(), Color::Red),
    };
    if worker.draining {
        status.push_str(", draining");
    }
    let labels: Vec<String> = worker.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    vec![
        Cell::new(worker.worker_id.as_str()),
        Cell::new(status).fg(colour),
        Cell::new(format!("{}/{}", worker.running, worker.slots)),
        Cell::new(processors(worker)),
        Cell::new(memory(worker)),
        Cell::new(gpus(worker)),
        Cell::new(render::shorten(&labels.join(","), 40)),
        Cell::new(format!("{} ago", render::age(now, worker.last_seen))),
    ]
}

/// What a worker uses of what it has; that alone where it has not said what it uses, or is away.
fn used(worker: &WorkerRecord) -> Option<&Usage> {
    match worker.status {
        WorkerStatus::Idle | WorkerStatus::Busy => worker.usage.as_ref(),
        WorkerStatus::Offline => None,
    }
}

fn processors(worker: &WorkerRecord) -> String {
    match used(worker) {
        Some(usage) => format!("{:.0}% of {}", usage.cpu * 100.0, worker.cpu_count),
        None => worker.cpu_count.to_string(),
    }
}

fn memory(worker: &WorkerRecord) -> String {
    match used(worker) {
        Some(usage) => format!("{} of {}", render::size(usage.memory_bytes), render::size(worker.memory_bytes)),
        None => render::size(worker.memory_bytes),
    }
}

/// How many there are, and how busy each is.
fn gpus(worker: &WorkerRecord) -> String {
    let count = worker.gpus.len().to_string();
    let usage = used(worker).map(|usage| usage.gpus.as_slice()).unwrap_or_default();
    let shares: Vec<String> = usage.iter().map(|gpu| format!("{:.0}%", gpu.utilization * 100.0)).collect();
    if shares.is_empty() { count } else { format!("{count} ({})", shares.join(" ")) }
}

pub(super) async fn drain(context: &Context, worker: WorkerId) -> Result<Status, Failure> {
    Client::connect(&context.client()?).await?.drain(worker.clone()).await?;
    render::done(context.json, "workerId", worker.as_str())?;
    Ok(Status::Success)
}

pub(super) async fn undrain(context: &Context, worker: WorkerId) -> Result<Status, Failure> {
    Client::connect(&context.client()?).await?.undrain(worker.clone()).await?;
    render::done(context.json, "workerId", worker.as_str())?;
    Ok(Status::Success)
}
