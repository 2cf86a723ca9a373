//! `container stats`: what containers use, as a table that is drawn anew every second, or one object a report.
//!
//! With names it is about these, whether they run or not, until the last is removed; without, about whatever runs. What is
//! no longer so is not shown as if it were: figures go with the start they are of, with the connection, and with age.

use std::io::{self, IsTerminal};
use std::time::Duration;

use comfy_table::Cell;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::super::exit::Status;
use super::super::failure::Failure;
use super::super::{Context, render};
use super::args::StatsArgs;
use super::list;
use crate::client::{Client, ClientError, Stats, StatsNews, patiently};
use crate::config::ClientSettings;
use crate::protocol::agent::GpuUsage;
use crate::protocol::container::{ContainerRecord, ContainerStatus, ContainerUsage, ListContainers, StatsEvent};
use crate::protocol::{ContainerRef, ErrorCode};

/// How often the table is drawn: as often as there is something new.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// Figures that are older are not shown. A worker is asked again this often, so a new start may be without for so long.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// What stands where there is no figure.
const NOTHING: &str = "–";

pub(super) async fn run(context: &Context, args: StatsArgs) -> Result<Status, Failure> {
    let StatsArgs { containers: mut named, reconnect_timeout } = args;
    let settings = context.client()?;
    let (mut stats, rows) = open(&settings, &named, false).await?;
    let mut shown = Shown { any: named.is_empty(), rows };
    // A name may be another container's later.
    named = shown.rows.iter().map(|row| ContainerRef::Id(row.container.container_id)).collect();
    if shown.rows.is_empty() {
        render::say(context.json, "no container runs; those that start are shown");
    }
    let mut draw = interval_at(Instant::now() + DRAW_EVERY, DRAW_EVERY);
    draw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shown.any || !shown.rows.is_empty() {
        let news = tokio::select! {
            news = stats.next() => news,
            _ = draw.tick(), if !context.json => {
                shown.draw()?;
                continue;
            }
        };
        let heard = match news {
            Ok(StatsNews::Usage(usage)) if context.json => {
                render::json(&usage)?;
                Ok(Heard::All)
            }
            Ok(StatsNews::Usage(usage)) => {
                shown.note_usage(usage);
                Ok(Heard::All)
            }
            Ok(StatsNews::Changed(container)) => {
                let id = container.container_id;
                if shown.note_change(*container) {
                    stats.look_at(id).await.map(|()| Heard::All)
                } else {
                    Ok(Heard::All)
                }
            }
            Ok(StatsNews::Lagged) => Ok(Heard::NotAll),
            Ok(StatsNews::Refused(error)) => {
                // That it is not there any more is told as a change, too.
                if error.code != ErrorCode::NotFound {
                    render::say(context.json, &error.message);
                }
                Ok(Heard::All)
            }
            Err(error) => Err(error),
        };
        let interrupted = match heard {
            Ok(Heard::All) => continue,
            Ok(Heard::NotAll) => false,
            Err(error) if !error.reconnect() => return Err(error.into()),
            Err(error) => {
                shown.forget_usage();
                tell(context, &format!("{error}; trying to come back"));
                true
            }
        };
        let any = shown.any;
        let again =
            patiently(reconnect_timeout.0, || async { open(&settings, if any { &[] } else { &named }, true).await });
        (stats, shown.rows) = again.await?;
        if interrupted {
            tell(context, "back again");
        }
    }
    Ok(Status::Success)
}

/// Whether anything was left out.
enum Heard {
    All,
    NotAll,
}

/// What is only for somebody who looks on.
fn tell(context: &Context, words: &str) {
    if io::stderr().is_terminal() {
        render::say(context.json, words);
    }
}

/// Opens a connection that hears of these containers, or of any that runs, and finds out where they stand. Whether they
/// `may_be_gone`: left out then.
async fn open(
    settings: &ClientSettings,
    named: &[ContainerRef],
    may_be_gone: bool,
) -> Result<(Stats, Vec<Row>), ClientError> {
    // Listening comes first, so that nothing falls between the records and the changes.
    let mut stats = Client::connect(settings).await?.stats().await?;
    let mut client = Client::connect(settings).await?;
    let mut rows: Vec<Row> = Vec::new();
    if named.is_empty() {
        let running = ListContainers { status: Some(ContainerStatus::Running), ..ListContainers::default() };
        rows.extend(list::all(&mut client, running).await?.into_iter().map(Row::of));
    }
    for container in named {
        match client.container(container.clone()).await {
            Ok(record) if rows.iter().any(|row| row.container.container_id == record.container_id) => (),
            Ok(record) => rows.push(Row::of(record)),
            Err(ClientError::Refused(error)) if may_be_gone && error.code == ErrorCode::NotFound => (),
            Err(error) => return Err(error),
        }
    }
    client.close().await;
    for row in &rows {
        stats.look_at(row.container.container_id).await?;
    }
    Ok((stats, rows))
}

/// The table.
struct Shown {
    /// It is about whatever runs.
    any: bool,
    rows: Vec<Row>,
}

/// One row of it.
struct Row {
    container: ContainerRecord,
    usage: Option<(Instant, ContainerUsage)>,
}

impl Shown {
    fn note_usage(&mut self, StatsEvent { container_id, usage, time: _ }: StatsEvent) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.container.container_id == container_id) {
            row.usage = Some((Instant::now(), usage));
        }
    }

    /// Takes over where a container stands now. Whether it is new here.
    fn note_change(&mut self, container: ContainerRecord) -> bool {
        let stays = match container.status {
            ContainerStatus::Running => true,
            ContainerStatus::Creating | ContainerStatus::Stopped | ContainerStatus::Failed => !self.any,
            ContainerStatus::Removed => false,
        };
        let at = self.rows.iter().position(|row| row.container.container_id == container.container_id);
        match at {
            Some(at) if !stays => {
                self.rows.remove(at);
                false
            }
            Some(at) => {
                let row = &mut self.rows[at];
                // What another start used is not what this one does.
                row.usage.take_if(|_| row.container.attempt != container.attempt);
                row.container = container;
                false
            }
            None if self.any && stays => {
                // Newest first, as they were listed.
                let at = self.rows.partition_point(|row| row.container.number > container.number);
                self.rows.insert(at, Row::of(container));
                true
            }
            None => false,
        }
    }

    fn forget_usage(&mut self) {
        for row in &mut self.rows {
            row.usage = None;
        }
    }

    fn draw(&self) -> io::Result<()> {
        let clear = if io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        render::raw(format!("{clear}{}\n", picture(&self.rows)).as_bytes())
    }
}

impl Row {
    fn of(container: ContainerRecord) -> Self {
        Self { container, usage: None }
    }

    /// What it uses now, as far as is known.
    fn usage(&self) -> Option<&ContainerUsage> {
        let (at, usage) = self.usage.as_ref()?;
        (self.container.status == ContainerStatus::Running && at.elapsed() < FRESH_FOR).then_some(usage)
    }

    fn cells(&self, with_gpus: bool) -> Vec<Cell> {
        let name = self.container.name.as_deref().unwrap_or_default();
        let mut cells = vec![self.container.container_id.to_string(), render::shorten(name, 40)];
        match self.usage() {
            Some(usage) => cells.extend(figures(usage)),
            None => {
                let standing = match self.container.status {
                    ContainerStatus::Running => NOTHING.to_owned(),
                    other => render::word(&other),
                };
                cells.extend([standing].into_iter().chain([NOTHING; 4].map(str::to_owned)));
            }
        }
        if with_gpus {
            cells.push(self.usage().map_or_else(|| NOTHING.to_owned(), |usage| gpus(&usage.gpus)));
        }
        cells.into_iter().map(Cell::new).collect()
    }
}

fn picture(rows: &[Row]) -> String {
    let mut headings = vec!["CONTAINER", "NAME", "CPU", "MEMORY", "NET IN/OUT /s", "DISK R/W /s", "PIDS"];
    let with_gpus = rows.iter().any(|row| !row.container.gpu_ids.is_empty());
    if with_gpus {
        headings.push("GPUS");
    }
    render::table(&headings, rows.iter().map(|row| row.cells(with_gpus)).collect())
}

fn figures(usage: &ContainerUsage) -> [String; 5] {
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
}

/// How busy each is, and how much of its memory is in use.
fn gpus(gpus: &[GpuUsage]) -> String {
    let each =
        |gpu: &GpuUsage| format!("{}: {:.0}% {}", gpu.index, gpu.utilization * 100.0, render::size(gpu.memory_bytes));
    if gpus.is_empty() { NOTHING.to_owned() } else { gpus.iter().map(each).collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(number: u64, status: &str, more: &Value) -> ContainerRecord {
        let mut record = json!({
            "containerId": format!("ctr-{number}-c51f0c33"), "number": number, "name": format!("c{number}"),
            "account": "ada", "imageId": "web", "workerId": "w", "status": status, "reason": null, "exitCode": null,
            "errorMessage": null, "attempt": 1, "ports": [], "gpuIds": [], "cpus": null, "memoryBytes": null,
            "mounts": [], "restart": "no", "tty": false, "createdAt": 1, "startedAt": null, "completedAt": null,
        });
        for (key, value) in more.as_object().unwrap() {
            record[key] = value.clone();
        }
        serde_json::from_value(record).unwrap()
    }

    fn shown(any: bool, numbers: &[u64]) -> Shown {
        let rows = numbers.iter().map(|number| Row::of(container(*number, "running", &json!({})))).collect();
        Shown { any, rows }
    }

    fn uses(shown: &mut Shown, number: u64, usage: ContainerUsage) {
        let container_id = format!("ctr-{number}-c51f0c33").parse().unwrap();
        shown.note_usage(StatsEvent { container_id, usage, time: 1 });
    }

    /// The rows, without where there are how many blanks.
    fn lines(shown: &Shown) -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        picture(&shown.rows).lines().skip(1).map(words).collect()
    }

    const ONE: ContainerUsage = ContainerUsage {
        cpu: 0.5,
        memory_bytes: 1024,
        memory_limit_bytes: 0,
        network_in_bytes: 1,
        network_out_bytes: 2,
        disk_read_bytes: 3,
        disk_write_bytes: 4,
        pids: 5,
        gpus: Vec::new(),
    };

    #[test]
    fn what_is_named_is_shown_as_it_stands_until_it_is_removed() {
        let mut shown = shown(false, &[1, 2]);
        uses(&mut shown, 1, ONE);
        let running = "ctr-1-c51f0c33 c1 50% 1.0 KiB 1 B / 2 B 3 B / 4 B 5";
        assert_eq!(lines(&shown), [running, "ctr-2-c51f0c33 c2 – – – – –"]);
        assert!(!shown.note_change(container(1, "stopped", &json!({}))));
        uses(&mut shown, 1, ONE);
        assert_eq!(lines(&shown)[0], "ctr-1-c51f0c33 c1 stopped – – – –", "what was on its way when it stopped");
        shown.note_change(container(1, "running", &json!({"attempt": 2})));
        assert_eq!(lines(&shown)[0], "ctr-1-c51f0c33 c1 – – – – –", "nothing of the start before");
        assert!(!shown.note_change(container(3, "running", &json!({}))), "nobody asked for it");
        shown.note_change(container(1, "removed", &json!({})));
        shown.note_change(container(2, "removed", &json!({})));
        assert!(shown.rows.is_empty());
    }

    #[test]
    fn without_names_it_is_what_runs() {
        let mut shown = shown(true, &[4, 2]);
        assert!(shown.note_change(container(3, "running", &json!({}))), "it is to be looked at");
        assert!(!shown.note_change(container(3, "running", &json!({}))));
        assert!(!shown.note_change(container(5, "creating", &json!({}))));
        shown.note_change(container(4, "failed", &json!({})));
        let ids: Vec<u64> = shown.rows.iter().map(|row| row.container.number).collect();
        assert_eq!(ids, [3, 2]);
    }

    #[test]
    fn gpus_have_a_column_where_there_are_any() {
        let mut shown = shown(false, &[1]);
        assert!(!picture(&shown.rows).contains("GPUS"));
        shown.rows.push(Row::of(container(2, "running", &json!({"gpuIds": [3, 4]}))));
        let gpu = |index, utilization| GpuUsage { index, utilization, memory_bytes: 12 << 30, ..GpuUsage::default() };
        uses(&mut shown, 2, ContainerUsage { gpus: vec![gpu(3, 0.97), gpu(4, 0.0)], ..ONE });
        assert!(picture(&shown.rows).lines().next().unwrap().ends_with("PIDS  GPUS"));
        assert!(lines(&shown)[0].ends_with(" – –"), "{:?}", lines(&shown));
        assert!(lines(&shown)[1].ends_with("5 3: 97% 12 GiB, 4: 0% 12 GiB"), "{:?}", lines(&shown));
    }

    #[test]
    fn figures_that_are_old_are_not_shown() {
        let mut shown = shown(false, &[1]);
        shown.rows[0].usage = Some((Instant::now().checked_sub(FRESH_FOR).unwrap(), ONE));
        assert_eq!(lines(&shown), ["ctr-1-c51f0c33 c1 – – – – –"]);
        uses(&mut shown, 1, ONE);
        shown.forget_usage();
        assert_eq!(lines(&shown), ["ctr-1-c51f0c33 c1 – – – – –"]);
    }
}
