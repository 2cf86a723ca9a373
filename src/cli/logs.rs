//! `logs`: a job's or a container's output, up to now or to its end.

use super::args::{LogPart, LogsArgs};
use super::exit::Status;
use super::failure::Failure;
use super::follow::{LastLines, View};
use super::printer::Printer;
use super::{Context, render};
use crate::client::{FollowEvent, Follower, Patience};
use crate::protocol::Cursor;

pub(super) async fn run(context: &Context, args: LogsArgs) -> Result<Status, Failure> {
    let LogsArgs { job, part } = args;
    let follower = Follower::follow(&context.client()?, job, part.after, Patience::default()).await?;
    print(context, follower, part).await
}

/// Prints a log that was opened after `part.after`.
pub(super) async fn print(context: &Context, mut follower: Follower, part: LogPart) -> Result<Status, Failure> {
    let view = View { json: context.json, stdout: !part.stderr, stderr: !part.stdout };
    let job = follower.job_id();
    // What there is now ends here; what comes after it is news.
    let (from, top) = follower.opened().map_or((Cursor::START, Cursor::START), |opened| (opened.from, opened.top));
    if from > top {
        // Nothing is wrong with it, but a slip of the finger looks like a job that wrote nothing.
        render::say(
            context.json,
            &format!("{from} lies past the newest entry, {top}: only what comes after it is shown"),
        );
    }
    let mut old = part.tail.map(LastLines::new);
    let printer = Printer::start()?;
    let mut caught_up = from >= top;
    let failed = loop {
        if caught_up {
            for event in old.take().into_iter().flat_map(LastLines::into_events) {
                if let Some((target, bytes)) = view.show(job, event) {
                    printer.print(target, bytes).await;
                }
            }
            if !part.follow {
                break None;
            }
        }
        // A reader that went away shows here, and in what `finish` says.
        if printer.is_over() {
            break None;
        }
        let event = match follower.next().await {
            Ok(Some(event)) => event,
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        caught_up = match &event {
            FollowEvent::Entry(entry) => entry.at >= top,
            FollowEvent::Truncated { to, .. } => *to >= top,
            FollowEvent::Live(_) => true,
            FollowEvent::Interrupted { .. } | FollowEvent::Resumed => caught_up,
        };
        match (&mut old, &event) {
            (Some(old), FollowEvent::Entry(_) | FollowEvent::Truncated { .. } | FollowEvent::Live(_)) => {
                if view.wants(&event) {
                    old.push(event);
                }
            }
            (Some(_), FollowEvent::Interrupted { .. } | FollowEvent::Resumed) | (None, _) => {
                if let Some((target, bytes)) = view.show(job, event) {
                    printer.print(target, bytes).await;
                }
            }
        }
    };
    printer.finish().await?;
    if let Some(error) = failed {
        return Err(Failure::from(error).with_status(Status::Failure));
    }
    follower.close().await;
    Ok(Status::Success)
}
