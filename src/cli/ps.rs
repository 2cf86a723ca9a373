//! `ps`: jobs as a table, newest first, or as they change.

use std::io::IsTerminal;
use std::time::Duration;

use comfy_table::Cell;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until, timeout};

use super::args::PsArgs;
use super::exit::Status as Exit;
use super::failure::Failure;
use super::{Context, render};
use crate::base::clock::Clock;
use crate::client::{Client, WatchEvent};
use crate::protocol::job::{JobRecord, List, Status, StatusEvent};
use crate::protocol::limits::PAGE_MOST;

/// Shortest time between two pictures of a live table: quick for people, gentle to dispatchers.
const REDRAW_EVERY: Duration = Duration::from_millis(250);
/// Longest time, so that ages stay true.
const REDRAW_AT_LEAST: Duration = Duration::from_secs(5);
/// Characters of a command in the table.
const COMMAND_WIDTH: usize = 48;

pub(super) async fn run(context: &Context, args: PsArgs) -> Result<Exit, Failure> {
    let settings = context.client()?;
    let mut client = Client::connect(&settings).await?;
    if !args.watch {
        return show_once(context, &mut client, &args).await;
    }
    // Listening comes first, so that nothing falls between the first picture and the changes.
    let mut watch = Client::connect(&settings).await?.watch().await?;
    if context.json || !std::io::stdout().is_terminal() {
        loop {
            match watch.next().await? {
                WatchEvent::Status(status) if args.status.is_none_or(|wanted| wanted == status.status) => {
                    if context.json { render::json(&status)? } else { render::line(&change(&status))? }
                }
                WatchEvent::Status(_) => (),
                WatchEvent::Lagged => {
                    render::say(context.json, "some changes were left out: this side is too slow");
                }
            }
        }
    }
    loop {
        let drawn = Instant::now();
        let jobs = collect(&mut client, &args).await?;
        render::raw(format!("\x1b[H\x1b[2J{}\n", picture(&jobs)).as_bytes())?;
        if let Ok(event) = timeout(REDRAW_AT_LEAST, watch.next()).await {
            event?;
            sleep_until(drawn + REDRAW_EVERY).await;
            // However many changes came meanwhile, one picture shows them all.
            while let Some(event) = watch.next().now_or_never() {
                event?;
            }
        }
    }
}

async fn show_once(context: &Context, client: &mut Client, args: &PsArgs) -> Result<Exit, Failure> {
    if context.json && args.all {
        // One page at a time, however many jobs there are.
        let mut before = None;
        loop {
            let page =
                client.list(List { status: args.status, limit: Some(PAGE_MOST), before, ..List::default() }).await?;
            render::json_lines(&page.jobs)?;
            match page.next.and_then(|next| next.parse().ok()) {
                Some(next) => before = Some(next),
                None => return Ok(Exit::Success),
            }
        }
    }
    let jobs = collect(client, args).await?;
    if context.json {
        return render::json_lines(&jobs);
    }
    render::line(&picture(&jobs))?;
    Ok(Exit::Success)
}

/// The jobs to show, newest first.
async fn collect(client: &mut Client, args: &PsArgs) -> Result<Vec<JobRecord>, Failure> {
    let mut jobs = Vec::new();
    let mut before = None;
    let limit = if args.all { PAGE_MOST } else { args.limit };
    loop {
        let page = client.list(List { status: args.status, limit: Some(limit), before, ..List::default() }).await?;
        jobs.extend(page.jobs);
        match page.next.and_then(|next| next.parse().ok()) {
            Some(next) if args.all => before = Some(next),
            Some(_) | None => break,
        }
    }
    if !args.all && args.status.is_none() {
        let running = List { status: Some(Status::Running), limit: Some(PAGE_MOST), ..List::default() };
        jobs.extend(client.list(running).await?.jobs);
        jobs.sort_by_key(|job| std::cmp::Reverse(job.task_id));
        jobs.dedup_by_key(|job| job.task_id);
    }
    Ok(jobs)
}

fn picture(jobs: &[JobRecord]) -> String {
    let now = Clock::default().now();
    let rows = jobs.iter().map(|job| {
        let note = match job.status {
            Status::Pending => job.waiting_for.as_deref(),
            Status::Failed => job.error_message.as_deref(),
            Status::Running | Status::Completed | Status::Cancelled => None,
        };
        let what = job.name.clone().unwrap_or_else(|| render::command(job));
        vec![
            Cell::new(job.task_id),
            render::standing(job),
            Cell::new(render::age(now, job.created_at)),
            Cell::new(render::run_time(job)),
            Cell::new(job.worker_id.as_ref().map(ToString::to_string).unwrap_or_default()),
            Cell::new(render::shorten(&what, COMMAND_WIDTH)),
            Cell::new(render::shorten(note.unwrap_or_default(), COMMAND_WIDTH)),
        ]
    });
    render::table(&["JOB", "STATUS", "AGE", "TIME", "WORKER", "WHAT", "NOTE"], rows.collect())
}

fn change(status: &StatusEvent) -> String {
    let code = status.exit_code.map(|code| format!(" ({code})")).unwrap_or_default();
    let worker = status.worker_id.as_ref().map(|worker| format!(" on {worker}")).unwrap_or_default();
    format!("{} {} {}{code}{worker}", render::moment(status.time), status.job_id, render::word(&status.status))
}
