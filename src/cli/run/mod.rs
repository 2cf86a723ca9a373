//! `run`: a job as if it ran here.

mod control;
mod input;
mod package;
mod session;
mod spec;
mod terminal;

use std::io::IsTerminal;

use super::args::RunArgs;
use super::exit::Status;
use super::failure::Failure;
use super::{Context, render};
use crate::client::{Client, ClientError, Files, Patience};
use crate::config::ClientSettings;
use crate::protocol::job::{Submit, Submitted};
use crate::protocol::spec::JobSpec;
use session::{Feed, Session};
use terminal::Signals;

/// How long an unreachable dispatcher is tried before 125.
const CONNECT_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) async fn run(context: &Context, args: RunArgs) -> Result<Status, Failure> {
    // From here on Ctrl-C is ours, so that it can never leave a job behind unnoticed.
    let signals = Signals::listen()?;
    let settings = context.client()?;

    // Keys make sense only where someone types them; a pipe is read when it is asked for.
    let typed = args.tty && std::io::stdin().is_terminal();
    let feed = match (typed, args.interactive) {
        _ if args.detach => Feed::None,
        (true, _) => Feed::Keys,
        (false, true) => Feed::Pipe,
        (false, false) => Feed::None,
    };
    let size = if args.tty { terminal::size() } else { None };
    let mut spec = spec::of(&args, size, |name| std::env::var(name).ok())?;
    spec.stdin = spec.stdin || feed != Feed::None;
    if let Some(path) = &args.file {
        let package = package::prepare(path).await?;
        let upload = Files::new(&settings).map_err(|error| Failure::from(error).refused())?;
        let upload =
            upload.upload(package.path(), package.name()).await.map_err(|error| Failure::from(error).refused())?;
        spec.file_url = Some(upload.file_url);
        spec.filename = Some(package.name().to_owned());
    }
    let patience = Patience { connect: CONNECT_WITHIN, reconnect: args.reconnect_timeout.0 };
    if args.detach {
        let submitted = detached(&settings, spec).await.map_err(|error| Failure::from(error).refused())?;
        if context.json {
            render::json(&submitted)?;
        } else {
            render::line(&submitted.job_id.to_string())?;
        }
        return Ok(Status::Success);
    }
    let submit = Submit { spec, ..Submit::default() };
    Session { settings, json: context.json, feed }.run(submit, patience, signals).await
}

/// Submits without following, and for as long as a followed submit would be tried.
async fn detached(settings: &ClientSettings, spec: JobSpec) -> Result<Submitted, ClientError> {
    let submit = Submit { spec, key: Some(uuid::Uuid::new_v4().to_string()), follow: Some(false) };
    crate::client::patiently(CONNECT_WITHIN, || async { Client::connect(settings).await?.submit(submit.clone()).await })
        .await
}
