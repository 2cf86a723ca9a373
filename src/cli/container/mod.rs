//! `container`: long-lived containers, by their id, number or name.

pub(super) mod args;
mod attach;
mod create;
mod exec;
mod list;
mod stats;

use super::each::each;
use super::exit::Status;
use super::failure::Failure;
use super::{Context, logs};
use crate::client::{Client, ClientError, Follower, Patience};
use crate::protocol::ContainerRef;
use args::{ContainerCommand, Grace, One, Several};

pub(super) async fn run(context: &Context, command: ContainerCommand) -> Result<Status, Failure> {
    match command {
        ContainerCommand::Create(args) => create::run(context, args).await,
        ContainerCommand::Ls(args) => list::run(context, args).await,
        ContainerCommand::Show { one: One { container } } => list::show(context, container).await,
        ContainerCommand::Start { several } => {
            each_of(context, several, async |client, container| client.start_container(container).await).await
        }
        ContainerCommand::Stop { several, grace } => {
            let grace = secs(&grace);
            each_of(context, several, async |client, container| client.stop_container(container, grace).await).await
        }
        ContainerCommand::Restart { several, grace } => {
            let grace = secs(&grace);
            each_of(context, several, async |client, container| client.restart_container(container, grace).await).await
        }
        ContainerCommand::Kill { several } => {
            each_of(context, several, async |client, container| client.kill_container(container).await).await
        }
        ContainerCommand::Rm { several, force: _ } => {
            each_of(context, several, async |client, container| client.remove_container(container).await).await
        }
        ContainerCommand::Logs { one: One { container }, part } => {
            let settings = context.client()?;
            let follower = Follower::console(&settings, &container, part.after, Patience::default()).await?;
            logs::print(context, follower, part).await
        }
        ContainerCommand::Attach(args) => attach::run(context, args).await,
        ContainerCommand::Stats(args) => stats::run(context, args).await,
        ContainerCommand::Exec(args) => exec::run(context, *args).await,
    }
}

fn secs(Grace { grace }: &Grace) -> Option<f64> {
    grace.map(|grace| grace.0.as_secs_f64())
}

async fn each_of(
    context: &Context,
    Several { containers }: Several,
    ask: impl AsyncFn(&mut Client, ContainerRef) -> Result<(), ClientError>,
) -> Result<Status, Failure> {
    each(context, "containerId", containers, ask).await
}
