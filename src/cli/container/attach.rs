//! `container attach`: a container's console, as if it ran here, until it ends or somebody leaves it.

use std::io::{self, IsTerminal};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::super::exit::Status;
use super::super::failure::Failure;
use super::super::follow::{LastLines, View};
use super::super::printer::Printer;
use super::super::run::input::{self, Until};
use super::super::run::terminal::{self, Asked, RawTerminal, Signals};
use super::super::{Context, render};
use super::args::AttachArgs;
use crate::client::{Client, ClientError, FollowEvent, Follower, Patience};
use crate::config::ClientSettings;
use crate::model::{Entry, EntryKind};
use crate::protocol::container::{ContainerRecord, ContainerStatus};
use crate::protocol::{After, ContainerId, ContainerRef, Cursor, ErrorCode, WireError};

/// Lines of what was there before that are shown first.
const SCROLLBACK_LINES: u64 = 10;
/// Entries that are looked through for them: a program that writes line by line makes one of each.
const SCROLLBACK_ENTRIES: u64 = 64;

/// How it came to its end.
enum Ending {
    /// The container's start is over; what there is to say about it.
    Container(Status, Option<String>),
    /// The keys to leave were typed.
    Detached,
    /// A signal, or the terminal is gone.
    Left,
    /// Nobody reads stdout any more, or it cannot be written.
    Printer,
    /// The log broke off.
    Log(Failure),
}

pub(super) async fn run(context: &Context, args: AttachArgs) -> Result<Status, Failure> {
    let mut signals = Signals::listen()?;
    let settings = context.client()?;
    let patience = Patience { reconnect: args.reconnect_timeout.0, ..Patience::default() };
    let opened = async {
        let record = running(&settings, args.container).await?;
        let (follower, old) = open(&settings, &record, patience).await?;
        Ok::<_, ClientError>((record, follower, old))
    };
    let (record, mut follower, old) = tokio::select! {
        opened = opened => opened?,
        () = signals.stop() => return Ok(Status::Cancelled),
    };
    let container = record.container_id;
    let printer = Printer::start()?;
    let view = View { json: context.json, stdout: true, stderr: true };
    // All of them end with this function.
    let mut tasks = JoinSet::new();
    let typed = record.tty && !args.no_stdin && io::stdin().is_terminal();
    let raw = if typed { Some(RawTerminal::enter()?) } else { None };
    let (detach, mut detached) = oneshot::channel();
    if !args.no_stdin {
        let until = if typed { Until::Detached(detach) } else { Until::Away };
        tasks.spawn(input::pump(settings.clone(), container.job(), until, context.json));
    }
    let (resized, sizes) = watch::channel(terminal::size());
    if record.tty {
        tasks.spawn(resize(settings, container, sizes));
    }

    let mut end = None;
    let mut old = old.map(|top| (LastLines::new(SCROLLBACK_LINES), top));
    let ending = loop {
        if let Some(ending) = end.take() {
            break ending;
        }
        tokio::select! {
            biased;
            asked = signals.next() => match asked {
                Asked::Resize => {
                    resized.send_replace(terminal::size());
                }
                Asked::Stop | Asked::Leave => break Ending::Left,
            },
            Ok(()) = &mut detached, if typed => break Ending::Detached,
            () = printer.over() => break Ending::Printer,
            // The next frame is read only once there is room for it.
            event = async {
                let room = printer.ready().await?;
                Some((room, follower.next().await))
            } => {
                let (room, event) = match event {
                    Some((room, Ok(Some(event)))) => (room, event),
                    Some((_, Ok(None))) => break Ending::Log(Failure::failed("the console ended without an end")),
                    Some((_, Err(error))) => break Ending::Log(error.into()),
                    None => break Ending::Printer,
                };
                end = ended(&event, &record);
                match &mut old {
                    None => {
                        if let Some(piece) = view.show(container.job(), event) {
                            room.send(piece);
                        }
                    }
                    Some((lines, top)) => {
                        let caught_up = end.is_some() || reaches(&event, *top);
                        lines.push(event);
                        if caught_up && let Some((lines, _)) = old.take() {
                            drop(room);
                            for event in lines.into_events() {
                                if let Some((target, bytes)) = view.show(container.job(), event) {
                                    let bytes = if typed { without_questions(&bytes) } else { bytes };
                                    printer.print(target, bytes).await;
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    let status = finish(context, ending, follower, printer, &record).await;
    // The terminal stays as it is until the last byte of the program is on it.
    drop(raw);
    status
}

/// The container's record, where there is something to attach to.
async fn running(settings: &ClientSettings, container: ContainerRef) -> Result<ContainerRecord, ClientError> {
    let mut client = Client::connect(settings).await?;
    let record = client.container(container.clone()).await?;
    client.close().await;
    match record.status {
        ContainerStatus::Creating | ContainerStatus::Running => Ok(record),
        ContainerStatus::Stopped | ContainerStatus::Failed | ContainerStatus::Removed => {
            let words = format!("{container} does not run: gangline container logs {container} shows what it wrote");
            Err(WireError::new(ErrorCode::Conflict, words).into())
        }
    }
}

/// Opens the console a little before its end, and says up to which entry it is scrollback.
async fn open(
    settings: &ClientSettings,
    record: &ContainerRecord,
    patience: Patience,
) -> Result<(Follower, Option<Cursor>), ClientError> {
    let container = ContainerRef::Id(record.container_id);
    let follower = Follower::console(settings, &container, After::Tail, patience).await?;
    let top = follower.opened().map_or(Cursor::START, |opened| opened.top);
    // Of an earlier start nothing is shown: it is another program.
    if top.attempt < record.attempt || top.n == 0 {
        return Ok((follower, None));
    }
    follower.close().await;
    let after = Cursor::new(top.attempt, top.n.saturating_sub(SCROLLBACK_ENTRIES));
    let follower = Follower::console(settings, &container, After::At(after), patience).await?;
    Ok((follower, Some(top)))
}

/// What a terminal was once asked must not be asked again: it would answer, as if somebody had typed that. Such questions
/// (where is the cursor, what are you) are control sequences that end in `n` or `c`.
fn without_questions(bytes: &[u8]) -> Bytes {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(begin) = rest.windows(2).position(|two| two == b"\x1b[") {
        let sequence = &rest[begin + 2..];
        let Some(end) = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte)) else { break };
        let asks = matches!(sequence[end], b'n' | b'c');
        kept.extend_from_slice(&rest[..if asks { begin } else { begin + 3 + end }]);
        rest = &sequence[end + 1..];
    }
    kept.extend_from_slice(rest);
    kept.into()
}

/// Whether everything up to `top` has come with this.
fn reaches(event: &FollowEvent, top: Cursor) -> bool {
    match event {
        FollowEvent::Entry(entry) => entry.at >= top,
        FollowEvent::Truncated { to, .. } => *to >= top,
        FollowEvent::Live(_) => true,
        FollowEvent::Interrupted { .. } | FollowEvent::Resumed => false,
    }
}

/// How it ends, where this is the end of the start that is attached to, or of a later one.
fn ended(event: &FollowEvent, record: &ContainerRecord) -> Option<Ending> {
    let FollowEvent::Entry(Entry { at, kind: EntryKind::End { reason, exit_code, message, .. }, .. }) = event else {
        return None;
    };
    (at.attempt >= record.attempt).then(|| Ending::Container(Status::of_job(*reason, *exit_code), message.clone()))
}

async fn finish(
    context: &Context,
    ending: Ending,
    follower: Follower,
    printer: Printer,
    record: &ContainerRecord,
) -> Result<Status, Failure> {
    let name = record.name.clone().unwrap_or_else(|| record.container_id.to_string());
    let goes_on = || render::say(context.json, &format!("{name} goes on; gangline container attach {name} comes back"));
    match ending {
        Ending::Container(status, words) => {
            follower.close().await;
            match printer.finish().await {
                Ok(()) => (),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Status::BrokenPipe),
                Err(error) => return Err(Failure::from(error).refused()),
            }
            if let Some(words) = words
                && !context.json
            {
                render::say(false, &words);
            }
            Ok(status)
        }
        Ending::Detached => {
            // What has come is written before the prompt is back.
            printer.finish().await?;
            goes_on();
            Ok(Status::Success)
        }
        Ending::Left => {
            goes_on();
            Ok(Status::Cancelled)
        }
        // The container is nobody's child here: it goes on without its reader.
        Ending::Printer => match printer.finish().await.err() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::from(error).refused()),
            Some(_) | None => Ok(Status::BrokenPipe),
        },
        Ending::Log(failure) => {
            let _ = printer.finish().await;
            Err(failure)
        }
    }
}

/// Gives the container's terminal the size of the one here, and again when that changes.
async fn resize(settings: ClientSettings, container: ContainerId, mut sizes: watch::Receiver<Option<(u16, u16)>>) {
    let mut client = None;
    loop {
        let size = *sizes.borrow_and_update();
        if let Some((cols, rows)) = size {
            // Should it fail, the next change of size brings the terminal right again.
            if client.is_none() {
                client = Client::connect(&settings).await.ok();
            }
            if let Some(connected) = &mut client
                && let Err(error) = connected.console_resize(ContainerRef::Id(container), cols, rows).await
                && !matches!(error, ClientError::Refused(_))
            {
                client = None;
            }
        }
        if sizes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_asked_again_what_it_once_was() {
        assert_eq!(
            without_questions(b"~ # \x1b[6n\x1b[J\x1b[1;31mred\x1b[0c.\x1b[>c"),
            &b"~ # \x1b[J\x1b[1;31mred."[..]
        );
        assert_eq!(without_questions(b"plain \x1b not\x1b[1;"), &b"plain \x1b not\x1b[1;"[..]);
    }
}
