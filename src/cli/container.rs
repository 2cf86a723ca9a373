//! `container`: the words are there, the dispatcher's answer decides.

use super::Context;
use super::args::ContainerCommand;
use super::exit::Status;
use super::failure::Failure;
use crate::client::Client;

pub(super) async fn run(context: &Context, command: ContainerCommand) -> Result<Status, Failure> {
    let verb = match command {
        ContainerCommand::Create(_) => "create",
        ContainerCommand::Ls(_) => "list",
        ContainerCommand::Start(_) => "start",
        ContainerCommand::Stop(_) => "stop",
        ContainerCommand::Restart(_) => "restart",
        ContainerCommand::Rm(_) => "remove",
        ContainerCommand::Attach(_) => "follow",
        ContainerCommand::Stats(_) => "stats",
        ContainerCommand::Exec(_) => "exec",
    };
    Client::connect(&context.client()?).await?.container(verb).await?;
    Err(Failure::failed("this version does not understand the dispatcher's answer about containers"))
}
