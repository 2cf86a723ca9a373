//! `container stats`: what containers use, as a table that is drawn anew every second, or one object a report.

use std::io::IsTerminal;
use std::time::Duration;

use comfy_table::Cell;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::super::exit::Status;
use super::super::failure::Failure;
use super::super::{Context, render};
use super::list;
use crate::client::Client;
use crate::protocol::ContainerRef;
use crate::protocol::container::{ContainerRecord, ContainerStatus, ContainerUsage, ListContainers, StatsEvent};

/// How often the table is drawn: as often as there is something new.
const DRAW_EVERY: Duration = Duration::from_secs(1);

/// One row of the table.
struct Row {
    container: ContainerRecord,
    usage: Option<ContainerUsage>,
}

pub(super) async fn run(context: &Context, named: Vec<ContainerRef>) -> Result<Status, Failure> {
    let mut client = Client::connect(&context.client()?).await?;
    let mut rows = Vec::new();
    if named.is_empty() {
        let running = ListContainers { status: Some(ContainerStatus::Running), ..ListContainers::default() };
        rows.extend(list::all(&mut client, running).await?.into_iter().map(Row::of));
    }
    for container in named {
        rows.push(Row::of(client.container(container).await?));
    }
    if rows.is_empty() {
        render::say(context.json, "no container runs");
        return Ok(Status::Success);
    }
    let ids = rows.iter().map(|row| ContainerRef::Id(row.container.container_id)).collect();
    let mut stats = client.stats(ids).await?;
    if context.json {
        loop {
            render::json(&stats.next().await?)?;
        }
    }
    let live = std::io::stdout().is_terminal();
    let mut draw = interval_at(Instant::now() + DRAW_EVERY, DRAW_EVERY);
    draw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = stats.next() => {
                let StatsEvent { container_id, usage, time: _ } = event?;
                if let Some(row) = rows.iter_mut().find(|row| row.container.container_id == container_id) {
                    row.usage = Some(usage);
                }
            }
            _ = draw.tick() => {
                let clear = if live { "\x1b[H\x1b[2J" } else { "" };
                render::raw(format!("{clear}{}\n", picture(&rows)).as_bytes())?;
            }
        }
    }
}

impl Row {
    fn of(container: ContainerRecord) -> Self {
        Self { container, usage: None }
    }
}

fn picture(rows: &[Row]) -> String {
    let rows = rows.iter().map(|Row { container, usage }| {
        let name = container.name.as_deref().unwrap_or_default();
        let mut cells = vec![Cell::new(container.container_id), Cell::new(render::shorten(name, 40))];
        cells.extend(usage.iter().flat_map(|usage| {
            let memory = match usage.memory_limit_bytes {
                0 => render::size(usage.memory_bytes),
                limit => format!("{} of {}", render::size(usage.memory_bytes), render::size(limit)),
            };
            let rates = |inward, outward| format!("{} / {}", render::size(inward), render::size(outward));
            [
                format!("{:.0}%", usage.cpu * 100.0),
                memory,
                rates(usage.network_in_bytes, usage.network_out_bytes),
                rates(usage.disk_read_bytes, usage.disk_write_bytes),
                usage.pids.to_string(),
            ]
            .map(Cell::new)
        }));
        cells
    });
    let headings = ["CONTAINER", "NAME", "CPU", "MEMORY", "NET IN/OUT /s", "DISK R/W /s", "PIDS"];
    render::table(&headings, rows.collect())
}
