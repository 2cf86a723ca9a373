//! `container exec`: a job inside a container, as if it ran here.

use super::super::Context;
use super::super::exit::Status;
use super::super::failure::Failure;
use super::super::run::session::{Feed, Session};
use super::super::run::spec;
use super::super::run::terminal::{self, Signals};
use super::args::ExecArgs;
use crate::client::{Follower, Patience};
use crate::config::Span;
use crate::model::spec::DEFAULT_GRACE;
use crate::protocol::container::Exec;

pub(super) async fn run(context: &Context, args: ExecArgs) -> Result<Status, Failure> {
    // From here on Ctrl-C is ours, so that it can never leave a job behind unnoticed.
    let signals = Signals::listen()?;
    let settings = context.client()?;
    if args.timeout.is_some_and(|Span(limit)| limit.is_zero()) {
        return Err(Failure::usage("--timeout must be more than 0"));
    }
    let feed = Feed::of(args.tty, args.interactive);
    let size = if args.tty { terminal::size() } else { None };
    let (command, argv) = spec::program(&args.command);
    let exec = Exec {
        container_id: Some(args.container),
        args: argv,
        command,
        env: spec::variables(&args.env, |name| std::env::var(name).ok())?,
        cwd: args.cwd,
        stdin: args.interactive || feed != Feed::None,
        tty: spec::tty(args.tty, size),
        timeout_secs: args.timeout.map(|Span(limit)| limit.as_secs_f64()),
        follow: None,
    };
    let patience = Patience { reconnect: args.reconnect_timeout.0, ..Patience::default() };
    let session = Session { settings, json: context.json, feed, size, grace: DEFAULT_GRACE };
    // Nothing runs then, and no program has a status.
    let exec = async { Follower::exec(&session.settings, exec, patience).await.map_err(Failure::from) };
    session.run(exec, signals).await
}
