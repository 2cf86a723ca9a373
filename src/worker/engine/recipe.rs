//! What a container is made of, and what it may do: a job's spec and the worker's settings, in the engine's words.
//!
//! Pure. Guards: a job's container has no privileges, cannot gain any, sees no network, and writes to its workspace and
//! `/tmp` alone, unless the worker's settings say otherwise; what the job says cannot change that.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, DeviceRequest, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding, PortMap,
};
use nix::unistd::{Gid, Uid};

use super::{Engine, Kind, Labels, log};
use crate::config::ContainerSettings;
use crate::model::{JobSpec, Program};
use crate::protocol::container::BoundPort;
use crate::protocol::container::spec::{Port, Service};
use crate::protocol::{Attempt, ContainerId, JobId};

/// The network of which nothing is reached.
pub(crate) const NO_NETWORK: &str = "none";
/// The machine's own network, where nothing is published.
pub(crate) const HOST_NETWORK: &str = "host";

/// Where a job finds its workspace.
pub(crate) const WORKSPACE: &str = "/workspace";

/// Where a container that is no job finds its data directory.
const DATA: &str = "/data";

/// Tells the engine's init process to pass signals on to the program's whole group.
const KILL_GROUP: &str = "TINI_KILL_PROCESS_GROUP=1";

/// What programs of a terminal's age expect, where neither the job nor the image says otherwise.
pub(super) const TERM: &str = "xterm-256color";

/// Sizes of a job's memory and processors are in other units: a billionth of a processor.
const NANO_PER_MILLI: u64 = 1_000_000;

/// Least memory that engines accept.
const LEAST_MEMORY: u64 = 6 * 1024 * 1024;

/// What a container of a job is made from.
#[derive(Debug)]
pub(crate) struct JobRecipe<'a> {
    pub(crate) job: JobId,
    pub(crate) attempt: Attempt,
    pub(crate) spec: &'a JobSpec,
    pub(crate) image: &'a str,
    /// Of this machine.
    pub(crate) workspace: &'a Path,
    /// Where in it to run, relative to it.
    pub(crate) cwd: &'a Path,
    /// Set beside the image's own.
    pub(crate) env: Vec<String>,
    /// Device ids of the GPUs to hand in.
    pub(crate) gpus: Vec<String>,
    pub(crate) labels: Labels<'a>,
    pub(crate) settings: &'a ContainerSettings,
}

impl JobRecipe<'_> {
    /// The container's name: one attempt has one container.
    pub(crate) fn name(&self) -> String {
        format!("gangline-{}-{}", self.job, self.attempt)
    }

    /// In the engine's words.
    pub(crate) fn body(&self, engine: &Engine) -> ContainerCreateBody {
        let Self { job, attempt, spec, image, workspace, cwd, env, gpus, labels, settings } = self;
        let (entrypoint, cmd) = program(&spec.program, spec.tty.filter(|_| !engine.sizes_terminals));
        let mut env = env.clone();
        if spec.tty.is_some() && !spec.env.contains_key("TERM") {
            env.push(format!("TERM={TERM}"));
        }
        if engine.has_init {
            // SIGTERM then reaches the program's whole group, as it does outside containers.
            env.push(KILL_GROUP.to_owned());
        }
        // An image's own command knows where it must run.
        let in_workspace = spec.cwd.is_some() || spec.program != Program::Image;
        ContainerCreateBody {
            image: Some((*image).to_owned()),
            entrypoint,
            cmd,
            env: Some(env),
            working_dir: in_workspace.then(|| Path::new(WORKSPACE).join(cwd).display().to_string()),
            // Root of a rootless engine is the agent's own user.
            user: Some(if engine.rootless {
                "0:0".to_owned()
            } else {
                format!("{}:{}", Uid::current(), Gid::current())
            }),
            tty: Some(spec.tty.is_some()),
            open_stdin: Some(spec.stdin || spec.tty.is_some()),
            stdin_once: Some(true),
            attach_stdin: Some(spec.stdin || spec.tty.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            labels: Some(labels.of(Kind::Job, &job.to_string(), *attempt)),
            host_config: Some(HostConfig {
                mounts: Some(vec![bind(workspace, WORKSPACE, false)]),
                network_mode: Some(settings.network.clone()),
                readonly_rootfs: Some(settings.read_only),
                tmpfs: settings.read_only.then(|| HashMap::from([("/tmp".to_owned(), "mode=1777,exec".to_owned())])),
                privileged: Some(settings.privileged),
                cap_drop: Some(vec!["ALL".to_owned()]),
                cap_add: Some(settings.capabilities.clone()),
                console_size: spec
                    .tty
                    .filter(|_| engine.sizes_terminals)
                    .map(|(cols, rows)| vec![rows.into(), cols.into()]),
                // The output is stored elsewhere, and a copy of it would only fill the disk.
                log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
                ..common(engine, settings, spec.requires.milli_cpus, spec.requires.memory_bytes, gpus)
            }),
            ..ContainerCreateBody::default()
        }
    }
}

/// What a container that is no job is made from.
#[derive(Debug)]
pub(crate) struct ServiceRecipe<'a> {
    pub(crate) id: ContainerId,
    pub(crate) attempt: Attempt,
    pub(crate) spec: &'a JobSpec,
    pub(crate) service: &'a Service,
    /// Its ports: those of `service`, or [`same_ports`].
    pub(crate) ports: Vec<Port>,
    /// Whether ports that are only the [`same_ports`] are asked for over IPv4 alone.
    pub(crate) same_over_ipv4: bool,
    pub(crate) image: &'a str,
    /// Its data directory on this machine.
    pub(crate) data: &'a Path,
    /// Set beside the image's own.
    pub(crate) env: Vec<String>,
    /// Device ids of the GPUs to hand in.
    pub(crate) gpus: Vec<String>,
    pub(crate) labels: Labels<'a>,
    pub(crate) settings: &'a ContainerSettings,
}

impl ServiceRecipe<'_> {
    /// The container's name: one start has one container.
    pub(crate) fn name(&self) -> String {
        format!("gangline-{}-{}", self.id, self.attempt)
    }

    /// In the engine's words. What it may do is what the engine lets containers do, but for the privileges that it could
    /// gain.
    pub(crate) fn body(&self, engine: &Engine) -> ContainerCreateBody {
        let Self { id, attempt, spec, service, ports, same_over_ipv4, image, data, env, gpus, labels, settings } = self;
        let (entrypoint, cmd) = program(&spec.program, spec.tty.filter(|_| !engine.sizes_terminals));
        let mut env = env.clone();
        if spec.tty.is_some() && !spec.env.contains_key("TERM") {
            env.push(format!("TERM={TERM}"));
        }
        if engine.has_init {
            env.push(KILL_GROUP.to_owned());
        }
        let own = bind(data, DATA, false);
        let volumes =
            service.mounts.iter().map(|mount| bind(&volume(data, &mount.volume), &mount.path, mount.read_only));
        let log = log::OPTIONS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut bindings: PortMap = HashMap::new();
        for port in ports {
            let host_port = port.host.map(|port| port.to_string()).unwrap_or_default();
            let host_ip = (*same_over_ipv4 && !service.ports.contains(port)).then(|| Ipv4Addr::UNSPECIFIED.to_string());
            let binding = PortBinding { host_ip, host_port: Some(host_port) };
            let name = format!("{}/{}", port.container, port.protocol.as_str());
            bindings.entry(name).or_default().get_or_insert_default().push(binding);
        }
        ContainerCreateBody {
            image: Some((*image).to_owned()),
            entrypoint,
            cmd,
            env: Some(env),
            tty: Some(spec.tty.is_some()),
            // Open for good: an agent that goes must not close it.
            open_stdin: Some(true),
            stdin_once: Some(false),
            exposed_ports: Some(bindings.keys().cloned().collect()),
            labels: Some(labels.of(Kind::Service, &id.to_string(), *attempt)),
            host_config: Some(HostConfig {
                mounts: Some([own].into_iter().chain(volumes).collect()),
                network_mode: Some(settings.service_network.clone()),
                // What it would make in its data directory, the machine's own programs could open.
                cap_drop: Some(vec!["MKNOD".to_owned()]),
                port_bindings: Some(bindings),
                log_config: engine
                    .is_docker
                    .then(|| HostConfigLogConfig { typ: Some(log::DRIVER.to_owned()), config: Some(log.into()) }),
                console_size: spec
                    .tty
                    .filter(|_| engine.sizes_terminals)
                    .map(|(cols, rows)| vec![rows.into(), cols.into()]),
                ..common(engine, settings, spec.requires.milli_cpus, spec.requires.memory_bytes, gpus)
            }),
            ..ContainerCreateBody::default()
        }
    }
}

/// `wanted`, with the ports of the machine that were theirs `before` where any will do.
pub(crate) fn same_ports(wanted: &[Port], before: &[BoundPort]) -> Vec<Port> {
    let is_wanted =
        |bound: &&BoundPort| wanted.iter().all(|port| (port.host, port.protocol) != (Some(bound.host), bound.protocol));
    let mut free: Vec<&BoundPort> = before.iter().filter(is_wanted).collect();
    let same = |port: &Port| {
        let is_same = |bound: &&BoundPort| (bound.container, bound.protocol) == (port.container, port.protocol);
        let host = port.host.or_else(|| Some(free.remove(free.iter().position(is_same)?).host));
        Port { host, ..*port }
    };
    wanted.iter().map(same).collect()
}

/// Where a volume lies in the data directory of its container.
pub(crate) fn volume(data: &Path, name: &str) -> PathBuf {
    data.join("volumes").join(name)
}

fn bind(from: &Path, to: &str, read_only: bool) -> Mount {
    Mount {
        target: Some(to.to_owned()),
        source: Some(from.display().to_string()),
        typ: Some(MountType::BIND),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

/// What holds for every container.
fn common(
    engine: &Engine,
    settings: &ContainerSettings,
    milli_cpus: u64,
    memory_bytes: u64,
    gpus: &[String],
) -> HostConfig {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let memory = (memory_bytes > 0).then(|| signed(memory_bytes.max(LEAST_MEMORY)));
    HostConfig {
        init: engine.has_init.then_some(true),
        security_opt: (!settings.new_privileges).then(|| vec!["no-new-privileges:true".to_owned()]),
        pids_limit: settings.pids_limit.map(i64::from),
        memory,
        // Memory and swap together: none of the latter.
        memory_swap: memory,
        nano_cpus: (milli_cpus > 0).then(|| signed(milli_cpus.saturating_mul(NANO_PER_MILLI))),
        device_requests: (!gpus.is_empty()).then(|| {
            vec![DeviceRequest {
                device_ids: Some(gpus.to_vec()),
                capabilities: Some(vec![vec!["gpu".to_owned()]]),
                ..DeviceRequest::default()
            }]
        }),
        ..HostConfig::default()
    }
}

/// Entry point and arguments; none: the image's own. A script is told the size of its terminal first, where the engine
/// will only say it once the program runs.
pub(super) fn program(program: &Program, size: Option<(u16, u16)>) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let shell = |args: &[&str]| {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        (Some(vec!["/bin/sh".to_owned()]), Some(args))
    };
    match program {
        Program::Shell(script) => match size {
            None => shell(&["-c", script]),
            Some((cols, rows)) => {
                let sized = format!("stty cols {cols} rows {rows} 2>/dev/null; exec /bin/sh -c \"$1\"");
                shell(&["-c", &sized, "sh", script])
            }
        },
        Program::Args(args) => {
            let (program, args) = args.split_at(args.len().min(1));
            (Some(program.to_vec()), Some(args.to_vec()))
        }
        Program::Image => (None, None),
    }
}
