//! `run`: a job as if it ran here.

mod control;
pub(super) mod input;
mod keys;
mod package;
pub(super) mod session;
pub(super) mod spec;
pub(super) mod terminal;

use std::io::IsTerminal;
use std::path::Path;

use super::args::RunArgs;
use super::exit::Status;
use super::failure::Failure;
use super::{Context, render};
use crate::client::{Client, ClientError, Files, Follower, Patience, Upload, patiently};
use crate::config::ClientSettings;
use crate::model::spec::DEFAULT_GRACE;
use crate::protocol::job::{Submit, Submitted};
use crate::protocol::spec::JobSpec;
use session::{Feed, Session};
use terminal::Signals;

/// How long an unreachable dispatcher is tried before 125.
const CONNECT_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) async fn run(context: &Context, args: RunArgs) -> Result<Status, Failure> {
    // From here on Ctrl-C is ours, so that it can never leave a job behind unnoticed.
    let mut signals = Signals::listen()?;
    let settings = context.client()?;
    let feed = if args.detach { Feed::None } else { Feed::of(args.tty, args.interactive) };
    let size = if args.tty { terminal::size() } else { None };
    let mut spec = spec::of(&args, size, |name| std::env::var(name).ok())?;
    spec.stdin = spec.stdin || feed != Feed::None;
    if let Some(path) = &args.file {
        let sent = tokio::select! {
            sent = send(&settings, path, context.json) => sent?,
            () = signals.stop() => return Ok(Status::Cancelled),
        };
        (spec.file_url, spec.filename) = (Some(sent.file_url), sent.filename);
    }
    if args.detach {
        let submitted = tokio::select! {
            submitted = detached(&settings, spec) => submitted.map_err(|error| Failure::from(error).refused())?,
            () = signals.stop() => return Ok(Status::Cancelled),
        };
        if context.json {
            render::json(&submitted)?;
        } else {
            render::line(&submitted.job_id.to_string())?;
        }
        return Ok(Status::Success);
    }
    let patience = Patience { connect: CONNECT_WITHIN, reconnect: args.reconnect_timeout.0 };
    let submit = Submit { spec, ..Submit::default() };
    let grace = args.grace.map_or(DEFAULT_GRACE, |grace| grace.0);
    let session = Session { settings, json: context.json, feed, size, grace };
    let submitting = async {
        let submitted = Follower::submit(&session.settings, submit, patience).await;
        submitted.map_err(|error| Failure::from(error).refused())
    };
    session.run(submitting, signals).await
}

/// Sends the ZIP at `path`, or one of the directory there.
async fn send(settings: &ClientSettings, path: &Path, json: bool) -> Result<Upload, Failure> {
    // Whoever is not there now is not packed for.
    patiently(CONNECT_WITHIN, || Client::connect(settings)).await.map_err(|error| Failure::from(error).refused())?;
    let package = package::prepare(path, || {
        if std::io::stderr().is_terminal() {
            render::say(json, &format!("packing {}", path.display()));
        }
    });
    let package = package.await?;
    let files = Files::new(settings).map_err(|error| Failure::from(error).refused())?;
    let sent = files.upload(package.path(), package.name()).await.map_err(|error| Failure::from(error).refused())?;
    Ok(Upload { filename: Some(package.name().to_owned()), ..sent })
}

/// Submits without following, and for as long as a followed submit would be tried.
async fn detached(settings: &ClientSettings, spec: JobSpec) -> Result<Submitted, ClientError> {
    let submit = Submit { spec, key: Some(uuid::Uuid::new_v4().to_string()), follow: Some(false) };
    patiently(CONNECT_WITHIN, || async { Client::connect(settings).await?.submit(submit.clone()).await }).await
}
