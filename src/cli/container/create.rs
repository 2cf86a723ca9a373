//! `container create`: flags into a container, and a word on what is waited for.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::ProgressBar;

use super::super::exit::Status;
use super::super::failure::Failure;
use super::super::run::spec;
use super::super::run::terminal::{self, Signals};
use super::super::{Context, render};
use super::args::CreateArgs;
use crate::client::Client;
use crate::protocol::container::Create;
use crate::protocol::spec::Requires;

/// How long nothing is said: longer than a container takes whose image is there.
const QUIET_FOR: Duration = Duration::from_secs(1);

pub(super) async fn run(context: &Context, args: CreateArgs) -> Result<Status, Failure> {
    let size = if args.tty { terminal::size() } else { None };
    let create = of(&args, size, |name| std::env::var(name).ok())?;
    let mut signals = Signals::listen()?;
    let settings = context.client()?;
    // Until here there is nothing to leave behind.
    let mut client = tokio::select! {
        client = Client::connect(&settings) => client?,
        () = signals.stop() => return Ok(Status::Cancelled),
    };
    let spinner = (!context.json && io::stderr().is_terminal()).then(ProgressBar::new_spinner);
    let creating = async {
        let creating = client.create(create);
        tokio::pin!(creating);
        tokio::select! {
            biased;
            created = &mut creating => created,
            () = tokio::time::sleep(QUIET_FOR) => {
                if let Some(spinner) = &spinner {
                    let image = render::shorten(&args.image, 100);
                    spinner.set_message(format!("waits for {image} to be pulled and started"));
                    spinner.enable_steady_tick(Duration::from_millis(100));
                }
                creating.await
            }
        }
    };
    let created = tokio::select! {
        biased;
        created = creating => Some(created),
        () = signals.stop() => None,
    };
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    let Some(created) = created else {
        render::say(context.json, "the container is still being made; gangline container ls shows it");
        return Ok(Status::Cancelled);
    };
    let created = created?;
    if context.json {
        render::json(&created)?;
        return Ok(Status::Success);
    }
    render::line(&created.container_id.to_string())?;
    for port in &created.ports {
        let (inside, protocol) = (port.container, port.protocol.as_str());
        render::say(false, &format!("port {inside}/{protocol} is at {}", super::list::address(port)));
    }
    Ok(Status::Success)
}

/// The container that `args` describe. `size` is the terminal's, `env` looks up a variable here.
fn of(args: &CreateArgs, size: Option<(u16, u16)>, env: impl Fn(&str) -> Option<String>) -> Result<Create, Failure> {
    let (command, argv) = spec::program(&args.command);
    Ok(Create {
        image_id: Some(args.image.clone()),
        name: args.name.clone(),
        ports: args.ports.clone(),
        port: None,
        command,
        args: argv,
        env: spec::variables(&args.env, env)?,
        cpus: args.cpus,
        memory_bytes: args.memory.map(|size| size.0),
        gpus: args.gpus,
        gpu_ids: None,
        mounts: args.mounts.clone(),
        tty: spec::tty(args.tty, size),
        requires: Requires {
            labels: args.labels.iter().map(|label| (label.key.clone(), label.value.clone())).collect(),
            ..Requires::default()
        },
        worker_id: args.worker.clone(),
        restart: args.restart,
        grace_secs: args.grace.map(|grace| grace.0.as_secs_f64()),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::cli::container::args::ContainerCommand;
    use crate::protocol::container::{Mount, Restart};
    use crate::protocol::spec::Tty;

    fn create(args: &[&str]) -> Create {
        let cli = Cli::try_parse_from([&["gangline", "container", "create"], args].concat()).unwrap();
        let Command::Container(command) = cli.command else { panic!("not a container") };
        let ContainerCommand::Create(args) = *command else { panic!("not a create") };
        of(&args, Some((100, 30)), |name| (name == "HERE").then(|| "from here".to_owned())).unwrap()
    }

    #[test]
    fn flags_become_fields_on_either_side_of_the_image() {
        let flags = [
            "--name",
            "web",
            "-p",
            "18080:80",
            "nginx",
            "--port",
            "53/udp",
            "-e",
            "A=b=c",
            "-e",
            "HERE",
            "--cpus",
            "0.5",
            "--memory",
            "512MiB",
            "--mount",
            "conf:/etc/web:ro",
            "--mount",
            "www:/srv",
            "--label",
            "zone=eu",
            "--worker",
            "w",
            "--restart",
            "on-failure",
            "--grace",
            "3s",
            "-t",
        ];
        let create = create(&flags);
        assert_eq!((create.image_id.as_deref(), create.name.as_deref()), (Some("nginx"), Some("web")));
        assert_eq!(create.ports, ["18080:80".parse().unwrap(), "53/udp".parse().unwrap()]);
        assert_eq!((create.env["A"].as_str(), create.env["HERE"].as_str()), ("b=c", "from here"));
        assert_eq!((create.cpus, create.memory_bytes, create.grace_secs), (Some(0.5), Some(512 << 20), Some(3.0)));
        let mount =
            |volume: &str, path: &str, read_only| Mount { volume: volume.to_owned(), path: path.to_owned(), read_only };
        assert_eq!(create.mounts, [mount("conf", "/etc/web", true), mount("www", "/srv", false)]);
        assert_eq!((create.requires.labels["zone"].as_str(), create.restart), ("eu", Restart::OnFailure));
        assert_eq!(create.worker_id, Some("w".parse().unwrap()));
        assert_eq!(create.tty, Tty::Size { cols: 100, rows: 30 });
        assert_eq!((create.command, create.args), (None, None));
    }

    #[test]
    fn what_follows_the_image_is_its_program_as_in_run() {
        let argv = ["busybox", "sh", "-c", "--name"];
        let expected: Vec<String> = argv[1..].iter().map(ToString::to_string).collect();
        assert_eq!(create(&argv).args, Some(expected.clone()));
        assert_eq!(create(&["busybox", "--", "sh", "-c", "--name"]).args, Some(expected));
        assert_eq!(create(&["busybox", "--", "httpd -f -p 80"]).command.as_deref(), Some("httpd -f -p 80"));
    }
}
