//! `container`: long-lived containers, by their id, number or name.

pub(super) mod args;
mod attach;
mod create;
mod exec;
mod list;
mod stats;

use super::exit::Status;
use super::failure::Failure;
use super::{Context, logs, render};
use crate::client::{Client, ClientError, Follower, Patience};
use crate::protocol::ContainerRef;
use args::{ContainerCommand, Grace, One, Several};

pub(super) async fn run(context: &Context, command: ContainerCommand) -> Result<Status, Failure> {
    match command {
        ContainerCommand::Create(args) => create::run(context, args).await,
        ContainerCommand::Ls(args) => list::run(context, args).await,
        ContainerCommand::Show { one: One { container } } => list::show(context, container).await,
        ContainerCommand::Start { several } => {
            each(context, several, async |client, container| client.start_container(container).await).await
        }
        ContainerCommand::Stop { several, grace } => {
            let grace = secs(&grace);
            each(context, several, async |client, container| client.stop_container(container, grace).await).await
        }
        ContainerCommand::Restart { several, grace } => {
            let grace = secs(&grace);
            each(context, several, async |client, container| client.restart_container(container, grace).await).await
        }
        ContainerCommand::Kill { several } => {
            each(context, several, async |client, container| client.kill_container(container).await).await
        }
        ContainerCommand::Rm { several, force: _ } => {
            each(context, several, async |client, container| client.remove_container(container).await).await
        }
        ContainerCommand::Logs { one: One { container }, part } => {
            let settings = context.client()?;
            let follower = Follower::console(&settings, &container, part.after, Patience::default()).await?;
            logs::print(context, follower, part).await
        }
        ContainerCommand::Attach(args) => attach::run(context, args).await,
        ContainerCommand::Stats { containers } => stats::run(context, containers).await,
        ContainerCommand::Exec(args) => exec::run(context, *args).await,
    }
}

fn secs(Grace { grace }: &Grace) -> Option<f64> {
    grace.map(|grace| grace.0.as_secs_f64())
}

/// Asks the same of one container after the other, up to the first that is refused.
async fn each(
    context: &Context,
    Several { containers }: Several,
    ask: impl AsyncFn(&mut Client, ContainerRef) -> Result<(), ClientError>,
) -> Result<Status, Failure> {
    let mut client = Client::connect(&context.client()?).await?;
    for container in containers {
        ask(&mut client, container.clone()).await?;
        render::done(context.json, "containerId", &container.to_string())?;
    }
    Ok(Status::Success)
}
