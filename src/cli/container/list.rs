//! `container ls` and `container show`.

use comfy_table::{Cell, Color};

use super::super::exit::Status;
use super::super::failure::Failure;
use super::super::{Context, render};
use super::args::ListArgs;
use crate::base::clock::Clock;
use crate::client::{Client, ClientError};
use crate::protocol::ContainerRef;
use crate::protocol::container::{BoundPort, ContainerRecord, ContainerStatus, ListContainers};
use crate::protocol::job::Reason;
use crate::protocol::limits::PAGE_MOST;

/// Characters of an image's name in the table.
const IMAGE_WIDTH: usize = 40;

pub(super) async fn run(context: &Context, ListArgs { status, worker }: ListArgs) -> Result<Status, Failure> {
    let mut client = Client::connect(&context.client()?).await?;
    let wanted = ListContainers { status, worker_id: worker, ..ListContainers::default() };
    let containers = all(&mut client, wanted).await?;
    if context.json {
        return render::json_lines(&containers);
    }
    let now = Clock::default().now();
    let rows = containers.iter().map(|container| row(container, now)).collect();
    render::line(&render::table(&["ID", "NAME", "IMAGE", "STATUS", "WORKER", "PORTS", "STARTED"], rows))?;
    Ok(Status::Success)
}

/// Every container that `wanted` describes, newest first.
pub(super) async fn all(client: &mut Client, wanted: ListContainers) -> Result<Vec<ContainerRecord>, ClientError> {
    let mut containers = Vec::new();
    let mut before = None;
    loop {
        let page = client.containers(ListContainers { limit: Some(PAGE_MOST), before, ..wanted.clone() }).await?;
        containers.extend(page.containers);
        match page.next.map(|next| next.parse()) {
            Some(Ok(next)) => before = Some(next),
            Some(Err(_)) | None => return Ok(containers),
        }
    }
}

pub(super) async fn show(context: &Context, container: ContainerRef) -> Result<Status, Failure> {
    let container = Client::connect(&context.client()?).await?.container(container).await?;
    if context.json {
        render::json(&container)?;
    } else {
        render::line(&describe(&container))?;
    }
    Ok(Status::Success)
}

/// Where a port is reached: its whole address where that is known.
pub(super) fn address(port: &BoundPort) -> String {
    if port.address.is_empty() { format!("port {} of its worker", port.host) } else { port.address.clone() }
}

fn row(container: &ContainerRecord, now: u64) -> Vec<Cell> {
    let colour = match container.status {
        ContainerStatus::Creating => Color::Yellow,
        ContainerStatus::Running => Color::Cyan,
        ContainerStatus::Stopped => Color::Green,
        ContainerStatus::Failed => Color::Red,
        ContainerStatus::Removed => Color::DarkGrey,
    };
    vec![
        Cell::new(container.container_id),
        Cell::new(render::shorten(container.name.as_deref().unwrap_or_default(), IMAGE_WIDTH)),
        Cell::new(render::shorten(&container.image_id, IMAGE_WIDTH)),
        Cell::new(standing(container)).fg(colour),
        Cell::new(container.worker_id.as_str()),
        Cell::new(ports(container)),
        Cell::new(container.started_at.map(|at| format!("{} ago", render::age(now, at))).unwrap_or_default()),
    ]
}

/// The word for where a container stands, with what is worth knowing beside it.
fn standing(container: &ContainerRecord) -> String {
    let status = render::word(&container.status);
    match (container.status, container.reason, container.exit_code) {
        (ContainerStatus::Failed, Some(Reason::Exit | Reason::Signal), Some(code)) => format!("{status} ({code})"),
        (ContainerStatus::Failed, Some(reason), _) => {
            format!("{status} ({})", render::word(&reason).replace('_', " "))
        }
        (
            ContainerStatus::Creating
            | ContainerStatus::Running
            | ContainerStatus::Stopped
            | ContainerStatus::Failed
            | ContainerStatus::Removed,
            _,
            _,
        ) => status,
    }
}

fn ports(container: &ContainerRecord) -> String {
    let ports: Vec<String> = container
        .ports
        .iter()
        .map(|port| format!("{}->{}/{}", address(port), port.container, port.protocol.as_str()))
        .collect();
    ports.join(", ")
}

fn describe(container: &ContainerRecord) -> String {
    let mut lines = Vec::new();
    let mut say = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:<12} {value}"));
        }
    };
    let words = |text: Option<&str>| render::shorten(text.unwrap_or_default(), 4000);
    let moment = |at: Option<u64>| at.map(render::moment).unwrap_or_default();
    say("container", format!("{} (number {})", container.container_id, container.number));
    say("name", words(container.name.as_deref()));
    say("image", words(Some(&container.image_id)));
    let argv = container.args.as_ref().map(|args| args.join(" "));
    say("command", words(container.command.as_deref().or(argv.as_deref())));
    say("status", render::word(&container.status));
    say("reason", container.reason.map(|reason| render::word(&reason)).unwrap_or_default());
    say("exit code", container.exit_code.map(|code| code.to_string()).unwrap_or_default());
    say("error", words(container.error_message.as_deref()));
    say("account", container.account.clone());
    say("worker", container.worker_id.to_string());
    say("starts", container.attempt.to_string());
    say("ports", ports(container));
    say("processors", container.cpus.map(|cpus| cpus.to_string()).unwrap_or_default());
    say("memory", container.memory_bytes.map(render::size).unwrap_or_default());
    let gpus: Vec<String> = container.gpu_ids.iter().map(u32::to_string).collect();
    say("GPUs", gpus.join(", "));
    let mounts: Vec<String> = container
        .mounts
        .iter()
        .map(|mount| format!("{}:{}{}", mount.volume, mount.path, if mount.read_only { ":ro" } else { "" }))
        .collect();
    say("volumes", words(Some(&mounts.join(", "))));
    say("restart", render::word(&container.restart));
    say("SFTP", container.sftp.clone().unwrap_or_default());
    say("created", moment(Some(container.created_at)));
    say("started", moment(container.started_at));
    say("ended", moment(container.completed_at));
    lines.join("\n")
}
